//! The user API as numbers and bytes: ioctl numbers, flags, structures
//! (`include/uapi/linux/vfio.h`).

#![expect(
    missing_debug_implementations,
    reason = "the derives make helper types that nobody sees"
)]

use vfio_bindings::bindings::vfio as uapi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The number user space passes for VFIO ioctl `VFIO_BASE + n`: `_IO(';', 100 + n)`, which encodes
/// neither size nor direction.
pub const fn ioctl_number(n: u8) -> u32 {
    ((uapi::VFIO_TYPE as u32) << 8) | (uapi::VFIO_BASE + n as u32)
}

macro_rules! ioctls {
    ($($name:ident = $n:literal, $what:literal;)*) => {
        $(#[doc = $what] pub const $name: u32 = ioctl_number($n);)*
    };
}

ioctls! {
    GET_API_VERSION = 0, "Container: version of the API, always 0.";
    CHECK_EXTENSION = 1, "Container: whether something is supported.";
    SET_IOMMU = 2, "Container: choose the backend.";
    GROUP_GET_STATUS = 3, "Group: viable, in a container.";
    GROUP_SET_CONTAINER = 4, "Group: join a container.";
    GROUP_UNSET_CONTAINER = 5, "Group: leave it.";
    GROUP_GET_DEVICE_FD = 6, "Group: open a device.";
    DEVICE_GET_INFO = 7, "Device: counts of regions and interrupts.";
    DEVICE_GET_REGION_INFO = 8, "Device: one region.";
    DEVICE_GET_IRQ_INFO = 9, "Device: one interrupt index.";
    DEVICE_SET_IRQS = 10, "Device: connect interrupts.";
    DEVICE_RESET = 11, "Device: reset.";
    IOMMU_GET_INFO = 12, "Type1: page sizes and capabilities.";
    IOMMU_MAP_DMA = 13, "Type1: map memory.";
    IOMMU_UNMAP_DMA = 14, "Type1: unmap memory.";
    IOMMU_DIRTY_PAGES = 17, "Type1: track dirty pages.";
}

/// API version.
pub const API_VERSION: u64 = uapi::VFIO_API_VERSION as u64;

/// Extensions and IOMMU types (CHECK_EXTENSION, SET_IOMMU).
pub mod extension {
    use super::uapi;

    /// Type1.
    pub const TYPE1: u64 = uapi::VFIO_TYPE1_IOMMU as u64;
    /// Type1, version 2.
    pub const TYPE1V2: u64 = uapi::VFIO_TYPE1v2_IOMMU as u64;
    /// Cache coherency enforced.
    pub const DMA_CC: u64 = uapi::VFIO_DMA_CC_IOMMU as u64;
    /// Type1 with stage-2 domains; no longer named in the header.
    pub const NESTING: u64 = 6;
    /// UNMAP_DMA with flag ALL.
    pub const UNMAP_ALL: u64 = uapi::VFIO_UNMAP_ALL as u64;
    /// MAP_DMA and UNMAP_DMA with flag VADDR.
    pub const UPDATE_VADDR: u64 = uapi::VFIO_UPDATE_VADDR as u64;
}

/// Flags of MAP_DMA.
pub mod map_flags {
    use super::uapi;

    /// The device may read.
    pub const READ: u32 = uapi::VFIO_DMA_MAP_FLAG_READ;
    /// The device may write.
    pub const WRITE: u32 = uapi::VFIO_DMA_MAP_FLAG_WRITE;
    /// Give a mapping a new user address.
    pub const VADDR: u32 = uapi::VFIO_DMA_MAP_FLAG_VADDR;
}

/// Flags of UNMAP_DMA.
pub mod unmap_flags {
    use super::uapi;

    /// Report dirty pages.
    pub const GET_DIRTY_BITMAP: u32 = uapi::VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    /// Everything.
    pub const ALL: u32 = uapi::VFIO_DMA_UNMAP_FLAG_ALL;
    /// Withdraw the user address only.
    pub const VADDR: u32 = uapi::VFIO_DMA_UNMAP_FLAG_VADDR;
}

/// Flags of DIRTY_PAGES.
pub mod dirty_flags {
    use super::uapi;

    /// Start tracking.
    pub const START: u32 = uapi::VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
    /// Stop tracking.
    pub const STOP: u32 = uapi::VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;
    /// Read and clear.
    pub const GET_BITMAP: u32 = uapi::VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
}

/// Flags of GROUP_GET_STATUS.
pub mod group_flags {
    use super::uapi;

    /// The group may be used.
    pub const VIABLE: u32 = uapi::VFIO_GROUP_FLAGS_VIABLE;
    /// It is in a container.
    pub const CONTAINER_SET: u32 = uapi::VFIO_GROUP_FLAGS_CONTAINER_SET;
}

/// Flags and capability numbers of IOMMU_GET_INFO.
pub mod info {
    use super::uapi;

    /// `iova_pgsizes` is valid.
    pub const PGSIZES: u32 = uapi::VFIO_IOMMU_INFO_PGSIZES;
    /// There are capabilities.
    pub const CAPS: u32 = uapi::VFIO_IOMMU_INFO_CAPS;
    /// Ranges of addresses that may be mapped.
    pub const CAP_IOVA_RANGE: u16 = uapi::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE as u16;
    /// Dirty tracking.
    pub const CAP_MIGRATION: u16 = uapi::VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION as u16;
    /// How many more mappings there may be.
    pub const CAP_DMA_AVAIL: u16 = uapi::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL as u16;
}

/// Flag of DEVICE_GET_INFO: a PCI device.
pub const DEVICE_FLAGS_PCI: u32 = uapi::VFIO_DEVICE_FLAGS_PCI;
/// Regions of a PCI device without extras.
pub const PCI_NUM_REGIONS: u32 = uapi::VFIO_PCI_NUM_REGIONS;
/// Where a region's offsets begin in a PCI device's file: its index, this many bits up
/// (`VFIO_PCI_OFFSET_SHIFT`).
pub const PCI_OFFSET_SHIFT: u32 = 40;
/// Interrupt indexes of a PCI device without extras.
pub const PCI_NUM_IRQS: u32 = uapi::VFIO_PCI_NUM_IRQS;

macro_rules! structs {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty, $what:literal;)* })*) => {
        $(
            $(#[$meta])*
            #[derive(
                Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable,
            )]
            #[repr(C)]
            pub struct $name {
                $(#[doc = $what] pub $field: $type,)*
            }
        )*
    };
}

