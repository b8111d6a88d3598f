//! smmu-sim: machines, snapshots, recordings and explanations around the [`smmu`] model.
//!
//! This crate does all input and output; the model crates do none.

pub mod check;
pub mod cli;
pub mod decode;
pub mod explain;
pub mod input;
pub mod live;
pub mod machine;
pub mod scenario;
pub mod simulate;
pub mod snapshot;
mod style;
pub mod suggest;
pub mod validate;
pub mod workload;
