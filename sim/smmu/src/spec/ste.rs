//! Stream table entry (IHI 0070 §5.2).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::attrs::{Ps, Sh, SteConfig, Tg0};
use super::{layout, structure};

/// Stream table entry, doubleword 0.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteDw0 {
    /// `V[0]`.
    pub v: bool,
    /// `Config[3:1]`.
    #[bits(3)]
    pub config: SteConfig,
    /// `S1Fmt[5:4]`.
    #[bits(2)]
    pub s1fmt: u8,
    /// `S1ContextPtr[55:6]`: address bits [55:6].
    #[bits(50)]
    pub s1contextptr: u64,
    #[bits(3)]
    _res0_58_56: u8,
    /// `S1CDMax[63:59]`.
    #[bits(5)]
    pub s1cdmax: u8,
}

/// Stream table entry, doubleword 1.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteDw1 {
    /// `S1DSS[65:64]`.
    #[bits(2)]
    pub s1dss: u8,
    /// `S1CIR[67:66]`.
    #[bits(2)]
    pub s1cir: u8,
    /// `S1COR[69:68]`.
    #[bits(2)]
    pub s1cor: u8,
    /// `S1CSH[71:70]`.
    #[bits(2)]
    pub s1csh: Sh,
    /// `S2HWU59[72]`.
    pub s2hwu59: bool,
    /// `S2HWU60[73]`.
    pub s2hwu60: bool,
    /// `S2HWU61[74]`.
    pub s2hwu61: bool,
    /// `S2HWU62[75]`.
    pub s2hwu62: bool,
    /// `DRE[76]`.
    pub dre: bool,
    /// `CONT[80:77]`.
    #[bits(4)]
    pub cont: u8,
    /// `DCP[81]`.
    pub dcp: bool,
    /// `PPAR[82]`.
    pub ppar: bool,
    /// `MEV[83]`.
    pub mev: bool,
    /// `SW_RESERVED[87:84]`.
    #[bits(4)]
    pub sw_reserved: u8,
    /// `S1PIE[88]`.
    pub s1pie: bool,
    /// `S2FWB[89]`.
    pub s2fwb: bool,
    /// `S1MPAM[90]`.
    pub s1mpam: bool,
    /// `S1STALLD[91]`.
    pub s1stalld: bool,
    /// `EATS[93:92]`.
    #[bits(2)]
    pub eats: u8,
    /// `STRW[95:94]`.
    #[bits(2)]
    pub strw: u8,
    /// `MemAttr[99:96]`.
    #[bits(4)]
    pub memattr: u8,
    /// `MTCFG[100]`.
    pub mtcfg: bool,
    /// `ALLOCCFG[104:101]`.
    #[bits(4)]
    pub alloccfg: u8,
    #[bits(3)]
    _res0_107_105: u8,
    /// `SHCFG[109:108]`.
    #[bits(2)]
    pub shcfg: u8,
    /// `NSCFG[111:110]`.
    #[bits(2)]
    pub nscfg: u8,
    /// `PRIVCFG[113:112]`.
    #[bits(2)]
    pub privcfg: u8,
    /// `INSTCFG[115:114]`.
    #[bits(2)]
    pub instcfg: u8,
    /// `IMPDEF_127_116[127:116]`.
    #[bits(12)]
    pub impdef_127_116: u16,
}

/// Stream table entry, doubleword 2.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteDw2 {
    /// `S2VMID[143:128]`.
    #[bits(16)]
    pub s2vmid: u16,
    /// `IMPDEF_159_144[159:144]`.
    #[bits(16)]
    pub impdef_159_144: u16,
    /// `S2T0SZ[165:160]`.
    #[bits(6)]
    pub s2t0sz: u8,
    /// `S2SL0[167:166]`.
    #[bits(2)]
    pub s2sl0: u8,
    /// `S2IR0[169:168]`.
    #[bits(2)]
    pub s2ir0: u8,
    /// `S2OR0[171:170]`.
    #[bits(2)]
    pub s2or0: u8,
    /// `S2SH0[173:172]`.
    #[bits(2)]
    pub s2sh0: Sh,
    /// `S2TG[175:174]`.
    #[bits(2)]
    pub s2tg: Tg0,
    /// `S2PS[178:176]`.
    #[bits(3)]
    pub s2ps: Ps,
    /// `S2AA64[179]`.
    pub s2aa64: bool,
    /// `S2ENDI[180]`.
    pub s2endi: bool,
    /// `S2AFFD[181]`.
    pub s2affd: bool,
    /// `S2PTW[182]`.
    pub s2ptw: bool,
    /// `S2HD[183]`.
    pub s2hd: bool,
    /// `S2HA[184]`.
    pub s2ha: bool,
    /// `S2S[185]`.
    pub s2s: bool,
    /// `S2R[186]`.
    pub s2r: bool,
    /// `S2HAFT[187]`.
    pub s2haft: bool,
    /// `S2PIE[188]`.
    pub s2pie: bool,
    /// `S2POE[189]`.
    pub s2poe: bool,
    /// `DPT_VMATCH[191:190]`.
    #[bits(2)]
    pub dpt_vmatch: u8,
}

