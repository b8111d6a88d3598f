//! Commands, 16 bytes each (IHI 0070 §4). One layout for commands with the same fields.

mod configuration;
mod devices;
mod tlb;

pub use configuration::*;
pub use devices::*;
pub use tlb::*;

use super::{Layout, open_enum};

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
