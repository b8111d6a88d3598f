//! PCI as an SMMU sees it: requester IDs, the bridges that replace them, and the groups that come
//! of it (`pci_for_each_dma_alias()`, `pci_device_group()`).

use std::fmt;

use iommu_core::Grouping;

/// Bus, slot and function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciAddress {
    /// Bus number.
    pub bus: u8,
    /// Slot, 0 to 31.
    pub slot: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl PciAddress {
    /// A function of a slot of a bus.
    pub const fn new(bus: u8, slot: u8, function: u8) -> Self {
        Self {
            bus,
            slot,
            function,
        }
    }

    /// Its requester ID.
    pub const fn requester_id(self) -> u32 {
        (self.bus as u32) << 8 | (self.slot as u32 & 31) << 3 | self.function as u32 & 7
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "0000:{:02x}:{:02x}.{:x}",
            self.bus, self.slot, self.function
        )
    }
}

/// What a bridge does to requests from below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeKind {
    /// A root or downstream port with access control: requests keep their ID, and functions below
    /// cannot reach each other.
    IsolatingPort,
    /// A port without access control: requests keep their ID, but functions below may reach each
    /// other.
    Port,
    /// PCIe to conventional PCI: requests get the ID of slot 0, function 0 of the secondary bus.
    PcieToPci,
}

/// A bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bridge {
    /// What it does.
    pub kind: BridgeKind,
    /// The bus below it.
    pub secondary: u8,
    /// The bridge above it; `None` for the root complex.
    pub above: Option<usize>,
}

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: PciAddress,
    /// The bridge above it; `None` for the root complex.
    pub above: Option<usize>,
}

/// A host bridge and what is below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pci {
    bridges: Vec<Bridge>,
    functions: Vec<Function>,
}

impl Pci {
    /// Adds a bridge; its index.
    pub fn bridge(&mut self, kind: BridgeKind, secondary: u8, above: Option<usize>) -> usize {
        debug_assert!(above.is_none_or(|above| above < self.bridges.len()));
        self.bridges.push(Bridge {
            kind,
            secondary,
            above,
        });
        self.bridges.len() - 1
    }

    /// Adds a function in a slot below a bridge, or of the root complex; its index.
    pub fn function(&mut self, slot: u8, function: u8, above: Option<usize>) -> usize {
        let bus = above.map_or(0, |above| self.bridges[above].secondary);
        self.functions.push(Function {
            address: PciAddress::new(bus, slot, function),
            above,
        });
        self.functions.len() - 1
    }

    /// The functions, by index.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Bridges above a function, nearest first.
    fn above(&self, function: usize) -> impl Iterator<Item = (usize, Bridge)> {
        let first = self.functions[function].above;
        let step = |index: &usize| self.bridges[*index].above;
        std::iter::successors(first, step).map(|index| (index, self.bridges[index]))
    }

    /// The ID a function's requests have when they arrive at the SMMU.
    pub fn requester_id(&self, function: usize) -> u32 {
        let own = self.functions[function].address.requester_id();
        self.above(function)
            .fold(own, |id, (_, bridge)| match bridge.kind {
                BridgeKind::IsolatingPort | BridgeKind::Port => id,
                BridgeKind::PcieToPci => PciAddress::new(bridge.secondary, 0, 0).requester_id(),
            })
    }

    /// The topmost bridge that does not keep functions below it apart.
    fn joint(&self, function: usize) -> Option<usize> {
        let joins = |(_, bridge): &(usize, Bridge)| bridge.kind != BridgeKind::IsolatingPort;
        self.above(function)
            .filter(joins)
            .last()
            .map(|(index, _)| index)
    }

    /// The first function that shares a group with this one: by a bridge that joins them, by its
    /// ID, or as functions of one slot, which nothing keeps apart.
    pub fn companion(&self, function: usize) -> Option<usize> {
        let this = self.functions[function];
        (0..function).find(|other| {
            let that = self.functions[*other];
            let joint = self.joint(function);
            let bridged = joint.is_some() && joint == self.joint(*other);
            let aliased = self.requester_id(function) == self.requester_id(*other);
            let slot =
                (this.address.bus, this.address.slot) == (that.address.bus, that.address.slot);
            bridged || aliased || slot
        })
    }

    /// The grouping of a function, given the devices of those before it.
    pub fn grouping(&self, function: usize, devices: &[iommu_core::DeviceId]) -> Grouping {
        let companion = self.companion(function).and_then(|at| devices.get(at));
        companion.map_or(Grouping::Own, |device| Grouping::With(*device))
    }
}

#[cfg(test)]
mod tests {
    use super::{BridgeKind, Pci};

    // PCIe to PCI/PCI-X Bridge Specification 1.0, 2.3: the bridge takes ownership of requests.
    #[test]
    fn functions_behind_a_conventional_bridge_share_its_id_and_a_group() {
        let mut pci = Pci::default();
        let port = pci.bridge(BridgeKind::IsolatingPort, 1, None);
        let bridge = pci.bridge(BridgeKind::PcieToPci, 2, Some(port));
        let direct = pci.function(0, 0, Some(port));
        let first = pci.function(3, 0, Some(bridge));
        let second = pci.function(4, 0, Some(bridge));
        assert_eq!(pci.requester_id(direct), 0x100);
        assert_eq!(pci.requester_id(first), 0x200);
        assert_eq!(pci.requester_id(second), 0x200);
        assert_eq!(pci.companion(second), Some(first));
        assert_eq!(pci.companion(first), None);
    }

    #[test]
    fn ports_keep_functions_apart_only_with_access_control() {
        for (kind, together) in [(BridgeKind::Port, true), (BridgeKind::IsolatingPort, false)] {
            let mut pci = Pci::default();
            let above = pci.bridge(kind, 1, None);
            let (upper, lower) = (
                pci.bridge(kind, 2, Some(above)),
                pci.bridge(kind, 3, Some(above)),
            );
            let first = pci.function(0, 0, Some(upper));
            let second = pci.function(0, 0, Some(lower));
            let twin = pci.function(0, 1, Some(lower));
            assert_ne!(pci.requester_id(first), pci.requester_id(second));
            assert_eq!(pci.companion(second).is_some(), together);
            assert!(pci.companion(twin).is_some());
        }
    }
}
