//! Third: a nested walk explained, with huge pages in stage 2 and without.
//!
//! `cargo run --example c_nested_walk`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu_sim::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = StreamId::new(8);
    let buffer = Iova::new(0xffff_c000);
    for leaves in [Leaves::Pages, Leaves::Largest] {
        // The guest maps one page for its device; the hypervisor maps the guest's 8 MiB.
        let guest = Mappings::new().map(buffer, Ipa::new(0x8031_2000), 0x1000, Allow::ReadWrite);
        let memory = (Ipa::new(0x8000_0000), Pa::new(0x6000_0000), 8 << 20);
        let host = Mappings::new()
            .map(memory.0, memory.1, memory.2, Allow::ReadWrite)
            .by(leaves);
        let machine = BareMachine::builder()
            .guest_tables(Ipa::new(0x8010_0000))
            .nested(device, guest, host)
            .build()?;

        let transaction = Transaction::read(device, buffer.add(0x678));
        let explained = explain(&machine.smmu, &mut machine.ram.port(), &transaction);
        println!("Stage 2 by {leaves:?}:\n{}", explained.to_text());
    }
    Ok(())
}
