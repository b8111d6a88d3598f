//! One row a register: where it is, who may write what of it, and which parts have it
//! (IHI 0070 §6.2, §6.3).

use super::{Guard, Slot, Width};
use crate::config::SmmuConfig;

/// Which parts have a register; others have RES0 in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// All.
    Always,
    /// Parts with message-signalled interrupts (IDR0.MSI).
    Msi,
    /// Parts with a PRI queue (IDR0.PRI).
    Pri,
    /// Parts with both.
    PriMsi,
    /// Parts with ATOS (IDR0.ATOS).
    Atos,
    /// Parts with the VATOS page (IDR0.VATOS).
    Vatos,
    /// None here: the feature is outside this model.
    Unmodelled(&'static str),
}

impl Presence {
    /// Whether `config` has the register.
    pub fn holds(self, config: &SmmuConfig) -> bool {
        match self {
            Self::Always => true,
            Self::Msi => config.msi,
            Self::Pri => config.pri,
            Self::PriMsi => config.pri && config.msi,
            Self::Atos => config.atos,
            Self::Vatos => config.vatos,
            Self::Unmodelled(_) => false,
        }
    }
}

/// One register.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) offset: u32,
    pub(super) name: &'static str,
    pub(super) width: Width,
    pub(super) guard: Guard,
    /// Bits software can write.
    pub(super) writable: u64,
    pub(super) presence: Presence,
    /// Where [`super::RegisterFile`] keeps it; `None` for what no part of this model has.
    pub(super) slot: Option<Slot>,
    pub(super) summary: &'static str,
}

macro_rules! rows {
    (
        modelled { $($offset:literal $name:ident $width:ident $slot:ident $presence:ident $guard:expr, $writable:expr, $summary:literal;)* }
        unmodelled { $($off:literal $nam:ident $wid:ident $feature:literal $summ:literal;)* }
    ) => {
        /// Every register with storage, ascending by offset; page 1 at +0x10000, the VATOS page at
        /// +0x20000, from where it is moved to where IDR2 says.
        pub(super) const TABLE: &[Row] = &[$(Row {
            offset: $offset,
            name: stringify!($name),
            width: Width::$width,
            guard: $guard,
            writable: $writable,
            presence: Presence::$presence,
            slot: Some(Slot::$slot),
            summary: $summary,
        }),*];

        /// Registers of features outside this model: RES0.
        pub(super) const UNMODELLED: &[Row] = &[$(Row {
            offset: $off,
            name: stringify!($nam),
            width: Width::$wid,
            guard: Guard::ReadOnly,
            writable: 0,
            presence: Presence::Unmodelled($feature),
            slot: None,
            summary: $summ,
        }),*];
    };
}

pub(super) const SMMUEN: u32 = 1 << 0;
pub(super) const PRIQEN: u32 = 1 << 1;
pub(super) const EVENTQEN: u32 = 1 << 2;
pub(super) const CMDQEN: u32 = 1 << 3;

pub(super) const TABLE_FIELDS: u64 = 0xfc0;
pub(super) const QUEUE_FIELDS: u64 = 0x03f;

const IRQ_ADDR: u64 = 0x00ff_ffff_ffff_fffc;
const QUEUE_BASE: u64 = 1 << 62 | 0x00ff_ffff_ffff_ffff;
const QUEUE_INDEX: u64 = 0xf_ffff;
const OVERFLOW: u64 = 1 << 31;
const ALL32: u64 = 0xffff_ffff;
const SUBSTREAM_AND_STREAM: u64 = 0x001f_ffff_ffff_ffff;

