//! Second: fail each memory access of a nested walk in turn, and see the event each failure leaves.
//!
//! `cargo run --example b_broken_hardware`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu::mem::{AbortInjector, AbortRule};
use smmu::observe::AccessCounts;
use smmu_sim::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = StreamId::new(8);
    let (iova, ipa, pa) = (
        Iova::new(0xffff_c000),
        Ipa::new(0x8031_2000),
        Pa::new(0x6031_2000),
    );
    let guest = Mappings::new().map(iova, ipa, 0x1000, Allow::ReadWrite);
    let host = Mappings::new().map(ipa, pa, 0x1000, Allow::ReadWrite);
    let machine = BareMachine::builder().nested(device, guest, host).build()?;

    let transaction = Transaction::read(device, iova.add(0x678));
    let mut counts = AccessCounts::default();
    let mut memory = machine.ram.port();
    let outcome = machine
        .smmu
        .translate_cold(&mut memory, &transaction, &mut counts);
    println!("{:?} after {counts:?}\n", outcome.pa());

    let accesses = counts.configuration + counts.configuration_stage2 + counts.walk();
    for n in 0..accesses {
        let mut broken = AbortInjector::new(&mut memory, [AbortRule::nth(n)]);
        let outcome = machine
            .smmu
            .translate_cold(&mut broken, &transaction, &mut ());
        let event = outcome.event().ok_or("an abort is always recorded")?;
        println!("access {n:2} aborts: {:?}", event.dw0.r#type());
    }
    Ok(())
}
