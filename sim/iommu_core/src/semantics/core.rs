//! Where the IOMMU core's versions differ.

use super::Kernel;

/// What a group attach that fails part-way does to the devices before the failing one (P101).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachUnwind {
    /// Leaves them where they are (5.10).
    Stay,
    /// Attaches every device of the group, the failing one too, to the old domain (6.1).
    AllBack,
    /// Attaches those before the failing one to the old domain (6.12, 7.2).
    EarlierBack,
}

/// Whether user space must own a group before it may attach it (P86, P103).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// No such state: a detached group is on its default domain (5.10).
    None,
    /// Claimed; a detached but owned group is blocked (5.18 and later).
    Claimed,
}

/// When a domain learns which IOMMU it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainAlloc {
    /// At its first attach (5.10, 6.1).
    AtFirstAttach,
    /// At allocation, which is given a device (6.12, 7.2).
    WithDevice,
}

/// How a map request is cut into driver calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapShape {
    /// One page a call (5.10).
    OnePage,
    /// As many equal pages a call as fit, switching early to a larger page that becomes possible
    /// (6.1 and later).
    EqualPages,
}

/// Rules of the IOMMU core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreRules {
    /// Group attach failing part-way.
    pub attach_unwind: AttachUnwind,
    /// DMA ownership.
    pub ownership: Ownership,
    /// When domains are finalised.
    pub domain_alloc: DomainAlloc,
    /// Cutting of map requests.
    pub map_shape: MapShape,
}

impl CoreRules {
    /// As released.
    pub const fn kernel(kernel: Kernel) -> Self {
        match kernel {
            Kernel::V5_10 => Self {
                attach_unwind: AttachUnwind::Stay,
                ownership: Ownership::None,
                domain_alloc: DomainAlloc::AtFirstAttach,
                map_shape: MapShape::OnePage,
            },
            Kernel::V6_1 => Self {
                attach_unwind: AttachUnwind::AllBack,
                ownership: Ownership::Claimed,
                domain_alloc: DomainAlloc::AtFirstAttach,
                map_shape: MapShape::EqualPages,
            },
            Kernel::V6_12 | Kernel::V7_2 => Self {
                attach_unwind: AttachUnwind::EarlierBack,
                ownership: Ownership::Claimed,
                domain_alloc: DomainAlloc::WithDevice,
                map_shape: MapShape::EqualPages,
            },
        }
    }

    /// 5.10 with every device back where it was when a group attach fails.
    pub const fn fixed() -> Self {
        Self {
            attach_unwind: AttachUnwind::AllBack,
            ..Self::kernel(Kernel::V5_10)
        }
    }
}
