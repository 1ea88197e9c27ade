//! The tables of BENCHMARKS.md.

use super::{Error, OF_MEDIANS, losses, peers, title, umbra};
use crate::compare::model::{Report, Row};
use crate::compare::targets::{BOUNDS, number};
use std::fmt::Write;

/// The line that the tables begin after.
pub const BEGIN: &str = "<!-- tables: made by `report --markdown` -->";
/// The line that they end before.
pub const END: &str = "<!-- end of tables -->";

/// `text` with everything between the two marks replaced by the tables.
///
/// # Errors
/// [`Error::NoMark`].
pub fn replace(text: &str, report: &Report) -> Result<String, Error> {
    let (before, rest) = text.split_once(BEGIN).ok_or(Error::NoMark(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or(Error::NoMark(END))?;
    Ok(format!("{before}{BEGIN}\n{}{END}{after}", tables(report)))
}

/// All tables.
#[must_use]
pub fn tables(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\n{}\n", machine(report));
    out.push_str("### Targets\n\n| row | target | reached | figures | |\n|---|---|---|---|---|\n");
    for row in &report.rows {
        for target in &row.targets {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                title(row),
                target.text,
                target.reached,
                target.figures,
                target.verdict.word()
            );
        }
    }
    out.push_str("\n### Where Umbra loses\n\n");
    let lost = losses(report);
    if lost.is_empty() {
        out.push_str("In no row of this run.\n");
    } else {
        out.push_str("| row | to | Umbra | the peer | | |\n|---|---|---|---|---|---|\n");
    }
    for loss in &lost {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            loss.row,
            loss.peer,
            loss.ours(),
            loss.theirs(),
            loss.unit,
            loss.sure()
        );
    }
    out.push_str(&super::beyond::markdown(report));
    out.push_str("\n### Each contestant's figure, and as a multiple of Umbra's\n\n");
    let lists: String = report.rows.iter().map(figures).collect();
    if lists.contains(&format!("({OF_MEDIANS}")) {
        let _ = writeln!(
            out,
            "A multiple is the median of the rounds' own; with {OF_MEDIANS} it is of the medians.\n"
        );
    }
    out + &lists
}

/// The machine in one sentence.
#[must_use]
pub fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let others = match report.rows.iter().any(|row| row.measured.is_some()) {
        true => "; rows of another commit or day say so",
        false => "",
    };
    format!(
        "{}, {} processors, {}; {} GiB; Linux {}; {}; commit {}; {}{others}.",
        machine.cpu,
        machine.cpus,
        machine.caches,
        machine.memory_gib,
        machine.kernel,
        machine.rustc,
        machine.commit,
        machine.date
    )
}

/// One row's figures, the bounds last.
fn figures(row: &Row) -> String {
    let Some(ours) = umbra(row) else {
        return String::new();
    };
    let bounds = row
        .figures
        .iter()
        .filter(|f| BOUNDS.contains(&f.peer.as_str()));
    let all = std::iter::once(ours).chain(peers(row)).chain(bounds);
    let cell = |figure: &crate::compare::model::Figure| {
        let ratio = match super::times(figure, ours) {
            Some(ratio) => format!(" ({ratio}×)"),
            None => String::new(),
        };
        format!("{} {}{ratio}", figure.peer, number(figure.spread.median))
    };
    let cells: Vec<_> = all.map(cell).collect();
    let notes = match row.notes.is_empty() {
        true => String::new(),
        false => format!(" Note: {}.", row.notes.join("; ")),
    };
    format!(
        "- **{}**, {}: {}.{notes}\n",
        title(row),
        row.unit,
        cells.join(", ")
    )
}
