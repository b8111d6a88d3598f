//! Attach and detach of a group, SET and UNSET, and the search over their orders. The answer is
//! asserted before anything is timed: where the device's DMA leads, and that nothing is found.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smmu_sim::unwind::{Plan, World, explore, parse_list, semantics};

fn world(name: &str, topology: &str, prior: &str) -> World {
    let named = semantics(name).unwrap();
    let mut world = World::new(named.semantics, &topology.parse().unwrap()).unwrap();
    for op in parse_list(prior).unwrap() {
        world.run(op).unwrap();
    }
    world
}

/// Does and undoes; both are timed.
fn pair(criterion: &mut Criterion, name: &str, semantics: &str, prior: &str, ops: &str) {
    let mut world = world(semantics, "0,1", prior);
    let before = world.view();
    let ops = parse_list(ops).unwrap();
    for op in &ops {
        world.run(*op).unwrap();
    }
    let after = world.view();
    assert_eq!(before.streams[0].ste, after.streams[0].ste, "{name}");
    assert_eq!(before.containers, after.containers, "{name}");
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            for op in &ops {
                world.run(black_box(*op)).unwrap();
            }
        });
    });
}

fn attach(criterion: &mut Criterion) {
    for name in ["5.10", "6.1", "7.2", "v13", "fixed"] {
        // A group joins the domain there is, and leaves it.
        let id = format!("attach/detach/{name}");
        pair(criterion, &id, name, "attach 1", "attach 0, detach 0");
    }
    for name in ["v13", "fixed"] {
        let id = format!("attach/set-unset/{name}");
        let prior = "attach 0, attach 1, map 0";
        pair(criterion, &id, name, prior, "set T, unset");
    }
}

fn search(criterion: &mut Criterion) {
    let named = semantics("fixed").unwrap();
    let plan = Plan::everything("0,1".parse().unwrap(), 2);
    let found = explore(&named, &plan).unwrap();
    assert!(found.findings.is_empty() && found.runs > 2000);
    let mut group = criterion.benchmark_group("unwind");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(found.runs));
    group.bench_function("explore/fixed/bound-2", |bencher| {
        bencher.iter(|| explore(&named, black_box(&plan)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, attach, search);
criterion_main!(benches);
