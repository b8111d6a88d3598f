//! Devices with ATS in time: the functional model's outcomes and events whatever is in the way, and
//! what requests and invalidations cost.

mod bench;

use proptest::prelude::*;
use smmu::Transaction;
use smmu::addr::Iova;
use smmu::ats::AtsEndpoints;
use smmu::cache::CacheConfig;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::timing::{Arrival, LatencyClass, Operation};
use smmu_sim::simulate::run::{Input, functional};
use smmu_sim::simulate::settings::RunSettings;
use smmu_sim::workload::generator::Pattern;
use smmu_sim::workload::world::{Atschk, Eats, FIRST_IOVA, Stages, World};

use super::equal::{consistent, cramped, run, settings, workload};
use bench::{ATC_INV, STREAMS, SYNC, Updates, act, bench, in_time, operations};

prop_compose! {
    fn ats()(
        entries in prop_oneof![Just(0u32), Just(8), Just(64)],
        policy in prop_oneof![Just("lru"), Just("random"), Just("round-robin")],
        latency in 0u64..5,
        requests in 1u32..6,
        link in prop_oneof![Just(0u64), Just(7), Just(450)],
        interval in 1u64..4,
        stu_log2 in prop_oneof![Just(12u32), Just(14)],
        invalidations in prop_oneof![Just(1u32), Just(3), Just(32)],
        eats in prop_oneof![Just("auto"), Just("full"), Just("split-stage"), Just("off")],
        atschk in any::<bool>(),
    ) -> Vec<String> {
        vec![
            "ats.enabled=true".to_owned(),
            format!("ats.entries={entries}"),
            format!("ats.policy={policy}"),
            format!("ats.latency_cycles={latency}"),
            format!("ats.requests={requests}"),
            format!("ats.link_latency_cycles={link}"),
            format!("ats.link_interval_cycles={interval}"),
            format!("ats.stu_log2={stu_log2}"),
            format!("ats.invalidations={invalidations}"),
            format!("machine.eats={eats}"),
            format!("machine.atschk={atschk}"),
        ]
    }
}

