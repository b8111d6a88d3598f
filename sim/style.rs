//! What text output marks by colour, and the plain text without it. Colour is never needed to read.

use anstyle::{AnsiColor, Style};

/// Neither good nor bad.
pub(crate) const PLAIN: Style = Style::new();
/// Heads of tables and names of things.
pub(crate) const HEADING: Style = Style::new().bold();
/// What serves something else.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// Translated, agrees.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Faulted, illegal, differs.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Worth a look.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();

/// `text` without escape sequences.
pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
