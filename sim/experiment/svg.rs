//! Points as a picture: bytes of stage-2 tables over the number of devices, both logarithmic, one
//! panel a page size.

use std::fmt::Write;

use super::{PageSize, Point, Sharing};

const PANEL: (f64, f64) = (300.0, 260.0);
const MARGIN: (f64, f64) = (64.0, 40.0);
const GAP: f64 = 40.0;

const STYLE: &str = "\
svg{color-scheme:light dark;font:12px system-ui,sans-serif}\
.ink{fill:#1c1e21}.line{stroke:#c9ced4}.own{stroke:#b3261e}.shared{stroke:#1b6fb3}\
path{fill:none;stroke-width:1.8}.shared-key{fill:#1b6fb3}.own-key{fill:#b3261e}\
@media(prefers-color-scheme:dark){.ink{fill:#e6e8ea}.line{stroke:#3b4249}.own{stroke:#ff8a80}\
.shared{stroke:#7cc0f5}.shared-key{fill:#7cc0f5}.own-key{fill:#ff8a80}}";

/// The picture.
pub fn svg(points: &[Point]) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_svg(&mut out, points);
    out
}

fn sorted(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    values.dedup();
    values
}

/// log2 of a count, as a length.
fn log(value: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a picture needs no more than three digits"
    )]
    let value = value.max(1) as f64;
    value.log2()
}

fn write_svg(out: &mut String, points: &[Point]) -> std::fmt::Result {
    let pages: Vec<PageSize> = PageSize::ALL
        .into_iter()
        .filter(|page| points.iter().any(|point| point.page == *page))
        .collect();
    let panels = pages.len() as u32;
    let width = MARGIN.0 + f64::from(panels) * (PANEL.0 + GAP) + MARGIN.0;
    let height = PANEL.1 + 2.0 * MARGIN.1 + 24.0;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\
         <title>Bytes of stage-2 tables over the number of devices</title><style>{STYLE}</style>"
    )?;
    let largest = points.iter().map(|p| p.counts.table_bytes).max();
    let smallest = points.iter().map(|p| p.counts.table_bytes).min();
    let span = (
        log(smallest.unwrap_or(1)).floor(),
        log(largest.unwrap_or(2)).ceil(),
    );
    for (at, page) in (0..).zip(&pages) {
        let left = MARGIN.0 + f64::from(at) * (PANEL.0 + GAP);
        panel(out, points, *page, left, span)?;
    }
    writeln!(
        out,
        "<text class=\"own-key\" x=\"{:.0}\" y=\"18\">a stage 2 for each container</text>\
         <text class=\"shared-key\" x=\"{:.0}\" y=\"18\">one stage 2, shared</text>",
        MARGIN.0,
        MARGIN.0 + 200.0
    )?;
    out.push_str("</svg>\n");
    Ok(())
}

fn panel(
    out: &mut String,
    points: &[Point],
    page: PageSize,
    left: f64,
    (low, high): (f64, f64),
) -> std::fmt::Result {
    let (top, bottom) = (MARGIN.1, MARGIN.1 + PANEL.1);
    let here: Vec<&Point> = points.iter().filter(|point| point.page == page).collect();
    let devices = sorted(here.iter().map(|point| point.devices).collect());
    let last = log(*devices.last().unwrap_or(&1)).max(1.0);
    let x = |count: u64| left + log(count) / last * PANEL.0;
    let y = |bytes: u64| bottom - (log(bytes) - low) / (high - low).max(1.0) * PANEL.1;
    writeln!(
        out,
        "<text class=\"ink\" x=\"{left:.1}\" y=\"{:.1}\">{} pages</text>\
         <path class=\"line\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{:.1}\"/>",
        top - 6.0,
        page.word(),
        left + PANEL.0
    )?;
    for count in &devices {
        writeln!(
            out,
            "<text class=\"ink\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{count}</text>",
            x(*count),
            bottom + 16.0
        )?;
    }
    for exponent in (low as u32..=high as u32).filter(|exponent| exponent % 4 == 0) {
        writeln!(
            out,
            "<text class=\"ink\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left - 6.0,
            y(1 << exponent) + 4.0,
            bytes(exponent)
        )?;
    }
    for memory in sorted(here.iter().map(|point| point.memory_gib).collect()) {
        for (sharing, class) in [(Sharing::PerContainer, "own"), (Sharing::Shared, "shared")] {
            let line = here
                .iter()
                .filter(|p| p.memory_gib == memory && p.sharing == sharing);
            let mut path = String::new();
            let mut end = (0.0, 0.0);
            for (index, point) in line.enumerate() {
                end = (x(point.devices), y(point.counts.table_bytes));
                let letter = if index == 0 { 'M' } else { 'L' };
                write!(path, "{letter}{:.1} {:.1}", end.0, end.1)?;
            }
            writeln!(out, "<path class=\"{class}\" d=\"{path}\"/>")?;
            if sharing == Sharing::PerContainer {
                writeln!(
                    out,
                    "<text class=\"ink\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{memory} GiB</text>",
                    end.0 - 4.0,
                    end.1 - 5.0
                )?;
            }
        }
    }
    Ok(())
}

fn bytes(exponent: u32) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = units[(exponent / 10).min(5) as usize];
    format!("{} {unit}", 1_u64 << (exponent % 10))
}
