//! The registers: reset values, writable bits, guards and update handshakes (IHI 0070 §6). One row
//! each in `table`; what a write makes the device do is for the device to see to.

mod table;

pub use table::Presence;
use table::{CMDQEN, EVENTQEN, PRIQEN, QUEUE_FIELDS, Row, SMMUEN, TABLE, TABLE_FIELDS, UNMODELLED};

use crate::command::{InvalidationScope, VmidMask};
use crate::config::SmmuConfig;
use crate::spec::regs::{Cr0, Cr1, Cr2, Gbpa, Gerror, IrqCtrl, StrtabBase, StrtabBaseCfg};

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
    /// RUN of an ATOS interface, this register itself: set by software while SMMUEN=1 and RUN=0,
    /// cleared by the SMMU.
    Run(Slot),
    /// While RUN of this ATOS interface is set.
    Busy(Slot),
}

/// Storage of one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(crate) enum Slot {
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
    GatosCtrl,
    GatosSid,
    GatosAddr,
    GatosPar,
    VatosSel,
    VatosCtrl,
    VatosSid,
    VatosAddr,
    VatosPar,
}

const SLOTS: usize = Slot::VatosPar as usize + 1;

const GBPA_UPDATE: u64 = 1 << 31;
/// GBPA.SHCFG "use incoming", the neutral value of an otherwise zero register.
const GBPA_RESET: u64 = 0x1000;

/// Where the optional pages begin; [`TABLE`] has the VATOS page first among them.
const OPTIONAL_PAGES: u32 = 0x2_0000;
const PAGE: u32 = 0x1_0000;

/// A register as documentation shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterInfo {
    /// From the base of page 0. The VATOS page is shown at its first possible place.
    pub offset: u32,
    /// Name without `SMMU_`.
    pub name: &'static str,
    /// Its width.
    pub width: Width,
    /// Bits that software can write on a part with everything.
    pub writable: u64,
    /// What keeps it from being written.
    pub guard: &'static str,
    /// Which parts have it.
    pub presence: Presence,
    /// What it is for.
    pub summary: &'static str,
}

impl RegisterInfo {
    fn of(row: &Row) -> Self {
        Self {
            offset: row.offset,
            name: row.name,
            width: row.width,
            writable: row.writable,
            guard: match row.guard {
                Guard::ReadOnly => "read-only",
                Guard::Open => "",
                Guard::Cr0(SMMUEN) => "SMMUEN=1",
                Guard::Cr0(PRIQEN) => "PRIQEN=1",
                Guard::Cr0(EVENTQEN) => "EVENTQEN=1",
                Guard::Cr0(_) => "CMDQEN=1",
                Guard::IrqCtrl(0b001) => "GERROR_IRQEN=1",
                Guard::IrqCtrl(0b010) => "PRIQ_IRQEN=1",
                Guard::IrqCtrl(_) => "EVENTQ_IRQEN=1",
                Guard::Cr1 => "TABLE_*: SMMUEN=1; QUEUE_*: any queue enabled",
                Guard::Update => "Update=0 in the value written",
                Guard::Run(_) => "SMMUEN=0, or RUN=1",
                Guard::Busy(_) => "RUN=1",
            },
            presence: row.presence,
            summary: row.summary,
        }
    }
}

/// Every register of the Non-secure interface, ascending by offset.
pub fn registers() -> Vec<RegisterInfo> {
    let mut all: Vec<_> = TABLE
        .iter()
        .chain(UNMODELLED)
        .map(RegisterInfo::of)
        .collect();
    all.sort_by_key(|register| register.offset);
    all
}

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

/// What a write did that the device has to act upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nothing of the kind.
    Stored,
    /// CR0, and so CR0ACK, which was this before.
    Cr0(Cr0),
}

/// Values of all registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterFile {
    values: [u64; SLOTS],
    /// Bit n: the part has the register in slot n.
    present: u64,
    /// Writable bits that exist on this part, where features decide.
    cr0_writable: u32,
    cr2_writable: u32,
    irq_writable: u32,
    gerror_writable: u32,
    /// IDR2.BA_VATOS.
    vatos_page: u32,
}

