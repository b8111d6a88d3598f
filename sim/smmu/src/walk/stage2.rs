//! Stage 2: IPA to PA.

use super::params::{Step, TableParams};
use super::{Attempts, Lookaside, Order, Place, TableFound, Walker};
use crate::addr::{Ipa, Pa};
use crate::attr::{
    ForcedType, NoTagAccess, Shareability, Stage2Attributes, Stage2Memory, Stage2Type,
};
use crate::fault::{Cause, Class, Direction, Disposition, Site, Stage};
use crate::ids::Vmid;
use crate::mem::PhysMem;
use crate::observe::{Observer, Purpose, Structure};
use crate::perm::{
    ACCESS_FLAG, DirtyState, ExecuteNever, Request, Stage2Page, Verdict, check, updated_stage2,
};
use crate::transaction::AccessKind;

/// Stage 2 of a stream, from a legal STE: effective values only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage2 {
    /// The tables.
    pub tables: TableParams,
    /// STE.S2VMID.
    pub vmid: Vmid,
    /// STE.S2AFFD: a clear Access flag does not fault.
    pub affd: bool,
    /// STE.S2HA: hardware sets the Access flag.
    pub ha: bool,
    /// STE.S2HD with S2HA: hardware manages dirty state.
    pub(crate) dirty_state: DirtyState,
    /// STE.S2PTW, where both stages are enabled: no tables in Device memory.
    pub ptw: bool,
    /// STE.S2FWB: stage 2 decides the memory type.
    pub fwb: bool,
    /// How XN is read.
    pub(crate) xn: ExecuteNever,
    /// Whether NoTagAccess memory attributes exist.
    pub tags: NoTagAccess,
    /// Shareability of all pages where S2DS takes the descriptor's SH bits for addresses.
    pub sh: Option<Shareability>,
    /// What becomes of a faulting transaction: S2S and S2R.
    pub disposition: Disposition,
}

/// What stage 2 made of an IPA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stage2Leaf {
    /// The physical address.
    pub(crate) pa: Pa,
    /// The leaf descriptor.
    pub(crate) descriptor: u64,
    /// log2 of the block or page.
    pub(crate) span_log2: u8,
    /// What is carried out.
    pub(crate) kind: AccessKind,
    /// Level of the leaf.
    pub(crate) level: i8,
    /// log2 of the granule.
    pub(crate) granule_log2: u8,
}

impl Stage2 {
    /// Attributes of a leaf descriptor.
    #[inline(always)]
    pub(crate) fn attributes(&self, descriptor: u64) -> Stage2Attributes {
        let memattr = descriptor >> 2 & 0xf;
        Stage2Attributes {
            memory: if self.fwb {
                Stage2Memory::Force(ForcedType::from_memattr(memattr))
            } else {
                Stage2Memory::Combine(Stage2Type::from_memattr(memattr, self.tags))
            },
            shareability: self
                .sh
                .unwrap_or_else(|| Shareability::from_bits(descriptor >> 8)),
        }
    }

    #[inline(always)]
    pub(crate) fn site(purpose: Purpose, ipa: Ipa, level: i8) -> Site {
        Site {
            stage: Stage::Stage2,
            class: Class::of(purpose),
            ipa,
            level,
        }
    }
}

