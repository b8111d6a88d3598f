//! Rings that the modelled driver maps and unmaps: commands as kernels issue them, no access that
//! faults, nothing that stays after it was invalidated, and the same outcomes in time and at once.

use std::sync::atomic::AtomicBool;

use smmu::addr::Iova;
use smmu::cache::CacheConfig;
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, PhysMem, Ram};
use smmu::observe::{Access, Observer, Structure};
use smmu::timing::Operation;
use smmu::{Smmu, Transaction};
use smmu_sim::simulate::run::{Input, functional, timed};
use smmu_sim::simulate::settings::RunSettings;
use smmu_sim::workload::driven::Driven;

const KERNELS: [(&str, u32); 3] = [("4K", 12), ("16K", 14), ("64K", 16)];
/// log2 of a page and of the smallest block of a host, by granule.
const HOSTS: [(&str, [u32; 2]); 3] = [("4K", [12, 21]), ("16K", [14, 25]), ("64K", [16, 29])];

fn settings(changes: &[&str]) -> RunSettings {
    let mut settings = RunSettings::default();
    for change in ["workload.pattern=driver", "workload.pages=64"]
        .iter()
        .chain(changes)
    {
        settings.apply_argument(change).unwrap();
    }
    settings
}

/// A guest's kernel with these pages on a host that maps it by these.
fn nested((guest, guest_log2): (&str, u32), (host, host_log2): (&str, u32)) -> RunSettings {
    settings(&[
        "machine.stages=nested",
        &format!("machine.granule={guest}"),
        &format!("machine.page_log2={guest_log2}"),
        &format!("machine.stage2_granule={host}"),
        &format!("machine.stage2_page_log2={host_log2}"),
    ])
}

fn booted(settings: &RunSettings, ram: &Ram) -> (Driven, Smmu) {
    Driven::new(ram, &settings.machine, &settings.workload).unwrap()
}

/// Operations of a run, in order.
fn operations(settings: &RunSettings) -> Vec<Operation> {
    let (mut driven, _) = booted(settings, &Ram::sparse());
    std::iter::from_fn(|| driven.read().unwrap()).collect()
}

fn opcode(operation: &Operation) -> Option<u64> {
    match operation {
        Operation::Command([low, _]) => Some(low & 0xff),
        _ => None,
    }
}

// Documentation/admin-guide/kernel-parameters.txt, iommu.strict: each unmap invalidates its own range
// and waits (TLBI_NH_VA or TLBI_S2_IPA, then SYNC); lazily a queue is flushed whole
// (TLBI_NH_ASID or TLBI_S12_VMALL). A guest's reach the host as its own, under the guest's VMID.
#[test]
fn strict_unmapping_invalidates_each_buffer_and_lazy_a_queue_of_them() {
    for (stages, by_address, whole) in [
        ("stage1", 0x12, 0x11),
        ("stage2", 0x2a, 0x28),
        ("nested", 0x12, 0x11),
    ] {
        // A queue may be longer than the ring: addresses rest, buffers do not.
        for (flush, wanted, each) in [("strict", by_address, 1), ("lazy", whole, 100)] {
            let settings = settings(&[
                &format!("machine.stages={stages}"),
                &format!("workload.flush={flush}"),
                "workload.transactions=20000",
                "workload.per_buffer=10",
                "workload.flush_pages=100",
            ]);
            let operations = operations(&settings);
            let count = |code| {
                operations
                    .iter()
                    .filter(|o| opcode(o) == Some(code))
                    .count()
            };
            // An address rests from its unmapping to the flush: there are as many more.
            let mut addresses: Vec<u64> = operations
                .iter()
                .filter_map(|o| match o {
                    Operation::Arrive(arrival) => Some(arrival.transaction.address.get() >> 12),
                    _ => None,
                })
                .collect();
            addresses.sort_unstable();
            addresses.dedup();
            let resting = if flush == "lazy" { 100 } else { 0 };
            assert_eq!(addresses.len(), 64 + resting, "{stages} {flush}");
            // 2000 buffers, of which the last 8 are still the device's.
            let unmapped = (2000 - 8) / each;
            assert_eq!(count(wanted), unmapped, "{stages} {flush}");
            // One CMD_SYNC each, and nothing else but what new tables need.
            assert_eq!(count(0x46), unmapped, "{stages} {flush}");
            let commands = operations.iter().filter(|o| opcode(o).is_some()).count();
            assert_eq!(commands, 2 * unmapped, "{stages} {flush}");
            // Software does not go on before its CMD_SYNC is complete.
            let mut synced = false;
            for operation in &operations {
                match operation {
                    Operation::AwaitCommands => synced = false,
                    Operation::Store { .. } => assert!(!synced),
                    _ => synced |= opcode(operation) == Some(0x46),
                }
                if let Operation::Command([low, _]) = operation
                    && opcode(operation) != Some(0x46)
                {
                    let vmid = low >> 32 & 0xffff;
                    assert_eq!(vmid != 0, stages != "stage1", "{stages}: {low:#x}");
                }
            }
        }
    }
}

