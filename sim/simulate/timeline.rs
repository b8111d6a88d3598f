//! The first transactions of a run on one page, in simulated time: a track for each stream, link,
//! slot and memory channel, each piece of work where and when it was done. The slices are those of
//! the [trace](super::perfetto).

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use smmu::timing::{Probe, Slice, Track};

use super::perfetto::{PROCESSES, place};
use crate::report::page::{Page, escape};

/// Transactions that a page shows at most.
pub const MOST_TRANSACTIONS: u64 = 64;
/// Slices that it shows at most.
const MOST_SLICES: usize = 8000;

/// Keeps the slices of the first transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    first: u64,
    slices: Vec<Slice>,
    omitted: u64,
}

impl Timeline {
    /// Keeps what concerns the first `first` transactions, [`MOST_TRANSACTIONS`] at most.
    pub fn new(first: u64) -> Self {
        Self {
            first: first.min(MOST_TRANSACTIONS),
            slices: Vec::new(),
            omitted: 0,
        }
    }
}

impl Probe for Timeline {
    fn slice(&mut self, slice: &Slice) {
        if slice.index >= self.first {
            return;
        }
        if self.slices.len() == MOST_SLICES {
            self.omitted += 1;
            return;
        }
        self.slices.push(*slice);
    }
}

/// Two probes see the same.
#[derive(Debug)]
pub struct Both<A, B>(pub A, pub B);

impl<A: Probe, B: Probe> Probe for Both<A, B> {
    fn slice(&mut self, slice: &Slice) {
        self.0.slice(slice);
        self.1.slice(slice);
    }
}

/// Height of a bar, and of a lane with its margin.
const BAR: u64 = 16;
const LANE: u64 = 20;
/// Width of the drawing, whatever the time it shows.
const NARROWEST: f64 = 860.0;
const WIDEST: f64 = 9000.0;
/// Width of a character in a bar.
const CHARACTER: f64 = 7.3;

/// Where times are drawn.
struct Scale {
    start: u64,
    end: u64,
    pixels: f64,
}

impl Scale {
    fn of(slices: &[Slice]) -> Self {
        let start = slices.iter().map(|slice| slice.begin).min().unwrap_or(0);
        let end = slices.iter().map(|slice| slice.end).max().unwrap_or(0);
        let end = end.max(start + 1);
        Self {
            start,
            end,
            pixels: ((end - start) as f64 * 1.2).clamp(NARROWEST, WIDEST),
        }
    }

    fn x(&self, time: u64) -> f64 {
        (time - self.start) as f64 / (self.end - self.start) as f64 * self.pixels
    }

    /// Marks at round times, about 100 pixels apart.
    fn marks(&self) -> impl Iterator<Item = u64> {
        let span = (self.end - self.start) as f64;
        let rough = span / self.pixels * 100.0;
        let power = 10f64.powf(rough.max(1.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
        let step = step
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(10.0 * power);
        // Whole cycles, as times are.
        let step = (step.round() as u64).max(1);
        let first = self.start.div_ceil(step) * step;
        (first..=self.end).step_by(step as usize)
    }
}

/// What kind of work a name is, for its colour: names tell all that colours do.
fn class(name: &str) -> &'static str {
    let waits = ["_slot", "_queue", "hazard", "merged", "port", "ats_request"];
    if waits.iter().any(|end| name.ends_with(end)) {
        "wait"
    } else if name.contains("tlb") || name.contains("cache") || name == "atc" {
        "conf"
    } else if name.contains("read") || name.contains("stage") || name == "configuration" {
        "s1"
    } else if name.contains("walk") || name.contains("fetch") || name.contains("configuration") {
        "s2"
    } else if [
        "link",
        "ats_link",
        "request",
        "answer",
        "command",
        "invalidation",
    ]
    .contains(&name)
    {
        "new"
    } else {
        "wait"
    }
}

/// A track as it is drawn: bars in lanes that do not overlap.
#[derive(Default)]
struct Row {
    title: String,
    lanes: u64,
    /// Lane, and what is in it.
    bars: Vec<(u64, Slice)>,
}

/// Pieces of work that stay together: a transaction with its steps, two lanes, or one slice.
struct Piece {
    whole: Slice,
    steps: Vec<Slice>,
}

impl Timeline {
    /// The page.
    pub fn to_html(&self, input: &str) -> String {
        let lead = "Simulated cycles from left to right. Each transaction has a bar from its arrival to \
                    its departure, with its steps below; links, slots and memory show who used them when.";
        let mut page = Page::new("simulate", &format!("Timeline of {input}"), lead);
        // Writing to a page does not fail.
        let _ = self.write_html(&mut page);
        page.finish()
    }

