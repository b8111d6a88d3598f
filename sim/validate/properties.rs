//! V8, V9 and V10: what must hold for any workload, and shapes others published.

use smmu::addr::{Iova, Pa};
use smmu::cache::CacheConfig;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::observe::{Access, Observer, Structure};
use smmu::timing::{Arrival, Completed, LatencyClass, Machine, Operation, Workload};
use smmu::{Outcome, Smmu, Transaction};

use super::runs::{mean, report, result, settings};
use super::{Checks, Effort};
use crate::simulate::run::{Input, functional};
use crate::simulate::settings::RunSettings;
use crate::workload::random::Random;
use crate::workload::world::{FIRST_IOVA, World};

/// The setting for devices with ATS, if their STEs have an EATS.
fn with_ats(eats: &str) -> &'static str {
    if eats.is_empty() {
        "ats.enabled=false"
    } else {
        "ats.enabled=true"
    }
}

fn about_ats(eats: &str) -> String {
    if eats.is_empty() {
        String::new()
    } else {
        format!(", ATS {eats}")
    }
}

/// V8.
pub(super) fn equal_and_monotone(checks: &mut Checks, effort: Effort) {
    let transactions = match effort {
        Effort::Full => "workload.transactions=40000",
        Effort::Quick => "workload.transactions=8000",
    };
    for (pattern, stages, flush, eats) in [
        ("random", "stage1", "never", ""),
        ("zipf", "stage2", "never", ""),
        ("stride", "nested", "never", ""),
        ("tenants", "nested", "never", ""),
        ("driver", "stage1", "strict", ""),
        ("driver", "stage1", "lazy", ""),
        ("driver", "nested", "strict", ""),
        ("driver", "nested", "lazy", ""),
        ("zipf", "nested", "never", "full"),
        ("random", "nested", "never", "split-stage"),
        ("driver", "stage1", "strict", "full"),
        ("driver", "stage1", "lazy", "full"),
    ] {
        let changes = [
            format!("workload.pattern={pattern}"),
            format!("machine.stages={stages}"),
            format!("workload.flush={flush}"),
            with_ats(eats).to_owned(),
            format!(
                "machine.eats={}",
                if eats.is_empty() { "auto" } else { eats }
            ),
        ];
        let mut all: Vec<&str> = changes.iter().map(String::as_str).collect();
        all.extend([
            transactions,
            "machine.streams=3",
            "workload.pages=300",
            "workload.writes=300",
        ]);
        let settings = settings("default", &all);
        let timed = result(&settings).digest;
        let at_once = functional(&settings, &Input::Generated, &CacheConfig::INFINITE);
        let at_once = at_once.expect("a workload of this crate").digest;
        let ats = about_ats(eats);
        let what = format!("{pattern} {stages} {flush}{ats}: every outcome timed = functional");
        checks.holds("V8", what, timed == at_once);
    }
    let mut before = u64::MAX;
    let mut included = true;
    for entries in [16, 32, 64, 128, 256, 512] {
        let size = format!("main_tlb.entries={entries}");
        let changes = [
            size.as_str(),
            transactions,
            "main_tlb.ways=0",
            "main_tlb.policy=lru",
            "micro_tlb.entries=0",
            "device.outstanding=1",
            "workload.pattern=zipf",
            "workload.pages=600",
        ];
        let misses = report("default", &changes).tbus[0].main_tlb_misses_count;
        included &= misses <= before;
        before = misses;
    }
    checks.holds("V8", "a larger LRU TLB never misses more", included);
    let mut before = 0.0;
    let mut monotone = true;
    for slots in [1, 2, 4, 8, 16, 32] {
        let slots = format!("tcu.walk_slots={slots}");
        let changes = [
            slots.as_str(),
            transactions,
            "workload.pattern=stride",
            "workload.pages=65536",
            "walk_cache.entries=0",
            "memory.merge_entries=0",
        ];
        let report = report("default", &changes);
        let rate = report.transactions_count as f64 / report.cycles as f64;
        monotone &= rate >= before;
        before = rate;
    }
    checks.holds("V8", "another walk slot never lowers throughput", monotone);
}

