//! Machines with Linux: the SMMUv3 driver, VFIO, and a process whose memory is a guest's.

use std::collections::BTreeMap;
use std::fmt::Display;

use arm_smmu_v3::{Params, SmmuId};
use iommu_core::semantics::{LaterGroup, NestingType, PasidPolicy};
use iommu_core::uapi::{
    CacheInvalidateInfo, InvalidateScope, PASID_FORMAT_SMMUV3, PasidConfig, PasidTableConfig,
};
use iommu_core::{Errno, FaultMode, GroupId};
use smmu::ids::StreamId;
use smmu::spec::attrs::SteConfig;
use smmu::spec::ste::Ste;
use smmu::tables::Bump;
use vfio_type1::Type1;
use vfio_type1::api::{IommuType, Mapping, Rights, pasid_table_bytes};

use super::file::{Access, BridgeKind, IommuKind, LinuxSection, Policy, ScenarioFile};
use super::machine::{Seen, board_config};
use super::names;
use super::source::{Diagnostic, Located, Number};
use super::step::{
    Attach, CacheInvalidate, DeviceName, Fail, InvalidateScope as Scope, MapDma, Operation,
    PasidTableConfig as Asked, SetPasidTable, UnmapDma,
};
use super::tables::{PAGE, Space, Tables, read_words};
use crate::board::{Board, CommandLog};
use crate::linux::{ContainerFd, LinuxBuilder, LinuxMachine};
use crate::topology::{BridgeKind as PciBridge, Pci, PciAddress};
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
    address: PciAddress,
    present: bool,
}

/// The kernel, its hardware, and a process.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Linux {
    machine: LinuxMachine,
    pub(super) tables: Tables,
    devices: Vec<Device>,
    containers: BTreeMap<String, ContainerFd>,
    /// Address in the process of the guest's memory, and its bytes.
    memory: (u64, u64),
    iommu: IommuType,
}

/// What a call gave: an error of the kernel is a result, a mistake of the file is not.
type Called<T = ()> = Result<Result<T, Errno>, Diagnostic>;