    fn write_html(&self, out: &mut Page) -> fmt::Result {
        if self.slices.is_empty() {
            return writeln!(out, "<p>No transaction arrived.</p>");
        }
        let scale = Scale::of(&self.slices);
        writeln!(
            out,
            "<section>\n<ul class=\"key\"><li><i class=\"conf\"></i>look-up</li>\
             <li><i class=\"s2\"></i>walk or fetch</li><li><i class=\"s1\"></i>memory</li>\
             <li><i class=\"new\"></i>link</li><li><i class=\"wait\"></i>waiting, and all else</li></ul>\n\
             <div class=\"panel above needs-script\" tabindex=\"0\" data-panel>\
             <p class=\"soft\">Point at a bar, or tab to a transaction.</p></div>\n\
             <div class=\"scroll\" tabindex=\"0\"><table class=\"timeline\">\n<thead><tr>\
             <th scope=\"col\">track</th><td>"
        )?;
        axis(out, &scale)?;
        writeln!(out, "</td></tr></thead>")?;
        let mut last = 0;
        for ((process, _), row) in self.rows() {
            if process != last {
                let end = if last == 0 { "" } else { "</tbody>" };
                let name = PROCESSES[process as usize - 1];
                writeln!(
                    out,
                    "{end}<tbody><tr><th scope=\"rowgroup\" class=\"group\">{name}</th><td></td></tr>"
                )?;
                last = process;
            }
            row.write(out, &scale)?;
        }
        writeln!(out, "</tbody></table></div>")?;
        self.write_transactions(out)?;
        if self.omitted != 0 {
            writeln!(
                out,
                "<p class=\"soft\">{} further slices are not shown.</p>",
                self.omitted
            )?;
        }
        writeln!(out, "</section>")
    }

    /// Each transaction with its steps, by index.
    fn transactions(&self) -> BTreeMap<u64, Piece> {
        let mut pieces = BTreeMap::new();
        for slice in &self.slices {
            if let Track::Stream(_) = slice.track {
                let steps = Vec::new();
                pieces.insert(
                    slice.index,
                    Piece {
                        whole: *slice,
                        steps,
                    },
                );
            }
        }
        for slice in &self.slices {
            if let (Track::Steps(_), Some(piece)) = (slice.track, pieces.get_mut(&slice.index)) {
                piece.steps.push(*slice);
            }
        }
        for piece in pieces.values_mut() {
            piece.steps.sort_by_key(|step| (step.begin, step.end));
        }
        pieces
    }

    fn rows(&self) -> BTreeMap<(u32, u64), Row> {
        let transactions = self.transactions().into_values();
        let others = self
            .slices
            .iter()
            .filter(|slice| !matches!(slice.track, Track::Stream(_) | Track::Steps(_)));
        let others = others.map(|slice| Piece {
            whole: *slice,
            steps: Vec::new(),
        });
        let mut pieces: Vec<Piece> = transactions.chain(others).collect();
        pieces.sort_by_key(|piece| (piece.whole.begin, piece.whole.end, piece.whole.index));
        let mut rows: BTreeMap<(u32, u64), Row> = BTreeMap::new();
        // When each lane of a row is free again.
        let mut free: BTreeMap<(u32, u64), Vec<u64>> = BTreeMap::new();
        for piece in pieces {
            let (process, thread, title) = place(piece.whole.track);
            let row = rows.entry((process, thread)).or_default();
            row.title = title;
            let free = free.entry((process, thread)).or_default();
            let lane = free.iter().position(|until| *until <= piece.whole.begin);
            let lane = lane.unwrap_or_else(|| {
                free.push(0);
                free.len() - 1
            });
            free[lane] = piece.whole.end.max(piece.whole.begin + 1);
            let height = if matches!(piece.whole.track, Track::Stream(_)) {
                2
            } else {
                1
            };
            let top = lane as u64 * height;
            row.lanes = row.lanes.max(top + height);
            row.bars.push((top, piece.whole));
            row.bars
                .extend(piece.steps.into_iter().map(|step| (top + 1, step)));
        }
        rows
    }

