//! What a [`LinuxMachine`] shall have.

use std::collections::BTreeMap;

use arm_smmu_v3::{Driver, Firmware, Params, Platform, SmmuId};
use iommu_core::ops::DomainKind;
use iommu_core::{Control, CoreConfig, DeviceConfig, Errno, Grouping, IommuCore, Semantics};
use smmu::cache::CacheConfig;
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use thiserror::Error;
use vfio_type1::{HostConfig, Vfio};

use super::{LinuxMachine, Place};
use crate::board::{Board, BoardConfig, BoardError};
use crate::topology::{Pci, PciAddress};

/// Why there is no machine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinuxError {
    /// Its hardware.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// A device is given twice.
    #[error("device {0} is there twice")]
    Twice(PciAddress),
    /// A device shares its group with one that does not come before it.
    #[error("device {device} shares a group with {companion}, which is not there")]
    NoCompanion {
        /// Which.
        device: PciAddress,
        /// With whom.
        companion: PciAddress,
    },
    /// A device is behind an SMMU that is not there.
    #[error("device {device} is behind SMMU {}, and there are {smmus}", .smmu.0)]
    NoSuchSmmu {
        /// Which.
        device: PciAddress,
        /// Behind what.
        smmu: SmmuId,
        /// How many there are.
        smmus: u32,
    },
    /// Probing, or binding a device to VFIO.
    #[error("{0}")]
    Kernel(Errno),
}

impl From<Errno> for LinuxError {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl LinuxError {
    /// What a caller that knows error numbers only is told: the kernel's, or ENODEV.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Kernel(errno) => *errno,
            _ => Errno::ENODEV,
        }
    }
}

/// SMMUs there can be when only devices name them.
const SMMUS_MAX: u32 = 64;

/// A device and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    address: PciAddress,
    smmu: SmmuId,
    /// The requester ID that arrives at the SMMU.
    stream: u32,
    /// Further StreamIDs that firmware lists.
    aliases: Vec<u32>,
    companion: Option<PciAddress>,
    presence: Presence,
}

/// When a device is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    AtBoot,
    Later,
}

impl Wanted {
    fn new(address: PciAddress, smmu: SmmuId, stream: u32, companion: Option<PciAddress>) -> Self {
        Self {
            address,
            smmu,
            stream,
            aliases: Vec::new(),
            companion,
            presence: Presence::AtBoot,
        }
    }

    /// The core and the driver come to know the device.
    pub(super) fn add<P: Platform>(
        &self,
        core: &mut IommuCore<Driver<P>>,
        devices: &BTreeMap<PciAddress, Place>,
    ) -> Result<Place, LinuxError> {
        let Self { address, smmu, .. } = *self;
        let no_companion = |companion| LinuxError::NoCompanion {
            device: address,
            companion,
        };
        let grouping = match self.companion {
            None => Grouping::Own,
            Some(companion) => {
                let place = devices.get(&companion);
                Grouping::With(place.ok_or_else(|| no_companion(companion))?.device)
            }
        };
        let config = DeviceConfig {
            grouping,
            ..DeviceConfig::pci(&address.to_string())
        };
        let stream = StreamId::new(self.stream);
        let mut firmware = Firmware::new(smmu, stream);
        let aliases = self.aliases.iter().copied().map(StreamId::new);
        firmware.streams.extend(aliases);
        let device = core.add_device(config, &firmware)?;
        Ok(Place {
            device,
            smmu,
            stream,
        })
    }
}

/// A machine in the making; [`LinuxMachine::builder`] begins one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct LinuxBuilder {
    semantics: Semantics,
    board: BoardConfig,
    params: Params,
    process_memory: (u64, u64),
    devices: Vec<Wanted>,
    default_domain: DomainKind,
}

impl LinuxBuilder {
    pub(super) fn new(semantics: Semantics) -> Self {
        Self {
            semantics,
            board: BoardConfig::new(Vec::new()),
            params: Params::default(),
            process_memory: (2 << 40, 1 << 30),
            devices: Vec::new(),
            default_domain: DomainKind::Dma,
        }
    }

    /// What devices are on until VFIO takes them; otherwise a domain of the DMA API's.
    /// [`DomainKind::Identity`] is `iommu.passthrough=1`.
    pub fn default_domain(mut self, kind: DomainKind) -> Self {
        self.default_domain = kind;
        self
    }

    /// The SMMUs, by number; otherwise as many of QEMU's as devices name.
    pub fn smmus(mut self, parts: impl IntoIterator<Item = SmmuConfig>) -> Self {
        self.board.smmus = parts.into_iter().collect();
        self
    }

    /// Caches of the SMMUs; otherwise they forget nothing until told to.
    pub fn caches(mut self, caches: CacheConfig) -> Self {
        self.board.caches = caches;
        self
    }

