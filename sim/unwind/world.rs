//! One machine with VFIO on it, a process that uses it, and the operations of an exploration.

use std::collections::{BTreeMap, BTreeSet};

use arm_smmu_v3::{Driver, Params, Platform, SmmuId};
use iommu_core::semantics::{NestingType, PasidPolicy};
use iommu_core::{
    Control, DeviceId, DomainId, Errno, FaultMode, GroupId, IommuOps, Paddr, Recording, Semantics,
};
use smmu::addr::{Iova, Pa};
use smmu::cache::{CacheConfig, ContiguousHint, TlbStructure, WalkCacheConfig};
use smmu::cache::{Geometry, Replacement};
use smmu::ids::StreamId;
use smmu::{Smmu, Transaction};
use vfio_type1::api::{IommuType, Mapping, Rights};
use vfio_type1::{Pid, Placement, RegionConfig, Type1, Vfio};

use super::guest::{self, Asids, PAGE, PAGES, PROBES, RANGES};
use super::layout::{GroupPlace, Layout};
use super::op::{Op, Stage1};
use super::shared::Shared;
use crate::board::{Board, Deed, Moment};
use crate::linux::LinuxMachine;

/// Memory of processes, within the board's RAM.
const FRAMES: (u64, u64) = (2 << 40, 1 << 18);
/// Tables and queues.
const TABLES: (u64, u64) = (1 << 40, 1 << 22);

/// A group, open for the whole exploration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OpenGroup {
    pub(super) fd: i32,
    pub(super) group: GroupId,
    pub(super) smmu: u32,
    /// Devices that are there.
    pub(super) devices: Vec<DeviceId>,
    /// The container it is in.
    pub(super) container: Option<usize>,
}

/// A machine in the middle of an exploration: plain data, copied at every turn.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    pub(super) vfio: Vfio<Driver<Board>>,
    pub(super) pid: Pid,
    pub(super) containers: Vec<i32>,
    pub(super) groups: Vec<OpenGroup>,
    pub(super) memory: u64,
    pub(super) frames: Vec<Paddr>,
    /// Policy (C), if that is the policy.
    pub(super) shared: Option<Shared>,
}

/// What a domain is called in reports.
pub(super) fn name(smmu: u32, groups: &[usize]) -> String {
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    format!("smmu{smmu} group {}", groups.join("+"))
}

/// Caches that forget nothing by themselves, small to begin with: worlds are copied all the time.
fn caches() -> CacheConfig {
    let geometry = Geometry::new(8, 4, Replacement::Infinite);
    CacheConfig {
        configuration: geometry,
        ste: geometry,
        structure: TlbStructure::Combined,
        tlb: geometry,
        stage2_tlb: geometry,
        walk: WalkCacheConfig::Unified(geometry),
        contiguous: ContiguousHint::Used,
    }
}

impl World {
    /// A machine after boot, with every group open and in no container.
    ///
    /// # Errors
    /// What the driver or VFIO refuses with; a layout of this room's limits is not refused.
    pub fn new(semantics: Semantics, layout: &Layout) -> Result<Self, Errno> {
        let policy = semantics.series.map(|series| series.policy);
        // Under one VMID a guest has to tell its tables apart.
        let asids = match policy {
            Some(PasidPolicy::SharedStage2) => Asids::Each,
            _ => Asids::One,
        };
        Self::with_asids(semantics, layout, asids)
    }

