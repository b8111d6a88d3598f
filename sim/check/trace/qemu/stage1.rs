//! QEMU's stage 1, with what sets it apart from the architecture's.

use smmu::fetch::StreamContext;
use smmu::spec::cd::Cd;
use smmu::spec::event::EventId;
use smmu::transaction::Privilege;
use smmu::walk::params::TableParams;
use smmu::walk::{Stage1, Stage2};

use super::tables::{
    ACCESS_FLAG, ADDRESS, Kind, Need, Tables, Trouble, below, has_blocks, kind, lsb,
};
use super::{CLASS_IN, CLASS_TT, Departure};

/// A stage-1 leaf.
pub(super) struct Leaf1 {
    pub(super) output: u64,
    pub(super) mask: u64,
    pub(super) descriptor: u64,
}

/// AP\[1\]: unprivileged accesses too.
const AP_UNPRIVILEGED: u64 = 1 << 6;
/// AP\[2\]: no writes.
const AP_READ_ONLY: u64 = 1 << 7;
const APTABLE_NO_UNPRIVILEGED: u64 = 1 << 61;
const APTABLE_READ_ONLY: u64 = 1 << 62;

/// log2 of the bytes of the start table.
fn start_size_log2(tables: &TableParams) -> u8 {
    tables.start_index_bits() + 3
}

