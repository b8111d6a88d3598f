//! One self-contained page about a run, with plots: latency distribution, latency stack, miss rates.

use std::fmt::Write as _;

use smmu::timing::{Cause, LatencyClass, Report};

use super::json::ratio;
use super::plot::{Axis, Plot, Series, bars, escape, stacked_bar};
use super::run::{Ending, RunResult};
use super::settings::RunSettings;
use super::table::table;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1a1a1a;background:#fff}h1,h2{line-height:1.2}pre{background:#f4f4f4;padding:1rem;overflow-x:auto;\
font-size:13px}figure{margin:1.5rem 0}figcaption{color:#444}.partial{background:#fdd;padding:.5rem 1rem}\
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif}details{margin:1rem 0}";

/// The page.
pub fn page<P>(input: &str, settings: &RunSettings, run: &RunResult<P>) -> String {
    let report = &run.report;
    let mut html = String::new();
    let title = format!("smmu-sim: {}", escape(input));
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
        <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style><h1>{title}</h1>"
    );
    if run.ending == Ending::Interrupted {
        html.push_str("<p class=\"partial\">Interrupted: this is a part of the run.</p>");
    }
    let figure = |svg: &str, caption: &str| {
        format!("<figure>{svg}<figcaption>{caption}</figcaption></figure>")
    };
    html.push_str(&figure(
        &distribution(report),
        "Share of transactions that took at most so many cycles, by how they got their answer. \
        Time axis logarithmic.",
    ));
    html.push_str(&figure(
        &stack(report),
        "Where a mean transaction's cycles go.",
    ));
    html.push_str(&figure(
        &miss_rates(report),
        "Misses of each cache, per cent of its lookups.",
    ));
    let _ = write!(html, "<h2>Figures</h2><pre>{}</pre>", escape(&table(run)));
    let _ = write!(
        html,
        "<details><summary>Settings</summary><pre>{}</pre></details></html>",
        escape(&settings.to_toml())
    );
    html.push('\n');
    html
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
    .filter(|(_, (_, lookups))| *lookups != 0)
    .map(|(name, (misses, lookups))| (name, 100.0 * ratio(misses, lookups)))
    .collect();
    bars("Miss rates", "per cent", &rates)
}
