//! The recorded machines: which devices, groups and SMMUs they have.

use iommu_core::ops::{DomainKind, ResvRegion, ResvType};
use iommu_core::testing::{Fw, Stages, TableDouble};
use iommu_core::{
    CoreConfig, DeviceConfig, DeviceId, Errno, Grouping, IommuCore, IommuOps, Kernel, MsiIsolation,
    Semantics,
};
use thiserror::Error;
use vfio_type1::{HostConfig, Vfio};

use super::bench::Model;
use super::bus::{Bus, Endpoint};

/// How many SMMUs there are, and what the second can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Topology {
    /// One, with both stages.
    #[default]
    One,
    /// Two with both stages; device Z is behind the second.
    Two,
    /// The second has stage 2 only.
    Mixed,
}

/// What scripts open as a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContainerFile {
    /// `/dev/vfio/vfio`: type1.
    #[default]
    Vfio,
    /// `/dev/iommu`: iommufd's layer for programs that know type1.
    Iommufd,
}

/// A recorded machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineConfig {
    /// The kernel.
    pub semantics: Semantics,
    /// Bytes of a CPU page.
    pub page_size: u64,
    /// SMMUs.
    pub topology: Topology,
    /// Whether there is an interrupt controller that isolates MSIs.
    pub msi: MsiIsolation,
    /// What a container is, unless a script names the file.
    pub container: ContainerFile,
}

impl MachineConfig {
    /// A kernel on the machine with one SMMU and isolated interrupts.
    pub fn new(kernel: Kernel, page_size: u64) -> Self {
        Self {
            semantics: Semantics::kernel(kernel),
            page_size,
            topology: Topology::One,
            msi: MsiIsolation::Isolated,
            container: ContainerFile::Vfio,
        }
    }

    /// The machine a recording's label names (`k510`, `k61`, `k612`, `k72`, with `_16k`, `_two`,
    /// `_mix`, `_noits`, `_iommufd`).
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn from_label(label: &str, page_size: u64) -> Result<Self, LabelError> {
        let words: Vec<&str> = label.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let has = |word| words.contains(&word);
        let kernel = if has("k61") {
            Kernel::V6_1
        } else if has("k612") {
            Kernel::V6_12
        } else if has("k72") || has("own72") {
            Kernel::V7_2
        } else if has("k510") {
            Kernel::V5_10
        } else {
            return Err(LabelError::NoKernel(label.to_owned()));
        };
        let mut config = Self::new(kernel, page_size);
        if has("two") {
            config.topology = Topology::Two;
        }
        if has("mix") {
            config.topology = Topology::Mixed;
        }
        if has("noits") {
            config.msi = MsiIsolation::Shared;
        }
        if has("iommufd") {
            config.container = ContainerFile::Iommufd;
        }
        Ok(config)
    }

    /// Sizes of pages in tables of this CPU page size.
    fn page_sizes(&self) -> u64 {
        match self.page_size {
            0x4000 => 1 << 14 | 1 << 25,
            0x10000 => 1 << 16 | 1 << 29,
            _ => 1 << 12 | 1 << 21 | 1 << 30,
        }
    }
}

/// Why a label names no machine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LabelError {
    /// None of the kernels' names occurs in it.
    #[error("{0:?} names no kernel (k510, k61, k612, k72): use --machine")]
    NoKernel(String),
}

/// Where a device sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Letter in scripts.
    pub letter: char,
    /// PCI address.
    pub address: &'static str,
    /// Index of its SMMU.
    pub smmu: u32,
    /// StreamID: the PCI requester ID, or its bridge's.
    pub stream: u32,
    /// Letter of the device it shares a group with.
    companion: Option<char>,
    kind: SlotKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotKind {
    Tester,
    Edu,
    Nvme,
}

const fn slot(
    letter: char,
    address: &'static str,
    stream: u32,
    companion: Option<char>,
    kind: SlotKind,
) -> Slot {
    Slot {
        letter,
        address,
        smmu: if letter == 'Z' { 1 } else { 0 },
        stream,
        companion,
        kind,
    }
}

