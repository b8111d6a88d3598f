//! PRI queue record (IHI 0070 §8.1).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{layout, structure};

/// Page request as it lies in the PRI queue, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PriRecordDw0 {
    /// `StreamID[31:0]`.
    #[bits(32)]
    pub streamid: u32,
    /// `SubstreamID[51:32]`.
    #[bits(20)]
    pub substreamid: u32,
    #[bits(6)]
    _res0_57_52: u8,
    /// `Priv[58]`.
    pub r#priv: bool,
    /// `X[59]`.
    pub x: bool,
    /// `R[60]`.
    pub r: bool,
    /// `W[61]`.
    pub w: bool,
    /// `Last[62]`.
    pub last: bool,
    /// `SSV[63]`.
    pub ssv: bool,
}

/// Page request as it lies in the PRI queue, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PriRecordDw1 {
    /// `PRGIndex[72:64]`.
    #[bits(9)]
    pub prgindex: u16,
    #[bits(3)]
    _res0_75_73: u8,
    /// `Address[127:76]`: address bits [63:12].
    #[bits(52)]
    pub address: u64,
}

/// Page request as it lies in the PRI queue.
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
pub struct PriRecord {
    /// Doubleword 0.
    pub dw0: PriRecordDw0,
    /// Doubleword 1.
    pub dw1: PriRecordDw1,
}

const _: () = assert!(size_of::<PriRecord>() == 16);

structure!(PriRecord, 2 { dw0: PriRecordDw0, dw1: PriRecordDw1 });
layout!(PriRecord, 128, [
    StreamID [31:0] dw0.streamid;
    SubstreamID [51:32] dw0.substreamid;
    Priv [58:58] dw0.r#priv;
    X [59:59] dw0.x;
    R [60:60] dw0.r;
    W [61:61] dw0.w;
    Last [62:62] dw0.last;
    SSV [63:63] dw0.ssv;
    PRGIndex [72:64] dw1.prgindex;
    Address [127:76] dw1.address;
]);
