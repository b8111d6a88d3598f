//! Eleventh: one SMMU, many threads, each with a port and caches of its own.
//!
//! `cargo run --example k_threads`

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::sync::Arc;
use std::thread;

use smmu::bare::MachineBuilder;
use smmu::shared::SharedSmmu;
use smmu_sim::prelude::*;

const PAGES: u64 = 256;
/// CMD_TLBI_NSNH_ALL: forget all translations (IHI 0070 §4.4).
const TLBI_NSNH_ALL: [u64; 2] = [0x30, 0];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let devices = [1, 2, 3, 4].map(StreamId::new);
    let pages = || Mappings::new().map(Iova::new(0), Pa::new(1 << 31), PAGES << 12, Allow::Read);
    let add = |builder: MachineBuilder, device: &_| builder.stage1(*device, pages());
    let mut machine = devices.iter().fold(BareMachine::builder(), add).build()?;
    let leaf = machine.leaf(devices[0], Iova::new(0), Stage::Stage1);
    let shared = SharedSmmu::of(machine.smmu.clone(), &CacheConfig::INFINITE)?;
    let shared = Arc::new(shared);

    // Everybody translates at once; a hit takes no lock.
    let ram = &machine.ram;
    let mut ports = thread::scope(|scope| {
        let start = |device| {
            let mut port = shared.port();
            scope.spawn(move || {
                let reads = (0..100 * PAGES)
                    .map(|n| Transaction::read(device, Iova::new((n % PAGES) << 12)));
                let reach = |read| port.translate(&mut ram.port(), &read, &mut ()).pa();
                (reads.filter_map(reach).count(), port)
            })
        };
        devices
            .map(start)
            .map(|thread| thread.join().expect("no thread panics"))
    });
    for (device, (count, _)) in devices.iter().zip(&ports) {
        println!("stream {device}: {count} translations");
    }

    // Software takes a page away. When the command is over, no port uses it any more.
    machine.store(leaf.ok_or("no leaf")?, 0)?;
    shared.execute_command(&mut machine.ram.port(), TLBI_NSNH_ALL)?;
    let read = Transaction::read(devices[0], Iova::new(0));
    let (_, port) = &mut ports[0];
    let outcome = port.translate(&mut machine.ram.port(), &read, &mut ());
    println!("then: {:?}", outcome.fault().map(|fault| fault.cause));
    Ok(())
}
