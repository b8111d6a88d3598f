//! Ratios to floors, measured alternately in one run: `cargo bench --bench ratios`.
//!
//! A floor is what the memory accesses alone cost: a bare chase of dependent loads over the very
//! same addresses in a plain array. Both sides are latency bound: the input of each translation
//! depends on the output of the one before, and so does each load of the chase.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench is a test"
)]
#![allow(
    clippy::print_stdout,
    reason = "printing the table is what this program is for"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench reads the clock; the model never does"
)]

mod caches;
mod machine;

use std::hint::black_box;
use std::time::Instant;

use machine::{Machine, RAM_BASE, Random, STREAM, Stages};
use smmu::Transaction;
use smmu::addr::Iova;

/// Samples visited in a fixed random order.
const SAMPLES: usize = 1 << 14;

pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) translations: usize,
}

/// Prints the lines of one group.
type Group = fn(&Effort);

fn main() {
    // `cargo bench` passes --bench; `cargo test --benches` does not, and only wants to see it run.
    let measuring = std::env::args().any(|arg| arg == "--bench");
    let effort = if measuring {
        Effort {
            rounds: 101,
            translations: 1 << 14,
        }
    } else {
        Effort {
            rounds: 1,
            translations: 1 << 8,
        }
    };
    // Names to begin with, as criterion takes them: all if there are none.
    let names: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let wanted =
        |group: &str| names.is_empty() || names.iter().any(|name| group.contains(name.as_str()));
    println!(
        "{:<34} {:>6} {:>10} {:>10} {:>7} {:>6}",
        "", "loads", "floor ns", "ours ns", "ratio", "goal"
    );
    for (name, stages, configured, hot_goal, large_goal) in [
        (
            "walk/nested/4k/4x4/configured",
            Stages::Nested,
            true,
            3.0,
            1.5,
        ),
        (
            "walk/stage1/4k/4/configured",
            Stages::Stage1,
            true,
            3.0,
            1.5,
        ),
        ("walk/nested/4k/4x4/cold", Stages::Nested, false, 3.5, 1.6),
    ] {
        for (regime, machine, goal) in [
            ("hot", Machine::hot as fn(Stages) -> Machine, hot_goal),
            ("large", Machine::large, large_goal),
        ] {
            let name = format!("{name}/{regime}");
            if wanted(&name) {
                compare(&name, &machine(stages), configured, goal, &effort);
            }
        }
    }
    let groups: [(&str, Group); 4] = [
        ("tlb/hit", caches::hits),
        ("tlbi", caches::invalidations),
        ("streams", caches::many),
        ("threads", caches::scaling),
    ];
    for (_, group) in groups.iter().filter(|(name, _)| wanted(name)) {
        group(&effort);
    }
}

fn compare(name: &str, machine: &Machine, configured: bool, goal: f64, effort: &Effort) {
    let mut random = Random(7);
    let samples: Vec<(u64, u64)> = (0..SAMPLES)
        .map(|_| machine.pages[(random.next() % machine.pages.len() as u64) as usize])
        .collect();
    let addresses: Vec<Vec<u64>> = samples
        .iter()
        .map(|&(input, _)| machine.addresses(input, configured))
        .collect();
    let loads = addresses[0].len();
    assert!(addresses.iter().all(|list| list.len() == loads));
    let expected = match name {
        n if n.contains("stage1") => 4,
        n if n.contains("configured") => 24,
        // STE, four stage-2 descriptors for the CD, the CD.
        _ => 30,
    };
    assert_eq!(
        loads, expected,
        "{name}: the walk has the accesses it should"
    );

    // The floor's array has every page the walks touch committed, and nothing to prefetch by.
    let mut array = vec![0u64; ((machine.ram_end() - RAM_BASE) / 8) as usize];
    let flat: Vec<u32> = addresses
        .iter()
        .flatten()
        .map(|&index| index as u32)
        .collect();
    for &index in &flat {
        array[index as usize] = 0x5a << 56 | RAM_BASE;
    }

    let mut floor = Vec::new();
    let mut ours = Vec::new();
    for _ in 0..effort.rounds {
        floor.push(chase(&array, &flat, loads, effort.translations));
        ours.push(translate(
            machine,
            &samples,
            configured,
            effort.translations,
        ));
    }
    let (floor, ours) = (median(&mut floor), median(&mut ours));
    if effort.rounds == 1 {
        println!("{name:<34} {loads:>6} loads, answers checked; `cargo bench` measures");
        return;
    }
    println!(
        "{name:<34} {loads:>6} {floor:>10.1} {ours:>10.1} {:>7.2} {goal:>6.1}",
        ours / floor
    );
}

/// Nanoseconds a chase of `loads` dependent loads takes.
#[inline(never)]
fn chase(array: &[u64], flat: &[u32], loads: usize, count: usize) -> f64 {
    let zero = black_box(0u64);
    let mut value = 0;
    let start = Instant::now();
    for list in flat.chunks_exact(loads).cycle().take(count) {
        for &index in list {
            value = array[(u64::from(index) + (value & zero)) as usize];
        }
    }
    let elapsed = start.elapsed();
    black_box(value);
    elapsed.as_nanos() as f64 / count as f64
}

/// Nanoseconds a translation takes, every answer checked.
#[inline(never)]
fn translate(machine: &Machine, samples: &[(u64, u64)], configured: bool, count: usize) -> f64 {
    let smmu = &machine.smmu;
    let mut port = machine.ram.port();
    let configuration = smmu
        .configuration(&mut port, STREAM, None, &mut ())
        .unwrap();
    let mut wrong = 0;
    let start = Instant::now();
    for &(input, output) in samples.iter().cycle().take(count) {
        // Zero as long as every answer was right, but only known once it is there.
        let transaction = Transaction::read(STREAM, Iova::new(input | wrong));
        let outcome = if configured {
            smmu.translate_configured(&configuration, &mut port, &transaction, &mut ())
        } else {
            smmu.translate_cold(&mut port, &transaction, &mut ())
        };
        wrong |= outcome.pa().map_or(u64::MAX, |pa| pa.get() ^ output);
    }
    let elapsed = start.elapsed();
    assert_eq!(
        wrong, 0,
        "every translation gives the address it was mapped to"
    );
    elapsed.as_nanos() as f64 / count as f64
}

pub(crate) fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
