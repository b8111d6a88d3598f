//! Stream table entries as the driver makes them, and which of their bits hardware looks at
//! (`arm_smmu_make_*_ste`, `arm_smmu_get_ste_used`).

use smmu::addr::Pa;
use smmu::ids::Vmid;
use smmu::spec::attrs::{Ps, Sh, SteConfig, Tg0};
use smmu::spec::ste::{Ste, SteDw0, SteDw1, SteDw2, SteDw3};

use crate::entry::{ENTRY_WORDS, Entry, EntryKind};
use crate::pgtable::{Format, PageTables, Stage};
use crate::probe::{Features, Unattached};

/// STE.S1DSS: transactions without SubstreamID use CD 0.
const S1DSS_SSID0: u8 = 2;
/// Write-Back, Read- and Write-Allocate, in the two-bit form of S1CIR, S1COR, IR0 and OR0.
pub(crate) const WBRA: u8 = 1;
/// STE.STRW.
const STRW_EL2: u8 = 2;
/// STE.EATS: ATS is served.
const EATS_TRANS: u8 = 1;
/// STE.SHCFG: the incoming shareability.
const SHCFG_INCOMING: u8 = 1;

/// Whether a stream may use ATS: STE.EATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eats {
    /// Requests are refused.
    Abort,
    /// Requests are served.
    Trans,
}

/// What an STE says about stage 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage1Entry {
    /// Table of context descriptors.
    pub context_ptr: Pa,
    /// S1Fmt: 0 linear, 2 two-level with 64 KiB leaves.
    pub s1fmt: u8,
    /// log2 of the number of context descriptors.
    pub s1cdmax: u8,
}

/// What an STE says about stage 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage2Entry {
    /// Tag of its translations.
    pub vmid: Vmid,
    /// VTCR fields, doubleword 2 without VMID and flags.
    pub vtcr: SteDw2,
    /// Start table.
    pub ttb: Pa,
    /// STE.S2FWB.
    pub fwb: bool,
}

/// Ps of an address size.
pub(crate) fn ps(bits: u32) -> Ps {
    match bits {
        32 => Ps::Bits32,
        36 => Ps::Bits36,
        40 => Ps::Bits40,
        42 => Ps::Bits42,
        44 => Ps::Bits44,
        52 => Ps::Bits52,
        _ => Ps::Bits48,
    }
}

/// TG0 of a granule.
pub(crate) fn tg0(granule_log2: u32) -> Tg0 {
    match granule_log2 {
        14 => Tg0::K16,
        16 => Tg0::K64,
        _ => Tg0::K4,
    }
}

/// Cacheability and shareability of table walks: write-back where they snoop.
pub(crate) fn walk_attributes(format: &Format) -> (u8, Sh) {
    if format.coherent() {
        (WBRA, Sh::InnerShareable)
    } else {
        (0, Sh::OuterShareable)
    }
}

impl Stage2Entry {
    /// The stage 2 of these tables (`arm_64_lpae_alloc_pgtable_s2`).
    pub fn new(tables: &PageTables, vmid: Vmid) -> Self {
        let format = tables.format();
        let (cacheability, shareability) = walk_attributes(format);
        // SL0 counts from level 2 with 4 KiB tables, from level 3 with the others.
        let from = if format.granule_log2() == 12 { 2 } else { 3 };
        let vtcr = SteDw2::new()
            .with_s2t0sz(64 - format.ias() as u8)
            .with_s2sl0(from - format.start_level())
            .with_s2ir0(cacheability)
            .with_s2or0(cacheability)
            .with_s2sh0(shareability)
            .with_s2tg(tg0(format.granule_log2()))
            .with_s2ps(ps(format.oas()));
        Self {
            vmid,
            vtcr,
            ttb: tables.root(),
            fwb: matches!(format.stage(), Stage::Stage2 { fwb: true }),
        }
    }

