//! Machines with Linux: the SMMUv3 driver, VFIO, and a process whose memory is a guest's.

use std::collections::BTreeMap;

use arm_smmu_v3::{Driver, Firmware, Params, SmmuId};
use iommu_core::ops::DomainKind;
use iommu_core::semantics::{LaterGroup, NestingType, PasidPolicy};
use iommu_core::uapi::{
    CacheInvalidateInfo, InvalidateScope, PASID_FORMAT_SMMUV3, PasidConfig, PasidTableConfig,
};
use iommu_core::{
    Control, CoreConfig, DeviceConfig, DeviceId, Errno, FaultMode, GroupId, Grouping, IommuCore,
    IommuOps,
};
use smmu::ids::StreamId;
use smmu::spec::attrs::SteConfig;
use smmu::spec::ste::Ste;
use smmu::tables::Bump;
use vfio_type1::api::{IommuType, Mapping, Rights, pasid_table_bytes};
use vfio_type1::{HostConfig, Pid, Placement, RegionConfig, Type1, Vfio};

use super::file::{Access, BridgeKind, IommuKind, LinuxSection, Policy, ScenarioFile};
use super::machine::{Seen, board, board_config};
use super::names;
use super::source::{Diagnostic, Located, Number};
use super::step::{
    Attach, CacheInvalidate, DeviceName, Fail, InvalidateScope as Scope, MapDma, Operation,
    PasidTableConfig as Asked, SetPasidTable, UnmapDma,
};
use super::tables::{PAGE, Space, Tables, read_words};
use crate::board::{Board, BoardConfig, CommandLog};
use crate::topology::{BridgeKind as PciBridge, Pci};
use crate::unwind::semantics;

/// Tables and queues of the driver.
const TABLES: (u64, u64) = (1 << 40, 1 << 26);
/// Memory of processes.
const FRAMES: (u64, u64) = (2 << 40, 1 << 28);
/// Where a guest sees its memory, by default, and how much it is.
const GUEST: (u64, u64) = (0x4000_0000, 0x4_0000);

/// A device.
#[derive(Debug, Clone, PartialEq)]
struct Device {
    name: String,
    id: DeviceId,
    group: GroupId,
    smmu: SmmuId,
    stream: StreamId,
    present: bool,
}

/// The kernel, its hardware, and a process.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Linux {
    vfio: Vfio<Driver<Board>>,
    pid: Pid,
    pub(super) tables: Tables,
    devices: Vec<Device>,
    groups: BTreeMap<GroupId, i32>,
    containers: BTreeMap<String, i32>,
    /// Address in the process of the guest's memory, and its bytes.
    memory: (u64, u64),
    iommu: IommuType,
}

/// What a call gave: an error of the kernel is a result, a mistake of the file is not.
type Called = Result<Result<(), Errno>, Diagnostic>;

impl Linux {
    /// The machine a file describes, after boot, every device bound to VFIO.
    pub(super) fn new(
        file: &ScenarioFile,
        section: &Located<LinuxSection>,
    ) -> Result<Self, Diagnostic> {
        let semantics = named_semantics(section)?;
        let nesting = semantics.vfio.nesting;
        let config = BoardConfig {
            tables: TABLES,
            ..board_config(file, vec![FRAMES])?
        };
        let board = board(file, Control::new(semantics), &config)?;
        let refused = |errno: Errno| {
            let message = format!("the machine cannot be made: {errno}");
            Diagnostic::new(message, section.span(), "of this Linux")
        };
        let smmus = board.smmus();
        let params = Params {
            queue_order: 0,
            ..Params::default()
        };
        let driver = Driver::probe(board, params, smmus).map_err(refused)?;
        let core_config = CoreConfig {
            default_domain: DomainKind::Dma,
            page_size: PAGE,
        };
        let mut core = IommuCore::new(driver, core_config);
        let devices = devices(file, smmus, &mut core)?;
        let host = HostConfig {
            ram_start: FRAMES.0,
            ram_end: FRAMES.0 + FRAMES.1,
            ..HostConfig::with_page_size(PAGE)
        };
        let mut vfio = Vfio::new(core, host);
        for device in &devices {
            vfio.bind(device.id).map_err(refused)?;
        }
        let mut linux = Self {
            pid: vfio.spawn(),
            vfio,
            tables: Tables::default(),
            groups: BTreeMap::new(),
            containers: BTreeMap::new(),
            memory: (0, 0),
            iommu: match section.iommu.as_ref().map(|kind| **kind) {
                Some(IommuKind::Type1) => IommuType::Type1,
                Some(IommuKind::Type1v2) => IommuType::Type1V2,
                Some(IommuKind::Nesting) => IommuType::Nesting,
                None if nesting == NestingType::Works => IommuType::Nesting,
                None => IommuType::Type1V2,
            },
            devices,
        };
        linux.open(section).map_err(refused)?;
        linux.give_memory(section).map_err(refused)?;
        for stage1 in &file.stage1 {
            linux.edit(|tables, ram, frames| {
                tables.add_stage1(stage1, Space::Process, ram, frames)
            })?;
        }
        let platform = linux.board_mut();
        platform.log_commands(CommandLog::On);
        Ok(linux)
    }

