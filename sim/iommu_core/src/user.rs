//! User memory as the kernel sees it: copies that may fault.

use crate::Errno;

/// An address in user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UserPtr(pub u64);

impl UserPtr {
    /// The address `bytes` further on; wraps.
    #[must_use]
    pub const fn add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

/// One past the highest user address (48 bits, as arm64 has by default).
pub const TASK_SIZE: u64 = 1 << 48;

/// What the kernel copies from and to.
///
/// `&mut self` also for reading: user space may change its memory between two reads.
pub trait UserMemory {
    /// Reads `bytes.len()` bytes.
    ///
    /// # Errors
    /// EFAULT: not all of them can be read.
    fn copy_from_user(&mut self, at: UserPtr, bytes: &mut [u8]) -> Result<(), Errno>;

    /// Writes `bytes`.
    ///
    /// # Errors
    /// EFAULT: not all of them can be written.
    fn copy_to_user(&mut self, at: UserPtr, bytes: &[u8]) -> Result<(), Errno>;

    /// Whether the range is within user space at all (`access_ok()`).
    fn access_ok(&self, at: UserPtr, length: u64) -> bool {
        length <= TASK_SIZE && at.0 <= TASK_SIZE - length
    }
}

/// User memory that is one buffer, at one address; all else faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserBuffer {
    /// Address of the first byte.
    pub at: UserPtr,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl UserBuffer {
    /// Where buffers are if nobody cares.
    pub const AT: UserPtr = UserPtr(0x7fff_0000_0000);

    /// A buffer at [`Self::AT`].
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            at: Self::AT,
            bytes,
        }
    }

    fn range(&self, at: UserPtr, length: usize) -> Result<std::ops::Range<usize>, Errno> {
        let start = at.0.checked_sub(self.at.0).ok_or(Errno::EFAULT)?;
        let start = usize::try_from(start).map_err(|_| Errno::EFAULT)?;
        match start.checked_add(length) {
            Some(end) if end <= self.bytes.len() => Ok(start..end),
            _ => Err(Errno::EFAULT),
        }
    }
}

impl UserMemory for UserBuffer {
    fn copy_from_user(&mut self, at: UserPtr, bytes: &mut [u8]) -> Result<(), Errno> {
        let range = self.range(at, bytes.len())?;
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn copy_to_user(&mut self, at: UserPtr, bytes: &[u8]) -> Result<(), Errno> {
        let range = self.range(at, bytes.len())?;
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }
}
