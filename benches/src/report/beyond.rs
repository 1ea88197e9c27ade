//! What many processors would see, on paper.
//!
//! | from | comes |
//! |---|---|
//! | one thread's time, `get-hit-1m` | what an operation costs alone |
//! | `lines-*`, shared lines that it writes | how often it waits for another processor |
//! | `hot-*`, the share that writes the line which most write | where they queue up |
//! | `cold-*`, lines of its own object | how often it goes to memory, here or on another node |
//!
//! A line is with one processor at a time, and a write of it takes [`TRANSFER`] at least. So
//! if a share `p` of all operations writes one line, there are no more of them than one in
//! `p` transfers, however many processors there are. The lines that two operations have in
//! common (`meet-*`) are no such limit: that is the sum of p² over all lines, in which many
//! lines that are a little warm count as one that is hot. A run that did not count the
//! hottest line has at least one with `p` of that sum by the lines written: the mean of p,
//! weighted by p.
//!
//! dashmap makes four shards for each processor, and counted was what it makes here. There
//! it would have as many more, and each line of a shard is written by as many fewer.

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
    /// Whether the hottest line is the limit, not the processors.
    pub queue: bool,
    /// Insertions: millions a second at most, for their hottest line; `None`: no limit from
    /// that.
    pub insertions: Option<f64>,
}

/// What the columns of the table are.
pub const HEADS: [&str; 6] = [
    "contestant",
    "shared lines a hit writes",
    "M hits/s, one processor here",
    "M hits/s there, at most",
    "limit",
    "M insertions/s there, at most",
];

