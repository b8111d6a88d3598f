//! The OS-neutral IOMMU core: devices, groups, domains, attach and detach, map and unmap.
//!
//! Knows no hardware. At present it holds the vocabulary shared with drivers, the error numbers a
//! refusal carries; domains and groups arrive with the driver that implements them.

use thiserror::Error;

/// Why the IOMMU core refuses an operation, in the kernel's own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IommuError {
    /// The domain cannot serve this device (for example another SMMU instance).
    #[error("the domain does not fit the device")]
    Incompatible,
    /// The device's group is owned by someone else.
    #[error("the group is in use")]
    Busy,
    /// No memory for a table.
    #[error("out of memory")]
    NoMemory,
}

impl IommuError {
    /// The Linux error number (positive) user space would see.
    pub fn errno(self) -> i32 {
        match self {
            Self::Incompatible => 22, // EINVAL
            Self::Busy => 16,         // EBUSY
            Self::NoMemory => 12,     // ENOMEM
        }
    }
}

#[cfg(test)]
mod tests {
    use super::IommuError;

    #[test]
    fn errno_values_are_those_of_asm_generic_errno_base_h() {
        assert_eq!(IommuError::Incompatible.errno(), 22);
        assert_eq!(IommuError::Busy.errno(), 16);
        assert_eq!(IommuError::NoMemory.errno(), 12);
    }
}
