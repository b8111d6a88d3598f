//! Devices with ATS in time: the functional model's outcomes and events whatever is in the way, and
//! what requests and invalidations cost.

use proptest::prelude::*;
use smmu::addr::{Iova, Pa};
use smmu::ats::AtsEndpoints;
use smmu::cache::CacheConfig;
use smmu::config::{Httu, SmmuConfig};
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::observe::{Access, Observer, Structure};
use smmu::regfile::{Width, register_offset};
use smmu::timing::{Arrival, Completed, LatencyClass, Machine, Operation, Report, Workload};
use smmu::transaction::{AccessKind, Outcome};
use smmu::{Smmu, Transaction};
use smmu_sim::simulate::run::{Input, functional};
use smmu_sim::simulate::settings::RunSettings;
use smmu_sim::workload::world::{FIRST_IOVA, World};

use super::equal::{consistent, cramped, run, settings, workload};

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

/// Split-stage ATS is for nested streams.
fn legal(mut settings: RunSettings) -> RunSettings {
    use smmu_sim::workload::world::{Eats, Stages};
    if settings.machine.stages != Stages::Nested && settings.machine.eats == Eats::SplitStage {
        settings.machine.eats = Eats::Full;
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

const STREAMS: u32 = 3;
const PAGES: u64 = 5;
const EVENTS: (u64, u64) = (0x9000_0000, 8);

const TLBI_NSNH_ALL: u64 = 0x30;
const CFGI_STE: u64 = 0x03;
const ATC_INV: u64 = 0x40;
const SYNC: u64 = 0x46;
/// Size of CMD_ATC_INV that is everything (IHI 0070 §4.5.1).
const EVERYTHING: u64 = 52;

fn register(name: &str) -> u32 {
    register_offset(name).unwrap()
}

/// Three streams with some pages each, and where their descriptors are.
struct Bench {
    ram: Ram,
    smmu: Smmu,
    stes: u64,
    leaves: Vec<Vec<(Pa, u64)>>,
}

/// The last descriptor of the first stage that translates.
#[derive(Default)]
struct Leaf(Option<(Pa, bool)>);

impl Observer for Leaf {
    fn access(&mut self, access: &Access<'_>) {
        match (access.structure, self.0) {
            (Structure::Stage1(_), _) => self.0 = Some((access.pa, true)),
            (Structure::Stage2(_), None | Some((_, false))) => self.0 = Some((access.pa, false)),
            _ => {}
        }
    }
}

/// Whether hardware updates descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Updates {
    No,
    Yes,
}

/// The same SMMU as a part that updates descriptors, and streams that have it do so: CD.{HA, HD} of
/// stage 1, STE.{S2HA, S2HD} of stage 2.
fn updating(smmu: &Smmu, ram: &Ram, stes: u64) -> Smmu {
    let config = SmmuConfig {
        httu: Httu::Dirty,
        ..smmu.config().clone()
    };
    let mut other = Smmu::new(config).unwrap();
    for (name, width) in [
        ("STRTAB_BASE", Width::W64),
        ("STRTAB_BASE_CFG", Width::W32),
        ("CR0", Width::W32),
    ] {
        let value = smmu.mmio_read(register(name), width);
        other.mmio_write(register(name), width, value);
    }
    let mut port = ram.port();
    let mut set = |at: u64, bits: u64| {
        let word = port.read64(Pa::new(at), AccessClass::Stage1).unwrap();
        let pa = Pa::new(at);
        port.write64(pa, word | bits, AccessClass::Stage1).unwrap();
        word
    };
    for stream in 0..u64::from(STREAMS) {
        let ste = stes + stream * 64;
        let first = set(ste, 0);
        // A nested stream's CD is in its guest's memory, whose place is the world's affair.
        if first >> 1 & 7 == 0b101 {
            set(first & 0x000f_ffff_ffff_ffc0, 3 << 42);
        }
        set(ste + 16, 3 << 55);
    }
    other
}

fn bench(settings: &RunSettings, updates: Updates) -> Bench {
    let ram = Ram::sparse();
    let (mut world, mut smmu) = World::new(&ram, &settings.world()).unwrap();
    let mut port = ram.port();
    let leaves = (0..STREAMS).map(|stream| {
        (0..PAGES)
            .map(|page| {
                let iova = FIRST_IOVA + (page << 12);
                world.map(stream, iova).unwrap();
                let transaction = Transaction::read(StreamId::new(stream), Iova::new(iova));
                let mut leaf = Leaf::default();
                smmu.translate_cold(&mut port, &transaction, &mut leaf);
                let (pa, _) = leaf.0.unwrap();
                (pa, port.read64(pa, AccessClass::Stage1).unwrap())
            })
            .collect()
    });
    let leaves = leaves.collect();
    let stes = smmu.mmio_read(register("STRTAB_BASE"), Width::W64) & 0x000f_ffff_ffff_ffc0;
    if updates == Updates::Yes {
        smmu = updating(&smmu, &ram, stes);
    }
    let (base, log2) = EVENTS;
    smmu.mmio_write(register("EVENTQ_BASE"), Width::W64, base | log2);
    let enabled = smmu.mmio_read(register("CR0"), Width::W32) | 1 << 2;
    smmu.mmio_write(register("CR0"), Width::W32, enabled);
    Bench {
        ram,
        smmu,
        stes,
        leaves,
    }
}

impl Bench {
    /// The leaf descriptors as they are now.
    fn descriptors(&self) -> Vec<u64> {
        let mut port = self.ram.port();
        let places = self.leaves.iter().flatten();
        places
            .map(|(pa, _)| port.read64(*pa, AccessClass::Stage1).unwrap())
            .collect()
    }

    /// The events written, as words.
    fn events(&self, smmu: &Smmu) -> Vec<u64> {
        let prod = smmu.mmio_read(register("EVENTQ_PROD"), Width::W32);
        let mut port = self.ram.port();
        (0..prod * 4)
            .map(|word| Pa::new(EVENTS.0 + word * 8))
            .map(|pa| port.read64(pa, AccessClass::Stage1).unwrap())
            .collect()
    }
}

/// What happens on the bench.
#[derive(Debug, Clone, Copy)]
enum Act {
    Access {
        stream: u32,
        page: u64,
        write: bool,
    },
    /// A leaf descriptor becomes what `how` says.
    Page {
        stream: u32,
        page: u64,
        how: usize,
    },
    /// An STE's word 0 or 1 becomes what `how` says.
    Stream {
        stream: u32,
        how: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let access =
        (0..STREAMS, 0..=PAGES, any::<bool>()).prop_map(|(stream, page, write)| Act::Access {
            stream,
            page,
            write,
        });
    let page = (0..STREAMS, 0..PAGES, 0usize..7).prop_map(|(stream, page, how)| Act::Page {
        stream,
        page,
        how,
    });
    let stream = (0..STREAMS, 0usize..6).prop_map(|(stream, how)| Act::Stream { stream, how });
    prop_oneof![12 => access, 4 => page, 1 => stream]
}

/// The act as operations. What changes is invalidated as a driver does it: the SMMU's caches, then
/// the device's.
fn operations(bench: &Bench, acts: &[Act], transactions: &mut u64) -> Vec<Operation> {
    let port = &mut bench.ram.port();
    let mut operations = Vec::new();
    for act in acts {
        let stream = match *act {
            Act::Access {
                stream,
                page,
                write,
            } => {
                let kind = if write {
                    AccessKind::Write
                } else {
                    AccessKind::Read
                };
                let address = Iova::new(FIRST_IOVA + (page << 12) + 64 * *transactions % 4096);
                operations.push(Operation::Arrive(Arrival {
                    transaction: Transaction::new(StreamId::new(stream), address, kind),
                    bytes: 64,
                    not_before: 0,
                }));
                operations.push(Operation::AwaitTransaction(*transactions));
                *transactions += 1;
                continue;
            }
            Act::Page { stream, page, how } => {
                let (pa, leaf) = bench.leaves[stream as usize][page as usize];
                // Gone; read-only by either stage's bits; clean (DBM); never used; both; out of range;
                // as it was.
                let value = [
                    0,
                    leaf ^ 1 << 7,
                    leaf ^ 1 << 7 | 1 << 51,
                    leaf & !(1 << 10),
                    (leaf ^ 1 << 7 | 1 << 51) & !(1 << 10),
                    leaf | 0xf << 44,
                    leaf,
                ][how];
                operations.push(Operation::Store { pa, value });
                stream
            }
            Act::Stream { stream, how } => {
                let at = Pa::new(bench.stes + u64::from(stream) * 64);
                let mut word =
                    |place: u64| port.read64(at.add(place * 8), AccessClass::Stage1).unwrap();
                let (first, second) = (word(0), word(1));
                let eats = second & !(3 << 28);
                let (place, value) = [
                    (1, eats),
                    (1, eats | 1 << 28),
                    (0, first & !1),
                    (0, first & !(7 << 1)),
                    (0, first),
                    (1, second),
                ][how];
                let pa = at.add(place * 8);
                operations.push(Operation::Store { pa, value });
                stream
            }
        };
        for command in [
            [CFGI_STE | u64::from(stream) << 32, 1],
            [TLBI_NSNH_ALL, 0],
            [SYNC, 0],
            [ATC_INV | u64::from(stream) << 32, EVERYTHING],
            [SYNC, 0],
        ] {
            operations.push(Operation::Command(command));
        }
        operations.push(Operation::AwaitCommands);
    }
    operations
}

/// Notes outcomes and times.
struct Noting {
    operations: std::vec::IntoIter<Operation>,
    outcomes: Vec<Outcome>,
    times: Vec<u64>,
}

impl Workload for Noting {
    fn next_operation(&mut self) -> Option<Operation> {
        self.operations.next()
    }

    fn completed(&mut self, completed: &Completed<'_>) {
        self.outcomes.push(*completed.outcome);
        self.times.push(completed.time);
    }
}

fn in_time(
    bench: &Bench,
    settings: &RunSettings,
    operations: Vec<Operation>,
) -> (Noting, Report, Vec<u64>) {
    let mut noting = Noting {
        operations: operations.into_iter(),
        outcomes: Vec::new(),
        times: Vec::new(),
    };
    let smmu = bench.smmu.clone();
    let mut machine = Machine::new(smmu, bench.ram.port(), &settings.timing).unwrap();
    machine.run(&mut noting);
    let events = bench.events(machine.smmu());
    (noting, machine.report(), events)
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

/// PCIe ATS §3: a function whose request is unsupported does not use its ATC.
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
