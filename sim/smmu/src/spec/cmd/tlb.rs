//! Commands that invalidate TLBs: `CMD_TLBI_*` (IHI 0070 §4.4).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::CmdOp;
use crate::spec::{layout, structure};

/// Fields of `CMD_TLBI_NH_ALL`, `CMD_TLBI_S12_VMALL`, `CMD_TLBI_EL2_ALL`, `CMD_TLBI_NSNH_ALL`, `CMD_TLBI_EL3_ALL`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TlbiAllDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(24)]
    _res0_31_8: u32,
    /// `VMID[47:32]`.
    #[bits(16)]
    pub vmid: u16,
    #[bits(16)]
    _res0_63_48: u16,
}

/// Fields of `CMD_TLBI_NH_ALL`, `CMD_TLBI_S12_VMALL`, `CMD_TLBI_EL2_ALL`, `CMD_TLBI_NSNH_ALL`, `CMD_TLBI_EL3_ALL`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TlbiAllDw1 {
    #[bits(64)]
    _res0_127_64: u64,
}

/// Fields of `CMD_TLBI_NH_ALL`, `CMD_TLBI_S12_VMALL`, `CMD_TLBI_EL2_ALL`, `CMD_TLBI_NSNH_ALL`, `CMD_TLBI_EL3_ALL`.
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
pub struct TlbiAll {
    /// Doubleword 0.
    pub dw0: TlbiAllDw0,
    /// Doubleword 1.
    pub dw1: TlbiAllDw1,
}

const _: () = assert!(size_of::<TlbiAll>() == 16);

structure!(TlbiAll, 2 { dw0: TlbiAllDw0, dw1: TlbiAllDw1 });
layout!(TlbiAll, 128, [
    Opcode [7:0] dw0.opcode;
    VMID [47:32] dw0.vmid;
]);

/// Fields of `CMD_TLBI_NH_ASID`, `CMD_TLBI_EL2_ASID`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TlbiAsidDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(24)]
    _res0_31_8: u32,
    /// `VMID[47:32]`.
    #[bits(16)]
    pub vmid: u16,
    /// `ASID[63:48]`.
    #[bits(16)]
    pub asid: u16,
}

/// Fields of `CMD_TLBI_NH_ASID`, `CMD_TLBI_EL2_ASID`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TlbiAsidDw1 {
    #[bits(64)]
    _res0_127_64: u64,
}

/// Fields of `CMD_TLBI_NH_ASID`, `CMD_TLBI_EL2_ASID`.
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
pub struct TlbiAsid {
    /// Doubleword 0.
    pub dw0: TlbiAsidDw0,
    /// Doubleword 1.
    pub dw1: TlbiAsidDw1,
}

const _: () = assert!(size_of::<TlbiAsid>() == 16);

structure!(TlbiAsid, 2 { dw0: TlbiAsidDw0, dw1: TlbiAsidDw1 });
layout!(TlbiAsid, 128, [
    Opcode [7:0] dw0.opcode;
    VMID [47:32] dw0.vmid;
    ASID [63:48] dw0.asid;
]);

/// Fields of `CMD_TLBI_NH_VA`, `CMD_TLBI_NH_VAA`, `CMD_TLBI_EL2_VA`, `CMD_TLBI_EL2_VAA`, `CMD_TLBI_EL3_VA`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TlbiVaDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(4)]
    _res0_11_8: u8,
    /// `NUM[16:12]`.
    #[bits(5)]
    pub num: u8,
    #[bits(3)]
    _res0_19_17: u8,
    /// `SCALE[25:20]`.
    #[bits(6)]
    pub scale: u8,
    #[bits(6)]
    _res0_31_26: u8,
    /// `VMID[47:32]`.
    #[bits(16)]
    pub vmid: u16,
    /// `ASID[63:48]`.
    #[bits(16)]
    pub asid: u16,
}

