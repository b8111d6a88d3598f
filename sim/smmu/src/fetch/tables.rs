//! Address arithmetic of stream tables and CD tables, linear and two-level. No memory access.

use super::{CdTable, CdTableFormat};
use crate::addr::Pa;
use crate::config::SmmuConfig;
use crate::ids::{StreamId, SubstreamId};
use crate::regfile::RegisterFile;
use crate::spec::cdtab::L1Cd;
use crate::spec::strtab::L1Std;

const STE_LOG2: u32 = 6;
const CD_LOG2: u32 = 6;
const LEVEL1_LOG2: u32 = 3;

/// The stream table the registers describe (IHI 0070 §6.3.23, §6.3.24).
pub(super) struct StreamTable {
    base: u64,
    /// Bits of a StreamID in range.
    size_log2: u32,
    /// Bits of a StreamID that index within a level-2 array; `None` for a linear table.
    split: Option<u32>,
}

/// Where an STE is.
pub(super) enum StePlace {
    /// At this address.
    Here(Pa),
    /// In the level-2 array that an L1STD points to.
    Through {
        /// Address of the L1STD.
        l1std: Pa,
        /// Index in the level-2 array.
        index: u64,
    },
}

/// `address` with the bits below `log2` cleared, which may be all of them.
fn align_down(address: u64, log2: u32) -> u64 {
    address & u64::MAX.checked_shl(log2).unwrap_or(0)
}

impl StreamTable {
    pub(super) fn new(config: &SmmuConfig, regs: &RegisterFile) -> Self {
        let cfg = regs.strtab_base_cfg();
        let base = regs.strtab_base().addr() << 6;
        let programmed_log2 = u32::from(cfg.log2size());
        let size_log2 = programmed_log2.min(config.sidsize.into());
        // Reserved FMT values act as linear, reserved SPLIT values as 6.
        let split = (config.st_level && cfg.fmt() == 1).then(|| match cfg.split() {
            split @ (8 | 10) => u32::from(split),
            _ => 6,
        });
        // The base is aligned by LOG2SIZE as programmed, not as capped by SIDSIZE.
        let align_log2 = match split {
            None => programmed_log2 + STE_LOG2,
            Some(split) => (programmed_log2.saturating_sub(split) + LEVEL1_LOG2).max(6),
        };
        Self {
            base: align_down(base, align_log2),
            size_log2,
            split,
        }
    }

    /// Where the STE of `stream` is; `None` if the StreamID is out of range.
    pub(super) fn locate(&self, stream: StreamId) -> Option<StePlace> {
        let sid = u64::from(stream.get());
        if sid >> self.size_log2 != 0 {
            return None;
        }
        Some(match self.split {
            None => StePlace::Here(Pa::new(self.base + (sid << STE_LOG2))),
            Some(split) => StePlace::Through {
                l1std: Pa::new(self.base + (sid >> split << LEVEL1_LOG2)),
                index: sid & ((1 << split) - 1),
            },
        })
    }

    /// Where the STE with `index` is in the array that `l1std` points to; `None` if the array is
    /// absent or too short.
    pub(super) fn locate_in_level2(&self, l1std: u64, index: u64) -> Option<Pa> {
        let l1std = L1Std::from_words([l1std]);
        let split = self.split?;
        let span = u32::from(l1std.span());
        if span == 0 || span > 11 || span > split + 1 || index >> (span - 1) != 0 {
            return None;
        }
        let array = align_down(l1std.l2ptr() << 6, STE_LOG2 + span - 1);
        Some(Pa::new(array + (index << STE_LOG2)))
    }
}

/// Where a CD is: a PA, or an IPA under stage 2.
pub(super) enum CdPlace {
    /// At this address.
    Here(u64),
    /// In the array that an L1CD points to.
    Through {
        /// Address of the L1CD.
        l1cd: u64,
        /// Where in the array.
        leaf: CdLeaf,
    },
}

/// A CD's place in a level-2 array.
pub(super) struct CdLeaf {
    array_log2: u32,
    index: u64,
}

impl CdTable {
    /// Where the CD with `index`, which is in range, is.
    pub(super) fn locate(&self, index: SubstreamId) -> CdPlace {
        let index = u64::from(index.get());
        let count_log2 = u32::from(self.count_log2);
        let leaf_index_log2 = match self.format {
            _ if count_log2 == 0 => return CdPlace::Here(self.s1contextptr),
            CdTableFormat::Linear => {
                let base = align_down(self.s1contextptr, count_log2 + CD_LOG2);
                return CdPlace::Here(base + (index << CD_LOG2));
            }
            CdTableFormat::TwoLevel4K => 6,
            CdTableFormat::TwoLevel64K => 10,
        };
        let level1_log2 = count_log2.saturating_sub(leaf_index_log2) + LEVEL1_LOG2;
        let base = align_down(self.s1contextptr, level1_log2.max(6));
        CdPlace::Through {
            l1cd: base + (index >> leaf_index_log2 << LEVEL1_LOG2),
            leaf: CdLeaf {
                array_log2: leaf_index_log2 + CD_LOG2,
                index: index & ((1 << leaf_index_log2) - 1),
            },
        }
    }
}

impl CdLeaf {
    /// The CD's address by its L1CD; `None` if that is invalid or points beyond `limit` bits.
    pub(super) fn locate(&self, l1cd: u64, limit: u8) -> Option<u64> {
        let l1cd = L1Cd::from_words([l1cd]);
        let pointer = l1cd.l2ptr() << 12;
        if !l1cd.v() || pointer >> limit != 0 {
            return None;
        }
        Some(align_down(pointer, self.array_log2) + (self.index << CD_LOG2))
    }
}
