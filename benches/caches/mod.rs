//! What a hit costs beside a bare probe, what invalidation costs with many entries, and what many
//! streams cost: the cache half of the `ratios` bench.

mod machines;
mod streams;
mod threads;

pub(crate) use streams::many;
pub(crate) use threads::scaling;

use std::hint::black_box;
use std::time::Instant;

use smmu::addr::{Iova, Pa};
use smmu::cache::{CacheConfig, Geometry, Replacement};
use smmu::mem::{AccessClass, PhysMem};
use smmu::regfile::{Width, register_offset};
use smmu::{CommandStep, Smmu, Transaction};

use crate::machine::{Machine, Random, STREAM, Stages};
use crate::{Effort, median};

/// Pages of the working set of hits: they fit the TLB and, tags and all, the host's second-level
/// cache.
const WORKING_SET: usize = 1024;

/// A TLB of 4096 entries in 4 ways, as the bare array has.
fn caches() -> CacheConfig {
    CacheConfig {
        configuration: Geometry::new(64, 4, Replacement::RoundRobin),
        tlb: Geometry::new(4096, 4, Replacement::RoundRobin),
        stage2_tlb: Geometry::new(4096, 4, Replacement::RoundRobin),
        ..CacheConfig::OFF
    }
}

/// Hits against probes of a bare set-associative array of the same shape.
pub(crate) fn hits(effort: &Effort) {
    for (name, stages) in [
        ("tlb/hit/stage1", Stages::Stage1),
        ("tlb/hit/stage2", Stages::Stage2),
        ("tlb/hit/nested", Stages::Nested),
    ] {
        let machine = Machine::large(stages);
        let mut smmu = machine.with_caches(&caches());
        let pages = &machine.pages[..WORKING_SET];
        let mut random = Random(11);
        let order: Vec<(u64, u64)> = (0..1 << 12)
            .map(|_| pages[(random.next() % pages.len() as u64) as usize])
            .collect();
        let mut port = machine.ram.port();
        // Warm, and as many of them resident as their sets let be.
        for _ in 0..2 {
            for &(input, output) in &order {
                let outcome = smmu.translate(
                    &mut port,
                    &Transaction::read(STREAM, Iova::new(input)),
                    &mut (),
                );
                assert_eq!(outcome.pa(), Some(Pa::new(output)));
            }
        }
        let probe = Bare::new(pages);
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            floor.push(probe.run(&order, effort.translations));
            ours.push(hit(&mut smmu, &mut port, &order, effort.translations));
        }
        report(name, effort, &mut floor, &mut ours, Some(3.0));
    }
}

fn report(name: &str, effort: &Effort, floor: &mut [f64], ours: &mut [f64], goal: Option<f64>) {
    if effort.rounds == 1 {
        println!("{name:<34} answers checked; `cargo bench` measures");
        return;
    }
    let (floor, ours) = (median(floor), median(ours));
    let goal = goal.map_or(String::new(), |goal| format!("{goal:.1}"));
    println!(
        "{name:<34} {:>6} {floor:>10.2} {ours:>10.2} {:>7.2} {goal:>6}",
        "",
        ours / floor
    );
}

#[inline(never)]
fn hit<M: PhysMem>(smmu: &mut Smmu, mem: &mut M, order: &[(u64, u64)], count: usize) -> f64 {
    let mut wrong = 0;
    let start = Instant::now();
    for &(input, output) in order.iter().cycle().take(count) {
        // Zero as long as every answer was right, but only known once it is there.
        let transaction = Transaction::read(STREAM, Iova::new(input | wrong));
        let outcome = smmu.translate(mem, &transaction, &mut ());
        wrong |= outcome.pa().map_or(u64::MAX, |pa| pa.get() ^ output);
    }
    let elapsed = start.elapsed();
    assert_eq!(wrong, 0, "every hit gives the address it was mapped to");
    elapsed.as_nanos() as f64 / count as f64
}

/// A set-associative array of page and output, four ways, hashed by multiplication: what any TLB
/// has to do at least.
struct Bare {
    tags: Vec<u64>,
    values: Vec<u64>,
}

const BARE_SETS_LOG2: u32 = 10;
const BARE_WAYS: usize = 4;

