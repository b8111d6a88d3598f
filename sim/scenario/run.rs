//! Scenario files, parsed and run like tests.

use std::fs;
use std::io;
use std::path::Path;

use arm_smmu_v3::SmmuId;
use serde::Serialize;
use smmu::sanitize::Finding;
use thiserror::Error;

use super::expect::{Unmet, describe, judge};
use super::file::ScenarioFile;
use super::machine::{Machine, Seen};
use super::source::{Diagnostic, Located};
use super::step::Step;
use crate::explain::Explained;
use crate::report::caches::{CacheView, Ending};

/// Steps a scenario may have.
const STEPS_MAX: usize = 10_000;

/// A scenario with the text it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What it is called in messages: its path.
    pub path: String,
    /// The file's text.
    pub text: String,
    /// What it says.
    pub file: ScenarioFile,
}

/// Why there is no scenario, or none that runs.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file makes no sense: the message shows the place.
    #[error("{0}")]
    Wrong(String),
    /// The machine has fewer SMMUs.
    #[error("{path}: there is no SMMU {smmu}")]
    NoSuchSmmu {
        /// The scenario.
        path: String,
        /// The number asked for.
        smmu: u32,
    },
}

/// What became of a step.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub number: usize,
    /// Its sentence, or what it does.
    pub say: String,
    /// What was seen.
    pub seen: Seen,
    /// In a few words; empty if there is nothing to say.
    pub result: String,
    /// How many things were expected.
    pub expectations: usize,
    /// Which of them are not met, and surprises.
    pub unmet: Vec<Unmet>,
    /// The same as messages that show the place.
    pub messages: Vec<String>,
}

/// What became of a scenario.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its steps, in order.
    pub steps: Vec<StepReport>,
}

