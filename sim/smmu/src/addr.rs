//! Addresses, one type per address space, so that an IPA can never be used where a PA is meant.

use core::fmt;

/// An address of one of the spaces below, for what holds addresses of any of them.
pub trait Address: Copy {
    /// The address as a number.
    fn number(self) -> u64;
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address with this value.
            #[inline]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The address as a number.
            #[inline]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The address `offset` bytes further on, wrapping at 2^64.
            #[inline]
            #[must_use]
            pub const fn add(self, offset: u64) -> Self {
                Self(self.0.wrapping_add(offset))
            }

            /// The address with bits `[log2-1:0]` cleared.
            #[inline]
            #[must_use]
            pub const fn align_down(self, log2: u32) -> Self {
                Self(self.0 & !((1 << log2) - 1))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }

        impl Address for $name {
            #[inline]
            fn number(self) -> u64 {
                self.0
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }
    };
}

address! {
    /// The address a device presents: a VA for stage 1, an IPA when only stage 2 translates.
    Iova
}
address! {
    /// Intermediate physical address: what stage 1 puts out and stage 2 takes in.
    Ipa
}
address! {
    /// Physical address: what memory answers to.
    Pa
}