/// Union of the bits whose feature the part has.
fn bits(fields: &[(bool, u32)]) -> u32 {
    let present = fields.iter().filter(|(present, _)| *present);
    present.fold(0, |all, (_, bits)| all | bits)
}

impl RegisterFile {
    /// Registers of a part after reset. Values the architecture leaves UNKNOWN are zero.
    pub fn new(config: &SmmuConfig) -> Self {
        let ids = config.id_registers();
        let rows = TABLE.iter().filter(|row| row.presence.holds(config));
        let mut file = Self {
            values: [0; SLOTS],
            present: rows
                .filter_map(|row| row.slot)
                .fold(0, |present, slot| present | 1 << slot as usize),
            cr0_writable: bits(&[
                (true, SMMUEN | EVENTQEN | CMDQEN),
                (config.pri, PRIQEN),
                (config.ats, 1 << 4),
                (config.vmw, 7 << 6),
            ]),
            cr2_writable: bits(&[
                (true, 1 << 1),
                (config.hyp, 1 << 0),
                (config.btm, 1 << 2),
                (config.atsrecerr, 1 << 3),
            ]),
            irq_writable: bits(&[(true, 0b101), (config.pri, 0b010)]),
            gerror_writable: bits(&[
                (true, 1 << 8 | 1 << 2 | 1 << 0),
                (config.pri, 1 << 3),
                (config.msi, 1 << 7 | 1 << 5 | 1 << 4),
                (config.msi && config.pri, 1 << 6),
            ]),
            vatos_page: OPTIONAL_PAGES + u32::from(config.ba_vatos) * PAGE,
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

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> u64 {
        self.values[slot as usize]
    }

    #[inline]
    pub(crate) fn get32(&self, slot: Slot) -> u32 {
        self.get(slot) as u32
    }

    /// Writes as the SMMU itself does, guards aside.
    pub(crate) fn set(&mut self, slot: Slot, value: u64) {
        self.values[slot as usize] = value;
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

    /// IRQ_CTRL as it has taken effect.
    pub fn irq_ctrl(&self) -> IrqCtrl {
        IrqCtrl::from(self.get32(Slot::IrqCtrlAck))
    }

    /// The errors that are active: bits in which GERROR and GERRORN differ.
    pub fn active_errors(&self) -> Gerror {
        Gerror::from(self.get32(Slot::Gerror) ^ self.get32(Slot::Gerrorn))
    }

    /// Activates the error at `bit`; false if it was active already.
    pub(crate) fn activate_error(&mut self, bit: u32) -> bool {
        let inactive = u32::from(self.active_errors()) >> bit & 1 == 0;
        if inactive {
            self.values[Slot::Gerror as usize] ^= 1 << bit;
        }
        inactive
    }

    /// Everything a translation depends on.
    pub(crate) fn translation_state(&self) -> [u64; 5] {
        [
            self.get(Slot::Cr0Ack),
            self.get(Slot::Cr2),
            self.get(Slot::Gbpa),
            self.get(Slot::StrtabBase),
            self.get(Slot::StrtabBaseCfg),
        ]
    }

    /// What CR0 and CR2 say about the reach of TLB invalidation.
    pub fn invalidation_scope(&self) -> InvalidationScope {
        InvalidationScope {
            vmid_mask: VmidMask::from_vmw(self.cr0().vmw()),
            e2h: self.cr2().e2h(),
        }
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

    /// The row of a register this part has; the VATOS page is where IDR2 says.
    fn row(&self, offset: u32) -> Option<(&'static Row, Slot, u32)> {
        let offset = if offset < OPTIONAL_PAGES {
            offset
        } else {
            let inside = offset.checked_sub(self.vatos_page)?;
            (inside < PAGE).then_some(OPTIONAL_PAGES + inside)?
        };
        let row = row_at(offset)?;
        let slot = row.slot?;
        let present = self.present >> slot as usize & 1 != 0;
        present.then_some((row, slot, offset - row.offset))
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
        self.row(offset).map_or(0, |(_, slot, byte)| {
            self.get(slot) >> (8 * byte) & 0xffff_ffff
        })
    }

    /// Writes `width` at `offset`. Unaligned accesses, undefined offsets and read-only registers
    /// ignore it; so do guarded registers while their guard is set, before SMMUv3.2 too
    /// (deviations.md D7).
    pub(crate) fn write(&mut self, offset: u32, width: Width, value: u64) -> Written {
        match width {
            Width::W64 if offset.is_multiple_of(8) => {
                let whole = self.row(offset).filter(|(row, ..)| row.width == Width::W64);
                if let Some((row, slot, _)) = whole {
                    return self.write_bits(row, slot, u64::MAX, value);
                }
                // At most one of two neighbours is CR0.
                let first = self.write_half(offset, value);
                let second = self.write_half(offset + 4, value >> 32);
                if first == Written::Stored {
                    second
                } else {
                    first
                }
            }
            Width::W32 if offset.is_multiple_of(4) => self.write_half(offset, value),
            _ => Written::Stored,
        }
    }

    fn write_half(&mut self, offset: u32, value: u64) -> Written {
        match self.row(offset) {
            Some((row, slot, byte)) => {
                let shift = 8 * byte;
                let (mask, value) = (0xffff_ffff << shift, (value & 0xffff_ffff) << shift);
                self.write_bits(row, slot, mask, value)
            }
            None => Written::Stored,
        }
    }

    /// Bits of a register that may be written now.
    fn writable(&self, row: &Row, slot: Slot, value: u64) -> u64 {
        let enabled = self.get32(Slot::Cr0) | self.get32(Slot::Cr0Ack);
        let running = |run: Slot| self.get(run) & 1 != 0;
        let free = |blocked: bool, bits: u64| if blocked { 0 } else { bits };
        let unguarded = match row.guard {
            Guard::ReadOnly => 0,
            Guard::Open => row.writable,
            Guard::Cr0(bits) => free(enabled & bits != 0, row.writable),
            Guard::IrqCtrl(bits) => free(self.get32(Slot::IrqCtrl) & bits != 0, row.writable),
            Guard::Cr1 => {
                let queues = PRIQEN | EVENTQEN | CMDQEN;
                free(enabled & SMMUEN != 0, TABLE_FIELDS)
                    | free(enabled & queues != 0, QUEUE_FIELDS)
            }
            // The update takes effect at once, so that Update reads as 0 again.
            Guard::Update => free(value & GBPA_UPDATE == 0, row.writable & !GBPA_UPDATE),
            Guard::Run(run) => free(
                running(run) || !self.cr0().smmuen() || value & 1 == 0,
                row.writable,
            ),
            Guard::Busy(run) => free(running(run), row.writable),
        };
        unguarded
            & match slot {
                Slot::Cr0 => self.cr0_writable.into(),
                Slot::Cr2 => self.cr2_writable.into(),
                Slot::IrqCtrl => self.irq_writable.into(),
                Slot::Gerrorn => self.gerror_writable.into(),
                _ => u64::MAX,
            }
    }

    /// Writes the bits of `value` that `mask` selects, as far as the register lets them.
    fn write_bits(&mut self, row: &Row, slot: Slot, mask: u64, value: u64) -> Written {
        let before = self.cr0();
        let writable = mask & self.writable(row, slot, value);
        let stored = &mut self.values[slot as usize];
        *stored = *stored & !writable | value & writable;
        // Enables take effect within the write.
        match slot {
            Slot::Cr0 => {
                self.values[Slot::Cr0Ack as usize] = self.get(Slot::Cr0);
                Written::Cr0(before)
            }
            Slot::IrqCtrl => {
                self.values[Slot::IrqCtrlAck as usize] = self.get(Slot::IrqCtrl);
                Written::Stored
            }
            _ => Written::Stored,
        }
    }
}
