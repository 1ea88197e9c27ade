//! The HTML page.

use super::beyond::{self, Prediction};
use super::{Error, Loss, charts, losses, markdown, peers, title, umbra};
use crate::compare::model::{Figure, Report, Row, Target, Verdict};
use crate::compare::targets::{BOUNDS, number};
use askama::Template;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    pictures: Vec<String>,
    targets: Vec<(String, &'a Target)>,
    reached: usize,
    losses: Vec<Loss>,
    beyond: Vec<Prediction>,
    beyond_note: &'static str,
    tables: Vec<Table>,
    machine: String,
    build: &'a str,
}

/// One row's figures.
struct Table {
    title: String,
    unit: String,
    lines: Vec<Cells>,
    notes: Vec<String>,
}

struct Cells {
    peer: String,
    median: String,
    spread: String,
    ratio: String,
    class: &'static str,
}

fn cells(figure: &Figure, ours: &Figure) -> Cells {
    Cells {
        peer: figure.peer.clone(),
        median: number(figure.spread.median),
        spread: format!(
            "{} to {}",
            number(figure.spread.q1),
            number(figure.spread.q3)
        ),
        ratio: super::times(figure, ours).unwrap_or_default(),
        class: match BOUNDS.contains(&figure.peer.as_str()) {
            true => "bound",
            false => "",
        },
    }
}

fn table(row: &Row) -> Option<Table> {
    let ours = umbra(row)?;
    let bounds = row
        .figures
        .iter()
        .filter(|f| BOUNDS.contains(&f.peer.as_str()));
    let all = std::iter::once(ours).chain(peers(row)).chain(bounds);
    Some(Table {
        title: title(row),
        unit: row.unit.clone(),
        lines: all.map(|f| cells(f, ours)).collect(),
        notes: row.notes.clone(),
    })
}

/// The page of a report, as one file's text.
///
/// # Errors
/// [`Error::Picture`], [`Error::Page`].
pub fn html(report: &Report) -> Result<String, Error> {
    let targets: Vec<_> = report
        .rows
        .iter()
        .flat_map(|row| row.targets.iter().map(|t| (title(row), t)))
        .collect();
    let page = Page {
        pictures: charts::all(report)?,
        reached: targets
            .iter()
            .filter(|(_, t)| t.verdict == Verdict::Ok)
            .count(),
        targets,
        losses: losses(report),
        beyond: beyond::predictions(report),
        beyond_note: beyond::note(report),
        tables: report.rows.iter().filter_map(table).collect(),
        machine: markdown::machine(report),
        build: &report.machine.build,
    };
    Ok(page.render()?)
}