impl Prediction {
    /// The line of the table.
    #[must_use]
    pub fn cells(&self) -> [String; 6] {
        let limit = match self.queue {
            true => "the line that most hits write",
            false => "the processors",
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

/// The contestant that has more shards on a machine of more processors.
const SHARDED: &str = "dashmap";

/// How many it makes.
fn shards(cpus: usize) -> f64 {
    (cpus * 4).next_power_of_two() as f64
}

/// The share of operations that write the line which most write, there.
fn hottest(hot: Option<f64>, met: f64, written: f64, peer: &str, cpus: usize) -> f64 {
    let least = || if written > 0.0 { met / written } else { 0.0 };
    let share = hot.map_or_else(least, |percent| percent / 100.0);
    match peer {
        SHARDED => share * shards(cpus) / shards(PROCESSORS as usize),
        _ => share,
    }
}

/// Each contestant that has all the figures, the most hits first.
#[must_use]
pub fn predictions(report: &Report) -> Vec<Prediction> {
    let row = |id: &str| report.rows.iter().find(|r| r.id.starts_with(id));
    let (time, written) = (row("get-hit-1m"), row("lines-hit"));
    let (met, cold, hot) = (row("meet-hit"), row("cold-hit"), row("hot-hit"));
    let inserted = ["hot-alloc", "meet-alloc", "lines-alloc"].map(row);
    let cpus = report.machine.cpus;
    let mut all: Vec<_> = written
        .iter()
        .flat_map(|row| &row.figures)
        .filter(|f| !BOUNDS.contains(&f.peer.as_str()))
        .filter_map(|f| {
            let of = |row| figure(row, &f.peer);
            let (alone, lines) = (of(time)?, f.spread.median);
            let away = of(cold)? * (NODES - 1.0) / NODES * REMOTE;
            let free = PROCESSORS / (alone + away + lines * TRANSFER);
            let share = |hot, met, written| hottest(hot, met, written, &f.peer, cpus);
            let queued = 1.0 / (share(of(hot), of(met)?, lines) * TRANSFER);
            let [hot, met, written] = inserted.map(of);
            let limit = 1.0 / (share(hot, met?, written?) * TRANSFER);
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

/// What a reader of the table has to know of this run.
#[must_use]
pub fn note(report: &Report) -> &'static str {
    match report.rows.iter().any(|row| row.id.starts_with("hot-")) {
        true => "",
        false => {
            "The run did not count the hottest lines: limits are of the lines that two \
             operations have in common, and may be several times too high."
        }
    }
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
    let note = note(report);
    if !note.is_empty() {
        let _ = writeln!(out, "\n{note}");
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

    const PEERS: [&str; 4] = ["umbra", "lock", "shards", "dashmap"];

    /// The figures of [`PEERS`]: a lock for all, 64 shards, and 8 on 2 processors.
    fn run(hot: bool) -> Report {
        let peers =
            |values: [f64; 4]| -> Vec<(&str, f64)> { PEERS.into_iter().zip(values).collect() };
        let mut rows = vec![
            row("get-hit-1m", &peers([50.0; 4])),
            row("lines-hit-10k", &peers([0.0, 1.0, 1.0, 2.0])),
            row("meet-hit-10k", &peers([0.0, 1.0, 1.0 / 64.0, 2.0 / 8.0])),
            row("cold-hit-10k", &peers([2.0; 4])),
            row("lines-alloc-10k", &peers([5.0, 1.0, 1.0, 2.0])),
            // Five lines of twenty each, a little warm, and none that is hot.
            row("meet-alloc-10k", &peers([0.25, 1.0, 1.0 / 64.0, 2.0 / 8.0])),
        ];
        if hot {
            let percent = [0.0, 100.0, 100.0 / 64.0, 100.0 / 8.0];
            rows.push(row("hot-hit-10k", &peers(percent)));
            let percent = [100.0 / 16.0, 100.0, 100.0 / 64.0, 100.0 / 8.0];
            rows.push(row("hot-alloc-10k", &peers(percent)));
        }
        let machine = Machine {
            cpus: 2,
            ..Machine::default()
        };
        Report {
            schema: SCHEMA,
            machine,
            rows,
        }
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.expect("a limit");
        assert!((found / expected - 1.0).abs() < 1e-9, "{found}, {expected}");
    }

    #[test]
    fn a_lock_for_all_is_a_queue_and_a_free_lookup_is_not() {
        let report = run(true);
        let all = predictions(&report);
        let names: Vec<_> = all.iter().map(|p| p.peer.as_str()).collect();
        assert_eq!(names, ["umbra", "dashmap", "shards", "lock"]);
        // 50 + 2 × 7/8 × 80 = 190 ns on each of 256.
        near(Some(all[0].there), 256e3 / 190.0);
        near(Some(all[1].there), 256e3 / 390.0);
        // 64 transfers at a time, a hundred ns each.
        near(Some(all[2].there), 640.0);
        assert_eq!((all[3].there, all[3].queue), (10.0, true), "once in 100 ns");
        assert_eq!(all.iter().filter(|p| p.queue).count(), 2);
        let text = markdown(&report);
        assert!(text.contains("| lock | 1.00 | 20.0 | 10.0 | the line that"));
        assert!(!text.contains("did not count") && markdown(&run(false)).contains("did not count"));
        let none = Report {
            rows: Vec::new(),
            ..report
        };
        assert_eq!(markdown(&none), "");
    }

    #[test]
    fn the_limit_is_the_hottest_line_and_not_what_two_have_in_common() {
        let of = |all: &[Prediction], peer: &str| {
            let found = all.iter().find(|p| p.peer == peer);
            found.and_then(|p| p.insertions)
        };
        let all = predictions(&run(true));
        near(of(&all, "umbra"), 16.0 * 10.0);
        near(of(&all, "lock"), 10.0);
        // Eight shards on 2 processors are 1,024 on 256.
        near(of(&all, "dashmap"), 1024.0 * 10.0);
        // Not counted: a line of 0.25 / 5 there is at least, and so no more than this.
        let all = predictions(&run(false));
        near(of(&all, "umbra"), 20.0 * 10.0);
        near(of(&all, "lock"), 10.0);
        near(of(&all, "shards"), 64.0 * 10.0);
        near(of(&all, "dashmap"), 1024.0 * 10.0);
    }
}
