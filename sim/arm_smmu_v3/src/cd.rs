//! Context descriptors and the tables they are in.

use iommu_core::Errno;
use smmu::addr::Pa;
use smmu::ids::{Asid, SubstreamId};
use smmu::spec::cd::{Cd, CdDw0, CdDw1, CdDw3};
use smmu::spec::cdtab::{L1Cd, L1CdDw0};

use crate::entry::{ENTRY_WORDS, Entry, EntryKind};
use crate::pgtable::{MAIR, PageTables};
use crate::platform::Platform;
use crate::probe::Features;
use crate::ste::{Stage1Entry, ps, tg0, walk_attributes};

const CD_BYTES: u64 = 64;
/// CDs of a second-level table (`CTXDESC_L2_ENTRIES`).
const L2_CDS: u64 = 1024;
const L2_BYTES: u64 = L2_CDS * CD_BYTES;
/// S1Fmt: two levels, 64 KiB leaves.
const FMT_64K_L2: u8 = 2;

/// A table of context descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CdTable {
    base: Pa,
    /// log2 of the number of CDs: STE.S1CDMax.
    s1cdmax: u8,
    levels: u8,
}

impl CdTable {
    /// Allocates a table for `ssid_bits` (`arm_smmu_alloc_cd_tables`). Leaves of a two-level one
    /// come with the CDs in them.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new<P: Platform>(
        platform: &mut P,
        features: &Features,
        ssid_bits: u32,
    ) -> Result<Self, Errno> {
        let cds = 1u64 << ssid_bits;
        let levels = if features.two_level_cdtab && cds > L2_CDS {
            2
        } else {
            1
        };
        platform
            .control_mut()
            .faults
            .step("driver:alloc_cd_table", Errno::ENOMEM)?;
        let base = platform
            .alloc(Self::first_bytes(cds, levels))
            .ok_or(Errno::ENOMEM)?;
        Ok(Self {
            base,
            s1cdmax: ssid_bits as u8,
            levels,
        })
    }

    fn first_bytes(cds: u64, levels: u8) -> u64 {
        if levels == 1 {
            cds * CD_BYTES
        } else {
            cds.div_ceil(L2_CDS) * 8
        }
    }

    /// Frees the table and its leaves.
    pub(crate) fn free<P: Platform>(self, platform: &mut P) {
        let cds = 1 << self.s1cdmax;
        if self.levels == 2 {
            for index in 0..u64::div_ceil(cds, L2_CDS) {
                let descriptor = L1Cd::from_words([platform.load(self.base.add(index * 8))]);
                if descriptor.v() {
                    platform.free(Pa::new(descriptor.l2ptr() << 12), L2_BYTES);
                }
            }
        }
        platform.free(self.base, Self::first_bytes(cds, self.levels));
    }

    /// What the STE says of it.
    pub(crate) fn entry(&self) -> Stage1Entry {
        Stage1Entry {
            context_ptr: self.base,
            s1fmt: if self.levels == 2 { FMT_64K_L2 } else { 0 },
            s1cdmax: self.s1cdmax,
        }
    }

    /// log2 of the number of CDs.
    pub(crate) fn ssid_bits(&self) -> u32 {
        self.s1cdmax.into()
    }

    /// Where the CD of `ssid` is; `None` beyond the table or in a leaf that does not exist
    /// (`arm_smmu_get_cd_ptr`).
    pub(crate) fn cd<P: Platform>(&self, platform: &P, ssid: SubstreamId) -> Option<Pa> {
        let index = u64::from(ssid.get());
        if index >> self.s1cdmax != 0 {
            return None;
        }
        if self.levels == 1 {
            return Some(self.base.add(index * CD_BYTES));
        }
        let descriptor = L1Cd::from_words([platform.load(self.base.add(index / L2_CDS * 8))]);
        let leaf = Pa::new(descriptor.l2ptr() << 12);
        descriptor.v().then(|| leaf.add(index % L2_CDS * CD_BYTES))
    }

    /// Makes sure the leaf of `ssid` exists (`arm_smmu_alloc_cd_ptr`). If it was made now, an
    /// invalid L1CD may be cached.
    ///
    /// # Errors
    /// ENOMEM; E2BIG beyond the table.
    pub(crate) fn prepare<P: Platform>(
        &self,
        platform: &mut P,
        ssid: SubstreamId,
    ) -> Result<Leaf, Errno> {
        if u64::from(ssid.get()) >> self.s1cdmax != 0 {
            return Err(Errno::E2BIG);
        }
        if self.cd(platform, ssid).is_some() {
            return Ok(Leaf::Present);
        }
        platform
            .control_mut()
            .faults
            .step("driver:alloc_cd_leaf", Errno::ENOMEM)?;
        let leaf = platform.alloc(L2_BYTES).ok_or(Errno::ENOMEM)?;
        let descriptor = L1CdDw0::new().with_v(true).with_l2ptr(leaf.get() >> 12);
        let [word] = L1Cd { dw0: descriptor }.words();
        let index = u64::from(ssid.get()) / L2_CDS;
        platform.store(self.base.add(index * 8), word);
        Ok(Leaf::Made)
    }
}

/// Whether a leaf of a two-level CD table was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// It was.
    Present,
    /// It has been allocated.
    Made,
}

/// The CD of stage-1 tables (`arm_smmu_make_s1_cd`).
pub(crate) fn stage1_cd(features: &Features, tables: &PageTables, asid: Asid) -> Entry {
    let format = tables.format();
    let (cacheability, shareability) = walk_attributes(format);
    let dw0 = CdDw0::new()
        .with_t0sz(64 - format.ias() as u8)
        .with_tg0(tg0(format.granule_log2()))
        .with_ir0(cacheability)
        .with_or0(cacheability)
        .with_sh0(shareability)
        .with_epd1(true)
        .with_v(true)
        .with_ips(ps(format.oas()))
        .with_aa64(true)
        .with_s(features.stall_force)
        .with_r(true)
        .with_a(true)
        .with_aset(true)
        .with_asid(asid.get());
    Cd {
        dw0,
        dw1: CdDw1::new().with_ttb0(tables.root().get() >> 4),
        dw3: CdDw3::new()
            .with_mair0(MAIR as u32)
            .with_mair1((MAIR >> 32) as u32),
        ..Cd::default()
    }
    .words()
}

/// CDs for the entry writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CdKind;

impl EntryKind for CdKind {
    fn used(&self, entry: &Entry) -> Entry {
        if entry[0] & CdDw0::new().with_v(true).into_bits().get() == 0 {
            let mut used = [0; ENTRY_WORDS];
            used[0] = CdDw0::new().with_v(true).into_bits().get();
            return used;
        }
        [u64::MAX; ENTRY_WORDS]
    }

    fn safe(&self, _current: &Entry, _target: &Entry) -> Entry {
        [0; ENTRY_WORDS]
    }
}