#[test]
fn a_ring_that_stays_mapped_needs_no_store_and_no_command() {
    for stages in ["stage1", "stage2", "nested"] {
        let settings = settings(&[
            &format!("machine.stages={stages}"),
            "workload.flush=never",
            "workload.transactions=5000",
        ]);
        let operations = operations(&settings);
        let arrivals = |o: &Operation| matches!(o, Operation::Arrive(_));
        assert_eq!(operations.len(), 5000, "{stages}");
        assert!(operations.iter().all(arrivals), "{stages}");
    }
}

// linux-iommu.md 7.3: the VMM sends an invalidation to each device's container, and each container
// has a VMID.
#[test]
fn a_guests_invalidation_goes_to_every_container_it_has() {
    let settings = settings(&[
        "machine.stages=nested",
        "machine.streams=3",
        "workload.transactions=3000",
        "workload.per_buffer=10",
    ]);
    let vmids: Vec<u64> = operations(&settings)
        .iter()
        .filter(|o| opcode(o) == Some(0x12))
        .map(|o| match o {
            Operation::Command([low, _]) => low >> 32 & 0xffff,
            _ => 0,
        })
        .collect();
    // 300 buffers, 24 of them still with devices.
    assert_eq!(vmids.len(), 3 * (300 - 24));
    for three in vmids.chunks(3) {
        let mut three = three.to_vec();
        three.sort_unstable();
        assert_eq!(three, [1, 2, 3]);
    }
}

/// Descriptor reads of a translation without caches.
struct Reads(u32);

impl Observer for Reads {
    fn access(&mut self, access: &Access<'_>) {
        if let Structure::Stage1(_) | Structure::Stage2(_) = access.structure {
            self.0 += 1;
        }
    }
}

// DDI 0487 D8.2: n levels of stage 1 over m levels of stage 2 take n(m + 1) + m reads; the CD's
// address and its tables' are the guest's, and m reads more find the CD.
#[test]
fn a_walk_has_the_levels_of_both_kernels_tables() {
    for (guest, guest_levels) in KERNELS.into_iter().zip([4, 4, 3]) {
        for (host, sizes) in HOSTS {
            // 44 bits: levels 0 to 3 of 4K tables, 1 to 3 of the others.
            let page = if host == "4K" { 4 } else { 3 };
            for (host_log2, levels) in sizes.into_iter().zip([page, page - 1]) {
                let mut settings = nested(guest, (host, host_log2));
                settings.apply_argument("workload.flush=never").unwrap();
                let ram = Ram::sparse();
                let (mut driven, smmu) = booted(&settings, &ram);
                let Some(Operation::Arrive(arrival)) = driven.read().unwrap() else {
                    panic!("the ring is mapped already");
                };
                let mut reads = Reads(0);
                let mut port = ram.port();
                let outcome = smmu.translate_cold(&mut port, &arrival.transaction, &mut reads);
                assert!(outcome.pa().is_some(), "{guest:?} {host}");
                let walk = guest_levels * (levels + 1) + levels;
                assert_eq!(reads.0, levels + walk, "{guest:?} {host} 2^{host_log2}");
            }
        }
    }
}

// IHI 0070 §4.7: what was invalidated before a complete CMD_SYNC answers nobody. The granule of a
// guest need not be the host's (D30).
#[test]
fn after_each_sync_caches_say_what_memory_says() {
    let mut all: Vec<RunSettings> = KERNELS
        .into_iter()
        .flat_map(|guest| HOSTS.map(|(host, sizes)| (guest, host, sizes)))
        .flat_map(|(guest, host, sizes)| sizes.map(|log2| nested(guest, (host, log2))))
        .collect();
    // A block of the guest over single pages of the host.
    all.push(nested(("4K", 21), ("4K", 12)));
    for stages in ["stage1", "stage2"] {
        for (granule, log2) in KERNELS {
            all.push(settings(&[
                &format!("machine.stages={stages}"),
                &format!("machine.granule={granule}"),
                &format!("machine.page_log2={log2}"),
            ]));
        }
    }
    for mut settings in all {
        for change in [
            "workload.pages=16",
            "workload.per_buffer=2",
            "workload.transactions=120",
        ] {
            settings.apply_argument(change).unwrap();
        }
        let what = settings.machine.clone();
        let ram = Ram::sparse();
        let (mut driven, smmu) = booted(&settings, &ram);
        let mut smmu = smmu.with_other_caches(&CacheConfig::INFINITE).unwrap();
        let mut port = ram.port();
        let mut seen = Vec::new();
        let (mut syncs, mut gone) = (0, 0);
        while let Some(operation) = driven.read().unwrap() {
            match operation {
                Operation::Arrive(arrival) => {
                    let outcome = smmu.translate(&mut port, &arrival.transaction, &mut ());
                    assert!(outcome.pa().is_some(), "{what:?}");
                    seen.push(arrival.transaction.address);
                }
                Operation::Store { pa, value } => {
                    port.write64(pa, value, AccessClass::Stage1).unwrap();
                }
                Operation::Command(words) => {
                    smmu.execute_command(&mut port, words).unwrap();
                }
                _ => {}
            }
            if opcode(&operation) != Some(0x46) {
                continue;
            }
            syncs += 1;
            let mut copy = smmu.clone();
            for &address in &seen {
                let read = Transaction::read(StreamId::new(0), Iova::new(address.get()));
                let cold = smmu.translate_cold(&mut port, &read, &mut ()).pa();
                let warm = copy.translate(&mut port, &read, &mut ()).pa();
                assert_eq!(warm, cold, "{what:?} {address:?}");
                gone += u32::from(cold.is_none());
            }
        }
        assert!(syncs > 40 && gone > 0, "{what:?}: {syncs} {gone}");
    }
}