impl<M: PhysMem + ?Sized, O: Observer + ?Sized, C: Lookaside> Walker<'_, M, O, C> {
    /// Translates `ipa` for an access that needs `request`, on the way to `purpose`.
    #[inline(always)]
    pub(crate) fn stage2(
        &mut self,
        s2: &Stage2,
        ipa: Ipa,
        purpose: Purpose,
        request: Request,
    ) -> Result<Stage2Leaf, Cause> {
        let found = self.cache.stage2(ipa);
        self.report();
        if let Some(leaf) = found {
            let site = Stage2::site(purpose, ipa, leaf.level);
            let (kind, new) = s2.admit(leaf.descriptor, leaf.pa.get(), site, request)?;
            // A descriptor that hardware must update is read again.
            if new == leaf.descriptor {
                return Ok(Stage2Leaf { kind, ..leaf });
            }
        }
        if s2.tables.is_plain() {
            self.walk_tables2::<true>(s2, ipa, purpose, request)
        } else {
            self.walk_unusual_tables2(s2, ipa, purpose, request)
        }
    }

    /// Out of line, so that walks of plain tables stay small.
    #[inline(never)]
    fn walk_unusual_tables2(
        &mut self,
        s2: &Stage2,
        ipa: Ipa,
        purpose: Purpose,
        request: Request,
    ) -> Result<Stage2Leaf, Cause> {
        self.walk_tables2::<false>(s2, ipa, purpose, request)
    }

    #[inline(always)]
    fn walk_tables2<const PLAIN: bool>(
        &mut self,
        s2: &Stage2,
        ipa: Ipa,
        purpose: Purpose,
        request: Request,
    ) -> Result<Stage2Leaf, Cause> {
        let tables = &s2.tables;
        let site = |level| Stage2::site(purpose, ipa, level);
        if !tables.resolves(ipa.get()) {
            return Err(Cause::Translation(site(tables.start_level())));
        }
        let mut attempts = Attempts::new();
        'restart: loop {
            let found = self.cache.stage2_table(ipa.get());
            self.report();
            let mut cursor = match found {
                Some(found) => tables.resume(found.next, found.level),
                None => tables.start(),
            };
            loop {
                let level = cursor.level;
                let pa = Pa::new(cursor.descriptor_address(ipa.get()));
                let place = Place {
                    structure: Structure::Stage2(level),
                    purpose,
                    ipa: None,
                    pa,
                };
                let eabt = || Cause::WalkEabt {
                    site: site(level),
                    fetch: pa,
                };
                let descriptor = self
                    .read(place, Order::of::<PLAIN>(tables))
                    .map_err(|_| eabt())?;
                match tables.step::<PLAIN>(descriptor, &cursor) {
                    Step::Table(next) => {
                        if !tables.in_range(next) {
                            return Err(Cause::AddressSize(site(level)));
                        }
                        if !PLAIN && tables.marks_tables() && descriptor & ACCESS_FLAG == 0 {
                            let new = descriptor | ACCESS_FLAG;
                            let updated =
                                self.update(place, Order::of::<PLAIN>(tables), descriptor, new);
                            if attempts.must_restart(updated).map_err(|_| eabt())? {
                                continue 'restart;
                            }
                        }
                        let found = TableFound {
                            next,
                            hierarchical: 0,
                            level,
                        };
                        self.cache
                            .fill_stage2_table(ipa.get(), cursor.lsb, tables, found);
                        self.report();
                        cursor.descend(tables, next);
                    }
                    Step::Leaf(address) => {
                        let output = address | cursor.offset(ipa.get());
                        let (kind, new) = s2.admit(descriptor, output, site(level), request)?;
                        if new != descriptor {
                            let updated =
                                self.update(place, Order::of::<PLAIN>(tables), descriptor, new);
                            if attempts.must_restart(updated).map_err(|_| eabt())? {
                                continue 'restart;
                            }
                        }
                        let leaf = Stage2Leaf {
                            pa: Pa::new(output),
                            descriptor: new,
                            span_log2: cursor.lsb,
                            kind,
                            level,
                            granule_log2: tables.granule_log2(),
                        };
                        self.cache.fill_stage2(s2, ipa, &leaf);
                        self.report();
                        return Ok(leaf);
                    }
                    Step::Invalid => return Err(Cause::Translation(site(level))),
                }
            }
        }
    }
}

impl Stage2 {
    /// Checks a leaf in the architecture's order: address size, Access flag, permission, tables in
    /// Device memory. Gives what is carried out and the descriptor as it must be afterwards.
    #[inline(always)]
    pub(crate) fn admit(
        &self,
        descriptor: u64,
        output: u64,
        site: Site,
        request: Request,
    ) -> Result<(AccessKind, u64), Cause> {
        if !self.tables.in_range(output) {
            return Err(Cause::AddressSize(site));
        }
        let accessed = descriptor & ACCESS_FLAG != 0;
        if !accessed && !self.ha && !self.affd {
            return Err(Cause::Access(site));
        }
        let page = Stage2Page {
            leaf: descriptor,
            xn: self.xn,
            dirty_state: self.dirty_state,
            pnu: request.pnu,
        };
        let is_input = site.class == Class::In;
        let refused = |missing_read| {
            let table_access = (!is_input).then_some(Direction::of(request.kind));
            Cause::Permission {
                site,
                missing_read,
                table_access,
            }
        };
        match check(&page, request) {
            Verdict::Refused { missing_read } => Err(refused(missing_read)),
            Verdict::Granted { .. }
                if self.ptw && !is_input && self.attributes(descriptor).is_device() =>
            {
                Err(refused(true))
            }
            Verdict::Granted { kind, mark_dirty } => {
                let update = mark_dirty || (!accessed && self.ha);
                let new = if update {
                    updated_stage2(descriptor, mark_dirty)
                } else {
                    descriptor
                };
                // With AFFD and no HA a clear flag stays clear.
                Ok((kind, new))
            }
        }
    }
}
