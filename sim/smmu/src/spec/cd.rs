//! Context descriptor (IHI 0070 §5.4).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::attrs::{Ps, Sh, Tg0, Tg1};
use super::{layout, structure};

/// Context descriptor, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CdDw0 {
    /// `T0SZ[5:0]`.
    #[bits(6)]
    pub t0sz: u8,
    /// `TG0[7:6]`.
    #[bits(2)]
    pub tg0: Tg0,
    /// `IR0[9:8]`.
    #[bits(2)]
    pub ir0: u8,
    /// `OR0[11:10]`.
    #[bits(2)]
    pub or0: u8,
    /// `SH0[13:12]`.
    #[bits(2)]
    pub sh0: Sh,
    /// `EPD0[14]`.
    pub epd0: bool,
    /// `ENDI[15]`.
    pub endi: bool,
    /// `T1SZ[21:16]`.
    #[bits(6)]
    pub t1sz: u8,
    /// `TG1[23:22]`.
    #[bits(2)]
    pub tg1: Tg1,
    /// `IR1[25:24]`.
    #[bits(2)]
    pub ir1: u8,
    /// `OR1[27:26]`.
    #[bits(2)]
    pub or1: u8,
    /// `SH1[29:28]`.
    #[bits(2)]
    pub sh1: Sh,
    /// `EPD1[30]`.
    pub epd1: bool,
    /// `V[31]`.
    pub v: bool,
    /// `IPS[34:32]`.
    #[bits(3)]
    pub ips: Ps,
    /// `AFFD[35]`.
    pub affd: bool,
    /// `WXN[36]`.
    pub wxn: bool,
    /// `UWXN[37]`.
    pub uwxn: bool,
    /// `TBI0[38]`.
    pub tbi0: bool,
    /// `TBI1[39]`.
    pub tbi1: bool,
    /// `PAN[40]`.
    pub pan: bool,
    /// `AA64[41]`.
    pub aa64: bool,
    /// `HD[42]`.
    pub hd: bool,
    /// `HA[43]`.
    pub ha: bool,
    /// `S[44]`.
    pub s: bool,
    /// `R[45]`.
    pub r: bool,
    /// `A[46]`.
    pub a: bool,
    /// `ASET[47]`.
    pub aset: bool,
    /// `ASID[63:48]`.
    #[bits(16)]
    pub asid: u16,
}

/// Context descriptor, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CdDw1 {
    /// `NSCFG0[64]`.
    pub nscfg0: bool,
    /// `HAD0[65]`.
    pub had0: bool,
    /// `E0PD0[66]`.
    pub e0pd0: bool,
    /// `HAFT[67]`.
    pub haft: bool,
    /// `TTB0[115:68]`: address bits [51:4].
    #[bits(48)]
    pub ttb0: u64,
    #[bits(6)]
    _res0_121_116: u8,
    /// `PnCH[122]`.
    pub pnch: bool,
    /// `EPAN[123]`.
    pub epan: bool,
    /// `HWU059[124]`.
    pub hwu059: bool,
    /// `HWU060[125]`.
    pub hwu060: bool,
    /// `HWU061[126]`.
    pub hwu061: bool,
    /// `HWU062[127]`.
    pub hwu062: bool,
}

/// Context descriptor, doubleword 2.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CdDw2 {
    /// `NSCFG1[128]`.
    pub nscfg1: bool,
    /// `HAD1[129]`.
    pub had1: bool,
    /// `E0PD1[130]`.
    pub e0pd1: bool,
    /// `AIE[131]`.
    pub aie: bool,
    /// `TTB1[179:132]`: address bits [51:4].
    #[bits(48)]
    pub ttb1: u64,
    #[bits(6)]
    _res0_185_180: u8,
    /// `DS[186]`.
    pub ds: bool,
    /// `PIE[187]`.
    pub pie: bool,
    /// `HWU159[188]`.
    pub hwu159: bool,
    /// `HWU160[189]`.
    pub hwu160: bool,
    /// `HWU161[190]`.
    pub hwu161: bool,
    /// `HWU162[191]`.
    pub hwu162: bool,
}

/// Context descriptor, doubleword 3.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CdDw3 {
    /// `MAIR0[223:192]`.
    #[bits(32)]
    pub mair0: u32,
    /// `MAIR1[255:224]`.
    #[bits(32)]
    pub mair1: u32,
}

/// Context descriptor, doubleword 4.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CdDw4 {
    /// `AMAIR0[287:256]`.
    #[bits(32)]
    pub amair0: u32,
    /// `AMAIR1[319:288]`.
    #[bits(32)]
    pub amair1: u32,
}