/// Sees the leaf descriptor of the first stage that translates.
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

/// Uses a page from many transactions, unmaps it at some moment of their lives, invalidates, and
/// uses it again.
struct UseAfterUnmap {
    operations: std::vec::IntoIter<Operation>,
    last: u64,
    stale: bool,
    seen: bool,
}

impl Workload for UseAfterUnmap {
    fn next_operation(&mut self) -> Option<Operation> {
        self.operations.next()
    }

    fn completed(&mut self, completed: &Completed<'_>) {
        if completed.index >= self.last {
            self.seen = true;
            self.stale |= completed.outcome.pa().is_some();
        }
    }
}

const TLBI_NSNH_ALL: u64 = 0x30;
const SYNC: u64 = 0x46;

/// Whether a stale translation was used when the page was unmapped `delay` cycles into a run.
fn stale_at(
    settings: &RunSettings,
    ram: &Ram,
    smmu: &Smmu,
    (leaf, by_address, atc): (Pa, Option<u64>, Option<(u64, u64)>),
    delay: u64,
) -> bool {
    let page = 1u64 << settings.machine.page_log2;
    let mut random = Random::new(delay);
    let arrive = |offset: u64, not_before| {
        let address = Iova::new(FIRST_IOVA + offset);
        Operation::Arrive(Arrival {
            transaction: Transaction::read(StreamId::new(0), address),
            bytes: 64,
            not_before,
        })
    };
    let mut operations = Vec::new();
    for _ in 0..6 {
        operations.push(arrive(random.below(page / 64) * 64, 0));
    }
    // A moment of the run: an unmapped page elsewhere, which disturbs nothing.
    operations.push(arrive(page * 8, delay));
    operations.push(Operation::Store { pa: leaf, value: 0 });
    let inside = random.below(page) & !0xfff;
    // One page of the mapping, not always its first: a block goes as a whole.
    operations.push(Operation::Command(match by_address {
        Some(command) if delay.is_multiple_of(2) => [command, (FIRST_IOVA + inside) | 1],
        _ => [TLBI_NSNH_ALL, 0],
    }));
    if let Some((low, size)) = atc {
        // The kernel waits before it tells devices; one that does not must get by as well.
        if !delay.is_multiple_of(3) {
            operations.push(Operation::Command([SYNC, 0]));
        }
        operations.push(Operation::Command([low, FIRST_IOVA | size]));
    }
    operations.push(Operation::Command([SYNC, 0]));
    // Others go on using the page while the command is under way.
    for _ in 0..3 {
        operations.push(arrive(random.below(page / 64) * 64, 0));
    }
    operations.push(Operation::AwaitCommands);
    let last = 10;
    for _ in 0..4 {
        operations.push(arrive(random.below(page / 64) * 64, 0));
    }
    let mut workload = UseAfterUnmap {
        operations: operations.into_iter(),
        last,
        stale: false,
        seen: false,
    };
    let machine = Machine::new(smmu.clone(), ram.port(), &settings.timing);
    machine.expect("caches of a preset").run(&mut workload);
    assert!(workload.seen, "the last transactions are seen");
    workload.stale
}

