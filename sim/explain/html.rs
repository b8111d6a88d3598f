//! Explanations as one self-contained page: the grid as SVG, the accesses as a table.
//!
//! No scripts and no external resources; light and dark by the reader's preference; hovering a cell
//! shows the access.

use std::fmt::Write;

use super::grid::{Cell, Grid};
use super::meaning::meaning;
use super::record::{Recorded, Row};
use super::{Explained, outcome};

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1a1f24;--paper:#fdfdfb;--line:#c9ced3;--s2:#d7e6f5;--s1:#f7e3c3;--bad:#e5484d;--soft:#5c6670}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ea;--paper:#15181b;--line:#3a4148;--s2:#1f3a55;--s1:#54401d;--bad:#ff6369;--soft:#9aa4ad}}
body{margin:0 auto;max-width:70rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2.5rem;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;font:13px/1.4 ui-monospace,monospace}
td,th{padding:.2rem .6rem;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
td:last-child{white-space:normal;min-width:16rem}tr.inner td:nth-child(2){padding-left:1.8rem;color:var(--soft)}
svg{max-width:100%;height:auto}svg text{font:13px ui-monospace,monospace;fill:var(--ink)}
.s1{fill:var(--s1)}.s2{fill:var(--s2)}.none{fill:none}rect{stroke:var(--line)}.bad{stroke:var(--bad);stroke-width:3}
.outcome{border-left:4px solid var(--line);padding-left:1rem;overflow-wrap:anywhere}.outcome.fault{border-color:var(--bad)}code{font-family:ui-monospace,monospace}";

/// The page for these translations.
pub fn page(title: &str, explained: &[Explained]) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_page(&mut out, title, explained);
    out
}

fn write_page(out: &mut String, title: &str, explained: &[Explained]) -> std::fmt::Result {
    let title = escape(title);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"
    )?;
    writeln!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
    )?;
    writeln!(
        out,
        "<title>{title}</title>\n<style>{STYLE}\n</style>\n</head>\n<body>"
    )?;
    writeln!(out, "<h1>{title}</h1>")?;
    for explained in explained {
        section(out, explained)?;
    }
    writeln!(out, "</body>\n</html>")
}

fn section(out: &mut String, explained: &Explained) -> std::fmt::Result {
    writeln!(
        out,
        "<h2>{}</h2>",
        escape(&outcome::transaction(&explained.transaction))
    )?;
    let fault = if explained.outcome.fault().is_some() {
        " fault"
    } else {
        ""
    };
    write!(out, "<div class=\"outcome{fault}\"><p>")?;
    write!(out, "{}", escape(&outcome::headline(&explained.outcome)))?;
    if let Some(fault) = explained.outcome.fault() {
        write!(out, "<br>because {}", escape(&outcome::reason(fault)))?;
    }
    if let Some(event) = explained.outcome.event() {
        write!(
            out,
            "<br><code>{}</code>",
            escape(&outcome::event_fields(event))
        )?;
    }
    writeln!(out, "</p></div>")?;
    if let Some(grid) = Grid::of(explained) {
        svg(out, &grid, explained)?;
    }
    table(out, explained)
}

const CELL_WIDTH: usize = 84;
const CELL_HEIGHT: usize = 40;
const HEAD_WIDTH: usize = 100;
const HEAD_HEIGHT: usize = 30;

fn svg(out: &mut String, grid: &Grid, explained: &Explained) -> std::fmt::Result {
    let columns = grid.columns.len() + usize::from(grid.has_stage1);
    let width = HEAD_WIDTH + columns * CELL_WIDTH + 2;
    let height = HEAD_HEIGHT + grid.lines.len() * CELL_HEIGHT + 2;
    writeln!(
        out,
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"Descriptor accesses of the walk, numbered in order\">"
    )?;
    let heads = grid.columns.iter().map(|level| format!("S2 L{level}"));
    for (i, head) in heads
        .chain(grid.has_stage1.then(|| "S1".to_owned()))
        .enumerate()
    {
        let x = HEAD_WIDTH + i * CELL_WIDTH + CELL_WIDTH / 2;
        writeln!(
            out,
            "<text x=\"{x}\" y=\"20\" text-anchor=\"middle\">{head}</text>"
        )?;
    }
    for (j, (line, cells)) in grid.lines.iter().enumerate() {
        let y = HEAD_HEIGHT + j * CELL_HEIGHT;
        writeln!(out, "<text x=\"4\" y=\"{}\">{}</text>", y + 25, line.name())?;
        for (i, cell) in cells.iter().take(columns).enumerate() {
            let is_stage1 = i == grid.columns.len();
            svg_cell(
                out,
                cell,
                HEAD_WIDTH + i * CELL_WIDTH,
                y,
                is_stage1,
                explained,
            )?;
        }
    }
    writeln!(out, "</svg>")
}

fn svg_cell(
    out: &mut String,
    cell: &Cell,
    x: usize,
    y: usize,
    is_stage1: bool,
    explained: &Explained,
) -> std::fmt::Result {
    let rows = &explained.recording.rows;
    if cell.rows.is_empty() {
        return Ok(());
    }
    let class = if is_stage1 { "s1" } else { "s2" };
    let bad = if cell.faulted { " bad" } else { "" };
    write!(out, "<g><title>")?;
    for &i in &cell.rows {
        let row = &rows[i];
        let text = format!(
            "{}: {} at {}: {}",
            row.label,
            row.what(),
            row.pa,
            meaning(row, explained)
        );
        writeln!(out, "{}", escape(&text))?;
    }
    writeln!(
        out,
        "</title><rect class=\"{class}{bad}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"4\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text></g>",
        x + 2,
        y + 2,
        CELL_WIDTH - 4,
        CELL_HEIGHT - 4,
        x + CELL_WIDTH / 2,
        y + 25,
        cell.text(rows)
    )
}

fn table(out: &mut String, explained: &Explained) -> std::fmt::Result {
    if explained.recording.rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<div class=\"scroll\"><table>\n<tr><th></th><th>access</th><th>ipa</th><th>pa</th>\
         <th>value</th><th>meaning</th></tr>"
    )?;
    for row in &explained.recording.rows {
        let class = if row.is_inner() {
            " class=\"inner\""
        } else {
            ""
        };
        writeln!(
            out,
            "<tr{class}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            row.label,
            row.what(),
            row.ipa.map_or_else(String::new, |ipa| ipa.to_string()),
            row.pa,
            value(row),
            escape(&meaning(row, explained))
        )?;
    }
    writeln!(out, "</table></div>")
}

fn value(row: &Row) -> String {
    match &row.recorded {
        Recorded::Word(word) => format!("{word:016x}"),
        Recorded::Structure(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("{word:016x}")).collect();
            words.join("<br>")
        }
        Recorded::Update { new, .. } => format!("{new:016x}"),
        Recorded::Aborted => "abort".into(),
    }
}

/// Text as HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
