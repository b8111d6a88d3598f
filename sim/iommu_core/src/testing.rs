//! A driver without hardware, for tests of the layers above: domains are maps, IOMMU instances are
//! numbers.
//!
//! It obeys the rules every driver does (instance mismatch, finalisation, page sizes, aperture),
//! and nothing more: what an SMMU does with STEs and commands is the real driver's business.

mod driver;

use std::collections::{BTreeMap, BTreeSet};

use crate::ops::{DeviceFault, DomainKind, PageResponse, Prot, ResvRegion, ResvType};
use crate::uapi::PasidTableConfig;
use crate::{Control, DeviceId, DomainId, Errno, Iova, Paddr, Semantics};

/// Which stages an instance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stages {
    /// Both.
    #[default]
    Both,
    /// Stage 2 only.
    Stage2,
}

/// What the double is told about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fw {
    /// Index of its instance.
    pub instance: usize,
    /// Regions of its own beside the MSI window.
    pub resv: Vec<ResvRegion>,
}

impl Fw {
    /// Behind `instance`, nothing reserved of its own.
    pub fn on(instance: usize) -> Self {
        Self {
            instance,
            resv: vec![],
        }
    }
}

/// One mapped page of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leaf {
    paddr: u64,
    size: u64,
    prot: Prot,
}

/// A stage, decided when a domain is finalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Stage 1.
    S1,
    /// Stage 2.
    S2,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    kind: DomainKind,
    nesting: bool,
    finalised: Option<(usize, Stage)>,
    /// What the guest's stage 1 is; `None`: stage 2 only.
    pasid: Option<PasidTableConfig>,
    aborts: bool,
    leaves: BTreeMap<u64, Leaf>,
    /// Devices that have been here: taking them again never fails, as drivers promise.
    seen: BTreeSet<DeviceId>,
}

/// The double.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDouble {
    control: Control,
    instances: Vec<Stages>,
    page_sizes: u64,
    devices: BTreeMap<DeviceId, (Fw, Option<DomainId>)>,
    domains: BTreeMap<DomainId, Table>,
    /// Faults to be reported, and what reporting each returned.
    raised: Vec<(DeviceId, DeviceFault)>,
    reported: Vec<Result<(), Errno>>,
    answered: Vec<(DeviceId, PageResponse)>,
    /// Entries removed from tables and not yet invalidated: what a cache may still hold.
    stale: BTreeMap<(DomainId, u64), u64>,
}

/// The window Linux reserves for MSI doorbells (`MSI_IOVA_BASE`).
const SW_MSI: ResvRegion = ResvRegion {
    start: Iova(0x800_0000),
    length: 0x10_0000,
    kind: ResvType::SwMsi,
};

impl TableDouble {
    /// Instances with these stages; page sizes as a bit mask.
    pub fn new(semantics: Semantics, instances: &[Stages], page_sizes: u64) -> Self {
        Self {
            control: Control::new(semantics),
            instances: instances.to_vec(),
            page_sizes,
            devices: BTreeMap::new(),
            domains: BTreeMap::new(),
            raised: Vec::new(),
            reported: Vec::new(),
            answered: Vec::new(),
            stale: BTreeMap::new(),
        }
    }

    /// A device faults; the next run of the event threads reports it.
    pub fn raise(&mut self, device: DeviceId, fault: DeviceFault) {
        self.raised.push((device, fault));
    }

    /// What reporting returned since the last call.
    pub fn take_reported(&mut self) -> Vec<Result<(), Errno>> {
        std::mem::take(&mut self.reported)
    }

    /// Answers to page requests since the last call.
    pub fn take_answered(&mut self) -> Vec<(DeviceId, PageResponse)> {
        std::mem::take(&mut self.answered)
    }

    /// Two 4K instances with both stages.
    pub fn two(semantics: Semantics) -> Self {
        let sizes = 1 << 12 | 1 << 21 | 1 << 30;
        Self::new(semantics, &[Stages::Both, Stages::Both], sizes)
    }

    fn finalise(&mut self, domain: DomainId, instance: usize) {
        let stages = self.instances[instance];
        let table = self.domains.get_mut(&domain).expect("the domain exists");
        let stage = match stages {
            Stages::Stage2 => Stage::S2,
            Stages::Both if table.nesting => Stage::S2,
            Stages::Both => Stage::S1,
        };
        table.finalised.get_or_insert((instance, stage));
    }

    /// Where `device` is attached.
    pub fn attached(&self, device: DeviceId) -> Option<DomainId> {
        self.devices.get(&device)?.1
    }

    /// Forgets where devices are attached: for comparing states after a failure that leaves a
    /// device detached, as
    /// [`AttachOrder::DetachFirst`](crate::semantics::AttachOrder::DetachFirst) does.
    pub fn forget_attachments(&mut self) {
        for (_, attached) in self.devices.values_mut() {
            *attached = None;
        }
    }

    /// The stage a finalised domain uses.
    pub fn stage(&self, domain: DomainId) -> Option<Stage> {
        Some(self.domains.get(&domain)?.finalised?.1)
    }

    /// The guest table of `domain`, and whether it aborts everything.
    pub fn pasid_table(&self, domain: DomainId) -> (Option<PasidTableConfig>, bool) {
        let table = &self.domains[&domain];
        (table.pasid, table.aborts)
    }

    /// Pages mapped in `domain`: address, where it leads, size.
    pub fn mappings(&self, domain: DomainId) -> Vec<(u64, u64, u64)> {
        self.domains[&domain]
            .leaves
            .iter()
            .map(|(iova, leaf)| (*iova, leaf.paddr, leaf.size))
            .collect()
    }

    /// Domains the driver holds.
    pub fn domain_count(&self) -> usize {
        self.domains.len()
    }

    /// Whether any table, or any cache that was not yet told otherwise, leads to the frame.
    pub fn reaches(&self, paddr: u64) -> bool {
        let covers = |base: u64, size: u64| (base..base + size).contains(&paddr);
        self.domains
            .values()
            .flat_map(|table| table.leaves.values())
            .any(|leaf| covers(leaf.paddr, leaf.size))
            || self.stale.values().any(|base| covers(*base, 1 << 12))
    }

    /// What a device's access leads to.
    ///
    /// # Errors
    /// `Err` if it is refused.
    #[expect(clippy::result_unit_err, reason = "refused is all a device learns")]
    pub fn dma(&self, device: DeviceId, iova: u64, wanted: Prot) -> Result<Paddr, ()> {
        let (_, domain) = self.devices.get(&device).ok_or(())?;
        let table = self.domains.get(&domain.ok_or(())?).ok_or(())?;
        if table.kind == DomainKind::Identity {
            return Ok(Paddr(iova));
        }
        if table.aborts || table.kind == DomainKind::Blocked {
            return Err(());
        }
        let (start, leaf) = table.leaves.range(..=iova).next_back().ok_or(())?;
        let offset = iova - start;
        if offset >= leaf.size {
            return Err(());
        }
        let stage1 = matches!(table.finalised, Some((_, Stage::S1)));
        // Stage 1 cannot express write without read.
        let granted = if stage1 {
            leaf.prot | Prot::READ
        } else {
            leaf.prot
        };
        if granted.contains(wanted) {
            Ok(Paddr(leaf.paddr + offset))
        } else {
            Err(())
        }
    }
}
