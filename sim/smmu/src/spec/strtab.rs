//! Level-1 stream table descriptor. (IHI 0070 §5.1).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{layout, structure};

/// Level-1 stream table descriptor, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct L1StdDw0 {
    /// `Span[4:0]`.
    #[bits(5)]
    pub span: u8,
    #[bits(1)]
    _res0_5_5: bool,
    /// `L2Ptr[55:6]`: address bits [55:6].
    #[bits(50)]
    pub l2ptr: u64,
    #[bits(8)]
    _res0_63_56: u8,
}

/// Level-1 stream table descriptor.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct L1Std {
    /// Doubleword 0.
    pub dw0: L1StdDw0,
}

const _: () = assert!(size_of::<L1Std>() == 8);

structure!(L1Std, 1 { dw0: L1StdDw0 });
layout!(L1Std, 64, [
    Span [4:0] dw0.span;
    L2Ptr [55:6] dw0.l2ptr;
]);

impl L1Std {
    /// `Span[4:0]`.
    #[inline]
    pub const fn span(self) -> u8 {
        self.dw0.span()
    }

    /// `L2Ptr[55:6]`.
    #[inline]
    pub const fn l2ptr(self) -> u64 {
        self.dw0.l2ptr()
    }
}
