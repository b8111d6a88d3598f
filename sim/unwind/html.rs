//! Explorations as one page: each finding with its domain list, call by call as it was wound up and
//! unwound. A table without scripts; with them, a list of domains to step through.

use std::fmt::{self, Write};

use super::explore::{Exploration, Finding};
use super::steps::{Phase, Step};
use super::text;
use super::view::{DomainView, SteState};
use crate::report::page::{Page, escape};

/// The page.
pub fn page(explorations: &[Exploration]) -> String {
    let lead = "Rows are calls in the order they returned, columns the domains of the containers, newest \
                first. States are read from the STEs in memory. Calls after a failure undo what was done, \
                or fail to.";
    let mut page = Page::new("unwind", "Domain lists as they unwind", lead);
    for exploration in explorations {
        // Writing to a page does not fail.
        let _ = write_exploration(&mut page, exploration);
    }
    page.finish()
}

fn write_exploration(out: &mut Page, exploration: &Exploration) -> fmt::Result {
    writeln!(
        out,
        "<h2>{} on {}</h2>\n<p class=\"soft\">{}, {} operations, {} of them with a step that fails.</p>",
        escape(&exploration.name),
        exploration.layout,
        text::plural(exploration.states, "state"),
        exploration.runs,
        exploration.failures
    )?;
    if exploration.findings.is_empty() {
        writeln!(out, "<p class=\"good\">Nothing to object to.</p>")?;
    }
    for finding in &exploration.findings {
        write_finding(out, finding)?;
    }
    Ok(())
}

/// A domain of the finding, before, after, or both.
struct Column {
    container: usize,
    name: String,
    /// Where its streams are in the views.
    streams: Vec<usize>,
    before: Option<String>,
    after: Option<String>,
}

impl Column {
    /// What the STEs of its streams say.
    fn state(&self, states: &[SteState]) -> String {
        let mut known: Vec<SteState> = self
            .streams
            .iter()
            .filter_map(|at| states.get(*at))
            .copied()
            .collect();
        known.sort_unstable();
        known.dedup();
        let words: Vec<String> = known.into_iter().map(SteState::words).collect();
        words.join(" + ")
    }
}

/// The domains there are before or after; newest first.
fn columns(finding: &Finding) -> Vec<Column> {
    let views = [&finding.before, &finding.after];
    let count = views.iter().map(|view| view.containers.len()).max();
    let mut columns: Vec<Column> = Vec::new();
    for container in 0..count.unwrap_or(0) {
        let domains = |at: usize| -> &[DomainView] {
            let found = views[at].containers.get(container);
            found.map_or(&[], |found| &found.domains)
        };
        let find = |at: usize, name: &str| {
            let mut domains = domains(at).iter();
            domains
                .find(|domain| text::domain_name(domain) == name)
                .map(text::states)
        };
        for domain in domains(1).iter().chain(domains(0)) {
            let name = text::domain_name(domain);
            if columns
                .iter()
                .any(|known| known.container == container && known.name == name)
            {
                continue;
            }
            let streams = finding.before.streams.iter().enumerate();
            columns.push(Column {
                container,
                streams: streams
                    .filter(|(_, stream)| domain.groups.contains(&stream.group))
                    .map(|(at, _)| at)
                    .collect(),
                before: find(0, &name),
                after: find(1, &name),
                name,
            });
        }
    }
    columns
}

const GONE: &str = "no such domain";

fn write_finding(out: &mut Page, finding: &Finding) -> fmt::Result {
    writeln!(
        out,
        "<section>\n<h3>{} {}</h3>\n<p>After <code>{}</code>: <code>{}{}</code> returns \
         <code>{}</code>.{}</p>",
        text::label(finding.objection),
        escape(finding.objection.words()),
        escape(&text::path(&finding.path)),
        escape(&finding.op.to_string()),
        escape(&text::failing(finding)),
        text::result(finding.result),
        order(finding)
    )?;
    let columns = columns(finding);
    writeln!(out, "<div data-steps>\n<div data-stepper></div>")?;
    write_cards(out, &columns)?;
    write_table(out, finding, &columns)?;
    writeln!(out, "</div>")?;
    let witness = text::witness(finding);
    let effects = witness.lines().map(str::trim);
    for line in effects.filter(|line| line.starts_with("DMA") || line.starts_with("left")) {
        writeln!(out, "<p><code>{}</code></p>", escape(line))?;
    }
    writeln!(out, "</section>")
}