structs! {
    /// `struct vfio_iommu_type1_dma_map`.
    DmaMap {
        argsz: u32, "Size of the structure.";
        flags: u32, "`map_flags`.";
        vaddr: u64, "Address in the process.";
        iova: u64, "Address for the device.";
        size: u64, "Bytes.";
    }
    /// `struct vfio_iommu_type1_dma_unmap`, without the bitmap that may follow.
    DmaUnmap {
        argsz: u32, "Size of the structure.";
        flags: u32, "`unmap_flags`.";
        iova: u64, "Address for the device.";
        size: u64, "Bytes; how many were unmapped, on return.";
    }
    /// `struct vfio_bitmap`.
    Bitmap {
        pgsize: u64, "Bytes a bit stands for.";
        size: u64, "Bytes of the bitmap.";
        data: u64, "User address of the bitmap.";
    }
    /// `struct vfio_iommu_type1_dirty_bitmap`, without the range that may follow.
    DirtyBitmap {
        argsz: u32, "Size of the structure.";
        flags: u32, "`dirty_flags`.";
    }
    /// `struct vfio_iommu_type1_dirty_bitmap_get`.
    DirtyRange {
        iova: u64, "First address.";
        size: u64, "Bytes.";
        bitmap: Bitmap, "Where the bits go.";
    }
    /// `struct vfio_iommu_type1_info`.
    Type1Info {
        argsz: u32, "Size of the structure, or the size needed.";
        flags: u32, "`info`.";
        iova_pgsizes: u64, "Page sizes, one bit each.";
        cap_offset: u32, "Where the first capability is; 0 if none.";
        pad: u32, "0.";
    }
    /// `struct vfio_info_cap_header`.
    CapHeader {
        id: u16, "`info`.";
        version: u16, "Version.";
        next: u32, "Where the next one is; 0 if none.";
    }
    /// `struct vfio_group_status`.
    GroupStatus {
        argsz: u32, "Size of the structure.";
        flags: u32, "`group_flags`.";
    }
    /// `struct vfio_device_info`; `cap_offset` since 5.13.
    DeviceInfo {
        argsz: u32, "Size of the structure.";
        flags: u32, "`DEVICE_FLAGS_PCI` and others.";
        num_regions: u32, "Regions.";
        num_irqs: u32, "Interrupt indexes.";
    }
    /// `struct vfio_region_info`.
    RegionInfo {
        argsz: u32, "Size of the structure, or the size needed.";
        flags: u32, "What may be done with it.";
        index: u32, "Which region.";
        cap_offset: u32, "Where the first capability is; 0 if none.";
        size: u64, "Bytes.";
        offset: u64, "Where it begins in the device file.";
    }
}

/// Reads a structure from bytes of at least its size.
pub(crate) fn read<T: FromBytes>(bytes: &[u8]) -> T {
    T::read_from_prefix(bytes).expect("the buffer holds it").0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ioctl_numbers_are_those_of_the_recordings() {
        assert_eq!(GET_API_VERSION, 0x3b64);
        assert_eq!(GROUP_GET_STATUS, 0x3b67);
        assert_eq!(IOMMU_GET_INFO, 0x3b70);
        assert_eq!(IOMMU_MAP_DMA, 0x3b71);
        assert_eq!(IOMMU_UNMAP_DMA, 0x3b72);
        assert_eq!(IOMMU_DIRTY_PAGES, 0x3b75);
    }

    #[test]
    fn structures_have_the_header_s_sizes() {
        assert_eq!(size_of::<DmaMap>(), 32);
        assert_eq!(size_of::<DmaUnmap>(), 24);
        assert_eq!(size_of::<Bitmap>(), 24);
        assert_eq!(size_of::<DirtyRange>(), 40);
        assert_eq!(size_of::<Type1Info>(), 24);
        assert_eq!(
            size_of::<DmaMap>(),
            size_of::<uapi::vfio_iommu_type1_dma_map>()
        );
        assert_eq!(
            size_of::<DmaUnmap>(),
            size_of::<uapi::vfio_iommu_type1_dma_unmap>()
        );
    }
}