    fn open(&mut self, section: &LinuxSection) -> Result<(), Errno> {
        for name in &section.containers {
            let fd = self.vfio.open_container(self.pid)?;
            self.containers.insert(name.to_string(), fd);
        }
        for device in &self.devices {
            if !self.groups.contains_key(&device.group) {
                let fd = self.vfio.open_group(self.pid, device.group)?;
                self.groups.insert(device.group, fd);
            }
        }
        Ok(())
    }

    fn give_memory(&mut self, section: &LinuxSection) -> Result<(), Errno> {
        let base = section.guest_base.as_ref().map_or(GUEST.0, |base| base.0);
        let size = section.guest_size.as_ref().map_or(GUEST.1, |size| size.0);
        let region = RegionConfig {
            placement: Placement::Contiguous,
            ..RegionConfig::ordinary(size)
        };
        let at = self.vfio.host_mut().map_memory(self.pid, &region, PAGE)?;
        let process = self.vfio.host().process(self.pid);
        let frames = process.frames(at, size, PAGE);
        self.memory = (at, size);
        self.tables.guest.base = base;
        self.tables.guest.frames = frames.into_iter().flatten().map(|pa| pa.0).collect();
        Ok(())
    }

    pub(super) fn board(&self) -> &Board {
        self.vfio.core().ops().platform()
    }

    pub(super) fn board_mut(&mut self) -> &mut Board {
        self.vfio.core_mut().ops_mut().platform_mut()
    }

    /// `map`, `unmap`, `rewrite`: what the guest does to its tables.
    pub(super) fn edit(
        &mut self,
        work: impl FnOnce(&mut Tables, &smmu::mem::Ram, &mut Bump) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        // A guest has no memory but its own.
        let mut none = Bump::new(0, 0);
        let ram = self.vfio.core().ops().platform().ram();
        work(&mut self.tables, ram, &mut none)
    }

    fn device(&self, name: &Located<String>) -> Result<&Device, Diagnostic> {
        let names = self.devices.iter().map(|device| device.name.as_str());
        names::known("device", name, names)?;
        let mut devices = self.devices.iter();
        Ok(devices
            .find(|device| device.name == **name)
            .expect("it is known"))
    }

    fn container(&self, name: &Located<String>) -> Result<i32, Diagnostic> {
        names::known(
            "container",
            name,
            self.containers.keys().map(String::as_str),
        )?;
        Ok(self.containers[name.as_str()])
    }

    /// The SMMU and stream of a device.
    pub(super) fn stream_of(
        &self,
        name: &Located<String>,
    ) -> Result<(SmmuId, StreamId), Diagnostic> {
        let device = self.device(name)?;
        Ok((device.smmu, device.stream))
    }

    /// Carries out a system call, with what is to fail.
    pub(super) fn call(
        &mut self,
        operation: Operation<'_>,
        fail: Option<&Located<Fail>>,
        seen: &mut Seen,
    ) -> Result<(), Diagnostic> {
        if let Some(fail) = fail {
            let mode = self.fault_mode(operation, fail)?;
            self.fail(mode);
        }
        let result = self.perform(operation)?;
        let faults = &self.vfio.core().ops().control().faults;
        seen.failed_step = faults.fired();
        seen.result = Some(result);
        self.fail(FaultMode::Off);
        Ok(())
    }

