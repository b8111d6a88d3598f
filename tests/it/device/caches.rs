//! Caches change no answer, as long as software invalidates what it must: random drivers, random
//! caches, every access compared with one that knows no cache.

use proptest::prelude::*;
use smmu::addr::Iova;
use smmu::ats::{TranslationCompletion, TranslationRequest};
use smmu::attr::{Attributes, Device, MemoryType, Shareability};
use smmu::cache::{
    CacheConfig, ContiguousHint, Geometry, Indexing, Replacement, TlbStructure, WalkCacheConfig,
};
use smmu::ids::{StreamId, SubstreamId};
use smmu::mem::DryRun;
use smmu::observe::AccessCounts;
use smmu::transaction::{AccessKind, InstructionOrData, Path, Privilege};
use smmu::{Outcome, Transaction};

use super::driver::{AREA, CDS, Driver, PAGES, Plan, STREAMS, Setup, Target, UPPER};
use super::shapes::mix;
use crate::support::warm::comparable;

fn geometry() -> impl Strategy<Value = Geometry> {
    let replacement = prop_oneof![
        Just(Replacement::RoundRobin),
        Just(Replacement::Lru),
        Just(Replacement::PseudoLru),
        any::<u64>().prop_map(|seed| Replacement::Random { seed }),
        Just(Replacement::Infinite),
    ];
    (0u32..6, 0u32..4, replacement, any::<bool>()).prop_map(
        |(sets_log2, ways_log2, replacement, low)| {
            let is_off = (sets_log2, ways_log2) == (0, 0);
            let infinite = replacement == Replacement::Infinite;
            Geometry {
                entries: if is_off {
                    0
                } else {
                    1 << (sets_log2 + ways_log2)
                },
                ways: if sets_log2 == 1 { 0 } else { 1 << ways_log2 },
                replacement,
                indexing: if low && !infinite {
                    Indexing::LowBits
                } else {
                    Indexing::Hashed
                },
            }
        },
    )
}

fn caches() -> impl Strategy<Value = CacheConfig> {
    let walk = prop_oneof![
        geometry().prop_map(WalkCacheConfig::Unified),
        [(); 8]
            .map(|()| geometry())
            .prop_map(|[a, b, c, d, e, f, g, h]| {
                WalkCacheConfig::PerLevel {
                    stage1: [a, b, c, d],
                    stage2: [e, f, g, h],
                }
            }),
    ];
    let structure = prop_oneof![Just(TlbStructure::Combined), Just(TlbStructure::Separate)];
    let contiguous = prop_oneof![Just(ContiguousHint::Ignored), Just(ContiguousHint::Used)];
    let random = (
        (geometry(), geometry()),
        structure,
        geometry(),
        geometry(),
        walk,
        contiguous,
    )
        .prop_map(
            |((configuration, ste), structure, tlb, stage2_tlb, walk, contiguous)| CacheConfig {
                configuration,
                ste,
                structure,
                tlb,
                stage2_tlb,
                walk,
                contiguous,
            },
        );
    let separate = CacheConfig {
        structure: TlbStructure::Separate,
        ..CacheConfig::INFINITE
    };
    prop_oneof![
        Just(CacheConfig::INFINITE),
        Just(separate),
        Just(CacheConfig::SMALL),
        random.boxed(),
    ]
}

pub(super) fn setup() -> impl Strategy<Value = Setup> {
    (any::<u32>(), caches()).prop_map(|(choices, caches)| Setup { choices, caches })
}

/// An access that random bits stand for, most often to where something may be mapped.
pub(super) fn access(driver: &Driver, random: u64) -> Transaction {
    let bits = |n| mix(random, n);
    let stream = bits(7) % STREAMS;
    let plan = driver.plans[stream as usize];
    let (areas, granule) = match plan {
        Plan::Stage1(space, _) | Plan::Substreams(space, _) => {
            (0..4, driver.stage1(space, 0, false).place.granule)
        }
        Plan::Stage2(space) => (0..8, driver.stage2(space).place.granule),
        Plan::Invalid | Plan::Abort | Plan::Bypass => (0..4, 12),
    };
    let base = if bits(1).is_multiple_of(4) && areas.end == 4 {
        UPPER
    } else {
        0
    };
    let lsb = if bits(3) % 8 == 0 { 21 } else { granule };
    let area = bits(4) % areas.end;
    // A top byte for TBI to ignore.
    let tag = if bits(12) % 6 == 0 { bits(13) << 56 } else { 0 };
    let address = tag ^ base | area << AREA | (bits(2) % PAGES) << lsb | bits(5) & 0xff8;
    let kind = match bits(6) % 8 {
        0..=4 => AccessKind::Read,
        5 | 6 => AccessKind::Write,
        _ => AccessKind::Atomic,
    };
    let stream = StreamId::new(stream as u32);
    let mut transaction = Transaction::new(stream, Iova::new(address), kind);
    let rarely = if matches!(plan, Plan::Substreams(..)) {
        2
    } else {
        40
    };
    if bits(8) % rarely == 0 {
        transaction.substream = Some(SubstreamId::new((bits(9) % (CDS + 1)) as u32));
    }
    if bits(10) & 1 != 0 {
        transaction = transaction.with_privilege(Privilege::Privileged);
    }
    if bits(11) % 6 == 0 {
        transaction = transaction.with_ind(InstructionOrData::Instruction);
    }
    if bits(14) % 4 == 0 {
        transaction.attributes = Attributes {
            memory: [
                MemoryType::device(Device::GRE),
                MemoryType::NON_CACHEABLE,
                MemoryType::WRITE_BACK,
            ][bits(15) as usize % 3],
            shareability: [Shareability::NonShareable, Shareability::InnerShareable]
                [bits(16) as usize % 2],
        };
    }
    transaction
}

