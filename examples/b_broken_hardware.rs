//! Second: fail each memory access of a nested walk in turn, and see the event each failure leaves.
//!
//! `cargo run --example b_broken_hardware`

#![allow(clippy::print_stdout, reason = "an example talks")]

use smmu::mem::{AbortInjector, AbortRule};
use smmu::observe::AccessCounts;
use smmu::spec::event::EventId;
use smmu_sim::scenario::default_scenario;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut scenario = default_scenario()?;
    let (smmu, memory) = (&scenario.machine.smmus[0], &mut scenario.machine.memory);
    let (title, transaction) = &scenario.steps[0];
    let mut counts = AccessCounts::default();
    let outcome = smmu.translate_cold(memory, transaction, &mut counts);
    println!("{title}\n{:x?} after {counts:?}\n", outcome.pa());
    let accesses = counts.configuration + counts.configuration_stage2 + counts.walk();
    for n in 0..accesses {
        let mut injector = AbortInjector::new(&mut *memory, [AbortRule::nth(n)]);
        let outcome = smmu.translate_cold(&mut injector, transaction, &mut ());
        let event = outcome.event().ok_or("an abort is always recorded")?;
        println!("access {n:2} aborts: {:?}", EventId(event.words()[0] as u8));
    }
    Ok(())
}
