//! User memory of one ioctl: the argument on the caller's stack, the bitmap on its heap, and a
//! region of its address space if the script points there.

use iommu_core::{Errno, UserMemory, UserPtr};

/// Where the argument structure of an ioctl is.
pub(super) const STACK: u64 = 0xffff_f000_0000;
/// Where a bitmap is.
pub(super) const HEAP: u64 = 0xaaaa_0000_0000;

/// Some buffers at some addresses; all else faults.
#[derive(Debug, Default)]
pub(super) struct Buffers(Vec<(u64, Vec<u8>)>);

impl Buffers {
    pub(super) fn with(mut self, at: u64, bytes: Vec<u8>) -> Self {
        self.0.push((at, bytes));
        self
    }

    /// The buffer at this address.
    pub(super) fn bytes(&self, at: u64) -> &[u8] {
        let found = self.0.iter().find(|(start, _)| *start == at);
        found.map_or(&[], |(_, bytes)| bytes)
    }

    fn find(&mut self, at: UserPtr, length: usize) -> Result<&mut [u8], Errno> {
        self.0
            .iter_mut()
            .find_map(|(start, bytes)| {
                let offset = usize::try_from(at.0.checked_sub(*start)?).ok()?;
                bytes.get_mut(offset..offset.checked_add(length)?)
            })
            .ok_or(Errno::EFAULT)
    }
}

impl UserMemory for Buffers {
    fn copy_from_user(&mut self, at: UserPtr, bytes: &mut [u8]) -> Result<(), Errno> {
        let length = bytes.len();
        bytes.copy_from_slice(self.find(at, length)?);
        Ok(())
    }

    fn copy_to_user(&mut self, at: UserPtr, bytes: &[u8]) -> Result<(), Errno> {
        self.find(at, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }
}
