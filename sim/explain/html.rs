//! Explanations as one page: the grid of the walk, every access as a row, and what each read, field
//! by field. A cell of the grid leads to its row; with scripts, pointing at either shows the fields.

use std::fmt::{self, Write};

use super::fields::decoded;
use super::grid::{Cell, Grid};
use super::meaning::meaning;
use super::record::{Label, Recorded, Row};
use super::{Explained, outcome};
use crate::decode::{Decoded, FieldValue};
use crate::report::page::{Page, escape};

/// The page for these translations.
pub fn page(title: &str, explained: &[Explained]) -> String {
    let lead = "Numbers are memory accesses in the order the walker makes them; c1, c2, \u{2026} fetch \
                the configuration. Each line of the grid first translates the address of a stage-1 \
                descriptor through stage 2, then reads that descriptor.";
    let mut page = Page::new("walk", title, lead);
    for (number, one) in (1..).zip(explained) {
        // Writing to a page does not fail.
        let _ = section(&mut page, &format!("t{number}"), one);
    }
    page.finish()
}

/// One translation; `id` begins the names of its parts.
fn section(out: &mut impl Write, id: &str, explained: &Explained) -> fmt::Result {
    let title = escape(&outcome::transaction(&explained.transaction));
    writeln!(out, "<section id=\"{id}\">\n<h2>{title}</h2>")?;
    let fault = explained.outcome.fault();
    let class = if fault.is_some() { " fault" } else { "" };
    let headline = escape(&outcome::headline(&explained.outcome));
    write!(out, "<div class=\"outcome{class}\"><p>{headline}")?;
    if let Some(fault) = fault {
        write!(out, "<br>because {}", escape(&outcome::reason(fault)))?;
    }
    if let Some(event) = explained.outcome.event() {
        let fields = escape(&outcome::event_fields(event));
        write!(out, "<br><code>{fields}</code>")?;
    }
    writeln!(out, "</p></div>")?;
    if !explained.recording.rows.is_empty() {
        overview(out, id, explained)?;
        table(out, id, explained)?;
    }
    writeln!(out, "</section>")
}

/// Configuration and grid, beside the fields of the access pointed at.
fn overview(out: &mut impl Write, id: &str, explained: &Explained) -> fmt::Result {
    let rows = &explained.recording.rows;
    writeln!(out, "<div class=\"beside\"><div>")?;
    let configuration = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| matches!(row.label, Label::Configuration(_)));
    write!(out, "<p class=\"chain\"><span>configuration:</span>")?;
    for (i, row) in configuration {
        let class = match row.recorded {
            Recorded::Aborted => "conf fault",
            _ => "conf",
        };
        link(out, id, i, row, class, &row.label.to_string())?;
    }
    writeln!(out, "</p>")?;
    let grid = Grid::of(explained);
    if let Some(grid) = &grid {
        cells(out, id, grid, rows)?;
    }
    write!(
        out,
        "<ul class=\"key\"><li><i class=\"conf\"></i>configuration</li>"
    )?;
    if grid.is_some() {
        write!(
            out,
            "<li><i class=\"s1\"></i>stage-1 descriptor</li>\
             <li><i class=\"s2\"></i>stage-2 descriptor</li>"
        )?;
    }
    writeln!(
        out,
        "</ul>\n</div>\n<div class=\"panel needs-script\" tabindex=\"0\" data-panel>\
         <p class=\"soft\">Point at an access, or tab to it, to see what was read.</p></div>\n</div>"
    )
}

/// An access in brief, that leads to its row.
fn link(
    out: &mut impl Write,
    id: &str,
    index: usize,
    row: &Row,
    class: &str,
    text: &str,
) -> fmt::Result {
    let what = escape(&row.what());
    write!(
        out,
        "<a class=\"cell {class}\" href=\"#{id}-{index}\" data-shows=\"{id}-{index}-d\" \
         title=\"{what}\">{text}</a>"
    )
}