/// Who was unwound, in which order.
fn order(finding: &Finding) -> String {
    let mut names: Vec<&str> = Vec::new();
    let after = finding
        .steps
        .iter()
        .filter(|step| step.phase == Phase::After);
    for name in after.filter_map(|step| step.domain.as_deref()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    format!(
        " After the failure, in this order: {}.",
        escape(&names.join(", then "))
    )
}

/// The list of domains, whose states a script sets.
fn write_cards(out: &mut Page, columns: &[Column]) -> fmt::Result {
    write!(out, "<ol class=\"cards needs-script\">")?;
    for (at, column) in columns.iter().enumerate() {
        write!(
            out,
            "<li data-card=\"{at}\"><span class=\"soft\">container {}</span><strong>{}</strong>\
             <span data-state>{}</span></li>",
            column.container,
            escape(&column.name),
            escape(column.before.as_deref().unwrap_or(GONE))
        )?;
    }
    writeln!(out, "</ol>")
}

fn write_table(out: &mut Page, finding: &Finding, columns: &[Column]) -> fmt::Result {
    write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"steps\">\n<thead><tr><th scope=\"col\">#</th>\
         <th scope=\"col\">call</th><th scope=\"col\">returns</th>"
    )?;
    for column in columns {
        let (container, name) = (column.container, escape(&column.name));
        write!(
            out,
            "<th scope=\"col\">container {container}<br>{name}</th>"
        )?;
    }
    writeln!(out, "<th scope=\"col\">commands</th></tr></thead>\n<tbody>")?;
    let end = |out: &mut Page, name: &str, of: fn(&Column) -> &Option<String>| {
        write!(
            out,
            "<tr class=\"state\" data-step=\"{name}\"><td></td><th scope=\"row\">{name}</th><td></td>"
        )?;
        for (at, column) in columns.iter().enumerate() {
            let state = of(column).as_deref().unwrap_or(GONE);
            let changed = column.before != column.after && name == "after";
            let class = if changed { "changed bad" } else { "" };
            let state = escape(state);
            write!(
                out,
                "<td data-of=\"{at}\" data-is=\"{state}\" class=\"{class}\">{state}</td>"
            )?;
        }
        writeln!(out, "<td></td></tr>")
    };
    end(out, "before", |column| &column.before)?;
    let mut last: Vec<SteState> = finding
        .before
        .streams
        .iter()
        .map(|stream| stream.ste)
        .collect();
    for (number, step) in (1..).zip(&finding.steps) {
        write_step(out, number, step, &last, columns)?;
        last.clone_from(&step.states);
    }
    end(out, "after", |column| &column.after)?;
    writeln!(out, "</tbody></table></div>")
}

fn write_step(
    out: &mut Page,
    number: usize,
    step: &Step,
    last: &[SteState],
    columns: &[Column],
) -> fmt::Result {
    let class = match step.phase {
        Phase::Done => "",
        Phase::Failed => "bad",
        Phase::After => "note",
    };
    let result = text::result(step.result);
    let sign = if step.phase == Phase::After {
        "\u{21ba} "
    } else {
        ""
    };
    let elsewhere = match step.domain.as_deref() {
        Some(name) if !columns.iter().any(|column| column.name == name) => {
            format!(" ({})", escape(name))
        }
        _ => String::new(),
    };
    write!(
        out,
        "<tr data-step=\"{0} returns {result}\"><td>{number}</td><td class=\"{class}\">{sign}{0}{elsewhere}</td>\
         <td class=\"{class}\">{result}</td>",
        step.call
    )?;
    for (at, column) in columns.iter().enumerate() {
        let (old, state) = (column.state(last), column.state(&step.states));
        let called = step.domain.as_deref() == Some(column.name.as_str());
        let mut classes: Vec<&str> = Vec::new();
        classes.extend((old != state).then_some("changed"));
        classes.extend(called.then_some("called"));
        let shown = match (old != state, called) {
            (true, _) => format!("\u{2192} {}", escape(&state)),
            (false, true) => escape(&state),
            (false, false) => "\u{b7}".to_owned(),
        };
        let state = escape(&state);
        write!(
            out,
            "<td data-of=\"{at}\" data-is=\"{state}\" class=\"{}\">{shown}</td>",
            classes.join(" ")
        )?;
    }
    let commands: Vec<String> = step.commands.iter().map(|one| escape(one)).collect();
    let list = commands.join("<br>");
    if commands.len() < 3 {
        return writeln!(out, "<td>{list}</td></tr>");
    }
    let count = commands.len();
    writeln!(
        out,
        "<td><details><summary>{count} commands</summary>{list}</details></td></tr>"
    )
}
