//! Where VFIO's versions differ.

use super::Kernel;
use crate::Errno;

/// `VFIO_TYPE1_NESTING_IOMMU`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NestingType {
    /// Works: the container's domains are stage 2 (5.10, 6.1).
    Works,
    /// Advertised, but no driver can serve it: SET_IOMMU fails with EPERM (6.12).
    Advertised,
    /// Gone: not advertised, EINVAL (7.2).
    Gone,
}

/// UPDATE_VADDR: whether a mapping's user address can be withdrawn and replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserVaddr {
    /// No such flags, and no UNMAP_ALL either (5.10).
    Fixed,
    /// Flags VADDR and ALL exist (5.12 and later).
    Replaceable,
}

/// How group and container files behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupLayer {
    /// Viability by drivers; a group file has users (5.10).
    Viability,
    /// DMA ownership; the container is part of the group (6.1).
    Ownership,
    /// The same with a device file layer between: a file that is not a container is EBADFD (6.2
    /// and later).
    DeviceFiles,
}

/// Probing of fine-grained superpages at attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FineSuperpages {
    /// Two pages at address 0 (5.10).
    AtZero,
    /// Two pages at the first place that is free (6.1).
    AtFirstFree,
    /// Not probed: runs are always unmapped whole (6.12, 7.2).
    NotProbed,
}

/// What deciding the coherency of a domain asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coherency {
    /// The bus's capability; domains without it map without `IOMMU_CACHE` (5.10).
    BusCapability,
    /// The domain's own op; mappings always carry `IOMMU_CACHE` (6.1 and later).
    DomainOp,
}

/// A page that cannot be pinned in the middle of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinFailure {
    /// Ends the run with success; the error comes with the next call (5.10).
    EndsRun,
    /// Unpins the whole run (6.1 and later).
    UnpinsRun,
}

/// Which mapping UNMAP meets first in its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionSearch {
    /// The first overlapping one the search of the tree comes upon (5.10).
    AnyOverlap,
    /// The lowest (6.1 and later).
    Lowest,
}

/// What pinning untouched private memory for reading gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnlyPin {
    /// The shared zero page, not accounted (5.10, 6.1).
    ZeroPage,
    /// A page of its own (6.12, 7.2).
    OwnPage,
}

/// An attach that fails after the container's mappings were replayed into the new domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateAttachFailure {
    /// What replay pinned stays pinned and charged, and the mappings count as mapped although no
    /// domain has them (every kernel: `out_detach` of `vfio_iommu_type1_attach_group()`).
    KeepsPins,
    /// Replay is undone.
    Unpins,
}

/// Alignment of capabilities in GET_INFO, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapabilityPadding {
    /// As long as they are (5.10, 6.1).
    Packed,
    /// Padded to 8 bytes (6.12, 7.2).
    Eight,
}

/// `/dev/iommu` in place of a container: iommufd's compatibility layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iommufd {
    /// There is no such file (before 6.2).
    Absent,
    /// MAP_DMA looks at the length before it looks whether user addresses wrap (6.12).
    LengthFirst,
    /// It looks for the wrap first (7.2).
    WrapFirst,
}

/// Rules of VFIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VfioRules {
    /// Type 6.
    pub nesting: NestingType,
    /// Flags VADDR and ALL.
    pub user_vaddr: UserVaddr,
    /// Group and container files.
    pub group_layer: GroupLayer,
    /// Superpage probe.
    pub fine_superpages: FineSuperpages,
    /// Coherency of domains.
    pub coherency: Coherency,
    /// Pin failure within a run.
    pub pin_failure: PinFailure,
    /// Order of UNMAP.
    pub region_search: RegionSearch,
    /// Read-only pins.
    pub read_only_pin: ReadOnlyPin,
    /// GET_INFO capabilities.
    pub capability_padding: CapabilityPadding,
    /// Ranges that wrap or do not fit: the error of MAP_DMA and UNMAP_DMA.
    pub wrap: Errno,
    /// A failed domain allocation.
    pub domain_alloc_failure: Option<Errno>,
    /// Failure after replay.
    pub late_attach_failure: LateAttachFailure,
    /// Containers over `/dev/iommu`.
    pub iommufd: Iommufd,
}

impl VfioRules {
    /// As released.
    pub const fn kernel(kernel: Kernel) -> Self {
        let modern = matches!(kernel, Kernel::V6_12 | Kernel::V7_2);
        let oldest = matches!(kernel, Kernel::V5_10);
        Self {
            nesting: match kernel {
                Kernel::V5_10 | Kernel::V6_1 => NestingType::Works,
                Kernel::V6_12 => NestingType::Advertised,
                Kernel::V7_2 => NestingType::Gone,
            },
            user_vaddr: if oldest {
                UserVaddr::Fixed
            } else {
                UserVaddr::Replaceable
            },
            group_layer: match kernel {
                Kernel::V5_10 => GroupLayer::Viability,
                Kernel::V6_1 => GroupLayer::Ownership,
                Kernel::V6_12 | Kernel::V7_2 => GroupLayer::DeviceFiles,
            },
            fine_superpages: match kernel {
                Kernel::V5_10 => FineSuperpages::AtZero,
                Kernel::V6_1 => FineSuperpages::AtFirstFree,
                Kernel::V6_12 | Kernel::V7_2 => FineSuperpages::NotProbed,
            },
            coherency: if oldest {
                Coherency::BusCapability
            } else {
                Coherency::DomainOp
            },
            pin_failure: if oldest {
                PinFailure::EndsRun
            } else {
                PinFailure::UnpinsRun
            },
            region_search: if oldest {
                RegionSearch::AnyOverlap
            } else {
                RegionSearch::Lowest
            },
            read_only_pin: if modern {
                ReadOnlyPin::OwnPage
            } else {
                ReadOnlyPin::ZeroPage
            },
            capability_padding: if modern {
                CapabilityPadding::Eight
            } else {
                CapabilityPadding::Packed
            },
            wrap: match kernel {
                Kernel::V7_2 => Errno::EOVERFLOW,
                Kernel::V5_10 | Kernel::V6_1 | Kernel::V6_12 => Errno::EINVAL,
            },
            domain_alloc_failure: match kernel {
                Kernel::V7_2 => None,
                Kernel::V5_10 | Kernel::V6_1 | Kernel::V6_12 => Some(Errno::EIO),
            },
            late_attach_failure: LateAttachFailure::KeepsPins,
            iommufd: match kernel {
                Kernel::V5_10 | Kernel::V6_1 => Iommufd::Absent,
                Kernel::V6_12 => Iommufd::LengthFirst,
                Kernel::V7_2 => Iommufd::WrapFirst,
            },
        }
    }

    /// 5.10 with a replay that is undone when the attach fails after it.
    pub const fn fixed() -> Self {
        Self {
            late_attach_failure: LateAttachFailure::Unpins,
            ..Self::kernel(Kernel::V5_10)
        }
    }
}