    fn fail(&mut self, mode: FaultMode) {
        let control = self.vfio.core_mut().ops_mut().control_mut();
        control.faults.set(mode);
    }

    /// Which step is meant: a rehearsal on a copy tells which there are.
    fn fault_mode(
        &self,
        operation: Operation<'_>,
        fail: &Located<Fail>,
    ) -> Result<FaultMode, Diagnostic> {
        let mut rehearsal = self.clone();
        rehearsal.fail(FaultMode::Count);
        let _as_it_is = rehearsal.perform(operation)?;
        let steps = rehearsal
            .vfio
            .core()
            .ops()
            .control()
            .faults
            .steps()
            .to_vec();
        let errno = match &fail.errno {
            None => None,
            Some(name) => Some(errno(name)?),
        };
        let places: Vec<usize> = match &fail.step {
            None => (0..steps.len()).collect(),
            Some(name) => {
                let mut distinct = steps.clone();
                distinct.sort_unstable();
                distinct.dedup();
                names::known("step that can fail", name, distinct.into_iter())?;
                (0..steps.len()).filter(|at| steps[*at] == **name).collect()
            }
        };
        let nth = fail.nth.as_ref().map_or(1, |nth| nth.0);
        let place = nth.checked_sub(1).and_then(|at| places.get(at as usize));
        let place = place.ok_or_else(|| {
            let message = format!("there is no such step: the operation has {}", places.len());
            let span = fail.nth.as_ref().map_or_else(|| fail.span(), Located::span);
            Diagnostic::new(message, span, "counted from 1")
        })?;
        Ok(FaultMode::Nth {
            n: *place as u64,
            errno,
        })
    }

    fn perform(&mut self, operation: Operation<'_>) -> Called {
        match operation {
            Operation::Attach(attach) => self.attach(attach),
            Operation::Detach(device) => self.detach(device),
            Operation::Remove(device) => self.remove(device),
            Operation::MapDma(map) => self.map(map),
            Operation::UnmapDma(unmap) => self.unmap(unmap),
            Operation::SetPasidTable(set) => {
                let container = self.container(&set.container)?;
                let bytes = self.pasid_table_bytes(set)?;
                let mut caller = self.vfio.caller(self.pid);
                Ok(bytes.and_then(|bytes| caller.set_pasid_table_raw(container, bytes)))
            }
            Operation::UnsetPasidTable(unset) => {
                let container = self.container(&unset.container)?;
                Ok(self.vfio.caller(self.pid).unset_pasid_table(container))
            }
            Operation::CacheInvalidate(invalidate) => {
                let container = self.container(&invalidate.container)?;
                let info = invalidation(invalidate)?;
                Ok(self
                    .vfio
                    .caller(self.pid)
                    .cache_invalidate(container, &info))
            }
            Operation::BindMsi(bind) => {
                let container = self.container(&bind.container)?;
                let (iova, guest) = (bind.iova.0, bind.guest.0);
                let mut caller = self.vfio.caller(self.pid);
                Ok(caller.bind_msi(container, iova, guest, PAGE))
            }
            Operation::UnbindMsi(unbind) => {
                let container = self.container(&unbind.container)?;
                let iova = unbind.iova.0;
                Ok(self.vfio.caller(self.pid).unbind_msi(container, iova))
            }
            _ => Ok(Ok(())),
        }
    }

    fn attach(&mut self, attach: &Attach) -> Called {
        let group = self.device(&attach.device)?.group;
        let container = self.container(&attach.container)?;
        let Some(fd) = self.groups.get(&group).copied() else {
            return Ok(Err(Errno::ENODEV));
        };
        let kind = self.iommu;
        let mut caller = self.vfio.caller(self.pid);
        let mut result = caller.set_container(fd, container);
        if result.is_ok() && self.type1(container).is_none() {
            let mut caller = self.vfio.caller(self.pid);
            result = caller.set_iommu(container, kind);
            if result.is_err() {
                // What a VMM takes back.
                let _left = caller.unset_container(fd);
            }
        }
        Ok(result)
    }

