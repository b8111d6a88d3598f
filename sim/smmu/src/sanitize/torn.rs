//! STEs and CDs from one look to the next: whether a fetch in between could have met half a change.
//!
//! An SMMU reads a structure in units of 64 bits, in any order (IHI 0070 §3.21.3). If more than one
//! word has changed between two looks and the structure was valid all the time, any mixture of old
//! and new words could have been fetched. That is harmless if each mixture means what the old
//! structure meant or what the new one means. Looks are fetches of transactions and the consumption
//! of `CMD_CFGI_*`: software that goes step by step, each with its CFGI and SYNC, is looked at after
//! each step.

use std::collections::BTreeMap;

use super::Sanitizer;
use super::finding::{Change, Exposure, Finding, Kind};
use super::trail::Trail;
use crate::addr::Pa;
use crate::attr::Overrides;
use crate::command::Command;
use crate::fetch::{Ppar, StreamAction, StreamContext, resolve_cd, resolve_ste};
use crate::ids::{StreamId, SubstreamId, Vmid};
use crate::mem::{DryRun, PhysMem};
use crate::observe::Structure;
use crate::spec::cd::Cd;
use crate::spec::ste::Ste;
use crate::transaction::Transaction;
use crate::translate::Programmed;

const WORDS: usize = 8;

/// A structure as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    pa: Pa,
    words: [u64; WORDS],
}

/// What was found for a stream and substream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Observation {
    ste: Option<Found>,
    cd: Option<Found>,
    /// Its number among transactions and commands.
    moment: u64,
    /// Commands consumed before.
    commands: u64,
}

/// The last look at each stream and substream, at most `limit` of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observations {
    last: BTreeMap<(StreamId, Option<SubstreamId>), Observation>,
    limit: usize,
}

impl Observations {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            last: BTreeMap::new(),
            limit,
        }
    }

    fn replace(
        &mut self,
        key: (StreamId, Option<SubstreamId>),
        new: Observation,
    ) -> Option<Observation> {
        let old = self.last.insert(key, new);
        if self.last.len() > self.limit {
            let oldest = self.last.iter().min_by_key(|(_, seen)| seen.moment);
            if let Some(key) = oldest.map(|(&key, _)| key) {
                self.last.remove(&key);
            }
        }
        old
    }
}

impl Found {
    /// The words of `structure` on a trail.
    fn on(trail: &Trail, structure: Structure) -> Option<Self> {
        let mut words = trail.words().filter(|word| word.structure == structure);
        let first = words.next()?;
        let mut found = Self {
            pa: first.pa,
            words: [first.value; WORDS],
        };
        for (value, word) in found.words[1..].iter_mut().zip(words) {
            *value = word.value;
        }
        Some(found)
    }

    fn is_valid(&self) -> bool {
        self.words[0] & 1 != 0
    }

    /// Whether a fetch while this became `new` could have met something that means neither.
    fn is_torn<T: PartialEq>(
        &self,
        new: &Self,
        meaning: impl Fn([u64; WORDS]) -> Option<T>,
    ) -> bool {
        let changed: Vec<usize> = (0..WORDS)
            .filter(|&index| self.words[index] != new.words[index])
            .collect();
        let comparable = self.pa == new.pa && self.is_valid() && new.is_valid();
        if !comparable || changed.len() < 2 {
            return false;
        }
        let (before, after) = (meaning(self.words), meaning(new.words));
        (1..(1u32 << changed.len()) - 1).any(|taken| {
            let mut words = self.words;
            for (bit, &index) in changed.iter().enumerate() {
                if taken >> bit & 1 != 0 {
                    words[index] = new.words[index];
                }
            }
            let mixed = meaning(words);
            mixed != before && mixed != after
        })
    }

    fn changes(&self, new: &Self, structure: Structure) -> Vec<Change> {
        let places = (0..).step_by(8).map(|offset| self.pa.add(offset));
        places
            .zip(self.words.iter().zip(&new.words))
            .filter(|(_, (was, is))| was != is)
            .map(|(pa, (&was, &is))| Change {
                structure,
                pa,
                was,
                is: Some(is),
            })
            .collect()
    }
}

fn ste_meaning(part: &Programmed, words: [u64; WORDS]) -> Option<StreamContext> {
    let context = resolve_ste(&Ste::from_words(words), &part.config, part.regs.cr2()).ok()?;
    // What no stage is there for means nothing.
    Some(match context.action {
        StreamAction::Translate => context,
        StreamAction::Bypass => StreamContext {
            vmid: Vmid::new(0),
            ppar: Ppar::WithoutPasid,
            ..context
        },
        StreamAction::Abort => StreamContext {
            vmid: Vmid::new(0),
            ppar: Ppar::WithoutPasid,
            overrides: Overrides::default(),
            privcfg: None,
            instcfg: None,
            dre: false,
            dcp: false,
            ..context
        },
    })
}

impl Sanitizer {
    /// Looks at the structures on the trail of a transaction's or command's fetch.
    pub(super) fn observe(
        &mut self,
        (stream, substream): (StreamId, Option<SubstreamId>),
        trail: &Trail,
        met: (Option<&Transaction>, Option<&Command>),
    ) {
        let new = Observation {
            ste: Found::on(trail, Structure::Ste),
            cd: Found::on(trail, Structure::Cd),
            moment: self.moment,
            commands: self.statistics.commands,
        };
        let Some(old) = self.observations.replace((stream, substream), new) else {
            return;
        };
        let part = &self.smmu.part;
        let mut changes = Vec::new();
        if let (Some(old), Some(new)) = (&old.ste, &new.ste)
            && old.is_torn(new, |words| ste_meaning(part, words))
        {
            changes.extend(old.changes(new, Structure::Ste));
        }
        if let (Some(old), Some(new), Some(ste)) = (&old.cd, &new.cd, &new.ste)
            && old != new
            && let Some(context) = ste_meaning(part, ste.words)
            && old.is_torn(new, |words| {
                resolve_cd(&Cd::from_words(words), &part.config, &context).ok()
            })
        {
            changes.extend(old.changes(new, Structure::Cd));
        }
        if changes.is_empty() {
            return;
        }
        let (commands, forgotten) = self.commands_since(old.moment, old.commands);
        self.publish(Finding {
            kind: Kind::TornConfiguration,
            exposure: Exposure::Possible,
            moment: self.moment,
            transaction: met.0.copied(),
            command: met.1.copied(),
            entry: None,
            creator: None,
            answer: None,
            memory_says: None,
            changes,
            commands,
            forgotten,
        });
    }

    /// Looks at what a `CMD_CFGI_*` names. Without an SMMU that could fetch it, it is forgotten.
    pub(super) fn observe_named<M: PhysMem + ?Sized>(&mut self, mem: &mut M, command: &Command) {
        let named: Vec<_> = self
            .observations
            .last
            .keys()
            .filter(|(stream, substream)| {
                command.covers_cd(*stream, substream.unwrap_or(SubstreamId::new(0)))
            })
            .copied()
            .collect();
        for key in named {
            if !self.smmu.part.regs.cr0().smmuen() {
                self.observations.last.remove(&key);
                continue;
            }
            let mut trail = Trail::default();
            let (stream, substream) = key;
            self.smmu
                .part
                .configuration(&mut DryRun::new(mem), stream, substream, &mut trail);
            self.observe(key, &trail, (None, Some(command)));
        }
    }
}
