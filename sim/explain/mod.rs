//! Explanations of a translation: every access in order, the two-dimensional grid of a nested walk,
//! and the outcome in words; as text, JSON and a self-contained page.

mod fields;
mod grid;
pub mod html;
mod json;
mod meaning;
mod outcome;
mod record;
mod text;

pub use record::{Label, Recorded, Recording, Row};

use smmu::mem::PhysMem;
use smmu::{Outcome, Smmu, Transaction};

/// One transaction, what became of it, and every access on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What went in.
    pub transaction: Transaction,
    /// What came out.
    pub outcome: Outcome,
    /// The accesses in between.
    pub recording: Recording,
}

/// What became of a transaction, in one line.
pub fn headline(outcome: &Outcome) -> String {
    outcome::headline(outcome)
}

/// Translates `transaction` and keeps every access.
pub fn explain<M: PhysMem>(smmu: &Smmu, mem: &mut M, transaction: &Transaction) -> Explained {
    let mut recording = Recording::default();
    let outcome = smmu.translate_cold(mem, transaction, &mut recording);
    Explained {
        transaction: *transaction,
        outcome,
        recording,
    }
}
