//! Results for spreadsheets: one row a stream, one row a latency bucket.

use std::io::{self, Write};

use smmu::timing::{Cause, LatencyClass, Report};

/// One row for each stream.
///
/// # Errors
/// What the writer says.
pub fn streams(out: &mut impl Write, report: &Report) -> io::Result<()> {
    write!(
        out,
        "stream,vmid,asid,transactions_count,transferred_bytes,latency_cycles_sum,\
        latency_cycles_max,walk_reads_count,configuration_reads_count"
    )?;
    for class in LatencyClass::ALL {
        write!(out, ",{}_count", class.name())?;
    }
    for cause in Cause::ALL {
        write!(out, ",{}_cycles", cause.name())?;
    }
    writeln!(out)?;
    let optional = |number: Option<u16>| number.map_or(String::new(), |n| n.to_string());
    for (stream, counts) in &report.streams {
        write!(
            out,
            "{},{},{},{},{},{},{},{},{}",
            stream.get(),
            optional(counts.vmid),
            optional(counts.asid),
            counts.transactions_count,
            counts.transferred_bytes,
            counts.latency_cycles,
            counts.latency_cycles_max,
            counts.walk_reads_count,
            counts.configuration_reads_count,
        )?;
        for count in counts.by_class_count {
            write!(out, ",{count}")?;
        }
        for cause in Cause::ALL {
            write!(out, ",{}", counts.stack.get(cause))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// One row for each latency that occurred, by class.
///
/// # Errors
/// What the writer says.
pub fn latencies(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "class,latency_cycles,count")?;
    for class in LatencyClass::ALL {
        for value in report.class(class).histogram().iter_recorded() {
            writeln!(
                out,
                "{},{},{}",
                class.name(),
                value.value_iterated_to(),
                value.count_at_value()
            )?;
        }
    }
    Ok(())
}
