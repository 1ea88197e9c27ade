//! One benchmark's history as a picture.
//!
//! plotters draws axes and lines. Colours are the reader's choice (light or
//! dark), so each part is drawn in a colour that stands for its role, and the
//! page's style sheet paints the roles ([`Role`]). The points lie above the
//! picture as elements of their own: they can be focused and say their value.

use crate::history::{Point, Series};
use plotters::prelude::*;
use plotters::style::RGBColor;

/// The picture's size in its own units; the page scales it.
pub const SIZE: (u32, u32) = (720, 220);

/// The least span of the vertical axis, as a share of the value: a change of a
/// thousandth must not look like a cliff.
const LEAST_SPAN: f64 = 0.02;

/// What a part of the picture is. Its colour in the SVG is a name that the style
/// sheet looks for, chosen so that the picture is readable without one.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Text.
    Text,
    /// Axes.
    Axis,
    /// Lines behind the picture.
    Grid,
    /// The history.
    Line,
}

impl Role {
    const fn color(self) -> RGBColor {
        match self {
            Self::Text => RGBColor(0x33, 0x33, 0x34),
            Self::Axis => RGBColor(0x88, 0x88, 0x89),
            Self::Grid => RGBColor(0xdd, 0xdd, 0xde),
            Self::Line => RGBColor(0x1f, 0x5f, 0xbf),
        }
    }

    /// The colour as plotters writes it into the SVG.
    #[must_use]
    pub fn attribute(self) -> String {
        let RGBColor(r, g, b) = self.color();
        format!("#{r:02X}{g:02X}{b:02X}")
    }
}

/// A picture and the points on it.
#[derive(Clone, Debug)]
pub struct Plot {
    /// An `svg` element.
    pub svg: String,
    /// Where the points are, in the picture's units.
    pub dots: Vec<Dot>,
}

/// A point on the picture.
#[derive(Clone, Debug)]
pub struct Dot {
    /// From the left.
    pub x: i32,
    /// From the top.
    pub y: i32,
    /// What it says.
    pub text: String,
}

/// Draws a series of a history of `runs` runs. `None` if there is nothing to
/// draw: plotters writes into memory, where nothing else can fail.
#[must_use]
pub fn plot(series: &Series, runs: usize) -> Option<Plot> {
    let values = series.points.iter().map(|point| point.value.as_f64());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if !low.is_finite() || !high.is_finite() {
        return None;
    }
    let span = (high - low).max(high.abs() * LEAST_SPAN).max(1e-9);
    let middle = f64::midpoint(low, high);
    // A little room above and below.
    let reach = span * 0.6;
    let range =
        (middle - reach).max(if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY })..middle + reach;

    let mut svg = String::new();
    let dots = draw(&mut svg, series, runs, range).ok()?;
    Some(Plot { svg, dots })
}

type Failed = Box<dyn std::error::Error>;