/// Split-stage ATS is for nested streams, and the modelled driver knows full ATS of a host only.
fn legal(mut settings: RunSettings) -> RunSettings {
    let machine = &mut settings.machine;
    if machine.stages != Stages::Nested && machine.eats == Eats::SplitStage {
        machine.eats = Eats::Full;
    }
    if settings.workload.pattern == Pattern::Driver && machine.eats != Eats::Off {
        machine.atschk = Atschk::On;
        if machine.stages == Stages::Nested {
            settings.workload.pattern = Pattern::Random;
        }
    }
    settings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One device, two drivers: its ATC, its link and what the SMMU is busy with change when an
    /// access is made, never what becomes of it.
    #[test]
    fn timed_and_functional_devices_with_ats_get_the_same_outcomes(
        machine in cramped(),
        workload in workload(),
        ats in ats(),
    ) {
        let settings = legal(settings(machine.into_iter().chain(workload).chain(ats)));
        let in_time = run(&settings);
        consistent(&settings, &in_time.report);
        let counts = in_time.report.ats.unwrap();
        prop_assert!(counts.atc_misses_count <= counts.atc_lookups_count);
        let at_once = functional(&settings, &Input::Generated, &CacheConfig::SMALL).unwrap();
        prop_assert_eq!(in_time.digest, at_once.digest);
        let cold = functional(&settings, &Input::Generated, &CacheConfig::OFF).unwrap();
        prop_assert_eq!(cold.digest, at_once.digest);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// IHI 0070 §3.9, §13.6: one access after another, tables and STEs change in between. Each
    /// outcome, each event of requests and of transactions in order, and each descriptor as hardware
    /// leaves it.
    #[test]
    fn one_device_after_another_gets_the_outcomes_and_events_of_the_functional_model(
        acts in prop::collection::vec(act(), 1..60),
        stages in prop_oneof![Just("stage1"), Just("stage2"), Just("nested"), Just("split")],
        atschk in any::<bool>(),
        entries in prop_oneof![Just(0u32), Just(64)],
        updates in prop_oneof![Just(Updates::No), Just(Updates::Yes)],
    ) {
        let (stages, eats) = match stages {
            "split" => ("nested", "split-stage"),
            stages => (stages, "full"),
        };
        let settings = settings([
            "ats.enabled=true".to_owned(),
            "ats.ways=0".to_owned(),
            "device.outstanding=1".to_owned(),
            format!("ats.entries={entries}"),
            format!("machine.streams={STREAMS}"),
            format!("machine.stages={stages}"),
            format!("machine.eats={eats}"),
            format!("machine.atschk={atschk}"),
        ]);
        let timed = bench(&settings, updates);
        let (noting, _, events) = in_time(&timed, &settings, operations(&timed, &acts, &mut 0));

        let at_once = bench(&settings, updates);
        let mut smmu = at_once.smmu.clone();
        let mut devices = AtsEndpoints::new(entries as usize, 12);
        let mut port = at_once.ram.port();
        let mut outcomes = Vec::new();
        for operation in operations(&at_once, &acts, &mut 0) {
            match operation {
                Operation::Arrive(arrival) => {
                    let transaction = &arrival.transaction;
                    outcomes.push(devices.access(&mut smmu, &mut port, transaction, &mut ()));
                }
                Operation::Command(words) => {
                    smmu.execute_command_with(&mut port, &mut devices, words).unwrap();
                }
                Operation::Store { pa, value } => {
                    port.write64(pa, value, AccessClass::Stage1).unwrap();
                }
                _ => {}
            }
        }
        prop_assert_eq!(&noting.outcomes, &outcomes);
        prop_assert_eq!(events, at_once.events(&smmu));
        prop_assert_eq!(timed.descriptors(), at_once.descriptors());
    }
}

fn arrive(stream: u32, offset: u64) -> Operation {
    let address = Iova::new(FIRST_IOVA + offset);
    Operation::Arrive(Arrival {
        transaction: Transaction::read(StreamId::new(stream), address),
        bytes: 64,
        not_before: 0,
    })
}

fn invalidate(stream: u32) -> Operation {
    Operation::Command([ATC_INV | u64::from(stream) << 32, FIRST_IOVA])
}

fn with_ats(changes: &[&str]) -> RunSettings {
    let streams = format!("machine.streams={STREAMS}");
    let common = ["ats.enabled=true", &streams];
    settings(
        common
            .iter()
            .chain(changes)
            .map(|&change| change.to_owned()),
    )
}

/// One request for a page, however many want it.
#[test]
fn misses_of_one_page_share_a_request_and_those_of_another_device_do_not() {
    let settings = with_ats(&[]);
    let bench = bench(&settings, Updates::No);
    let operations = (0..20)
        .map(|n| arrive(0, n * 64))
        .chain((0..20).map(|n| arrive(1, n * 64)))
        .collect();
    let (noting, report, _) = in_time(&bench, &settings, operations);
    assert!(noting.outcomes.iter().all(|outcome| outcome.pa().is_some()));
    let counts = report.ats.unwrap();
    assert_eq!(counts.translation_requests_count, 2);
    assert_eq!(counts.atc_merged_count, 38);
    assert_eq!(counts.translated_transactions_count, 40);
    assert_eq!(report.class(LatencyClass::AtcMerged).histogram().len(), 38);
}

/// PCIe ATS §3: an invalidation is complete when what used the translation is over; IHI 0070
/// §4.7.3: CMD_SYNC waits for it.
#[test]
fn a_sync_waits_for_the_link_the_device_and_the_translations_in_use() {
    let settings = with_ats(&["device.round_trip_cycles=5000"]);
    let ats = &settings.timing.ats;
    let round = 2 * ats.link_latency_cycles + ats.invalidate_cycles;
    let sync = Operation::Command([SYNC, 0]);
    let commands = |before: &[Operation]| {
        let bench = bench(&settings, Updates::No);
        let mut operations = before.to_vec();
        operations.extend([invalidate(0), sync, Operation::AwaitCommands]);
        let (noting, report, _) = in_time(&bench, &settings, operations);
        assert_eq!(report.tcu.syncs_count, 1);
        (noting.times, report)
    };
    // Nothing in use: the link both ways and the match.
    let (_, report) = commands(&[]);
    assert_eq!(report.tcu.sync_cycles, round);
    let counts = report.ats.unwrap();
    assert_eq!(
        (counts.invalidations_count, counts.invalidation_cycles),
        (1, round)
    );
    // In use when the invalidation comes, until the device has its completion; then the way back.
    let first = arrive(0, 0);
    let second = arrive(0, 64);
    let (times, report) = commands(&[first, Operation::AwaitTransaction(0), second]);
    let over = times[1] + settings.timing.device.round_trip_cycles;
    assert_eq!(report.cycles, over + ats.link_latency_cycles);
    assert_eq!(report.ats.unwrap().invalidated_count, 1);
    // Another page of the device, or another device, is not waited for.
    for other in [arrive(0, 4096), arrive(1, 0)] {
        let (_, report) = commands(&[other, Operation::AwaitTransaction(0), other]);
        assert_eq!(report.tcu.sync_cycles, round);
    }
}

#[test]
fn no_more_invalidations_are_under_way_than_there_may_be() {
    for (most, rounds) in [(1, 4), (2, 2), (4, 1)] {
        let most = format!("ats.invalidations={most}");
        let settings = with_ats(&[&most, "memory.latency_cycles=0", "memory.request_cycles=0"]);
        let ats = &settings.timing.ats;
        let bench = bench(&settings, Updates::No);
        let mut operations: Vec<_> = (0..4).map(|_| invalidate(0)).collect();
        operations.extend([Operation::Command([SYNC, 0]), Operation::AwaitCommands]);
        let (_, report, _) = in_time(&bench, &settings, operations);
        let round = 2 * ats.link_latency_cycles + ats.invalidate_cycles;
        // Rounds one after another; within one, a few cycles between commands.
        let expected = rounds * round;
        assert!(
            (expected..expected + 40).contains(&report.cycles),
            "{report:?}"
        );
        let slots = report.resource("ats.invalidations").unwrap();
        assert!(slots.usage.peak_count <= slots.capacity_count);
    }
}

/// IHI 0070 §3.9: Unsupported Request tells a device that its stream has no ATS.
#[test]
fn a_stream_without_eats_goes_on_untranslated_after_one_request() {
    let common = [
        "workload.transactions=3000",
        "workload.pages=40",
        "device.outstanding=1",
    ];
    let plain = run(&settings(common.map(str::to_owned)));
    let refused = ["ats.enabled=true", "machine.eats=off"];
    let refused = common.iter().chain(&refused).map(|&c| c.to_owned());
    let refused = run(&settings(refused));
    assert_eq!(refused.digest, plain.digest);
    let counts = refused.report.ats.unwrap();
    assert_eq!(counts.translation_requests_count, 1);
    assert_eq!(counts.unsupported_count, 1);
    assert_eq!(counts.translated_transactions_count, 0);
    assert_eq!(refused.report.tcu.events_count, 1);
}

/// arm_smmu_iotlb_sync, arm_smmu_flush_iotlb_all (6.12): TLBI and SYNC, then ATC_INV and SYNC.
#[test]
fn the_modelled_driver_has_devices_forget_what_it_unmaps() {
    for (flush, invalidations) in [("strict", 200 - 8), ("lazy", (200 - 8) / 32)] {
        let settings = settings([
            "ats.enabled=true".to_owned(),
            "workload.pattern=driver".to_owned(),
            "workload.pages=64".to_owned(),
            "workload.per_buffer=10".to_owned(),
            "workload.flush_pages=32".to_owned(),
            "workload.transactions=2000".to_owned(),
            format!("workload.flush={flush}"),
        ]);
        let in_time = run(&settings);
        let at_once = functional(&settings, &Input::Generated, &CacheConfig::INFINITE).unwrap();
        assert_eq!(at_once.translated_count, 2000, "{flush}");
        assert_eq!(in_time.digest, at_once.digest, "{flush}");
        let report = &in_time.report;
        let counts = report.ats.unwrap();
        assert_eq!(counts.translated_transactions_count, 2000, "{flush}");
        assert_eq!(counts.invalidations_count, invalidations, "{flush}");
        assert_eq!(report.tcu.tlb_invalidations_count, invalidations, "{flush}");
        assert_eq!(report.tcu.syncs_count, 2 * invalidations, "{flush}");
    }
}

#[test]
fn what_cannot_have_ats_is_named() {
    let message = |changes: &[&str]| {
        let settings = with_ats(changes);
        let ram = Ram::sparse();
        World::new(&ram, &settings.world()).unwrap_err().to_string()
    };
    assert_eq!(
        message(&["machine.eats=split-stage"]),
        "machine.eats = split-stage: machine.stages is nested"
    );
    let trace = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/traces/k61_lazy.head.csv.zst"
    );
    let input = Input::Trace(trace.into());
    let error = functional(&with_ats(&[]), &input, &CacheConfig::OFF).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ats.enabled = true: the trace sets up an SMMU without ATS"
    );
}
