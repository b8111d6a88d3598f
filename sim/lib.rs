//! smmu-sim: machines, snapshots, recordings and explanations around the [`smmu`] model.
//!
//! This crate does all input and output; the model crates do none.

pub mod check;
pub mod input;
pub mod snapshot;