/// Devices scripts name. H, the second conventional device behind the bridge, has no group on any
/// recorded kernel.
const SLOTS: [Slot; 9] = [
    slot('A', "0000:00:05.0", 0x28, None, SlotKind::Tester),
    slot('B', "0000:00:06.0", 0x30, None, SlotKind::Tester),
    slot('C', "0000:00:08.0", 0x40, None, SlotKind::Tester),
    slot('D', "0000:00:08.1", 0x41, Some('C'), SlotKind::Edu),
    slot('E', "0000:00:07.0", 0x38, None, SlotKind::Edu),
    slot('F', "0000:00:0b.0", 0x58, None, SlotKind::Tester),
    slot('N', "0000:00:0b.1", 0x59, Some('F'), SlotKind::Nvme),
    slot('G', "0000:03:01.0", 0x300, None, SlotKind::Tester),
    slot('Z', "0000:21:00.0", 0x2100, None, SlotKind::Tester),
];

/// A device scripts can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) letter: char,
    pub(super) endpoint: Endpoint,
    pub(super) model: Model,
}

/// A driver over hardware, of which a machine can be made.
pub trait Hardware: Bus {
    /// The driver with its SMMUs probed.
    ///
    /// # Errors
    /// The driver's.
    fn build(config: &MachineConfig) -> Result<Self, Errno>;

    /// What firmware says about a device.
    fn firmware(slot: &Slot, reserved: Vec<ResvRegion>) -> Self::Firmware;
}

impl Hardware for TableDouble {
    fn build(config: &MachineConfig) -> Result<Self, Errno> {
        let second = match config.topology {
            Topology::One => None,
            Topology::Two => Some(Stages::Both),
            Topology::Mixed => Some(Stages::Stage2),
        };
        let instances: Vec<Stages> = [Stages::Both].into_iter().chain(second).collect();
        let sizes = config.page_sizes();
        Ok(Self::new(config.semantics.clone(), &instances, sizes))
    }

    fn firmware(slot: &Slot, reserved: Vec<ResvRegion>) -> Fw {
        Fw {
            instance: slot.smmu as usize,
            resv: reserved,
        }
    }
}

/// VFIO on a recorded machine, devices bound as they were, and the devices by letter.
pub(super) fn build<B: Hardware>(config: &MachineConfig) -> Result<(Vfio<B>, Vec<Known>), Errno> {
    let core_config = CoreConfig {
        default_domain: DomainKind::Dma,
        page_size: config.page_size,
    };
    let mut core = IommuCore::new(B::build(config)?, core_config);
    let mut known: Vec<Known> = Vec::new();
    for slot in &SLOTS {
        if slot.smmu > 0 && config.topology == Topology::One {
            continue;
        }
        let grouping = slot
            .companion
            .and_then(|letter| known.iter().find(|known| known.letter == letter))
            .map_or(Grouping::Own, |known| Grouping::With(known.endpoint.device));
        let device_config = DeviceConfig {
            grouping,
            msi: config.msi,
            ..DeviceConfig::pci(slot.address)
        };
        let device = core.add_device(device_config, &B::firmware(slot, vec![]))?;
        known.push(Known {
            letter: slot.letter,
            endpoint: Endpoint {
                device,
                smmu: slot.smmu,
                stream: slot.stream,
            },
            model: match slot.kind {
                SlotKind::Tester => Model::Tester,
                SlotKind::Edu => Model::edu(),
                SlotKind::Nvme => Model::Other,
            },
        });
    }
    let mut vfio = Vfio::new(core, HostConfig::with_page_size(config.page_size));
    for device in &known {
        match device.model {
            Model::Other => vfio.bind_host(device.endpoint.device, "nvme")?,
            Model::Tester | Model::Edu(_) => vfio.bind(device.endpoint.device)?,
        }
    }
    Ok((vfio, known))
}

/// Name of a reserved region's type in sysfs; both kinds of MSI window read the same.
pub(super) const fn resv_name(kind: ResvType) -> &'static str {
    match kind {
        ResvType::Direct => "direct",
        ResvType::DirectRelaxable => "direct-relaxable",
        ResvType::Reserved => "reserved",
        ResvType::Msi | ResvType::SwMsi => "msi",
    }
}

/// The system's view of a group's default domain.
pub(super) fn domain_type<O: IommuOps>(core: &IommuCore<O>, device: DeviceId) -> &'static str {
    let kind = core
        .device(device)
        .and_then(|device| core.group(device.group)?.default_domain)
        .and_then(|domain| core.domains().find(|(id, _)| *id == domain));
    match kind {
        Some((_, DomainKind::Blocked)) => "blocked",
        Some((_, DomainKind::Identity)) => "identity",
        Some((_, DomainKind::Unmanaged)) => "unmanaged",
        Some((_, DomainKind::Dma)) => "DMA",
        Some((_, DomainKind::DmaFq)) => "DMA-FQ",
        Some((_, DomainKind::Nested)) => "nested",
        None => "unknown",
    }
}
