//! The VFIO type1 user API: containers, groups, ioctls as bytes. Sees [`iommu_core`] only.
//!
//! At present it holds the ioctl numbers; the container and its domain list arrive with the driver.

use iommu_core as _;

/// `VFIO_TYPE`, the letter all VFIO ioctls share (`include/uapi/linux/vfio.h`).
pub const VFIO_TYPE: u8 = b';';
/// `VFIO_BASE`, the first VFIO ioctl number.
pub const VFIO_BASE: u8 = 100;

/// The number user space passes for VFIO ioctl `VFIO_BASE + n`: `_IO(';', 100 + n)`, which encodes
/// neither size nor direction.
pub const fn ioctl_number(n: u8) -> u32 {
    ((VFIO_TYPE as u32) << 8) | (VFIO_BASE + n) as u32
}

#[cfg(test)]
mod tests {
    use super::ioctl_number;

    #[test]
    fn get_api_version_is_the_first_vfio_ioctl() {
        assert_eq!(ioctl_number(0), 0x3b64);
    }
}
