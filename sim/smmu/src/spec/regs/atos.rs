//! Address translation operations: `SMMU_GATOS_*`, `SMMU_VATOS_SEL` (IHI 0070 §6.3, §9).

use bitfield_struct::bitfield;

use crate::spec::layout;

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
