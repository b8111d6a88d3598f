//! A view as text.

use std::fmt::Write;

use smmu::sanitize::Severity;

use super::entry::{cache, line};
use super::{CacheView, Ending, Frame};
use crate::style::{self, BAD, FAINT, GOOD, HEADING, NOTE};

impl Frame {
    /// Which caches were asked and what they knew: "configuration hit, TLB miss".
    pub fn met(&self) -> String {
        let counts = self.hits_and_misses().into_iter();
        let words = counts.map(|(kind, hits, misses)| {
            let name = cache(kind);
            match (hits, misses) {
                (1, 0) => format!("{name} hit"),
                (0, 1) => format!("{name} miss"),
                (hits, 0) => format!("{name} {hits} hits"),
                (0, misses) => format!("{name} {misses} misses"),
                (hits, misses) => format!("{name} {hits} hit, {misses} missed"),
            }
        });
        words.collect::<Vec<_>>().join("; ")
    }

    /// Why entries left.
    pub(super) fn leaving(&self) -> &'static str {
        if self.evicts() { "evicted" } else { "removed" }
    }
}

impl CacheView {
    /// Step by step: `+` came, `-` left, `!` the sanitizer objects.
    pub fn to_text(&self) -> String {
        style::plain(&self.to_styled_text())
    }

    /// [`Self::to_text`] with colours as ANSI escape sequences.
    pub fn to_styled_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{HEADING}{}{HEADING:#}", self.title)?;
        for (number, frame) in (1..).zip(&self.frames) {
            write!(out, "{number:>3}  {}", frame.done)?;
            if let Some((words, ending)) = &frame.ended {
                let style = match ending {
                    Ending::Well => GOOD,
                    Ending::Faulted => BAD,
                };
                write!(out, ": {style}{words}{style:#}")?;
            }
            writeln!(out)?;
            let met = frame.met();
            if !met.is_empty() {
                writeln!(out, "     {FAINT}{met}{FAINT:#}")?;
            }
            for entry in &frame.added {
                writeln!(out, "   {GOOD}+{GOOD:#} {}", line(entry))?;
            }
            let evicted = if frame.evicts() { " (evicted)" } else { "" };
            for entry in &frame.removed {
                writeln!(out, "   {BAD}-{BAD:#} {}{evicted}", line(entry))?;
            }
            for (severity, words) in &frame.findings {
                let style = match severity {
                    Severity::Hint => NOTE,
                    Severity::Error => BAD,
                };
                let words = words.replace('\n', "\n     ");
                writeln!(out, "   {style}!{style:#} {words}")?;
            }
        }
        if self.omitted != 0 {
            writeln!(out, "     {} further steps are not shown", self.omitted)?;
        }
        let held = self
            .frames
            .last()
            .map_or(self.first.len(), |frame| frame.held);
        writeln!(out, "     {held} entries in the end")
    }
}
