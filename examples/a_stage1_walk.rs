//! First: a device behind one page table, and every access to memory that a translation makes.
//!
//! `cargo run --example a_stage1_walk`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu::observe::Access;
use smmu_sim::prelude::*;

/// Sees every access as it is made.
struct Print;

impl Observer for Print {
    fn access(&mut self, access: &Access<'_>) {
        println!("  {:?} at {}", access.structure, access.pa);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What the device may reach: two pages at 0x1000, and a block of 2 MiB at 1 GiB.
    let mappings = Mappings::new()
        .map(
            Iova::new(0x1000),
            Pa::new(0x5000_0000),
            0x2000,
            Allow::ReadWrite,
        )
        .map(
            Iova::new(0x4000_0000),
            Pa::new(0x8000_0000),
            2 << 20,
            Allow::Read,
        )
        .by(Leaves::Largest);
    let device = StreamId::new(3);
    let mut machine = BareMachine::builder().stage1(device, mappings).build()?;

    for address in [0x1234, 0x4012_3456, 0x9000] {
        println!("read of {address:#x}:");
        let outcome = machine.observe(&Transaction::read(device, Iova::new(address)), &mut Print);
        match outcome.pa() {
            Some(pa) => println!("  -> {pa}"),
            None => println!("  -> {:?}", outcome.fault().map(|fault| fault.cause)),
        }
    }
    println!("read of 0x1234 again, by what the caches keep:");
    let again = Transaction::read(device, Iova::new(0x1234));
    println!("  -> {:?}", machine.observe(&again, &mut Print).pa());
    Ok(())
}
