//! The stream table: linear, or two-level with second-level tables allocated when a StreamID in
//! them is first used.

use iommu_core::Errno;
use smmu::addr::Pa;
use smmu::ids::StreamId;
use smmu::spec::regs::{StrtabBase, StrtabBaseCfg};
use smmu::spec::strtab::{L1Std, L1StdDw0};

use crate::platform::Platform;
use crate::probe::{Features, STRTAB_SPLIT};

/// Doublewords of an STE.
pub(crate) const STE_WORDS: usize = 8;
const STE_BYTES: u64 = 64;
/// Bytes of a second-level table.
pub(crate) const L2_BYTES: u64 = STE_BYTES << STRTAB_SPLIT;
/// log2 of the most first-level descriptors (`STRTAB_L1_SZ_SHIFT`).
const L1_LOG2_MAX: u32 = 17;

/// Where the stream table is. What it holds is in memory only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamTable {
    base: Pa,
    levels: u32,
    /// log2 of the StreamIDs it covers.
    log2: u32,
}

impl StreamTable {
    /// Allocates the table; STEs of a linear one, and none of a two-level one, are `initial`.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new<P: Platform>(
        platform: &mut P,
        features: &Features,
        initial: &[u64; STE_WORDS],
    ) -> Result<Self, Errno> {
        let levels = features.strtab_levels();
        let log2 = if levels == 2 {
            (features.sid_bits - STRTAB_SPLIT).min(L1_LOG2_MAX) + STRTAB_SPLIT
        } else {
            features.sid_bits
        };
        let bytes = if levels == 2 {
            8 << (log2 - STRTAB_SPLIT)
        } else {
            STE_BYTES << log2
        };
        platform
            .control_mut()
            .step("driver:alloc_strtab", Errno::ENOMEM)?;
        let base = platform.alloc(bytes).ok_or(Errno::ENOMEM)?;
        if levels == 1 {
            for sid in 0..1 << log2 {
                platform.write_words(base.add(sid * STE_BYTES), initial);
            }
        }
        Ok(Self { base, levels, log2 })
    }

    /// STRTAB_BASE.
    pub(crate) fn base_register(&self) -> u64 {
        StrtabBase::new()
            .with_addr(self.base.get() >> 6)
            .with_ra(true)
            .into()
    }

    /// STRTAB_BASE_CFG.
    pub(crate) fn config_register(&self) -> u32 {
        let cfg = StrtabBaseCfg::new().with_log2size(self.log2 as u8);
        if self.levels == 2 {
            cfg.with_split(STRTAB_SPLIT as u8).with_fmt(1).into()
        } else {
            cfg.into()
        }
    }

    /// Whether a StreamID lies in the table (`arm_smmu_sid_in_range`).
    pub(crate) fn covers(&self, sid: StreamId) -> bool {
        u64::from(sid.get()) >> self.log2 == 0
    }

    fn l1_descriptor(&self, sid: StreamId) -> Pa {
        self.base.add(u64::from(sid.get() >> STRTAB_SPLIT) * 8)
    }

    /// Where the STE of `sid` is; `None` if its second-level table does not exist.
    pub(crate) fn ste<P: Platform>(&self, platform: &P, sid: StreamId) -> Option<Pa> {
        if !self.covers(sid) {
            return None;
        }
        if self.levels == 1 {
            return Some(self.base.add(u64::from(sid.get()) * STE_BYTES));
        }
        let descriptor = L1Std::from_words([platform.load(self.l1_descriptor(sid))]);
        let table = Pa::new(descriptor.l2ptr() << 6);
        let index = u64::from(sid.get()) & ((1 << STRTAB_SPLIT) - 1);
        (descriptor.span() != 0).then(|| table.add(index * STE_BYTES))
    }

    /// Makes sure the STE of `sid` exists (`arm_smmu_init_l2_strtab`).
    ///
    /// # Errors
    /// ENOMEM; nothing has changed then.
    pub(crate) fn prepare<P: Platform>(
        &self,
        platform: &mut P,
        sid: StreamId,
        initial: &[u64; STE_WORDS],
    ) -> Result<(), Errno> {
        if self.levels == 1 || self.ste(platform, sid).is_some() {
            return Ok(());
        }
        platform
            .control_mut()
            .step("driver:alloc_l2_strtab", Errno::ENOMEM)?;
        let table = platform.alloc(L2_BYTES).ok_or(Errno::ENOMEM)?;
        for index in 0..1 << STRTAB_SPLIT {
            platform.write_words(table.add(index * STE_BYTES), initial);
        }
        let descriptor = L1StdDw0::new()
            .with_span(STRTAB_SPLIT as u8 + 1)
            .with_l2ptr(table.get() >> 6);
        let [word] = L1Std { dw0: descriptor }.words();
        platform.store(self.l1_descriptor(sid), word);
        Ok(())
    }
}