/// Fields of `CMD_TLBI_NH_VA`, `CMD_TLBI_NH_VAA`, `CMD_TLBI_EL2_VA`, `CMD_TLBI_EL2_VAA`, `CMD_TLBI_EL3_VA`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TlbiVaDw1 {
    /// `Leaf[64]`.
    pub leaf: bool,
    #[bits(6)]
    _res0_70_65: u8,
    /// `TTL128[71]`.
    pub ttl128: bool,
    /// `TTL[73:72]`.
    #[bits(2)]
    pub ttl: u8,
    /// `TG[75:74]`.
    #[bits(2)]
    pub tg: u8,
    /// `Address[127:76]`: address bits [63:12].
    #[bits(52)]
    pub address: u64,
}

/// Fields of `CMD_TLBI_NH_VA`, `CMD_TLBI_NH_VAA`, `CMD_TLBI_EL2_VA`, `CMD_TLBI_EL2_VAA`, `CMD_TLBI_EL3_VA`.
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
pub struct TlbiVa {
    /// Doubleword 0.
    pub dw0: TlbiVaDw0,
    /// Doubleword 1.
    pub dw1: TlbiVaDw1,
}

const _: () = assert!(size_of::<TlbiVa>() == 16);

structure!(TlbiVa, 2 { dw0: TlbiVaDw0, dw1: TlbiVaDw1 });
layout!(TlbiVa, 128, [
    Opcode [7:0] dw0.opcode;
    NUM [16:12] dw0.num;
    SCALE [25:20] dw0.scale;
    VMID [47:32] dw0.vmid;
    ASID [63:48] dw0.asid;
    Leaf [64:64] dw1.leaf;
    TTL128 [71:71] dw1.ttl128;
    TTL [73:72] dw1.ttl;
    TG [75:74] dw1.tg;
    Address [127:76] dw1.address;
]);

/// Fields of `CMD_TLBI_S2_IPA`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TlbiIpaDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(4)]
    _res0_11_8: u8,
    /// `NUM[16:12]`.
    #[bits(5)]
    pub num: u8,
    #[bits(3)]
    _res0_19_17: u8,
    /// `SCALE[25:20]`.
    #[bits(6)]
    pub scale: u8,
    #[bits(6)]
    _res0_31_26: u8,
    /// `VMID[47:32]`.
    #[bits(16)]
    pub vmid: u16,
    #[bits(16)]
    _res0_63_48: u16,
}

/// Fields of `CMD_TLBI_S2_IPA`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TlbiIpaDw1 {
    /// `Leaf[64]`.
    pub leaf: bool,
    #[bits(6)]
    _res0_70_65: u8,
    /// `TTL128[71]`.
    pub ttl128: bool,
    /// `TTL[73:72]`.
    #[bits(2)]
    pub ttl: u8,
    /// `TG[75:74]`.
    #[bits(2)]
    pub tg: u8,
    /// `Address[119:76]`: address bits [55:12].
    #[bits(44)]
    pub address: u64,
    #[bits(8)]
    _res0_127_120: u8,
}

/// Fields of `CMD_TLBI_S2_IPA`.
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
pub struct TlbiIpa {
    /// Doubleword 0.
    pub dw0: TlbiIpaDw0,
    /// Doubleword 1.
    pub dw1: TlbiIpaDw1,
}

const _: () = assert!(size_of::<TlbiIpa>() == 16);

structure!(TlbiIpa, 2 { dw0: TlbiIpaDw0, dw1: TlbiIpaDw1 });
layout!(TlbiIpa, 128, [
    Opcode [7:0] dw0.opcode;
    NUM [16:12] dw0.num;
    SCALE [25:20] dw0.scale;
    VMID [47:32] dw0.vmid;
    Leaf [64:64] dw1.leaf;
    TTL128 [71:71] dw1.ttl128;
    TTL [73:72] dw1.ttl;
    TG [75:74] dw1.tg;
    Address [119:76] dw1.address;
]);