/// Stream table entry, doubleword 3.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteDw3 {
    /// `S2NSW[192]`.
    pub s2nsw: bool,
    /// `S2NSA[193]`.
    pub s2nsa: bool,
    /// `S2SL0_2[194]`.
    pub s2sl0_2: bool,
    /// `S2DS[195]`.
    pub s2ds: bool,
    /// `S2TTB[243:196]`: address bits [51:4].
    #[bits(48)]
    pub s2ttb: u64,
    #[bits(9)]
    _res0_252_244: u16,
    /// `S2SKL[254:253]`.
    #[bits(2)]
    pub s2skl: u8,
    #[bits(1)]
    _res0_255_255: bool,
}

/// Stream table entry, doubleword 4.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteDw4 {
    /// `IMPDEF_271_256[271:256]`.
    #[bits(16)]
    pub impdef_271_256: u16,
    /// `PARTID[287:272]`.
    #[bits(16)]
    pub partid: u16,
    /// `S_S2T0SZ[293:288]`.
    #[bits(6)]
    pub s_s2t0sz: u8,
    /// `S_S2SL0[295:294]`.
    #[bits(2)]
    pub s_s2sl0: u8,
    #[bits(6)]
    _res0_301_296: u8,
    /// `S_S2TG[303:302]`.
    #[bits(2)]
    pub s_s2tg: u8,
    /// `MECID[319:304]`.
    #[bits(16)]
    pub mecid: u16,
}

/// Stream table entry, doubleword 5.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteDw5 {
    /// `PMG[327:320]`.
    #[bits(8)]
    pub pmg: u8,
    /// `MPAM_NS[328]`.
    pub mpam_ns: bool,
    /// `AssuredOnly[329]`.
    pub assuredonly: bool,
    /// `TL0[330]`.
    pub tl0: bool,
    /// `TL1[331]`.
    pub tl1: bool,
    /// `VMSPtr[375:332]`: address bits [55:12].
    #[bits(44)]
    pub vmsptr: u64,
    #[bits(8)]
    _res0_383_376: u8,
}

/// Stream table entry, doubleword 6.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteDw6 {
    /// `S2SW[384]`.
    pub s2sw: bool,
    /// `S2SA[385]`.
    pub s2sa: bool,
    /// `S_S2SL0_2[386]`.
    pub s_s2sl0_2: bool,
    #[bits(1)]
    _res0_387_387: bool,
    /// `S_S2TTB[439:388]`: address bits [55:4].
    #[bits(52)]
    pub s_s2ttb: u64,
    #[bits(5)]
    _res0_444_440: u8,
    /// `S_S2SKL[446:445]`.
    #[bits(2)]
    pub s_s2skl: u8,
    #[bits(1)]
    _res0_447_447: bool,
}

/// Stream table entry, doubleword 7.
#[bitfield(u64, repr = U64, from = U64::new, into = U64::get, hash = true)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteDw7 {
    /// `S2POI[511:448]`: sixteen nibbles.
    #[bits(64)]
    pub s2poi: u64,
}

/// Stream table entry.
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
pub struct Ste {
    /// Doubleword 0.
    pub dw0: SteDw0,
    /// Doubleword 1.
    pub dw1: SteDw1,
    /// Doubleword 2.
    pub dw2: SteDw2,
    /// Doubleword 3.
    pub dw3: SteDw3,
    /// Doubleword 4.
    pub dw4: SteDw4,
    /// Doubleword 5.
    pub dw5: SteDw5,
    /// Doubleword 6.
    pub dw6: SteDw6,
    /// Doubleword 7.
    pub dw7: SteDw7,
}

const _: () = assert!(size_of::<Ste>() == 64);

