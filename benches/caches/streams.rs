//! Many streams against few: transactions of random streams, L1STD and STE read from memory each
//! time, of 2^20 streams in a 2-level table and of 16 of them. Beside it the same for a bare chase
//! from L1STD to STE, which is what the host's memory makes of 64 MiB of STEs.

use std::hint::black_box;
use std::time::Instant;

use smmu::addr::{Iova, Pa};
use smmu::cache::CacheConfig;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem};
use smmu::regfile::{Width, register_offset};
use smmu::{Smmu, Transaction};

use super::report;
use crate::Effort;
use crate::machine::{Machine, Random};

/// log2 of the streams of a second-level table.
const SPLIT: u32 = 8;
/// log2 of all streams.
const STREAMS_LOG2: u32 = 20;

/// Transactions of random streams, of all or of the first 16, without caches: with them the few hit
/// and the many miss, which says nothing of the table.
pub(crate) fn many(effort: &Effort) {
    let machine = Machine::roomy();
    let base = table(&machine);
    let mut part = machine.smmu.config().clone();
    part.sidsize = 20;
    let mut smmu = Smmu::with_caches(part, &CacheConfig::OFF).unwrap();
    for (name, width, value) in [
        ("STRTAB_BASE", Width::W64, base),
        (
            "STRTAB_BASE_CFG",
            Width::W32,
            u64::from(1 << 16 | SPLIT << 6 | STREAMS_LOG2),
        ),
        ("CR0", Width::W32, 1),
    ] {
        smmu.mmio_write(register_offset(name).unwrap(), width, value);
    }
    let mut random = Random(5);
    let mut order = |streams: u64| -> Vec<u32> {
        (0..1 << 14)
            .map(|_| (random.next() % streams) as u32)
            .collect()
    };
    let (few, all) = (order(16), order(1 << STREAMS_LOG2));
    let words = words(&machine, base);
    let (mut bare_few, mut bare_all) = (Vec::new(), Vec::new());
    let (mut ours_few, mut ours_all) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        bare_few.push(chase(&words, &few, effort.translations));
        ours_few.push(run(&machine, &mut smmu, &few, effort.translations));
        bare_all.push(chase(&words, &all, effort.translations));
        ours_all.push(run(&machine, &mut smmu, &all, effort.translations));
    }
    report(
        "streams/2^20-against-16",
        effort,
        &mut ours_few,
        &mut ours_all,
        Some(1.5),
    );
    report(
        "streams/2^20-against-16/bare",
        effort,
        &mut bare_few,
        &mut bare_all,
        None,
    );
}

/// A 2-level stream table in the upper half of RAM, every STE that of the machine's stream.
fn table(machine: &Machine) -> u64 {
    let mut port = machine.ram.port();
    let read = |name| {
        let offset = register_offset(name).unwrap();
        machine.smmu.mmio_read(offset, Width::W64)
    };
    let ste = port
        .read_line(
            Pa::new(read("STRTAB_BASE") + 64 * u64::from(crate::machine::STREAM.get())),
            AccessClass::Ste,
        )
        .unwrap();
    let first = machine.upper_half();
    let second = first + (1 << 20);
    for number in 0..1u64 << (STREAMS_LOG2 - SPLIT) {
        let at = second + (number << (SPLIT + 6));
        let descriptor = at | u64::from(SPLIT + 1);
        port.write64(Pa::new(first + 8 * number), descriptor, AccessClass::L1Std)
            .unwrap();
        for stream in 0..1u64 << SPLIT {
            for (word, offset) in ste.into_iter().zip((0..).step_by(8)) {
                port.write64(Pa::new(at + 64 * stream + offset), word, AccessClass::Ste)
                    .unwrap();
            }
        }
    }
    first
}

/// The stream table as a plain array: word indices in place of addresses.
fn words(machine: &Machine, base: u64) -> Vec<u64> {
    let mut port = machine.ram.port();
    let mut words = vec![0; 1 << (STREAMS_LOG2 + 3) | 1 << 17];
    // Written once, or the host would give the same page of zeros for all of them.
    words.fill(black_box(0));
    for number in 0..1u64 << (STREAMS_LOG2 - SPLIT) {
        let first = Pa::new(base + 8 * number);
        let descriptor = port.read64(first, AccessClass::L1Std).unwrap();
        words[number as usize] = ((descriptor & !0x1f) - base) / 8;
    }
    words
}

/// Nanoseconds for one L1STD and one word of an STE, each load depending on the one before.
#[inline(never)]
fn chase(words: &[u64], order: &[u32], count: usize) -> f64 {
    let mut value = 0;
    let start = Instant::now();
    for &stream in order.iter().cycle().take(count) {
        let second = words[(stream >> SPLIT) as usize + value as usize];
        value = words[second as usize + 8 * (stream as usize & ((1 << SPLIT) - 1))];
    }
    let elapsed = start.elapsed();
    assert_eq!(black_box(value), 0, "STEs are zero in the array");
    elapsed.as_nanos() as f64 / count as f64
}

#[inline(never)]
fn run(machine: &Machine, smmu: &mut Smmu, order: &[u32], count: usize) -> f64 {
    let mut port = machine.ram.port();
    let (input, output) = machine.pages[0];
    let mut wrong = 0;
    let start = Instant::now();
    for &stream in order.iter().cycle().take(count) {
        let transaction = Transaction::read(StreamId::new(stream), Iova::new(input | wrong));
        let outcome = smmu.translate(&mut port, &transaction, &mut ());
        wrong |= outcome.pa().map_or(u64::MAX, |pa| pa.get() ^ output);
    }
    let elapsed = start.elapsed();
    assert_eq!(black_box(wrong), 0, "every stream reaches the same page");
    elapsed.as_nanos() as f64 / count as f64
}
