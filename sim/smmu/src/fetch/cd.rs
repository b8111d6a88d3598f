//! The CD: which ones are illegal, and what a legal one means (IHI 0070 §5.4).

use super::ste::wrong_endianness;
use super::{StreamContext, StreamWorld};
use crate::attr::Shareability;
use crate::config::{Httu, SmmuConfig, StallModel};
use crate::fault::{Broken, Disposition, IllegalCd};
use crate::ids::Asid;
use crate::perm::Stage1Regime;
use crate::spec::attrs::Sh;
use crate::spec::cd::Cd;
use crate::transaction::Response;
use crate::walk::params::{IllegalTable, StartLevel, TableFields, TableParams};
use crate::walk::{Half, Stage1};

/// The meaning of a CD, for a stream with this context.
///
/// # Errors
/// The first rule of the list that it breaks: the transaction then gets C_BAD_CD.
#[inline(always)]
pub fn resolve_cd(
    cd: &Cd,
    config: &SmmuConfig,
    stream: &StreamContext,
) -> Result<Stage1, IllegalCd> {
    let (broken, [ttb0, ttb1]) = examine(cd, config, stream);
    if let Some(illegal) = broken.first() {
        return Err(illegal);
    }
    let (dw0, dw1, dw2) = (cd.dw0, cd.dw1, cd.dw2);
    let ha = config.httu >= Httu::AccessFlag && dw0.ha();
    let has_unprivileged = stream.world != StreamWorld::El2;
    let e0pd = config.e0pd && has_unprivileged;
    let shareability = |tables: Option<TableParams>, sh: Sh| {
        let ruled_by_cd = tables.is_some_and(|tables| tables.takes_shareability_bits());
        ruled_by_cd.then(|| Shareability::from_bits(sh.0.into()))
    };
    let lower = Half {
        tables: ttb0,
        tbi: dw0.tbi0(),
        had: config.had && dw1.had0(),
        e0pd: e0pd && dw1.e0pd0(),
        sh: shareability(ttb0, dw0.sh0()),
    };
    let upper = if has_unprivileged {
        Half {
            tables: ttb1,
            tbi: dw0.tbi1(),
            had: config.had && dw2.had1(),
            e0pd: e0pd && dw2.e0pd1(),
            sh: shareability(ttb1, dw0.sh1()),
        }
    } else {
        lower
    };
    Ok(Stage1 {
        halves: [lower, upper],
        asid: Asid::new(dw0.asid()),
        aset: dw0.aset(),
        affd: dw0.affd(),
        ha,
        regime: Stage1Regime {
            has_unprivileged,
            wxn: dw0.wxn(),
            pan: dw0.pan(),
            epan: config.epan && dw1.epan(),
            dirty_state: ha && config.httu >= Httu::Dirty && dw0.hd(),
        },
        mair: u64::from(cd.dw3.mair1()) << 32 | u64::from(cd.dw3.mair0()),
        disposition: match (dw0.s(), dw0.a()) {
            (true, _) => Disposition::Stall,
            (false, true) => Disposition::Terminate {
                response: Response::Abort,
                recorded: dw0.r(),
            },
            (false, false) => Disposition::Terminate {
                response: Response::RazWi,
                recorded: dw0.r(),
            },
        },
    })
}

/// Reports every rule that makes a CD illegal, in the order of the list. A part's ID registers and
/// the stream decide most of them.
pub fn cd_violations(
    cd: &Cd,
    config: &SmmuConfig,
    stream: &StreamContext,
    report: impl FnMut(IllegalCd),
) {
    examine(cd, config, stream).0.iter().for_each(report);
}

