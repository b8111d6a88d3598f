//! Commands, 16 bytes each (IHI 0070 §4). One layout for commands with the same fields.

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Layout, layout, open_enum, structure};

open_enum! {
    /// Command opcode, spelled as in the architecture without the `CMD_` prefix.
    CmdOp {
        /// `CMD_PREFETCH_CONFIG`.
        PREFETCH_CONFIG = 0x01,
        /// `CMD_PREFETCH_ADDR`.
        PREFETCH_ADDR = 0x02,
        /// `CMD_CFGI_STE`.
        CFGI_STE = 0x03,
        /// `CMD_CFGI_STE_RANGE`.
        CFGI_STE_RANGE = 0x04,
        /// `CMD_CFGI_CD`.
        CFGI_CD = 0x05,
        /// `CMD_CFGI_CD_ALL`.
        CFGI_CD_ALL = 0x06,
        /// `CMD_CFGI_VMS_PIDM`.
        CFGI_VMS_PIDM = 0x07,
        /// `CMD_TLBI_NH_ALL`.
        TLBI_NH_ALL = 0x10,
        /// `CMD_TLBI_NH_ASID`.
        TLBI_NH_ASID = 0x11,
        /// `CMD_TLBI_NH_VA`.
        TLBI_NH_VA = 0x12,
        /// `CMD_TLBI_NH_VAA`.
        TLBI_NH_VAA = 0x13,
        /// `CMD_TLBI_EL3_ALL`.
        TLBI_EL3_ALL = 0x18,
        /// `CMD_TLBI_EL3_VA`.
        TLBI_EL3_VA = 0x1a,
        /// `CMD_TLBI_EL2_ALL`.
        TLBI_EL2_ALL = 0x20,
        /// `CMD_TLBI_EL2_ASID`.
        TLBI_EL2_ASID = 0x21,
        /// `CMD_TLBI_EL2_VA`.
        TLBI_EL2_VA = 0x22,
        /// `CMD_TLBI_EL2_VAA`.
        TLBI_EL2_VAA = 0x23,
        /// `CMD_TLBI_S12_VMALL`.
        TLBI_S12_VMALL = 0x28,
        /// `CMD_TLBI_S2_IPA`.
        TLBI_S2_IPA = 0x2a,
        /// `CMD_TLBI_NSNH_ALL`.
        TLBI_NSNH_ALL = 0x30,
        /// `CMD_ATC_INV`.
        ATC_INV = 0x40,
        /// `CMD_PRI_RESP`.
        PRI_RESP = 0x41,
        /// `CMD_RESUME`.
        RESUME = 0x44,
        /// `CMD_STALL_TERM`.
        STALL_TERM = 0x45,
        /// `CMD_SYNC`.
        SYNC = 0x46,
        /// `CMD_TLBI_S_EL2_ALL`.
        TLBI_S_EL2_ALL = 0x50,
        /// `CMD_TLBI_S_EL2_ASID`.
        TLBI_S_EL2_ASID = 0x51,
        /// `CMD_TLBI_S_EL2_VA`.
        TLBI_S_EL2_VA = 0x52,
        /// `CMD_TLBI_S_EL2_VAA`.
        TLBI_S_EL2_VAA = 0x53,
        /// `CMD_TLBI_S_S12_VMALL`.
        TLBI_S_S12_VMALL = 0x58,
        /// `CMD_TLBI_S_S2_IPA`.
        TLBI_S_S2_IPA = 0x5a,
        /// `CMD_TLBI_SNH_ALL`.
        TLBI_SNH_ALL = 0x60,
        /// `CMD_DPTI_ALL`.
        DPTI_ALL = 0x70,
        /// `CMD_DPTI_PA`.
        DPTI_PA = 0x73,
    }
}

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

/// Every command layout.
pub(super) const LAYOUTS: &[&Layout] = &[
    &PrefetchConfig::LAYOUT,
    &PrefetchAddr::LAYOUT,
    &CfgiSte::LAYOUT,
    &CfgiSteRange::LAYOUT,
    &CfgiCd::LAYOUT,
    &CfgiCdAll::LAYOUT,
    &CfgiVmsPidm::LAYOUT,
    &TlbiAll::LAYOUT,
    &TlbiAsid::LAYOUT,
    &TlbiVa::LAYOUT,
    &TlbiIpa::LAYOUT,
    &AtcInv::LAYOUT,
    &PriResp::LAYOUT,
    &Resume::LAYOUT,
    &StallTerm::LAYOUT,
    &Sync::LAYOUT,
];

/// The layout of a command; `None` for reserved opcodes and those of other Security states.
pub fn layout_of(op: CmdOp) -> Option<&'static Layout> {
    Some(match op {
        CmdOp::PREFETCH_CONFIG => &PrefetchConfig::LAYOUT,
        CmdOp::PREFETCH_ADDR => &PrefetchAddr::LAYOUT,
        CmdOp::CFGI_STE => &CfgiSte::LAYOUT,
        CmdOp::CFGI_STE_RANGE => &CfgiSteRange::LAYOUT,
        CmdOp::CFGI_CD => &CfgiCd::LAYOUT,
        CmdOp::CFGI_CD_ALL => &CfgiCdAll::LAYOUT,
        CmdOp::CFGI_VMS_PIDM => &CfgiVmsPidm::LAYOUT,
        CmdOp::TLBI_NH_ALL
        | CmdOp::TLBI_S12_VMALL
        | CmdOp::TLBI_EL2_ALL
        | CmdOp::TLBI_NSNH_ALL
        | CmdOp::TLBI_EL3_ALL => &TlbiAll::LAYOUT,
        CmdOp::TLBI_NH_ASID | CmdOp::TLBI_EL2_ASID => &TlbiAsid::LAYOUT,
        CmdOp::TLBI_NH_VA
        | CmdOp::TLBI_NH_VAA
        | CmdOp::TLBI_EL2_VA
        | CmdOp::TLBI_EL2_VAA
        | CmdOp::TLBI_EL3_VA => &TlbiVa::LAYOUT,
        CmdOp::TLBI_S2_IPA => &TlbiIpa::LAYOUT,
        CmdOp::ATC_INV => &AtcInv::LAYOUT,
        CmdOp::PRI_RESP => &PriResp::LAYOUT,
        CmdOp::RESUME => &Resume::LAYOUT,
        CmdOp::STALL_TERM => &StallTerm::LAYOUT,
        CmdOp::SYNC => &Sync::LAYOUT,
        _ => return None,
    })
}
