//! What the kernel's side of a thread leaves on its stack.

/// Bytes of the frame that are followed: the largest structure an ioctl has there.
const BYTES: usize = 64;

/// The frame in which ioctls keep their structure: each lies at the beginning, over what the one
/// before left. That makes what an uninitialised field holds (defect D25) a matter of record.
///
/// It is history, not state: two compare equal.
#[derive(Debug, Clone)]
pub(crate) struct KernelStack([u8; BYTES]);

impl KernelStack {
    /// As a new thread has it.
    pub(crate) const fn new() -> Self {
        Self([0; BYTES])
    }

    /// A structure of an ioctl lies here now.
    pub(crate) fn hold(&mut self, structure: &[u8]) {
        let length = structure.len().min(BYTES);
        self.0[..length].copy_from_slice(&structure[..length]);
    }

    /// What a field of four bytes at `offset` holds.
    pub(crate) fn word(&self, offset: usize) -> u32 {
        let bytes = self.0[offset..offset + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    }
}

impl PartialEq for KernelStack {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KernelStack {}
