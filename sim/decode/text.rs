//! Decoded words as text.

use std::fmt::Write;

use super::{Decoded, Show};
use crate::style::{self, BAD, HEADING, NOTE};

impl Decoded {
    /// An aligned table, then notes and what is illegal.
    pub fn to_text(&self, show: Show) -> String {
        style::plain(&self.to_styled_text(show))
    }

    /// [`Self::to_text`] with colours as ANSI escape sequences, for a stream that strips them where
    /// they are not wanted.
    pub fn to_styled_text(&self, show: Show) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write_text(&mut out, show);
        out
    }

    fn write_text(&self, out: &mut String, show: Show) -> std::fmt::Result {
        let title = &self.title;
        writeln!(out, "{HEADING}{title}{HEADING:#}  {}", self.words.join(" "))?;
        let shown: Vec<_> = self
            .fields
            .iter()
            .filter(|f| show == Show::All || f.value != 0)
            .collect();
        for field in &shown {
            let range = if field.msb == field.lsb {
                format!("[{}]", field.lsb)
            } else {
                format!("[{}:{}]", field.msb, field.lsb)
            };
            let name = field.name;
            let value = format!("{:#x}", field.value);
            let line = format!("  {range:<10}{name:<14} {value:<20}{}", field.meaning);
            writeln!(out, "{}", line.trim_end())?;
        }
        let hidden = self.fields.len() - shown.len();
        if hidden != 0 {
            writeln!(out, "  ({hidden} fields are zero)")?;
        }
        for note in &self.notes {
            writeln!(out, "  {NOTE}note{NOTE:#}: {note}")?;
        }
        for illegal in &self.illegal {
            writeln!(
                out,
                "  {BAD}ILLEGAL{BAD:#} {}: {} (decided by {})",
                illegal.field, illegal.reason, illegal.depends_on
            )?;
        }
        Ok(())
    }
}
