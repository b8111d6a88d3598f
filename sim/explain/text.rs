//! Explanations as text.

use std::fmt::Write;

use super::grid::Grid;
use super::meaning::meaning;
use super::record::{Recorded, Row};
use super::{Explained, outcome};
use crate::style::{self, BAD, FAINT, GOOD, HEADING, PLAIN};

impl Explained {
    /// The translation in one line: what went in and what came out.
    pub fn summary(&self) -> String {
        format!(
            "{} -> {}",
            outcome::transaction(&self.transaction),
            outcome::headline(&self.outcome)
        )
    }

    /// Every access as an indented table, the grid of the walk, and the outcome.
    pub fn to_text(&self) -> String {
        style::plain(&self.to_styled_text())
    }

    /// [`Self::to_text`] with colours as ANSI escape sequences, for a stream that strips them where
    /// they are not wanted.
    pub fn to_styled_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}", outcome::transaction(&self.transaction))?;
        let rows = &self.recording.rows;
        if !rows.is_empty() {
            writeln!(
                out,
                "\n{HEADING}{:>4}  {:<19}{:<15}{:<15}{:<20}meaning{HEADING:#}",
                "", "access", "ipa", "pa", "value"
            )?;
        }
        for row in rows {
            let indent = if row.is_inner() { "  " } else { "" };
            let what = format!("{indent}{}", row.what());
            let ipa = row.ipa.map_or_else(|| "-".into(), |ipa| ipa.to_string());
            let meaning = meaning(row, self);
            let line = match row.recorded {
                Recorded::Aborted => BAD,
                _ if row.is_inner() => FAINT,
                _ => PLAIN,
            };
            writeln!(
                out,
                "{line}{:>4}  {what:<19}{ipa:<15}{:<15}{:<20}{meaning}{line:#}",
                row.label.to_string(),
                row.pa.to_string(),
                value(row)
            )?;
        }
        if let Some(grid) = Grid::of(self) {
            writeln!(out, "\n{}", grid.to_text(rows).trim_end())?;
        }
        let end = match self.outcome.pa() {
            Some(_) => GOOD,
            None => BAD,
        };
        writeln!(out, "\n{end}=> {}{end:#}", outcome::headline(&self.outcome))?;
        if let Some(fault) = self.outcome.fault() {
            writeln!(out, "   because {}", outcome::reason(fault))?;
        }
        if let Some(event) = self.outcome.event() {
            writeln!(out, "   event {}", outcome::event_fields(event))?;
            let words: Vec<_> = event
                .words()
                .iter()
                .map(|word| format!("{word:016x}"))
                .collect();
            writeln!(out, "   words {}", words.join(" "))?;
        }
        Ok(())
    }
}

fn value(row: &Row) -> String {
    match &row.recorded {
        Recorded::Word(word) => format!("{word:016x}"),
        Recorded::Structure(_) => "64 bytes".into(),
        Recorded::Update { .. } => "update".into(),
        Recorded::Aborted => "abort".into(),
    }
}
