//! Identification registers: `SMMU_IDR*`, `SMMU_IIDR`, `SMMU_AIDR` (IHI 0070 §6.3).

use bitfield_struct::bitfield;

use crate::spec::layout;

/// SMMU_IDR0 (IHI 0070 §6.3.1).
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Idr0 {
    /// `S2P[0]`.
    pub s2p: bool,
    /// `S1P[1]`.
    pub s1p: bool,
    /// `TTF[3:2]`.
    #[bits(2)]
    pub ttf: u8,
    /// `COHACC[4]`.
    pub cohacc: bool,
    /// `BTM[5]`.
    pub btm: bool,
    /// `HTTU[7:6]`.
    #[bits(2)]
    pub httu: u8,
    /// `DORMHINT[8]`.
    pub dormhint: bool,
    /// `Hyp[9]`.
    pub hyp: bool,
    /// `ATS[10]`.
    pub ats: bool,
    /// `NS1ATS[11]`.
    pub ns1ats: bool,
    /// `ASID16[12]`.
    pub asid16: bool,
    /// `MSI[13]`.
    pub msi: bool,
    /// `SEV[14]`.
    pub sev: bool,
    /// `ATOS[15]`.
    pub atos: bool,
    /// `PRI[16]`.
    pub pri: bool,
    /// `VMW[17]`.
    pub vmw: bool,
    /// `VMID16[18]`.
    pub vmid16: bool,
    /// `CD2L[19]`.
    pub cd2l: bool,
    /// `VATOS[20]`.
    pub vatos: bool,
    /// `TTENDIAN[22:21]`.
    #[bits(2)]
    pub ttendian: u8,
    /// `ATSRECERR[23]`.
    pub atsrecerr: bool,
    /// `STALL_MODEL[25:24]`.
    #[bits(2)]
    pub stall_model: u8,
    /// `TERM_MODEL[26]`.
    pub term_model: bool,
    /// `ST_LEVEL[28:27]`.
    #[bits(2)]
    pub st_level: u8,
    #[bits(1)]
    _res0_29_29: bool,
    /// `RME_IMPL[30]`.
    pub rme_impl: bool,
    #[bits(1)]
    _res0_31_31: bool,
}

layout!(Idr0, 32, [
    S2P [0:0] s2p;
    S1P [1:1] s1p;
    TTF [3:2] ttf;
    COHACC [4:4] cohacc;
    BTM [5:5] btm;
    HTTU [7:6] httu;
    DORMHINT [8:8] dormhint;
    Hyp [9:9] hyp;
    ATS [10:10] ats;
    NS1ATS [11:11] ns1ats;
    ASID16 [12:12] asid16;
    MSI [13:13] msi;
    SEV [14:14] sev;
    ATOS [15:15] atos;
    PRI [16:16] pri;
    VMW [17:17] vmw;
    VMID16 [18:18] vmid16;
    CD2L [19:19] cd2l;
    VATOS [20:20] vatos;
    TTENDIAN [22:21] ttendian;
    ATSRECERR [23:23] atsrecerr;
    STALL_MODEL [25:24] stall_model;
    TERM_MODEL [26:26] term_model;
    ST_LEVEL [28:27] st_level;
    RME_IMPL [30:30] rme_impl;
]);

impl Idr0 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_IDR1.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Idr1 {
    /// `SIDSIZE[5:0]`.
    #[bits(6)]
    pub sidsize: u8,
    /// `SSIDSIZE[10:6]`.
    #[bits(5)]
    pub ssidsize: u8,
    /// `PRIQS[15:11]`.
    #[bits(5)]
    pub priqs: u8,
    /// `EVENTQS[20:16]`.
    #[bits(5)]
    pub eventqs: u8,
    /// `CMDQS[25:21]`.
    #[bits(5)]
    pub cmdqs: u8,
    /// `ATTR_PERMS_OVR[26]`.
    pub attr_perms_ovr: bool,
    /// `ATTR_TYPES_OVR[27]`.
    pub attr_types_ovr: bool,
    /// `REL[28]`.
    pub rel: bool,
    /// `QUEUES_PRESET[29]`.
    pub queues_preset: bool,
    /// `TABLES_PRESET[30]`.
    pub tables_preset: bool,
    /// `ECMDQ[31]`.
    pub ecmdq: bool,
}

layout!(Idr1, 32, [
    SIDSIZE [5:0] sidsize;
    SSIDSIZE [10:6] ssidsize;
    PRIQS [15:11] priqs;
    EVENTQS [20:16] eventqs;
    CMDQS [25:21] cmdqs;
    ATTR_PERMS_OVR [26:26] attr_perms_ovr;
    ATTR_TYPES_OVR [27:27] attr_types_ovr;
    REL [28:28] rel;
    QUEUES_PRESET [29:29] queues_preset;
    TABLES_PRESET [30:30] tables_preset;
    ECMDQ [31:31] ecmdq;
]);

impl Idr1 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_IDR2.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Idr2 {
    /// `BA_VATOS[9:0]`.
    #[bits(10)]
    pub ba_vatos: u16,
    #[bits(22)]
    _res0_31_10: u32,
}

layout!(Idr2, 32, [
    BA_VATOS [9:0] ba_vatos;
]);

