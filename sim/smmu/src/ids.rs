//! Identifiers that travel with a transaction or tag a cached translation.

use core::fmt;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The identifier with this value.
            #[inline]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The identifier as a number.
            #[inline]
            pub const fn get(self) -> $inner {
                self.0
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

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

identifier! {
    /// StreamID: which device the transaction comes from (IHI 0070 §3.2). Up to 32 bits.
    StreamId(u32)
}
identifier! {
    /// SubstreamID: which address space of the device; PCIe calls it PASID. Up to 20 bits.
    SubstreamId(u32)
}
identifier! {
    /// Address space identifier: tags stage-1 translations.
    Asid(u16)
}
identifier! {
    /// Virtual machine identifier: tags everything below one stage 2.
    Vmid(u16)
}
