//! The report: one HTML file that needs nothing else, and the tables of
//! BENCHMARKS.md, both from the JSON of one or more comparisons.
//!
//! | module | makes |
//! |---|---|
//! | [`charts`] | cost against size, latency distributions, growth pauses, as SVG |
//! | [`page`] | the HTML file: pictures, then tables, then machine and method |
//! | [`markdown`] | the tables of BENCHMARKS.md, between two marks |
//! | [`guest`] | rows of what a kernel in a virtual machine said |
//! | [`beyond`] | what many processors would see, on paper |

pub mod beyond;
pub mod charts;
pub mod guest;
pub mod markdown;
pub mod page;

use crate::compare::model::{Figure, Report, Row};
use crate::compare::targets::{BOUNDS, UMBRA, number};

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No comparison was given.
    #[error("no comparison to report: give at least one JSON file of `compare --json`")]
    Nothing,
    /// A comparison of another version of the format.
    #[error("{file}: format {found}, but this program reads format {known}: measure again")]
    Schema {
        /// Which file.
        file: String,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Comparisons of two machines, which no line about one of them could stand over.
    #[error(
        "{file}: measured elsewhere than {first}: the {what} is {there:?}, not {here:?}; \
         report the two by themselves"
    )]
    OtherMachine {
        /// Which file.
        file: String,
        /// The file before it.
        first: String,
        /// In what they differ.
        what: &'static str,
        /// The first one's.
        here: String,
        /// Its own.
        there: String,
    },
    /// A figure is no number that could have been measured.
    #[error("{file}: row {row}: the figure of {peer} is not a number")]
    NotANumber {
        /// Which file.
        file: String,
        /// Which row.
        row: String,
        /// Whose figure.
        peer: String,
    },
    /// BENCHMARKS.md without the marks that its tables stand between.
    #[error("the text has no line {0:?}; put it where the tables begin or end")]
    NoMark(&'static str),
    /// A list of a guest's figures that is none.
    #[error("not the figures of a guest: {0}")]
    Guest(String),
    /// The picture could not be drawn.
    #[error("cannot draw the picture {0:?}: {1}")]
    Picture(String, String),
    /// The page could not be filled in.
    #[error("cannot fill in the page: {0}")]
    Page(#[from] askama::Error),
}

/// One report of several, all of one machine, kernel and compiler: a row that is in more
/// than one is the last one's. Rows of another commit or day than the first one's say so.
///
/// # Errors
/// [`Error::Nothing`], [`Error::Schema`], [`Error::NotANumber`], [`Error::OtherMachine`].
pub fn merge(reports: Vec<(String, Report)>) -> Result<Report, Error> {
    let known = crate::compare::model::SCHEMA;
    let mut merged: Option<(String, Report)> = None;
    for (file, report) in reports {
        if report.schema != known {
            let found = report.schema;
            return Err(Error::Schema { file, found, known });
        }
        for row in &report.rows {
            let bad = |f: &&Figure| !f.spread.median.is_finite();
            if let Some(figure) = row.figures.iter().find(bad) {
                return Err(Error::NotANumber {
                    file,
                    row: row.id.clone(),
                    peer: figure.peer.clone(),
                });
            }
        }
        match &mut merged {
            None => merged = Some((file, report)),
            Some((first, all)) => {
                if let Some((what, here, there)) = all.machine.difference(&report.machine) {
                    let first = first.clone();
                    return Err(Error::OtherMachine {
                        file,
                        first,
                        what,
                        here,
                        there,
                    });
                }
                let (known, own) = (all.machine.measured(), report.machine.measured());
                for mut row in report.rows {
                    let measured = row.measured.take().unwrap_or_else(|| own.clone());
                    row.measured = (measured != known).then_some(measured);
                    match all.rows.iter_mut().find(|r| r.id == row.id) {
                        Some(old) => *old = row,
                        None => all.rows.push(row),
                    }
                }
            }
        }
    }
    merged.map(|(_, report)| report).ok_or(Error::Nothing)
}

/// Where a row is lost: to whom, by how much.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// The row's title.
    pub row: String,
    /// The best peer.
    pub peer: String,
    /// Umbra's figure and the peer's.
    pub figures: (f64, f64),
    /// Of what.
    pub unit: String,
    /// The quartiles of the two lie apart.
    pub clear: bool,
}

impl Loss {
    /// How sure it is.
    #[must_use]
    pub fn sure(&self) -> &'static str {
        if self.clear {
            "clear"
        } else {
            "within the spread"
        }
    }

    /// Umbra's figure.
    #[must_use]
    pub fn ours(&self) -> String {
        number(self.figures.0)
    }

    /// The peer's.
    #[must_use]
    pub fn theirs(&self) -> String {
        number(self.figures.1)
    }
}

/// Whether a larger figure is a better one.
fn larger_is_better(row: &Row) -> bool {
    row.unit == "×"
}

/// The row's peers and no bounds, Umbra left out.
fn peers(row: &Row) -> impl Iterator<Item = &Figure> {
    row.figures
        .iter()
        .filter(|f| f.peer != UMBRA && !BOUNDS.contains(&f.peer.as_str()))
}

fn umbra(row: &Row) -> Option<&Figure> {
    row.figures.iter().find(|f| f.peer == UMBRA)
}

/// The rows in which some peer's median is better than Umbra's, with the best of them.
#[must_use]
pub fn losses(report: &Report) -> Vec<Loss> {
    let lost = |row: &Row| {
        let ours = umbra(row)?;
        let larger = larger_is_better(row);
        let better = |a: f64, b: f64| if larger { a > b } else { a < b };
        let order = |a: &&Figure, b: &&Figure| {
            let order = f64::total_cmp(&a.spread.median, &b.spread.median);
            if larger { order.reverse() } else { order }
        };
        let best = peers(row).min_by(order)?;
        let clear = match larger {
            true => best.spread.q1 > ours.spread.q3,
            false => best.spread.q3 < ours.spread.q1,
        };
        better(best.spread.median, ours.spread.median).then(|| Loss {
            row: title(row),
            peer: best.peer.clone(),
            figures: (ours.spread.median, best.spread.median),
            unit: row.unit.clone(),
            clear,
        })
    };
    report.rows.iter().filter_map(lost).collect()
}

/// What stands before a multiple that is not of the rounds: the run did not keep them, or
/// the two had none together.
const OF_MEDIANS: &str = "~";

/// A figure as a multiple of Umbra's; of nothing there is none.
fn times(figure: &Figure, ours: &Figure) -> Option<String> {
    if let Some(times) = figure.times {
        return Some(number(times.median));
    }
    // Of one round each, or of itself, it is the same.
    let same = figure.peer == ours.peer || figure.spread.rounds.max(ours.spread.rounds) == 1;
    let mark = if same { "" } else { OF_MEDIANS };
    let ratio = figure.spread.median / ours.spread.median;
    (ours.spread.median != 0.0).then(|| format!("{mark}{}", number(ratio)))
}

/// A row's title with its size and where memory comes from, and with its commit if that is another one
/// than the report's.
#[must_use]
pub fn title(row: &Row) -> String {
    let memory = match (row.huge_pages, row.mimalloc) {
        (true, _) => ", 2 MiB pages",
        (_, true) => ", mimalloc for all",
        _ => "",
    };
    let size = crate::compare::rows::size_text(row.size);
    let of = match &row.measured {
        Some(m) => format!(", of commit {}, {}", m.commit, m.date),
        None => String::new(),
    };
    format!("{}, {size}{memory}{of}", row.title)
}

#[cfg(test)]
mod tests;
