//! Registers (IHI 0070 §6.3). Native integers: they have no memory image.

use bitfield_struct::bitfield;

use super::{Layout, layout};

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

/// SMMU_CR0 and SMMU_CR0ACK.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Cr0 {
    /// `SMMUEN[0]`.
    pub smmuen: bool,
    /// `PRIQEN[1]`.
    pub priqen: bool,
    /// `EVENTQEN[2]`.
    pub eventqen: bool,
    /// `CMDQEN[3]`.
    pub cmdqen: bool,
    /// `ATSCHK[4]`.
    pub atschk: bool,
    #[bits(1)]
    _res0_5_5: bool,
    /// `VMW[8:6]`.
    #[bits(3)]
    pub vmw: u8,
    #[bits(1)]
    _res0_9_9: bool,
    /// `DPT_WALK_EN[10]`.
    pub dpt_walk_en: bool,
    #[bits(21)]
    _res0_31_11: u32,
}

layout!(Cr0, 32, [
    SMMUEN [0:0] smmuen;
    PRIQEN [1:1] priqen;
    EVENTQEN [2:2] eventqen;
    CMDQEN [3:3] cmdqen;
    ATSCHK [4:4] atschk;
    VMW [8:6] vmw;
    DPT_WALK_EN [10:10] dpt_walk_en;
]);

impl Cr0 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_CR1.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Cr1 {
    /// `QUEUE_IC[1:0]`.
    #[bits(2)]
    pub queue_ic: u8,
    /// `QUEUE_OC[3:2]`.
    #[bits(2)]
    pub queue_oc: u8,
    /// `QUEUE_SH[5:4]`.
    #[bits(2)]
    pub queue_sh: u8,
    /// `TABLE_IC[7:6]`.
    #[bits(2)]
    pub table_ic: u8,
    /// `TABLE_OC[9:8]`.
    #[bits(2)]
    pub table_oc: u8,
    /// `TABLE_SH[11:10]`.
    #[bits(2)]
    pub table_sh: u8,
    #[bits(20)]
    _res0_31_12: u32,
}

layout!(Cr1, 32, [
    QUEUE_IC [1:0] queue_ic;
    QUEUE_OC [3:2] queue_oc;
    QUEUE_SH [5:4] queue_sh;
    TABLE_IC [7:6] table_ic;
    TABLE_OC [9:8] table_oc;
    TABLE_SH [11:10] table_sh;
]);

impl Cr1 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_CR2.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Cr2 {
    /// `E2H[0]`.
    pub e2h: bool,
    /// `RECINVSID[1]`.
    pub recinvsid: bool,
    /// `PTM[2]`.
    pub ptm: bool,
    /// `REC_CFG_ATS[3]`.
    pub rec_cfg_ats: bool,
    #[bits(28)]
    _res0_31_4: u32,
}

layout!(Cr2, 32, [
    E2H [0:0] e2h;
    RECINVSID [1:1] recinvsid;
    PTM [2:2] ptm;
    REC_CFG_ATS [3:3] rec_cfg_ats;
]);

impl Cr2 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_STATUSR.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Statusr {
    /// `DORMANT[0]`.
    pub dormant: bool,
    #[bits(31)]
    _res0_31_1: u32,
}

layout!(Statusr, 32, [
    DORMANT [0:0] dormant;
]);