    /// What the driver is built and started with: page size, queue sizes, which stage it prefers.
    pub fn driver(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// Where the driver's tables and queues go, in bytes; otherwise 64 GiB from 1 TiB on.
    pub fn tables(mut self, base: u64, bytes: u64) -> Self {
        self.board.tables = (base, bytes);
        self
    }

    /// Where memory of processes is, in bytes; otherwise 1 GiB from 2 TiB on.
    pub fn process_memory(mut self, base: u64, bytes: u64) -> Self {
        self.process_memory = (base, bytes);
        self
    }

    /// A device in a group of its own; its StreamID is its requester ID. It is bound to VFIO.
    pub fn device(self, address: PciAddress, smmu: SmmuId) -> Self {
        self.wanted(Wanted::new(address, smmu, address.requester_id(), None))
    }

    /// A device that shares its group with one named before: nothing keeps the two apart.
    pub fn device_beside(self, address: PciAddress, smmu: SmmuId, companion: PciAddress) -> Self {
        let stream = address.requester_id();
        self.wanted(Wanted::new(address, smmu, stream, Some(companion)))
    }

    /// A function of a PCI topology: its StreamID and its group follow from the bridges above it.
    /// Functions are added in the order of their indexes.
    pub fn function(self, pci: &Pci, function: usize, smmu: SmmuId) -> Self {
        let address = |index: usize| pci.functions()[index].address;
        let companion = pci.companion(function).map(address);
        let stream = pci.requester_id(function);
        self.wanted(Wanted::new(address(function), smmu, stream, companion))
    }

    /// Firmware lists further StreamIDs for the device named last, perhaps one it has already.
    pub fn aliases(mut self, streams: impl IntoIterator<Item = u32>) -> Self {
        if let Some(device) = self.devices.last_mut() {
            device.aliases.extend(streams);
        }
        self
    }

    /// The device named last is not there at boot: [`LinuxMachine::plug`] plugs it in.
    pub fn absent(mut self) -> Self {
        if let Some(device) = self.devices.last_mut() {
            device.presence = Presence::Later;
        }
        self
    }

    fn wanted(mut self, device: Wanted) -> Self {
        self.devices.push(device);
        self
    }

    /// Boots the machine.
    ///
    /// # Errors
    /// [`LinuxError`].
    pub fn build(&self) -> Result<LinuxMachine, LinuxError> {
        self.build_on(|board| board)
    }

    /// The same with something between the driver and the board, which counts or records.
    ///
    /// # Errors
    /// [`LinuxError`].
    pub fn build_on<P: Platform>(
        &self,
        platform: impl FnOnce(Board) -> P,
    ) -> Result<LinuxMachine<P>, LinuxError> {
        let mut config = self.board.clone();
        if config.smmus.is_empty() {
            let last = self.devices.iter().map(|device| device.smmu.0).max();
            let count = last.unwrap_or(0).saturating_add(1).min(SMMUS_MAX);
            config.smmus = vec![SmmuConfig::qemu_11(); count as usize];
        }
        let smmus = config.smmus.len() as u32;
        config.ram.push(self.process_memory);
        let board = Board::new(Control::new(self.semantics.clone()), &config)?;
        let driver = Driver::probe(platform(board), self.params.clone(), smmus)?;
        let page_size = self.params.cpu_page;
        let core_config = CoreConfig {
            default_domain: self.default_domain,
            page_size,
        };
        let mut core = IommuCore::new(driver, core_config);
        let mut devices: BTreeMap<PciAddress, Place> = BTreeMap::new();
        let mut order = Vec::new();
        let mut absent: BTreeMap<PciAddress, Wanted> = BTreeMap::new();
        for wanted in &self.devices {
            let Wanted { address, smmu, .. } = *wanted;
            if smmu.0 >= smmus {
                let device = address;
                return Err(LinuxError::NoSuchSmmu {
                    device,
                    smmu,
                    smmus,
                });
            }
            if devices.contains_key(&address) || absent.contains_key(&address) {
                return Err(LinuxError::Twice(address));
            }
            if wanted.presence == Presence::Later {
                absent.insert(address, wanted.clone());
                continue;
            }
            let place = wanted.add(&mut core, &devices)?;
            order.push(place.device);
            devices.insert(address, place);
        }
        let (base, bytes) = self.process_memory;
        let host = HostConfig {
            ram_start: base,
            ram_end: base.saturating_add(bytes),
            ..HostConfig::with_page_size(page_size)
        };
        let mut vfio = Vfio::new(core, host);
        for device in order {
            vfio.bind(device)?;
        }
        Ok(LinuxMachine {
            pid: vfio.spawn(),
            vfio,
            devices,
            absent,
            groups: BTreeMap::new(),
        })
    }
}
