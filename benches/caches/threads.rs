//! Hits of two threads against hits of one, with invalidations beside them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use smmu::Transaction;
use smmu::addr::{Iova, Pa};
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem};
use smmu::regfile::{Width, register_offset};
use smmu::shared::SharedSmmu;

use super::caches;
use crate::machine::{Machine, STREAM, Stages};
use crate::{Effort, median};

/// Pages each thread uses.
const PAGES: usize = 256;

/// How much faster two threads are than one.
pub(crate) fn scaling(effort: &Effort) {
    let machine = Machine::large(Stages::Nested);
    let shared = Arc::new(machine.shared(&caches()));
    for (name, second, goal) in [
        ("threads/two-streams", StreamId::new(9), 1.9),
        ("threads/one-stream", STREAM, 1.8),
    ] {
        let count = if effort.rounds == 1 { 1 << 10 } else { 1 << 22 };
        let mut gains = Vec::new();
        for _ in 0..effort.rounds.min(9) {
            let one = run(&machine, &shared, &[STREAM], count);
            let two = run(&machine, &shared, &[STREAM, second], count);
            gains.push(2.0 * one / two);
        }
        if effort.rounds == 1 {
            println!("{name:<34} answers checked; `cargo bench` measures");
        } else {
            let gain = median(&mut gains);
            println!(
                "{name:<34} {:>6} {:>21} {gain:>7.2} {goal:>6.1}",
                "", "of one thread's rate"
            );
        }
    }
}

/// Nanoseconds each thread takes for `count` hits, the slowest of them, invalidations beside.
fn run(machine: &Machine, shared: &Arc<SharedSmmu>, streams: &[StreamId], count: usize) -> f64 {
    let (start, done) = (Barrier::new(streams.len()), AtomicBool::new(false));
    thread::scope(|scope| {
        let workers: Vec<_> = streams
            .iter()
            .enumerate()
            .map(|(number, &stream)| {
                let pages = &machine.pages[number * PAGES..][..PAGES];
                let (start, mut port) = (&start, shared.port());
                scope.spawn(move || {
                    let mut memory = machine.ram.port();
                    start.wait();
                    let begin = Instant::now();
                    let mut wrong = 0;
                    for &(input, output) in pages.iter().cycle().take(count) {
                        let transaction = Transaction::read(stream, Iova::new(input | wrong));
                        let outcome = port.translate(&mut memory, &transaction, &mut ());
                        wrong |= outcome.pa().map_or(u64::MAX, |pa| pa.get() ^ output);
                    }
                    assert_eq!(wrong, 0, "every answer is right");
                    begin.elapsed().as_nanos() as f64
                })
            })
            .collect();
        let invalidator = scope.spawn(|| {
            let mut memory = machine.ram.port();
            while !done.load(Ordering::Relaxed) {
                invalidate(machine, shared, &mut memory);
                thread::sleep(Duration::from_micros(500));
            }
        });
        let slowest = workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .fold(0.0, f64::max);
        done.store(true, Ordering::Relaxed);
        invalidator.join().unwrap();
        slowest
    })
}

/// One page that nobody uses, as a driver unmaps it.
fn invalidate<M: PhysMem>(machine: &Machine, shared: &SharedSmmu, memory: &mut M) {
    let queue = machine.queue();
    let prod = register_offset("CMDQ_PROD").unwrap();
    let at = shared.mmio_read(prod, Width::W32);
    let slot = queue + 16 * (at & 0xff);
    let page = machine.pages[machine.pages.len() - 1].0;
    for (offset, word) in [(0, 0x12 | 1 << 32 | 1 << 48), (8, page)] {
        memory
            .write64(Pa::new(slot + offset), word, AccessClass::CommandQueue)
            .unwrap();
    }
    shared.mmio_write(prod, Width::W32, (at + 1) & 0x1ff);
    assert_eq!(shared.run_until_idle(memory, &mut (), 1), 1);
}