impl Statusr {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_GBPA.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Gbpa {
    /// `MemAttr[3:0]`.
    #[bits(4)]
    pub memattr: u8,
    /// `MTCFG[4]`.
    pub mtcfg: bool,
    #[bits(3)]
    _res0_7_5: u8,
    /// `ALLOCCFG[11:8]`.
    #[bits(4)]
    pub alloccfg: u8,
    /// `SHCFG[13:12]`.
    #[bits(2)]
    pub shcfg: u8,
    #[bits(2)]
    _res0_15_14: u8,
    /// `PRIVCFG[17:16]`.
    #[bits(2)]
    pub privcfg: u8,
    /// `INSTCFG[19:18]`.
    #[bits(2)]
    pub instcfg: u8,
    /// `ABORT[20]`.
    pub abort: bool,
    #[bits(10)]
    _res0_30_21: u16,
    /// `Update[31]`.
    pub update: bool,
}

layout!(Gbpa, 32, [
    MemAttr [3:0] memattr;
    MTCFG [4:4] mtcfg;
    ALLOCCFG [11:8] alloccfg;
    SHCFG [13:12] shcfg;
    PRIVCFG [17:16] privcfg;
    INSTCFG [19:18] instcfg;
    ABORT [20:20] abort;
    Update [31:31] update;
]);

impl Gbpa {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_IRQ_CTRL and SMMU_IRQ_CTRLACK.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct IrqCtrl {
    /// `GERROR_IRQEN[0]`.
    pub gerror_irqen: bool,
    /// `PRIQ_IRQEN[1]`.
    pub priq_irqen: bool,
    /// `EVENTQ_IRQEN[2]`.
    pub eventq_irqen: bool,
    #[bits(29)]
    _res0_31_3: u32,
}

layout!(IrqCtrl, 32, [
    GERROR_IRQEN [0:0] gerror_irqen;
    PRIQ_IRQEN [1:1] priq_irqen;
    EVENTQ_IRQEN [2:2] eventq_irqen;
]);

impl IrqCtrl {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_GERROR and SMMU_GERRORN.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct Gerror {
    /// `CMDQ_ERR[0]`.
    pub cmdq_err: bool,
    #[bits(1)]
    _res0_1_1: bool,
    /// `EVENTQ_ABT_ERR[2]`.
    pub eventq_abt_err: bool,
    /// `PRIQ_ABT_ERR[3]`.
    pub priq_abt_err: bool,
    /// `MSI_CMDQ_ABT_ERR[4]`.
    pub msi_cmdq_abt_err: bool,
    /// `MSI_EVENTQ_ABT_ERR[5]`.
    pub msi_eventq_abt_err: bool,
    /// `MSI_PRIQ_ABT_ERR[6]`.
    pub msi_priq_abt_err: bool,
    /// `MSI_GERROR_ABT_ERR[7]`.
    pub msi_gerror_abt_err: bool,
    /// `SFM_ERR[8]`.
    pub sfm_err: bool,
    /// `CMDQP_ERR[9]`.
    pub cmdqp_err: bool,
    /// `DPT_ERR[10]`.
    pub dpt_err: bool,
    #[bits(21)]
    _res0_31_11: u32,
}

layout!(Gerror, 32, [
    CMDQ_ERR [0:0] cmdq_err;
    EVENTQ_ABT_ERR [2:2] eventq_abt_err;
    PRIQ_ABT_ERR [3:3] priq_abt_err;
    MSI_CMDQ_ABT_ERR [4:4] msi_cmdq_abt_err;
    MSI_EVENTQ_ABT_ERR [5:5] msi_eventq_abt_err;
    MSI_PRIQ_ABT_ERR [6:6] msi_priq_abt_err;
    MSI_GERROR_ABT_ERR [7:7] msi_gerror_abt_err;
    SFM_ERR [8:8] sfm_err;
    CMDQP_ERR [9:9] cmdqp_err;
    DPT_ERR [10:10] dpt_err;
]);

impl Gerror {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_STRTAB_BASE.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct StrtabBase {
    #[bits(6)]
    _res0_5_0: u8,
    /// `ADDR[55:6]`.
    #[bits(50)]
    pub addr: u64,
    #[bits(6)]
    _res0_61_56: u8,
    /// `RA[62]`.
    pub ra: bool,
    #[bits(1)]
    _res0_63_63: bool,
}

layout!(StrtabBase, 64, [
    ADDR [55:6] addr;
    RA [62:62] ra;
]);

impl StrtabBase {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// SMMU_STRTAB_BASE_CFG.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct StrtabBaseCfg {
    /// `LOG2SIZE[5:0]`.
    #[bits(6)]
    pub log2size: u8,
    /// `SPLIT[10:6]`.
    #[bits(5)]
    pub split: u8,
    #[bits(5)]
    _res0_15_11: u8,
    /// `FMT[17:16]`.
    #[bits(2)]
    pub fmt: u8,
    #[bits(14)]
    _res0_31_18: u16,
}

layout!(StrtabBaseCfg, 32, [
    LOG2SIZE [5:0] log2size;
    SPLIT [10:6] split;
    FMT [17:16] fmt;
]);

impl StrtabBaseCfg {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_CMDQ_BASE.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct CmdqBase {
    /// `LOG2SIZE[4:0]`.
    #[bits(5)]
    pub log2size: u8,
    /// `ADDR[55:5]`.
    #[bits(51)]
    pub addr: u64,
    #[bits(6)]
    _res0_61_56: u8,
    /// `RA[62]`.
    pub ra: bool,
    #[bits(1)]
    _res0_63_63: bool,
}

layout!(CmdqBase, 64, [
    LOG2SIZE [4:0] log2size;
    ADDR [55:5] addr;
    RA [62:62] ra;
]);

impl CmdqBase {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// SMMU_CMDQ_PROD.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct CmdqProd {
    /// `WR[19:0]`.
    #[bits(20)]
    pub wr: u32,
    #[bits(12)]
    _res0_31_20: u16,
}

layout!(CmdqProd, 32, [
    WR [19:0] wr;
]);

impl CmdqProd {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_CMDQ_CONS.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct CmdqCons {
    /// `RD[19:0]`.
    #[bits(20)]
    pub rd: u32,
    #[bits(4)]
    _res0_23_20: u8,
    /// `ERR[30:24]`.
    #[bits(7)]
    pub err: u8,
    #[bits(1)]
    _res0_31_31: bool,
}

layout!(CmdqCons, 32, [
    RD [19:0] rd;
    ERR [30:24] err;
]);

impl CmdqCons {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_EVENTQ_BASE and SMMU_PRIQ_BASE.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct EventqBase {
    /// `LOG2SIZE[4:0]`.
    #[bits(5)]
    pub log2size: u8,
    /// `ADDR[55:5]`.
    #[bits(51)]
    pub addr: u64,
    #[bits(6)]
    _res0_61_56: u8,
    /// `WA[62]`.
    pub wa: bool,
    #[bits(1)]
    _res0_63_63: bool,
}

layout!(EventqBase, 64, [
    LOG2SIZE [4:0] log2size;
    ADDR [55:5] addr;
    WA [62:62] wa;
]);

impl EventqBase {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// SMMU_EVENTQ_PROD and SMMU_PRIQ_PROD.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct EventqProd {
    /// `WR[19:0]`.
    #[bits(20)]
    pub wr: u32,
    #[bits(11)]
    _res0_30_20: u16,
    /// `OVFLG[31]`.
    pub ovflg: bool,
}

layout!(EventqProd, 32, [
    WR [19:0] wr;
    OVFLG [31:31] ovflg;
]);

impl EventqProd {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_EVENTQ_CONS and SMMU_PRIQ_CONS.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct EventqCons {
    /// `RD[19:0]`.
    #[bits(20)]
    pub rd: u32,
    #[bits(11)]
    _res0_30_20: u16,
    /// `OVACKFLG[31]`.
    pub ovackflg: bool,
}

layout!(EventqCons, 32, [
    RD [19:0] rd;
    OVACKFLG [31:31] ovackflg;
]);

impl EventqCons {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_GERROR_IRQ_CFG0, SMMU_EVENTQ_IRQ_CFG0, SMMU_PRIQ_IRQ_CFG0.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct IrqCfg0 {
    #[bits(2)]
    _res0_1_0: u8,
    /// `ADDR[55:2]`.
    #[bits(54)]
    pub addr: u64,
    #[bits(8)]
    _res0_63_56: u8,
}

layout!(IrqCfg0, 64, [
    ADDR [55:2] addr;
]);

impl IrqCfg0 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// SMMU_GERROR_IRQ_CFG1, SMMU_EVENTQ_IRQ_CFG1, SMMU_PRIQ_IRQ_CFG1.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct IrqCfg1 {
    /// `DATA[31:0]`.
    #[bits(32)]
    pub data: u32,
}

layout!(IrqCfg1, 32, [
    DATA [31:0] data;
]);

impl IrqCfg1 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_GERROR_IRQ_CFG2, SMMU_EVENTQ_IRQ_CFG2.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct IrqCfg2 {
    /// `MemAttr[3:0]`.
    #[bits(4)]
    pub memattr: u8,
    /// `SH[5:4]`.
    #[bits(2)]
    pub sh: u8,
    #[bits(26)]
    _res0_31_6: u32,
}

layout!(IrqCfg2, 32, [
    MemAttr [3:0] memattr;
    SH [5:4] sh;
]);

impl IrqCfg2 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_PRIQ_IRQ_CFG2.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct PriqIrqCfg2 {
    /// `MemAttr[3:0]`.
    #[bits(4)]
    pub memattr: u8,
    /// `SH[5:4]`.
    #[bits(2)]
    pub sh: u8,
    #[bits(25)]
    _res0_30_6: u32,
    /// `LO[31]`.
    pub lo: bool,
}

layout!(PriqIrqCfg2, 32, [
    MemAttr [3:0] memattr;
    SH [5:4] sh;
    LO [31:31] lo;
]);

impl PriqIrqCfg2 {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_GATOS_CTRL.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct GatosCtrl {
    /// `RUN[0]`.
    pub run: bool,
    #[bits(31)]
    _res0_31_1: u32,
}

layout!(GatosCtrl, 32, [
    RUN [0:0] run;
]);

impl GatosCtrl {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// SMMU_GATOS_SID.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct GatosSid {
    /// `STREAMID[31:0]`.
    #[bits(32)]
    pub streamid: u32,
    /// `SUBSTREAMID[51:32]`.
    #[bits(20)]
    pub substreamid: u32,
    /// `SSID_VALID[52]`.
    pub ssid_valid: bool,
    #[bits(11)]
    _res0_63_53: u16,
}

layout!(GatosSid, 64, [
    STREAMID [31:0] streamid;
    SUBSTREAMID [51:32] substreamid;
    SSID_VALID [52:52] ssid_valid;
]);

impl GatosSid {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// SMMU_GATOS_ADDR.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct GatosAddr {
    #[bits(6)]
    _res0_5_0: u8,
    /// `HTTUI[6]`.
    pub httui: bool,
    /// `InD[7]`.
    pub ind: bool,
    /// `RnW[8]`.
    pub rnw: bool,
    /// `PnU[9]`.
    pub pnu: bool,
    /// `TYPE[11:10]`.
    #[bits(2)]
    pub r#type: u8,
    /// `ADDR[63:12]`.
    #[bits(52)]
    pub addr: u64,
}

layout!(GatosAddr, 64, [
    HTTUI [6:6] httui;
    InD [7:7] ind;
    RnW [8:8] rnw;
    PnU [9:9] pnu;
    TYPE [11:10] r#type;
    ADDR [63:12] addr;
]);

impl GatosAddr {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// SMMU_GATOS_PAR of a success.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct GatosPar {
    /// `FAULT[0]`.
    pub fault: bool,
    #[bits(7)]
    _res0_7_1: u8,
    /// `SH[9:8]`.
    #[bits(2)]
    pub sh: u8,
    #[bits(1)]
    _res0_10_10: bool,
    /// `Size[11]`.
    pub size: bool,
    /// `ADDR[55:12]`.
    #[bits(44)]
    pub addr: u64,
    /// `ATTR[63:56]`.
    #[bits(8)]
    pub attr: u8,
}

layout!(GatosPar, 64, [
    FAULT [0:0] fault;
    SH [9:8] sh;
    Size [11:11] size;
    ADDR [55:12] addr;
    ATTR [63:56] attr;
]);

impl GatosPar {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// SMMU_GATOS_PAR of a fault.
#[bitfield(u64, hash = true)]
#[derive(PartialEq, Eq)]
pub struct GatosParFault {
    /// `FAULT[0]`.
    pub fault: bool,
    /// `REASON[2:1]`.
    #[bits(2)]
    pub reason: u8,
    #[bits(1)]
    _res0_3_3: bool,
    /// `FAULTCODE[11:4]`.
    #[bits(8)]
    pub faultcode: u8,
    /// `FADDR[55:12]`.
    #[bits(44)]
    pub faddr: u64,
    #[bits(4)]
    _res0_59_56: u8,
    /// `IMPDEF_63_60[63:60]`.
    #[bits(4)]
    pub impdef_63_60: u8,
}

layout!(GatosParFault, 64, [
    FAULT [0:0] fault;
    REASON [2:1] reason;
    FAULTCODE [11:4] faultcode;
    FADDR [55:12] faddr;
    IMPDEF_63_60 [63:60] impdef_63_60;
]);

impl GatosParFault {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0])
    }
}

/// SMMU_VATOS_SEL.
#[bitfield(u32, hash = true)]
#[derive(PartialEq, Eq)]
pub struct VatosSel {
    /// `VMID[15:0]`.
    #[bits(16)]
    pub vmid: u16,
    #[bits(16)]
    _res0_31_16: u16,
}

layout!(VatosSel, 32, [
    VMID [15:0] vmid;
]);

impl VatosSel {
    fn from_slice(words: &[u64]) -> Self {
        Self::from_bits(words[0] as u32)
    }
}

/// Every register layout.
pub const LAYOUTS: &[&Layout] = &[
    &Idr0::LAYOUT,
    &Idr1::LAYOUT,
    &Idr2::LAYOUT,
    &Idr3::LAYOUT,
    &Idr5::LAYOUT,
    &Idr6::LAYOUT,
    &Iidr::LAYOUT,
    &Aidr::LAYOUT,
    &Cr0::LAYOUT,
    &Cr1::LAYOUT,
    &Cr2::LAYOUT,
    &Statusr::LAYOUT,
    &Gbpa::LAYOUT,
    &IrqCtrl::LAYOUT,
    &Gerror::LAYOUT,
    &StrtabBase::LAYOUT,
    &StrtabBaseCfg::LAYOUT,
    &CmdqBase::LAYOUT,
    &CmdqProd::LAYOUT,
    &CmdqCons::LAYOUT,
    &EventqBase::LAYOUT,
    &EventqProd::LAYOUT,
    &EventqCons::LAYOUT,
    &IrqCfg0::LAYOUT,
    &IrqCfg1::LAYOUT,
    &IrqCfg2::LAYOUT,
    &PriqIrqCfg2::LAYOUT,
    &GatosCtrl::LAYOUT,
    &GatosSid::LAYOUT,
    &GatosAddr::LAYOUT,
    &GatosPar::LAYOUT,
    &GatosParFault::LAYOUT,
    &VatosSel::LAYOUT,
];
