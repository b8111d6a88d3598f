//! What QEMU 11 makes of a transaction where it departs from the architecture.
//!
//! A second, independent reading of the same tables, with each known departure spelled out and
//! named at the step where it takes effect. A recorded answer that is not the model's counts as a
//! departure only if this account gives it bit for bit: address, size, permissions and all 32 bytes
//! of the record.

mod stage1;
mod tables;

#[cfg(test)]
mod tests;

use smmu::Transaction;
use smmu::addr::Pa;
use smmu::fetch::{StreamContext, resolve_cd, resolve_ste};
use smmu::mem::{AccessClass, PhysMem};
use smmu::spec::attrs::SteConfig;
use smmu::spec::cd::Cd;
use smmu::spec::event::EventId;
use smmu::spec::ste::Ste;
use smmu::transaction::Privilege;
use smmu::walk::Stage1;

use self::stage1::Leaf1;
use self::tables::{Need, Tables, Trouble};
use super::answer::{Answer, permissions1, permissions2};
use super::line::{Access, Looks, Recorded, Result as Told};
use super::machine::{Machine, Seen};

/// A way in which QEMU departs from the architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Departure {
    /// A next-level table beyond the output size of stage 1, under stage 2: CLASS=TT with an IPA.
    AddrszTt,
    /// A write that APTable forbids faults at the table, before deeper levels.
    AptableEarly,
    /// Blocks at levels where there are none: 4K level 0, 16K levels 0 and 1, 64K level 1.
    BlockLevel,
    /// STE.Config=bypass passes addresses that do not fit OAS.
    BypassOas,
    /// So does a disabled SMMU.
    DisabledOas,
    /// FetchAddr of F_CD_FETCH is one doubleword early.
    CdfetchDw,
    /// The index of the concatenated stage-2 start table is lost.
    Concat,
    /// A leaf is checked for Access flag and permission before its address is for size.
    FaultPrio,
    /// Global pages are their ASID's own.
    Global,
    /// Stage 2 alone: an address that does not fit IAS aborts without an event.
    IasNoevt,
    /// The record holds IPA\[11:0\] too.
    IpaLow,
    /// AP\[1\] and APTable\[0\] are ignored: unprivileged accesses pass.
    Priv,
    /// Faults on the way to the CD or the start table are recorded as reads.
    RnwCfg,
    /// STE.S1CDMax other than 0 is illegal although IDR1.SSIDSIZE is 0.
    S1cdmax,
    /// STE.S1STALLD is illegal although stage 1 is off.
    S1stalldS2,
    /// Only the start of a stage-1 table goes through stage 2; entries follow it in PA space.
    S1tabContig,
    /// A stage-2 fault on the way to a stage-1 table below the start table: S2=0, gated by CD.R,
    /// with the table's IPA for the descriptor's.
    S2bitTt,
    /// Next-level table addresses are not compared with the output size.
    TableOas,
    /// TBI0 rules the upper half of the VA space too.
    Tbi1,
    /// TTBx is aligned after stage 2 has translated it.
    TtbAlign,
    /// Both TTBs go through stage 2 although the access uses one.
    TtbEager,
    /// TTRnW is 0 in F_PERMISSION of a table read.
    Ttrnw,
    /// A TLB entry keeps AP\[2\] and S2AP\[1\] alone, for writes alone; and a write they forbid is
    /// recorded without its IPA.
    WarmPermission,
}

impl Departure {
    /// Its name, as the tables of the recordings have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AddrszTt => "ADDRSZ_TT",
            Self::AptableEarly => "APTABLE_EARLY",
            Self::BlockLevel => "BLOCK_LEVEL",
            Self::BypassOas => "BYPASS_OAS",
            Self::DisabledOas => "DISABLED_OAS",
            Self::CdfetchDw => "CDFETCH_DW",
            Self::Concat => "CONCAT",
            Self::FaultPrio => "FAULT_PRIO",
            Self::Global => "GLOBAL",
            Self::IasNoevt => "IAS_NOEVT",
            Self::IpaLow => "IPA_LOW",
            Self::Priv => "PRIV",
            Self::RnwCfg => "RNW_CFG",
            Self::S1cdmax => "S1CDMAX",
            Self::S1stalldS2 => "S1STALLD_S2",
            Self::S1tabContig => "S1TAB_CONTIG",
            Self::S2bitTt => "S2BIT_TT",
            Self::TableOas => "TABLE_OAS",
            Self::Tbi1 => "TBI1",
            Self::TtbAlign => "TTB_ALIGN",
            Self::TtbEager => "TTB_EAGER",
            Self::Ttrnw => "TTRNW",
            Self::WarmPermission => "warm-permission",
        }
    }
}

