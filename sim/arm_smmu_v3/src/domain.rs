//! Domains: what they are asked to be, and what the first attach makes of them
//! (`arm_smmu_domain_finalise`).

use iommu_core::ops::DomainKind;
use iommu_core::semantics::Invalidation;
use iommu_core::{Control, Defect, Errno};
use smmu::ids::{Asid, SubstreamId, Vmid};

use crate::cd::{CdTable, Leaf, stage1_cd};
use crate::command::Reach;
use crate::entry::Entry;
use crate::instance::Instance;
use crate::maintenance::{NestParent, Tag, Tags};
use crate::pgtable::{Format, PageTables, Stage};
use crate::platform::Platform;
use crate::ste::{Stage1Entry, Stage2Entry};
use crate::{Driver, control};

/// Whether a domain was asked to be a stage 2 under somebody else's stage 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nesting {
    No,
    Requested,
}

/// A guest's stage 1 (the series' `s1_cfg` and `abort`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GuestStage1 {
    /// Guest's CD table.
    pub(crate) table: Option<Stage1Entry>,
    /// Every transaction is aborted.
    pub(crate) abort: bool,
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain {
    pub(crate) kind: DomainKind,
    pub(crate) nesting: Nesting,
    /// Whose stage 2 this domain's devices use; tables and VMID are that domain's then.
    pub(crate) parent: Option<iommu_core::DomainId>,
    pub(crate) live: Option<Live>,
    pub(crate) guest: GuestStage1,
    /// An STE with this domain's stage 2 has been written: what IO13 and later go by when they
    /// free the VMID (D19).
    pub(crate) stage2_set: bool,
}

/// A finalised domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) translation: Translation,
    pub(crate) tables: Option<PageTables>,
    pub(crate) tags: Tags,
}

/// How a finalised domain translates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Translation {
    /// Not at all.
    Bypass,
    /// By stage 1.
    Stage1 {
        /// What CD 0 of its devices holds.
        cd: Entry,
        /// Up to 6.7 the domain has the CDs.
        cdtab: Option<CdTable>,
    },
    /// By stage 2.
    Stage2(Stage2Entry),
}

impl Domain {
    pub(crate) fn new(kind: DomainKind) -> Self {
        Self {
            kind,
            nesting: Nesting::No,
            parent: None,
            live: None,
            guest: GuestStage1::default(),
            stage2_set: false,
        }
    }

    /// The stage 2 of a domain that has been asked to nest, if finalised.
    pub(crate) fn nested_stage2(&self) -> Option<Stage2Entry> {
        match &self.live {
            Some(Live {
                translation: Translation::Stage2(stage2),
                ..
            }) if self.nesting == Nesting::Requested => Some(*stage2),
            _ => None,
        }
    }
}

/// Which stages a domain is to translate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Bypass,
    Stage1,
    Stage2,
}

/// Stage selection. Without the series a wish to nest is forgotten on an SMMU with one stage.
fn plan(domain: &Domain, instance: &Instance, control: &Control) -> Result<Plan, Errno> {
    let features = &instance.features;
    if matches!(domain.kind, DomainKind::Identity | DomainKind::Blocked) {
        return Ok(Plan::Bypass);
    }
    let both = features.trans_s1 && features.trans_s2;
    let nests = domain.nesting == Nesting::Requested;
    if nests && control.semantics.series.is_some() && !both {
        return Err(Errno::EINVAL);
    }
    Ok(match (features.trans_s1, features.trans_s2, nests) {
        (false, _, _) | (true, true, true) => Plan::Stage2,
        (true, _, _) => Plan::Stage1,
    })
}

impl<P: Platform> Driver<P> {
    /// Finalises `domain` for the SMMU `at`: chooses stages, allocates tables and identifiers.
    /// `ssid_bits` sizes the CD table, where the domain has one.
    ///
    /// # Errors
    /// EINVAL, ENOMEM, ENOSPC (no VMID), EBUSY (no ASID). The domain is as before then.
    pub(crate) fn finalise(
        &mut self,
        domain: iommu_core::DomainId,
        smmu: crate::SmmuId,
        ssid_bits: u32,
    ) -> Result<(), Errno> {
        let record = &self.domains[domain];
        let instance = &self.instances[smmu.index()];
        let plan = plan(record, instance, self.platform.control())?;
        let nests = record.nesting == Nesting::Requested;
        let defects = self.platform.control().semantics.defects;
        let series = self.platform.control().semantics.series.is_some();
        let mut tags = Tags {
            smmu,
            tag: None,
            page_log2: self.params.cpu_page.trailing_zeros(),
            // Mainline before iommufd knows no guest's stage 1; the series forgets about it (D15).
            nest_parent: if nests && !(series && defects.contains(Defect::CombinedEntriesStay)) {
                NestParent::Yes
            } else {
                NestParent::No
            },
            devices: Vec::new(),
        };
        if !series && self.rules().invalidation != Invalidation::Array {
            tags.nest_parent = NestParent::No;
        }
        let live = if plan == Plan::Bypass {
            Live {
                translation: Translation::Bypass,
                tables: None,
                tags,
            }
        } else {
            let tables = self.alloc_tables(plan, &tags)?;
            tags.page_log2 = tables.format().pgsize_bitmap().trailing_zeros();
            match self.identify(plan, &tables, tags.clone(), ssid_bits) {
                Ok((translation, tag)) => {
                    tags.tag = Some(tag);
                    Live {
                        translation,
                        tables: Some(tables),
                        tags,
                    }
                }
                Err(errno) => {
                    // Freeing tables flushes, with an identifier that was never given.
                    tags.tag = Some(match plan {
                        Plan::Stage1 => Tag::Asid(Asid::new(0)),
                        Plan::Bypass | Plan::Stage2 => Tag::Vmid(Vmid::new(0)),
                    });
                    self.free_tables(tables, &tags);
                    return Err(errno);
                }
            }
        };
        if let Some(record) = self.domains.get_mut(domain) {
            record.live = Some(live);
        }
        Ok(())
    }