impl Linux {
    /// The machine a file describes, after boot, every device bound to VFIO.
    pub(super) fn new(
        file: &ScenarioFile,
        section: &Located<LinuxSection>,
    ) -> Result<Self, Diagnostic> {
        let semantics = named_semantics(section)?;
        let nesting = semantics.vfio.nesting;
        let hardware = board_config(file, vec![])?;
        let params = Params {
            queue_order: 0,
            ..Params::default()
        };
        let smmus = hardware.smmus.len() as u32;
        let builder = LinuxMachine::builder(semantics)
            .smmus(hardware.smmus)
            .caches(hardware.caches)
            .driver(params)
            .tables(TABLES.0, TABLES.1)
            .process_memory(FRAMES.0, FRAMES.1);
        let (builder, devices) = plug_in(file, smmus, builder)?;
        let refused = |error: &dyn Display| {
            let message = format!("the machine cannot be made: {error}");
            Diagnostic::new(message, section.span(), "of this Linux")
        };
        let machine = builder.build().map_err(|error| refused(&error))?;
        let mut linux = Self {
            machine,
            tables: Tables::default(),
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
        for name in &section.containers {
            let container = linux.machine.open_container();
            let container = container.map_err(|errno| refused(&errno))?;
            linux.containers.insert(name.to_string(), container);
        }
        linux
            .give_memory(section)
            .map_err(|errno| refused(&errno))?;
        for stage1 in &file.stage1 {
            linux.edit(|tables, ram, frames| {
                tables.add_stage1(stage1, Space::Process, ram, frames)
            })?;
        }
        linux.board_mut().log_commands(CommandLog::On);
        Ok(linux)
    }

    fn give_memory(&mut self, section: &LinuxSection) -> Result<(), Errno> {
        let base = section.guest_base.as_ref().map_or(GUEST.0, |base| base.0);
        let size = section.guest_size.as_ref().map_or(GUEST.1, |size| size.0);
        let at = self.machine.allocate(size)?;
        let pages = (0..size).step_by(PAGE as usize);
        let frames = pages.filter_map(|offset| self.machine.frame(at + offset));
        self.memory = (at, size);
        self.tables.guest.base = base;
        self.tables.guest.frames = frames.map(smmu::addr::Pa::get).collect();
        Ok(())
    }

    pub(super) fn board(&self) -> &Board {
        self.machine.board()
    }

    pub(super) fn board_mut(&mut self) -> &mut Board {
        self.machine.board_mut()
    }

    /// `map`, `unmap`, `rewrite`: what the guest does to its tables.
    pub(super) fn edit(
        &mut self,
        work: impl FnOnce(&mut Tables, &smmu::mem::Ram, &mut Bump) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        // A guest has no memory but its own.
        let mut none = Bump::new(0, 0);
        let ram = self.machine.board().ram();
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
        Ok(self.containers[name.as_str()].0)
    }

    /// The SMMU and stream of a device.
    pub(super) fn stream_of(
        &self,
        name: &Located<String>,
    ) -> Result<(SmmuId, StreamId), Diagnostic> {
        let place = self.machine.place(self.device(name)?.address);
        Ok((place.smmu, place.stream))
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
        let faults = &self.machine.control().faults;
        seen.failed_step = faults.fired();
        seen.result = Some(result);
        self.fail(FaultMode::Off);
        Ok(())
    }

    fn fail(&mut self, mode: FaultMode) {
        self.machine.fail(mode);
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
        let steps = rehearsal.machine.control().faults.steps().to_vec();
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
                let mut caller = self.machine.caller();
                Ok(bytes.and_then(|bytes| caller.set_pasid_table_raw(container, bytes)))
            }
            Operation::UnsetPasidTable(unset) => {
                let container = self.container(&unset.container)?;
                Ok(self.machine.caller().unset_pasid_table(container))
            }
            Operation::CacheInvalidate(invalidate) => {
                let container = self.container(&invalidate.container)?;
                let info = invalidation(invalidate)?;
                Ok(self.machine.caller().cache_invalidate(container, &info))
            }
            Operation::BindMsi(bind) => {
                let container = self.container(&bind.container)?;
                let (iova, guest) = (bind.iova.0, bind.guest.0);
                let mut caller = self.machine.caller();
                Ok(caller.bind_msi(container, iova, guest, PAGE))
            }
            Operation::UnbindMsi(unbind) => {
                let container = self.container(&unbind.container)?;
                let iova = unbind.iova.0;
                Ok(self.machine.caller().unbind_msi(container, iova))
            }
            _ => Ok(Ok(())),
        }
    }

    /// The group of a device that is there.
    fn group_of(&self, device: &Device) -> Option<GroupId> {
        let place = self.machine.place(device.address);
        let device = self.machine.vfio.core().device(place.device);
        device.map(|device| device.group)
    }

    /// The descriptor of a device's group; ENODEV for a device that is gone.
    fn group_file(&mut self, name: &Located<String>) -> Called<i32> {
        let Device {
            address, present, ..
        } = *self.device(name)?;
        Ok(if present {
            self.machine.group(address)
        } else {
            Err(Errno::ENODEV)
        })
    }

    fn attach(&mut self, attach: &Attach) -> Called {
        let container = self.container(&attach.container)?;
        let fd = match self.group_file(&attach.device)? {
            Ok(fd) => fd,
            Err(errno) => return Ok(Err(errno)),
        };
        let kind = self.iommu;
        let mut result = self.machine.caller().set_container(fd, container);
        if result.is_ok() && self.type1(container).is_none() {
            result = self.machine.caller().set_iommu(container, kind);
            if result.is_err() {
                // What a VMM takes back.
                let _left = self.machine.caller().unset_container(fd);
            }
        }
        Ok(result)
    }

    fn detach(&mut self, name: &DeviceName) -> Called {
        let fd = self.group_file(&name.device)?;
        Ok(fd.and_then(|fd| self.machine.caller().unset_container(fd)))
    }

    /// A device is unplugged; the last one of a group takes the group with it.
    fn remove(&mut self, name: &DeviceName) -> Called {
        let fd = self.group_file(&name.device)?;
        let address = self.device(&name.device)?.address;
        let id = self.machine.place(address).device;
        let group = self.group_of(self.device(&name.device)?);
        let same = |other: &&Device| other.present && self.group_of(other) == group;
        let is_last = self.devices.iter().filter(same).count() == 1;
        let removed = fd.and_then(|fd| {
            if is_last {
                // It may be in no container.
                let _not_in = self.machine.caller().unset_container(fd);
                self.machine.caller().close(fd)?;
            }
            self.machine.vfio.unbind(id)?;
            self.machine.vfio.core_mut().remove_device(id);
            Ok(())
        });
        let mut devices = self.devices.iter_mut();
        if let Some(device) = devices.find(|device| device.address == address) {
            device.present &= removed.is_err();
        }
        Ok(removed)
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
        Ok(self.machine.caller().map(container, mapping))
    }

    fn unmap(&mut self, unmap: &UnmapDma) -> Called {
        let container = self.container(&unmap.container)?;
        let (iova, size) = (unmap.iova.0, unmap.size.0);
        let result = self.machine.caller().unmap(container, iova, size);
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
        let Some(series) = self.machine.control().semantics.series else {
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
        self.machine
            .vfio
            .container(self.machine.pid, container)?
            .type1()
    }

    /// STEs of the devices, by name.
    pub(super) fn stes(&self) -> Vec<(String, [u64; 8])> {
        let driver = self.machine.vfio.core().ops();
        let present = self.devices.iter().filter(|device| device.present);
        present
            .filter_map(|device| {
                let place = self.machine.place(device.address);
                let pa = driver.ste_pa(place.smmu, place.stream)?;
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
                let own = devices
                    .filter(|device| device.present && self.group_of(device) == Some(*group));
                own.map(|device| device.name.clone()).collect()
            };
            groups.iter().flat_map(of).collect()
        };
        let domains = |fd: &ContainerFd| match self.type1(fd.0) {
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
        let count = |fd: &ContainerFd| {
            self.type1(fd.0)
                .map_or(0, |type1| type1.mappings().count() as u64)
        };
        let containers = self.containers.iter();
        containers
            .map(|(name, fd)| (name.clone(), count(fd)))
            .collect()
    }

    /// Pins, locked pages, VMIDs, ASIDs, domains and bytes of tables.
    pub(super) fn resources(&self) -> [u64; 6] {
        let core = self.machine.vfio.core();
        let driver = core.ops();
        let smmus = (0..driver.platform().smmus()).map(SmmuId);
        [
            self.machine.vfio.host().pins().count(),
            self.machine
                .vfio
                .host()
                .process(self.machine.pid)
                .locked_pages(),
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

/// Puts the devices where the file has them; groups follow from the buses.
fn plug_in(
    file: &ScenarioFile,
    smmus: u32,
    mut builder: LinuxBuilder,
) -> Result<(LinuxBuilder, Vec<Device>), Diagnostic> {
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
    let mut devices: Vec<(Device, SmmuId)> = Vec::new();
    for section in &file.device {
        let smmu = names::within(section.smmu.as_ref(), 0, 0..=u64::from(smmus - 1))?;
        let smmu = SmmuId(smmu as u32);
        let above = above(section.below.as_ref(), &bridges)?;
        let at = pci.function(section.slot, section.function, above);
        let address = pci.functions()[at].address;
        let same = devices.iter().find(|(other, _)| other.address == address);
        if let Some((other, _)) = same {
            let message = format!("two functions at {address}");
            let label = format!("{:?} is there", other.name);
            return Err(Diagnostic::new(message, section.name.span(), label));
        }
        let companion = pci.companion(at).map(|other| &devices[other]);
        if let Some((companion, _)) = companion.filter(|(_, other)| *other != smmu) {
            let message = "one IOMMU group, two SMMUs";
            let label = format!("shares a group with {:?}", companion.name);
            return Err(Diagnostic::new(message, section.name.span(), label));
        }
        builder = builder.function(&pci, at, smmu);
        let device = Device {
            name: section.name.to_string(),
            address,
            present: true,
        };
        devices.push((device, smmu));
    }
    let devices = devices.into_iter().map(|(device, _)| device).collect();
    Ok((builder, devices))
}
