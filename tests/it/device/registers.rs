//! The register file against a table typed from the reference (IHI 0070 §6.2, §6.3): which bits can
//! be written, under which guard, and what handshakes do. Every access is 32 or 64 bits anywhere.

use std::collections::BTreeMap;

use proptest::prelude::*;
use smmu::Smmu;
use smmu::config::SmmuConfig;
use smmu::regfile::Width;

use crate::support::rig::*;

/// What keeps a register from changing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    Open,
    ReadOnly,
    /// While one of these CR0 bits is set.
    Enabled(u64),
    /// While one of these IRQ_CTRL bits is set.
    Interrupts(u64),
    Cr1,
    /// Written with bit 31 set only, which reads as 0 again.
    Update,
    /// RUN of an ATOS interface.
    Run,
    /// While RUN at this offset is set.
    Running(u32),
}
use Guard::{Cr1, Enabled, Interrupts, Open, ReadOnly, Run, Running, Update};

/// Which parts have it.
type Presence = fn(&SmmuConfig) -> bool;

const ALL: Presence = |_| true;
const MSIS: Presence = |part| part.msi;
const PRI: Presence = |part| part.pri;
const BOTH: Presence = |part| part.pri && part.msi;
const ATOS: Presence = |part| part.atos;
const VATOS: Presence = |part| part.vatos;

/// Where the VATOS page is in [`REGISTERS`].
const VATOS_PAGE: u32 = 0x2_0000;
const VATOS_CTRL: u32 = VATOS_PAGE + 0xa00;
const GATOS_CTRL: u32 = 0x100;

/// 32-bit halves: offset, writable bits, guard, parts. Reference 1.2 and 1.4.
const REGISTERS: &[(u32, u32, Guard, Presence)] = &[
    (0x20, 0x1df, Open, ALL),
    (0x24, 0, ReadOnly, ALL),
    (0x28, 0xfff, Cr1, ALL),
    (0x2c, 0xf, Enabled(SMMUEN), ALL),
    (0x44, 0x001f_3f1f, Update, ALL),
    (0x50, 0x7, Open, ALL),
    (0x54, 0, ReadOnly, ALL),
    (0x60, 0, ReadOnly, ALL),
    (0x64, 0x1fd, Open, ALL),
    (0x68, 0xffff_fffc, Interrupts(1), MSIS),
    (0x6c, 0x00ff_ffff, Interrupts(1), MSIS),
    (0x70, 0xffff_ffff, Interrupts(1), MSIS),
    (0x74, 0x3f, Interrupts(1), MSIS),
    (0x80, 0xffff_ffc0, Enabled(SMMUEN), ALL),
    (0x84, 0x40ff_ffff, Enabled(SMMUEN), ALL),
    (0x88, 0x0003_07ff, Enabled(SMMUEN), ALL),
    (0x90, 0xffff_ffff, Enabled(CMDQEN), ALL),
    (0x94, 0x40ff_ffff, Enabled(CMDQEN), ALL),
    (0x98, 0x000f_ffff, Open, ALL),
    (0x9c, 0x7f0f_ffff, Enabled(CMDQEN), ALL),
    (0xa0, 0xffff_ffff, Enabled(EVENTQEN), ALL),
    (0xa4, 0x40ff_ffff, Enabled(EVENTQEN), ALL),
    (0xb0, 0xffff_fffc, Interrupts(4), MSIS),
    (0xb4, 0x00ff_ffff, Interrupts(4), MSIS),
    (0xb8, 0xffff_ffff, Interrupts(4), MSIS),
    (0xbc, 0x3f, Interrupts(4), MSIS),
    (0xc0, 0xffff_ffff, Enabled(PRIQEN), PRI),
    (0xc4, 0x40ff_ffff, Enabled(PRIQEN), PRI),
    (0xd0, 0xffff_fffc, Interrupts(2), BOTH),
    (0xd4, 0x00ff_ffff, Interrupts(2), BOTH),
    (0xd8, 0xffff_ffff, Interrupts(2), BOTH),
    (0xdc, 0x8000_003f, Interrupts(2), PRI),
    (GATOS_CTRL, 1, Run, ATOS),
    (0x108, 0xffff_ffff, Running(GATOS_CTRL), ATOS),
    (0x10c, 0x001f_ffff, Running(GATOS_CTRL), ATOS),
    (0x110, 0xffff_ffc0, Running(GATOS_CTRL), ATOS),
    (0x114, 0xffff_ffff, Running(GATOS_CTRL), ATOS),
    (0x118, 0, ReadOnly, ATOS),
    (0x11c, 0, ReadOnly, ATOS),
    (0x180, 0xffff, Running(VATOS_CTRL), VATOS),
    (EVENTQ_PROD, 0x800f_ffff, Enabled(EVENTQEN), ALL),
    (EVENTQ_CONS, 0x800f_ffff, Open, ALL),
    (PRIQ_PROD, 0x800f_ffff, Enabled(PRIQEN), PRI),
    (PRIQ_CONS, 0x800f_ffff, Open, PRI),
    (VATOS_CTRL, 1, Run, VATOS),
    (VATOS_PAGE + 0xa08, 0xffff_ffff, Running(VATOS_CTRL), VATOS),
    (VATOS_PAGE + 0xa0c, 0x001f_ffff, Running(VATOS_CTRL), VATOS),
    (VATOS_PAGE + 0xa10, 0xffff_ffc0, Running(VATOS_CTRL), VATOS),
    (VATOS_PAGE + 0xa14, 0xffff_ffff, Running(VATOS_CTRL), VATOS),
    (VATOS_PAGE + 0xa18, 0, ReadOnly, VATOS),
    (VATOS_PAGE + 0xa1c, 0, ReadOnly, VATOS),
];

