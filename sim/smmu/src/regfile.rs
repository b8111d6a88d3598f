//! The registers a translation depends on: one row each in `TABLE`, with reset values, writable
//! bits, guards and update handshakes (IHI 0070 §6).
//!
//! Queue and interrupt registers read back what is written; nothing consumes the queues yet.

use crate::config::{SmmuConfig, Version};
use crate::spec::regs::{Cr0, Cr1, Cr2, Gbpa, StrtabBase, StrtabBaseCfg};

/// Width of a register or of an access to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// 32 bits.
    W32,
    /// 64 bits.
    W64,
}

/// What keeps a register from being written (IHI 0070 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Guard {
    /// Never writable.
    ReadOnly,
    /// Always writable.
    Open,
    /// While any of these CR0 bits, or their acknowledgement, is set.
    Cr0(u32),
    /// While any of these IRQ_CTRL bits is set.
    IrqCtrl(u32),
    /// CR1: TABLE_* fields under SMMUEN, QUEUE_* fields under the queue enables.
    Cr1,
    /// GBPA: accepts a write with Update=1 only.
    Update,
}

/// One register.
#[derive(Debug)]
struct Row {
    offset: u32,
    name: &'static str,
    width: Width,
    guard: Guard,
    /// Bits software can write.
    writable: u64,
    /// Which field of [`RegisterFile`] holds it.
    slot: Slot,
}

/// Storage of one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Slot {
    Idr0,
    Idr1,
    Idr2,
    Idr3,
    Idr4,
    Idr5,
    Iidr,
    Aidr,
    Cr0,
    Cr0Ack,
    Cr1,
    Cr2,
    Statusr,
    Gbpa,
    IrqCtrl,
    IrqCtrlAck,
    Gerror,
    Gerrorn,
    GerrorIrqCfg0,
    GerrorIrqCfg1,
    GerrorIrqCfg2,
    StrtabBase,
    StrtabBaseCfg,
    CmdqBase,
    CmdqProd,
    CmdqCons,
    EventqBase,
    EventqProd,
    EventqCons,
    EventqIrqCfg0,
    EventqIrqCfg1,
    EventqIrqCfg2,
    PriqBase,
    PriqProd,
    PriqCons,
    PriqIrqCfg0,
    PriqIrqCfg1,
    PriqIrqCfg2,
}

const SLOTS: usize = Slot::PriqIrqCfg2 as usize + 1;

const SMMUEN: u32 = 1 << 0;
const PRIQEN: u32 = 1 << 1;
const EVENTQEN: u32 = 1 << 2;
const CMDQEN: u32 = 1 << 3;
const GBPA_UPDATE: u64 = 1 << 31;
/// GBPA.SHCFG "use incoming", the neutral value of an otherwise zero register.
const GBPA_RESET: u64 = 0x1000;

const TABLE_FIELDS: u64 = 0xfc0;
const QUEUE_FIELDS: u64 = 0x03f;

macro_rules! rows {
    ($($offset:literal $name:ident $width:ident $slot:ident $guard:expr, $writable:expr;)*) => {
        &[$(Row {
            offset: $offset,
            name: stringify!($name),
            width: Width::$width,
            guard: $guard,
            writable: $writable,
            slot: Slot::$slot,
        }),*]
    };
}

const IRQ_ADDR: u64 = 0x00ff_ffff_ffff_fffc;
const QUEUE_BASE: u64 = 1 << 62 | 0x00ff_ffff_ffff_ffff;
const QUEUE_INDEX: u64 = 0xf_ffff;
const OVERFLOW: u64 = 1 << 31;

