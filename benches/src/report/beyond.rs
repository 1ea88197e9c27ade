//! What many processors would see, on paper.
//!
//! | from | comes |
//! |---|---|
//! | one thread's time, `get-hit-1m` and `grow-total-1m` | what an operation costs alone |
//! | `lines-*`, shared lines that it writes | how often it waits for another processor |
//! | `meet-*`, lines that two operations have in common | where all of them queue up |
//! | `cold-*`, lines of its own object | how often it goes to memory, here or on another node |
//!
//! A line is with one processor at a time. An operation on it takes [`TRANSFER`]
//! at least, so what meets in `m` lines on average cannot be done more often than
//! once in `m` transfers, however many processors there are.

use crate::compare::model::{Report, Row};
use crate::compare::targets::{BOUNDS, number};
use std::fmt::Write;

/// A line that another socket's processor wrote, in ns.
pub const TRANSFER: f64 = 100.0;
/// What a line from another node's memory takes longer than one from the own.
pub const REMOTE: f64 = 80.0;
/// Processors.
pub const PROCESSORS: f64 = 256.0;
/// Nodes, among which objects and entries lie evenly.
pub const NODES: f64 = 8.0;

/// One contestant's line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The contestant.
    pub peer: String,
    /// Shared lines that a hit writes.
    pub written: f64,
    /// Millions of hits a second on one processor here.
    pub here: f64,
    /// And on [`PROCESSORS`] in [`NODES`].
    pub there: f64,
    /// Whether lines in common are the limit, not the processors.
    pub queue: bool,
    /// Insertions that meet: millions a second at most; `None`: no limit from that.
    pub insertions: Option<f64>,
}

/// What the columns of the table are.
pub const HEADS: [&str; 6] = [
    "contestant",
    "shared lines a hit writes",
    "M hits/s, one processor here",
    "M hits/s there",
    "limit",
    "M insertions/s there, at most",
];

impl Prediction {
    /// The line of the table.
    #[must_use]
    pub fn cells(&self) -> [String; 6] {
        let limit = match self.queue {
            true => "lines that hits have in common",
            false => "no common line",
        };
        [
            self.peer.clone(),
            number(self.written),
            number(self.here),
            number(self.there),
            limit.into(),
            self.insertions.map_or_else(|| "–".into(), number),
        ]
    }
}

fn figure(row: Option<&Row>, peer: &str) -> Option<f64> {
    let found = row?.figures.iter().find(|f| f.peer == peer);
    found.map(|f| f.spread.median)
}

/// Each contestant that has all the figures, the most hits first.
#[must_use]
pub fn predictions(report: &Report) -> Vec<Prediction> {
    let row = |id: &str| report.rows.iter().find(|r| r.id.starts_with(id));
    let (time, written) = (row("get-hit-1m"), row("lines-hit"));
    let (met, cold, inserted) = (row("meet-hit"), row("cold-hit"), row("meet-alloc"));
    let mut all: Vec<_> = written
        .iter()
        .flat_map(|row| &row.figures)
        .filter(|f| !BOUNDS.contains(&f.peer.as_str()))
        .filter_map(|f| {
            let of = |row| figure(row, &f.peer);
            let (alone, lines) = (of(time)?, f.spread.median);
            let away = of(cold)? * (NODES - 1.0) / NODES * REMOTE;
            let free = PROCESSORS / (alone + away + lines * TRANSFER);
            let queued = 1.0 / (of(met)? * TRANSFER);
            let limit = 1.0 / (of(inserted)? * TRANSFER);
            Some(Prediction {
                peer: f.peer.clone(),
                written: lines,
                here: 1e3 / alone,
                there: free.min(queued) * 1e3,
                queue: queued < free,
                insertions: (limit < PROCESSORS).then_some(limit * 1e3),
            })
        })
        .collect();
    all.sort_by(|a, b| f64::total_cmp(&b.there, &a.there));
    all
}

/// The table in Markdown; nothing without the figures for it.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let all = predictions(report);
    if all.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "\n### Beyond this machine: {PROCESSORS} processors in {NODES} nodes, on paper\n\n\
         | {} |\n|---|---|---|---|---|---|\n",
        HEADS.join(" | ")
    );
    for p in &all {
        let _ = writeln!(out, "| {} |", p.cells().join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::model::{Figure, Machine, SCHEMA};
    use crate::compare::stats::Spread;

    fn row(id: &str, figures: &[(&str, f64)]) -> Row {
        let figure = |&(peer, median): &(&str, f64)| Figure {
            peer: peer.into(),
            spread: Spread::of(&[median]),
            times: None,
        };
        Row {
            id: id.into(),
            title: id.into(),
            size: 1,
            unit: "ns".into(),
            figures: figures.iter().map(figure).collect(),
            ..Row::default()
        }
    }

    #[test]
    fn a_lock_for_all_is_a_queue_and_a_free_lookup_is_not() {
        let peers = |values: [f64; 3]| -> Vec<(&str, f64)> {
            ["umbra", "lock", "shards"]
                .into_iter()
                .zip(values)
                .collect()
        };
        let rows = vec![
            row("get-hit-1m", &peers([50.0; 3])),
            row("lines-hit-10k", &peers([0.0, 1.0, 1.0])),
            row("meet-hit-10k", &peers([0.0, 1.0, 0.01])),
            row("cold-hit-10k", &peers([2.0; 3])),
            row("meet-alloc-10k", &peers([0.0, 1.0, 0.01])),
        ];
        let report = Report {
            schema: SCHEMA,
            machine: Machine::default(),
            rows,
        };
        let all = predictions(&report);
        let names: Vec<_> = all.iter().map(|p| p.peer.as_str()).collect();
        assert_eq!(names, ["umbra", "shards", "lock"]);
        // 50 + 2 × 7/8 × 80 = 190 ns on each of 256.
        assert!((all[0].there - 256e3 / 190.0).abs() < 1.0 && !all[0].queue);
        assert_eq!(all[0].insertions, None);
        assert!((all[1].there - 256e3 / 290.0).abs() < 1.0 && !all[1].queue);
        assert_eq!((all[2].there, all[2].queue), (10.0, true), "once in 100 ns");
        assert_eq!(all[2].insertions, Some(10.0));
        assert!(markdown(&report).contains("| lock | 1.00 | 20.0 | 10.0 | lines"));
        let none = Report {
            rows: Vec::new(),
            ..report
        };
        assert_eq!(markdown(&none), "");
    }
}
