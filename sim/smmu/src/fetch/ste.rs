//! The STE: which ones are illegal, and what a legal one means (IHI 0070 §5.2).

use super::{
    CdTable, CdTableFormat, DefaultSubstream, Eats, Ppar, StreamAction, StreamContext, StreamWorld,
};
use crate::attr::{NoTagAccess, Overrides, Shareability};
use crate::config::{Httu, SmmuConfig, StallModel, TableEndianness};
use crate::fault::{Broken, Disposition, IllegalSte};
use crate::ids::Vmid;
use crate::perm::{DirtyState, ExecuteNever};
use crate::spec::regs::Cr2;
use crate::spec::ste::Ste;
use crate::transaction::Response;
use crate::translate::{instcfg, privcfg};
use crate::walk::Stage2;
use crate::walk::params::{IllegalTable, StartLevel, TableFields, TableParams};

/// The meaning of an STE.
///
/// # Errors
/// The first rule of the list that it breaks: the stream then gets C_BAD_STE.
#[inline(always)]
pub fn resolve_ste(ste: &Ste, config: &SmmuConfig, cr2: Cr2) -> Result<StreamContext, IllegalSte> {
    let (broken, tables) = examine(ste, config);
    if let Some(illegal) = broken.first() {
        return Err(illegal);
    }
    let form = Form::of(ste);
    let (dw1, dw2) = (ste.dw1, ste.dw2);
    let s2 = tables.map(|tables| {
        let hardware = config.httu;
        let ha = hardware >= Httu::AccessFlag && dw2.s2ha();
        Stage2 {
            tables,
            vmid: Vmid::new(dw2.s2vmid()),
            affd: dw2.s2affd(),
            ha,
            dirty_state: if ha && hardware >= Httu::Dirty && dw2.s2hd() {
                DirtyState::Managed
            } else {
                DirtyState::Ignored
            },
            ptw: form.stage1 && dw2.s2ptw(),
            fwb: config.fwb && dw1.s2fwb(),
            xn: if config.xnx {
                ExecuteNever::ByPrivilege
            } else {
                ExecuteNever::OneBit
            },
            tags: if config.mteperm {
                NoTagAccess::Present
            } else {
                NoTagAccess::Absent
            },
            sh: (tables.takes_shareability_bits())
                .then(|| Shareability::from_bits(u64::from(dw2.s2sh0().0))),
            disposition: if dw2.s2s() {
                Disposition::Stall
            } else {
                Disposition::Terminate {
                    response: Response::Abort,
                    recorded: dw2.s2r(),
                }
            },
        }
    });
    let world = form.world(ste, config, cr2);
    Ok(StreamContext {
        action: form.action,
        world,
        vmid: if config.s2p && world == StreamWorld::El1 {
            Vmid::new(dw2.s2vmid())
        } else {
            Vmid::new(0)
        },
        eats: match dw1.eats() {
            _ if !config.ats || form.action != StreamAction::Translate => Eats::Disabled,
            1 => Eats::Full,
            2 => Eats::SplitStage,
            _ => Eats::Disabled,
        },
        ppar: if dw1.ppar() {
            Ppar::WithPasid
        } else {
            Ppar::WithoutPasid
        },
        overrides: if config.attr_types_ovr {
            Overrides::from_fields(
                dw1.mtcfg(),
                dw1.memattr().into(),
                dw1.shcfg().into(),
                dw1.alloccfg().into(),
            )
        } else {
            Overrides::default()
        },
        privcfg: if config.attr_perms_ovr {
            privcfg(dw1.privcfg())
        } else {
            None
        },
        instcfg: if config.attr_perms_ovr {
            instcfg(dw1.instcfg())
        } else {
            None
        },
        dre: dw1.dre(),
        dcp: dw1.dcp(),
        cds: form.stage1.then(|| cd_table(ste, config)),
        s2,
    })
}

/// Reports every rule that makes an STE illegal, in the order of the list. A part's ID registers
/// decide most of them.
pub fn ste_violations(ste: &Ste, config: &SmmuConfig, report: impl FnMut(IllegalSte)) {
    examine(ste, config).0.iter().for_each(report);
}

