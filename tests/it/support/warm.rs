//! The same transaction cold and warm: what caches remember must not change an answer.

use smmu::cache::{CacheConfig, TlbStructure};
use smmu::mem::AbortInjector;
use smmu::observe::AccessCounts;
use smmu::{Outcome, Smmu, Transaction};

use super::bench::Bench;
use super::rig::differences;

/// Caches that every transaction of a [`Bench`] is tried with.
fn shapes() -> [(&'static str, CacheConfig); 3] {
    let separate = CacheConfig {
        structure: TlbStructure::Separate,
        ..CacheConfig::INFINITE
    };
    [
        ("infinite", CacheConfig::INFINITE),
        ("small", CacheConfig::SMALL),
        ("separate", separate),
    ]
}

/// An outcome without what only a transaction that is kept has.
pub(crate) fn comparable(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Stalled { fault, event, .. } => Outcome::Stalled {
            id: None,
            fault,
            event,
        },
        other => other,
    }
}

/// Translates twice with caches of every shape and compares with `cold`, which was translated in
/// memory like that of `bench` before it. `after` is that memory now.
pub(crate) fn agrees_warm(bench: &Bench, transaction: &Transaction, cold: &Outcome, after: &Bench) {
    // Caches save accesses, so that counted ones are others.
    if bench.aborts.iter().any(|rule| rule.nth.is_some()) {
        return;
    }
    for (name, shape) in shapes() {
        let warm = bench.clone();
        let mut smmu = warm.program(Smmu::with_caches(warm.config.clone(), &shape).unwrap());
        let mut counts = AccessCounts::default();
        for time in 1..=2 {
            let mut memory = AbortInjector::new(warm.ram.port(), warm.aborts.iter().cloned());
            counts = AccessCounts::default();
            let outcome = smmu.translate(&mut memory, transaction, &mut counts);
            if outcome == Outcome::Refused {
                assert!(
                    matches!(cold, Outcome::Stalled { .. }),
                    "{name}, time {time}"
                );
                continue;
            }
            assert_eq!(
                comparable(outcome),
                comparable(*cold),
                "{name} caches, time {time}: {transaction:?}"
            );
        }
        assert_eq!(differences(&warm.ram, &after.ram), [], "{name} caches");
        if name == "infinite" && cold.pa().is_some() && bench.smmuen {
            assert_eq!(counts.configuration, 0, "the configuration is cached");
        }
    }
}
