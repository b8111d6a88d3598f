//! What a check found: counts, and disagreements by kind with the first few of each.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::report::caches::CacheView;
use smmu::spec::cmd::CmdOp;
use smmu::spec::event::{Event, EventId};

use super::Answer;

/// Disagreements of one kind that are kept in full.
const KEPT: usize = 3;

/// Result of checking one or more recordings.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Report {
    /// Cases compared.
    pub checked: u64,
    /// Cases that agree.
    pub agree: u64,
    /// Cases that differ.
    pub differ: u64,
    /// The cases that differ, by kind.
    pub kinds: BTreeMap<String, Kind>,
    /// Cases that agree in all a device can observe, but where the recording's account of the
    /// inside departs from the architecture in a way `deviations.md` lists; by its number.
    pub deviations: BTreeMap<&'static str, Kind>,
    /// Cases where QEMU departs from the architecture in a known way, and the recording is what
    /// that departure makes of the tables; by its name. A case may have several.
    pub departures: BTreeMap<&'static str, Kind>,
    /// How many cases each source of the expected answer decided.
    pub sources: BTreeMap<&'static str, u64>,
    /// What the traces among the recordings held.
    pub traces: Vec<TraceSummary>,
    /// The caches over the windows of traces that were to be shown.
    #[serde(skip)]
    pub views: Vec<CacheView>,
}

/// What one trace held.
#[derive(Debug, Default, Clone, Serialize)]
pub struct TraceSummary {
    /// The file.
    pub file: PathBuf,
    /// Transactions.
    pub translations: u64,
    /// Those for which the model read no memory.
    pub hits: u64,
    /// Commands by opcode.
    pub commands: BTreeMap<String, u64>,
    /// Departures of QEMU.
    pub departures: BTreeMap<&'static str, u64>,
    /// What the sanitizer found, by kind.
    pub findings: BTreeMap<String, Findings>,
}

/// Findings of one kind.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Findings {
    /// How many.
    pub count: u64,
    /// The first few, with their lines.
    pub examples: Vec<String>,
}

impl TraceSummary {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.into(),
            ..Self::default()
        }
    }

    pub(super) fn count_command(&mut self, opcode: CmdOp) {
        *self.commands.entry(format!("{opcode:?}")).or_default() += 1;
    }

    pub(super) fn count_translation(&mut self, found: Found) {
        self.translations += 1;
        self.hits += u64::from(found == Found::Cached);
    }

    pub(super) fn count_finding(&mut self, kind: String, example: impl FnOnce() -> String) {
        let findings = self.findings.entry(kind).or_default();
        findings.count += 1;
        if findings.examples.len() < KEPT {
            findings.examples.push(example());
        }
    }

    pub(super) fn count_departure(&mut self, name: &'static str) {
        *self.departures.entry(name).or_default() += 1;
    }
}

/// Where a translation was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// In the caches, with its configuration: no memory was read.
    Cached,
    /// By reading memory.
    Walked,
}

/// One kind of disagreement.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Kind {
    /// How many.
    pub count: u64,
    /// The first few.
    pub examples: Vec<Example>,
}

/// One disagreement.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    /// File and line or case, and the transaction.
    pub place: String,
    /// What was recorded.
    pub expected: String,
    /// What the model says.
    pub actual: String,
}

impl Report {
    /// Whether everything agrees.
    pub fn is_clean(&self) -> bool {
        self.differ == 0
    }

    /// Counts one case; `place` is only asked for if it differs.
    pub(crate) fn case(
        &mut self,
        source: &'static str,
        expected: &Answer,
        actual: &Answer,
        place: impl FnOnce() -> String,
    ) {
        if expected == actual {
            self.agreement(source);
        } else {
            self.difference(source, kind(expected, actual), || {
                Example::new(place(), expected, actual)
            });
        }
    }

    /// Counts one case that agrees.
    pub(crate) fn agreement(&mut self, source: &'static str) {
        self.checked += 1;
        self.agree += 1;
        *self.sources.entry(source).or_default() += 1;
    }

    /// Counts one case that differs in a way called `kind`.
    pub(crate) fn difference(
        &mut self,
        source: &'static str,
        kind: String,
        example: impl FnOnce() -> Example,
    ) {
        self.checked += 1;
        self.differ += 1;
        *self.sources.entry(source).or_default() += 1;
        self.kinds.entry(kind).or_default().add(example);
    }

    /// Counts one case that agrees but for these departures of QEMU.
    pub(crate) fn departure(
        &mut self,
        source: &'static str,
        names: impl IntoIterator<Item = &'static str>,
        example: impl Fn() -> Example,
    ) {
        self.agreement(source);
        for name in names {
            self.departures.entry(name).or_default().add(&example);
        }
    }

