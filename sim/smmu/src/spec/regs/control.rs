//! Control and status: `SMMU_CR*`, `SMMU_STATUSR`, `SMMU_GBPA`, `SMMU_IRQ_CTRL`, `SMMU_GERROR*`
//! (IHI 0070 §6.3).

use bitfield_struct::bitfield;

use crate::spec::layout;

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
