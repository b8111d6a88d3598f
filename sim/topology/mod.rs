//! The machine around VFIO: PCI with its bridges and aliases, and the choices of a VMM.

mod pci;
mod vmm;

pub use pci::{Bridge, BridgeKind, Function, Pci, PciAddress};
pub use vmm::{GuestSte, SpaceId, VirtualIommu, Vmm, VmmError};
