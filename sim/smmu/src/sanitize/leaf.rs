//! Blocks and pages of a translation, and which changes of a live one need break-before-make
//! (DDI 0487 §D8.16.1; IHI 0070 §3.21.1).

use super::finding::BrokenRule;
use super::trail::Word;
use crate::command::canonical;
use crate::config::SmmuConfig;
use crate::fetch::{Configuration, Stage1Use};
use crate::observe::{Purpose, Structure};
use crate::transaction::Transaction;

const CONTIGUOUS: u64 = 1 << 52;
const DBM: u64 = 1 << 51;
const NT: u64 = 1 << 16;
const NOT_GLOBAL: u64 = 1 << 11;
/// AP\[2\]: stage 1 is read-only. S2AP\[1\]: stage 2 is writable.
const AP_HIGH: u64 = 1 << 7;

/// A block or page as a translation met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    descriptor: u64,
    /// The input address it was met for.
    pub(super) input: u64,
    /// Output minus input.
    distance: u64,
    lsb: u8,
    /// What it says of memory type and cacheability.
    memory: u8,
    writable: bool,
    global: bool,
}

/// The blocks or pages of both stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Leaves {
    pub(super) stage1: Option<Leaf>,
    pub(super) stage2: Option<Leaf>,
}

impl Leaf {
    /// Which rule forbids that this translation becomes `new` while it is live.
    fn broken_by(&self, new: &Self, config: &SmmuConfig) -> Option<BrokenRule> {
        let marked = (self.descriptor | new.descriptor) & NT != 0;
        let resized = self.lsb != new.lsb;
        let regrouped = (self.descriptor ^ new.descriptor) & CONTIGUOUS != 0;
        let size = match config.bbml {
            0 => resized || regrouped,
            1 => resized && !marked,
            _ => false,
        };
        if self.distance != new.distance && (self.writable || new.writable) {
            Some(BrokenRule::OutputAddress)
        } else if self.memory != new.memory {
            Some(BrokenRule::Attributes)
        } else if self.global != new.global {
            Some(BrokenRule::Global)
        } else {
            size.then_some(BrokenRule::Size)
        }
    }
}

impl Leaves {
    /// What the words read for `transaction` say, tables as in `configuration`. The last words of a
    /// stage are those of its leaf.
    pub(super) fn of<'a>(
        configuration: &Configuration,
        transaction: &Transaction,
        words: impl DoubleEndedIterator<Item = &'a Word> + Clone,
    ) -> Self {
        let address = transaction.address.get();
        let mut stage1 = None;
        let mut input2 = address;
        if let Stage1Use::Translates(s1) = &configuration.stage1 {
            let at_level = |word: &&Word| matches!(word.structure, Structure::Stage1(_));
            let found = words.clone().rev().find(at_level);
            if let (Some(word), Some(tables)) = (found, &s1.half(address).tables)
                && let Structure::Stage1(level) = word.structure
                && let Some((output, lsb)) = tables.leaf(word.value, level)
            {
                let offset = address & ((1 << lsb) - 1);
                input2 = output | offset;
                let index = word.value >> 2 & 7;
                stage1 = Some(Leaf {
                    descriptor: word.value,
                    input: canonical(address),
                    distance: output.wrapping_sub(canonical(address) - offset),
                    lsb,
                    memory: (s1.mair >> (8 * index)) as u8,
                    writable: word.value & AP_HIGH == 0 || word.value & DBM != 0,
                    global: s1.regime.has_unprivileged && word.value & NOT_GLOBAL == 0,
                });
            } else {
                return Self::default();
            }
        }
        let mut stage2 = None;
        if let Some(s2) = &configuration.stream.s2 {
            // Stage 2 of the input follows all of stage 1.
            let last = words.rev().find(|word| {
                matches!(word.structure, Structure::Stage1(_))
                    || matches!(word.structure, Structure::Stage2(_))
                        && word.purpose == Purpose::Input
            });
            if let Some(word) = last
                && let Structure::Stage2(level) = word.structure
                && let Some((output, lsb)) = s2.tables.leaf(word.value, level)
            {
                let offset = input2 & ((1 << lsb) - 1);
                stage2 = Some(Leaf {
                    descriptor: word.value,
                    input: input2,
                    distance: output.wrapping_sub(input2 - offset),
                    lsb,
                    memory: (word.value >> 2 & 0xf) as u8,
                    writable: word.value & (AP_HIGH | DBM) != 0,
                    global: false,
                });
            }
        }
        Self { stage1, stage2 }
    }

    /// Which rule forbids that these translations become `new` while they are live. What is missing
    /// on either side is not compared, nor what stage 2 makes of different intermediate addresses.
    pub(super) fn broken_by(&self, new: &Self, config: &SmmuConfig) -> Option<BrokenRule> {
        let stage =
            |old: &Option<Leaf>, new: &Option<Leaf>| old.as_ref()?.broken_by(new.as_ref()?, config);
        let distance = |leaves: &Self| leaves.stage1.map(|leaf| leaf.distance);
        stage(&self.stage1, &new.stage1).or_else(|| {
            (distance(self) == distance(new))
                .then(|| stage(&self.stage2, &new.stage2))
                .flatten()
        })
    }
}
