//! STEs, CDs and a linear stream table.

use super::{FrameSource, Geometry, MapError, PageTable};
use crate::addr::Pa;
use crate::ids::{Asid, StreamId, Vmid};
use crate::mem::{AccessClass, BusResult, PhysMem};
use crate::spec::attrs::{Ps, Sh, SteConfig, Tg0, Tg1};
use crate::spec::cd::Cd;
use crate::spec::ste::Ste;

fn tg0(granule_log2: u32) -> Tg0 {
    match granule_log2 {
        14 => Tg0::K16,
        16 => Tg0::K64,
        _ => Tg0::K4,
    }
}

fn tg1(granule_log2: u32) -> Tg1 {
    match granule_log2 {
        14 => Tg1::K16,
        16 => Tg1::K64,
        _ => Tg1::K4,
    }
}

/// Cacheability of table walks that drivers choose: write-back, read and write allocate.
const WRITE_BACK: u8 = 1;

/// A CD for page tables: AArch64 tables, faults abort and are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CdBuilder(pub Cd);

impl CdBuilder {
    /// TTB0 at `table`, no TTB1.
    pub fn new(table: &PageTable, ips: Ps, asid: Asid) -> Self {
        let Geometry {
            granule_log2,
            input_bits,
            lpa2,
            ..
        } = table.geometry();
        let mut cd = Cd::default();
        cd.dw0 = cd
            .dw0
            .with_v(true)
            .with_aa64(true)
            .with_a(true)
            .with_r(true)
            .with_ips(ips)
            .with_asid(asid.get())
            .with_t0sz(64 - input_bits as u8)
            .with_tg0(tg0(granule_log2))
            .with_ir0(WRITE_BACK)
            .with_or0(WRITE_BACK)
            .with_sh0(Sh::InnerShareable)
            .with_epd1(true);
        cd.dw1 = cd.dw1.with_ttb0(table.root() >> 4);
        cd.dw2 = cd.dw2.with_ds(lpa2);
        // Attribute 0: Normal write-back. 1: Normal Non-cacheable. 2: Device-nGnRE.
        cd.dw3 = cd.dw3.with_mair0(0x0004_44ff);
        Self(cd)
    }

    /// The same with TTB1 at `table`.
    #[must_use]
    pub fn with_ttb1(self, table: &PageTable) -> Self {
        let Geometry {
            granule_log2,
            input_bits,
            ..
        } = table.geometry();
        let mut cd = self.0;
        cd.dw0 = cd
            .dw0
            .with_epd1(false)
            .with_t1sz(64 - input_bits as u8)
            .with_tg1(tg1(granule_log2))
            .with_ir1(WRITE_BACK)
            .with_or1(WRITE_BACK)
            .with_sh1(Sh::InnerShareable);
        cd.dw2 = cd.dw2.with_ttb1(table.root() >> 4);
        Self(cd)
    }
}

/// An STE that uses what it is given: stage 1, stage 2, both, or bypass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteBuilder(pub Ste);

impl SteBuilder {
    /// Bypass: addresses and attributes pass unchanged.
    pub fn bypass() -> Self {
        let mut ste = Ste::default();
        ste.dw0 = ste.dw0.with_v(true).with_config(SteConfig::Bypass);
        ste.dw1 = ste.dw1.with_shcfg(1);
        Self(ste)
    }

    fn with_stage(mut self, stage: SteConfig) -> Self {
        let config = SteConfig(self.0.dw0.config().0 | stage.0);
        self.0.dw0 = self.0.dw0.with_config(config);
        self
    }

    /// The same with stage 1: one CD at `s1contextptr`.
    #[must_use]
    pub fn with_stage1(self, s1contextptr: u64) -> Self {
        let mut ste = self.with_stage(SteConfig::Stage1).0;
        ste.dw0 = ste.dw0.with_s1contextptr(s1contextptr >> 6);
        ste.dw1 = ste
            .dw1
            .with_s1cir(WRITE_BACK)
            .with_s1cor(WRITE_BACK)
            .with_s1csh(Sh::InnerShareable);
        Self(ste)
    }

    /// The same with stage 2 by `table`; faults abort and are recorded.
    #[must_use]
    pub fn with_stage2(self, table: &PageTable, s2ps: Ps, vmid: Vmid) -> Self {
        let Geometry {
            granule_log2,
            input_bits,
            start_level,
            lpa2,
        } = table.geometry();
        let mut ste = self.with_stage(SteConfig::Stage2).0;
        // S2SL0 counts up from level 2 for 4 KiB tables, else from level 3; the two exceptions
        // are level 3 of 4 KiB (0b11) and its level −1 (S2SL0_2).
        let sl0 = match (granule_log2, start_level) {
            (12, 3) => 3,
            (12, level) => 2 - level,
            (_, level) => 3 - level,
        };
        ste.dw2 = ste
            .dw2
            .with_s2vmid(vmid.get())
            .with_s2t0sz(64 - input_bits as u8)
            .with_s2sl0(sl0 as u8 & 3)
            .with_s2tg(tg0(granule_log2))
            .with_s2ps(s2ps)
            .with_s2ir0(WRITE_BACK)
            .with_s2or0(WRITE_BACK)
            .with_s2sh0(Sh::InnerShareable)
            .with_s2aa64(true)
            .with_s2r(true);
        ste.dw3 = ste
            .dw3
            .with_s2ttb(table.root() >> 4)
            .with_s2ds(lpa2)
            .with_s2sl0_2(granule_log2 == 12 && start_level == -1);
        if granule_log2 == 12 && start_level == -1 {
            ste.dw2 = ste.dw2.with_s2sl0(0);
        }
        Self(ste)
    }
}

/// A linear stream table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearStreamTable {
    base: u64,
    size_log2: u32,
}

impl LinearStreamTable {
    /// Room for `1 << size_log2` STEs from `frames`.
    ///
    /// # Errors
    /// [`MapError::NoFrames`].
    pub fn new(size_log2: u32, frames: &mut impl FrameSource) -> Result<Self, MapError> {
        let base = frames.take(size_log2 + 6).ok_or(MapError::NoFrames)?;
        Ok(Self { base, size_log2 })
    }

    /// Value of STRTAB_BASE.
    pub fn strtab_base(&self) -> u64 {
        self.base
    }

    /// Value of STRTAB_BASE_CFG.
    pub fn strtab_base_cfg(&self) -> u32 {
        self.size_log2
    }

    /// Writes the STE of `stream`.
    ///
    /// # Errors
    /// [`crate::mem::BusAbort`] if it is not in memory.
    pub fn set<M: PhysMem>(&self, memory: &mut M, stream: StreamId, ste: &Ste) -> BusResult<()> {
        write_structure(
            memory,
            self.base + u64::from(stream.get()) * 64,
            &ste.words(),
        )
    }
}

impl CdBuilder {
    /// Writes the CD to `pa`.
    ///
    /// # Errors
    /// [`crate::mem::BusAbort`] if it is not in memory.
    pub fn write<M: PhysMem>(&self, memory: &mut M, pa: Pa) -> BusResult<()> {
        write_structure(memory, pa.get(), &self.0.words())
    }
}

fn write_structure<M: PhysMem>(memory: &mut M, at: u64, words: &[u64; 8]) -> BusResult<()> {
    for (offset, &word) in (0..).step_by(8).zip(words) {
        memory.write64(Pa::new(at + offset), word, AccessClass::Ste)?;
    }
    Ok(())
}
