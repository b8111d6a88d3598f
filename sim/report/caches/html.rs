//! A view as a page: the life of each entry over the steps, and the steps themselves.

use std::fmt::{self, Write};

use smmu::cache::CachedEntry;
use smmu::observe::CacheKind;
use smmu::sanitize::Severity;

use super::entry::{cache, name, says, tags};
use super::{CacheView, Ending, Frame, Life};
use crate::report::page::{Page, escape};

/// Lives that the page draws, and entries that a step lists; more are counted.
const MOST_LIVES: usize = 300;
const MOST_LISTED: usize = 40;

impl CacheView {
    /// The view as one self-contained page.
    pub fn to_html(&self) -> String {
        let lead = "Each line is an entry of a cache, from the step that made it to the step that removed \
                    it. Steps are numbered; what each did is below.";
        let mut page = Page::new("caches", &self.title, lead);
        // Writing to a page does not fail.
        let _ = self.write_html(&mut page);
        page.finish()
    }

    fn write_html(&self, out: &mut Page) -> fmt::Result {
        let first = self
            .frames
            .iter()
            .position(|frame| !frame.findings.is_empty());
        let first = first.unwrap_or(0);
        writeln!(out, "<section data-steps=\"one\" data-first=\"{first}\">")?;
        self.write_lives(out)?;
        writeln!(out, "<h2>Steps</h2>\n<div data-stepper></div>")?;
        for (number, frame) in self.frames.iter().enumerate() {
            write_frame(out, number, frame)?;
        }
        if self.omitted != 0 {
            writeln!(
                out,
                "<p class=\"soft\">{} further steps are not shown.</p>",
                self.omitted
            )?;
        }
        writeln!(out, "</section>")
    }

    fn write_lives(&self, out: &mut Page) -> fmt::Result {
        let lives = self.lives();
        let steps = self.frames.len();
        if lives.is_empty() {
            return writeln!(out, "<p>Nothing is ever cached.</p>");
        }
        write!(
            out,
            "<h2>What is cached, and until when</h2>\n<ul class=\"key\"><li><b>+</b> made</li>\
             <li><b>\u{2022}</b> hit</li><li><b>\u{d7}</b> removed by a command</li>\
             <li><b>\u{2193}</b> evicted</li></ul>\n\
             <div class=\"scroll\" tabindex=\"0\"><table class=\"lives\">\n<thead><tr><th scope=\"col\">entry</th>"
        )?;
        for (number, frame) in self.frames.iter().enumerate() {
            let class = if frame.findings.is_empty() {
                ""
            } else {
                " class=\"found\""
            };
            write!(
                out,
                "<th scope=\"col\"><a href=\"#f{number}\" data-goes=\"{number}\"{class} title=\"{}\">{}</a></th>",
                escape(&frame.done),
                number + 1
            )?;
        }
        writeln!(out, "</tr></thead>")?;
        let mut kind: Option<CacheKind> = None;
        for life in lives.iter().take(MOST_LIVES) {
            let of = life.entry.cache();
            if kind != Some(of) {
                let end = if kind.is_some() { "</tbody>" } else { "" };
                writeln!(
                    out,
                    "{end}<tbody><tr><th scope=\"rowgroup\" class=\"group\">{}</th><td colspan=\"{steps}\"></td></tr>",
                    cache(of)
                )?;
                kind = Some(of);
            }
            self.write_life(out, life)?;
        }
        let end = if kind.is_some() { "</tbody>" } else { "" };
        writeln!(out, "{end}</table></div>")?;
        if lives.len() > MOST_LIVES {
            let more = lives.len() - MOST_LIVES;
            writeln!(
                out,
                "<p class=\"soft\">{more} further entries are not drawn.</p>"
            )?;
        }
        Ok(())
    }

    fn write_life(&self, out: &mut Page, life: &Life) -> fmt::Result {
        let made = life.made.unwrap_or(0);
        let end = life.removed.unwrap_or(self.frames.len().saturating_sub(1));
        write!(
            out,
            "<tr><th scope=\"row\"><details><summary>{}{}</summary>",
            escape(&name(&life.entry)),
            escape(&owner(&life.entry))
        )?;
        self.write_story(out, life)?;
        write!(out, "</details></th>")?;
        gap(out, made)?;
        for step in made..=end {
            let is_made = life.made == Some(step);
            let is_removed = life.removed == Some(step);
            let (class, sign) = match (is_made, is_removed, life.hits.contains(&step)) {
                (_, true, _) if self.frames[step].evicts() => ("gone", "\u{2193}"),
                (_, true, _) => ("gone", "\u{d7}"),
                (true, ..) => ("new", "+"),
                (.., true) => ("alive", "\u{2022}"),
                _ => ("alive", ""),
            };
            write!(out, "<td class=\"{class}\">{sign}</td>")?;
        }
        gap(out, self.frames.len().saturating_sub(end + 1))?;
        writeln!(out, "</tr>")
    }

