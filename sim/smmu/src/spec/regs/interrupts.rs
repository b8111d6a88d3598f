//! Message-signalled interrupts: `SMMU_*_IRQ_CFG*` (IHI 0070 §6.3).

use bitfield_struct::bitfield;

use crate::spec::layout;

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
