//! A trace for ui.perfetto.dev, in simulated time: Chrome's trace event JSON.
//!
//! One track for each stream, walk slot, link and memory channel. Transactions of a stream overlap,
//! so each is an asynchronous slice with its steps nested in it. One cycle is one microsecond of the
//! viewer.

use std::collections::BTreeSet;
use std::io::{self, Write};

use smmu::timing::{Probe, Slice, Track};

/// Writes slices as they come, for the first transactions of a run.
#[derive(Debug)]
pub struct Perfetto<W: Write> {
    out: W,
    first: u64,
    named: BTreeSet<Track>,
    error: Option<io::Error>,
    is_empty: bool,
}

/// Processes of the viewer, under which tracks are sorted.
pub(super) fn place(track: Track) -> (u32, u64, String) {
    match track {
        Track::Stream(id) | Track::Steps(id) => (1, id.into(), format!("stream {id:#x}")),
        Track::LinkUp(tbu) => (2, u64::from(tbu) * 2, format!("TBU {tbu} to TCU")),
        Track::LinkDown(tbu) => (2, u64::from(tbu) * 2 + 1, format!("TCU to TBU {tbu}")),
        Track::ConfigurationSlot(slot) => (3, slot.into(), format!("configuration slot {slot}")),
        Track::WalkSlot(slot) => (4, slot.into(), format!("walk slot {slot}")),
        Track::Memory(channel) => (5, channel.into(), format!("memory channel {channel}")),
        Track::AtsUp(tbu) => (
            2,
            256 + u64::from(tbu) * 2,
            format!("devices of TBU {tbu} to SMMU"),
        ),
        Track::AtsDown(tbu) => (
            2,
            256 + u64::from(tbu) * 2 + 1,
            format!("SMMU to devices of TBU {tbu}"),
        ),
        Track::Commands => (6, 0, "command queue".to_owned()),
        Track::Invalidation(slot) => (6, 1 + u64::from(slot), format!("ATC invalidation {slot}")),
    }
}

pub(super) const PROCESSES: [&str; 6] = [
    "streams",
    "links",
    "configuration fetches",
    "walks",
    "memory",
    "commands",
];

impl<W: Write> Perfetto<W> {
    /// Writes what concerns the first `first` transactions.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(mut out: W, first: u64) -> io::Result<Self> {
        write!(out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        let mut perfetto = Self {
            out,
            first,
            named: BTreeSet::new(),
            error: None,
            is_empty: true,
        };
        for (process, name) in (1..).zip(PROCESSES) {
            perfetto.event(format_args!(
                "\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{process},\"args\":{{\"name\":\"{name}\"}}"
            ))?;
        }
        Ok(perfetto)
    }

    fn event(&mut self, words: std::fmt::Arguments<'_>) -> io::Result<()> {
        let comma = if self.is_empty { "" } else { "," };
        self.is_empty = false;
        write!(self.out, "{comma}\n{{{words}}}")
    }

    fn write(&mut self, slice: &Slice) -> io::Result<()> {
        let Slice {
            track,
            name,
            begin,
            end,
            index,
            address,
        } = *slice;
        let (process, thread, title) = place(track);
        if self.named.insert(track) {
            self.event(format_args!(
                "\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{process},\"tid\":{thread},\"args\":{{\"name\":\"{title}\"}}"
            ))?;
        }
        let args = format!("\"args\":{{\"transaction\":{index},\"address\":\"{address:#x}\"}}");
        match track {
            Track::Stream(_) | Track::Steps(_) => {
                let common = format!(
                    "\"cat\":\"transaction\",\"id\":{index},\"name\":\"{name}\",\"pid\":{process},\"tid\":{thread}"
                );
                self.event(format_args!("\"ph\":\"b\",{common},\"ts\":{begin},{args}"))?;
                self.event(format_args!("\"ph\":\"e\",{common},\"ts\":{end}"))
            }
            _ => {
                let length = end - begin;
                self.event(format_args!(
                    "\"ph\":\"X\",\"name\":\"{name}\",\"pid\":{process},\"tid\":{thread},\"ts\":{begin},\"dur\":{length},{args}"
                ))
            }
        }
    }

    /// Ends the trace.
    ///
    /// # Errors
    /// What the writer said, now or before.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(error) = self.error {
            return Err(error);
        }
        writeln!(self.out, "\n]}}")?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Probe for Perfetto<W> {
    fn slice(&mut self, slice: &Slice) {
        if slice.index >= self.first || self.error.is_some() {
            return;
        }
        if let Err(error) = self.write(slice) {
            self.error = Some(error);
        }
    }
}
