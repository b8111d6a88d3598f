//! `smmu-sim run`.

use std::io::Write;

use clap::Args;

use super::{Failure, Format, Verdict, write_json};
use crate::explain::Explained;
use crate::scenario::default_scenario;

/// Show the main job on an embedded scenario: a nested translation step by step, then a fault.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim run
  smmu-sim run --format json")]
pub(super) struct Run {}

impl Run {
    #[expect(clippy::unused_self, reason = "all commands are executed alike")]
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let mut scenario = default_scenario().map_err(anyhow::Error::from)?;
        let mut explained: Vec<(&str, Explained)> = Vec::new();
        for (what, transaction) in &scenario.steps {
            let step = scenario.machine.explain(0, transaction);
            explained.push((what, step.map_err(anyhow::Error::from)?));
        }
        match format {
            Format::Text => {
                for (i, (what, explained)) in explained.iter().enumerate() {
                    if i != 0 {
                        writeln!(out)?;
                    }
                    writeln!(out, "{}. {what}\n", i + 1)?;
                    write!(out, "{}", explained.to_styled_text())?;
                }
            }
            Format::Json => {
                let json: Vec<_> = explained.iter().map(|(_, e)| e.to_json()).collect();
                write_json(out, &json)?;
            }
        }
        Ok(Verdict::Fine)
    }
}
