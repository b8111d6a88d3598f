//! QEMU's stage 2 and what both stages share, with what sets them apart from the architecture's.

use smmu::addr::Pa;
use smmu::mem::{AccessClass, PhysMem};
use smmu::spec::event::EventId;
use smmu::transaction::Privilege;
use smmu::walk::Stage2;

use super::{CLASS_IN, CLASS_TT, Departure};
use crate::check::trace::machine::Port;

/// What a page must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    Write,
}

/// A fault as QEMU tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trouble {
    pub(super) event: EventId,
    pub(super) stage2: bool,
    pub(super) class: u64,
    pub(super) ipa: u64,
    pub(super) need: Need,
}

/// A stage-2 leaf.
pub(super) struct Leaf2 {
    pub(super) pa: u64,
    pub(super) mask: u64,
    pub(super) descriptor: u64,
}

/// Tables in memory, one transaction's way through them, and the departures met on it.
pub(super) struct Tables<'a> {
    pub(super) port: Port<'a>,
    /// Bits of a physical address.
    pub(super) oas: u8,
    /// What the transaction does.
    pub(super) need: Need,
    pub(super) privilege: Privilege,
    /// Whether QEMU has the transaction's translation in its TLB.
    pub(super) warm: bool,
    pub(super) departures: Vec<Departure>,
}

pub(super) const ACCESS_FLAG: u64 = 1 << 10;
const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;
/// Address bits of a descriptor.
pub(super) const ADDRESS: u64 = (1 << 48) - 1;

/// A descriptor by its type, without regard to the level but for level 3.
pub(super) enum Kind {
    Invalid,
    Table,
    Leaf,
}

pub(super) fn kind(descriptor: u64, level: i8) -> Kind {
    match (descriptor & 3, level) {
        (1, 0..=2) | (3, 3) => Kind::Leaf,
        (3, 0..=2) => Kind::Table,
        _ => Kind::Invalid,
    }
}

/// Whether the architecture has blocks at `level`.
pub(super) fn has_blocks(granule_log2: u8, level: i8) -> bool {
    match granule_log2 {
        12 => level == 1 || level == 2,
        _ => level == 2,
    }
}

/// log2 of what a descriptor of `level` resolves.
pub(super) fn lsb(granule_log2: u8, level: i8) -> u8 {
    granule_log2 + (granule_log2 - 3) * level.abs_diff(3)
}

pub(super) fn below(bits: u8) -> u64 {
    (1 << bits) - 1
}

impl Tables<'_> {
    pub(super) fn depart(&mut self, departure: Departure) {
        self.departures.push(departure);
    }

    pub(super) fn read(&mut self, pa: u64, stage2: bool) -> Result<u64, Trouble> {
        self.port
            .read64(Pa::new(pa), AccessClass::Stage1)
            .map_err(|_| Trouble {
                event: EventId::F_WALK_EABT,
                stage2,
                class: if stage2 { CLASS_IN } else { CLASS_TT },
                ipa: pa,
                need: self.need,
            })
    }

    /// Where stage 2 puts `ipa`, for an access that needs `need`.
    pub(super) fn stage2(&mut self, s2: &Stage2, ipa: u64, need: Need) -> Result<Leaf2, Trouble> {
        let tables = &s2.tables;
        let trouble = |event| Trouble {
            event,
            stage2: true,
            class: CLASS_IN,
            ipa,
            need,
        };
        if ipa >> tables.input_bits() != 0 {
            return Err(trouble(EventId::F_TRANSLATION));
        }
        let granule = tables.granule_log2();
        let index_mask = below(granule - 3);
        let mut base = tables.base();
        if tables.start_index_bits() > granule - 3 && ipa >> tables.start_lsb() > index_mask {
            self.depart(Departure::Concat);
        }
        let mut level = tables.start_level();
        loop {
            let shift = lsb(granule, level);
            let descriptor = self.read(base + ((ipa >> shift & index_mask) << 3), true)?;
            match kind(descriptor, level) {
                Kind::Invalid => return Err(trouble(EventId::F_TRANSLATION)),
                Kind::Table => {
                    base = descriptor & ADDRESS & !below(granule);
                    if base >> tables.output_bits() != 0 {
                        self.depart(Departure::TableOas);
                    }
                    level += 1;
                }
                Kind::Leaf => {
                    let address = descriptor & ADDRESS & !below(shift);
                    if level != 3 && !has_blocks(granule, level) {
                        self.depart(Departure::BlockLevel);
                    }
                    self.admit2(s2, descriptor, address, need)
                        .map_err(|event| Trouble {
                            ipa: if self.warm { 0 } else { ipa },
                            ..trouble(event)
                        })?;
                    return Ok(Leaf2 {
                        pa: address | ipa & below(shift),
                        mask: below(shift),
                        descriptor,
                    });
                }
            }
        }
    }

    /// QEMU's checks of a stage-2 leaf.
    fn admit2(
        &mut self,
        s2: &Stage2,
        descriptor: u64,
        address: u64,
        need: Need,
    ) -> Result<(), EventId> {
        let allowed = match need {
            Need::Read => descriptor & S2AP_READ != 0,
            Need::Write => descriptor & S2AP_WRITE != 0,
        };
        if self.warm {
            if !allowed {
                self.depart(Departure::WarmPermission);
            }
            return match need {
                Need::Write if !allowed => Err(EventId::F_PERMISSION),
                _ => Ok(()),
            };
        }
        let fits = address >> s2.tables.output_bits() == 0;
        let fault = if descriptor & ACCESS_FLAG == 0 && !s2.affd {
            EventId::F_ACCESS
        } else if !allowed {
            EventId::F_PERMISSION
        } else if !fits {
            return Err(EventId::F_ADDR_SIZE);
        } else {
            return Ok(());
        };
        if !fits {
            self.depart(Departure::FaultPrio);
        }
        Err(fault)
    }
}
