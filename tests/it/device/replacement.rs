//! Replacement against tiny models of each policy. Streams that bypass fill a configuration cache,
//! whose contents can be listed.

use std::collections::BTreeSet;

use proptest::prelude::*;
use smmu::Smmu;
use smmu::cache::{CacheConfig, Geometry, Indexing, Replacement};
use smmu::ids::StreamId;
use smmu::regfile::Width;

use crate::support::bench::*;

const STREAMS: u32 = 64;

/// What is in one set, by way.
type Ways = Vec<Option<u32>>;

/// One set under some policy.
trait Policy {
    /// `way` was used.
    fn used(&mut self, way: usize);
    /// Who goes.
    fn victim(&mut self) -> usize;
}

struct RoundRobin {
    next: usize,
    ways: usize,
}

impl Policy for RoundRobin {
    fn used(&mut self, _: usize) {}
    fn victim(&mut self) -> usize {
        let victim = self.next;
        self.next = (victim + 1) % self.ways;
        victim
    }
}

/// Ways, the one used last at the end.
struct Lru(Vec<usize>);

impl Policy for Lru {
    fn used(&mut self, way: usize) {
        self.0.retain(|&other| other != way);
        self.0.push(way);
    }
    fn victim(&mut self) -> usize {
        self.0[0]
    }
}

/// A tree whose nodes point away from the half used last.
enum Tree {
    Leaf(usize),
    Node {
        left: Box<Self>,
        right: Box<Self>,
        middle: usize,
        victim_is_right: bool,
    },
}

impl Tree {
    fn new(first: usize, ways: usize) -> Self {
        if ways == 1 {
            return Self::Leaf(first);
        }
        let half = ways / 2;
        Self::Node {
            left: Box::new(Self::new(first, half)),
            right: Box::new(Self::new(first + half, half)),
            middle: first + half,
            victim_is_right: false,
        }
    }
}

impl Policy for Tree {
    fn used(&mut self, way: usize) {
        if let Self::Node {
            left,
            right,
            middle,
            victim_is_right,
        } = self
        {
            *victim_is_right = way < *middle;
            let half = if way < *middle { left } else { right };
            half.used(way);
        }
    }
    fn victim(&mut self) -> usize {
        match self {
            Self::Leaf(way) => *way,
            Self::Node {
                right,
                victim_is_right: true,
                ..
            } => right.victim(),
            Self::Node { left, .. } => left.victim(),
        }
    }
}

fn policy(replacement: Replacement, ways: usize) -> Box<dyn Policy> {
    match replacement {
        Replacement::Lru => Box::new(Lru((0..ways).collect())),
        Replacement::PseudoLru => Box::new(Tree::new(0, ways)),
        _ => Box::new(RoundRobin { next: 0, ways }),
    }
}

/// A device with so many bypassing streams and this configuration cache.
fn device(configuration: Geometry) -> (Smmu, Bench) {
    let mut bench = Bench::bypass();
    for stream in 0..u64::from(STREAMS) {
        bench.write_words(STRTAB + 64 * stream, bench.ste);
    }
    let caches = CacheConfig {
        configuration,
        ..CacheConfig::OFF
    };
    let smmu = bench.program(Smmu::with_caches(bench.config.clone(), &caches).unwrap());
    (smmu, bench)
}

fn touch(smmu: &mut Smmu, bench: &Bench, stream: u32) {
    let mut transaction = read(0x1000);
    transaction.stream = StreamId::new(stream);
    let outcome = smmu.translate(&mut bench.ram.port(), &transaction, &mut ());
    assert_eq!(pa(&outcome), 0x1000);
}