impl Tables<'_> {
    /// Where both start tables are, as QEMU works out before it looks at the address.
    pub(super) fn starts(
        &mut self,
        cd: &Cd,
        s1: &Stage1,
        stream: &StreamContext,
        iova: u64,
    ) -> Result<[u64; 2], Trouble> {
        let met = self.departures.len();
        let used = self.select(cd, s1, iova);
        self.departures.truncate(met);
        let mut starts = [cd.dw1.ttb0() << 4, cd.dw2.ttb1() << 4];
        let Some(s2) = &stream.s2 else {
            return Ok(starts);
        };
        for (half, start) in starts.iter_mut().enumerate() {
            let Some(tables) = &s1.halves[half].tables else {
                continue;
            };
            match self.stage2(s2, *start, Need::Read) {
                Ok(leaf) => *start = leaf.pa,
                Err(trouble) => {
                    let descriptor = tables.base()
                        + ((iova & below(tables.input_bits())) >> tables.start_lsb() << 3);
                    if used != Some(half) {
                        self.depart(Departure::TtbEager);
                    } else if (trouble.ipa ^ descriptor) >> 12 != 0 {
                        self.depart(Departure::S1tabContig);
                    }
                    return Err(trouble);
                }
            }
        }
        Ok(starts)
    }

    /// The half of the VA space QEMU takes `iova` to be in.
    fn select(&mut self, cd: &Cd, s1: &Stage1, iova: u64) -> Option<usize> {
        let used = (iova >> 55 & 1) as usize;
        let tables = s1.halves[used].tables.as_ref()?;
        let fits = |tbi: bool| {
            let top = if tbi { iova << 8 >> 8 } else { iova };
            let filled = if used == 1 {
                // All ones above the input bits, as many as count.
                !top & if tbi { u64::MAX >> 8 } else { u64::MAX }
            } else {
                top
            };
            filled >> tables.input_bits() == 0
        };
        let (theirs, ours) = (cd.dw0.tbi0(), [cd.dw0.tbi0(), cd.dw0.tbi1()][used]);
        if fits(theirs) != fits(ours) {
            self.depart(Departure::Tbi1);
        }
        fits(theirs).then_some(used)
    }

    /// QEMU's stage 1, from the start tables on.
    pub(super) fn stage1(
        &mut self,
        cd: &Cd,
        s1: &Stage1,
        stream: &StreamContext,
        starts: [u64; 2],
        iova: u64,
    ) -> Result<Leaf1, Trouble> {
        let trouble = |event, need| Trouble {
            event,
            stage2: false,
            class: CLASS_IN,
            ipa: 0,
            need,
        };
        let need = self.need;
        let half = self
            .select(cd, s1, iova)
            .ok_or(trouble(EventId::F_TRANSLATION, need))?;
        let (had, Some(tables)) = (s1.halves[half].had, &s1.halves[half].tables) else {
            return Err(trouble(EventId::F_TRANSLATION, need));
        };
        let granule = tables.granule_log2();
        let index_mask = below(granule - 3);
        let align = below(start_size_log2(tables));
        let mut base = starts[half] & below(tables.output_bits()) & !align;
        // The same table for the architecture: an IPA under stage 2.
        let mut ipa_base = tables.base();
        if stream.s2.is_some() && base != starts[half] & !(align & tables.base()) {
            let unaligned = starts[half] & align != tables.base() & align;
            if unaligned || starts[half] >> tables.output_bits() != 0 {
                self.depart(Departure::TtbAlign);
            }
        }
        let mut restrictions = 0;
        let mut level = tables.start_level();
        loop {
            let shift = lsb(granule, level);
            let mask = if level == tables.start_level() {
                below(tables.start_index_bits())
            } else {
                index_mask
            };
            let offset = (iova >> shift & mask) << 3;
            let at = base + offset;
            if let Some(s2) = &stream.s2 {
                self.compare_place(s2, ipa_base + offset, at);
            }
            let descriptor = self.read(at, false)?;
            match kind(descriptor, level) {
                Kind::Invalid => return Err(trouble(EventId::F_TRANSLATION, need)),
                Kind::Table => {
                    if !had {
                        restrictions |= descriptor;
                    }
                    let forbidden = !had && descriptor & APTABLE_READ_ONLY != 0;
                    if forbidden && need == Need::Write {
                        if self.warm {
                            self.depart(Departure::WarmPermission);
                        } else {
                            self.depart(Departure::AptableEarly);
                            return Err(trouble(EventId::F_PERMISSION, need));
                        }
                    }
                    ipa_base = descriptor & ADDRESS & !below(granule);
                    base = ipa_base;
                    let fits = ipa_base >> tables.output_bits() == 0;
                    match &stream.s2 {
                        Some(s2) if fits => base = self.locate_table(s2, ipa_base)?,
                        Some(_) => {
                            self.depart(Departure::AddrszTt);
                            return Err(Trouble {
                                class: CLASS_TT,
                                ipa: ipa_base,
                                ..trouble(EventId::F_ADDR_SIZE, need)
                            });
                        }
                        None if fits => {}
                        None => self.depart(Departure::TableOas),
                    }
                    level += 1;
                }
                Kind::Leaf => {
                    let address = descriptor & ADDRESS & !below(shift);
                    if level != 3 && !has_blocks(granule, level) {
                        self.depart(Departure::BlockLevel);
                    }
                    self.admit1(s1, tables, descriptor, address)
                        .map_err(|event| trouble(event, need))?;
                    let privileged_only = descriptor & AP_UNPRIVILEGED == 0
                        || restrictions & APTABLE_NO_UNPRIVILEGED != 0;
                    if privileged_only
                        && s1.regime.has_unprivileged
                        && self.privilege == Privilege::Unprivileged
                    {
                        self.depart(Departure::Priv);
                    }
                    return Ok(Leaf1 {
                        output: address | iova & below(shift),
                        mask: below(shift),
                        descriptor,
                    });
                }
            }
        }
    }

    /// QEMU's checks of a stage-1 leaf.
    fn admit1(
        &mut self,
        s1: &Stage1,
        tables: &TableParams,
        descriptor: u64,
        address: u64,
    ) -> Result<(), EventId> {
        let fits = address >> tables.output_bits() == 0;
        let fault = if descriptor & ACCESS_FLAG == 0 && !s1.affd {
            EventId::F_ACCESS
        } else if self.need == Need::Write && descriptor & AP_READ_ONLY != 0 {
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

    /// Where stage 2 puts the stage-1 table at `ipa`.
    fn locate_table(&mut self, s2: &Stage2, ipa: u64) -> Result<u64, Trouble> {
        let need = self.need;
        let trouble = |event| Trouble {
            event,
            stage2: false,
            class: CLASS_TT,
            ipa,
            need,
        };
        match self.stage2(s2, ipa, Need::Read) {
            Ok(leaf) => Ok(leaf.pa),
            Err(fault) => {
                self.depart(Departure::S2bitTt);
                if fault.event == EventId::F_PERMISSION {
                    self.depart(Departure::Ttrnw);
                }
                Err(trouble(fault.event))
            }
        }
    }

    /// Whether the descriptor at `ipa` is where QEMU has it.
    fn compare_place(&mut self, s2: &Stage2, ipa: u64, at: u64) {
        let met = self.departures.len();
        let place = self.stage2(s2, ipa, Need::Read);
        self.departures.truncate(met);
        if !place.is_ok_and(|leaf| leaf.pa == at) {
            self.depart(Departure::S1tabContig);
        }
    }
}
