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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    address: PciAddress,
    smmu: SmmuId,
    /// The requester ID that arrives at the SMMU.
    stream: u32,
    companion: Option<PciAddress>,
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
}

impl LinuxBuilder {
    pub(super) fn new(semantics: Semantics) -> Self {
        Self {
            semantics,
            board: BoardConfig::new(Vec::new()),
            params: Params::default(),
            process_memory: (2 << 40, 1 << 30),
            devices: Vec::new(),
        }
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
        self.wanted(Wanted {
            address,
            smmu,
            stream: address.requester_id(),
            companion: None,
        })
    }

    /// A device that shares its group with one named before: nothing keeps the two apart.
    pub fn device_beside(self, address: PciAddress, smmu: SmmuId, companion: PciAddress) -> Self {
        self.wanted(Wanted {
            address,
            smmu,
            stream: address.requester_id(),
            companion: Some(companion),
        })
    }

    /// A function of a PCI topology: its StreamID and its group follow from the bridges above it.
    /// Functions are added in the order of their indexes.
    pub fn function(self, pci: &Pci, function: usize, smmu: SmmuId) -> Self {
        let address = |index: usize| pci.functions()[index].address;
        self.wanted(Wanted {
            address: address(function),
            smmu,
            stream: pci.requester_id(function),
            companion: pci.companion(function).map(address),
        })
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
            default_domain: DomainKind::Dma,
            page_size,
        };
        let mut core = IommuCore::new(driver, core_config);
        let mut devices: BTreeMap<PciAddress, Place> = BTreeMap::new();
        let mut order = Vec::new();
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
            let no_companion = |companion| LinuxError::NoCompanion {
                device: address,
                companion,
            };
            let grouping = match wanted.companion {
                None => Grouping::Own,
                Some(companion) => {
                    let place = devices.get(&companion);
                    Grouping::With(place.ok_or_else(|| no_companion(companion))?.device)
                }
            };
            let device = DeviceConfig {
                grouping,
                ..DeviceConfig::pci(&address.to_string())
            };
            if devices.contains_key(&address) {
                return Err(LinuxError::Twice(address));
            }
            let stream = StreamId::new(wanted.stream);
            let device = core.add_device(device, &Firmware::new(smmu, stream))?;
            order.push(device);
            let place = Place {
                device,
                smmu,
                stream,
            };
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
            groups: BTreeMap::new(),
        })
    }
}