fn contents(smmu: &Smmu) -> BTreeSet<u32> {
    smmu.cached_configurations()
        .map(|(stream, _)| stream.get())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_policy_evicts_as_its_model_does(
        which in 0usize..3,
        sets_log2 in 0u32..3,
        ways_log2 in 0u32..4,
        streams in prop::collection::vec((0..STREAMS, 0u8..16), 1..200),
    ) {
        let replacement =
            [Replacement::RoundRobin, Replacement::Lru, Replacement::PseudoLru][which];
        let (sets, ways) = (1usize << sets_log2, 1usize << ways_log2);
        let (mut smmu, mut bench) = device(Geometry {
            entries: (sets * ways) as u32,
            ways: ways as u32,
            replacement,
            indexing: Indexing::LowBits,
        });
        let mut model: Vec<(Ways, Box<dyn Policy>)> =
            (0..sets).map(|_| (vec![None; ways], policy(replacement, ways))).collect();
        for (stream, action) in streams {
            let (set, policy) = &mut model[stream as usize % sets];
            if action == 0 {
                // Invalidated: its place is free.
                for way in set.iter_mut().filter(|way| **way == Some(stream)) {
                    *way = None;
                }
                let forget = [0x03 | u64::from(stream) << 32, 0];
                send(&mut smmu, &mut bench, forget);
            } else {
                let has = |wanted| set.iter().position(|way| *way == wanted);
                let way = has(Some(stream)).or_else(|| has(None)).unwrap_or_else(|| policy.victim());
                set[way] = Some(stream);
                policy.used(way);
                touch(&mut smmu, &bench, stream);
            }
            let expected: BTreeSet<u32> =
                model.iter().flat_map(|(set, _)| set.iter().flatten()).copied().collect();
            prop_assert_eq!(contents(&smmu), expected);
        }
    }

    #[test]
    fn random_replacement_keeps_sets_full_and_repeats_itself(
        seed in any::<u64>(),
        streams in prop::collection::vec(0..STREAMS, 1..200),
    ) {
        let geometry = Geometry::new(8, 0, Replacement::Random { seed });
        let (mut first, bench) = device(geometry);
        let (mut second, _) = device(geometry);
        let mut seen = BTreeSet::new();
        for stream in streams {
            let before = contents(&first);
            touch(&mut first, &bench, stream);
            touch(&mut second, &bench, stream);
            seen.insert(stream);
            let now = contents(&first);
            prop_assert_eq!(now.len(), seen.len().min(8));
            prop_assert!(now.contains(&stream));
            prop_assert!(before.difference(&now).count() <= 1, "one goes for one that comes");
            prop_assert_eq!(&now, &contents(&second));
        }
    }

    #[test]
    fn an_infinite_cache_forgets_nothing(
        streams in prop::collection::vec(0..STREAMS, 1..200),
        entries_log2 in 0u32..4,
    ) {
        let geometry = Geometry::new(1 << entries_log2, 1, Replacement::Infinite);
        let (mut smmu, bench) = device(geometry);
        let mut seen = BTreeSet::new();
        for stream in streams {
            touch(&mut smmu, &bench, stream);
            seen.insert(stream);
            prop_assert_eq!(contents(&smmu), seen.clone());
        }
    }
}

/// Every victim of random replacement comes up.
#[test]
fn random_replacement_reaches_every_way() {
    let (mut smmu, bench) = device(Geometry::new(8, 0, Replacement::Random { seed: 1 }));
    let mut evicted = BTreeSet::new();
    for stream in (0..STREAMS).cycle().take(400) {
        let before = contents(&smmu);
        touch(&mut smmu, &bench, stream);
        let now = contents(&smmu);
        // Where in the order of arrival the victim was.
        evicted.extend(
            before
                .difference(&now)
                .map(|victim| stream.wrapping_sub(*victim) % STREAMS),
        );
    }
    assert!(evicted.len() > 20, "{evicted:?}");
}

fn send(smmu: &mut Smmu, bench: &mut Bench, words: [u64; 2]) {
    const CMDQ: u64 = 0x4000_0000;
    let prod = smmu.mmio_read(0x98, Width::W32);
    smmu.mmio_write(0x90, Width::W64, CMDQ | 8);
    let enabled = smmu.mmio_read(0x20, Width::W32);
    smmu.mmio_write(0x20, Width::W32, enabled | 1 << 3);
    bench.write(CMDQ + 16 * (prod & 0xff), words[0]);
    bench.write(CMDQ + 16 * (prod & 0xff) + 8, words[1]);
    smmu.mmio_write(0x98, Width::W32, (prod + 1) & 0x1ff);
    let consumed = smmu.run_until_idle(&mut bench.ram.port(), &mut (), 10);
    assert_eq!(consumed, 1);
}
