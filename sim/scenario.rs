//! Scenario files: a machine, what is done on it in order, and what must come of it.
//!
//! A file is TOML ([`ScenarioFile`]); its JSON Schema lies beside the documentation. A machine is
//! hardware alone, whose tables the file describes, or hardware under Linux with VFIO and a process
//! whose memory is a guest's. Every mistake is shown at its place in the file.

mod bare;
mod expect;
pub mod file;
mod linux;
mod machine;
mod names;
mod run;
mod source;
pub mod step;
mod tables;

pub use expect::Unmet;
pub use file::ScenarioFile;
pub use machine::{Machine, Seen, State};
pub use run::{Report, ReportJson, Scenario, ScenarioError, StepReport};
pub use source::{Diagnostic, Located, Number, Span};
pub use step::{Expect, Step};

/// The default scenario: a guest's device behind nested translation, one access that works and one
/// that faults.
pub const DEFAULT: &str = include_str!("scenario/default.toml");

/// What `smmu-sim new` writes: a scenario to start from, with every section explained.
pub const STARTER: &str = include_str!("scenario/starter.toml");

/// The JSON Schema of scenario files.
pub fn schema() -> String {
    let schema = schemars::schema_for!(ScenarioFile);
    // A schema is JSON by construction.
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text + "\n"
}
