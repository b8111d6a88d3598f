//! Stage 1: VA to IPA under a stage 2, or to PA without one.

use super::params::{Step, TableParams};
use super::{Attempts, Lookaside, Order, Place, Stage2, TableFound, Walker};
use crate::addr::{Iova, Ipa, Pa};
use crate::attr::{Attributes, MemoryType, Shareability};
use crate::fault::{Cause, Class, Disposition, Raised, Site, Stage};
use crate::ids::Asid;
use crate::mem::{BusResult, PhysMem};
use crate::observe::{Observer, Purpose, Structure};
use crate::perm::{
    ACCESS_FLAG, HIERARCHICAL_MASK, Request, Stage1Page, Stage1Regime, Verdict, check,
    updated_stage1,
};
use crate::transaction::{AccessKind, Privilege};

/// One half of the VA space: TTB0 or TTB1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Half {
    /// The tables; `None` if EPDx forbids walks.
    pub tables: Option<TableParams>,
    /// TBIx: VA\[63:56\] is ignored.
    pub tbi: bool,
    /// HADx: hierarchical attributes are ignored.
    pub had: bool,
    /// E0PDx: unprivileged accesses always fault.
    pub e0pd: bool,
    /// Shareability of all pages where DS takes the descriptor's SH bits for addresses.
    pub sh: Option<Shareability>,
}

impl Half {
    /// What translations of `input` are looked up by: with TBI the top byte follows bit 55.
    #[inline(always)]
    pub(crate) fn key(&self, input: u64) -> u64 {
        if self.tbi {
            ((input << 8) as i64 >> 8) as u64
        } else {
            input
        }
    }
}

/// Stage 1 of a stream or substream, from a legal CD: effective values only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage1 {
    /// TTB0, TTB1. In any-EL2, which has a single range, both are TTB0.
    pub halves: [Half; 2],
    /// CD.ASID.
    pub asid: Asid,
    /// CD.ASET: which set of global translations the context uses.
    pub aset: bool,
    /// CD.AFFD: a clear Access flag does not fault.
    pub affd: bool,
    /// CD.HA: hardware sets the Access flag.
    pub ha: bool,
    /// Permission rules of the regime.
    pub regime: Stage1Regime,
    /// CD.MAIR1:MAIR0.
    pub mair: u64,
    /// What becomes of a faulting transaction: CD.A, R and S.
    pub disposition: Disposition,
}

/// What stage 1 made of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stage1Leaf {
    /// The output address.
    pub(crate) output: u64,
    /// Memory attributes of the page.
    pub(crate) attributes: Attributes,
    /// log2 of the block or page.
    pub(crate) span_log2: u8,
    /// What is carried out.
    pub(crate) kind: AccessKind,
    /// The leaf descriptor.
    pub(crate) descriptor: u64,
    /// Restrictions of the Table descriptors passed.
    pub(crate) hierarchical: u64,
    /// Level of the leaf.
    pub(crate) level: i8,
    /// log2 of the granule.
    pub(crate) granule_log2: u8,
}

fn site(level: i8) -> Site {
    Site {
        stage: Stage::Stage1,
        class: Class::In,
        ipa: Ipa::new(0),
        level,
    }
}

impl Stage1 {
    /// The half of the VA space `input` falls into, if it falls into one that may be walked
    /// (IHI 0070 §3.4.1; DDI 0487 §D8.2.1).
    #[inline(always)]
    fn select(&self, input: u64, request: Request) -> Option<(&Half, &TableParams)> {
        let bit55 = input >> 55 & 1;
        let half = &self.halves[bit55 as usize];
        let tables = half.tables.as_ref()?;
        let extended = half.key(input);
        let top = match (self.regime.has_unprivileged, half.tbi) {
            // Two ranges: the upper one grows down from the top.
            (true, _) => extended ^ bit55.wrapping_neg(),
            (false, true) => extended & (u64::MAX >> 8),
            (false, false) => extended,
        };
        if !tables.resolves(top) {
            return None;
        }
        if half.e0pd && request.pnu == Privilege::Unprivileged {
            return None;
        }
        Some((half, tables))
    }

