//! A guest for QEMU's virt machine: tables, and a program of a few instructions that sets up the
//! SMMU and an `edu` device and makes the device access memory through it.

use smmu::addr::Pa;
use smmu::ids::{Asid, StreamId};
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::spec::attrs::Ps;
use smmu::tables::{
    Bump, CdBuilder, FrameSource, Geometry, LinearStreamTable, PageTable, Physical, SteBuilder,
};

/// Where RAM of the virt machine starts, and how much the guest needs.
const RAM_BASE: u64 = 0x4000_0000;
pub(super) const RAM_MIB: u64 = 16;
/// Where the image is loaded and starts.
pub(super) const IMAGE_BASE: u64 = RAM_BASE + 0x10_0000;
const TABLES: u64 = IMAGE_BASE + 0x1_0000;
const TABLES_END: u64 = IMAGE_BASE + 0x4_0000;
pub(super) const EVENT_QUEUE: u64 = RAM_BASE + 0x20_0000;
const COMMAND_QUEUE: u64 = RAM_BASE + 0x21_0000;
/// The program's last store: it has come to its end.
pub(super) const DONE: u64 = RAM_BASE + 0x22_0000;
pub(super) const DONE_VALUE: u64 = 0x600d;

/// SMMU, configuration space (without high memory) and the memory window of the virt machine.
const SMMU: u64 = 0x0905_0000;
const ECAM: u64 = 0x3f00_0000;
const EDU_BAR: u64 = 0x1000_0000;
/// Where the device's buffer begins, in its own space.
const EDU_BUFFER: u64 = 0x4_0000;
/// Bus 0, device 1, function 0.
pub(super) const STREAM: u32 = 0x8;

/// Access flag, Inner Shareable, attribute 0, unprivileged read and write.
const READ_WRITE: u64 = 1 << 10 | 3 << 8 | 1 << 6;
/// AP\[2\].
const READ_ONLY: u64 = 1 << 7;

/// One access of the device: where, and which way. Addresses fit the device's 32-bit registers.
pub(super) struct Dma {
    pub(super) iova: u64,
    pub(super) write: bool,
}

const fn dma(iova: u64, write: bool) -> Dma {
    Dma { iova, write }
}

/// Pages, a block, and two faults. QEMU 7.2 has no Access flag fault.
pub(super) const DMAS: [Dma; 6] = [
    dma(0xffff_c678, false),
    dma(0xffff_d010, true),
    dma(0x8012_3450, true),
    dma(0x8012_3450, false),
    dma(0xffff_e020, true),  // read-only: F_PERMISSION
    dma(0x7000_0000, false), // not mapped: F_TRANSLATION
];

/// Output addresses of the mappings, scattered so that no two differ by the same amount.
const MAPPINGS: [(u64, u64, u32, u64); 4] = [
    (0xffff_c000, RAM_BASE + 0x40_3000, 12, READ_WRITE),
    (0xffff_d000, RAM_BASE + 0x51_7000, 12, READ_WRITE),
    (
        0xffff_e000,
        RAM_BASE + 0x43_9000,
        12,
        READ_WRITE | READ_ONLY,
    ),
    (0x8000_0000, RAM_BASE + 0x80_0000, 21, READ_WRITE),
];

/// What the program does: store 32 or 64 bits, or wait until bits of a word are clear.
enum Step {
    Store32(u64, u32),
    Store64(u64, u64),
    WaitClear(u64, u32),
}

/// Reads (address, operand) pairs behind it until address 0 and carries them out; bit 0 of an
/// address asks for a 64-bit store, bit 1 to wait.
const PROGRAM: [u32; 16] = [
    0x1000_0200, //       adr  x0, list
    0xa8c1_0801, // next: ldp  x1, x2, [x0], #16
    0xb400_0161, //       cbz  x1, end
    0x3708_00c1, //       tbnz x1, #1, wait
    0x3700_0061, //       tbnz x1, #0, wide
    0xb900_0022, //       str  w2, [x1]
    0x17ff_fffb, //       b    next
    0xf81f_f022, // wide: stur x2, [x1, #-1]
    0x17ff_fff9, //       b    next
    0xb85f_e023, // wait: ldur w3, [x1, #-2]
    0x6a02_007f, //       tst  w3, w2
    0x54ff_ffc1, //       b.ne wait
    0x17ff_fff5, //       b    next
    0xd503_207f, // end:  wfi
    0x17ff_ffff, //       b    end
    0xd503_201f, //       nop
];