    /// Doubleword 2.
    pub(crate) fn dw2(&self, features: &Features) -> SteDw2 {
        self.vtcr
            .with_s2vmid(self.vmid.get())
            .with_s2aa64(true)
            .with_s2ptw(true)
            .with_s2s(features.stall_force)
            .with_s2r(true)
    }

    /// Doubleword 3.
    pub(crate) fn dw3(&self) -> SteDw3 {
        SteDw3::new().with_s2ttb(self.ttb.get() >> 4)
    }
}

impl Stage1Entry {
    /// Doubleword 0 with this configuration.
    pub(crate) fn dw0(&self, config: SteConfig) -> SteDw0 {
        SteDw0::new()
            .with_v(true)
            .with_config(config)
            .with_s1fmt(self.s1fmt)
            .with_s1contextptr(self.context_ptr.get() >> 6)
            .with_s1cdmax(self.s1cdmax)
    }
}

/// Doubleword 1 of a stream whose stage 1 translates.
pub(crate) fn stage1_dw1(features: &Features, stalls: Stalls) -> SteDw1 {
    SteDw1::new()
        .with_s1dss(S1DSS_SSID0)
        .with_s1cir(WBRA)
        .with_s1cor(WBRA)
        .with_s1csh(Sh::InnerShareable)
        .with_s1stalld(features.stalls && !features.stall_force && stalls == Stalls::Off)
        .with_strw(if features.e2h { STRW_EL2 } else { 0 })
}

/// Whether a device's faulting transactions may stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stalls {
    /// They terminate.
    Off,
    /// They wait for software.
    On,
}

/// An STE that aborts every transaction without an event.
pub fn abort_ste() -> Entry {
    ste(SteDw0::new().with_v(true), SteDw1::new(), None)
}

/// An STE that lets every transaction pass.
pub fn bypass_ste(features: &Features) -> Entry {
    let dw0 = SteDw0::new().with_v(true).with_config(SteConfig::Bypass);
    ste(dw0, SteDw1::new().with_shcfg(shcfg(features)), None)
}

/// SHCFG exists where attributes can be overridden.
fn shcfg(features: &Features) -> u8 {
    if features.attr_types_ovr {
        SHCFG_INCOMING
    } else {
        0
    }
}

/// An STE of a device whose stage 1 is ours.
pub fn cdtable_ste(features: &Features, s1: &Stage1Entry, eats: Eats, stalls: Stalls) -> Entry {
    let dw1 = stage1_dw1(features, stalls).with_eats(eats.bits());
    ste(s1.dw0(SteConfig::Stage1), dw1, None)
}

/// An STE of a device that only stage 2 translates.
pub fn stage2_ste(features: &Features, s2: &Stage2Entry, eats: Eats) -> Entry {
    let dw0 = SteDw0::new().with_v(true).with_config(SteConfig::Stage2);
    let dw1 = SteDw1::new()
        .with_eats(eats.bits())
        .with_s2fwb(s2.fwb)
        .with_shcfg(shcfg(features));
    ste(dw0, dw1, Some((features, s2)))
}

/// An STE of a device whose stage 1 is a guest's, over our stage 2.
pub fn nested_ste(features: &Features, s1: &Stage1Entry, s2: &Stage2Entry, eats: Eats) -> Entry {
    // A guest runs at NS-EL1 whatever the host does.
    let dw1 = stage1_dw1(features, Stalls::Off)
        .with_strw(0)
        .with_eats(eats.bits())
        .with_s2fwb(s2.fwb)
        .with_shcfg(shcfg(features));
    ste(s1.dw0(SteConfig::Nested), dw1, Some((features, s2)))
}

impl Eats {
    pub(crate) fn bits(self) -> u8 {
        match self {
            Self::Abort => 0,
            Self::Trans => EATS_TRANS,
        }
    }
}

fn ste(dw0: SteDw0, dw1: SteDw1, s2: Option<(&Features, &Stage2Entry)>) -> Entry {
    let (dw2, dw3) = match s2 {
        Some((features, s2)) => (s2.dw2(features), s2.dw3()),
        None => (SteDw2::new(), SteDw3::new()),
    };
    Ste {
        dw0,
        dw1,
        dw2,
        dw3,
        ..Ste::default()
    }
    .words()
}