    /// The same, with a choice of what the guest's tables are tagged with.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_asids(semantics: Semantics, layout: &Layout, asids: Asids) -> Result<Self, Errno> {
        let policy = semantics.series.map(|series| series.policy);
        let mut builder = LinuxMachine::builder(semantics)
            .caches(caches())
            .tables(TABLES.0, TABLES.1)
            .process_memory(FRAMES.0, FRAMES.1)
            .driver(Params {
                queue_order: 0,
                ..Params::default()
            });
        for (index, place) in layout.groups.iter().enumerate() {
            let (first, smmu) = (Layout::address(index, 0), SmmuId(place.smmu));
            builder = builder.device(first, smmu);
            for function in 1..place.devices {
                builder = builder.device_beside(Layout::address(index, function), smmu, first);
            }
        }
        let machine = builder.build().map_err(|error| error.errno())?;
        let devices = |(index, place): (usize, &GroupPlace)| {
            let device = |function| machine.place(Layout::address(index, function)).device;
            (0..place.devices).map(device).collect()
        };
        let groups = layout.groups.iter().enumerate().map(devices).collect();
        let LinuxMachine { vfio, pid, .. } = machine;
        let mut world = Self {
            vfio,
            pid,
            containers: Vec::new(),
            groups: Vec::new(),
            memory: 0,
            frames: Vec::new(),
            shared: None,
        };
        world.open(layout, groups, policy)?;
        world.fill_memory(asids)?;
        // Blocking domains and CD tables are made at first use and kept: have them from the start.
        for group in 0..layout.groups.len() {
            world.run(Op::Attach {
                group,
                container: 0,
            })?;
            world.run(Op::Detach { group })?;
        }
        Ok(world)
    }

    fn open(
        &mut self,
        layout: &Layout,
        groups: Vec<Vec<DeviceId>>,
        policy: Option<PasidPolicy>,
    ) -> Result<(), Errno> {
        if policy == Some(PasidPolicy::SharedStage2) {
            let space = self.vfio.open_container(self.pid)?;
            self.shared = Some(Shared::new(space, layout.containers));
        } else {
            for _ in 0..layout.containers {
                self.containers.push(self.vfio.open_container(self.pid)?);
            }
        }
        for (devices, place) in groups.into_iter().zip(&layout.groups) {
            let group = self
                .vfio
                .core()
                .device(devices[0])
                .ok_or(Errno::ENODEV)?
                .group;
            self.groups.push(OpenGroup {
                fd: self.vfio.open_group(self.pid, group)?,
                group,
                smmu: place.smmu,
                devices,
                container: None,
            });
        }
        Ok(())
    }

    fn fill_memory(&mut self, asids: Asids) -> Result<(), Errno> {
        let size = PAGES * PAGE;
        let region = RegionConfig {
            placement: Placement::Contiguous,
            ..RegionConfig::ordinary(size)
        };
        self.memory = self.vfio.host_mut().map_memory(self.pid, &region, PAGE)?;
        let process = self.vfio.host().process(self.pid);
        let frames = process.frames(self.memory, size, PAGE);
        self.frames = frames.into_iter().flatten().collect();
        let board = self.vfio.core().ops().platform();
        guest::write_tables(&self.frames, asids, &mut board.ram().port());
        Ok(())
    }

    /// Carries out an operation.
    ///
    /// # Errors
    /// The ioctl's; EINVAL also where the container has no backend, ENODEV for a group that is gone.
    pub fn run(&mut self, op: Op) -> Result<(), Errno> {
        if let Op::Remove { group } = op {
            return self.remove(group);
        }
        if let Some(mut shared) = self.shared.take() {
            let result = shared.run(self, op);
            self.shared = Some(shared);
            return result;
        }
        match op {
            Op::Attach { group, container } => self.attach(group, container),
            Op::Detach { group } => self.detach(group),
            Op::Set { container, stage1 } => self.set(container, stage1),
            Op::Replace { container, table } => {
                self.set(container, Stage1::Bypass)?;
                self.set(container, Stage1::Table(table))
            }
            Op::Unset { container } => {
                let fd = self.containers[container];
                self.vfio.caller(self.pid).unset_pasid_table(fd)
            }
            Op::Map { container, mapping } => self.map(self.containers[container], mapping),
            Op::Unmap { container, mapping } => self.unmap(self.containers[container], mapping),
            Op::Remove { .. } => Ok(()),
        }
    }

    /// The type that nests where the kernel has one that works.
    fn iommu_type(&self) -> IommuType {
        match self.semantics().vfio.nesting {
            NestingType::Works => IommuType::Nesting,
            NestingType::Advertised | NestingType::Gone => IommuType::Type1V2,
        }
    }

    fn attach(&mut self, group: usize, container: usize) -> Result<(), Errno> {
        self.join(group, self.containers[container])?;
        self.groups[group].container = Some(container);
        Ok(())
    }

    /// SET_CONTAINER, and SET_IOMMU for the first group; what a VMM takes back if that fails.
    pub(super) fn join(&mut self, group: usize, container: i32) -> Result<(), Errno> {
        let kind = self.iommu_type();
        let fd = self.groups[group].fd;
        if self.groups[group].devices.is_empty() {
            return Err(Errno::ENODEV);
        }
        let mut caller = self.vfio.caller(self.pid);
        caller.set_container(fd, container)?;
        if self.type1(container).is_none() {
            let set = self.vfio.caller(self.pid).set_iommu(container, kind);
            if set.is_err() {
                self.vfio.caller(self.pid).unset_container(fd)?;
            }
            set?;
        }
        Ok(())
    }

    fn detach(&mut self, group: usize) -> Result<(), Errno> {
        let fd = self.groups[group].fd;
        if self.groups[group].devices.is_empty() {
            return Err(Errno::ENODEV);
        }
        self.vfio.caller(self.pid).unset_container(fd)?;
        self.groups[group].container = None;
        Ok(())
    }

    fn set(&mut self, container: usize, stage1: Stage1) -> Result<(), Errno> {
        let config = guest::config(stage1);
        let fd = self.containers[container];
        self.vfio.caller(self.pid).set_pasid_table(fd, &config)
    }

    pub(super) fn map(&mut self, container: i32, mapping: usize) -> Result<(), Errno> {
        let range = RANGES[mapping];
        let mapping = Mapping {
            iova: range.iova,
            vaddr: self.memory + range.first * PAGE,
            size: range.pages * PAGE,
            rights: Rights::ReadWrite,
        };
        self.vfio.caller(self.pid).map(container, mapping)
    }

    pub(super) fn unmap(&mut self, container: i32, mapping: usize) -> Result<(), Errno> {
        let range = RANGES[mapping];
        let size = range.pages * PAGE;
        let unmapped = self
            .vfio
            .caller(self.pid)
            .unmap(container, range.iova, size);
        unmapped.map(drop)
    }

    pub(super) fn is_mapped(&self, container: i32, mapping: usize) -> bool {
        let start = RANGES[mapping].iova;
        let type1 = self.type1(container);
        type1.is_some_and(|type1| type1.mappings().any(|(iova, _)| iova == start))
    }

    /// A device is unplugged: VFIO lets go of it when its user has, and the last device of a group
    /// takes the group with it.
    fn remove(&mut self, group: usize) -> Result<(), Errno> {
        let device = *self.groups[group].devices.last().ok_or(Errno::ENODEV)?;
        if self.groups[group].devices.len() == 1 {
            if self.groups[group].container.is_some() {
                self.run(Op::Detach { group })?;
            }
            let fd = self.groups[group].fd;
            self.vfio.close(self.pid, fd)?;
        }
        self.vfio.unbind(device)?;
        self.vfio.core_mut().remove_device(device);
        self.groups[group].devices.pop();
        Ok(())
    }

    /// The backend of a container.
    pub(super) fn type1(&self, container: i32) -> Option<&Type1> {
        self.vfio.container(self.pid, container)?.type1()
    }

    pub(super) fn semantics(&self) -> &Semantics {
        &self.vfio.core().ops().control().semantics
    }

    /// Semantics, fault plan and journal.
    pub fn control(&self) -> &Control {
        self.vfio.core().ops().control()
    }

    /// From now on steps fail as `mode` says.
    pub fn fail(&mut self, mode: FaultMode) {
        let control = self.vfio.core_mut().ops_mut().control_mut();
        control.faults.set(mode);
    }

    /// Keeps the calls across layers from now on.
    pub fn record(&mut self) {
        let control = self.vfio.core_mut().ops_mut().control_mut();
        control.journal.set(Recording::On);
    }

    /// What the driver did to the hardware since [`record`](Self::record), as [`Board::take_deeds`].
    pub(super) fn take_deeds(&mut self) -> Vec<(Moment, Deed)> {
        let driver = self.vfio.core_mut().ops_mut();
        driver.platform_mut().take_deeds()
    }

    /// Where a stream's STE is, and its words; `None` without one.
    pub(super) fn ste_words(&self, smmu: SmmuId, stream: StreamId) -> Option<(Pa, [u64; 8])> {
        let driver = self.vfio.core().ops();
        let pa = driver.ste_pa(smmu, stream)?;
        let mut words = [0; 8];
        driver.platform().read_words(pa, &mut words);
        Some((pa, words))
    }

    /// Domains of the containers, by SMMU and groups.
    pub(super) fn domain_names(&self) -> BTreeMap<DomainId, String> {
        let mut names = BTreeMap::new();
        let space = self.shared.as_ref().map(|shared| shared.space);
        for fd in self.containers.iter().copied().chain(space) {
            let Some(type1) = self.type1(fd) else {
                continue;
            };
            for (domain, members) in type1.domains() {
                let known = |id: &GroupId| self.groups.iter().position(|g| g.group == *id);
                let groups: Vec<usize> = members.iter().filter_map(known).collect();
                let smmu = groups.first().map_or(0, |group| self.groups[*group].smmu);
                names.insert(domain, name(smmu, &groups));
            }
        }
        let containers = self.shared.iter().flat_map(|shared| &shared.containers);
        for domain in containers.flat_map(|container| &container.domains) {
            names.insert(domain.domain, name(domain.smmu, &domain.groups));
        }
        names
    }

    /// Every device tries both addresses, so that caches hold what they can.
    pub fn warm_up(&mut self) {
        for (smmu, stream) in self.streams() {
            for probe in PROBES {
                let read = Transaction::read(stream, Iova::new(probe));
                let board = self.vfio.core_mut().ops_mut().platform_mut();
                let _seen_later = board.access(smmu, &read);
            }
        }
    }

    /// The SMMUs consume what is in their queues, as they do sooner or later.
    pub fn settle(&mut self) {
        let smmus: BTreeSet<u32> = self.groups.iter().map(|group| group.smmu).collect();
        let board = self.vfio.core_mut().ops_mut().platform_mut();
        for smmu in smmus {
            board.relax(SmmuId(smmu));
        }
    }

    /// Streams of the devices that are there, group by group.
    pub(super) fn streams(&self) -> Vec<(SmmuId, StreamId)> {
        let mut streams = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            for function in 0..group.devices.len() as u32 {
                let stream = StreamId::new(Layout::stream(index, function));
                streams.push((SmmuId(group.smmu), stream));
            }
        }
        streams
    }

    pub(super) fn smmu(&self, smmu: SmmuId) -> &Smmu {
        self.vfio.core().ops().platform().smmu(smmu)
    }

    /// Leaves everything, as a process that ends does. Failures are over.
    pub fn tear_down(&mut self) {
        self.fail(FaultMode::Off);
        for group in 0..self.groups.len() {
            // Those that are not in refuse to leave.
            let _refused = self.run(Op::Detach { group });
        }
    }
}
