//! What a check found: counts, and disagreements by kind with the first few of each.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
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
    /// How many cases each source of the expected answer decided.
    pub sources: BTreeMap<&'static str, u64>,
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
        self.checked += 1;
        *self.sources.entry(source).or_default() += 1;
        if expected == actual {
            self.agree += 1;
            return;
        }
        self.differ += 1;
        self.kinds
            .entry(kind(expected, actual))
            .or_default()
            .add(expected, actual, place);
    }
}

impl Report {
    /// Counts one case that agrees under the deviation `name`.
    pub(crate) fn deviation(
        &mut self,
        source: &'static str,
        name: &'static str,
        expected: &Answer,
        actual: &Answer,
        place: impl FnOnce() -> String,
    ) {
        self.checked += 1;
        self.agree += 1;
        *self.sources.entry(source).or_default() += 1;
        self.deviations
            .entry(name)
            .or_default()
            .add(expected, actual, place);
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
        kind.keep(place, || (expected.into(), actual.into()));
    }
}

impl Kind {
    fn add(&mut self, expected: &Answer, actual: &Answer, place: impl FnOnce() -> String) {
        self.keep(place, || (describe(expected), describe(actual)));
    }

    fn keep(&mut self, place: impl FnOnce() -> String, answers: impl FnOnce() -> (String, String)) {
        self.count += 1;
        if self.examples.len() < KEPT {
            let (expected, actual) = answers();
            self.examples.push(Example {
                place: place(),
                expected,
                actual,
            });
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

fn differing_fields(a: &[u64; 4], b: &[u64; 4]) -> String {
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