fn cells(out: &mut impl Write, id: &str, grid: &Grid, rows: &[Row]) -> fmt::Result {
    write!(
        out,
        "<div class=\"scroll\"><table class=\"grid\">\
         <caption>Descriptor accesses of the walk, in order</caption>\n<thead><tr><td></td>"
    )?;
    for level in &grid.columns {
        write!(out, "<th scope=\"col\">S2 L{level}</th>")?;
    }
    if grid.has_stage1 {
        write!(out, "<th scope=\"col\">S1</th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    let columns = grid.columns.len() + usize::from(grid.has_stage1);
    for (line, cells) in &grid.lines {
        write!(out, "<tr><th scope=\"row\">{}</th>", line.name())?;
        for (column, cell) in cells.iter().take(columns).enumerate() {
            let stage = if column == grid.columns.len() {
                "s1"
            } else {
                "s2"
            };
            write!(out, "<td>")?;
            grid_cell(out, id, (cell, stage), rows)?;
            write!(out, "</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn grid_cell(
    out: &mut impl Write,
    id: &str,
    (cell, stage): (&Cell, &str),
    rows: &[Row],
) -> fmt::Result {
    let Some(&last) = cell.rows.last() else {
        return Ok(());
    };
    let class = if cell.faulted {
        format!("{stage} fault")
    } else {
        stage.to_owned()
    };
    link(out, id, last, &rows[last], &class, &cell.text(rows))
}

fn table(out: &mut impl Write, id: &str, explained: &Explained) -> fmt::Result {
    writeln!(
        out,
        "<div class=\"scroll\"><table class=\"accesses\">\n<caption>Every access; open a meaning for its fields</caption>\n\
         <thead><tr><th scope=\"col\">#</th><th scope=\"col\">access</th><th scope=\"col\">ipa</th>\
         <th scope=\"col\">pa</th><th scope=\"col\">value</th><th scope=\"col\">meaning</th></tr></thead>\n\
         <tbody>"
    )?;
    for (index, row) in explained.recording.rows.iter().enumerate() {
        let class = if row.is_inner() {
            " class=\"inner\""
        } else {
            ""
        };
        let name = format!("{id}-{index}");
        write!(
            out,
            "<tr id=\"{name}\" data-shows=\"{name}-d\"{class}><td>{}</td><td>{}</td><td data-is=\"ipa\">{}</td>\
             <td data-is=\"pa\">{}</td><td data-is=\"value\">{}</td><td class=\"wide\">",
            row.label,
            row.what(),
            row.ipa.map_or_else(String::new, |ipa| ipa.to_string()),
            row.pa,
            value(row),
        )?;
        let summary = escape(&meaning(row, explained));
        write!(out, "<details><summary>{summary}</summary>")?;
        details(out, &name, row, explained)?;
        writeln!(out, "</details></td></tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

/// The fields of one access.
fn details(out: &mut impl Write, name: &str, row: &Row, explained: &Explained) -> fmt::Result {
    write!(
        out,
        "<div id=\"{name}-d\"><h3>{}: {} at {}</h3>",
        row.label,
        escape(&row.what()),
        row.pa
    )?;
    match decoded(row, explained) {
        Some(decoded) => {
            let says = escape(&meaning(row, explained));
            write!(out, "<p>{}</p><p>{says}</p>", escape(&decoded.title))?;
            fields(out, &decoded)?;
        }
        None => write!(out, "<p class=\"bad\">memory aborted the access</p>")?,
    }
    write!(out, "</div>")
}

/// The fields of a structure that are set.
fn fields(out: &mut impl Write, decoded: &Decoded) -> fmt::Result {
    let set: Vec<&FieldValue> = decoded.fields.iter().filter(|f| f.value != 0).collect();
    if !set.is_empty() {
        write!(
            out,
            "<div class=\"fields\"><table><thead><tr><th scope=\"col\">bits</th><th scope=\"col\">field</th>\
             <th scope=\"col\">value</th><th scope=\"col\">meaning</th></tr></thead><tbody>"
        )?;
        for field in &set {
            let bits = if field.msb == field.lsb {
                field.lsb.to_string()
            } else {
                format!("{}:{}", field.msb, field.lsb)
            };
            write!(
                out,
                "<tr><td>{bits}</td><th scope=\"row\">{}</th><td>{:#x}</td><td>{}</td></tr>",
                field.name,
                field.value,
                escape(&field.meaning)
            )?;
        }
        write!(out, "</tbody></table></div>")?;
    }
    match decoded.fields.len() - set.len() {
        0 => Ok(()),
        1 => write!(out, "<p class=\"soft\">One field is zero.</p>"),
        zero => write!(out, "<p class=\"soft\">{zero} fields are zero.</p>"),
    }
}

fn value(row: &Row) -> String {
    match &row.recorded {
        Recorded::Word(word) => format!("{word:016x}"),
        Recorded::Structure(words) => {
            let set = words
                .iter()
                .rposition(|word| *word != 0)
                .map_or(0, |at| at + 1);
            let mut shown: Vec<_> = words[..set]
                .iter()
                .map(|word| format!("{word:016x}"))
                .collect();
            if set < words.len() {
                shown.push(format!("{} words of zeros", words.len() - set));
            }
            shown.join("<br>")
        }
        Recorded::Update { new, .. } => format!("{new:016x}"),
        Recorded::Aborted => "abort".into(),
    }
}