/// What is illegal about an STE, and the stage-2 tables it enables, if legal.
#[inline(always)]
fn examine(ste: &Ste, config: &SmmuConfig) -> (Broken<IllegalSte>, Option<TableParams>) {
    use IllegalSte as I;
    let form = Form::of(ste);
    let (dw0, dw1, dw2) = (ste.dw0, ste.dw1, ste.dw2);
    if !dw0.v() {
        // Nothing else of an invalid STE is looked at.
        return (Broken::only(I::NotValid), None);
    }
    let mut broken = Broken::default();
    if form.action == StreamAction::Abort {
        return (broken, None);
    }
    let mut rule = |is_broken, illegal| broken.note(is_broken, illegal);
    rule(form.stage1 && !config.s1p, I::Stage1Absent);
    rule(form.stage2 && !config.s2p, I::Stage2Absent);

    if config.ats && (form.stage1 || form.stage2) {
        let nested = form.stage1 && form.stage2;
        let eats = dw1.eats();
        rule(
            eats == 2 && (!nested || dw2.s2s() || config.ns1ats),
            I::SplitStageAts,
        );
        rule(
            eats == 1 && form.stage2 && dw2.s2s(),
            I::FullAtsWithStage2Stall,
        );
    }
    rule(
        form.strw_used(config) && dw1.strw() & 1 != 0,
        I::StreamWorldReserved,
    );

    if form.stage1 {
        let fixed_model = config.stall_model != StallModel::StallAndTerminate;
        rule(dw1.s1stalld() && fixed_model, I::Stage1StallDisable);
        if config.ssidsize != 0 {
            rule(dw0.s1cdmax() > config.ssidsize, I::CdTableTooLarge);
            let two_level = matches!(dw0.s1fmt(), 1 | 2);
            rule(
                dw0.s1cdmax() != 0 && !config.cd2l && two_level,
                I::TwoLevelCdTable,
            );
        }
        let limit = if form.stage2 {
            config.ias()
        } else {
            config.oas
        };
        rule(dw0.s1contextptr() << 6 >> limit != 0, I::S1ContextPtrRange);
    }

    let mut tables = None;
    if form.stage2 {
        match config.stall_model {
            StallModel::StallAndTerminate => {}
            StallModel::TerminateOnly => rule(dw2.s2s(), I::Stage2StallForbidden),
            StallModel::StallForced => rule(!dw2.s2s(), I::Stage2StallRequired),
        }
        rule(!dw2.s2aa64(), I::Stage2Lpae);
        match config.httu {
            Httu::None => rule(dw2.s2ha() || dw2.s2hd(), I::Stage2HttuAbsent),
            Httu::AccessFlag => rule(dw2.s2hd(), I::Stage2DirtyAbsent),
            Httu::Dirty => {}
            Httu::TableAccessFlag => rule(dw2.s2haft() && !dw2.s2ha(), I::Stage2HaftWithoutHa),
        }
        let start = stage2_start(ste, config);
        tables = stage2_fields(ste, config).resolve(config, start, |illegal| {
            rule(true, illegal_stage2(illegal));
        });
        rule(wrong_endianness(config, dw2.s2endi()), I::Stage2Endianness);
    }

    if config.s2p && !config.vmid16 {
        let unused =
            form.action == StreamAction::Bypass || (form.strw_used(config) && dw1.strw() != 0);
        rule(!unused && dw2.s2vmid() >> 8 != 0, I::VmidRange);
    }
    (broken, tables)
}

/// What STE.Config says.
struct Form {
    action: StreamAction,
    stage1: bool,
    stage2: bool,
}

impl Form {
    fn of(ste: &Ste) -> Self {
        let config = ste.dw0.config().0;
        let translates = config & 0b100 != 0;
        Self {
            action: match config {
                0..0b100 => StreamAction::Abort,
                0b100 => StreamAction::Bypass,
                _ => StreamAction::Translate,
            },
            stage1: translates && config & 0b001 != 0,
            stage2: translates && config & 0b010 != 0,
        }
    }

    /// STRW matters for stage 1 alone, on a part with EL2 StreamWorlds.
    fn strw_used(&self, config: &SmmuConfig) -> bool {
        self.stage1 && !self.stage2 && config.hyp && config.s1p
    }

    fn world(&self, ste: &Ste, config: &SmmuConfig, cr2: Cr2) -> StreamWorld {
        match (self.strw_used(config) && ste.dw1.strw() == 2, cr2.e2h()) {
            (false, _) => StreamWorld::El1,
            (true, false) => StreamWorld::El2,
            (true, true) => StreamWorld::El2E2h,
        }
    }
}

/// Whether a table of this byte order cannot be walked.
pub(super) fn wrong_endianness(config: &SmmuConfig, big_endian: bool) -> bool {
    match config.ttendian {
        TableEndianness::Mixed => false,
        TableEndianness::Little => big_endian,
        TableEndianness::Big => !big_endian,
    }
}

fn cd_table(ste: &Ste, config: &SmmuConfig) -> CdTable {
    let dw0 = ste.dw0;
    CdTable {
        s1contextptr: dw0.s1contextptr() << 6,
        format: match dw0.s1fmt() {
            1 => CdTableFormat::TwoLevel4K,
            2 => CdTableFormat::TwoLevel64K,
            _ => CdTableFormat::Linear,
        },
        count_log2: if config.ssidsize == 0 {
            0
        } else {
            dw0.s1cdmax()
        },
        dss: match ste.dw1.s1dss() {
            1 => DefaultSubstream::Bypass,
            2 => DefaultSubstream::Cd0,
            _ => DefaultSubstream::Terminate,
        },
        stall_disabled: ste.dw1.s1stalld(),
    }
}

fn stage2_fields(ste: &Ste, config: &SmmuConfig) -> TableFields {
    let dw2 = ste.dw2;
    TableFields {
        granule_log2: match dw2.s2tg().0 {
            0 => Some(12),
            1 => Some(16),
            2 => Some(14),
            _ => None,
        },
        tsz: dw2.s2t0sz(),
        base: ste.dw3.s2ttb() << 4,
        ps: dw2.s2ps().0,
        ds: config.ds && ste.dw3.s2ds(),
        big_endian: dw2.s2endi(),
        haft: config.httu == Httu::TableAccessFlag && dw2.s2ha() && dw2.s2haft(),
    }
}

/// {S2SL0_2, S2SL0}; the third bit exists only on a part with DS, for 4 KiB tables, where S2DS=0
/// leaves its encodings reserved (deviations.md D9).
fn stage2_start(ste: &Ste, config: &SmmuConfig) -> StartLevel {
    let high = config.ds && ste.dw2.s2tg().0 == 0 && ste.dw3.s2sl0_2();
    StartLevel::Encoded(ste.dw2.s2sl0() | u8::from(high) << 2)
}

fn illegal_stage2(illegal: IllegalTable) -> IllegalSte {
    match illegal {
        IllegalTable::Granule => IllegalSte::Stage2Granule,
        IllegalTable::Base => IllegalSte::S2TtbRange,
        IllegalTable::Size => IllegalSte::S2T0SzRange,
        IllegalTable::StartLevel => IllegalSte::Stage2StartLevel,
    }
}