/// GATOS_PAR of an operation that SMMUEN=0 ended: FAULT, INTERNAL_ERR.
const ENDED: u32 = 1 | 0xfd << 4;

/// Every 32-bit half as it should read.
struct Model {
    part: SmmuConfig,
    halves: BTreeMap<u32, (u32, u32, Guard)>,
}

impl Model {
    fn new(part: &SmmuConfig) -> Self {
        let mut halves = BTreeMap::new();
        for &(offset, writable, guard, presence) in REGISTERS {
            if presence(part) {
                let moved = if offset >= VATOS_PAGE {
                    u32::from(part.ba_vatos) << 16
                } else {
                    0
                };
                let writable = writable & !Self::absent(part, offset);
                halves.insert(offset + moved, (0, writable, guard));
            }
        }
        let mut model = Self {
            part: part.clone(),
            halves,
        };
        model.set(0x44, 0x1000);
        model
    }

    /// Fields of features a part has not.
    fn absent(part: &SmmuConfig, offset: u32) -> u32 {
        let fields: &[(bool, u32)] = &match offset {
            0x20 => [(part.pri, 1 << 1), (part.ats, 1 << 4), (part.vmw, 7 << 6)],
            0x2c => [(part.hyp, 1), (part.btm, 1 << 2), (part.atsrecerr, 1 << 3)],
            0x50 => [(part.pri, 1 << 1), (true, 0), (true, 0)],
            0x64 => {
                let both = part.msi && part.pri;
                [(part.pri, 1 << 3), (part.msi, 0xb0), (both, 1 << 6)]
            }
            _ => return 0,
        };
        let absent = fields.iter().filter(|(present, _)| !present);
        absent.fold(0, |all, (_, bits)| all | bits)
    }

    fn get(&self, offset: u32) -> u32 {
        self.halves.get(&offset).map_or(0, |half| half.0)
    }

    fn set(&mut self, offset: u32, value: u32) {
        if let Some(half) = self.halves.get_mut(&offset) {
            half.0 = value;
        }
    }

    /// Where a register of [`REGISTERS`] is on this part.
    fn moved(&self, offset: u32) -> u32 {
        let by = if offset >= VATOS_PAGE {
            self.part.ba_vatos
        } else {
            0
        };
        offset + (u32::from(by) << 16)
    }