    fn alloc_tables(&mut self, plan: Plan, tags: &Tags) -> Result<PageTables, Errno> {
        let features = self.instances[tags.smmu.index()].features.clone();
        let (stage, sizes) = if plan == Plan::Stage1 {
            let ias = if features.vax { 52 } else { 48 };
            (Stage::Stage1, (ias.min(self.params.va_bits), features.ias))
        } else {
            let fwb = features.fwb
                && tags.nest_parent == NestParent::Yes
                && self.rules().invalidation == Invalidation::Array;
            (Stage::Stage2 { fwb }, (features.ias, features.oas))
        };
        let format = Format::new(
            stage,
            features.pgsize_bitmap,
            self.params.cpu_page,
            sizes,
            features.coherency,
            self.rules(),
        )
        .map_err(|_| Errno::ENOMEM)?;
        let mut maintenance = self.maintenance(tags);
        PageTables::new(&mut maintenance, format).map_err(|_| Errno::ENOMEM)
    }

    /// Takes an identifier and prepares what devices will be given (`arm_smmu_domain_finalise_s1`,
    /// `_s2`).
    fn identify(
        &mut self,
        plan: Plan,
        tables: &PageTables,
        mut tags: Tags,
        ssid_bits: u32,
    ) -> Result<(Translation, Tag), Errno> {
        let domains_have_cds = self.domains_have_cds();
        let instance = &mut self.instances[tags.smmu.index()];
        if plan == Plan::Stage2 {
            control(&mut self.platform).step("driver:vmid_alloc", Errno::ENOSPC)?;
            let last = (1 << instance.features.vmid_bits) - 1;
            let vmid = instance.vmids.take(last).ok_or(Errno::ENOSPC)?;
            let vmid = Vmid::new(vmid as u16);
            let stage2 = Stage2Entry::new(tables, vmid);
            return Ok((Translation::Stage2(stage2), Tag::Vmid(vmid)));
        }
        control(&mut self.platform).step("driver:asid_alloc", Errno::EBUSY)?;
        let last = (1 << instance.features.asid_bits) - 1;
        let asid = self.asids.take(last).ok_or(Errno::EBUSY)?;
        let asid = Asid::new(asid as u16);
        let cd = stage1_cd(&instance.features, tables, asid);
        tags.tag = Some(Tag::Asid(asid));
        let mut cdtab = None;
        if domains_have_cds {
            match CdTable::new(&mut self.platform, &instance.features, ssid_bits) {
                Ok(table) => cdtab = Some(table),
                Err(errno) => {
                    self.asids.release(asid.get().into());
                    return Err(errno);
                }
            }
        }
        if let Some(table) = cdtab {
            match table.prepare(&mut self.platform, SubstreamId::new(0)) {
                Ok(Leaf::Present) => {}
                Ok(Leaf::Made) => self.sync_domain_cd(&tags, SubstreamId::new(0), Reach::Walk),
                Err(errno) => {
                    table.free(&mut self.platform);
                    self.asids.release(asid.get().into());
                    return Err(errno);
                }
            }
            self.write_domain_cd(&table, &tags, &cd);
        }
        Ok((Translation::Stage1 { cd, cdtab }, Tag::Asid(asid)))
    }

    /// Flushes and frees page tables (`free_io_pgtable_ops`).
    fn free_tables(&mut self, tables: PageTables, tags: &Tags) {
        let mut maintenance = self.maintenance(tags);
        maintenance.all();
        tables.free(&mut maintenance);
    }

    /// Frees a finalised domain's tables and identifiers; `keep_vmid` is D19.
    pub(crate) fn unfinalise(&mut self, live: Live, keep_vmid: KeepVmid) {
        if let Some(tables) = live.tables {
            self.free_tables(tables, &live.tags);
        }
        match (live.translation, live.tags.tag) {
            (Translation::Stage1 { cdtab, .. }, Some(Tag::Asid(asid))) => {
                if let Some(table) = cdtab {
                    table.free(&mut self.platform);
                }
                self.asids.release(asid.get().into());
            }
            (Translation::Stage2(stage2), _) if keep_vmid == KeepVmid::No => {
                let instance = &mut self.instances[live.tags.smmu.index()];
                instance.vmids.release(stage2.vmid.get().into());
            }
            _ => {}
        }
    }
}

/// Whether a VMID outlives its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepVmid {
    /// It is released.
    No,
    /// It leaks (D19).
    Leak,
}
