//! Fifth: caches keep what software forgets to invalidate, and the sanitizer says who used it.
//!
//! `cargo run --example e_forgotten_invalidation`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu::sanitize::{Sanitizer, SanitizerConfig};
use smmu_sim::prelude::*;

/// CMD_TLBI_NSNH_ALL: forget all translations (IHI 0070 §4.4).
const TLBI_NSNH_ALL: [u64; 2] = [0x30, 0];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = StreamId::new(5);
    let page = Iova::new(0x1000);
    let mappings = Mappings::new().map(page, Pa::new(0x5000_0000), 0x1000, Allow::ReadWrite);
    let mut machine = BareMachine::builder().stage1(device, mappings).build()?;
    let leaf = machine.leaf(device, page, Stage::Stage1).ok_or("no leaf")?;
    let mut watched = Sanitizer::new(machine.smmu.clone(), &SanitizerConfig::default())?;

    println!("mapped:      {:?}", machine.read(device, page).pa());
    machine.store(leaf, 0)?;
    println!("unmapped:    {:?}", machine.read(device, page).pa());
    let removed = machine.command(TLBI_NSNH_ALL)?;
    println!(
        "invalidated: {:?}, {removed} entries",
        machine.read(device, page).pa()
    );

    // The same driver under the sanitizer, which asks of each answer whether it may still be given.
    let before = 0x5000_0000 | 0xf43;
    machine.store(leaf, before)?;
    let write = Transaction::write(device, page.add(0x10));
    watched.translate(&mut machine.ram.port(), &write, &mut ());
    machine.store(leaf, 0)?;
    watched.translate(&mut machine.ram.port(), &write, &mut ());
    for finding in watched.take_findings() {
        println!("\n{finding}");
    }
    Ok(())
}
