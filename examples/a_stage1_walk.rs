//! First: build a page table, a CD and an STE in simulated memory, and translate.
//!
//! `cargo run --example a_stage1_walk`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu::addr::{Iova, Pa};
use smmu::config::SmmuConfig;
use smmu::ids::{Asid, StreamId};
use smmu::mem::Ram;
use smmu::observe::{Access, Observer};
use smmu::regfile::{Width, register_offset};
use smmu::spec::attrs::Ps;
use smmu::spec::event::Event;
use smmu::tables::{
    Bump, CdBuilder, FrameSource, Geometry, LinearStreamTable, PageTable, Physical, SteBuilder,
};
use smmu::{Smmu, Transaction};

/// Access flag, Inner Shareable, unprivileged read and write.
const READ_WRITE: u64 = 1 << 10 | 3 << 8 | 1 << 6;

struct Print;

impl Observer for Print {
    fn access(&mut self, access: &Access<'_>) {
        println!("  {:?} at {:#x}", access.structure, access.pa.get());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ram = Ram::with_regions(&[(0x4000_0000, 0x1000_0000)])?;
    let mut frames = Bump::new(0x4010_0000, 0x4080_0000);
    let mut table = PageTable::new(Geometry::stage1(12, 39), &mut frames)?;
    table.map(
        &mut Physical(ram.port()),
        &mut frames,
        0x1000,
        0x4900_0000,
        12,
        READ_WRITE,
    )?;
    let cd = frames.take(12).ok_or("no frame")?;
    CdBuilder::new(&table, Ps::Bits44, Asid::new(1)).write(&mut ram.port(), Pa::new(cd))?;
    let streams = LinearStreamTable::new(6, &mut frames)?;
    let device = StreamId::new(3);
    streams.set(
        &mut ram.port(),
        device,
        &SteBuilder::bypass().with_stage1(cd).0,
    )?;

    let mut smmu = Smmu::new(SmmuConfig::full())?;
    for (name, width, value) in [
        ("STRTAB_BASE", Width::W64, streams.strtab_base()),
        (
            "STRTAB_BASE_CFG",
            Width::W32,
            streams.strtab_base_cfg().into(),
        ),
        ("CR0", Width::W32, 1),
    ] {
        smmu.mmio_write(register_offset(name).ok_or(name)?, width, value);
    }
    for address in [0x1234, 0x2000] {
        let transaction = Transaction::read(device, Iova::new(address));
        println!("read of {address:#x}:");
        let outcome = smmu.translate_cold(&mut ram.port(), &transaction, &mut Print);
        println!(
            "  -> {:x?} {:x?}",
            outcome.pa(),
            outcome.event().map(Event::words)
        );
    }
    Ok(())
}
