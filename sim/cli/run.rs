//! `smmu-sim run`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use arm_smmu_v3::SmmuId;
use clap::Args;

use super::{Failure, Format, Verdict, caches, write_json};
use crate::scenario::{DEFAULT, Report, Scenario, StepReport};
use crate::style::{BAD, FAINT, GOOD};

/// Run scenario files like tests; without a file, show the main job.
///
/// A scenario describes a machine, what is done on it in order, and what must come of it. The embedded
/// default is a nested translation step by step, then a fault. Exit code 0 only if every expectation of
/// every file is met. `smmu-sim new` writes a file to start from.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim run
  smmu-sim run tests/scenarios/*.toml
  smmu-sim run my.toml --explain
  smmu-sim run my.toml --show-caches caches.html")]
pub(super) struct Run {
    /// Scenario files [default: the embedded one, explained]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show every access to memory of every translation
    #[arg(long)]
    explain: bool,
    /// Show what the caches hold step by step: a page, text (.txt) or JSON (.json); - is the terminal
    #[arg(long, value_name = "FILE", requires = "files")]
    show_caches: Option<PathBuf>,
    /// Whose caches
    #[arg(long, value_name = "N", default_value_t = 0, requires = "show_caches")]
    smmu: u32,
}

impl Run {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let wrong = |error| Failure::Input(anyhow::Error::from(error));
        if self.files.is_empty() {
            let scenario = Scenario::parse("default.toml".into(), DEFAULT.into());
            let scenario = scenario.map_err(wrong)?;
            let report = scenario.run().map_err(wrong)?;
            return show_default(&report, format, out);
        }
        if let Some(path) = &self.show_caches {
            let [file] = &self.files[..] else {
                return Err(Failure::Input(anyhow!(
                    "--show-caches: expected one scenario"
                )));
            };
            let scenario = Scenario::load(file).map_err(wrong)?;
            let view = scenario.caches(SmmuId(self.smmu)).map_err(wrong)?;
            caches::show(path, &view, out)?;
        }
        let mut reports = Vec::new();
        let mut mistakes = Vec::new();
        for path in &self.files {
            let run = Scenario::load(path).and_then(|scenario| {
                let report = scenario.run()?;
                Ok((scenario, report))
            });
            match run {
                Ok(run) => reports.push(run),
                Err(mistake) => mistakes.push(mistake.to_string()),
            }
        }
        let passed = reports.iter().all(|(_, report)| report.passed());
        match format {
            Format::Text => {
                let alone = self.files.len() == 1;
                for (scenario, report) in &reports {
                    show(scenario, report, alone, self.explain, out)?;
                }
            }
            Format::Json => {
                let json: Vec<_> = reports.iter().map(|(s, r)| r.to_json(s)).collect();
                write_json(out, &json)?;
            }
        }
        // What can be run is run and shown before the rest is complained about.
        if !mistakes.is_empty() {
            out.flush()?;
            return Err(Failure::Input(anyhow!("{}", mistakes.join("\n\n"))));
        }
        Ok(if passed {
            Verdict::Fine
        } else {
            Verdict::Failed
        })
    }
}

/// The main job: each translation of the default scenario in full.
fn show_default(report: &Report, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
    match format {
        Format::Text => {
            for (i, (step, explained)) in report.explained().enumerate() {
                if i != 0 {
                    writeln!(out)?;
                }
                writeln!(out, "{}. {}\n", step.number, step.say)?;
                write!(out, "{}", explained.to_styled_text())?;
            }
        }
        Format::Json => {
            let json: Vec<_> = report.explained().map(|(_, e)| e.to_json()).collect();
            write_json(out, &json)?;
        }
    }
    Ok(if report.passed() {
        Verdict::Fine
    } else {
        Verdict::Failed
    })
}

/// A scenario: its steps if it is the only one, and what is not as expected.
fn show(
    scenario: &Scenario,
    report: &Report,
    alone: bool,
    explain: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let (style, word) = if report.passed() {
        (GOOD, "ok")
    } else {
        (BAD, "FAILED")
    };
    let (path, title) = (&scenario.path, &scenario.file.title);
    if alone || explain {
        writeln!(out, "{title}\n")?;
        for step in &report.steps {
            show_step(step, explain, out)?;
        }
        writeln!(out)?;
    }
    let counted = match report.unmet() {
        0 => many(report.expectations(), "expectation"),
        unmet => format!("{unmet} not as expected"),
    };
    let steps = many(report.steps.len(), "step");
    writeln!(out, "{style}{word:<6}{style:#} {path}: {steps}, {counted}")?;
    for message in report.steps.iter().flat_map(|step| &step.messages) {
        writeln!(out, "\n{message}\n")?;
    }
    Ok(())
}

fn show_step(step: &StepReport, explain: bool, out: &mut impl Write) -> Result<(), Failure> {
    let (style, mark) = match (step.unmet.is_empty(), step.expectations) {
        (false, _) => (BAD, "x"),
        (true, 0) => (FAINT, " "),
        (true, _) => (GOOD, "+"),
    };
    let (number, say) = (step.number, &step.say);
    writeln!(out, "{number:>3} {style}{mark}{style:#} {say}")?;
    if !step.result.is_empty() {
        writeln!(out, "      {FAINT}{}{FAINT:#}", step.result)?;
    }
    if let Some(explained) = step.seen.explained.as_ref().filter(|_| explain) {
        writeln!(out)?;
        for line in explained.to_styled_text().lines() {
            writeln!(out, "      {line}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A number of things.
fn many(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}
