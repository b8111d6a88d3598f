//! What one translation read and did to the caches, in order.

use crate::addr::Pa;
use crate::observe::{Access, Action, CacheEvent, Observer, Purpose, Structure};

/// A word that was read, as the walker interprets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) structure: Structure,
    pub(super) purpose: Purpose,
    pub(super) pa: Pa,
    pub(super) value: u64,
}

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Read(Word),
    Cache(CacheEvent),
}

/// An observer that keeps everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trail {
    pub(super) steps: Vec<Step>,
    /// Descriptors that were marked dirty.
    pub(super) dirtied: Vec<Pa>,
}

/// AP\[2\] of stage 1 and S2AP\[1\] of stage 2: what hardware changes to mark a page dirty.
pub(super) const DIRTY: u64 = 1 << 7;

impl Trail {
    /// The words read.
    pub(super) fn words(&self) -> impl DoubleEndedIterator<Item = &Word> + Clone {
        self.steps.iter().filter_map(|step| match step {
            Step::Read(word) => Some(word),
            Step::Cache(_) => None,
        })
    }
}

impl Observer for Trail {
    fn access(&mut self, access: &Access<'_>) {
        let word = |pa, value| {
            Step::Read(Word {
                structure: access.structure,
                purpose: access.purpose,
                pa,
                value,
            })
        };
        match access.action {
            Action::Read(value) => self.steps.push(word(access.pa, value)),
            Action::ReadStructure(words) => {
                let places = (0..).step_by(8).map(|offset| access.pa.add(offset));
                let words = places.zip(words).map(|(pa, &value)| word(pa, value));
                self.steps.extend(words);
            }
            Action::Update { old, new, found } if found == old => {
                if (old ^ new) & DIRTY != 0 {
                    self.dirtied.push(access.pa);
                }
                // What has been read of this descriptor is what it is now.
                let read = self.steps.iter_mut().rev().find_map(|step| match step {
                    Step::Read(word) if word.pa == access.pa => Some(word),
                    _ => None,
                });
                if let Some(read) = read {
                    read.value = new;
                }
            }
            Action::Update { .. } | Action::AbortedRead | Action::AbortedUpdate => {}
        }
    }

    fn watches_caches(&self) -> bool {
        true
    }

    fn cache(&mut self, event: &CacheEvent) {
        self.steps.push(Step::Cache(*event));
    }
}

/// Two observers of one translation.
pub(super) struct Both<'a, A: ?Sized, B: ?Sized>(pub(super) &'a mut A, pub(super) &'a mut B);

impl<A: Observer + ?Sized, B: Observer + ?Sized> Observer for Both<'_, A, B> {
    fn access(&mut self, access: &Access<'_>) {
        self.0.access(access);
        self.1.access(access);
    }

    fn watches_caches(&self) -> bool {
        self.0.watches_caches() || self.1.watches_caches()
    }

    fn cache(&mut self, event: &CacheEvent) {
        if self.0.watches_caches() {
            self.0.cache(event);
        }
        if self.1.watches_caches() {
            self.1.cache(event);
        }
    }
}
