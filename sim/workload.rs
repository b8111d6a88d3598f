//! What the timed machine is driven by: traces in several formats, and generators.
//!
//! Every reader streams: a trace longer than memory is no problem. What is wrong in a file is said
//! with its line, the field and what is allowed, and ends the run.

#![allow(
    clippy::cast_precision_loss,
    reason = "figures for people are rounded, and counts stay far below 2^53"
)]

pub mod binary;
pub mod convert;
pub mod driven;
pub mod error;
mod fields;
pub mod generator;
pub mod input;
pub mod open;
pub mod qemu;
pub mod random;
pub mod recorded;
pub mod text;
pub mod world;
