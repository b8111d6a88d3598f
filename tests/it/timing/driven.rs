//! The ring that the modelled driver maps and unmaps: commands as the kernel issues them, no access
//! that faults, and the same outcomes in time and at once.

use std::sync::atomic::AtomicBool;

use smmu::cache::CacheConfig;
use smmu::mem::Ram;
use smmu::timing::Operation;
use smmu_sim::simulate::run::{Input, functional, timed};
use smmu_sim::simulate::settings::RunSettings;
use smmu_sim::workload::driven::Driven;

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

/// Operations of a run, in order.
fn operations(settings: &RunSettings) -> Vec<Operation> {
    let ram = Ram::sparse();
    let (mut driven, _) = Driven::new(&ram, &settings.machine, &settings.workload).unwrap();
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
// (TLBI_NH_ASID or TLBI_S12_VMALL).
#[test]
fn strict_unmapping_invalidates_each_buffer_and_lazy_a_queue_of_them() {
    for (stages, by_address, whole) in [("stage1", 0x12, 0x11), ("stage2", 0x2a, 0x28)] {
        for (flush, wanted, each) in [("strict", by_address, 1), ("lazy", whole, 32)] {
            let settings = settings(&[
                &format!("machine.stages={stages}"),
                &format!("workload.flush={flush}"),
                "workload.transactions=20000",
                "workload.per_buffer=10",
                "workload.flush_pages=32",
            ]);
            let operations = operations(&settings);
            let count = |code| {
                operations
                    .iter()
                    .filter(|o| opcode(o) == Some(code))
                    .count()
            };
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
            }
        }
    }
}

#[test]
fn every_access_reaches_its_buffer_in_time_as_at_once() {
    for changes in [
        [
            "machine.stages=stage1",
            "workload.flush=strict",
            "machine.streams=1",
        ],
        [
            "machine.stages=stage1",
            "workload.flush=lazy",
            "machine.streams=3",
        ],
        [
            "machine.stages=stage2",
            "workload.flush=strict",
            "machine.streams=3",
        ],
        [
            "machine.stages=stage2",
            "workload.flush=lazy",
            "machine.streams=1",
        ],
        [
            "machine.sharing=shared",
            "workload.flush=lazy",
            "machine.streams=3",
        ],
        [
            "machine.page_log2=21",
            "workload.flush=strict",
            "machine.streams=2",
        ],
        [
            "machine.granule=64K",
            "workload.flush=strict",
            "machine.page_log2=16",
        ],
    ] {
        let mut settings = settings(&changes);
        settings
            .apply_argument("workload.transactions=30000")
            .unwrap();
        settings.apply_argument("workload.per_buffer=16").unwrap();
        settings.apply_argument("workload.flush_pages=16").unwrap();
        let expected = functional(&settings, &Input::Generated, &CacheConfig::INFINITE).unwrap();
        assert_eq!(expected.translated_count, 30000, "{changes:?}");
        let stop = AtomicBool::new(false);
        let run = timed(&settings, &Input::Generated, (), (&stop, &mut ())).unwrap();
        assert_eq!(run.digest, expected.digest, "{changes:?}");
        assert_eq!(run.report.faults, []);
        assert_eq!(run.report.illegal_commands_count, 0);
    }
}

#[test]
fn what_the_driver_cannot_do_with_is_named() {
    for (change, message) in [
        (
            "machine.stages=nested",
            "workload.pattern = driver: machine.stages is stage1 or stage2",
        ),
        (
            "workload.flush=never",
            "workload.pattern = driver: workload.flush is strict or lazy",
        ),
        (
            "workload.pages=15",
            "workload.pattern = driver: workload.pages is at least 16",
        ),
    ] {
        let settings = settings(&[change]);
        let ram = Ram::sparse();
        let error = Driven::new(&ram, &settings.machine, &settings.workload).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}