#[test]
fn every_access_reaches_its_buffer_in_time_as_at_once() {
    let mut all: Vec<RunSettings> = [
        ["machine.stages=stage1", "machine.streams=1"],
        ["machine.stages=stage1", "machine.streams=3"],
        ["machine.stages=stage2", "machine.streams=3"],
        ["machine.stages=nested", "machine.streams=3"],
        ["machine.sharing=shared", "machine.streams=3"],
        ["machine.page_log2=21", "machine.streams=2"],
    ]
    .iter()
    .map(|changes| settings(changes))
    .collect();
    all.extend(KERNELS.map(|kernel| nested(kernel, ("4K", 12))));
    all.push(nested(KERNELS[0], ("64K", 29)));
    for settings in all {
        for flush in ["strict", "lazy", "never"] {
            let mut settings = settings.clone();
            for change in [
                &format!("workload.flush={flush}"),
                "workload.transactions=10000",
                // Fewer in the buffers held than are under way: the CPU must wait for the device.
                "workload.per_buffer=3",
                "workload.flush_pages=16",
                "workload.writes=300",
            ] {
                settings.apply_argument(change).unwrap();
            }
            let what = (&settings.machine, flush);
            let expected =
                functional(&settings, &Input::Generated, &CacheConfig::INFINITE).unwrap();
            assert_eq!(expected.translated_count, 10000, "{what:?}");
            let stop = AtomicBool::new(false);
            let run = timed(&settings, &Input::Generated, (), (&stop, &mut ())).unwrap();
            assert_eq!(run.digest, expected.digest, "{what:?}");
            assert_eq!(run.report.faults, []);
            assert_eq!(run.report.illegal_commands_count, 0);
        }
    }
}

#[test]
fn what_the_driver_cannot_do_with_is_named() {
    for (changes, message) in [
        (
            ["machine.stages=bypass", "workload.flush=strict"],
            "machine.stages is stage1, stage2 or nested",
        ),
        (
            ["workload.pages=15", "workload.flush=strict"],
            "workload.pages is at least 16",
        ),
        (
            ["machine.granule=16K", "machine.page_log2=12"],
            "machine.page_log2 is at least 14 with machine.granule = 16K: the kernel has no smaller pages",
        ),
        (
            ["machine.page_log2=42", "workload.pages=4096"],
            "1 streams with 4096 addresses of 2^42 bytes are more than 2^42: fewer or smaller pages",
        ),
        (
            ["machine.stages=nested", "machine.stage2_page_log2=20"],
            "machine.stage2_page_log2 is 12 or 21 or 30 with machine.stage2_granule = 4K",
        ),
    ] {
        let settings = settings(&changes);
        let ram = Ram::sparse();
        let error = Driven::new(&ram, &settings.machine, &settings.workload).unwrap_err();
        let message = format!("workload.pattern = driver: {message}");
        assert_eq!(error.to_string(), message, "{changes:?}");
    }
    let shared = settings(&[
        "machine.stages=nested",
        "machine.sharing=shared",
        "machine.streams=2",
    ]);
    let error = Driven::new(&Ram::sparse(), &shared.machine, &shared.workload).unwrap_err();
    assert!(error.to_string().contains("a container has one stage 1"));
    let many = settings(&[
        "machine.stages=nested",
        "machine.page_log2=30",
        "workload.pages=2048",
    ]);
    let error = Driven::new(&Ram::sparse(), &many.machine, &many.workload).unwrap_err();
    assert!(error.to_string().contains("stage 2 needs"), "{error}");
}