/// What a device attached to nothing gets.
pub(crate) fn unattached_ste(features: &Features, unattached: Unattached) -> Entry {
    match unattached {
        Unattached::Abort => abort_ste(),
        Unattached::Bypass => bypass_ste(features),
    }
}

/// STEs for the entry writer; whether EATS and MEV may change at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SteKind {
    /// No bit may (6.9 to 6.12).
    Strict,
    /// EATS where harmless, and MEV (7.2).
    SafeBits,
}

const EATS: SteDw1 = SteDw1::new().with_eats(3);
const EATS_TRANS_BIT: SteDw1 = SteDw1::new().with_eats(EATS_TRANS);
const EATS_S1CHK_BIT: SteDw1 = SteDw1::new().with_eats(2);
const MEV: SteDw1 = SteDw1::new().with_mev(true);
const SHCFG: SteDw1 = SteDw1::new().with_shcfg(3);

fn dw1(word: SteDw1) -> u64 {
    word.into_bits().get()
}

impl EntryKind for SteKind {
    fn used(&self, entry: &Entry) -> Entry {
        let mut used = [0; ENTRY_WORDS];
        let ste = Ste::from_words(*entry);
        used[0] = SteDw0::new().with_v(true).into_bits().get();
        if !ste.dw0.v() {
            return used;
        }
        let all = SteConfig(7);
        used[0] |= SteDw0::new().with_config(all).into_bits().get();
        let config = ste.dw0.config().0;
        // Bit 0: stage 1 translates; bit 1: stage 2 does; bit 2 alone: bypass.
        if config & 1 != 0 {
            used[0] |= Stage1Entry {
                context_ptr: Pa::new(0x00ff_ffff_ffff_ffc0),
                s1fmt: 3,
                s1cdmax: 31,
            }
            .dw0(all)
            .into_bits()
            .get();
            let stage1 = SteDw1::new()
                .with_s1dss(3)
                .with_s1cir(3)
                .with_s1cor(3)
                .with_s1csh(Sh(3))
                .with_s1stalld(true)
                .with_strw(3);
            used[1] |= dw1(stage1) | dw1(EATS) | dw1(MEV);
            used[2] |= SteDw2::new().with_s2vmid(0xffff).into_bits().get();
            if ste.dw1.s1dss() == 1 {
                used[1] |= dw1(SHCFG);
            }
        }
        if config & 2 != 0 {
            used[1] |= dw1(SteDw1::new().with_s2fwb(true)) | dw1(EATS) | dw1(SHCFG) | dw1(MEV);
            used[2] |= SteDw2::new()
                .with_s2vmid(0xffff)
                .with_s2t0sz(0x3f)
                .with_s2sl0(3)
                .with_s2ir0(3)
                .with_s2or0(3)
                .with_s2sh0(Sh(3))
                .with_s2tg(Tg0(3))
                .with_s2ps(Ps(7))
                .with_s2aa64(true)
                .with_s2endi(true)
                .with_s2ptw(true)
                .with_s2s(true)
                .with_s2r(true)
                .into_bits()
                .get();
            used[3] |= SteDw3::new().with_s2ttb((1 << 48) - 1).into_bits().get();
        }
        if config == 4 {
            used[1] |= dw1(SHCFG);
        }
        used
    }

    fn safe(&self, current: &Entry, target: &Entry) -> Entry {
        let mut safe = [0; ENTRY_WORDS];
        if *self == Self::SafeBits {
            let s2s = SteDw2::new().with_s2s(true).into_bits().get();
            let split_stage = (current[1] | target[1]) & dw1(EATS_S1CHK_BIT) != 0;
            if !split_stage && (current[2] | target[2]) & s2s == 0 {
                safe[1] |= dw1(EATS_TRANS_BIT);
            }
            safe[1] |= dw1(MEV);
        }
        safe
    }
}
