//! Where `--show-caches` puts a view.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::report::caches::CacheView;

/// Writes a view: a page, or text or JSON by the ending of the file; text on the terminal for `-`.
pub(super) fn show(path: &Path, view: &CacheView, out: &mut impl Write) -> anyhow::Result<()> {
    if path.as_os_str() == "-" {
        return Ok(writeln!(out, "{}", view.to_styled_text())?);
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    let shown = match ending {
        Some("json") => format!("{:#}\n", view.to_json()),
        Some("txt") => view.to_text(),
        _ => view.to_html(),
    };
    fs::write(path, shown).with_context(|| format!("--show-caches {}", path.display()))
}
