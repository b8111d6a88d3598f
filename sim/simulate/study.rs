//! The study of the book: the same I/O with strict, lazy and no invalidation, by kernels with pages of
//! 4K, 16K and 64K, under stage 1, stage 2 and both. The modelled driver maps and unmaps; points run in
//! parallel, and results do not depend on how.

use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use smmu::timing::Report;

use super::json::ratio;
use super::plot::bars;
use super::run::{Input, RunError, timed};
use super::settings::RunSettings;

/// One point and what came of it.
#[derive(Debug)]
pub struct Point {
    /// Flush mode.
    pub flush: &'static str,
    /// Page size of the kernel whose driver maps.
    pub granule: &'static str,
    /// Stages; under both, what the host maps its guest by.
    pub stages: &'static str,
    /// What was counted.
    pub report: Report,
}

const FLUSHES: [&str; 3] = ["strict", "lazy", "never"];
const GRANULES: [(&str, u32); 3] = [("4K", 12), ("16K", 14), ("64K", 16)];
/// What a point is called, its stages, and log2 of the bytes a host of 4K pages maps its guest by.
const STAGES: [(&str, &str, u32); 4] = [
    ("stage1", "stage1", 12),
    ("stage2", "stage2", 12),
    ("nested", "nested", 12),
    ("nested, 2M", "nested", 21),
];

/// Every point: a ring of 2 MiB of buffers, a page of the kernel each, filled in turn by one device,
/// 128 bytes a transaction.
///
/// # Errors
/// [`RunError`] if `base` changes what the study needs.
pub fn run(base: &RunSettings) -> Result<Vec<Point>, RunError> {
    let points: Vec<_> = STAGES
        .into_iter()
        .flat_map(|stages| GRANULES.map(|granule| (stages, granule)))
        .flat_map(|(stages, granule)| FLUSHES.map(|flush| (stages, granule, flush)))
        .collect();
    points
        .into_par_iter()
        .map(|((name, stages, host_log2), (granule, page_log2), flush)| {
            let mut settings = base.clone();
            let pages = (2 << 20) >> page_log2;
            let per_buffer = (1 << page_log2) / 128;
            for change in [
                format!("machine.stages={stages}"),
                format!("machine.granule={granule}"),
                format!("machine.page_log2={page_log2}"),
                format!("machine.stage2_page_log2={host_log2}"),
                format!("workload.flush={flush}"),
                format!("workload.pages={pages}"),
                format!("workload.per_buffer={per_buffer}"),
                "workload.pattern=driver".to_owned(),
                "workload.bytes=128".to_owned(),
                "workload.transactions=200000".to_owned(),
            ] {
                settings.apply_argument(&change)?;
            }
            let stop = AtomicBool::new(false);
            let run = timed(&settings, &Input::Generated, (), (&stop, &mut ()))?;
            Ok(Point {
                flush,
                granule,
                stages: name,
                report: run.report,
            })
        })
        .collect()
}

/// A table in Markdown, one row a point.
pub fn table(points: &[Point]) -> String {
    let mut text = String::from(
        "| stages | pages | invalidation | bytes/cycle | mean latency, cycles | reads/walk | walks/1000 | commands/1000 | CMD_SYNC, cycles |\n\
        |---|---|---|---|---|---|---|---|---|\n",
    );
    for point in points {
        let report = &point.report;
        let tcu = &report.tcu;
        let thousand = |count: u64| 1000.0 * ratio(count, report.transactions_count);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2} | {:.1} | {:.2} | {:.2} | {:.2} | {:.1} |",
            point.stages,
            point.granule,
            point.flush,
            ratio(report.transferred_bytes, report.cycles),
            ratio(report.latency_cycles, report.transactions_count),
            ratio(tcu.walk_reads_count, tcu.walks_count),
            thousand(tcu.walks_count),
            thousand(tcu.commands_count),
            ratio(tcu.sync_cycles, tcu.syncs_count),
        );
    }
    text
}

/// The study's plots: file name and SVG.
pub fn plots(points: &[Point]) -> Vec<(&'static str, String)> {
    let names: Vec<String> = points
        .iter()
        .map(|point| format!("{} {} {}", point.stages, point.granule, point.flush))
        .collect();
    let plot = |title: &str, unit: &str, value: &dyn Fn(&Report) -> f64| {
        let values: Vec<(&str, f64)> = names
            .iter()
            .map(String::as_str)
            .zip(points.iter().map(|point| value(&point.report)))
            .collect();
        bars(title, unit, &values)
    };
    vec![
        (
            "throughput.svg",
            plot("Throughput", "bytes per cycle", &|report| {
                ratio(report.transferred_bytes, report.cycles)
            }),
        ),
        (
            "latency.svg",
            plot("Mean latency", "cycles", &|report| {
                ratio(report.latency_cycles, report.transactions_count)
            }),
        ),
    ]
}