/// V9.
pub(super) fn never_stale(checks: &mut Checks, effort: Effort) {
    let step = match effort {
        Effort::Full => 1,
        Effort::Quick => 7,
    };
    for (stages, page_log2, eats) in [
        ("stage1", 12, ""),
        ("stage1", 21, ""),
        ("stage2", 12, ""),
        ("nested", 12, ""),
        ("nested", 21, ""),
        ("stage1", 12, "full"),
        ("stage1", 21, "full"),
        ("stage2", 12, "full"),
        ("nested", 12, "split-stage"),
    ] {
        let changes = [
            format!("machine.stages={stages}"),
            format!("machine.page_log2={page_log2}"),
            with_ats(eats).to_owned(),
            format!(
                "machine.eats={}",
                if eats.is_empty() { "auto" } else { eats }
            ),
            // A life of a page that all moments meet.
            "ats.link_latency_cycles=100".to_owned(),
        ];
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        let settings = settings("default", &changes);
        let ram = Ram::sparse();
        let (mut world, smmu) = World::new(&ram, &settings.world()).expect("a legal world");
        world.map(0, FIRST_IOVA).expect("a legal page");
        let mut leaf = Leaf::default();
        let mut port = ram.port();
        let transaction = Transaction::read(StreamId::new(0), Iova::new(FIRST_IOVA));
        let outcome = smmu.translate_cold(&mut port, &transaction, &mut leaf);
        assert!(matches!(outcome, Outcome::Translated(_)));
        let (pa, is_stage1) = leaf.0.expect("a walk reads its leaf");
        let value = port
            .read64(pa, AccessClass::Stage1)
            .expect("tables are in memory");
        // A nested mapping that its stage 2 takes away is not found by the VA.
        let by_address = (is_stage1 || stages == "stage2").then(|| world.invalidation(0));
        let atc = world.atc_invalidation(0);
        let mut stale = 0;
        let mut moments = 0;
        for delay in (0..900).step_by(step) {
            let _ = port.write64(pa, value, AccessClass::Stage1);
            stale += u64::from(stale_at(
                &settings,
                &ram,
                &smmu,
                (pa, by_address, atc),
                delay,
            ));
            moments += 1;
        }
        let ats = about_ats(eats);
        let what = format!(
            "{stages}, pages of 2^{page_log2}{ats}: stale uses after CMD_SYNC, {moments} moments"
        );
        checks.within("V9", what, (0.0, f64::from(stale as u32)), "stale", 0.0);
    }
}

/// V10.
pub(super) fn shapes(checks: &mut Checks) {
    // A ring of packets of 1.5 KiB over more 4 KiB pages than the TLBs reach (Farshin et al., 2023).
    let ring = |page_log2: &str, pages: &str| {
        let (page, pages) = (
            format!("machine.page_log2={page_log2}"),
            format!("workload.pages={pages}"),
        );
        let report = report(
            "default",
            &[
                "workload.transactions=200000",
                "workload.pattern=random",
                "workload.bytes=1024",
                "device.outstanding=8",
                "device.round_trip_cycles=300",
                &page,
                &pages,
            ],
        );
        report.transferred_bytes as f64 / report.cycles as f64
    };
    let few = ring("12", "32");
    let many = ring("12", "16384");
    let huge = ring("21", "32");
    checks.holds(
        "V10",
        format!(
            "IOTLB wall: 64 MiB in 4 KiB pages cost {:.1} % of throughput",
            100.0 * (1.0 - many / few)
        ),
        many < 0.98 * few,
    );
    checks.holds(
        "V10",
        format!("2 MiB pages recover it: {:.1} % left", 100.0 * huge / few),
        huge > 0.99 * few,
    );
    // Walk reads from a last-level cache (arXiv 2502.17398): misses become cheap.
    let miss = |hits: &str| {
        let hits = format!("memory.cache_hits={hits}");
        let report = report(
            "default",
            &[
                "workload.transactions=20000",
                "workload.pages=16384",
                "workload.pattern=stride",
                "machine.input_bits=39",
                "walk_cache.entries=0",
                "device.outstanding=1",
                "memory.latency_cycles=600",
                "memory.cache_latency_cycles=30",
                &hits,
            ],
        );
        let hit = 2.0;
        debug_assert!(report.class(LatencyClass::Stage1).least_cycles().is_some());
        mean(&report) - hit
    };
    let ratio = miss("0") / miss("1000");
    checks.holds(
        "V10",
        format!("a last-level cache makes a miss {ratio:.1} times cheaper (published: 10 to 25)"),
        (10.0..25.0).contains(&ratio),
    );
}
