//! Where the stream table and the queues are, and how far they have come (IHI 0070 §6.3).

use bitfield_struct::bitfield;

use crate::spec::layout;

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
