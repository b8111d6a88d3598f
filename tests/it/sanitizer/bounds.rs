//! What happens at each bound of the sanitizer, and what it can say of entries it did not see made.

use smmu::Smmu;
use smmu::cache::{CacheConfig, Geometry, Replacement};
use smmu::config::SmmuConfig;
use smmu::sanitize::{Exposure, Hints, Kind, Sanitizer, SanitizerConfig, Staleness};

use super::machine::{Machine, PAGE, Stages, guest_page};

const UNMAPPED: Kind = Kind::StaleTranslation(Staleness::Unmapped);

fn machine(sanitizer: &SanitizerConfig) -> Machine {
    Machine::with_sanitizer(SmmuConfig::full(), &CacheConfig::INFINITE, sanitizer)
}

/// A machine whose stream 5 has used `pages` pages, which are then unmapped and not invalidated.
fn stale(sanitizer: &SanitizerConfig, pages: u64) -> Machine {
    let mut machine = machine(sanitizer);
    let space = machine.space(Stages::One, 1, 0);
    machine.attach(5, &space);
    for page in 0..pages {
        let leaf = space.leaf(guest_page(page));
        machine.set(&space, page * PAGE, leaf);
        machine.read(5, page * PAGE);
    }
    for page in 0..pages {
        machine.set(&space, page * PAGE, 0);
    }
    machine
}

#[test]
fn an_entry_is_reported_once_and_counted_each_time() {
    let mut machine = stale(&SanitizerConfig::default(), 1);
    for _ in 0..5 {
        machine.read(5, 0);
    }
    assert_eq!(machine.kinds(), [UNMAPPED]);
    assert_eq!(machine.sanitizer.statistics().found, 5);
    assert_eq!(machine.sanitizer.take_findings().len(), 1);
    assert_eq!(machine.sanitizer.take_findings(), []);
}

#[test]
fn findings_beyond_the_bound_are_counted() {
    let bounded = SanitizerConfig {
        findings: 3,
        ..SanitizerConfig::default()
    };
    let mut machine = stale(&bounded, 8);
    for page in 0..8 {
        machine.read(5, page * PAGE);
    }
    assert_eq!(machine.kinds(), [UNMAPPED; 3]);
    let statistics = machine.sanitizer.statistics();
    assert_eq!((statistics.found, statistics.dropped), (8, 5));
}

#[test]
fn commands_beyond_the_history_are_counted() {
    let bounded = SanitizerConfig {
        history: 4,
        ..SanitizerConfig::default()
    };
    let mut machine = stale(&bounded, 1);
    for _ in 0..10 {
        machine.sync();
    }
    machine.read(5, 0);
    let found = machine.found(UNMAPPED);
    assert_eq!((found.commands.len(), found.forgotten), (4, 6));
    assert!(found.to_string().contains("6 older commands"));
}

#[test]
fn what_the_shadow_evicts_is_no_longer_watched() {
    let one = Geometry::new(1, 1, Replacement::RoundRobin);
    let bounded = SanitizerConfig {
        shadow: CacheConfig {
            tlb: one,
            ..CacheConfig::INFINITE
        },
        ..SanitizerConfig::default()
    };
    // The device, which still has it, is found wrong all the same; where the entry comes from is
    // no longer known.
    let mut machine = stale(&bounded, 2);
    machine.read(5, 0);
    let found = machine.found(UNMAPPED);
    assert_eq!((found.exposure, found.creator), (Exposure::Device, None));
}

#[test]
fn an_invalidation_beyond_the_bound_counts_as_complete() {
    for (unsynced, kinds) in [(1, 0), (2, 1)] {
        let bounded = SanitizerConfig {
            unsynced,
            ..SanitizerConfig::default()
        };
        let mut machine = stale(&bounded, 1);
        let space = machine.space(Stages::One, 1, 0);
        machine.tlbi_page(&space, 0);
        machine.cfgi_all();
        machine.read(5, 0);
        assert_eq!(machine.kinds().len(), kinds);
    }
}

#[test]
fn structures_beyond_the_bound_are_forgotten_oldest_first() {
    for (structures, kinds) in [(1, 0), (2, 1)] {
        let bounded = SanitizerConfig {
            structures,
            ..SanitizerConfig::default()
        };
        let mut machine = machine(&bounded);
        let spaces = [1, 2, 3].map(|id| machine.space(Stages::Two, id, id));
        for stream in [5, 6] {
            machine.attach(stream, &spaces[0]);
            machine.read(stream, 0);
        }
        // Stage 2 of stream 5 is replaced while it is valid: VMID and table.
        let ste = machine.ste(5, &spaces[1]);
        machine.store(machine.ste_at(5), ste);
        machine.cfgi_ste(5);
        machine.sync();
        assert_eq!(machine.kinds().len(), kinds);
    }
}

#[test]
fn entries_from_before_are_judged_without_an_origin() {
    let mut machine = stale(&SanitizerConfig::default(), 1);
    let used: Smmu = machine.sanitizer.clone().into_smmu();
    machine.sanitizer = Sanitizer::new(used, &SanitizerConfig::default()).unwrap();
    machine.read(5, 0);
    let found = machine.found(UNMAPPED);
    assert_eq!((found.exposure, found.creator), (Exposure::Device, None));
    assert!(found.entry.is_some());
}

#[test]
fn a_disabled_smmu_is_not_judged() {
    let mut machine = stale(&SanitizerConfig::default(), 1);
    machine
        .sanitizer
        .mmio_write(0x20, smmu::regfile::Width::W32, 0);
    machine.read(5, 0);
    machine.assert_silent();
}

#[test]
fn a_part_without_caches_is_told_what_others_would_do() {
    let mut machine = Machine::new(SmmuConfig::full(), &CacheConfig::OFF, Hints::Off);
    let space = machine.space(Stages::One, 1, 0);
    machine.attach(5, &space);
    let leaf = space.leaf(guest_page(0));
    machine.set(&space, 0, leaf);
    machine.read(5, 0);
    machine.set(&space, 0, 0);
    let [warm, cold] = machine.read(5, 0);
    assert_eq!(warm, cold);
    assert_eq!(machine.found(UNMAPPED).exposure, Exposure::Possible);
}