    fn detach(&mut self, name: &DeviceName) -> Called {
        let group = self.device(&name.device)?.group;
        let Some(fd) = self.groups.get(&group).copied() else {
            return Ok(Err(Errno::ENODEV));
        };
        Ok(self.vfio.caller(self.pid).unset_container(fd))
    }

    /// A device is unplugged; the last one of a group takes the group with it.
    fn remove(&mut self, name: &DeviceName) -> Called {
        let device = self.device(&name.device)?.clone();
        if !device.present {
            return Ok(Err(Errno::ENODEV));
        }
        let same = |other: &&Device| other.present && other.group == device.group;
        if self.devices.iter().filter(same).count() == 1
            && let Some(fd) = self.groups.remove(&device.group)
        {
            // It may be in no container.
            let _not_in = self.vfio.caller(self.pid).unset_container(fd);
            if let Err(errno) = self.vfio.close(self.pid, fd) {
                return Ok(Err(errno));
            }
        }
        if let Err(errno) = self.vfio.unbind(device.id) {
            return Ok(Err(errno));
        }
        self.vfio.core_mut().remove_device(device.id);
        let mut devices = self.devices.iter_mut();
        if let Some(device) = devices.find(|other| other.id == device.id) {
            device.present = false;
        }
        Ok(Ok(()))
    }

    fn map(&mut self, map: &MapDma) -> Called {
        let container = self.container(&map.container)?;
        let base = self.tables.guest.base;
        let (at, bytes) = self.memory;
        let guest = map.guest.as_ref().map_or(base, |guest| guest.0);
        let offset = guest.wrapping_sub(base);
        if offset >= bytes {
            let message = format!("{guest:#x} is not in the guest's memory");
            let span = map
                .guest
                .as_ref()
                .map_or_else(|| map.container.span(), Located::span);
            let label = format!("expected {base:#x} to {:#x}", base + bytes - 1);
            return Err(Diagnostic::new(message, span, label));
        }
        let mapping = Mapping {
            iova: map.iova.as_ref().map_or(guest, |iova| iova.0),
            vaddr: at + offset,
            size: map.size.as_ref().map_or(bytes - offset, |size| size.0),
            rights: match map.access {
                Access::Read => Rights::Read,
                Access::Write => Rights::Write,
                Access::ReadWrite => Rights::ReadWrite,
                Access::None => {
                    let message = "MAP_DMA without access";
                    return Err(Diagnostic::new(message, map.container.span(), "for this"));
                }
            },
        };
        Ok(self.vfio.caller(self.pid).map(container, mapping))
    }

    fn unmap(&mut self, unmap: &UnmapDma) -> Called {
        let container = self.container(&unmap.container)?;
        let (iova, size) = (unmap.iova.0, unmap.size.0);
        let result = self.vfio.caller(self.pid).unmap(container, iova, size);
        Ok(result.map(drop))
    }

    /// What SET_PASID_TABLE is called with; ENOTTY without the series.
    fn pasid_table_bytes(&self, set: &SetPasidTable) -> Result<Result<Vec<u8>, Errno>, Diagnostic> {
        let (config, base_ptr) = match (&set.table, &set.config) {
            (Some(table), None) => (PasidConfig::TRANSLATE, self.tables.stage1(table)?.cd_at[0]),
            (None, Some(config)) => match **config {
                Asked::Bypass => (PasidConfig::BYPASS, 0),
                Asked::Abort => (PasidConfig::ABORT, 0),
            },
            (Some(table), Some(config)) => {
                let message = "a table, or another configuration";
                return Err(Diagnostic::new(message, config.span(), "as well as")
                    .and(table.span(), "this table"));
            }
            (None, None) => {
                let message = "which table?";
                return Err(
                    Diagnostic::new(message, set.container.span(), "for this container")
                        .help("say table = NAME, or config = \"bypass\" or \"abort\""),
                );
            }
        };
        let byte = |number: Option<&Located<Number>>| names::within(number, 0, 0..=0xff);
        let config = PasidTableConfig {
            version: 1,
            format: PASID_FORMAT_SMMUV3,
            base_ptr: set.base_ptr.as_ref().map_or(base_ptr, |base| base.0),
            pasid_bits: byte(set.pasid_bits.as_ref())? as u8,
            config,
            smmuv3_version: 1,
            s1fmt: byte(set.s1fmt.as_ref())? as u8,
            s1dss: byte(set.s1dss.as_ref())? as u8,
        };
        let Some(series) = self.vfio.core().ops().control().semantics.series else {
            return Ok(Err(Errno::ENOTTY));
        };
        let word = |number, default| names::within(number, default, 0..=u64::from(u32::MAX));
        let flags = word(set.flags.as_ref(), SET.into())? as u32;
        let mut bytes = pasid_table_bytes(series.io, flags, Some(&config));
        let argsz = word(set.argsz.as_ref(), bytes.len() as u64)? as u32;
        bytes[..4].copy_from_slice(&argsz.to_le_bytes());
        Ok(Ok(bytes))
    }