/// Context descriptor, doubleword 5.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CdDw5 {
    /// `IMPDEF_351_320[351:320]`.
    #[bits(32)]
    pub impdef_351_320: u32,
    /// `PARTID[367:352]`.
    #[bits(16)]
    pub partid: u16,
    /// `PMG[375:368]`.
    #[bits(8)]
    pub pmg: u8,
    #[bits(8)]
    _res0_383_376: u8,
}

/// Context descriptor, doubleword 6.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CdDw6 {
    /// `PIIU[431:384]`.
    #[bits(48)]
    pub piiu: u64,
    #[bits(16)]
    _res0_447_432: u16,
}

/// Context descriptor, doubleword 7.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CdDw7 {
    /// `PIIP[495:448]`.
    #[bits(48)]
    pub piip: u64,
    #[bits(16)]
    _res0_511_496: u16,
}

/// Context descriptor.
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
pub struct Cd {
    /// Doubleword 0.
    pub dw0: CdDw0,
    /// Doubleword 1.
    pub dw1: CdDw1,
    /// Doubleword 2.
    pub dw2: CdDw2,
    /// Doubleword 3.
    pub dw3: CdDw3,
    /// Doubleword 4.
    pub dw4: CdDw4,
    /// Doubleword 5.
    pub dw5: CdDw5,
    /// Doubleword 6.
    pub dw6: CdDw6,
    /// Doubleword 7.
    pub dw7: CdDw7,
}

const _: () = assert!(size_of::<Cd>() == 64);

structure!(Cd, 8 { dw0: CdDw0, dw1: CdDw1, dw2: CdDw2, dw3: CdDw3, dw4: CdDw4, dw5: CdDw5, dw6: CdDw6, dw7: CdDw7 });
layout!(Cd, 512, [
    T0SZ [5:0] dw0.t0sz;
    TG0 [7:6] dw0.tg0;
    IR0 [9:8] dw0.ir0;
    OR0 [11:10] dw0.or0;
    SH0 [13:12] dw0.sh0;
    EPD0 [14:14] dw0.epd0;
    ENDI [15:15] dw0.endi;
    T1SZ [21:16] dw0.t1sz;
    TG1 [23:22] dw0.tg1;
    IR1 [25:24] dw0.ir1;
    OR1 [27:26] dw0.or1;
    SH1 [29:28] dw0.sh1;
    EPD1 [30:30] dw0.epd1;
    V [31:31] dw0.v;
    IPS [34:32] dw0.ips;
    AFFD [35:35] dw0.affd;
    WXN [36:36] dw0.wxn;
    UWXN [37:37] dw0.uwxn;
    TBI0 [38:38] dw0.tbi0;
    TBI1 [39:39] dw0.tbi1;
    PAN [40:40] dw0.pan;
    AA64 [41:41] dw0.aa64;
    HD [42:42] dw0.hd;
    HA [43:43] dw0.ha;
    S [44:44] dw0.s;
    R [45:45] dw0.r;
    A [46:46] dw0.a;
    ASET [47:47] dw0.aset;
    ASID [63:48] dw0.asid;
    NSCFG0 [64:64] dw1.nscfg0;
    HAD0 [65:65] dw1.had0;
    E0PD0 [66:66] dw1.e0pd0;
    HAFT [67:67] dw1.haft;
    TTB0 [115:68] dw1.ttb0;
    PnCH [122:122] dw1.pnch;
    EPAN [123:123] dw1.epan;
    HWU059 [124:124] dw1.hwu059;
    HWU060 [125:125] dw1.hwu060;
    HWU061 [126:126] dw1.hwu061;
    HWU062 [127:127] dw1.hwu062;
    NSCFG1 [128:128] dw2.nscfg1;
    HAD1 [129:129] dw2.had1;
    E0PD1 [130:130] dw2.e0pd1;
    AIE [131:131] dw2.aie;
    TTB1 [179:132] dw2.ttb1;
    DS [186:186] dw2.ds;
    PIE [187:187] dw2.pie;
    HWU159 [188:188] dw2.hwu159;
    HWU160 [189:189] dw2.hwu160;
    HWU161 [190:190] dw2.hwu161;
    HWU162 [191:191] dw2.hwu162;
    MAIR0 [223:192] dw3.mair0;
    MAIR1 [255:224] dw3.mair1;
    AMAIR0 [287:256] dw4.amair0;
    AMAIR1 [319:288] dw4.amair1;
    IMPDEF_351_320 [351:320] dw5.impdef_351_320;
    PARTID [367:352] dw5.partid;
    PMG [375:368] dw5.pmg;
    PIIU [431:384] dw6.piiu;
    PIIP [495:448] dw7.piip;
]);