/// QEMU's answer, and the departures on the way to it.
#[derive(Debug)]
pub(super) struct Account {
    answer: Answer,
    /// In the order met, each once.
    pub(super) departures: Vec<Departure>,
}

impl Account {
    /// Whether this is what was recorded.
    pub(super) fn explains(&self, recorded: &Answer) -> bool {
        self.answer == *recorded
    }
}

/// CLASS of an event.
const CLASS_CD: u64 = 0;
const CLASS_TT: u64 = 1;
const CLASS_IN: u64 = 2;

/// Tells what QEMU makes of `transaction`; `None` where it follows the architecture throughout, as
/// far as known: no STE, or an illegal STE or CD. `seen` is a cold walk of the model's.
pub(super) fn account(
    machine: &Machine,
    transaction: &Transaction,
    recorded: &Recorded,
    fetched: Fetched,
    seen: &Seen,
) -> Option<Account> {
    let (smmu, memory) = (&machine.smmu, &machine.memory);
    let is_wide = transaction.address.get() >> smmu.config().oas != 0;
    if !smmu.registers().cr0().smmuen() && !smmu.registers().gbpa().abort() && is_wide {
        return Some(Account {
            answer: Answer {
                result: Told::Disabled,
                stage: 0,
                record: None,
            },
            departures: vec![Departure::DisabledOas],
        });
    }
    let ste = Ste::from_words(seen.ste?);
    let stream = resolve_ste(&ste, smmu.config(), smmu.registers().cr2()).ok()?;
    let mut teller = Teller {
        tables: Tables {
            port: memory.port(),
            oas: smmu.config().oas,
            need: match recorded.access {
                Access::Read => Need::Read,
                Access::Write => Need::Write,
            },
            privilege: stream.privcfg.unwrap_or(Privilege::Unprivileged),
            warm: false,
            departures: Vec::new(),
        },
        iova: transaction.address.get(),
        looks: recorded.looks,
        fetched,
    };
    let answer = match teller.tell(machine, &ste, &stream)? {
        Ending::Leaf { pa, mask, perm } => Answer {
            result: Told::Translated { pa, mask, perm },
            stage: stages(ste.dw0.config()),
            record: None,
        },
        Ending::Bypass => Answer {
            result: Told::Bypass,
            stage: 0,
            record: None,
        },
        Ending::Silent => Answer {
            result: Told::Fault { event: 0 },
            stage: 0,
            record: None,
        },
        Ending::Event(words) => Answer {
            result: Told::Fault {
                event: words[0] as u8,
            },
            stage: 0,
            record: Some([
                words[0] | u64::from(recorded.stream.get()) << 32,
                words[1],
                words[2],
                words[3],
            ]),
        },
    };
    let mut departures = teller.tables.departures;
    departures.sort_unstable();
    departures.dedup();
    Some(Account { answer, departures })
}

/// The `stage` column of a translation of a stream with this STE.Config.
fn stages(config: SteConfig) -> u8 {
    match config {
        SteConfig::Stage1 => 1,
        SteConfig::Stage2 => 2,
        SteConfig::Nested => 3,
        _ => 0,
    }
}

/// How a transaction ends.
enum Ending {
    Leaf {
        pa: u64,
        mask: u64,
        perm: u8,
    },
    Bypass,
    /// A fault that is not recorded.
    Silent,
    /// A fault that is: the record, without its StreamID.
    Event([u64; 4]),
}

/// Whether QEMU fetched STE and CD for a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It did.
    Now,
    /// It had them.
    Before,
}

/// One transaction, told step by step.
struct Teller<'a> {
    tables: Tables<'a>,
    iova: u64,
    looks: Looks,
    fetched: Fetched,
}