    fn write(&mut self, offset: u32, value: u32) {
        let Some(&(before, writable, guard)) = self.halves.get(&offset) else {
            return;
        };
        let cr0 = u64::from(self.get(0x20));
        let unless = |blocked: bool, bits: u32| if blocked { 0 } else { bits };
        let bits = match guard {
            Open => writable,
            ReadOnly => 0,
            Enabled(by) => unless(cr0 & by != 0, writable),
            Interrupts(by) => unless(u64::from(self.get(0x50)) & by != 0, writable),
            Cr1 => {
                unless(cr0 & SMMUEN != 0, 0xfc0)
                    | unless(cr0 & (CMDQEN | EVENTQEN | PRIQEN) != 0, 0x3f)
            }
            Update => unless(value >> 31 == 0, writable),
            Run => unless(cr0 & SMMUEN == 0 || before == 1 || value & 1 == 0, writable),
            Running(run) => unless(self.get(self.moved(run)) == 1, writable),
        };
        self.set(offset, before & !bits | value & bits);
        // Acknowledgements follow at once.
        match offset {
            0x20 => {
                self.set(0x24, self.get(0x20));
                if cr0 & SMMUEN != 0 && self.get(0x20) & 1 == 0 {
                    self.end_operations();
                }
            }
            0x50 => self.set(0x54, self.get(0x50)),
            _ => {}
        }
    }

    fn end_operations(&mut self) {
        for run in [GATOS_CTRL, VATOS_CTRL].map(|run| self.moved(run)) {
            if self.get(run) == 1 {
                self.set(run, 0);
                self.set(run + 0x18, ENDED);
                self.set(run + 0x1c, 0);
            }
        }
    }
}

fn parts() -> impl Strategy<Value = SmmuConfig> {
    (any::<[bool; 7]>(), 0u16..4).prop_map(|([msi, pri, ats, atos, vatos, vmw, btm], page)| {
        SmmuConfig {
            msi,
            ats,
            pri: pri && ats,
            pps: pri && ats,
            atsrecerr: ats,
            atos,
            vatos: vatos && atos,
            ba_vatos: if vatos && atos { page } else { 0 },
            vmw,
            btm,
            ..SmmuConfig::full()
        }
    })
}

/// Where to write: most often at a register.
fn offsets() -> impl Strategy<Value = u32> {
    let registers: Vec<u32> = REGISTERS.iter().map(|register| register.0).collect();
    prop_oneof![
        10 => prop::sample::select(registers),
        6 => prop::sample::select(vec![0x20, 0x50, 0x100, 0x44, 0x64, VATOS_CTRL]),
        1 => 0u32..0x300,
        1 => 0x1_0000u32..0x1_0100,
        1 => 0u32..0x6_0000,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn registers_accept_what_the_table_says(
        part in parts(),
        writes in prop::collection::vec((offsets(), any::<bool>(), any::<u64>(), 0u8..4), 1..60),
    ) {
        let mut smmu = Smmu::new(part.clone()).unwrap();
        let mut model = Model::new(&part);
        let ids: Vec<u64> =
            (0..0x20).step_by(4).map(|at| smmu.mmio_read(at, Width::W32)).collect();
        for (offset, wide, value, shape) in writes {
            let offset = if offset >= VATOS_PAGE { model.moved(offset) } else { offset };
            // Few bits set, all set, or any.
            let value = match shape {
                0 => 1 << (value % 64),
                1 => u64::MAX,
                2 => value & 0xf,
                _ => value,
            };
            if wide {
                smmu.mmio_write(offset, Width::W64, value);
                if offset % 8 == 0 {
                    model.write(offset, value as u32);
                    model.write(offset + 4, (value >> 32) as u32);
                }
            } else {
                smmu.mmio_write(offset, Width::W32, value);
                if offset % 4 == 0 {
                    model.write(offset, value as u32);
                }
            }
            for (&at, &(expected, ..)) in &model.halves {
                let found = smmu.mmio_read(at, Width::W32);
                prop_assert_eq!(found, u64::from(expected), "{:#x}, after {:#x}", at, offset);
            }
            for (n, id) in (0u32..).zip(&ids) {
                prop_assert_eq!(smmu.mmio_read(4 * n, Width::W32), *id);
            }
        }
        // Anywhere: what the table does not have reads as zero, halves make wholes.
        for at in (0x20..0x300).chain(0x1_0000..0x1_0100) {
            let narrow = smmu.mmio_read(at, Width::W32);
            let expected = if at % 4 == 0 { model.get(at) } else { 0 };
            prop_assert_eq!(narrow, u64::from(expected), "{:#x}", at);
            let wide = smmu.mmio_read(at, Width::W64);
            let halves = u64::from(model.get(at)) | u64::from(model.get(at + 4)) << 32;
            prop_assert_eq!(wide, if at % 8 == 0 { halves } else { 0 }, "{:#x}", at);
        }
    }
}
