//! Commands on configuration: `CMD_PREFETCH_*` and `CMD_CFGI_*` (IHI 0070 §4.2, §4.3).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::CmdOp;
use crate::spec::{layout, structure};

/// Fields of `CMD_PREFETCH_CONFIG`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PrefetchConfigDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(2)]
    _res0_9_8: u8,
    /// `SSec[10]`.
    pub ssec: bool,
    /// `SSV[11]`.
    pub ssv: bool,
    /// `SubstreamID[31:12]`.
    #[bits(20)]
    pub substreamid: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// Fields of `CMD_PREFETCH_CONFIG`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PrefetchConfigDw1 {
    #[bits(64)]
    _res0_127_64: u64,
}

/// Fields of `CMD_PREFETCH_CONFIG`.
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
pub struct PrefetchConfig {
    /// Doubleword 0.
    pub dw0: PrefetchConfigDw0,
    /// Doubleword 1.
    pub dw1: PrefetchConfigDw1,
}

const _: () = assert!(size_of::<PrefetchConfig>() == 16);

structure!(PrefetchConfig, 2 { dw0: PrefetchConfigDw0, dw1: PrefetchConfigDw1 });
layout!(PrefetchConfig, 128, [
    Opcode [7:0] dw0.opcode;
    SSec [10:10] dw0.ssec;
    SSV [11:11] dw0.ssv;
    SubstreamID [31:12] dw0.substreamid;
    StreamID [63:32] dw0.streamid;
]);

/// Fields of `CMD_PREFETCH_ADDR`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PrefetchAddrDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(2)]
    _res0_9_8: u8,
    /// `SSec[10]`.
    pub ssec: bool,
    /// `SSV[11]`.
    pub ssv: bool,
    /// `SubstreamID[31:12]`.
    #[bits(20)]
    pub substreamid: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// Fields of `CMD_PREFETCH_ADDR`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PrefetchAddrDw1 {
    /// `Size[68:64]`.
    #[bits(5)]
    pub size: u8,
    /// `Stride[73:69]`.
    #[bits(5)]
    pub stride: u8,
    #[bits(2)]
    _res0_75_74: u8,
    /// `Address[127:76]`: address bits [63:12].
    #[bits(52)]
    pub address: u64,
}

/// Fields of `CMD_PREFETCH_ADDR`.
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
pub struct PrefetchAddr {
    /// Doubleword 0.
    pub dw0: PrefetchAddrDw0,
    /// Doubleword 1.
    pub dw1: PrefetchAddrDw1,
}

const _: () = assert!(size_of::<PrefetchAddr>() == 16);

structure!(PrefetchAddr, 2 { dw0: PrefetchAddrDw0, dw1: PrefetchAddrDw1 });
layout!(PrefetchAddr, 128, [
    Opcode [7:0] dw0.opcode;
    SSec [10:10] dw0.ssec;
    SSV [11:11] dw0.ssv;
    SubstreamID [31:12] dw0.substreamid;
    StreamID [63:32] dw0.streamid;
    Size [68:64] dw1.size;
    Stride [73:69] dw1.stride;
    Address [127:76] dw1.address;
]);

/// Fields of `CMD_CFGI_STE`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiSteDw0 {
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

/// Fields of `CMD_CFGI_STE`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiSteDw1 {
    /// `Leaf[64]`.
    pub leaf: bool,
    #[bits(63)]
    _res0_127_65: u64,
}

/// Fields of `CMD_CFGI_STE`.
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
pub struct CfgiSte {
    /// Doubleword 0.
    pub dw0: CfgiSteDw0,
    /// Doubleword 1.
    pub dw1: CfgiSteDw1,
}

const _: () = assert!(size_of::<CfgiSte>() == 16);

structure!(CfgiSte, 2 { dw0: CfgiSteDw0, dw1: CfgiSteDw1 });
layout!(CfgiSte, 128, [
    Opcode [7:0] dw0.opcode;
    SSec [10:10] dw0.ssec;
    StreamID [63:32] dw0.streamid;
    Leaf [64:64] dw1.leaf;
]);

/// Fields of `CMD_CFGI_STE_RANGE`, `CMD_CFGI_ALL`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiSteRangeDw0 {
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

/// Fields of `CMD_CFGI_STE_RANGE`, `CMD_CFGI_ALL`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiSteRangeDw1 {
    /// `Range[68:64]`: 31 is CFGI_ALL.
    #[bits(5)]
    pub range: u8,
    #[bits(59)]
    _res0_127_69: u64,
}

