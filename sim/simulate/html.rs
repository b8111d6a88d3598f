//! One self-contained page about a run, with plots: latency distribution, latency stack, miss rates.

use std::fmt::{self, Write as _};

use smmu::timing::{Cause, LatencyClass, Report};

use super::json::ratio;
use super::plot::{Axis, Plot, Series, bars, stacked_bar};
use super::run::{Ending, RunResult};
use super::settings::RunSettings;
use super::table::table;
use crate::report::page::{Page, escape};

/// The page.
pub fn page<P>(input: &str, settings: &RunSettings, run: &RunResult<P>) -> String {
    let lead = "One run of the timed machine, in simulated cycles.";
    let mut page = Page::new("simulate", &format!("A run of {input}"), lead);
    // Writing to a page does not fail.
    let _ = write_page(&mut page, settings, run);
    page.finish()
}

fn write_page<P>(out: &mut Page, settings: &RunSettings, run: &RunResult<P>) -> fmt::Result {
    let report = &run.report;
    if run.ending == Ending::Interrupted {
        writeln!(
            out,
            "<p class=\"bad\">Interrupted: this is a part of the run.</p>"
        )?;
    }
    let figures = [
        (
            distribution(report),
            "Share of transactions that took at most so many cycles, by how they got their answer. \
             Time axis logarithmic.",
        ),
        (stack(report), "Where a mean transaction's cycles go."),
        (
            miss_rates(report),
            "Misses of each cache, per cent of its lookups.",
        ),
    ];
    for (svg, caption) in figures {
        writeln!(
            out,
            "<figure><div class=\"scroll plot\" tabindex=\"0\">{svg}</div><figcaption>{caption}</figcaption></figure>"
        )?;
    }
    writeln!(
        out,
        "<h2>Figures</h2>\n<pre tabindex=\"0\">{}</pre>",
        escape(&table(run))
    )?;
    writeln!(
        out,
        "<details><summary>Settings</summary><pre tabindex=\"0\">{}</pre></details>",
        escape(&settings.to_toml())
    )
}

fn distribution(report: &Report) -> String {
    let mut series = Vec::new();
    for class in LatencyClass::ALL {
        let histogram = report.class(class).histogram();
        if histogram.is_empty() {
            continue;
        }
        let mut seen = 0;
        let mut points = vec![(histogram.min().max(1) as f64, 0.0)];
        for value in histogram.iter_recorded() {
            seen += value.count_at_value();
            points.push((
                value.value_iterated_to().max(1) as f64,
                100.0 * ratio(seen, histogram.len()),
            ));
        }
        series.push(Series {
            name: class.name().to_owned(),
            points,
        });
    }
    Plot {
        title: "Latency",
        x: ("cycles", Axis::Logarithmic),
        y: ("per cent", Axis::Linear),
        series,
    }
    .svg()
}

fn stack(report: &Report) -> String {
    let parts: Vec<(&str, f64)> = Cause::ALL
        .into_iter()
        .filter(|cause| report.stack.get(*cause) != 0)
        .map(|cause| {
            let mean = ratio(report.stack.get(cause), report.transactions_count);
            (cause.name(), mean)
        })
        .collect();
    stacked_bar("Latency stack", "cycles", &parts)
}

fn miss_rates(report: &Report) -> String {
    let (mut micro, mut main) = ((0, 0), (0, 0));
    for tbu in &report.tbus {
        micro.0 += tbu.micro_tlb_misses_count;
        micro.1 += tbu.micro_tlb_lookups_count;
        main.0 += tbu.main_tlb_misses_count;
        main.1 += tbu.main_tlb_lookups_count;
    }
    let tcu = &report.tcu;
    let walk = |stage: usize| {
        let hits: u64 = tcu.walk_cache_hits_count[stage].iter().sum();
        let lookups = tcu.walk_cache_lookups_count[stage];
        (lookups - hits, lookups)
    };
    let rates: Vec<(&str, f64)> = [
        ("micro TLB", micro),
        ("main TLB", main),
        (
            "configuration cache",
            (
                tcu.configuration_misses_count,
                tcu.configuration_lookups_count,
            ),
        ),
        ("stage-1 walk caches", walk(0)),
        ("stage-2 walk caches", walk(1)),
        (
            "stage-2 TLB",
            (tcu.stage2_tlb_misses_count, tcu.stage2_tlb_lookups_count),
        ),
    ]
    .into_iter()
    .chain(
        report
            .ats
            .map(|ats| ("ATC", (ats.atc_misses_count, ats.atc_lookups_count))),
    )
    .filter(|(_, (_, lookups))| *lookups != 0)
    .map(|(name, (misses, lookups))| (name, 100.0 * ratio(misses, lookups)))
    .collect();
    bars("Miss rates", "per cent", &rates)
}
