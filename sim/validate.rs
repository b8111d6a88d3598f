//! The timed machine against what others measured or derived: V1 to V10.
//!
//! Reference figures are data files with their source, beside this module.

#![allow(
    clippy::cast_precision_loss,
    reason = "figures for people are rounded, and counts stay far below 2^53"
)]

mod ats;
mod closed_forms;
mod gem5;
mod hardware;
mod levels;
mod properties;
mod runs;

use serde::Serialize;

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// V1 to V10.
    pub id: &'static str,
    /// What is compared.
    pub what: String,
    /// The published, measured or derived figure.
    pub reference: f64,
    /// What the machine gives.
    pub ours: f64,
    /// Of both.
    pub unit: &'static str,
    /// Largest difference that passes, in per cent of the reference; 0 is exact.
    pub tolerance_percent: f64,
    /// Whether it passes.
    pub passed: bool,
}

impl Check {
    /// Difference in per cent of the reference.
    pub fn error_percent(&self) -> f64 {
        if self.reference == 0.0 {
            return if self.ours == 0.0 { 0.0 } else { 100.0 };
        }
        100.0 * (self.ours - self.reference) / self.reference
    }
}

/// Collects comparisons.
#[derive(Debug, Default)]
struct Checks(Vec<Check>);

impl Checks {
    /// Within so many per cent; 0 is exact.
    fn within(
        &mut self,
        id: &'static str,
        what: impl Into<String>,
        (reference, ours): (f64, f64),
        unit: &'static str,
        tolerance_percent: f64,
    ) {
        let mut check = Check {
            id,
            what: what.into(),
            reference,
            ours,
            unit,
            tolerance_percent,
            passed: false,
        };
        check.passed = check.error_percent().abs() <= tolerance_percent;
        self.0.push(check);
    }

    /// Within one cycle, as integers are.
    fn within_one(&mut self, id: &'static str, what: impl Into<String>, pair: (f64, f64)) {
        self.within(id, what, pair, "cycles", 0.0);
        if let Some(last) = self.0.last_mut() {
            last.passed = (last.ours - last.reference).abs() <= 1.0;
        }
    }

    /// A property: 1 if it holds.
    fn holds(&mut self, id: &'static str, what: impl Into<String>, holds: bool) {
        self.within(id, what, (1.0, f64::from(u8::from(holds))), "holds", 0.0);
    }
}

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Everything, with enough transactions for every tolerance: seconds.
    Full,
    /// The exact checks, and the others with as little as they need.
    Quick,
}

/// The checks there are: identifier and what it compares.
pub const CHECKS: [(&str, &str); 10] = [
    ("V1", "memory reads of cold walks, every pair of levels"),
    ("V2", "closed forms of uncontended latencies"),
    ("V3", "Little's law"),
    ("V4", "pcie-bench latency of five machines"),
    ("V5", "pcie-bench bandwidth of one"),
    ("V6", "HyperTRIO's closed form"),
    ("V7", "cycles and reads of gem5's SMMUv3 model"),
    (
        "V8",
        "timed equals functional; inclusion; more slots never hurt",
    ),
    ("V9", "no stale translation at any interleaving"),
    ("V10", "IOTLB wall, huge pages, last-level cache"),
];

/// Runs the checks whose identifier is wanted.
///
/// # Panics
/// If a reference file of this crate is damaged.
pub fn run(effort: Effort, wanted: impl Fn(&str) -> bool) -> Vec<Check> {
    let mut checks = Checks::default();
    if wanted("V1") {
        levels::walks(&mut checks);
    }
    if wanted("V2") {
        closed_forms::latencies(&mut checks);
        ats::latencies(&mut checks);
    }
    if wanted("V3") {
        closed_forms::littles_law(&mut checks);
    }
    if wanted("V4") {
        hardware::latency(&mut checks, effort);
    }
    if wanted("V5") {
        hardware::bandwidth(&mut checks, effort);
    }
    if wanted("V6") {
        closed_forms::hypertrio(&mut checks);
    }
    if wanted("V7") {
        gem5::cycles(&mut checks);
    }
    if wanted("V8") {
        properties::equal_and_monotone(&mut checks, effort);
    }
    if wanted("V9") {
        properties::never_stale(&mut checks, effort);
    }
    if wanted("V10") {
        properties::shapes(&mut checks);
    }
    checks.0
}

/// Rows of a reference file: what is neither a comment nor empty, split at tabs.
fn rows(file: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    file.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
}

/// A number of a reference file.
fn figure(word: &str) -> f64 {
    word.parse().expect("reference files hold numbers")
}

/// Bytes of "256K" or "1.5M".
fn bytes(word: &str) -> u64 {
    let (digits, unit) = word.split_at(word.len() - 1);
    let scale = match unit {
        "K" => 1024.0,
        _ => 1048576.0,
    };
    (figure(digits) * scale) as u64
}
