//! Explorations as one page: each finding with its domain list, call by call as it was wound up and
//! unwound. Self-contained, light and dark, without scripts.

use std::fmt::Write;

use super::explore::{CallView, Exploration, Finding};
use super::text;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1e21;--paper:#fff;--soft:#f1f3f5;--line:#c9ced4;\
--good:#1b7f4b;--bad:#b3261e;--undo:#8a5a00}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--paper:#15181b;--soft:#20252a;--line:#3b4249;\
--good:#5fcf95;--bad:#ff8a80;--undo:#f0b65a}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:64rem;\
margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem}\
article{border:1px solid var(--line);border-radius:6px;padding:.5rem 1rem 1rem;margin:1rem 0;\
overflow-x:auto}\
h3{font-size:1rem}code,td,th{font:13px/1.45 ui-monospace,monospace}\
table{border-collapse:collapse;margin:.6rem 0}\
td,th{border:1px solid var(--line);padding:.2rem .6rem;text-align:left}\
th{background:var(--soft)}.ok{color:var(--good)}.no{color:var(--bad);font-weight:700}\
.undo{color:var(--undo)}.state{background:var(--soft)}";

/// The page.
pub fn page(explorations: &[Exploration]) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_page(&mut out, explorations);
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn write_page(out: &mut String, explorations: &[Exploration]) -> std::fmt::Result {
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>smmu-sim unwind</title><style>{STYLE}</style></head><body>\n\
         <h1>Domain lists as they unwind</h1>\n\
         <p>Rows are calls in the order they returned, columns the domains of the container, newest \
         first. States are read from the STEs in memory.</p>\n"
    )?;
    for exploration in explorations {
        writeln!(
            out,
            "<h2>{} on {}</h2>\n<p>{}, {} operations, {} of them with a step that fails.</p>",
            escape(&exploration.name),
            exploration.layout,
            text::plural(exploration.states, "state"),
            exploration.runs,
            exploration.failures
        )?;
        if exploration.findings.is_empty() {
            out.push_str("<p class=\"ok\">Nothing to object to.</p>\n");
        }
        for finding in &exploration.findings {
            write_finding(out, finding)?;
        }
    }
    out.push_str("</body></html>\n");
    Ok(())
}

fn write_finding(out: &mut String, finding: &Finding) -> std::fmt::Result {
    writeln!(
        out,
        "<article><h3>{} {}</h3>\n<p>After <code>{}</code>: <code>{}{}</code> returns <code>{}</code>.</p>",
        text::label(finding.objection),
        escape(finding.objection.words()),
        escape(&text::path(&finding.path)),
        escape(&finding.op.to_string()),
        escape(&text::failing(finding)),
        text::result(finding.result)
    )?;
    let rows = text::domain_rows(finding);
    let names: Vec<&str> = rows.iter().map(|(_, name, ..)| name.as_str()).collect();
    out.push_str("<table><tr><th>call</th>");
    for (container, name, ..) in &rows {
        write!(out, "<th>container {container}<br>{}</th>", escape(name))?;
    }
    out.push_str("</tr>\n<tr class=\"state\"><td>before</td>");
    for (_, _, before, _) in &rows {
        write!(out, "<td>{}</td>", escape(before))?;
    }
    out.push_str("</tr>\n");
    for call in &finding.calls {
        write_call(out, call, &names)?;
    }
    out.push_str("<tr class=\"state\"><td>after</td>");
    for (_, _, before, after) in &rows {
        let class = if before == after { "ok" } else { "no" };
        write!(out, "<td class=\"{class}\">{}</td>", escape(after))?;
    }
    out.push_str("</tr></table>\n");
    let witness = text::witness(finding);
    let dma: Vec<&str> = witness
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("DMA") || line.starts_with("left"))
        .collect();
    for line in dma {
        writeln!(out, "<p><code>{}</code></p>", escape(line))?;
    }
    out.push_str("</article>\n");
    Ok(())
}

fn write_call(out: &mut String, call: &CallView, names: &[&str]) -> std::fmt::Result {
    let undoes = call.op.contains("detach") || call.op.contains("back") || call.op.contains("free");
    let class = match (call.result, undoes) {
        (Err(_), _) => "no",
        (Ok(()), true) => "undo",
        (Ok(()), false) => "ok",
    };
    let place = call.domain.as_deref();
    let column = names.iter().position(|name| Some(*name) == place);
    let elsewhere = match (place, column) {
        (Some(name), None) => format!(" ({})", escape(name)),
        _ => String::new(),
    };
    write!(out, "<tr><td class=\"{class}\">{}{elsewhere}</td>", call.op)?;
    for at in 0..names.len() {
        if Some(at) == column {
            let sign = if undoes { "\u{21ba} " } else { "" };
            let result = text::result(call.result);
            write!(out, "<td class=\"{class}\">{sign}{result}</td>")?;
        } else {
            out.push_str("<td></td>");
        }
    }
    out.push_str("</tr>\n");
    Ok(())
}
