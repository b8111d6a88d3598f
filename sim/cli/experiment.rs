//! `smmu-sim experiment`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use super::{Failure, Format, Verdict, write_json};
use crate::experiment::{
    COLUMNS, Grid, Origin, Point, TIMED_DEVICES, TIMED_DEVICES_MAX, TimedPoint, csv, run,
    run_timed, svg, timed_csv,
};
use crate::simulate::settings::RunSettings;

/// Answer a question by running the model over a grid.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim experiment s2-sharing
  smmu-sim experiment s2-sharing --devices 1,8,64 --memory 8 --csv sharing.csv
  smmu-sim experiment s2-sharing --timed")]
pub(super) struct Experiment {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// What a stage 2 for each container costs against one that is shared
    S2Sharing(S2Sharing),
}

/// What a stage 2 for each container costs against one that is shared.
///
/// N devices of one guest behind one SMMU, in a container each or over one stage 2. Counts do not
/// depend on the host; times are the host's and are never written to files. Points with more leaves
/// than --leaves are computed from exact counts of smaller runs, and say so.
#[derive(Debug, Args)]
struct S2Sharing {
    /// Numbers of devices [default: 1,2,4,8,16,32,64, and with --timed up to 256]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    devices: Vec<u64>,
    /// Guest memory in GiB
    #[arg(long, value_name = "GIB", value_delimiter = ',', default_values_t = [1, 8, 64, 512])]
    memory: Vec<u64>,
    /// Most leaves a point may have to be run
    #[arg(long, value_name = "N", default_value_t = 1 << 22)]
    leaves: u64,
    /// Show how long the host took to map, too
    #[arg(long)]
    host_time: bool,
    /// In simulated cycles: the same random I/O through the timed machine, with a stage 2 each and
    /// shared; throughput, latency, misses, evictions
    #[arg(long, conflicts_with_all = ["memory", "leaves", "host_time", "svg"])]
    timed: bool,
    /// Write the counts as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Experiment {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        match self.which {
            Which::S2Sharing(s2_sharing) => s2_sharing.execute(format, out),
        }
    }
}

impl S2Sharing {
    fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let possible = |values: &[u64], most| values.iter().all(|v| (1..=most).contains(v));
        if self.timed {
            if !possible(&self.devices, TIMED_DEVICES_MAX) {
                return Err(anyhow!("--devices: 1 to {TIMED_DEVICES_MAX}").into());
            }
            return self.execute_timed(format, out);
        }
        if !possible(&self.devices, 128) || !possible(&self.memory, 512) {
            return Err(anyhow!("--devices: 1 to 128; --memory: 1 to 512").into());
        }
        let mut grid = Grid {
            memory_gib: self.memory,
            leaves_max: self.leaves,
            ..Grid::default()
        };
        if !self.devices.is_empty() {
            grid.devices = self.devices;
        }
        let points = run(&grid).map_err(|errno| anyhow!("the machine: {errno}"))?;
        let files = [(&self.csv, csv(&points)), (&self.svg, svg(&points))];
        for (path, content) in files {
            if let Some(path) = path {
                fs::write(path, content).with_context(|| path.display().to_string())?;
            }
        }
        match format {
            Format::Text => {
                let times = if self.host_time {
                    Times::Shown
                } else {
                    Times::Left
                };
                table(out, &points, times)?;
            }
            Format::Json => {
                let lines: Vec<serde_json::Value> = points.iter().map(json).collect();
                write_json(out, &lines)?;
            }
        }
        Ok(Verdict::Fine)
    }

    fn execute_timed(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let devices = if self.devices.is_empty() {
            &TIMED_DEVICES[..]
        } else {
            &self.devices
        };
        let points = run_timed(&RunSettings::default(), devices).context("the timed machine")?;
        if let Some(path) = &self.csv {
            fs::write(path, timed_csv(&points)).with_context(|| path.display().to_string())?;
        }
        match format {
            Format::Text => timed_table(out, &points)?,
            Format::Json => {
                let lines: Vec<_> = points.iter().map(timed_json).collect();
                write_json(out, &lines)?;
            }
        }
        Ok(Verdict::Fine)
    }
}

fn timed_json(point: &TimedPoint) -> serde_json::Value {
    let mut line = serde_json::json!({
        "stages": point.stages,
        "devices": point.devices,
        "sharing": point.sharing.word(),
    });
    for (name, number) in COLUMNS.into_iter().zip(point.numbers()) {
        line[name] = number.into();
    }
    line
}

fn timed_table(out: &mut impl Write, points: &[TimedPoint]) -> Result<(), Failure> {
    writeln!(
        out,
        "                                              mean      misses of 1000 in            per 1000 \
         transactions\n\
         stages  devices  sharing        B/cycle  latency   TLB  S1 walk  S2 walk  S2 TLB   reads  \
         evictions  across owners"
    )?;
    for point in points {
        let [rate, latency, tlb, s1, s2, s2_tlb, reads, evictions, across] = point.numbers();
        writeln!(
            out,
            "{:<6}  {:>7}  {:<13}  {rate:>7.3}  {latency:>7.1}  {tlb:>4.0}  {s1:>7.0}  {s2:>7.0}  \
             {s2_tlb:>6.0}  {reads:>6.0}  {evictions:>9.0}  {across:>13.0}",
            point.stages,
            point.devices,
            point.sharing.word(),
        )?;
    }
    Ok(())
}

fn json(point: &Point) -> serde_json::Value {
    let c = &point.counts;
    serde_json::json!({
        "page": point.page.word(),
        "memory_gib": point.memory_gib,
        "devices": point.devices,
        "sharing": point.sharing.word(),
        "origin": point.origin.word(),
        "table_bytes": c.table_bytes,
        "attach_stores": c.attach_stores,
        "attach_commands": c.attach_commands,
        "map_stores": c.map_stores,
        "map_commands": c.map_commands,
        "unmap_stores": c.unmap_stores,
        "unmap_commands": c.unmap_commands,
        "pinned_pages": c.pinned_pages,
        "vmids": c.vmids,
        "tlb_entries": c.tlb_entries,
        "probes": c.probes,
        "tlb_reach_bytes": point.tlb_reach_bytes(),
    })
}

/// Whether the host's times are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Shown,
    Left,
}

fn table(out: &mut impl Write, points: &[Point], times: Times) -> Result<(), Failure> {
    write!(
        out,
        "page  GiB  devices  sharing        table KiB  map stores  unmap cmds  pinned pages  VMIDs  \
         TLB reach MiB  origin"
    )?;
    writeln!(
        out,
        "{}",
        if times == Times::Shown {
            "    host ms"
        } else {
            ""
        }
    )?;
    for point in points {
        let c = &point.counts;
        debug_assert_eq!(point.map_time.is_none(), point.origin == Origin::Computed);
        write!(
            out,
            "{:<4} {:>4} {:>8}  {:<13} {:>10} {:>11} {:>11} {:>13} {:>6} {:>14}  {}",
            point.page.word(),
            point.memory_gib,
            point.devices,
            point.sharing.word(),
            c.table_bytes >> 10,
            c.map_stores,
            c.unmap_commands,
            c.pinned_pages,
            c.vmids,
            reach_mib(point),
            point.origin.word(),
        )?;
        match point.map_time.filter(|_| times == Times::Shown) {
            Some(time) => writeln!(out, " {:>10.1}", time.as_secs_f64() * 1e3)?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

/// With two digits after the point, as 1024 entries of 4 KiB are 4 MiB and 64 devices share them.
fn reach_mib(point: &Point) -> String {
    let hundredths = (point.tlb_reach_bytes() * 100) >> 20;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