    /// Counts one case that agrees under the deviation `name`.
    pub(crate) fn deviation(
        &mut self,
        source: &'static str,
        name: &'static str,
        expected: &Answer,
        actual: &Answer,
        place: impl FnOnce() -> String,
    ) {
        self.agreement(source);
        self.deviations
            .entry(name)
            .or_default()
            .add(|| Example::new(place(), expected, actual));
    }
}

impl Report {
    /// Counts one case whose answers are texts; `kind` and `place` are only asked for if they
    /// differ.
    pub(crate) fn text(
        &mut self,
        source: &'static str,
        expected: &str,
        actual: &str,
        kind: impl FnOnce() -> String,
        place: impl FnOnce() -> String,
    ) {
        self.checked += 1;
        *self.sources.entry(source).or_default() += 1;
        if expected == actual {
            self.agree += 1;
            return;
        }
        self.differ += 1;
        let kind = self.kinds.entry(kind()).or_default();
        kind.add(|| Example {
            place: place(),
            expected: expected.into(),
            actual: actual.into(),
        });
    }
}

impl Kind {
    fn add(&mut self, example: impl FnOnce() -> Example) {
        self.count += 1;
        if self.examples.len() < KEPT {
            self.examples.push(example());
        }
    }
}

impl Example {
    fn new(place: String, expected: &Answer, actual: &Answer) -> Self {
        Self {
            place,
            expected: describe(expected),
            actual: describe(actual),
        }
    }
}

/// What differs, in a few words.
fn kind(expected: &Answer, actual: &Answer) -> String {
    match (expected, actual) {
        (Answer { event: Some(a), .. }, Answer { event: Some(b), .. })
            if a[0] & 0xff == b[0] & 0xff =>
        {
            let fields = differing_fields(a, b);
            format!("{}: {fields} differ", event_name(a))
        }
        _ => format!("{} expected, {} found", summary(expected), summary(actual)),
    }
}

pub(super) fn differing_fields(a: &[u64; 4], b: &[u64; 4]) -> String {
    let names: Vec<_> = Event::LAYOUT
        .fields
        .iter()
        .filter(|field| (field.read)(a) != (field.read)(b))
        .map(|field| field.name)
        .collect();
    if names.is_empty() {
        "undefined bits".into()
    } else {
        names.join(", ")
    }
}

fn summary(answer: &Answer) -> String {
    match answer {
        Answer {
            event: Some(words), ..
        } => event_name(words),
        Answer { pa: Some(_), .. } => "a translation".into(),
        Answer {
            pa: None,
            event: None,
        } => "a silent abort".into(),
    }
}

fn event_name(words: &[u64; 4]) -> String {
    format!("{:?}", EventId((words[0] & 0xff) as u8))
}

fn describe(answer: &Answer) -> String {
    match answer {
        Answer {
            event: Some(words), ..
        } => {
            let words: Vec<_> = words.iter().map(|word| format!("{word:016x}")).collect();
            format!("{} {}", summary(answer), words.join(" "))
        }
        Answer { pa: Some(pa), .. } => format!("pa {pa:#x}"),
        Answer {
            pa: None,
            event: None,
        } => summary(answer),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for trace in &self.traces {
            write!(f, "{trace}")?;
        }
        for (source, count) in &self.sources {
            writeln!(f, "{count:>9}  answers from {source}")?;
        }
        for (name, kind) in &self.deviations {
            writeln!(
                f,
                "{:>9}  agree as observed, under deviation {name}",
                kind.count
            )?;
            kind.write_examples(f)?;
        }
        for (name, kind) in &self.departures {
            writeln!(
                f,
                "{:>9}  agree but for QEMU's departure {name}",
                kind.count
            )?;
            kind.write_examples(f)?;
        }
        for (name, kind) in &self.kinds {
            writeln!(f, "{:>9}  {name}", kind.count)?;
            kind.write_examples(f)?;
        }
        write!(
            f,
            "checked {}, agree {}, differ {}",
            self.checked, self.agree, self.differ
        )
    }
}

impl fmt::Display for TraceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.file.display())?;
        let Self {
            translations, hits, ..
        } = self;
        writeln!(
            f,
            "           {translations} transactions, {hits} of them without a read of memory"
        )?;
        for (opcode, count) in &self.commands {
            writeln!(f, "{count:>9}  {opcode}")?;
        }
        for (kind, findings) in &self.findings {
            writeln!(f, "{:>9}  sanitizer: {kind}", findings.count)?;
            for example in &findings.examples {
                for line in example.lines() {
                    writeln!(f, "           {line}")?;
                }
            }
        }
        Ok(())
    }
}

impl Kind {
    fn write_examples(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for example in &self.examples {
            writeln!(f, "           {}", example.place)?;
            writeln!(f, "             expected {}", example.expected)?;
            writeln!(f, "             found    {}", example.actual)?;
        }
        Ok(())
    }
}
