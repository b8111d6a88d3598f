//! Ninth: a DMA trace in simulated time, and what more walk slots buy it.
//!
//! `cargo run --example i_timed_trace`

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use smmu_sim::simulate::run::{Input, timed};
use smmu_sim::simulate::settings::RunSettings;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A network card: descriptors, then the buffers they name, at random; twice round the ring.
    let trace = Input::Trace(PathBuf::from("examples/nic.trace"));
    let stop = AtomicBool::new(false);
    println!("slots  cycles  mean latency  waited for a slot");
    for slots in [1, 2, 4, 8] {
        let mut settings = RunSettings::default();
        settings.apply_argument(&format!("tcu.walk_slots={slots}"))?;
        let report = timed(&settings, &trace, (), (&stop, &mut ()))?.report;
        let mean = report.latency_cycles / report.transactions_count;
        let waited = report
            .resource("tcu.walk_slots")
            .map(|slots| slots.usage.waits_count);
        let waited = waited.ok_or("no such resource")?;
        println!("{slots:5}  {:6}  {mean:12}  {waited:17}", report.cycles);
    }
    Ok(())
}