impl Report {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.unmet.is_empty())
    }

    /// How many things were expected.
    pub fn expectations(&self) -> usize {
        self.steps.iter().map(|step| step.expectations).sum()
    }

    /// Expectations that are not met, and surprises.
    pub fn unmet(&self) -> usize {
        self.steps.iter().map(|step| step.unmet.len()).sum()
    }

    /// Translations, with every access to memory.
    pub fn explained(&self) -> impl Iterator<Item = (&StepReport, &Explained)> {
        let steps = self.steps.iter();
        steps.filter_map(|step| Some((step, step.seen.explained.as_ref()?)))
    }
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ScenarioError`].
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: name.clone(),
            source,
        })?;
        Self::parse(name, text)
    }

    /// Takes the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`ScenarioError::Wrong`] with line, column and the place marked.
    pub fn parse(path: String, text: String) -> Result<Self, ScenarioError> {
        match toml::from_str::<ScenarioFile>(&text) {
            Ok(file) => {
                let scenario = Self { path, text, file };
                let steps = &scenario.file.step;
                match steps.get(STEPS_MAX) {
                    None => Ok(scenario),
                    Some(step) => {
                        let message = format!("more than {STEPS_MAX} steps");
                        let diagnostic = Diagnostic::new(message, step.span(), "one too many");
                        Err(scenario.wrong(&diagnostic))
                    }
                }
            }
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let message = error.message().trim_end().replace('\n', "; ");
                let diagnostic = Diagnostic::new(message, span, "here");
                Err(ScenarioError::Wrong(diagnostic.render(&path, &text)))
            }
        }
    }

    fn wrong(&self, diagnostic: &Diagnostic) -> ScenarioError {
        ScenarioError::Wrong(diagnostic.render(&self.path, &self.text))
    }

    /// Makes the machine and carries out the steps. Unmet expectations do not end a run.
    ///
    /// # Errors
    /// [`ScenarioError::Wrong`] if the machine cannot be made, or a step makes no sense on it.
    pub fn run(&self) -> Result<Report, ScenarioError> {
        self.run_each(|_, _| {})
    }

    /// The same; `after` sees the machine after each step, and before the first.
    fn run_each(
        &self,
        mut after: impl FnMut(&Machine, Option<&StepReport>),
    ) -> Result<Report, ScenarioError> {
        let mut machine = Machine::new(&self.file).map_err(|wrong| self.wrong(&wrong))?;
        after(&machine, None);
        let mut steps = Vec::new();
        for (number, step) in (1..).zip(&self.file.step) {
            let report = self.step(&mut machine, number, step);
            let report = report.map_err(|wrong| self.wrong(&wrong))?;
            after(&machine, Some(&report));
            steps.push(report);
        }
        Ok(Report { steps })
    }

    /// Runs it once more, with an eye on the caches of an SMMU.
    ///
    /// # Errors
    /// As [`run`](Self::run), and if there is no such SMMU.
    pub fn caches(&self, smmu: SmmuId) -> Result<CacheView, ScenarioError> {
        let mut view: Option<CacheView> = None;
        self.run_each(|machine, step| {
            if smmu.0 >= machine.board().smmus() {
                return;
            }
            let cached = machine.board().smmu(smmu).cached();
            let (Some(view), Some(step)) = (&mut view, step) else {
                view = Some(CacheView::new(&self.file.title, &cached));
                return;
            };
            let frame = view.step(&step.say, &cached);
            if let Some((at, looks)) = &step.seen.looks
                && *at == smmu
            {
                frame.looked(looks.clone());
            }
            if !step.result.is_empty() {
                let outcome = step.seen.outcome.as_ref();
                frame.ended(&step.result, outcome.map_or(Ending::Well, Ending::of));
            }
            let own = step.seen.findings.iter().filter(|(at, _)| *at == smmu);
            let findings: Vec<Finding> = own.map(|(_, finding)| finding.clone()).collect();
            frame.found(&findings);
        })?;
        view.ok_or_else(|| ScenarioError::NoSuchSmmu {
            path: self.path.clone(),
            smmu: smmu.0,
        })
    }

    fn step(
        &self,
        machine: &mut Machine,
        number: usize,
        step: &Located<Step>,
    ) -> Result<StepReport, Diagnostic> {
        let before = machine.clone();
        let seen = machine.run(step)?;
        let unmet = judge(step, &seen, &before, machine)?;
        let operation = step.operations().into_iter().next();
        let operation = operation.map(|written| (written.key, written.span));
        // What says nothing is shown as it is written.
        let written = operation.as_ref().map_or("look".into(), |(key, span)| {
            let text = self.text.get(span.clone()).unwrap_or_default();
            let words: Vec<&str> = text.split_whitespace().collect();
            format!("{key} {}", words.join(" "))
        });
        let messages = unmet.iter().map(|unmet| {
            let diagnostic = unmet.diagnostic(operation.clone());
            diagnostic.render(&self.path, &self.text)
        });
        Ok(StepReport {
            number,
            say: step.say.clone().unwrap_or(written),
            result: result(&seen),
            expectations: step
                .expect
                .as_ref()
                .map_or(0, |expect| expect.leaves().len()),
            messages: messages.collect(),
            seen,
            unmet,
        })
    }
}

/// What was seen, in a few words.
fn result(seen: &Seen) -> String {
    let mut words = Vec::new();
    words.extend(seen.outcome.as_ref().map(describe));
    words.extend(seen.guest.map(|guest| format!("the guest's {guest:#x}")));
    match (seen.bug, seen.result) {
        (Some(bug), _) => words.push(bug.to_string()),
        (None, Some(Err(errno))) => words.push(errno.to_string()),
        (None, _) => {}
    }
    words.extend(seen.failed_step.map(|step| format!("{step} failed")));
    words.extend(seen.value.map(|value| format!("{value:#x}")));
    words.extend(seen.command_error.map(|error| error.to_string()));
    for (_, finding) in &seen.findings {
        words.push(format!("sanitizer: {}", finding.kind.name()));
    }
    words.join("; ")
}

/// A step in JSON.
#[derive(Debug, Serialize)]
struct StepJson {
    number: usize,
    say: String,
    result: String,
    commands: Vec<&'static str>,
    removed: u64,
    expectations: usize,
    unmet: Vec<UnmetJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    translation: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct UnmetJson {
    key: String,
    found: String,
    line: usize,
}

/// A scenario in JSON.
#[derive(Debug, Serialize)]
pub struct ReportJson {
    file: String,
    title: String,
    passed: bool,
    steps: Vec<StepJson>,
}

impl Report {
    /// For programs.
    pub fn to_json(&self, scenario: &Scenario) -> ReportJson {
        let line = |at: usize| {
            scenario.text[..at.min(scenario.text.len())]
                .lines()
                .count()
                .max(1)
        };
        let steps = self.steps.iter().map(|step| StepJson {
            number: step.number,
            say: step.say.clone(),
            result: step.result.clone(),
            commands: step.seen.commands.clone(),
            removed: step.seen.removed,
            expectations: step.expectations,
            unmet: step
                .unmet
                .iter()
                .map(|unmet| UnmetJson {
                    key: unmet.key.clone(),
                    found: unmet.found.clone(),
                    line: line(unmet.span.start + 1),
                })
                .collect(),
            translation: step.seen.explained.as_ref().map(Explained::to_json),
        });
        ReportJson {
            file: scenario.path.clone(),
            title: scenario.file.title.clone(),
            passed: self.passed(),
            steps: steps.collect(),
        }
    }
}