fn plan(random: u64) -> Plan {
    let bits = |n| mix(random, n) as usize;
    match bits(1) % 16 {
        0 => Plan::Invalid,
        1 => Plan::Abort,
        2 => Plan::Bypass,
        3..=7 => Plan::Stage1(bits(2) % 4, bits(3) % 2),
        8 | 9 => Plan::Stage2(1 + bits(2) % 2),
        _ => Plan::Substreams(bits(2) % 4, [4, 5, 6, 7].map(|n| bits(n) % 2)),
    }
}

/// A table, and an area of it.
fn target(driver: &Driver, random: u64) -> (Target, u64) {
    let bits = |n| mix(random, n);
    if bits(1) % 3 == 0 {
        return (driver.stage2(1 + bits(2) as usize % 2), 1 + bits(3) % 7);
    }
    let upper = bits(4) % 4 == 0;
    let (space, context) = (bits(5) as usize % 4, bits(6) as usize % 2);
    (driver.stage1(space, context, upper), bits(7) % 4)
}

/// One thing a driver does.
pub(super) fn act(driver: &mut Driver, random: u64) {
    let bits = |n| mix(random, n);
    let (target, area) = target(driver, bits(100));
    match bits(101) % 16 {
        0..=6 => driver.map(&target, area, bits(102), bits(103)),
        7 | 8 => driver.clear(&target, area, bits(103)),
        9..=11 => driver.protect(&target, area, bits(102), bits(103)),
        12 | 13 => driver.assign(bits(104) % STREAMS, plan(bits(105)), bits(103)),
        14 => driver.switch(
            bits(104) % STREAMS,
            bits(102),
            bits(105) as usize,
            bits(103),
        ),
        _ => driver.recycle(bits(102) as usize % 4, bits(105) as usize % 2, bits(103)),
    }
}

/// Streams that use every space, and something mapped everywhere.
pub(super) fn populate(driver: &mut Driver, random: u64) {
    for stream in 0..STREAMS {
        let space = (stream % 4) as usize;
        let plan = match stream {
            4 => Plan::Substreams((random % 4) as usize, [0, 1, 0, 1]),
            5 => Plan::Stage2(1 + (random % 2) as usize),
            _ => Plan::Stage1(space, 0),
        };
        driver.assign(stream, plan, 2);
    }
    for n in 0..150 {
        let random = mix(random, n);
        let (target, area) = target(driver, random);
        driver.map(&target, area, random >> 3, mix(random, 99));
    }
}

/// Accesses, those with an output, and hits of everything.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    accesses: u64,
    translated: u64,
    /// Of those, by stage 1 alone, stage 2 alone, both.
    by_path: [u64; 3],
    hits: u64,
    /// Translation requests that were granted something, and those of them without an access.
    granted: u64,
    granted_by_caches: u64,
}

impl Tally {
    /// One access cold, then with caches. Fails if they differ.
    fn check(&mut self, driver: &mut Driver, random: u64) -> Result<(), TestCaseError> {
        let transaction = access(driver, random);
        let (bench, smmu) = (&driver.bench, &mut driver.smmu);
        let mut memory = bench.ram.port();
        // Updates are answered and not made, so that both find the same memory.
        let cold = smmu.translate_cold(&mut DryRun::new(&mut memory), &transaction, &mut ());
        let mut counts = AccessCounts::default();
        let warm = smmu.translate(&mut memory, &transaction, &mut counts);
        prop_assert_eq!(comparable(warm), comparable(cold), "{:?}", transaction);
        let mut again = AccessCounts::default();
        if cold.pa().is_some() {
            let _ = smmu.translate_cold(&mut memory, &transaction, &mut again);
            // A contiguous region is updated in one of its descriptors (DDI 0487 §D8.6).
            if !driver.contiguous {
                prop_assert_eq!(again.updates, 0, "an update is missing: {:?}", transaction);
            }
            self.translated += 1;
            if let Outcome::Translated(translation) = cold {
                let paths = [Path::Stage1, Path::Stage2, Path::Nested];
                for (count, path) in self.by_path.iter_mut().zip(paths) {
                    *count += u64::from(translation.path == path);
                }
            }
            self.hits += u64::from(counts == AccessCounts::default() && again.walk() != 0);
        }
        self.accesses += 1;
        Ok(())
    }