    /// Where an entry comes from, what it says and where it went.
    fn write_story(&self, out: &mut Page, life: &Life) -> fmt::Result {
        let tags = tags(&life.entry);
        if !tags.is_empty() {
            write!(out, "{}<br>", escape(&tags))?;
        }
        write!(out, "\u{2192} {}", escape(&says(&life.entry)))?;
        if let CachedEntry::Translation(entry) = &life.entry {
            write!(out, "<br>descriptor {:#018x}", entry.descriptor)?;
            if let Some(second) = entry.stage2_descriptor {
                write!(out, "<br>stage 2 {second:#018x}")?;
            }
        }
        match life.made {
            Some(step) => write!(
                out,
                "<br>made by {}: {}",
                step + 1,
                escape(&self.frames[step].done)
            )?,
            None => write!(out, "<br>there from the start")?,
        }
        write!(out, "<br>hit by {}", plural(life.hits.len(), "step"))?;
        match life.removed {
            Some(step) => {
                let (how, done) = (self.frames[step].leaving(), &self.frames[step].done);
                write!(out, "<br>{how} by {}: {}", step + 1, escape(done))
            }
            None => write!(out, "<br>still there in the end"),
        }
    }
}

/// Whose an entry is, as briefly as can be.
fn owner(entry: &CachedEntry) -> String {
    let tags = tags(entry);
    match tags.rsplit_once(", ") {
        Some((_, asid)) => format!(" \u{b7} {asid}"),
        None if tags.is_empty() => tags,
        None => format!(" \u{b7} {tags}"),
    }
}

fn plural(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// Steps an entry does not live in.
fn gap(out: &mut Page, steps: usize) -> fmt::Result {
    if steps == 0 {
        return Ok(());
    }
    write!(out, "<td class=\"gap\" colspan=\"{steps}\"></td>")
}

fn write_frame(out: &mut Page, number: usize, frame: &Frame) -> fmt::Result {
    let done = escape(&frame.done);
    write!(
        out,
        "<article id=\"f{number}\" data-step=\"{done}\"><h3>{}. {done}</h3>",
        number + 1
    )?;
    if let Some((words, ending)) = &frame.ended {
        let class = match ending {
            Ending::Well => "",
            Ending::Faulted => " fault",
        };
        write!(
            out,
            "<div class=\"outcome{class}\"><p>{}</p></div>",
            escape(words)
        )?;
    }
    let met = frame.met();
    if !met.is_empty() {
        write!(out, "<p class=\"soft\">{}</p>", escape(&met))?;
    }
    for (severity, words) in &frame.findings {
        let class = match severity {
            Severity::Hint => "note",
            Severity::Error => "bad",
        };
        write!(
            out,
            "<pre class=\"{class}\" tabindex=\"0\">{}</pre>",
            escape(words)
        )?;
    }
    write_list(out, "added", "new", &frame.added)?;
    write_list(out, frame.leaving(), "gone", &frame.removed)?;
    let nothing = frame.added.is_empty() && frame.removed.is_empty();
    let unchanged = if nothing { "Nothing changed; " } else { "" };
    let held = frame.held;
    let verb = if held == 1 { "entry is" } else { "entries are" };
    writeln!(
        out,
        "<p class=\"soft\">{unchanged}{held} {verb} held.</p></article>"
    )
}

fn write_list(out: &mut Page, what: &str, class: &str, entries: &[CachedEntry]) -> fmt::Result {
    if entries.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"{class}\"><caption>{what}: {}</caption>\
         <thead><tr><th scope=\"col\">cache</th><th scope=\"col\">finds</th><th scope=\"col\">tags</th>\
         <th scope=\"col\">says</th></tr></thead><tbody>",
        entries.len()
    )?;
    for entry in entries.iter().take(MOST_LISTED) {
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            cache(entry.cache()),
            escape(&name(entry)),
            escape(&tags(entry)),
            escape(&says(entry))
        )?;
    }
    if entries.len() > MOST_LISTED {
        let more = entries.len() - MOST_LISTED;
        write!(out, "<tr><td colspan=\"4\">and {more} more</td></tr>")?;
    }
    write!(out, "</tbody></table></div>")
}