    fn write_transactions(&self, out: &mut Page) -> fmt::Result {
        writeln!(
            out,
            "<h2>Transactions</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">#</th>\
             <th scope=\"col\">stream</th><th scope=\"col\">address</th><th scope=\"col\">arrives</th>\
             <th scope=\"col\" class=\"num\">cycles</th><th scope=\"col\">steps</th></tr></thead>\n<tbody>"
        )?;
        for (index, piece) in self.transactions() {
            let Slice {
                track,
                begin,
                end,
                address,
                ..
            } = piece.whole;
            let (_, _, stream) = place(track);
            let cycles = end - begin;
            let steps = piece.steps.len();
            write!(
                out,
                "<tr data-shows=\"x{index}-d\"><td>{index}</td><td>{stream}</td><td>{address:#x}</td>\
                 <td>{begin}</td><td class=\"num\">{cycles}</td><td><details><summary>{steps} steps</summary>\
                 <div id=\"x{index}-d\"><h3>Transaction {index}: {cycles} cycles</h3><table><thead><tr>\
                 <th scope=\"col\">step</th><th scope=\"col\" class=\"num\">from</th>\
                 <th scope=\"col\" class=\"num\">to</th><th scope=\"col\" class=\"num\">cycles</th></tr></thead><tbody>"
            )?;
            for step in &piece.steps {
                write!(
                    out,
                    "<tr><td>{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td></tr>",
                    step.name,
                    step.begin,
                    step.end,
                    step.end - step.begin
                )?;
            }
            writeln!(out, "</tbody></table></div></details></td></tr>")?;
        }
        writeln!(out, "</tbody></table></div>")
    }
}

fn axis(out: &mut Page, scale: &Scale) -> fmt::Result {
    let width = scale.pixels + 40.0;
    write!(
        out,
        "<svg width=\"{width:.0}\" height=\"20\" role=\"img\" aria-label=\"cycles\">"
    )?;
    for mark in scale.marks() {
        write!(
            out,
            "<text x=\"{:.1}\" y=\"14\">{mark}</text>",
            scale.x(mark) + 2.0
        )?;
    }
    write!(out, "</svg>")
}

impl Row {
    fn write(&self, out: &mut Page, scale: &Scale) -> fmt::Result {
        let (width, height) = (scale.pixels + 40.0, self.lanes * LANE);
        let title = escape(&self.title);
        write!(
            out,
            "<tr><th scope=\"row\">{title}</th><td><svg width=\"{width:.0}\" height=\"{height}\" \
             role=\"group\" aria-label=\"{title}\">"
        )?;
        for mark in scale.marks() {
            let x = scale.x(mark);
            write!(
                out,
                "<line class=\"grid-line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height}\"/>"
            )?;
        }
        for (lane, slice) in &self.bars {
            bar(out, scale, *lane, slice)?;
        }
        writeln!(out, "</svg></td></tr>")
    }
}

fn bar(out: &mut Page, scale: &Scale, lane: u64, slice: &Slice) -> fmt::Result {
    let Slice {
        track,
        name,
        begin,
        end,
        index,
        address,
    } = *slice;
    let cycles = end - begin;
    let (left, width) = (scale.x(begin), (scale.x(end) - scale.x(begin)).max(1.5));
    let top = lane * LANE + 2;
    let whole = matches!(track, Track::Stream(_));
    let what = if matches!(track, Track::Commands | Track::Invalidation(_)) {
        "command"
    } else {
        "transaction"
    };
    let tells =
        format!("{name}: {cycles} cycles, from {begin} to {end}; {what} {index}, {address:#x}");
    let (attributes, label, class) = if whole {
        let about = format!(
            "tabindex=\"0\" role=\"img\" aria-label=\"transaction {index}, {cycles} cycles\" data-shows=\"x{index}-d\""
        );
        (about, format!("{index}"), "whole")
    } else {
        (
            format!("data-tells=\"{tells}\""),
            name.to_owned(),
            class(name),
        )
    };
    write!(
        out,
        "<g {attributes}><title>{tells}</title><rect class=\"{class}\" x=\"{left:.1}\" y=\"{top}\" \
         width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>"
    )?;
    let room = width - 6.0;
    if label.len() as f64 * CHARACTER <= room {
        write!(
            out,
            "<text x=\"{:.1}\" y=\"{}\">{label}</text>",
            left + 3.0,
            top + 12
        )?;
    }
    write!(out, "</g>")
}