/// Fields of `CMD_CFGI_STE_RANGE`, `CMD_CFGI_ALL`.
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
pub struct CfgiSteRange {
    /// Doubleword 0.
    pub dw0: CfgiSteRangeDw0,
    /// Doubleword 1.
    pub dw1: CfgiSteRangeDw1,
}

const _: () = assert!(size_of::<CfgiSteRange>() == 16);

structure!(CfgiSteRange, 2 { dw0: CfgiSteRangeDw0, dw1: CfgiSteRangeDw1 });
layout!(CfgiSteRange, 128, [
    Opcode [7:0] dw0.opcode;
    SSec [10:10] dw0.ssec;
    StreamID [63:32] dw0.streamid;
    Range [68:64] dw1.range;
]);

/// Fields of `CMD_CFGI_CD`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiCdDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(2)]
    _res0_9_8: u8,
    /// `SSec[10]`.
    pub ssec: bool,
    #[bits(1)]
    _res0_11_11: bool,
    /// `SubstreamID[31:12]`.
    #[bits(20)]
    pub substreamid: u32,
    /// `StreamID[63:32]`.
    #[bits(32)]
    pub streamid: u32,
}

/// Fields of `CMD_CFGI_CD`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiCdDw1 {
    /// `Leaf[64]`.
    pub leaf: bool,
    #[bits(63)]
    _res0_127_65: u64,
}

/// Fields of `CMD_CFGI_CD`.
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
pub struct CfgiCd {
    /// Doubleword 0.
    pub dw0: CfgiCdDw0,
    /// Doubleword 1.
    pub dw1: CfgiCdDw1,
}

const _: () = assert!(size_of::<CfgiCd>() == 16);

structure!(CfgiCd, 2 { dw0: CfgiCdDw0, dw1: CfgiCdDw1 });
layout!(CfgiCd, 128, [
    Opcode [7:0] dw0.opcode;
    SSec [10:10] dw0.ssec;
    SubstreamID [31:12] dw0.substreamid;
    StreamID [63:32] dw0.streamid;
    Leaf [64:64] dw1.leaf;
]);

/// Fields of `CMD_CFGI_CD_ALL`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiCdAllDw0 {
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

/// Fields of `CMD_CFGI_CD_ALL`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiCdAllDw1 {
    #[bits(64)]
    _res0_127_64: u64,
}

/// Fields of `CMD_CFGI_CD_ALL`.
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
pub struct CfgiCdAll {
    /// Doubleword 0.
    pub dw0: CfgiCdAllDw0,
    /// Doubleword 1.
    pub dw1: CfgiCdAllDw1,
}

const _: () = assert!(size_of::<CfgiCdAll>() == 16);

structure!(CfgiCdAll, 2 { dw0: CfgiCdAllDw0, dw1: CfgiCdAllDw1 });
layout!(CfgiCdAll, 128, [
    Opcode [7:0] dw0.opcode;
    SSec [10:10] dw0.ssec;
    StreamID [63:32] dw0.streamid;
]);

/// Fields of `CMD_CFGI_VMS_PIDM`, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiVmsPidmDw0 {
    /// `Opcode[7:0]`.
    #[bits(8)]
    pub opcode: CmdOp,
    #[bits(2)]
    _res0_9_8: u8,
    /// `SSec[10]`.
    pub ssec: bool,
    #[bits(21)]
    _res0_31_11: u32,
    /// `VMID[47:32]`.
    #[bits(16)]
    pub vmid: u16,
    #[bits(16)]
    _res0_63_48: u16,
}

/// Fields of `CMD_CFGI_VMS_PIDM`, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CfgiVmsPidmDw1 {
    #[bits(64)]
    _res0_127_64: u64,
}

/// Fields of `CMD_CFGI_VMS_PIDM`.
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
pub struct CfgiVmsPidm {
    /// Doubleword 0.
    pub dw0: CfgiVmsPidmDw0,
    /// Doubleword 1.
    pub dw1: CfgiVmsPidmDw1,
}

const _: () = assert!(size_of::<CfgiVmsPidm>() == 16);

structure!(CfgiVmsPidm, 2 { dw0: CfgiVmsPidmDw0, dw1: CfgiVmsPidmDw1 });
layout!(CfgiVmsPidm, 128, [
    Opcode [7:0] dw0.opcode;
    SSec [10:10] dw0.ssec;
    VMID [47:32] dw0.vmid;
]);
