//! The pictures, as SVG that stands on its own.

use super::Error;
use crate::compare::model::{Report, Row};
use crate::compare::targets::{BOUNDS, UMBRA};
use askama::filters;
use plotters::coord::Shift;
use plotters::prelude::*;

/// A line of a picture.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// What a picture shows.
struct Picture {
    title: String,
    x: &'static str,
    y: &'static str,
    label: fn(&f64) -> String,
    lines: Vec<Line>,
}

const SIZE: (u32, u32) = (900, 440);

/// Colours that people who see few of them can tell apart (Okabe and Ito), then
/// darker ones for the rest.
const COLOURS: [RGBColor; 11] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(120, 140, 30),
    RGBColor(23, 120, 130),
    RGBColor(90, 90, 160),
];

/// Whose they are. Others, the bounds among them, are grey: a report may be read
/// by a program that was built without one of them.
const NAMES: [&str; 11] = [
    UMBRA,
    "papaya-sized",
    "papaya",
    "papaya-blocking",
    "dashmap",
    "scc-hashmap",
    "scc-hashindex",
    "flurry",
    "sharded-rwlock",
    "cds_lfht",
    "klp",
];

/// All pictures for which the report has data, in their order on the page.
///
/// # Errors
/// [`Error::Picture`].
pub fn all(report: &Report) -> Result<Vec<String>, Error> {
    let mut pictures = Vec::new();
    for (id, title) in [
        ("get-hit", "A hit, independent keys: cost against size"),
        ("get-miss", "A miss, independent keys: cost against size"),
        ("get-dep", "A hit, dependent keys: cost against size"),
        ("get-many", "32 hits at once, each: cost against size"),
    ] {
        let picture = Picture {
            title: title.into(),
            x: "entries in the table",
            y: "ns",
            label: |n| crate::compare::rows::size_text(n.round() as usize),
            lines: against_size(report, id),
        };
        if picture.lines.iter().any(|line| line.points.len() > 1) {
            pictures.push(picture);
        }
    }
    for row in &report.rows {
        let mut whats: Vec<_> = row.tails.iter().map(|t| t.what.as_str()).collect();
        whats.dedup();
        for what in whats {
            pictures.push(Picture {
                title: format!("{}: each {what}", super::title(row)),
                x: "share of all that took no longer",
                y: "ns",
                label: |x| share(*x),
                lines: distribution(row, what),
            });
        }
    }
    pictures.iter().map(draw).collect()
}

/// A quantile from the axis, where it is 1 / (1 - q).
fn share(x: f64) -> String {
    let percent = 100.0 - 100.0 / x;
    let digits = (x.log10().round() as usize).saturating_sub(2);
    format!("{percent:.digits$} %")
}

fn against_size(report: &Report, id: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let prefix = format!("{id}-");
    let mut rows: Vec<_> = report
        .rows
        .iter()
        .filter(|row| row.id.starts_with(&prefix) && !row.huge_pages)
        .collect();
    rows.sort_by_key(|row| row.size);
    for row in rows {
        for figure in &row.figures {
            let point = (row.size as f64, figure.spread.median);
            match lines.iter_mut().find(|line| line.name == figure.peer) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name: figure.peer.clone(),
                    points: vec![point],
                }),
            }
        }
    }
    lines
}

fn distribution(row: &Row, what: &str) -> Vec<Line> {
    let points = |points: &[(f64, f64)]| {
        points
            .iter()
            .filter(|(q, _)| *q < 1.0)
            .map(|&(q, nanos)| (1.0 / (1.0 - q), nanos.max(1.0)))
            .collect()
    };
    row.tails
        .iter()
        .filter(|tail| tail.what == what)
        .map(|tail| Line {
            name: tail.peer.clone(),
            points: points(&tail.distribution.points),
        })
        .collect()
}

fn draw(picture: &Picture) -> Result<String, Error> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    fill(&root, picture)
        .and_then(|()| root.present().map_err(|e| e.to_string()))
        .map_err(|why| Error::Picture(picture.title.clone(), why))?;
    drop(root);
    // What a reader without eyes for it is told. The title is a file's, and the page takes
    // the picture as it is.
    let Ok(title) = filters::escape(&picture.title, filters::Html);
    let label = format!("<svg role=\"img\" aria-label=\"{title}\" ");
    Ok(svg.replacen("<svg ", &label, 1))
}

fn fill(root: &DrawingArea<SVGBackend<'_>, Shift>, picture: &Picture) -> Result<(), String> {
    let text = |e: DrawingAreaErrorKind<_>| e.to_string();
    root.fill(&WHITE).map_err(text)?;
    let points = || picture.lines.iter().flat_map(|line| &line.points);
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = points()
            .map(of)
            .filter(|v| *v > 0.0)
            .fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
        if low < high {
            low..high
        } else {
            low / 2.0..low * 2.0
        }
    };
    let (x, y) = (bounds(|p| p.0), bounds(|p| p.1));
    let mut chart = ChartBuilder::on(root)
        .caption(&picture.title, ("sans-serif", 18))
        .margin(12)
        .margin_right(206)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(
            x.clone().log_scale(),
            (y.start * 0.8..y.end * 1.25).log_scale(),
        )
        .map_err(text)?;
    chart
        .configure_mesh()
        .light_line_style(BLACK.mix(0.04))
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(picture.x)
        .y_desc(picture.y)
        .x_label_formatter(&picture.label)
        .y_label_formatter(&|v| crate::compare::targets::number(*v))
        .draw()
        .map_err(text)?;
    let mut ends = Vec::new();
    for line in &picture.lines {
        let bound = BOUNDS.contains(&line.name.as_str());
        let colour = colour(&line.name);
        let width = if line.name == UMBRA { 4 } else { 2 };
        let style = colour.stroke_width(width);
        let drawn: Vec<_> = line.points.iter().copied().filter(|p| p.1 > 0.0).collect();
        if bound {
            let dashes = DashedLineSeries::new(drawn.clone(), 6, 4, style);
            chart.draw_series(dashes).map_err(text)?;
        } else {
            chart
                .draw_series(LineSeries::new(drawn.clone(), style))
                .map_err(text)?;
        }
        if let Some(&(_, last)) = drawn.last() {
            ends.push((last, line.name.clone(), colour));
        }
    }
    legend(root, ends).map_err(|e| e.to_string())
}

/// A contestant's colour, the same in every picture.
pub(super) fn colour(name: &str) -> RGBColor {
    let mut names = NAMES.iter().zip(COLOURS);
    let known = names.find(|(known, _)| **known == name);
    known.map_or(RGBColor(110, 110, 110), |(_, colour)| colour)
}

/// The names, beside the picture, in the order in which the lines end.
fn legend(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    mut ends: Vec<(f64, String, RGBColor)>,
) -> Result<(), Box<dyn std::error::Error>> {
    ends.sort_by(|a, b| f64::total_cmp(&b.0, &a.0));
    let left = SIZE.0 as i32 - 196;
    for (i, (last, name, colour)) in ends.iter().enumerate() {
        let y = 52 + i as i32 * 22;
        let line = PathElement::new(vec![(left, y), (left + 18, y)], colour.stroke_width(3));
        root.draw(&line)?;
        let said = format!("{name}, {}", crate::compare::targets::number(*last));
        let style = ("sans-serif", 13).into_font().color(&BLACK);
        root.draw(&Text::new(said, (left + 24, y - 6), style))?;
    }
    Ok(())
}