    /// The half of the VA space `input` is in.
    #[inline(always)]
    pub(crate) fn half(&self, input: u64) -> &Half {
        &self.halves[(input >> 55 & 1) as usize]
    }

    #[inline(always)]
    fn attributes(&self, half: &Half, descriptor: u64) -> Attributes {
        let index = descriptor >> 2 & 7;
        Attributes {
            memory: MemoryType::from_mair((self.mair >> (8 * index)) as u8),
            shareability: half
                .sh
                .unwrap_or_else(|| Shareability::from_bits(descriptor >> 8)),
        }
    }

    /// Checks a leaf in the architecture's order: address size, Access flag, permission. Gives what
    /// is carried out and the descriptor as it must be afterwards.
    #[inline(always)]
    pub(crate) fn admit(
        &self,
        descriptor: u64,
        output: u64,
        hierarchical: u64,
        tables: &TableParams,
        level: i8,
        request: Request,
    ) -> Result<(AccessKind, u64), Cause> {
        if !tables.in_range(output) {
            return Err(Cause::AddressSize(site(level)));
        }
        let accessed = descriptor & ACCESS_FLAG != 0;
        if !accessed && !self.ha && !self.affd {
            return Err(Cause::Access(site(level)));
        }
        let page = Stage1Page {
            leaf: descriptor,
            tables: hierarchical,
            regime: &self.regime,
            ind: request.ind,
            pnu: request.pnu,
        };
        match check(&page, request) {
            Verdict::Refused { missing_read } => Err(Cause::Permission {
                site: site(level),
                missing_read,
                table_access: None,
            }),
            Verdict::Granted { kind, mark_dirty } => {
                let update = mark_dirty || (!accessed && self.ha);
                let new = if update {
                    updated_stage1(descriptor, mark_dirty)
                } else {
                    descriptor
                };
                Ok((kind, new))
            }
        }
    }
}

