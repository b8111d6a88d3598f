//! `smmu-sim validate`.

use std::io::Write;

use clap::Args;

use super::{Failure, Format, Verdict, write_json};
use crate::validate::{CHECKS, Check, Effort, run};

/// Compare the timed machine with published measurements and closed forms: V1 to V10, each with
/// the figure of paper or hardware, ours, and the error.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim validate --quick
  smmu-sim validate V4 V6 --all")]
pub(super) struct Validate {
    /// Only these checks, such as V4; all by default
    #[arg(value_name = "CHECK")]
    only: Vec<String>,
    /// Fewer transactions and moments: less than a minute in a debug build
    #[arg(long)]
    quick: bool,
    /// One line for every comparison, not only for those that fail and one for each check
    #[arg(long)]
    all: bool,
}

impl Validate {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let known = |name: &str| CHECKS.iter().any(|(id, _)| id.eq_ignore_ascii_case(name));
        if let Some(unknown) = self.only.iter().find(|name| !known(name)) {
            let ids: Vec<&str> = CHECKS.iter().map(|(id, _)| *id).collect();
            let ids = ids.join(", ");
            return Err(anyhow::anyhow!("{unknown}: not one of {ids}").into());
        }
        let effort = if self.quick {
            Effort::Quick
        } else {
            Effort::Full
        };
        let wanted = |id: &str| {
            self.only.is_empty() || self.only.iter().any(|name| name.eq_ignore_ascii_case(id))
        };
        let checks = run(effort, wanted);
        match format {
            Format::Json => write_json(out, &checks)?,
            Format::Text => self.text(out, &checks)?,
        }
        if checks.iter().all(|check| check.passed) {
            Ok(Verdict::Fine)
        } else {
            Ok(Verdict::Failed)
        }
    }

    fn text(&self, out: &mut impl Write, checks: &[Check]) -> Result<(), Failure> {
        for (id, what) in CHECKS {
            let own: Vec<&Check> = checks.iter().filter(|check| check.id == id).collect();
            if own.is_empty() {
                continue;
            }
            let failed = own.iter().filter(|check| !check.passed).count();
            let worst = own
                .iter()
                .filter(|check| check.unit != "holds" && check.tolerance_percent < 100.0)
                .map(|check| check.error_percent().abs())
                .fold(0.0, f64::max);
            let verdict = if failed == 0 { "ok" } else { "FAILED" };
            writeln!(
                out,
                "{id:<4} {verdict:<6} {what}: {} comparisons, {failed} failed, worst error {worst:.2} %",
                own.len()
            )?;
            for check in own.iter().filter(|check| self.all || !check.passed) {
                writeln!(
                    out,
                    "     {} {:<70} reference {:>9.2} ours {:>9.2} {} ({:+.2} %)",
                    if check.passed { " " } else { "!" },
                    check.what,
                    check.reference,
                    check.ours,
                    check.unit,
                    check.error_percent()
                )?;
            }
        }
        Ok(())
    }
}