structure!(Ste, 8 { dw0: SteDw0, dw1: SteDw1, dw2: SteDw2, dw3: SteDw3, dw4: SteDw4, dw5: SteDw5, dw6: SteDw6, dw7: SteDw7 });
layout!(Ste, 512, [
    V [0:0] dw0.v;
    Config [3:1] dw0.config;
    S1Fmt [5:4] dw0.s1fmt;
    S1ContextPtr [55:6] dw0.s1contextptr;
    S1CDMax [63:59] dw0.s1cdmax;
    S1DSS [65:64] dw1.s1dss;
    S1CIR [67:66] dw1.s1cir;
    S1COR [69:68] dw1.s1cor;
    S1CSH [71:70] dw1.s1csh;
    S2HWU59 [72:72] dw1.s2hwu59;
    S2HWU60 [73:73] dw1.s2hwu60;
    S2HWU61 [74:74] dw1.s2hwu61;
    S2HWU62 [75:75] dw1.s2hwu62;
    DRE [76:76] dw1.dre;
    CONT [80:77] dw1.cont;
    DCP [81:81] dw1.dcp;
    PPAR [82:82] dw1.ppar;
    MEV [83:83] dw1.mev;
    SW_RESERVED [87:84] dw1.sw_reserved;
    S1PIE [88:88] dw1.s1pie;
    S2FWB [89:89] dw1.s2fwb;
    S1MPAM [90:90] dw1.s1mpam;
    S1STALLD [91:91] dw1.s1stalld;
    EATS [93:92] dw1.eats;
    STRW [95:94] dw1.strw;
    MemAttr [99:96] dw1.memattr;
    MTCFG [100:100] dw1.mtcfg;
    ALLOCCFG [104:101] dw1.alloccfg;
    SHCFG [109:108] dw1.shcfg;
    NSCFG [111:110] dw1.nscfg;
    PRIVCFG [113:112] dw1.privcfg;
    INSTCFG [115:114] dw1.instcfg;
    IMPDEF_127_116 [127:116] dw1.impdef_127_116;
    S2VMID [143:128] dw2.s2vmid;
    IMPDEF_159_144 [159:144] dw2.impdef_159_144;
    S2T0SZ [165:160] dw2.s2t0sz;
    S2SL0 [167:166] dw2.s2sl0;
    S2IR0 [169:168] dw2.s2ir0;
    S2OR0 [171:170] dw2.s2or0;
    S2SH0 [173:172] dw2.s2sh0;
    S2TG [175:174] dw2.s2tg;
    S2PS [178:176] dw2.s2ps;
    S2AA64 [179:179] dw2.s2aa64;
    S2ENDI [180:180] dw2.s2endi;
    S2AFFD [181:181] dw2.s2affd;
    S2PTW [182:182] dw2.s2ptw;
    S2HD [183:183] dw2.s2hd;
    S2HA [184:184] dw2.s2ha;
    S2S [185:185] dw2.s2s;
    S2R [186:186] dw2.s2r;
    S2HAFT [187:187] dw2.s2haft;
    S2PIE [188:188] dw2.s2pie;
    S2POE [189:189] dw2.s2poe;
    DPT_VMATCH [191:190] dw2.dpt_vmatch;
    S2NSW [192:192] dw3.s2nsw;
    S2NSA [193:193] dw3.s2nsa;
    S2SL0_2 [194:194] dw3.s2sl0_2;
    S2DS [195:195] dw3.s2ds;
    S2TTB [243:196] dw3.s2ttb;
    S2SKL [254:253] dw3.s2skl;
    IMPDEF_271_256 [271:256] dw4.impdef_271_256;
    PARTID [287:272] dw4.partid;
    S_S2T0SZ [293:288] dw4.s_s2t0sz;
    S_S2SL0 [295:294] dw4.s_s2sl0;
    S_S2TG [303:302] dw4.s_s2tg;
    MECID [319:304] dw4.mecid;
    PMG [327:320] dw5.pmg;
    MPAM_NS [328:328] dw5.mpam_ns;
    AssuredOnly [329:329] dw5.assuredonly;
    TL0 [330:330] dw5.tl0;
    TL1 [331:331] dw5.tl1;
    VMSPtr [375:332] dw5.vmsptr;
    S2SW [384:384] dw6.s2sw;
    S2SA [385:385] dw6.s2sa;
    S_S2SL0_2 [386:386] dw6.s_s2sl0_2;
    S_S2TTB [439:388] dw6.s_s2ttb;
    S_S2SKL [446:445] dw6.s_s2skl;
    S2POI [511:448] dw7.s2poi;
]);