/// The image, to be loaded at [`IMAGE_BASE`] and started there.
pub(super) fn image() -> Vec<u8> {
    let ram = Ram::with_regions(&[(IMAGE_BASE, TABLES_END - IMAGE_BASE)]).unwrap();
    let mut memory = Physical(ram.port());
    let mut frames = Bump::new(TABLES, TABLES_END);
    let mut table = PageTable::new(Geometry::stage1(12, 39), &mut frames).unwrap();
    for (iova, pa, span_log2, attributes) in MAPPINGS {
        let map = table.map(&mut memory, &mut frames, iova, pa, span_log2, attributes);
        map.unwrap();
    }
    let cd = frames.take(12).unwrap();
    let mut port = ram.port();
    let builder = CdBuilder::new(&table, Ps::Bits44, Asid::new(7));
    builder.write(&mut port, Pa::new(cd)).unwrap();
    let streams = LinearStreamTable::new(6, &mut frames).unwrap();
    let ste = SteBuilder::bypass().with_stage1(cd).0;
    streams.set(&mut port, StreamId::new(STREAM), &ste).unwrap();

    let mut bytes: Vec<u8> = PROGRAM.iter().flat_map(|word| word.to_le_bytes()).collect();
    for step in steps(&streams) {
        let (address, operand) = match step {
            Step::Store32(address, value) => (address, value.into()),
            Step::Store64(address, value) => (address | 1, value),
            Step::WaitClear(address, bits) => (address | 2, bits.into()),
        };
        bytes.extend(address.to_le_bytes());
        bytes.extend(operand.to_le_bytes());
    }
    bytes.extend([0; 16]);
    assert!(IMAGE_BASE + bytes.len() as u64 <= TABLES);
    for pa in (IMAGE_BASE + bytes.len() as u64..TABLES_END).step_by(8) {
        let word = port.read64(Pa::new(pa), AccessClass::Ste).unwrap();
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

fn steps(streams: &LinearStreamTable) -> Vec<Step> {
    use Step::{Store32, Store64, WaitClear};
    let function = ECAM | u64::from(STREAM) << 12;
    let mut steps = vec![
        Store64(SMMU + 0x80, streams.strtab_base()),
        Store32(SMMU + 0x88, streams.strtab_base_cfg()),
        Store64(SMMU + 0x90, COMMAND_QUEUE | 8),
        Store64(SMMU + 0xa0, EVENT_QUEUE | 7),
        Store32(SMMU + 0x2c, 0b10),   // CR2: RECINVSID
        Store32(SMMU + 0x20, 0b1101), // CR0: SMMUEN, EVENTQEN, CMDQEN
        WaitClear(SMMU + 0x60, 1 << 0),
        Store32(function + 0x10, EDU_BAR as u32),
        Store32(function + 0x04, 0b110), // memory space, bus master
    ];
    for Dma { iova, write } in DMAS {
        let (from, to, direction) = if write {
            (EDU_BUFFER, iova, 0b10)
        } else {
            (iova, EDU_BUFFER, 0)
        };
        steps.extend([
            Store64(EDU_BAR + 0x80, from),
            Store64(EDU_BAR + 0x88, to),
            Store64(EDU_BAR + 0x90, 16),
            Store64(EDU_BAR + 0x98, direction | 1),
            WaitClear(EDU_BAR + 0x98, 1),
        ]);
    }
    steps.push(Store64(DONE, DONE_VALUE));
    steps
}