/// What is illegal about a CD, and the tables of TTB0 and TTB1 where they are used and legal.
#[inline(always)]
fn examine(
    cd: &Cd,
    config: &SmmuConfig,
    stream: &StreamContext,
) -> (Broken<IllegalCd>, [Option<TableParams>; 2]) {
    use IllegalCd as I;
    let dw0 = cd.dw0;
    if !dw0.v() {
        // Nothing else of an invalid CD is looked at.
        return (Broken::only(I::NotValid), [None; 2]);
    }
    let mut broken = Broken::default();
    let mut rule = |is_broken, illegal| broken.note(is_broken, illegal);
    let stall_disabled = stream.cds.is_some_and(|cds| cds.stall_disabled);
    rule(stall_disabled && dw0.s(), I::StallDisabledByStream);
    rule(config.term_model && !dw0.a(), I::TerminateModel);
    match config.stall_model {
        StallModel::StallAndTerminate => {}
        StallModel::TerminateOnly => rule(dw0.s(), I::StallForbidden),
        StallModel::StallForced => rule(!dw0.s(), I::StallRequired),
    }
    let (walks_ttb0, walks_ttb1) = (walks_ttb0(cd, stream), walks_ttb1(cd, stream));
    let walks_any = walks_ttb0 || walks_ttb1;
    rule(
        walks_any && wrong_endianness(config, dw0.endi()),
        I::Endianness,
    );
    rule(!dw0.aa64(), I::Lpae);
    match config.httu {
        Httu::None => rule(dw0.ha() || dw0.hd(), I::HttuAbsent),
        Httu::AccessFlag => rule(dw0.hd(), I::DirtyAbsent),
        Httu::Dirty => {}
        Httu::TableAccessFlag => rule(cd.dw1.haft() && !dw0.ha(), I::HaftWithoutHa),
    }
    if !config.asid16 {
        let has_asid = stream.world != StreamWorld::El2;
        rule(has_asid && dw0.asid() >> 8 != 0, I::AsidRange);
    }
    let mut tables = [None; 2];
    if walks_ttb0 {
        let report = |illegal| rule(true, Which::Ttb0.illegal(illegal));
        tables[0] = fields(cd, config, Which::Ttb0).resolve(config, StartLevel::FromSize, report);
    }
    if walks_ttb1 {
        let report = |illegal| rule(true, Which::Ttb1.illegal(illegal));
        tables[1] = fields(cd, config, Which::Ttb1).resolve(config, StartLevel::FromSize, report);
    }
    (broken, tables)
}

/// Any-EL2 has no EPD0: TTB0 is always used.
fn walks_ttb0(cd: &Cd, stream: &StreamContext) -> bool {
    stream.world == StreamWorld::El2 || !cd.dw0.epd0()
}

/// Any-EL2 has no TTB1.
fn walks_ttb1(cd: &Cd, stream: &StreamContext) -> bool {
    stream.world != StreamWorld::El2 && !cd.dw0.epd1()
}

#[derive(Clone, Copy)]
enum Which {
    Ttb0,
    Ttb1,
}

impl Which {
    fn illegal(self, illegal: IllegalTable) -> IllegalCd {
        use IllegalCd as I;
        match (self, illegal) {
            (Self::Ttb0, IllegalTable::Granule) => I::Granule0,
            (Self::Ttb1, IllegalTable::Granule) => I::Granule1,
            (Self::Ttb0, IllegalTable::Size) => I::T0SzRange,
            (Self::Ttb1, IllegalTable::Size) => I::T1SzRange,
            (Self::Ttb0, IllegalTable::Base) => I::Ttb0Range,
            (Self::Ttb1, IllegalTable::Base) => I::Ttb1Range,
            (_, IllegalTable::StartLevel) => {
                unreachable!("the start level of stage 1 follows from its size")
            }
        }
    }
}

fn fields(cd: &Cd, config: &SmmuConfig, which: Which) -> TableFields {
    let dw0 = cd.dw0;
    let (granule_log2, tsz, base) = match which {
        Which::Ttb0 => {
            let granule = match dw0.tg0().0 {
                0 => Some(12),
                1 => Some(16),
                2 => Some(14),
                _ => None,
            };
            (granule, dw0.t0sz(), cd.dw1.ttb0() << 4)
        }
        Which::Ttb1 => {
            let granule = match dw0.tg1().0 {
                1 => Some(14),
                2 => Some(12),
                3 => Some(16),
                _ => None,
            };
            (granule, dw0.t1sz(), cd.dw2.ttb1() << 4)
        }
    };
    TableFields {
        granule_log2,
        tsz,
        base,
        ps: dw0.ips().0,
        ds: config.ds && cd.dw2.ds(),
        big_endian: dw0.endi(),
        haft: config.httu == Httu::TableAccessFlag && dw0.ha() && cd.dw1.haft(),
    }
}