impl<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside> Walker<'_, M, O, C> {
    /// Translates `input` by stage 1, each descriptor located through `s2` if there is one.
    #[inline(always)]
    pub(crate) fn stage1(
        &mut self,
        s1: &Stage1,
        s2: Option<&Stage2>,
        input: Iova,
        request: Request,
    ) -> Result<Stage1Leaf, Raised> {
        let raise = |cause| Raised::of_stage(cause, s1.disposition);
        let Some((half, tables)) = s1.select(input.get(), request) else {
            return Err(raise(Cause::Translation(site(0))));
        };
        if tables.is_plain() {
            self.walk_tables1::<true>(s1, s2, half, tables, input, request)
        } else {
            self.walk_unusual_tables1(s1, s2, half, tables, input, request)
        }
    }

    /// Out of line, so that walks of plain tables stay small.
    #[inline(never)]
    fn walk_unusual_tables1(
        &mut self,
        s1: &Stage1,
        s2: Option<&Stage2>,
        half: &Half,
        tables: &TableParams,
        input: Iova,
        request: Request,
    ) -> Result<Stage1Leaf, Raised> {
        self.walk_tables1::<false>(s1, s2, half, tables, input, request)
    }

    #[inline(always)]
    fn walk_tables1<const PLAIN: bool>(
        &mut self,
        s1: &Stage1,
        s2: Option<&Stage2>,
        half: &Half,
        tables: &TableParams,
        input: Iova,
        request: Request,
    ) -> Result<Stage1Leaf, Raised> {
        let raise = |cause| Raised::of_stage(cause, s1.disposition);
        let key = half.key(input.get());
        let mut attempts = Attempts::new();
        'restart: loop {
            let found = self.cache.stage1_table(key);
            self.report();
            let (mut cursor, mut hierarchical) = match found {
                Some(found) => (tables.resume(found.next, found.level), found.hierarchical),
                None => (tables.start(), 0),
            };
            loop {
                let level = cursor.level;
                let place = self.locate(s2, level, cursor.descriptor_address(input.get()))?;
                let eabt = || {
                    let site = Site {
                        class: Class::Tt,
                        ..site(level)
                    };
                    raise(Cause::WalkEabt {
                        site,
                        fetch: place.pa,
                    })
                };
                let descriptor = self
                    .read(place, Order::of::<PLAIN>(tables))
                    .map_err(|_| eabt())?;
                match tables.step::<PLAIN>(descriptor, &cursor) {
                    Step::Table(next) => {
                        if !tables.in_range(next) {
                            return Err(raise(Cause::AddressSize(site(level))));
                        }
                        if !PLAIN && tables.marks_tables() && descriptor & ACCESS_FLAG == 0 {
                            let new = descriptor | ACCESS_FLAG;
                            let updated = self.update_stage1(s2, place, tables, descriptor, new)?;
                            if attempts.must_restart(updated).map_err(|_| eabt())? {
                                continue 'restart;
                            }
                        }
                        hierarchical |= descriptor;
                        let found = TableFound {
                            next,
                            hierarchical: hierarchical & HIERARCHICAL_MASK,
                            level,
                        };
                        self.cache.fill_stage1_table(key, cursor.lsb, tables, found);
                        self.report();
                        cursor.descend(tables, next);
                    }
                    Step::Leaf(address) => {
                        let restrictions = if half.had {
                            0
                        } else {
                            hierarchical & HIERARCHICAL_MASK
                        };
                        let output = address | cursor.offset(input.get());
                        let (kind, new) = s1
                            .admit(descriptor, output, restrictions, tables, level, request)
                            .map_err(raise)?;
                        if new != descriptor {
                            let updated = self.update_stage1(s2, place, tables, descriptor, new)?;
                            if attempts.must_restart(updated).map_err(|_| eabt())? {
                                continue 'restart;
                            }
                        }
                        return Ok(Stage1Leaf {
                            output,
                            attributes: s1.attributes(half, new),
                            span_log2: cursor.lsb,
                            kind,
                            descriptor: new,
                            hierarchical: restrictions,
                            level,
                            granule_log2: tables.granule_log2(),
                        });
                    }
                    Step::Invalid => return Err(raise(Cause::Translation(site(level)))),
                }
            }
        }
    }

    /// Where the stage-1 descriptor at `at` is in memory: there, or where stage 2 puts it.
    #[inline(always)]
    fn locate(&mut self, s2: Option<&Stage2>, level: i8, at: u64) -> Result<Place, Raised> {
        let structure = Structure::Stage1(level);
        let purpose = Purpose::Input;
        let Some(s2) = s2 else {
            return Ok(Place {
                structure,
                purpose,
                ipa: None,
                pa: Pa::new(at),
            });
        };
        let ipa = Ipa::new(at);
        let through = Purpose::Stage1Descriptor(level);
        match self.stage2(s2, ipa, through, Request::TABLE_READ) {
            Ok(leaf) => Ok(Place {
                structure,
                purpose,
                ipa: Some(ipa),
                pa: leaf.pa,
            }),
            Err(cause) => Err(Raised::of_stage(cause, s2.disposition)),
        }
    }

    /// Updates a stage-1 descriptor; under stage 2 its page must be writable and becomes dirty.
    /// The inner result is whether the descriptor was still the one read, or memory's abort.
    #[cold]
    fn update_stage1(
        &mut self,
        s2: Option<&Stage2>,
        mut place: Place,
        tables: &TableParams,
        old: u64,
        new: u64,
    ) -> Result<BusResult<bool>, Raised> {
        if let (Some(s2), Some(ipa), Structure::Stage1(level)) = (s2, place.ipa, place.structure) {
            let through = Purpose::Stage1Descriptor(level);
            match self.stage2(s2, ipa, through, Request::TABLE_WRITE) {
                Ok(leaf) => place.pa = leaf.pa,
                Err(cause) => return Err(Raised::of_stage(cause, s2.disposition)),
            }
        }
        Ok(self.update(place, Order::of::<false>(tables), old, new))
    }
}
