//! Results for people: one screen.

use std::fmt::Write as _;

use smmu::timing::{AtsCounts, Cause, LatencyClass, Report};

use super::json::ratio;
use super::run::{Ending, RunResult};

/// One screen about a run.
pub fn table<P>(run: &RunResult<P>) -> String {
    let report = &run.report;
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(words);
        text.push('\n');
    };
    if run.ending == Ending::Interrupted {
        line(format_args!(
            "INTERRUPTED: what follows is a part of the run."
        ));
    }
    line(format_args!(
        "{} transactions in {} cycles: {:.3} a cycle, {:.2} bytes a cycle, {:.1} in flight",
        report.transactions_count,
        report.cycles,
        ratio(report.transactions_count, report.cycles),
        ratio(report.transferred_bytes, report.cycles),
        ratio(report.latency_cycles, report.cycles),
    ));
    line(format_args!(
        "\n{:<20} {:>12} {:>7} {:>10} {:>8} {:>8} {:>8} {:>8}",
        "latency (cycles)", "count", "%", "mean", "p50", "p95", "p99", "max"
    ));
    for class in LatencyClass::ALL {
        let latencies = report.class(class);
        let count = latencies.histogram().len();
        if count == 0 {
            continue;
        }
        line(format_args!(
            "{:<20} {:>12} {:>7.2} {:>10.1} {:>8} {:>8} {:>8} {:>8}",
            class.name(),
            count,
            100.0 * ratio(count, report.transactions_count),
            ratio(latencies.total_cycles(), count),
            latencies.percentile_cycles(50.0),
            latencies.percentile_cycles(95.0),
            latencies.percentile_cycles(99.0),
            latencies.most_cycles(),
        ));
    }
    line(format_args!(
        "\n{:<20} {:>12} {:>7}",
        "where the time goes", "mean cycles", "%"
    ));
    let total = report.stack.total();
    for cause in Cause::ALL {
        let cycles = report.stack.get(cause);
        if cycles != 0 {
            line(format_args!(
                "{:<20} {:>12.3} {:>7.2}",
                cause.name(),
                ratio(cycles, report.transactions_count),
                100.0 * ratio(cycles, total),
            ));
        }
    }
    line(format_args!(
        "\n{:<26} {:>9} {:>10} {:>12} {:>10}",
        "resource", "capacity", "mean held", "waits", "mean wait"
    ));
    for resource in &report.resources {
        let usage = &resource.usage;
        if usage.grants_count == 0 {
            continue;
        }
        line(format_args!(
            "{:<26} {:>9} {:>10.3} {:>12} {:>10.1}",
            resource.name,
            resource.capacity_count,
            ratio(usage.held_cycles, report.cycles),
            usage.waits_count,
            ratio(usage.waited_cycles, usage.waits_count),
        ));
    }
    line(format_args!("\n{}", misses(report)));
    if let Some(counts) = &report.ats {
        line(format_args!("{}", ats(counts)));
    }
    if let Some(comparison) = &run.comparison {
        line(format_args!(
            "recorded answers: {} equal, {} different; {} known departures of the recording machine, \
            {} cached otherwise, {} not defined by the recording",
            comparison.equal_count,
            comparison.different_count,
            comparison.known_count,
            comparison.cached_count,
            comparison.undefined_count,
        ));
        for difference in &comparison.differences {
            line(format_args!(
                "  line {}: recorded {}, model {}",
                difference.line, difference.recorded, difference.model
            ));
        }
    }
    text
}

fn misses(report: &Report) -> String {
    let mut micro = (0, 0);
    let mut main = (0, 0);
    for tbu in &report.tbus {
        micro.0 += tbu.micro_tlb_misses_count;
        micro.1 += tbu.micro_tlb_lookups_count;
        main.0 += tbu.main_tlb_misses_count;
        main.1 += tbu.main_tlb_lookups_count;
    }
    let tcu = &report.tcu;
    let share = |(misses, lookups)| 100.0 * ratio(misses, lookups);
    format!(
        "misses: micro TLB {:.2} %, main TLB {:.2} %, configuration cache {:.2} %; {:.3} reads a walk; \
        {} commands, {} CMD_SYNC of {:.1} cycles; {} events",
        share(micro),
        share(main),
        share((
            tcu.configuration_misses_count,
            tcu.configuration_lookups_count
        )),
        ratio(tcu.walk_reads_count, tcu.walks_count),
        tcu.commands_count,
        tcu.syncs_count,
        ratio(tcu.sync_cycles, tcu.syncs_count),
        tcu.events_count,
    )
}

fn ats(counts: &AtsCounts) -> String {
    let AtsCounts {
        atc_lookups_count,
        atc_misses_count,
        translation_requests_count,
        translated_transactions_count,
        unsupported_count,
        aborted_count,
        denied_count,
        discarded_count,
        invalidations_count,
        invalidation_cycles,
        ..
    } = *counts;
    let mut text = format!(
        "ATS: ATC misses {:.2} %; {translation_requests_count} translation requests, \
        {translated_transactions_count} translated transactions; {invalidations_count} CMD_ATC_INV of {:.1} cycles",
        100.0 * ratio(atc_misses_count, atc_lookups_count),
        ratio(invalidation_cycles, invalidations_count),
    );
    for (count, what) in [
        (unsupported_count, "answered as unsupported"),
        (aborted_count, "answered with Completer Abort"),
        (denied_count, "granted too little"),
        (discarded_count, "asked again after an invalidation"),
    ] {
        if count != 0 {
            let _ = write!(text, "; {count} {what}");
        }
    }
    text
}