/// Every register, ascending by offset; page 1 at +0x10000.
const TABLE: &[Row] = rows! {
    0x0000 IDR0 W32 Idr0 Guard::ReadOnly, 0;
    0x0004 IDR1 W32 Idr1 Guard::ReadOnly, 0;
    0x0008 IDR2 W32 Idr2 Guard::ReadOnly, 0;
    0x000c IDR3 W32 Idr3 Guard::ReadOnly, 0;
    0x0010 IDR4 W32 Idr4 Guard::ReadOnly, 0;
    0x0014 IDR5 W32 Idr5 Guard::ReadOnly, 0;
    0x0018 IIDR W32 Iidr Guard::ReadOnly, 0;
    0x001c AIDR W32 Aidr Guard::ReadOnly, 0;
    0x0020 CR0 W32 Cr0 Guard::Open, 0x1df;
    0x0024 CR0ACK W32 Cr0Ack Guard::ReadOnly, 0;
    0x0028 CR1 W32 Cr1 Guard::Cr1, TABLE_FIELDS | QUEUE_FIELDS;
    0x002c CR2 W32 Cr2 Guard::Cr0(SMMUEN), 0xf;
    0x0040 STATUSR W32 Statusr Guard::ReadOnly, 0;
    0x0044 GBPA W32 Gbpa Guard::Update, 0x801f_3f1f;
    0x0050 IRQ_CTRL W32 IrqCtrl Guard::Open, 0x7;
    0x0054 IRQ_CTRLACK W32 IrqCtrlAck Guard::ReadOnly, 0;
    0x0060 GERROR W32 Gerror Guard::ReadOnly, 0;
    0x0064 GERRORN W32 Gerrorn Guard::Open, 0x1fd;
    0x0068 GERROR_IRQ_CFG0 W64 GerrorIrqCfg0 Guard::IrqCtrl(1 << 0), IRQ_ADDR;
    0x0070 GERROR_IRQ_CFG1 W32 GerrorIrqCfg1 Guard::IrqCtrl(1 << 0), 0xffff_ffff;
    0x0074 GERROR_IRQ_CFG2 W32 GerrorIrqCfg2 Guard::IrqCtrl(1 << 0), 0x3f;
    0x0080 STRTAB_BASE W64 StrtabBase Guard::Cr0(SMMUEN), 1 << 62 | 0x00ff_ffff_ffff_ffc0;
    0x0088 STRTAB_BASE_CFG W32 StrtabBaseCfg Guard::Cr0(SMMUEN), 0x3_07ff;
    0x0090 CMDQ_BASE W64 CmdqBase Guard::Cr0(CMDQEN), QUEUE_BASE;
    0x0098 CMDQ_PROD W32 CmdqProd Guard::Open, QUEUE_INDEX;
    0x009c CMDQ_CONS W32 CmdqCons Guard::Cr0(CMDQEN), 0x7f0f_ffff;
    0x00a0 EVENTQ_BASE W64 EventqBase Guard::Cr0(EVENTQEN), QUEUE_BASE;
    0x00b0 EVENTQ_IRQ_CFG0 W64 EventqIrqCfg0 Guard::IrqCtrl(1 << 2), IRQ_ADDR;
    0x00b8 EVENTQ_IRQ_CFG1 W32 EventqIrqCfg1 Guard::IrqCtrl(1 << 2), 0xffff_ffff;
    0x00bc EVENTQ_IRQ_CFG2 W32 EventqIrqCfg2 Guard::IrqCtrl(1 << 2), 0x3f;
    0x00c0 PRIQ_BASE W64 PriqBase Guard::Cr0(PRIQEN), QUEUE_BASE;
    0x00d0 PRIQ_IRQ_CFG0 W64 PriqIrqCfg0 Guard::IrqCtrl(1 << 1), IRQ_ADDR;
    0x00d8 PRIQ_IRQ_CFG1 W32 PriqIrqCfg1 Guard::IrqCtrl(1 << 1), 0xffff_ffff;
    0x00dc PRIQ_IRQ_CFG2 W32 PriqIrqCfg2 Guard::IrqCtrl(1 << 1), 0x8000_003f;
    0x100a8 EVENTQ_PROD W32 EventqProd Guard::Cr0(EVENTQEN), OVERFLOW | QUEUE_INDEX;
    0x100ac EVENTQ_CONS W32 EventqCons Guard::Open, OVERFLOW | QUEUE_INDEX;
    0x100c8 PRIQ_PROD W32 PriqProd Guard::Cr0(PRIQEN), OVERFLOW | QUEUE_INDEX;
    0x100cc PRIQ_CONS W32 PriqCons Guard::Open, OVERFLOW | QUEUE_INDEX;
};

