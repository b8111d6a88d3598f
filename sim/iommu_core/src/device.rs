//! What the core keeps about devices, groups and domains.

use crate::msi::MsiCookie;
use crate::ops::DomainKind;
use crate::{DeviceId, DomainId, GroupId};

/// A bus: devices on one may share a domain without further thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Bus {
    /// PCI.
    #[default]
    Pci,
    /// Platform devices.
    Platform,
}

/// Whether the interrupt controller tells this device's MSIs from others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum MsiIsolation {
    /// It does (a GICv3 ITS).
    #[default]
    Isolated,
    /// It does not: a device could raise others' interrupts.
    Shared,
}

/// Which group a new device belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grouping {
    /// One of its own.
    Own,
    /// That of this device, from which it cannot be told apart or isolated.
    With(DeviceId),
}

/// What a machine says about a device it adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Name, as in sysfs: `0000:00:05.0`.
    pub name: String,
    /// Where it sits.
    pub bus: Bus,
    /// Whom it shares a group with.
    pub grouping: Grouping,
    /// Interrupt isolation.
    pub msi: MsiIsolation,
}

impl DeviceConfig {
    /// A PCI device alone in its group, with isolated interrupts.
    pub fn pci(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            bus: Bus::Pci,
            grouping: Grouping::Own,
            msi: MsiIsolation::Isolated,
        }
    }
}

/// A device, as the core sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Name, as in sysfs.
    pub name: String,
    /// Where it sits.
    pub bus: Bus,
    /// Its group.
    pub group: GroupId,
    /// Interrupt isolation.
    pub msi: MsiIsolation,
}

/// Who may do DMA through a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Owner {
    /// Nobody claims it.
    #[default]
    Nobody,
    /// Kernel drivers use the default domain; how many.
    Drivers(u32),
    /// User space has it.
    User {
        /// On whose behalf.
        token: u64,
        /// How often it was claimed: once a group, or once for each device bound.
        claims: u32,
    },
}

/// Devices that cannot be told apart or isolated from each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// In the order they were added.
    pub devices: Vec<DeviceId>,
    /// Where they are.
    pub domain: Option<DomainId>,
    /// Where they are when nobody wants them elsewhere.
    pub default_domain: Option<DomainId>,
    /// Where they are when owned but unattached.
    pub(crate) blocking_domain: Option<DomainId>,
    pub(crate) owner: Owner,
}

/// A domain, as the core sees it; tables are the driver's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain {
    pub(crate) kind: DomainKind,
    pub(crate) cookie: Option<MsiCookie>,
}
