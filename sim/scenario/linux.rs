//! Machines with Linux: the SMMUv3 driver, VFIO, and a process whose memory is a guest's.

mod calls;
mod device;
mod plug;

use std::collections::BTreeMap;
use std::fmt::Display;

use arm_smmu_v3::{Params, SmmuId};
use iommu_core::ops::DomainKind;
use iommu_core::semantics::NestingType;
use iommu_core::{Errno, GroupId};
use smmu::ids::StreamId;
use smmu::spec::attrs::SteConfig;
use smmu::spec::ste::Ste;
use smmu::tables::Bump;
use vfio_type1::Type1;
use vfio_type1::api::IommuType;

use super::file::{DefaultDomain, IommuKind, LinuxSection, ScenarioFile};
use super::machine::board_config;
use super::names;
use super::source::{Diagnostic, Located};
use super::tables::{PAGE, Space, Tables, read_words};
use crate::board::{Board, CommandLog};
use crate::linux::{ContainerFd, LinuxMachine};
use crate::topology::PciAddress;

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
    /// Descriptors of open devices, by name.
    open: BTreeMap<String, i32>,
    /// Address in the process of the guest's memory, and its bytes.
    memory: (u64, u64),
    iommu: IommuType,
}

impl Linux {
    /// The machine a file describes, after boot, every device bound to VFIO.
    pub(super) fn new(
        file: &ScenarioFile,
        section: &Located<LinuxSection>,
    ) -> Result<Self, Diagnostic> {
        names::within(section.guest_base.as_ref(), 0, 0..=1 << 52)?;
        let semantics = plug::named_semantics(section)?;
        let nesting = semantics.vfio.nesting;
        let hardware = board_config(file, vec![])?;
        let params = Params {
            queue_order: 0,
            ..Params::default()
        };
        let smmus = hardware.smmus.len() as u32;
        let builder = LinuxMachine::builder(semantics)
            .smmus(hardware.smmus)
            .default_domain(match section.default_domain {
                DefaultDomain::Dma => DomainKind::Dma,
                DefaultDomain::Identity => DomainKind::Identity,
            })
            .caches(hardware.caches)
            .driver(params)
            .tables(TABLES.0, TABLES.1)
            .process_memory(FRAMES.0, FRAMES.1);
        let (builder, devices) = plug::plug_in(file, smmus, builder)?;
        let refused = |error: &dyn Display| {
            let message = format!("the machine cannot be made: {error}");
            Diagnostic::new(message, section.span(), "of this Linux")
        };
        let machine = builder.build().map_err(|error| refused(&error))?;
        let mut linux = Self {
            machine,
            tables: Tables::default(),
            containers: BTreeMap::new(),
            open: BTreeMap::new(),
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
        let address = self.device(name)?.address;
        let mut places = self.machine.devices();
        let place = places.find(|(other, _)| *other == address);
        let (_, place) = place.ok_or_else(|| {
            Diagnostic::new(
                "a device that was never plugged in",
                name.span(),
                "is absent",
            )
        })?;
        Ok((place.smmu, place.stream))
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
