//! What the caches are said to hold is what hits, what was filled, and nothing else.

use proptest::prelude::*;
use smmu::Outcome;
use smmu::cache::{CacheConfig, Cached, CachedEntry, TlbStructure};
use smmu::observe::{Access, CacheEvent, CacheKind, CacheTag, Observer};
use smmu::spec::cmd::CmdOp;

use super::caches::{access, populate};
use super::driver::{Driver, Setup};
use super::shapes::mix;

/// What the caches did, by their own account.
#[derive(Default)]
struct Events(Vec<CacheEvent>);

impl Observer for Events {
    fn access(&mut self, _: &Access<'_>) {}

    fn watches_caches(&self) -> bool {
        true
    }

    fn cache(&mut self, event: &CacheEvent) {
        self.0.push(*event);
    }
}

/// Entries by name, sorted: some tags are there twice, as address sets are not part of them.
fn names(cached: &Cached) -> Vec<String> {
    let mut names: Vec<String> = cached
        .entries()
        .map(|entry| name(entry.cache(), entry.tag()))
        .collect();
    names.sort_unstable();
    names
}

fn name(cache: CacheKind, tag: CacheTag) -> String {
    format!("{cache:?} {tag:?}")
}

/// The addresses a hit of the TLB can give.
fn outputs(cached: &Cached, hit: CacheTag, input: u64) -> Vec<u64> {
    let entries = cached.entries().filter(|entry| entry.tag() == hit);
    let outputs = entries.filter_map(|entry| match entry {
        CachedEntry::Translation(entry) => {
            let inside = (1u64 << entry.tag.span_log2) - 1;
            Some(entry.output & !inside | input & inside)
        }
        _ => None,
    });
    outputs.collect()
}

fn check(choices: u32, caches: &CacheConfig) -> Result<u64, TestCaseError> {
    let combined = caches.structure == TlbStructure::Combined;
    let mut driver = Driver::new(&Setup {
        choices,
        caches: *caches,
    });
    populate(&mut driver, choices.into());
    let mut hits = 0;
    for n in 0..200 {
        let transaction = access(&driver, mix(choices.into(), n));
        let before = driver.smmu.cached();
        let mut events = Events::default();
        let mut memory = driver.bench.ram.port();
        let outcome = driver
            .smmu
            .translate(&mut memory, &transaction, &mut events);
        let after = driver.smmu.cached();
        let mut expected = names(&before);
        // A fill of a tag that is there replaces it, or is of the other address set.
        let mut either = Vec::new();
        for event in &events.0 {
            match *event {
                CacheEvent::Hit { cache, entry } => {
                    prop_assert!(
                        expected.contains(&name(cache, entry)),
                        "{:?} is not listed",
                        entry
                    );
                    if let (CacheKind::Tlb, true, Outcome::Translated(to)) =
                        (cache, combined, &outcome)
                    {
                        hits += 1;
                        let outputs = outputs(&before, entry, transaction.address.get());
                        prop_assert!(outputs.contains(&to.pa.get()), "{outputs:x?} {to:?}");
                    }
                }
                CacheEvent::Miss { .. } => {}
                CacheEvent::Fill {
                    cache,
                    entry,
                    evicted,
                } => {
                    if let Some(gone) = evicted {
                        // A unified walk cache makes room for one stage by an entry of the other.
                        let gone = format!("{gone:?}");
                        let at = expected.iter().position(|known| known.ends_with(&gone));
                        prop_assert!(at.is_some(), "{:?} was not listed", gone);
                        expected.remove(at.unwrap());
                    }
                    let filled = name(cache, entry);
                    if expected.contains(&filled) {
                        either.push(filled);
                    } else {
                        expected.push(filled);
                    }
                }
            }
        }
        expected.sort_unstable();
        let mut listed = names(&after);
        for names in [&mut expected, &mut listed] {
            names.retain(|name| !either.contains(name));
        }
        prop_assert_eq!(listed, expected);
        prop_assert_eq!(
            after.len() - after.configurations.len() - after.stes.len(),
            driver.smmu.cached_translations().count()
        );
    }
    Ok(hits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// IHI 0070 §3.17: entries are told apart by their tags; a listing leaves none out.
    #[test]
    fn a_listing_holds_what_hits_and_what_was_filled_and_nothing_else(choices in any::<u32>()) {
        for structure in [TlbStructure::Combined, TlbStructure::Separate] {
            check(choices, &CacheConfig { structure, ..CacheConfig::SMALL })?;
            check(choices, &CacheConfig { structure, ..CacheConfig::INFINITE })?;
        }
    }
}

#[test]
fn hits_that_a_listing_is_checked_by_happen() {
    let hits: u64 = (0..16)
        .map(|choices| check(choices, &CacheConfig::INFINITE).unwrap())
        .sum();
    assert!(hits > 50, "{hits}");
}

/// IHI 0070 §4.3 and §4.4.
#[test]
fn nothing_is_listed_after_everything_was_invalidated() {
    let mut driver = Driver::new(&Setup {
        choices: 3,
        caches: CacheConfig::INFINITE,
    });
    populate(&mut driver, 3);
    for n in 0..100 {
        let transaction = access(&driver, mix(3, n));
        let mut memory = driver.bench.ram.port();
        let _ = driver.smmu.translate(&mut memory, &transaction, &mut ());
    }
    assert!(!driver.smmu.cached().is_empty());
    let all: [[u64; 2]; 3] = [
        [CmdOp::CFGI_STE_RANGE.0.into(), 31],
        [CmdOp::TLBI_NSNH_ALL.0.into(), 0],
        [CmdOp::TLBI_EL2_ALL.0.into(), 0],
    ];
    for words in all {
        let mut memory = driver.bench.ram.port();
        let _ = driver.smmu.execute_command(&mut memory, words);
    }
    assert_eq!(driver.smmu.cached(), Cached::default());
}
