//! smmu-sim: machines, snapshots, recordings and explanations around the [`smmu`] model.
//!
//! This crate does all input and output; the model crates do none.

pub mod board;
pub mod check;
pub mod cli;
pub mod decode;
pub mod experiment;
pub mod explain;
pub mod input;
pub mod live;
pub mod machine;
pub mod report;
pub mod scenario;
pub mod simulate;
pub mod snapshot;
mod style;
pub mod suggest;
pub mod topology;
pub mod type1;
pub mod unwind;
pub mod validate;
pub mod workload;
