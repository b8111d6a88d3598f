//! What walks cost in time, answers asserted first: `cargo bench --bench walk`.

mod machine;

use criterion::{Criterion, criterion_group, criterion_main};
use machine::{Machine, STREAM, Stages};
use smmu::Transaction;
use smmu::addr::{Iova, Pa};
use smmu::mem::{AbortInjector, AbortRule};
use smmu::observe::{AccessCounts, Observer};

/// Checks the answer and the number of descriptor reads, then measures the translation.
fn walk(
    criterion: &mut Criterion,
    id: &str,
    stages: Stages,
    reads: u64,
    observer: impl Observer + Copy,
) {
    let machine = Machine::hot(stages);
    let (input, output) = machine.pages[0];
    let transaction = Transaction::read(STREAM, Iova::new(input));
    let mut port = machine.ram.port();
    let configuration = machine
        .smmu
        .configuration(&mut port, STREAM, None, &mut ())
        .expect("a legal stream");

    let mut counts = AccessCounts::default();
    let outcome =
        machine
            .smmu
            .translate_configured(&configuration, &mut port, &transaction, &mut counts);
    assert_eq!(outcome.pa(), Some(Pa::new(output)));
    assert_eq!(counts.walk(), reads);

    let mut observer = observer;
    criterion.bench_function(id, |bencher| {
        bencher.iter(|| {
            machine.smmu.translate_configured(
                &configuration,
                &mut port,
                &transaction,
                &mut observer,
            )
        });
    });
}

fn configured(criterion: &mut Criterion) {
    walk(
        criterion,
        "walk/stage1/4k/l0/configured",
        Stages::Stage1,
        4,
        (),
    );
    walk(
        criterion,
        "walk/stage2/4k/l0/configured",
        Stages::Stage2,
        4,
        (),
    );
    walk(
        criterion,
        "walk/nested/4k/l0-l0/configured",
        Stages::Nested,
        24,
        (),
    );
}

fn observed(criterion: &mut Criterion) {
    walk(criterion, "walk/observer/none", Stages::Nested, 24, ());
    walk(
        criterion,
        "walk/observer/counts",
        Stages::Nested,
        24,
        AccessCounts::default(),
    );
}

/// A whole cold transaction, through plain memory and through one that counts and may abort.
fn cold(criterion: &mut Criterion) {
    let machine = Machine::hot(Stages::Nested);
    let (input, output) = machine.pages[0];
    let transaction = Transaction::read(STREAM, Iova::new(input));
    let mut port = machine.ram.port();
    let answer = machine
        .smmu
        .translate_cold(&mut port, &transaction, &mut ())
        .pa();
    assert_eq!(answer, Some(Pa::new(output)));
    criterion.bench_function("walk/nested/4k/l0-l0/cold", |bencher| {
        bencher.iter(|| {
            machine
                .smmu
                .translate_cold(&mut port, &transaction, &mut ())
        });
    });

    let mut injector = AbortInjector::new(machine.ram.port(), [AbortRule::nth(u64::MAX)]);
    let answer = machine
        .smmu
        .translate_cold(&mut injector, &transaction, &mut ())
        .pa();
    assert_eq!(answer, Some(Pa::new(output)));
    criterion.bench_function("walk/nested/4k/l0-l0/cold-injector", |bencher| {
        bencher.iter(|| {
            machine
                .smmu
                .translate_cold(&mut injector, &transaction, &mut ())
        });
    });
}

criterion_group!(benches, configured, observed, cold);
criterion_main!(benches);