    /// A translation request for an address of the driver's choice, cold, then with caches.
    fn request(&mut self, driver: &mut Driver, random: u64) -> Result<(), TestCaseError> {
        let access = access(driver, random);
        let bits = |n: u64| mix(random, 200 + n);
        let request = TranslationRequest {
            stream: access.stream,
            substream: access.substream,
            address: access.address,
            no_write: bits(1) & 1 != 0,
            execute: bits(2) & 1 != 0,
            privileged: access.pnu == Privilege::Privileged,
            stu_log2: 12,
        };
        let mut memory = driver.bench.ram.port();
        let cold = driver.smmu.clone().with_other_caches(&CacheConfig::OFF);
        let mut dry = DryRun::new(&mut memory);
        let cold = cold.unwrap().ats_translate(&mut dry, &request, &mut ());
        let mut counts = AccessCounts::default();
        let warm = driver
            .smmu
            .ats_translate(&mut memory, &request, &mut counts);
        // A contiguous region is marked dirty in one of its descriptors, and cached as one
        // (DDI 0487 §D8.6): a page of it may be writable already though its own does not say so.
        let dirty_as_one = driver.contiguous
            && request.no_write
            && matches!((warm, cold), (
                TranslationCompletion::Success(warm),
                TranslationCompletion::Success(cold),
            ) if warm.write && (warm.read, warm.execute) == (cold.read, cold.execute));
        prop_assert!(
            warm == cold || dirty_as_one,
            "{:?}: {:?} {:?}",
            request,
            warm,
            cold
        );
        if let TranslationCompletion::Success(translation) = warm
            && (translation.read || translation.write)
        {
            self.granted += 1;
            self.granted_by_caches += u64::from(counts == AccessCounts::default());
        }
        Ok(())
    }
}

fn run(setup: &Setup, acts: &[u64], forgets: bool) -> Result<Tally, TestCaseError> {
    let mut driver = Driver::new(setup);
    populate(&mut driver, setup.choices.into());
    driver.forgets = forgets;
    let mut tally = Tally::default();
    for &random in acts {
        // The same few accesses over and over, and others.
        for n in 0..12 {
            let which = if n < 8 {
                n + u64::from(setup.choices) % 64
            } else {
                mix(random, n)
            };
            tally.check(&mut driver, which)?;
            if n % 4 == 0 {
                tally.request(&mut driver, which)?;
            }
        }
        act(&mut driver, random);
    }
    Ok(tally)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// IHI 0070 §3.17
    #[test]
    fn caches_change_no_answer_if_software_invalidates(
        setup in setup(),
        acts in prop::collection::vec(any::<u64>(), 1..40),
    ) {
        run(&setup, &acts, false)?;
    }
}

#[test]
fn the_programs_hit_and_a_driver_that_forgets_to_invalidate_is_found_out() {
    let mut sum = Tally::default();
    let mut found = 0;
    for choices in 0..24 {
        let setup = Setup {
            choices: mix(choices, 1) as u32,
            caches: CacheConfig::INFINITE,
        };
        let acts: Vec<u64> = (0..30).map(|n| mix(choices, 100 + n)).collect();
        let tally = run(&setup, &acts, false).unwrap();
        sum.accesses += tally.accesses;
        sum.translated += tally.translated;
        sum.hits += tally.hits;
        sum.granted += tally.granted;
        sum.granted_by_caches += tally.granted_by_caches;
        for (all, these) in sum.by_path.iter_mut().zip(tally.by_path) {
            *all += these;
        }
        found += u64::from(run(&setup, &acts, true).is_err());
    }
    assert!(sum.translated * 7 > sum.accesses, "{sum:?}");
    assert!(
        sum.by_path.iter().all(|count| count * 15 > sum.translated),
        "{sum:?}"
    );
    assert!(sum.hits * 2 > sum.translated, "{sum:?}");
    assert!(sum.granted > 100, "{sum:?}");
    assert!(sum.granted_by_caches * 4 > sum.granted, "{sum:?}");
    assert!(found >= 20, "{found} of 24");
}

/// Repeating an access that was translated reads nothing.
#[test]
fn a_translation_that_is_remembered_is_not_walked_again() {
    for choices in 0..16 {
        let setup = Setup {
            // No hardware update, and no page whose Access flag is clear: those are not kept.
            choices: mix(choices, 7) as u32 & !0b1010,
            caches: CacheConfig::INFINITE,
        };
        let mut driver = Driver::new(&setup);
        populate(&mut driver, choices);
        for n in 0..300 {
            let transaction = access(&driver, mix(choices, 1000 + n));
            let mut memory = driver.bench.ram.port();
            let first = driver.smmu.translate(&mut memory, &transaction, &mut ());
            let Outcome::Translated(_) = first else {
                continue;
            };
            let mut counts = AccessCounts::default();
            let second = driver
                .smmu
                .translate(&mut memory, &transaction, &mut counts);
            assert_eq!(second, first);
            assert_eq!(counts, AccessCounts::default(), "{transaction:?}");
        }
    }
}