/// Name of the register at `offset`, if there is one.
pub fn register_name(offset: u32) -> Option<&'static str> {
    row_at(offset).map(|row| row.name)
}

/// Offset of the register called `name`, without the `SMMU_` prefix; case does not matter.
pub fn register_offset(name: &str) -> Option<u32> {
    TABLE
        .iter()
        .find(|row| row.name.eq_ignore_ascii_case(name))
        .map(|row| row.offset)
}

/// Width of the register at `offset`.
pub fn register_width(offset: u32) -> Option<Width> {
    row_at(offset).map(|row| row.width)
}

/// Names of all registers, ascending by offset.
pub fn register_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.name)
}

/// The row whose register covers `offset`.
fn row_at(offset: u32) -> Option<&'static Row> {
    let above = TABLE.partition_point(|row| row.offset <= offset);
    let row = &TABLE[above.checked_sub(1)?];
    let bytes = match row.width {
        Width::W32 => 4,
        Width::W64 => 8,
    };
    (offset - row.offset < bytes).then_some(row)
}

/// Values of all registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterFile {
    values: [u64; SLOTS],
    /// Writable bits that exist on this part, where features decide.
    cr0_writable: u32,
    cr2_writable: u32,
    /// Writes to guarded registers are ignored from SMMUv3.2 on; before, they are CONSTRAINED
    /// UNPREDICTABLE and ignored here too (deviations.md D7).
    version: Version,
}

impl RegisterFile {
    /// Registers of a part after reset. Values the architecture leaves UNKNOWN are zero.
    pub fn new(config: &SmmuConfig) -> Self {
        let ids = config.id_registers();
        let cr0 = [
            (true, SMMUEN | EVENTQEN | CMDQEN),
            (config.pri, PRIQEN),
            (config.ats, 1 << 4),
            (config.vmw, 7 << 6),
        ];
        let cr2 = [
            (true, 1 << 1),
            (config.hyp, 1 << 0),
            (config.btm, 1 << 2),
            (config.atsrecerr, 1 << 3),
        ];
        let bits = |fields: &[(bool, u32)]| {
            fields
                .iter()
                .filter(|(present, _)| *present)
                .fold(0, |all, (_, bits)| all | bits)
        };
        let mut file = Self {
            values: [0; SLOTS],
            cr0_writable: bits(&cr0),
            cr2_writable: bits(&cr2),
            version: config.version,
        };
        for (slot, value) in [
            (Slot::Idr0, ids.idr0),
            (Slot::Idr1, ids.idr1),
            (Slot::Idr2, ids.idr2),
            (Slot::Idr3, ids.idr3),
            (Slot::Idr5, ids.idr5),
            (Slot::Aidr, ids.aidr),
        ] {
            file.values[slot as usize] = value.into();
        }
        file.values[Slot::Gbpa as usize] = GBPA_RESET;
        file
    }

    fn get(&self, slot: Slot) -> u64 {
        self.values[slot as usize]
    }

    fn get32(&self, slot: Slot) -> u32 {
        self.get(slot) as u32
    }

    /// CR0 as it has taken effect: CR0ACK.
    #[inline]
    pub fn cr0(&self) -> Cr0 {
        Cr0::from(self.get32(Slot::Cr0Ack))
    }

    /// CR1.
    #[inline]
    pub fn cr1(&self) -> Cr1 {
        Cr1::from(self.get32(Slot::Cr1))
    }

    /// CR2.
    #[inline]
    pub fn cr2(&self) -> Cr2 {
        Cr2::from(self.get32(Slot::Cr2))
    }

    /// GBPA.
    #[inline]
    pub fn gbpa(&self) -> Gbpa {
        Gbpa::from(self.get32(Slot::Gbpa))
    }

