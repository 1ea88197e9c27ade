//! A comparison as text for a terminal.

use super::model::{Report, Row, Verdict};
use super::targets::number;
use std::fmt::Write;

/// One row's figures, on a few lines, as it is finished.
#[must_use]
pub fn figures(row: &Row) -> String {
    let mut out = format!("{}: {}, {}\n", row.id, row.title, row.unit);
    for figure in &row.figures {
        let spread = &figure.spread;
        let _ = writeln!(
            out,
            "    {:<16} {:>9}   {} to {}",
            figure.peer,
            number(spread.median),
            number(spread.q1),
            number(spread.q3)
        );
    }
    for tail in &row.tails {
        let at = |q| number(tail.distribution.at(q));
        let _ = writeln!(
            out,
            "    {:<16} {}, ns: p50 {}, p99.9 {}, p99.99 {}, longest {}",
            tail.peer,
            tail.what,
            at(0.5),
            at(0.999),
            at(0.9999),
            number(tail.distribution.max)
        );
    }
    for note in &row.notes {
        let _ = writeln!(out, "    ({note})");
    }
    out
}

/// The table: a line for each target.
#[must_use]
pub fn verdicts(report: &Report) -> String {
    let head = ["row", "target", "reached", "figures", "verdict"].map(String::from);
    let mut lines = vec![head];
    for row in &report.rows {
        for target in &row.targets {
            lines.push([
                row.id.clone(),
                target.text.clone(),
                target.reached.clone(),
                target.figures.clone(),
                target.verdict.word().into(),
            ]);
        }
    }
    let width = |column: usize| {
        let lengths = lines.iter().map(|line| line[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..5).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    let count = |verdict| {
        let targets = report.rows.iter().flat_map(|row| &row.targets);
        targets.filter(|t| t.verdict == verdict).count()
    };
    let _ = writeln!(
        out,
        "{} reached, {} missed, {} not measured",
        count(Verdict::Ok),
        count(Verdict::Missed),
        count(Verdict::Unknown)
    );
    out
}
