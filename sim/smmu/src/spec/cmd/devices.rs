//! Commands to and about devices, and `CMD_SYNC`: `CMD_ATC_INV`, `CMD_PRI_RESP`, `CMD_RESUME`,
//! `CMD_STALL_TERM` (IHI 0070 §4.5 to §4.7).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::CmdOp;
use crate::spec::{layout, structure};

/// Fields of `CMD_ATC_INV`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct AtcInvDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(1)]
    _res0_8_8: bool,
    /// `Global[9]`.
    pub global: bool,
    #[bits(1)]
    _res0_10_10: bool,
    /// `SSV[11]`.
    pub ssv: bool,
    /// `SubstreamID[31:12]`.
    #[bits(20)]
    pub substreamid: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// Fields of `CMD_ATC_INV`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct AtcInvDw1 {
    /// `Size[69:64]`.
    #[bits(6)]
    pub size: u8,
    #[bits(6)]
    _res0_75_70: u8,
    /// `Address[127:76]`: address bits [63:12].
    #[bits(52)]
    pub address: u64,
}

/// Fields of `CMD_ATC_INV`.
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
pub struct AtcInv {
    /// Doubleword 0.
    pub dw0: AtcInvDw0,
    /// Doubleword 1.
    pub dw1: AtcInvDw1,
}

const _: () = assert!(size_of::<AtcInv>() == 16);

structure!(AtcInv, 2 { dw0: AtcInvDw0, dw1: AtcInvDw1 });
layout!(AtcInv, 128, [
    Opcode [7:0] dw0.opcode;
    Global [9:9] dw0.global;
    SSV [11:11] dw0.ssv;
    SubstreamID [31:12] dw0.substreamid;
    StreamID [63:32] dw0.streamid;
    Size [69:64] dw1.size;
    Address [127:76] dw1.address;
]);

/// Fields of `CMD_PRI_RESP`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PriRespDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(3)]
    _res0_10_8: u8,
    /// `SSV[11]`.
    pub ssv: bool,
    /// `SubstreamID[31:12]`.
    #[bits(20)]
    pub substreamid: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// Fields of `CMD_PRI_RESP`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PriRespDw1 {
    /// `PRGIndex[72:64]`.
    #[bits(9)]
    pub prgindex: u16,
    #[bits(3)]
    _res0_75_73: u8,
    /// `Resp[77:76]`.
    #[bits(2)]
    pub resp: u8,
    #[bits(50)]
    _res0_127_78: u64,
}

/// Fields of `CMD_PRI_RESP`.
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
pub struct PriResp {
    /// Doubleword 0.
    pub dw0: PriRespDw0,
    /// Doubleword 1.
    pub dw1: PriRespDw1,
}

const _: () = assert!(size_of::<PriResp>() == 16);

structure!(PriResp, 2 { dw0: PriRespDw0, dw1: PriRespDw1 });
layout!(PriResp, 128, [
    Opcode [7:0] dw0.opcode;
    SSV [11:11] dw0.ssv;
    SubstreamID [31:12] dw0.substreamid;
    StreamID [63:32] dw0.streamid;
    PRGIndex [72:64] dw1.prgindex;
    Resp [77:76] dw1.resp;
]);

/// Fields of `CMD_RESUME`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ResumeDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(2)]
    _res0_9_8: u8,
    /// `SSec[10]`.
    pub ssec: bool,
    #[bits(1)]
    _res0_11_11: bool,
    /// `Ac[12]`.
    pub ac: bool,
    /// `Ab[13]`.
    pub ab: bool,
    #[bits(18)]
    _res0_31_14: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// Fields of `CMD_RESUME`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ResumeDw1 {
    /// `STAG[79:64]`.
    #[bits(16)]
    pub stag: u16,
    #[bits(48)]
    _res0_127_80: u64,
}

/// Fields of `CMD_RESUME`.
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
pub struct Resume {
    /// Doubleword 0.
    pub dw0: ResumeDw0,
    /// Doubleword 1.
    pub dw1: ResumeDw1,
}

const _: () = assert!(size_of::<Resume>() == 16);

structure!(Resume, 2 { dw0: ResumeDw0, dw1: ResumeDw1 });
layout!(Resume, 128, [
    Opcode [7:0] dw0.opcode;
    SSec [10:10] dw0.ssec;
    Ac [12:12] dw0.ac;
    Ab [13:13] dw0.ab;
    StreamID [63:32] dw0.streamid;
    STAG [79:64] dw1.stag;
]);

/// Fields of `CMD_STALL_TERM`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct StallTermDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(2)]
    _res0_9_8: u8,
    /// `SSec[10]`.
    pub ssec: bool,
    #[bits(21)]
    _res0_31_11: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// Fields of `CMD_STALL_TERM`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct StallTermDw1 {
    #[bits(64)]
    _res0_127_64: u64,
}

/// Fields of `CMD_STALL_TERM`.
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
pub struct StallTerm {
    /// Doubleword 0.
    pub dw0: StallTermDw0,
    /// Doubleword 1.
    pub dw1: StallTermDw1,
}

const _: () = assert!(size_of::<StallTerm>() == 16);

structure!(StallTerm, 2 { dw0: StallTermDw0, dw1: StallTermDw1 });
layout!(StallTerm, 128, [
    Opcode [7:0] dw0.opcode;
    SSec [10:10] dw0.ssec;
    StreamID [63:32] dw0.streamid;
]);

/// Fields of `CMD_SYNC`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SyncDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(4)]
    _res0_11_8: u8,
    /// `CS[13:12]`.
    #[bits(2)]
    pub cs: u8,
    #[bits(8)]
    _res0_21_14: u8,
    /// `MSH[23:22]`.
    #[bits(2)]
    pub msh: u8,
    /// `MSIAttr[27:24]`.
    #[bits(4)]
    pub msiattr: u8,
    #[bits(4)]
    _res0_31_28: u8,
    /// `MSIData[63:32]`.
    #[bits(32)]
    pub msidata: u32,
}

/// Fields of `CMD_SYNC`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SyncDw1 {
    #[bits(2)]
    _res0_65_64: u8,
    /// `MSIAddress[119:66]`: address bits [55:2].
    #[bits(54)]
    pub msiaddress: u64,
    #[bits(8)]
    _res0_127_120: u8,
}

/// Fields of `CMD_SYNC`.
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
pub struct Sync {
    /// Doubleword 0.
    pub dw0: SyncDw0,
    /// Doubleword 1.
    pub dw1: SyncDw1,
}

const _: () = assert!(size_of::<Sync>() == 16);

structure!(Sync, 2 { dw0: SyncDw0, dw1: SyncDw1 });
layout!(Sync, 128, [
    Opcode [7:0] dw0.opcode;
    CS [13:12] dw0.cs;
    MSH [23:22] dw0.msh;
    MSIAttr [27:24] dw0.msiattr;
    MSIData [63:32] dw0.msidata;
    MSIAddress [119:66] dw1.msiaddress;
]);