rows! {
    modelled {
        0x0000 IDR0 W32 Idr0 Always Guard::ReadOnly, 0, "features";
        0x0004 IDR1 W32 Idr1 Always Guard::ReadOnly, 0, "sizes of StreamIDs, SubstreamIDs and queues";
        0x0008 IDR2 W32 Idr2 Always Guard::ReadOnly, 0, "where the VATOS page is";
        0x000c IDR3 W32 Idr3 Always Guard::ReadOnly, 0, "features";
        0x0010 IDR4 W32 Idr4 Always Guard::ReadOnly, 0, "implementation defined: 0";
        0x0014 IDR5 W32 Idr5 Always Guard::ReadOnly, 0, "address sizes, granules, stalls";
        0x0018 IIDR W32 Iidr Always Guard::ReadOnly, 0, "implementer and product";
        0x001c AIDR W32 Aidr Always Guard::ReadOnly, 0, "architecture version";
        0x0020 CR0 W32 Cr0 Always Guard::Open, 0x1df, "enables";
        0x0024 CR0ACK W32 Cr0Ack Always Guard::ReadOnly, 0, "enables that have taken effect";
        0x0028 CR1 W32 Cr1 Always Guard::Cr1, TABLE_FIELDS | QUEUE_FIELDS, "attributes of table and queue accesses";
        0x002c CR2 W32 Cr2 Always Guard::Cr0(SMMUEN), 0xf, "EL2, recording of events, broadcast";
        0x0040 STATUSR W32 Statusr Always Guard::ReadOnly, 0, "dormancy hint";
        0x0044 GBPA W32 Gbpa Always Guard::Update, 0x801f_3f1f, "transactions while disabled";
        0x0050 IRQ_CTRL W32 IrqCtrl Always Guard::Open, 0x7, "interrupt enables";
        0x0054 IRQ_CTRLACK W32 IrqCtrlAck Always Guard::ReadOnly, 0, "interrupt enables that have taken effect";
        0x0060 GERROR W32 Gerror Always Guard::ReadOnly, 0, "global errors, toggled by the SMMU";
        0x0064 GERRORN W32 Gerrorn Always Guard::Open, 0x1fd, "global errors, acknowledged";
        0x0068 GERROR_IRQ_CFG0 W64 GerrorIrqCfg0 Msi Guard::IrqCtrl(1 << 0), IRQ_ADDR, "message address";
        0x0070 GERROR_IRQ_CFG1 W32 GerrorIrqCfg1 Msi Guard::IrqCtrl(1 << 0), ALL32, "message data";
        0x0074 GERROR_IRQ_CFG2 W32 GerrorIrqCfg2 Msi Guard::IrqCtrl(1 << 0), 0x3f, "message attributes";
        0x0080 STRTAB_BASE W64 StrtabBase Always Guard::Cr0(SMMUEN), 1 << 62 | 0x00ff_ffff_ffff_ffc0, "stream table address";
        0x0088 STRTAB_BASE_CFG W32 StrtabBaseCfg Always Guard::Cr0(SMMUEN), 0x3_07ff, "stream table format and size";
        0x0090 CMDQ_BASE W64 CmdqBase Always Guard::Cr0(CMDQEN), QUEUE_BASE, "command queue address and size";
        0x0098 CMDQ_PROD W32 CmdqProd Always Guard::Open, QUEUE_INDEX, "command queue, written to here";
        0x009c CMDQ_CONS W32 CmdqCons Always Guard::Cr0(CMDQEN), 0x7f0f_ffff, "command queue, consumed to here, and error";
        0x00a0 EVENTQ_BASE W64 EventqBase Always Guard::Cr0(EVENTQEN), QUEUE_BASE, "event queue address and size";
        0x00b0 EVENTQ_IRQ_CFG0 W64 EventqIrqCfg0 Msi Guard::IrqCtrl(1 << 2), IRQ_ADDR, "message address";
        0x00b8 EVENTQ_IRQ_CFG1 W32 EventqIrqCfg1 Msi Guard::IrqCtrl(1 << 2), ALL32, "message data";
        0x00bc EVENTQ_IRQ_CFG2 W32 EventqIrqCfg2 Msi Guard::IrqCtrl(1 << 2), 0x3f, "message attributes";
        0x00c0 PRIQ_BASE W64 PriqBase Pri Guard::Cr0(PRIQEN), QUEUE_BASE, "PRI queue address and size";
        0x00d0 PRIQ_IRQ_CFG0 W64 PriqIrqCfg0 PriMsi Guard::IrqCtrl(1 << 1), IRQ_ADDR, "message address";
        0x00d8 PRIQ_IRQ_CFG1 W32 PriqIrqCfg1 PriMsi Guard::IrqCtrl(1 << 1), ALL32, "message data";
        0x00dc PRIQ_IRQ_CFG2 W32 PriqIrqCfg2 Pri Guard::IrqCtrl(1 << 1), 0x8000_003f, "message attributes, and when to interrupt";
        0x0100 GATOS_CTRL W32 GatosCtrl Atos Guard::Run(Slot::GatosCtrl), 0x1, "starts a translation operation";
        0x0108 GATOS_SID W64 GatosSid Atos Guard::Busy(Slot::GatosCtrl), SUBSTREAM_AND_STREAM, "its stream and substream";
        0x0110 GATOS_ADDR W64 GatosAddr Atos Guard::Busy(Slot::GatosCtrl), 0xffff_ffff_ffff_ffc0, "its address and access";
        0x0118 GATOS_PAR W64 GatosPar Atos Guard::ReadOnly, 0, "its result";
        0x0180 VATOS_SEL W32 VatosSel Vatos Guard::Busy(Slot::VatosCtrl), 0xffff, "VMID that may use the VATOS page";
        0x100a8 EVENTQ_PROD W32 EventqProd Always Guard::Cr0(EVENTQEN), OVERFLOW | QUEUE_INDEX, "event queue, written to here";
        0x100ac EVENTQ_CONS W32 EventqCons Always Guard::Open, OVERFLOW | QUEUE_INDEX, "event queue, consumed to here";
        0x100c8 PRIQ_PROD W32 PriqProd Pri Guard::Cr0(PRIQEN), OVERFLOW | QUEUE_INDEX, "PRI queue, written to here";
        0x100cc PRIQ_CONS W32 PriqCons Pri Guard::Open, OVERFLOW | QUEUE_INDEX, "PRI queue, consumed to here";
        0x20a00 VATOS_CTRL W32 VatosCtrl Vatos Guard::Run(Slot::VatosCtrl), 0x1, "starts a translation operation of a VM";
        0x20a08 VATOS_SID W64 VatosSid Vatos Guard::Busy(Slot::VatosCtrl), SUBSTREAM_AND_STREAM, "its stream and substream";
        0x20a10 VATOS_ADDR W64 VatosAddr Vatos Guard::Busy(Slot::VatosCtrl), 0xffff_ffff_ffff_ffc0, "its address and access";
        0x20a18 VATOS_PAR W64 VatosPar Vatos Guard::ReadOnly, 0, "its result";
    }
    unmodelled {
        0x0030 S2PII W64 "stage-2 permission indirection (IDR3.S2PI)" "stage-2 permission interpretations";
        0x0048 AGBPA W32 "implementation defined attributes" "attributes while disabled";
        0x0130 MPAMIDR W32 "MPAM (IDR3.MPAM)" "sizes of MPAM identifiers";
        0x0138 GMPAM W32 "MPAM (IDR3.MPAM)" "identifiers of the SMMU's own accesses";
        0x013c GBPMPAM W32 "MPAM (IDR3.MPAM)" "identifiers while disabled";
        0x0190 IDR6 W32 "enhanced command queues (IDR1.ECMDQ)" "number of enhanced command queues";
        0x0200 DPT_BASE W64 "device permission tables (IDR3.DPT)" "device permission table address";
        0x0208 DPT_BASE_CFG W32 "device permission tables (IDR3.DPT)" "device permission table format";
        0x0210 DPT_CFG_FAR W64 "device permission tables (IDR3.DPT)" "device permission table fault";
    }
}