    /// STRTAB_BASE.
    #[inline]
    pub fn strtab_base(&self) -> StrtabBase {
        StrtabBase::from(self.get(Slot::StrtabBase))
    }

    /// STRTAB_BASE_CFG.
    #[inline]
    pub fn strtab_base_cfg(&self) -> StrtabBaseCfg {
        StrtabBaseCfg::from(self.get32(Slot::StrtabBaseCfg))
    }

    /// Reads `width` at `offset`. Unaligned accesses and undefined offsets read as zero; a 64-bit
    /// access to two 32-bit registers reads both.
    pub fn read(&self, offset: u32, width: Width) -> u64 {
        match width {
            Width::W64 if offset.is_multiple_of(8) => {
                self.read_half(offset) | self.read_half(offset + 4) << 32
            }
            Width::W32 if offset.is_multiple_of(4) => self.read_half(offset),
            _ => 0,
        }
    }

    fn read_half(&self, offset: u32) -> u64 {
        row_at(offset).map_or(0, |row| {
            self.get(row.slot) >> (8 * (offset - row.offset)) & 0xffff_ffff
        })
    }

    /// Writes `width` at `offset`. Unaligned accesses, undefined offsets and read-only registers
    /// ignore it; so do guarded registers while their guard is set.
    pub fn write(&mut self, offset: u32, width: Width, value: u64) {
        match width {
            Width::W64 if offset.is_multiple_of(8) => {
                let row = row_at(offset).filter(|row| row.width == Width::W64);
                if let Some(row) = row {
                    self.write_bits(row, u64::MAX, value);
                } else {
                    self.write_half(offset, value);
                    self.write_half(offset + 4, value >> 32);
                }
            }
            Width::W32 if offset.is_multiple_of(4) => self.write_half(offset, value),
            _ => {}
        }
    }

    fn write_half(&mut self, offset: u32, value: u64) {
        if let Some(row) = row_at(offset) {
            let shift = 8 * (offset - row.offset);
            self.write_bits(row, 0xffff_ffff << shift, (value & 0xffff_ffff) << shift);
        }
    }

    /// Writes the bits of `value` that `mask` selects, as far as the register lets them.
    fn write_bits(&mut self, row: &Row, mask: u64, value: u64) {
        let enabled = self.get32(Slot::Cr0) | self.get32(Slot::Cr0Ack);
        let writable = match row.guard {
            Guard::ReadOnly => 0,
            Guard::Open => row.writable,
            Guard::Cr0(bits) if enabled & bits != 0 => 0,
            Guard::IrqCtrl(bits) if self.get32(Slot::IrqCtrl) & bits != 0 => 0,
            Guard::Cr0(_) | Guard::IrqCtrl(_) => row.writable,
            Guard::Cr1 => {
                let queues = PRIQEN | EVENTQEN | CMDQEN;
                let tables = if enabled & SMMUEN == 0 {
                    TABLE_FIELDS
                } else {
                    0
                };
                let queues = if enabled & queues == 0 {
                    QUEUE_FIELDS
                } else {
                    0
                };
                tables | queues
            }
            Guard::Update if value & GBPA_UPDATE == 0 => 0,
            // The update takes effect at once, so that Update reads as 0 again.
            Guard::Update => row.writable & !GBPA_UPDATE,
        };
        let writable = mask
            & match row.slot {
                Slot::Cr2 => writable & u64::from(self.cr2_writable),
                _ => writable,
            };
        let slot = &mut self.values[row.slot as usize];
        *slot = *slot & !writable | value & writable;
        // Enables take effect within the write; reserved bits are not acknowledged.
        match row.slot {
            Slot::Cr0 => {
                self.values[Slot::Cr0Ack as usize] =
                    self.get(Slot::Cr0) & u64::from(self.cr0_writable);
            }
            Slot::IrqCtrl => {
                self.values[Slot::IrqCtrlAck as usize] = self.get(Slot::IrqCtrl);
            }
            _ => {}
        }
    }
}