impl Teller<'_> {
    fn tell(&mut self, machine: &Machine, ste: &Ste, stream: &StreamContext) -> Option<Ending> {
        let config = ste.dw0.config();
        let is_wide = self.iova >> self.tables.oas != 0;
        match config {
            SteConfig::Bypass if is_wide => {
                self.tables.depart(Departure::BypassOas);
                return Some(Ending::Bypass);
            }
            SteConfig::Stage1 | SteConfig::Stage2 | SteConfig::Nested => {}
            _ => return None,
        }
        let illegal = Ending::Event([u64::from(EventId::C_BAD_STE.0), 0, 0, 0]);
        if ste.dw0.s1cdmax() != 0 {
            self.tables.depart(Departure::S1cdmax);
            return Some(illegal);
        }
        if config == SteConfig::Stage2 && ste.dw1.s1stalld() {
            self.tables.depart(Departure::S1stalldS2);
            return Some(illegal);
        }
        if config == SteConfig::Stage2 {
            return self.stage2_only(ste, stream);
        }
        let at = ste.dw0.s1contextptr() << 6;
        let s2_records = ste.dw2.s2r();
        let cd = match stream.s2 {
            Some(s2) => match self.tables.stage2(&s2, at, Need::Read) {
                Ok(leaf) => leaf.pa,
                Err(trouble) => {
                    return Some(self.configuration_fault(trouble, CLASS_CD, s2_records));
                }
            },
            None => at,
        };
        let Ok(words) = self.tables.port.read_line(Pa::new(cd), AccessClass::Cd) else {
            self.tables.depart(Departure::CdfetchDw);
            return Some(Ending::Event([u64::from(EventId::F_CD_FETCH.0), 0, cd, 0]));
        };
        let cd = Cd::from_words(words);
        let s1 = resolve_cd(&cd, machine.smmu.config(), stream).ok()?;
        let tables = match self.tables.starts(&cd, &s1, stream, self.iova) {
            Ok(tables) => tables,
            Err(trouble) => {
                return Some(self.configuration_fault(trouble, CLASS_TT, s2_records));
            }
        };
        let halves = s1.halves.iter().filter(|half| half.tables.is_some());
        let before = match (&stream.s2, self.fetched) {
            (Some(_), Fetched::Now) => 1 + halves.count(),
            _ => 0,
        };
        self.tables.warm = self.is_warm(before);
        Some(match self.through(&cd, &s1, stream, tables) {
            Ok((pa, mask, perm)) => Ending::Leaf { pa, mask, perm },
            Err(trouble) => {
                let records = if trouble.stage2 {
                    s2_records
                } else {
                    cd.dw0.r()
                };
                self.fault(&trouble, records)
            }
        })
    }

    fn stage2_only(&mut self, ste: &Ste, stream: &StreamContext) -> Option<Ending> {
        let s2 = stream.s2?;
        if self.iova >> self.tables.oas != 0 {
            self.tables.depart(Departure::IasNoevt);
            return Some(Ending::Silent);
        }
        self.tables.warm = self.is_warm(0);
        Some(match self.tables.stage2(&s2, self.iova, self.tables.need) {
            Ok(leaf) => Ending::Leaf {
                pa: leaf.pa,
                mask: leaf.mask,
                perm: permissions2(leaf.descriptor),
            },
            Err(trouble) => self.fault(&trouble, ste.dw2.s2r()),
        })
    }

    /// Whether QEMU found the transaction's translation in its TLB, after this many looks for
    /// something else: no look follows a hit.
    fn is_warm(&self, before: usize) -> bool {
        self.looks.count == before + 1 && self.looks.ends_in_hit
    }

    /// Both stages: output address, mask, stage-1 permissions.
    fn through(
        &mut self,
        cd: &Cd,
        s1: &Stage1,
        stream: &StreamContext,
        starts: [u64; 2],
    ) -> Result<(u64, u64, u8), Trouble> {
        let Leaf1 {
            output,
            mask,
            descriptor,
        } = self.tables.stage1(cd, s1, stream, starts, self.iova)?;
        let perm = permissions1(descriptor);
        let Some(s2) = &stream.s2 else {
            return Ok((output, mask, perm));
        };
        let leaf = self.tables.stage2(s2, output, self.tables.need)?;
        Ok((leaf.pa, mask.min(leaf.mask), perm))
    }

    /// A stage-2 fault on the way to the CD or a start table: always told as a read.
    fn configuration_fault(&mut self, trouble: Trouble, class: u64, recorded: bool) -> Ending {
        if self.tables.need == Need::Write {
            self.tables.depart(Departure::RnwCfg);
        }
        if class == CLASS_TT && trouble.event == EventId::F_PERMISSION {
            self.tables.depart(Departure::Ttrnw);
        }
        let trouble = Trouble {
            class,
            need: Need::Read,
            ..trouble
        };
        self.fault(&trouble, recorded)
    }

    fn fault(&mut self, trouble: &Trouble, recorded: bool) -> Ending {
        // CD.R and STE.S2R govern the other faults.
        if !recorded && trouble.event != EventId::F_WALK_EABT {
            return Ending::Silent;
        }
        if trouble.ipa & 0xfff != 0 && trouble.event != EventId::F_WALK_EABT {
            self.tables.depart(Departure::IpaLow);
        }
        let rnw = u64::from(trouble.need == Need::Read);
        Ending::Event([
            u64::from(trouble.event.0),
            rnw << 35 | u64::from(trouble.stage2) << 39 | trouble.class << 40,
            self.iova,
            trouble.ipa,
        ])
    }
}