    fn type1(&self, container: i32) -> Option<&Type1> {
        self.vfio.container(self.pid, container)?.type1()
    }

    /// STEs of the devices, by name.
    pub(super) fn stes(&self) -> Vec<(String, [u64; 8])> {
        let driver = self.vfio.core().ops();
        let present = self.devices.iter().filter(|device| device.present);
        present
            .filter_map(|device| {
                let pa = driver.ste_pa(device.smmu, device.stream)?;
                let words = read_words(driver.platform().ram(), pa.get());
                Some((device.name.clone(), words))
            })
            .collect()
    }

    /// What an STE says, as far as this machine knows better: names of the guest's tables.
    pub(super) fn ste_words(&self, words: &[u64; 8]) -> Option<String> {
        let ste = Ste::from_words(*words);
        if !ste.dw0.v() || ste.dw0.config() != SteConfig::Nested {
            return None;
        }
        let at = ste.dw0.s1contextptr() << 6;
        let mut tables = self.tables.stage1.iter();
        let known = tables.find(|(_, stage1)| stage1.cd_at.contains(&at));
        known.map(|(name, _)| name.clone())
    }

    /// Domains of each container, newest first, each with the devices in it.
    pub(super) fn domains(&self) -> BTreeMap<String, Vec<Vec<String>>> {
        let members = |groups: Vec<GroupId>| -> Vec<String> {
            let of = |group: &GroupId| -> Vec<String> {
                let devices = self.devices.iter();
                let own = devices.filter(|device| device.present && device.group == *group);
                own.map(|device| device.name.clone()).collect()
            };
            groups.iter().flat_map(of).collect()
        };
        let domains = |fd: &i32| match self.type1(*fd) {
            None => vec![],
            Some(type1) => type1.domains().map(|(_, groups)| members(groups)).collect(),
        };
        let containers = self.containers.iter();
        containers
            .map(|(name, fd)| (name.clone(), domains(fd)))
            .collect()
    }

    /// Number of mappings of each container.
    pub(super) fn mappings(&self) -> BTreeMap<String, u64> {
        let count = |fd: &i32| {
            self.type1(*fd)
                .map_or(0, |type1| type1.mappings().count() as u64)
        };
        let containers = self.containers.iter();
        containers
            .map(|(name, fd)| (name.clone(), count(fd)))
            .collect()
    }

    /// Pins, locked pages, VMIDs, ASIDs, domains and bytes of tables.
    pub(super) fn resources(&self) -> [u64; 6] {
        let core = self.vfio.core();
        let driver = core.ops();
        let smmus = (0..driver.platform().smmus()).map(SmmuId);
        [
            self.vfio.host().pins().count(),
            self.vfio.host().process(self.pid).locked_pages(),
            smmus.map(|smmu| u64::from(driver.vmids_in_use(smmu))).sum(),
            driver.asids_in_use().into(),
            core.domains().count() as u64,
            driver.platform().used_bytes(),
        ]
    }
}

/// The error with a name.
pub(super) fn errno(name: &Located<String>) -> Result<Errno, Diagnostic> {
    let names = Errno::ALL.iter().map(|(name, _)| *name);
    names::known("error", name, names)?;
    Ok(Errno::from_name(name).expect("it is known"))
}

/// Flag SET of SET_PASID_TABLE.
const SET: u32 = 1;

