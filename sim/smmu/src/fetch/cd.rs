//! The CD: which ones are illegal, and what a legal one means (IHI 0070 §5.4).

use super::ste::wrong_endianness;
use super::{StreamContext, StreamWorld};
use crate::attr::Shareability;
use crate::config::{Httu, SmmuConfig, StallModel};
use crate::fault::{Disposition, IllegalCd};
use crate::ids::Asid;
use crate::perm::Stage1Regime;
use crate::spec::cd::Cd;
use crate::transaction::Response;
use crate::walk::params::{IllegalTable, StartLevel, TableFields};
use crate::walk::{Half, Stage1};

/// The meaning of a CD, for a stream with this context.
///
/// # Errors
/// The first rule of the list that it breaks: the transaction then gets C_BAD_CD.
pub fn resolve_cd(
    cd: &Cd,
    config: &SmmuConfig,
    stream: &StreamContext,
) -> Result<Stage1, IllegalCd> {
    let mut first = None;
    cd_violations(cd, config, stream, |illegal| first = first.or(Some(illegal)));
    if let Some(illegal) = first {
        return Err(illegal);
    }
    let (dw0, dw1, dw2) = (cd.dw0, cd.dw1, cd.dw2);
    let ha = config.httu >= Httu::AccessFlag && dw0.ha();
    let half = |which: Which, walks: bool, tbi, had, e0pd, sh: u8| {
        let tables = walks
            .then(|| fields(cd, config, which).resolve(config, StartLevel::FromSize))
            .transpose()
            .map_err(|illegal| which.illegal(illegal))?;
        let sh = tables
            .filter(|tables| tables.takes_shareability_bits())
            .map(|_| Shareability::from_bits(sh.into()));
        Ok(Half { tables, tbi, had: config.had && had, e0pd, sh })
    };
    let has_unprivileged = stream.world != StreamWorld::El2;
    let e0pd = config.e0pd && has_unprivileged;
    let lower = half(
        Which::Ttb0,
        walks_ttb0(cd, stream),
        dw0.tbi0(),
        dw1.had0(),
        e0pd && dw1.e0pd0(),
        dw0.sh0().0,
    )?;
    let upper = if has_unprivileged {
        Some(half(
            Which::Ttb1,
            walks_ttb1(cd, stream),
            dw0.tbi1(),
            dw2.had1(),
            e0pd && dw2.e0pd1(),
            dw0.sh1().0,
        )?)
    } else {
        None
    };
    Ok(Stage1 {
        lower,
        upper,
        asid: Asid::new(dw0.asid()),
        affd: dw0.affd(),
        ha,
        haft: ha && config.httu == Httu::TableAccessFlag && dw1.haft(),
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
            (false, true) => {
                Disposition::Terminate { response: Response::Abort, recorded: dw0.r() }
            }
            (false, false) => {
                Disposition::Terminate { response: Response::RazWi, recorded: dw0.r() }
            }
        },
    })
}

/// Reports every rule that makes a CD illegal, in the order of the list. A part's ID registers and
/// the stream decide most of them.
pub fn cd_violations(
    cd: &Cd,
    config: &SmmuConfig,
    stream: &StreamContext,
    mut report: impl FnMut(IllegalCd),
) {
    use IllegalCd as I;
    let dw0 = cd.dw0;
    if !dw0.v() {
        // Nothing else of an invalid CD is looked at.
        return report(I::NotValid);
    }
    let mut rule = |broken: bool, illegal| {
        if broken {
            report(illegal);
        }
    };
    let stall_disabled = stream.cds.is_some_and(|cds| cds.stall_disabled);
    rule(stall_disabled && dw0.s(), I::StallDisabledByStream);
    rule(config.term_model && !dw0.a(), I::TerminateModel);
    rule(dw0.s() && config.stall_model == StallModel::TerminateOnly, I::StallForbidden);
    rule(!dw0.s() && config.stall_model == StallModel::StallForced, I::StallRequired);
    let walks = [(Which::Ttb0, walks_ttb0(cd, stream)), (Which::Ttb1, walks_ttb1(cd, stream))];
    let walks_any = walks.iter().any(|&(_, walks)| walks);
    rule(walks_any && wrong_endianness(config, dw0.endi()), I::Endianness);
    rule(!dw0.aa64(), I::Lpae);
    rule((dw0.ha() || dw0.hd()) && config.httu == Httu::None, I::HttuAbsent);
    rule(dw0.hd() && config.httu == Httu::AccessFlag, I::DirtyAbsent);
    let haft = config.httu == Httu::TableAccessFlag && cd.dw1.haft();
    rule(haft && !dw0.ha(), I::HaftWithoutHa);
    let has_asid = stream.world != StreamWorld::El2;
    rule(has_asid && !config.asid16 && dw0.asid() >> 8 != 0, I::AsidRange);
    for (which, _) in walks.into_iter().filter(|&(_, walks)| walks) {
        fields(cd, config, which).violations(config, StartLevel::FromSize, |illegal| {
            rule(true, which.illegal(illegal));
        });
    }
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
    }
}
