//! Linux error numbers.

use std::fmt;

/// Why an operation is refused, as a Linux error number (positive).
///
/// An open newtype: a fault plan may inject a number without a name here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident = $number:literal, $meaning:literal;)*) => {
        impl Errno {
            $(#[doc = $meaning] pub const $name: Self = Self($number);)*

            /// Every number with a name, by number.
            pub const ALL: &[(&str, Self)] = &[$((stringify!($name), Self::$name)),*];
        }
    };
}

// include/uapi/asm-generic/errno-base.h and errno.h
errnos! {
    EPERM = 1, "Operation not permitted.";
    ENOENT = 2, "No such entry.";
    ESRCH = 3, "No such process.";
    EINTR = 4, "Interrupted.";
    EIO = 5, "I/O error.";
    ENXIO = 6, "No such device or address.";
    E2BIG = 7, "Argument too big.";
    EBADF = 9, "Bad file descriptor.";
    EAGAIN = 11, "Try again.";
    ENOMEM = 12, "Out of memory.";
    EACCES = 13, "Permission denied.";
    EFAULT = 14, "Bad address.";
    EBUSY = 16, "Device or resource busy.";
    EEXIST = 17, "Already exists.";
    ENODEV = 19, "No such device.";
    EINVAL = 22, "Invalid argument.";
    EMFILE = 24, "Too many open files.";
    ENOTTY = 25, "Not an ioctl of this file.";
    EFBIG = 27, "File too large.";
    ENOSPC = 28, "No space left.";
    ESPIPE = 29, "Illegal seek.";
    ERANGE = 34, "Out of range.";
    ENOSYS = 38, "Not implemented.";
    EOVERFLOW = 75, "Value too large.";
    EBADFD = 77, "File descriptor in bad state.";
    EOPNOTSUPP = 95, "Operation not supported.";
    EADDRINUSE = 98, "Address in use.";
    ETIMEDOUT = 110, "Timed out.";
}

impl Errno {
    /// The symbolic name, if it has one here.
    pub fn name(self) -> Option<&'static str> {
        Self::ALL
            .iter()
            .find(|(_, errno)| *errno == self)
            .map(|(name, _)| *name)
    }

    /// The number with this symbolic name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, errno)| *errno)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn names_and_numbers_are_unique_and_ascend() {
        assert!(Errno::ALL.windows(2).all(|pair| pair[0].1 < pair[1].1));
        for (name, errno) in Errno::ALL {
            assert_eq!(errno.name(), Some(*name));
            assert_eq!(Errno::from_name(name), Some(*errno));
        }
    }
}