/// What CACHE_INVALIDATE is called with.
fn invalidation(asked: &CacheInvalidate) -> Result<CacheInvalidateInfo, Diagnostic> {
    let flags = u32::from(asked.asid.is_some()) << 1;
    let archid = names::within(asked.asid.as_ref(), 0, 0..=0xffff)? as u32;
    let number = |number: Option<&Located<Number>>, default| number.map_or(default, |n| n.0);
    let scope = match *asked.scope {
        Scope::Domain => InvalidateScope::Domain,
        Scope::Pasid => InvalidateScope::Pasid {
            flags,
            archid,
            pasid: 0,
        },
        Scope::Address => InvalidateScope::Addr {
            flags,
            archid,
            pasid: 0,
            addr: number(asked.address.as_ref(), 0),
            granule_size: number(asked.granule.as_ref(), PAGE),
            nb_granules: number(asked.count.as_ref(), 1),
        },
    };
    Ok(CacheInvalidateInfo {
        cache: names::within(asked.caches.as_ref(), 1, 0..=0xff)? as u8,
        scope,
    })
}

fn named_semantics(section: &LinuxSection) -> Result<iommu_core::Semantics, Diagnostic> {
    let name = &section.semantics;
    let mut semantics = semantics(name)
        .map_err(|error| Diagnostic::new(error, name.span(), "unknown"))?
        .semantics;
    if let Some(policy) = &section.policy {
        let Some(series) = &mut semantics.series else {
            let message = "a policy says who may have a PASID table";
            return Err(Diagnostic::new(message, policy.span(), "this policy")
                .and(name.span(), "has none: the series is not applied"));
        };
        series.policy = match **policy {
            Policy::AllDomains => PasidPolicy::AllDomains,
            Policy::OneGroup => PasidPolicy::OneGroup {
                refusal: Errno::EINVAL,
                later: LaterGroup::Refuse(Errno::EINVAL),
            },
        };
    }
    Ok(semantics)
}

/// Adds the devices in groups that follow from the buses.
fn devices(
    file: &ScenarioFile,
    smmus: u32,
    core: &mut IommuCore<Driver<Board>>,
) -> Result<Vec<Device>, Diagnostic> {
    let mut pci = Pci::default();
    let mut bridges: Vec<&str> = Vec::new();
    let above = |name: Option<&Located<String>>, bridges: &[&str]| match name {
        None => Ok(None),
        Some(name) => {
            names::known("bridge above", name, bridges.iter().copied())?;
            Ok(bridges.iter().position(|bridge| *bridge == **name))
        }
    };
    for bridge in &file.bridge {
        let kind = match bridge.kind {
            BridgeKind::IsolatingPort => PciBridge::IsolatingPort,
            BridgeKind::Port => PciBridge::Port,
            BridgeKind::PcieToPci => PciBridge::PcieToPci,
        };
        pci.bridge(kind, bridge.bus, above(bridge.below.as_ref(), &bridges)?);
        bridges.push(&bridge.name);
    }
    let mut devices: Vec<Device> = Vec::new();
    for section in &file.device {
        let smmu = names::within(section.smmu.as_ref(), 0, 0..=u64::from(smmus - 1))?;
        let smmu = SmmuId(smmu as u32);
        let above = above(section.below.as_ref(), &bridges)?;
        let at = pci.function(section.slot, section.function, above);
        let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
        let stream = StreamId::new(pci.requester_id(at));
        let config = DeviceConfig {
            grouping: pci.grouping(at, &ids),
            ..DeviceConfig::pci(&pci.functions()[at].address.to_string())
        };
        let companion = match &config.grouping {
            Grouping::With(device) => devices.iter().find(|other| other.id == *device),
            _ => None,
        };
        if let Some(companion) = companion.filter(|companion| companion.smmu != smmu) {
            let message = "one IOMMU group, two SMMUs";
            let label = format!("shares a group with {:?}", companion.name);
            return Err(Diagnostic::new(message, section.name.span(), label));
        }
        let refused = |errno: Errno| {
            Diagnostic::new(
                format!("the device is refused: {errno}"),
                section.name.span(),
                "here",
            )
        };
        let id = core
            .add_device(config, &Firmware::new(smmu, stream))
            .map_err(refused)?;
        let group = core.device(id).ok_or_else(|| refused(Errno::ENODEV))?.group;
        devices.push(Device {
            name: section.name.to_string(),
            id,
            group,
            smmu,
            stream,
            present: true,
        });
    }
    Ok(devices)
}
