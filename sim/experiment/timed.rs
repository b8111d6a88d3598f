//! The sharing experiment in cycles: the same random I/O of N devices over a stage 2 each, and over
//! one that they share.

use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use smmu::timing::Report;

use super::Sharing;
use crate::simulate::json::ratio;
use crate::simulate::run::{Input, RunError, timed};
use crate::simulate::settings::RunSettings;

/// Numbers of devices unless others are wanted.
pub const TIMED_DEVICES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Most devices of a timed run.
pub const TIMED_DEVICES_MAX: u64 = 1024;

/// One run and what came of it.
#[derive(Debug)]
pub struct TimedPoint {
    /// `stage2`, as a guest without a vIOMMU has it, or `nested`.
    pub stages: &'static str,
    /// Devices.
    pub devices: u64,
    /// Who shares a stage 2.
    pub sharing: Sharing,
    /// What was counted.
    pub report: Report,
}

/// Names of the columns of numbers, with their units.
pub const COLUMNS: [&str; 9] = [
    "bytes_per_cycle",
    "mean_latency_cycles",
    "tbu_tlb_misses_per_1000",
    "stage1_walk_cache_misses_per_1000_lookups",
    "stage2_walk_cache_misses_per_1000_lookups",
    "stage2_tlb_misses_per_1000_lookups",
    "reads_per_1000",
    "evictions_per_1000",
    "evictions_across_owners_per_1000",
];

impl TimedPoint {
    /// The numbers under [`COLUMNS`]; "per 1000" without more is of transactions.
    pub fn numbers(&self) -> [f64; COLUMNS.len()] {
        let report = &self.report;
        let tcu = &report.tcu;
        let missed: u64 = report
            .tbus
            .iter()
            .map(|tbu| tbu.main_tlb_misses_count)
            .sum();
        let walk_cache_misses = |stage: usize| {
            let lookups = tcu.walk_cache_lookups_count[stage];
            let hits: u64 = tcu.walk_cache_hits_count[stage].iter().sum();
            1000.0 * ratio(lookups.saturating_sub(hits), lookups)
        };
        let each = |count: u64| 1000.0 * ratio(count, report.transactions_count);
        let (mut evictions, mut across) = (0, 0);
        for (by, whom, count) in report.evictions.iter() {
            evictions += count;
            // Owners beyond the first 64 are not told apart; they are hardly ever the same.
            if by != whom || by.is_none() {
                across += count;
            }
        }
        [
            ratio(report.transferred_bytes, report.cycles),
            ratio(report.latency_cycles, report.transactions_count),
            each(missed),
            walk_cache_misses(0),
            walk_cache_misses(1),
            1000.0 * ratio(tcu.stage2_tlb_misses_count, tcu.stage2_tlb_lookups_count),
            each(tcu.walk_reads_count),
            each(evictions),
            each(across),
        ]
    }
}

/// Runs every point: stage 2 alone and nested, each number of devices, a stage 2 each and shared.
/// Each device reads random lines of the same 1024 pages of the guest, as settings say it.
///
/// # Errors
/// [`RunError`] if `base` has a setting that the experiment's do not go with.
pub fn run_timed(base: &RunSettings, devices: &[u64]) -> Result<Vec<TimedPoint>, RunError> {
    let points: Vec<_> = ["stage2", "nested"]
        .into_iter()
        .flat_map(|stages| devices.iter().map(move |&devices| (stages, devices)))
        .flat_map(|(stages, devices)| Sharing::ALL.map(|sharing| (stages, devices, sharing)))
        .collect();
    points
        .into_par_iter()
        .map(|(stages, devices, sharing)| {
            let whose = match sharing {
                Sharing::PerContainer => "own",
                Sharing::Shared => "shared",
            };
            let mut settings = base.clone();
            for change in [
                format!("machine.streams={devices}"),
                format!("machine.stages={stages}"),
                format!("machine.sharing={whose}"),
                "workload.pattern=random".to_owned(),
                "workload.transactions=200000".to_owned(),
            ] {
                settings.apply_argument(&change)?;
            }
            let stop = AtomicBool::new(false);
            let run = timed(&settings, &Input::Generated, (), (&stop, &mut ()))?;
            Ok(TimedPoint {
                stages,
                devices,
                sharing,
                report: run.report,
            })
        })
        .collect()
}

/// One line a point, for programs.
pub fn timed_csv(points: &[TimedPoint]) -> String {
    let mut out = format!("stages,devices,sharing,{}\n", COLUMNS.join(","));
    for point in points {
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "{},{},{}",
            point.stages,
            point.devices,
            point.sharing.word()
        );
        for number in point.numbers() {
            let _ = write!(out, ",{number:.3}");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sharing_changes_nothing_for_one_device_and_saves_misses_for_many() {
        let points = run_timed(&RunSettings::default(), &[1, 32]).unwrap();
        let across = |numbers: [f64; COLUMNS.len()]| numbers[8] > 0.0;
        for pair in points.chunks(2) {
            let [own, shared] = pair else {
                panic!("each point comes as a pair");
            };
            assert_eq!((own.sharing, shared.sharing), Sharing::ALL.into());
            let (a, b) = (own.numbers(), shared.numbers());
            if own.devices == 1 {
                assert_eq!(own.report, shared.report, "{}", own.stages);
                assert!(!across(a), "one owner");
                continue;
            }
            // Faster, by fewer reads; unless entries are a device's own, and too many, anyway.
            let faster = b[0] > 2.0 * a[0] && b[6] < a[6] / 2.0;
            assert_eq!(faster, own.stages == "stage2", "{a:?} {b:?}");
            // Devices with stage 1 have entries of their own either way.
            assert!(across(a));
            assert_eq!(across(b), own.stages == "nested");
        }
    }
}