impl Bare {
    fn set(page: u64) -> usize {
        (page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BARE_SETS_LOG2)) as usize * BARE_WAYS
    }

    fn new(pages: &[(u64, u64)]) -> Self {
        let mut bare = Self {
            tags: vec![0; BARE_WAYS << BARE_SETS_LOG2],
            values: vec![0; BARE_WAYS << BARE_SETS_LOG2],
        };
        for &(input, output) in pages {
            let start = Self::set(input);
            let free = (start..start + BARE_WAYS).find(|&place| bare.tags[place] == 0);
            // A set that is full keeps its last way busy; the probe's cost is the same.
            let place = free.unwrap_or(start + BARE_WAYS - 1);
            bare.tags[place] = input;
            bare.values[place] = output;
        }
        bare
    }

    #[inline(never)]
    fn run(&self, order: &[(u64, u64)], count: usize) -> f64 {
        let zero = black_box(0u64);
        let mut value = 0;
        let start = Instant::now();
        for &(input, _) in order.iter().cycle().take(count) {
            let page = input | value & zero;
            let start = Self::set(page);
            let ways = &self.tags[start..start + BARE_WAYS];
            let way = ways.iter().position(|&tag| tag == page);
            value = way.map_or(0, |way| self.values[start + way]);
        }
        let elapsed = start.elapsed();
        black_box(value);
        elapsed.as_nanos() as f64 / count as f64
    }
}

/// Commands of a run: pages are invalidated many at a time, everything else once.
const RUN: usize = 16;

/// Invalidations with 64 Ki live entries.
pub(crate) fn invalidations(effort: &Effort) {
    let machine = Machine::large(Stages::Nested);
    let config = CacheConfig {
        tlb: Geometry::new(1 << 17, 4, Replacement::RoundRobin),
        ..caches()
    };
    let mut full = machine.with_caches(&config);
    let mut port = machine.ram.port();
    for &(input, _) in &machine.pages {
        full.translate(
            &mut port,
            &Transaction::read(STREAM, Iova::new(input)),
            &mut (),
        );
    }
    let live = full.cached_translations().count();
    assert!(live > 60_000, "{live} entries are live");
    let queue = machine.queue();
    // Pages that are live.
    let held: std::collections::BTreeSet<u64> = full
        .cached_translations()
        .map(|(_, tag)| tag.input)
        .collect();
    let pages = machine.pages.iter().map(|&(input, _)| input);
    let pages: Vec<u64> = pages
        .filter(|input| held.contains(input))
        .take(RUN)
        .collect();
    let by_page = |opcode: u64| pages.iter().map(|&page| [opcode, page]).collect::<Vec<_>>();
    // By context: all there is, and what another VM or address space has, which is nothing.
    for (name, commands, goal_us) in [
        ("tlbi/va", by_page(0x12 | 1 << 32 | 1 << 48), 1.0),
        ("tlbi/asid", vec![[0x11 | 1 << 32 | 1 << 48, 0]], 100.0),
        (
            "tlbi/asid/other",
            vec![[0x11 | 1 << 32 | 2 << 48, 0]],
            100.0,
        ),
        ("tlbi/vmid", vec![[0x28 | 1 << 32, 0]], 100.0),
        ("tlbi/vmid/other", vec![[0x28 | 2 << 32, 0]], 100.0),
        ("tlbi/all", vec![[0x30, 0]], 1.0),
    ] {
        let mut times = Vec::new();
        for round in 0..effort.rounds.min(25) {
            let mut smmu = full.clone();
            let mut write = |name, width, value| {
                smmu.mmio_write(register_offset(name).unwrap(), width, value);
            };
            write("CMDQ_BASE", Width::W64, queue | 8);
            write("CR0", Width::W32, 1 | 1 << 3);
            for (word, offset) in commands.iter().flatten().zip((0..).step_by(8)) {
                port.write64(Pa::new(queue + offset), *word, AccessClass::CommandQueue)
                    .unwrap();
            }
            let count = commands.len();
            let prod = register_offset("CMDQ_PROD").unwrap();
            smmu.mmio_write(prod, Width::W32, count as u64);
            let start = Instant::now();
            let mut removed = 0;
            for _ in 0..count {
                removed += match smmu.step_command(&mut port, &mut ()) {
                    CommandStep::Consumed { removed, .. } => removed,
                    step => panic!("{name}: {step:?}"),
                };
            }
            times.push(start.elapsed().as_nanos() as f64 / 1000.0 / count as f64);
            if round == 0 {
                let expected = match name {
                    "tlbi/va" => RUN as u64..=RUN as u64,
                    "tlbi/asid/other" | "tlbi/vmid/other" => 0..=0,
                    "tlbi/asid" => 1..=u64::MAX,
                    _ => 60_000..=u64::MAX,
                };
                assert!(expected.contains(&removed), "{name} removed {removed}");
            }
        }
        if effort.rounds == 1 {
            println!("{name:<34} answers checked; `cargo bench` measures");
        } else {
            let time = median(&mut times);
            println!(
                "{name:<34} {live:>6} {:>10} {time:>7.2} us {goal_us:>12.1}",
                ""
            );
        }
    }
}
