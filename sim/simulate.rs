//! Runs of the timed machine: settings in, results out.

#![allow(
    clippy::cast_precision_loss,
    reason = "figures for people are rounded, and counts stay far below 2^53"
)]

pub mod csv;
pub mod html;
pub mod json;
pub mod output;
pub mod perfetto;
pub mod plot;
pub mod run;
pub mod settings;
pub mod study;
pub mod table;
pub mod timeline;