fn draw(
    svg: &mut String,
    series: &Series,
    runs: usize,
    range: std::ops::Range<f64>,
) -> Result<Vec<Dot>, Failed> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let last = runs.max(2) as f64 - 1.0;
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(24)
        .x_label_area_size(28)
        .y_label_area_size(84)
        .build_cartesian_2d(-0.3..last + 0.3, range)?;
    let font = |size: i32| ("sans-serif", size).into_font().color(&Role::Text.color());
    let label = |x: &f64| {
        let point = series
            .points
            .iter()
            .find(|point| (point.run as f64 - x).abs() < 1e-6);
        point.map_or_else(String::new, |point| point.label.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(runs.clamp(2, 6))
        .x_label_formatter(&label)
        .y_labels(5)
        .y_label_formatter(&|y| short_number(*y))
        .label_style(font(13))
        .axis_style(Role::Axis.color())
        .bold_line_style(Role::Grid.color())
        .light_line_style(TRANSPARENT)
        .draw()?;
    // Broken where two neighbours cannot be compared.
    for part in series.points.chunk_by(|_, next| next.comparable) {
        let line = part.iter().map(|p| (p.run as f64, p.value.as_f64()));
        let style = Role::Line.color().stroke_width(2);
        chart.draw_series(LineSeries::new(line, style))?;
    }
    let mut previous: Option<&Point> = None;
    let mut dots = Vec::new();
    for point in &series.points {
        let at = (point.run as f64, point.value.as_f64());
        let (x, y) = chart.backend_coord(&at);
        let text = describe(series, point, previous);
        dots.push(Dot { x, y, text });
        previous = Some(point);
    }
    area.present()?;
    drop(chart);
    drop(area);
    Ok(dots)
}

fn describe(series: &Series, point: &Point, previous: Option<&Point>) -> String {
    let Point { label, value, .. } = point;
    let unit = series.unit;
    let step = match previous {
        None => String::new(),
        Some(_) if !point.comparable => ", not comparable with the one before".to_owned(),
        Some(before) => match crate::compare::percent(before.value, *value) {
            Some(0.0) => ", as before".to_owned(),
            Some(percent) => format!(", {percent:+.2} %"),
            None => ", from nothing".to_owned(),
        },
    };
    format!("{label}: {value} {unit}{step}")
}

/// A number in the width of an axis.
fn short_number(number: f64) -> String {
    let (scaled, suffix) = match number.abs() {
        n if n >= 1e9 => (number / 1e9, " G"),
        n if n >= 1e6 => (number / 1e6, " M"),
        n if n >= 1e4 => (number / 1e3, " k"),
        _ => (number, ""),
    };
    let text = format!("{scaled:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Source, Unit, Value};

    fn series(values: &[(u64, bool)]) -> Series {
        let point = |(run, &(value, comparable)): (usize, &(u64, bool))| Point {
            run,
            label: format!("<c{run}>"),
            value: Value::Count(value),
            comparable,
        };
        Series {
            id: "x".to_owned(),
            source: Source::IaiCallgrind,
            metric: "Ir".to_owned(),
            processor: None,
            unit: Unit::Instructions,
            points: values.iter().enumerate().map(point).collect(),
        }
    }

    #[test]
    fn dots_lie_where_their_values_do() {
        let plot = plot(&series(&[(100, false), (200, true), (150, true)]), 3).expect("a plot");
        let [a, b, c] = &plot.dots[..] else {
            panic!("{:?}", plot.dots)
        };
        assert!(a.x < b.x && b.x < c.x);
        assert!(a.y > c.y && c.y > b.y, "more is higher up: {:?}", plot.dots);
        assert!((c.y - i32::midpoint(a.y, b.y)).abs() <= 1);
        assert_eq!(b.text, "<c1>: 200 instructions, +100.00 %");
    }

    #[test]
    fn the_line_is_broken_where_runs_cannot_be_compared() {
        let lines = |values: &[(u64, bool)]| {
            let plot = plot(&series(values), values.len()).expect("a plot");
            let color = format!("stroke=\"{}\"", Role::Line.attribute());
            plot.svg.matches(&color).count()
        };
        assert_eq!(lines(&[(1, false), (2, true), (3, true), (4, true)]), 1);
        assert_eq!(lines(&[(1, false), (2, true), (3, false), (4, true)]), 2);
    }

    #[test]
    fn a_small_change_is_no_cliff() {
        let plot = plot(&series(&[(100_000, false), (100_100, true)]), 2).expect("a plot");
        let rise = plot.dots[0].y - plot.dots[1].y;
        assert!((1..20).contains(&rise), "{rise} of {}", SIZE.1);
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let plot = plot(&series(&[(1, false), (2, true)]), 2).expect("a plot");
        assert!(plot.svg.contains("&lt;c0&gt;"), "{}", plot.svg);
        assert!(!plot.svg.contains("<c0>"));
        assert!(plot.svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn one_value_and_zeros_can_be_drawn() {
        for values in [&[(5, false)][..], &[(0, false), (0, true)]] {
            assert!(plot(&series(values), values.len()).is_some(), "{values:?}");
        }
        assert!(plot(&series(&[]), 0).is_none());
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (9_500.0, "9500"),
            (40_211.0, "40.211 k"),
            (1.5e6, "1.5 M"),
        ] {
            assert_eq!(short_number(number), text);
        }
    }
}
