//! Plots as inline SVG, for pages and the book: lines, bars, one stacked bar.

use std::fmt::Write as _;

use crate::report::page::escape;

/// Colours that stay apart for colour-blind readers (Okabe and Ito 2008), then greys.
const COLOURS: [&str; 10] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442", "#000000",
    "#888888", "#bbbbbb",
];

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 45.0;

/// How a quantity is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Evenly, from 0.
    Linear,
    /// By powers of ten.
    Logarithmic,
}

/// A line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A plot of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Its title.
    pub title: &'static str,
    /// What is to the right, and how.
    pub x: (&'static str, Axis),
    /// What is upwards, and how.
    pub y: (&'static str, Axis),
    /// The lines.
    pub series: Vec<Series>,
}

/// A number as an axis shows it.
fn number(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{}k", value / 1e3)
    } else if value.fract() == 0.0 {
        format!("{value}")
    } else {
        format!("{value:.2}")
    }
}

/// A scale: the least and the most, and the marks in between.
struct Scale {
    axis: Axis,
    least: f64,
    most: f64,
    marks: Vec<f64>,
}

impl Scale {
    fn new(axis: Axis, values: impl Iterator<Item = f64> + Clone) -> Self {
        let most = values.clone().fold(0.0, f64::max).max(1e-9);
        match axis {
            Axis::Linear => {
                let rough = most / 5.0;
                let power = 10f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0]
                    .into_iter()
                    .map(|digit| digit * power)
                    .find(|step| *step >= rough)
                    .unwrap_or(10.0 * power);
                let count = (most / step).ceil() as u32;
                Self {
                    axis,
                    least: 0.0,
                    most: f64::from(count) * step,
                    marks: (0..=count).map(|i| f64::from(i) * step).collect(),
                }
            }
            Axis::Logarithmic => {
                let least = values.fold(f64::INFINITY, f64::min).max(1e-9);
                let first = least.log10().floor() as i32;
                let last = (most.log10().ceil() as i32).max(first + 1);
                Self {
                    axis,
                    least: 10f64.powi(first),
                    most: 10f64.powi(last),
                    marks: (first..=last).map(|power| 10f64.powi(power)).collect(),
                }
            }
        }
    }

    /// Where a value is, from 0 to 1.
    fn at(&self, value: f64) -> f64 {
        match self.axis {
            Axis::Linear => value / self.most,
            Axis::Logarithmic => {
                let (least, most) = (self.least.ln(), self.most.ln());
                (value.max(self.least).ln() - least) / (most - least)
            }
        }
    }
}

fn begin(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\
        <title>{title}</title><text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{title}</text>",
        title = escape(title),
    )
}

impl Plot {
    /// The plot as an SVG element.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let x = Scale::new(self.x.1, points().map(|point| point.0));
        let y = Scale::new(self.y.1, points().map(|point| point.1));
        let right = WIDTH - RIGHT;
        let bottom = HEIGHT - BOTTOM;
        let to_x = |value| LEFT + x.at(value) * (right - LEFT);
        let to_y = |value| bottom - y.at(value) * (bottom - TOP);
        let mut svg = begin(self.title, HEIGHT);
        for mark in &x.marks {
            let at = to_x(*mark);
            let _ = write!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
                <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                number(*mark),
            );
        }
        for mark in &y.marks {
            let at = to_y(*mark);
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                number(*mark),
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
            <text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1})\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0,
            escape(self.x.0),
            f64::midpoint(TOP, bottom),
            f64::midpoint(TOP, bottom),
            escape(self.y.0),
        );
        for (number, series) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let line: Vec<String> = series
                .points
                .iter()
                .map(|point| format!("{:.1},{:.1}", to_x(point.0), to_y(point.1)))
                .collect();
            let at = TOP + 14.0 * number as f64;
            let _ = write!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" points=\"{}\"/>\
                <rect x=\"{:.1}\" y=\"{at:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
                <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                line.join(" "),
                right + 12.0,
                right + 27.0,
                at + 9.0,
                escape(&series.name),
            );
        }
        svg.push_str("</svg>");
        svg
    }
}

/// Bars from the left, each with its name and value.
pub fn bars(title: &str, unit: &str, values: &[(&str, f64)]) -> String {
    let height = TOP + 24.0 * values.len() as f64 + 10.0;
    let most = values.iter().map(|value| value.1).fold(1e-9, f64::max);
    let start = 170.0;
    let mut svg = begin(&format!("{title} ({unit})"), height);
    for (number, (name, value)) in values.iter().enumerate() {
        let at = TOP + 24.0 * number as f64;
        let length = value / most * (WIDTH - start - 90.0);
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
            <rect x=\"{start}\" y=\"{at:.1}\" width=\"{length:.1}\" height=\"16\" fill=\"{}\"/>\
            <text x=\"{:.1}\" y=\"{:.1}\">{value:.3}</text>",
            start - 8.0,
            at + 12.0,
            escape(name),
            COLOURS[0],
            start + length + 6.0,
            at + 12.0,
        );
    }
    svg.push_str("</svg>");
    svg
}

/// One bar of parts, with a legend.
pub fn stacked_bar(title: &str, unit: &str, parts: &[(&str, f64)]) -> String {
    let total: f64 = parts.iter().map(|part| part.1).sum();
    let height = TOP + 50.0 + 18.0 * parts.len().div_ceil(2) as f64;
    let mut svg = begin(&format!("{title}: {total:.1} {unit}"), height);
    let mut at = LEFT;
    for (number, (name, value)) in parts.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let width = value / total.max(1e-9) * (WIDTH - 2.0 * LEFT);
        let (column, row) = (number % 2, number / 2);
        let legend_x = LEFT + 330.0 * column as f64;
        let legend_y = TOP + 45.0 + 18.0 * row as f64;
        let _ = write!(
            svg,
            "<rect x=\"{at:.1}\" y=\"{TOP}\" width=\"{width:.2}\" height=\"30\" fill=\"{colour}\">\
            <title>{name}: {value:.3}</title></rect>\
            <rect x=\"{legend_x}\" y=\"{legend_y:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
            <text x=\"{:.1}\" y=\"{:.1}\">{name}: {value:.3} {unit}</text>",
            legend_x + 15.0,
            legend_y + 9.0,
        );
        at += width;
    }
    svg.push_str("</svg>");
    svg
}
