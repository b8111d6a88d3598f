//! Where the kernel would stop for good.

use std::fmt;

use crate::Errno;

/// A fatal assertion of the kernel (`BUG_ON`), a loop it never leaves, or a use of freed memory,
/// which ends the same way in a kernel that checks. The thread that runs into it never returns,
/// whatever locks it holds: a value here, so that a model can report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelBug {
    /// Function of the kernel.
    pub at: &'static str,
    /// What was asserted in vain, or what was used.
    pub what: &'static str,
}

impl KernelBug {
    /// What the call that ran into it returns here. Not a Linux number: in the kernel it does not
    /// return.
    pub const ERRNO: Errno = Errno(i32::MAX);
}

impl fmt::Display for KernelBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel BUG in {}(): {}", self.at, self.what)
    }
}
