//! Runs of the timed machine: settings in, results out.

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
