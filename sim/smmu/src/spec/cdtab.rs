//! Level-1 context descriptor. (IHI 0070 §5.3).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{layout, structure};

/// Level-1 context descriptor, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct L1CdDw0 {
    /// `V[0]`.
    pub v: bool,
    #[bits(11)]
    _res0_11_1: u16,
    /// `L2Ptr[55:12]`: address bits [55:12].
    #[bits(44)]
    pub l2ptr: u64,
    #[bits(8)]
    _res0_63_56: u8,
}

/// Level-1 context descriptor.
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
pub struct L1Cd {
    /// Doubleword 0.
    pub dw0: L1CdDw0,
}

const _: () = assert!(size_of::<L1Cd>() == 8);

structure!(L1Cd, 1 { dw0: L1CdDw0 });
layout!(L1Cd, 64, [
    V [0:0] dw0.v;
    L2Ptr [55:12] dw0.l2ptr;
]);

impl L1Cd {
    /// `V[0:0]`.
    #[inline]
    pub const fn v(self) -> bool {
        self.dw0.v()
    }

    /// `L2Ptr[55:12]`.
    #[inline]
    pub const fn l2ptr(self) -> u64 {
        self.dw0.l2ptr()
    }
}