impl Idr2 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_IDR3.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Idr3 {
    #[bits(2)]
    _res0_1_0: u8,
    /// `HAD[2]`.
    pub had: bool,
    /// `PBHA[3]`.
    pub pbha: bool,
    /// `XNX[4]`.
    pub xnx: bool,
    /// `PPS[5]`.
    pub pps: bool,
    #[bits(1)]
    _res0_6_6: bool,
    /// `MPAM[7]`.
    pub mpam: bool,
    /// `FWB[8]`.
    pub fwb: bool,
    /// `STT[9]`.
    pub stt: bool,
    /// `RIL[10]`.
    pub ril: bool,
    /// `BBML[12:11]`.
    #[bits(2)]
    pub bbml: u8,
    /// `E0PD[13]`.
    pub e0pd: bool,
    /// `PTWNNC[14]`.
    pub ptwnnc: bool,
    /// `DPT[15]`.
    pub dpt: bool,
    /// `PASIDTT[16]`.
    pub pasidtt: bool,
    /// `EPAN[17]`.
    pub epan: bool,
    /// `S1PI[18]`.
    pub s1pi: bool,
    /// `S2PI[19]`.
    pub s2pi: bool,
    /// `S2PO[20]`.
    pub s2po: bool,
    /// `THE[21]`.
    pub the: bool,
    /// `MTEPERM[22]`.
    pub mteperm: bool,
    /// `AIE[23]`.
    pub aie: bool,
    #[bits(8)]
    _res0_31_24: u8,
}

layout!(Idr3, 32, [
    HAD [2:2] had;
    PBHA [3:3] pbha;
    XNX [4:4] xnx;
    PPS [5:5] pps;
    MPAM [7:7] mpam;
    FWB [8:8] fwb;
    STT [9:9] stt;
    RIL [10:10] ril;
    BBML [12:11] bbml;
    E0PD [13:13] e0pd;
    PTWNNC [14:14] ptwnnc;
    DPT [15:15] dpt;
    PASIDTT [16:16] pasidtt;
    EPAN [17:17] epan;
    S1PI [18:18] s1pi;
    S2PI [19:19] s2pi;
    S2PO [20:20] s2po;
    THE [21:21] the;
    MTEPERM [22:22] mteperm;
    AIE [23:23] aie;
]);

impl Idr3 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_IDR5.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Idr5 {
    /// `OAS[2:0]`.
    #[bits(3)]
    pub oas: u8,
    #[bits(1)]
    _res0_3_3: bool,
    /// `GRAN4K[4]`.
    pub gran4k: bool,
    /// `GRAN16K[5]`.
    pub gran16k: bool,
    /// `GRAN64K[6]`.
    pub gran64k: bool,
    /// `DS[7]`.
    pub ds: bool,
    /// `D128[8]`.
    pub d128: bool,
    #[bits(1)]
    _res0_9_9: bool,
    /// `VAX[11:10]`.
    #[bits(2)]
    pub vax: u8,
    #[bits(4)]
    _res0_15_12: u8,
    /// `STALL_MAX[31:16]`.
    #[bits(16)]
    pub stall_max: u16,
}

layout!(Idr5, 32, [
    OAS [2:0] oas;
    GRAN4K [4:4] gran4k;
    GRAN16K [5:5] gran16k;
    GRAN64K [6:6] gran64k;
    DS [7:7] ds;
    D128 [8:8] d128;
    VAX [11:10] vax;
    STALL_MAX [31:16] stall_max;
]);

impl Idr5 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_IDR6.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Idr6 {
    #[bits(16)]
    _res0_15_0: u16,
    /// `CMDQ_CONTROL_PAGE_LOG2NUMQ[19:16]`.
    #[bits(4)]
    pub cmdq_control_page_log2numq: u8,
    #[bits(4)]
    _res0_23_20: u8,
    /// `CMDQ_CONTROL_PAGE_LOG2NUMP[27:24]`.
    #[bits(4)]
    pub cmdq_control_page_log2nump: u8,
    #[bits(4)]
    _res0_31_28: u8,
}

layout!(Idr6, 32, [
    CMDQ_CONTROL_PAGE_LOG2NUMQ [19:16] cmdq_control_page_log2numq;
    CMDQ_CONTROL_PAGE_LOG2NUMP [27:24] cmdq_control_page_log2nump;
]);

impl Idr6 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_IIDR.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Iidr {
    /// `Implementer[11:0]`.
    #[bits(12)]
    pub implementer: u16,
    /// `Revision[15:12]`.
    #[bits(4)]
    pub revision: u8,
    /// `Variant[19:16]`.
    #[bits(4)]
    pub variant: u8,
    /// `ProductID[31:20]`.
    #[bits(12)]
    pub productid: u16,
}

layout!(Iidr, 32, [
    Implementer [11:0] implementer;
    Revision [15:12] revision;
    Variant [19:16] variant;
    ProductID [31:20] productid;
]);

impl Iidr {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_AIDR.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Aidr {
    /// `ArchMinorRev[3:0]`.
    #[bits(4)]
    pub archminorrev: u8,
    /// `ArchMajorRev[7:4]`.
    #[bits(4)]
    pub archmajorrev: u8,
    #[bits(24)]
    _res0_31_8: u32,
}

layout!(Aidr, 32, [
    ArchMinorRev [3:0] archminorrev;
    ArchMajorRev [7:4] archmajorrev;
]);

impl Aidr {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}
