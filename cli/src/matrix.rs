//! `umbra matrix`: every patch in the place of every other.

use crate::check::{lines, with};
use crate::problem::Problem;
use crate::series::Series;
use std::io::Write;
use umbra_state::{Refusal, Replace, Request, Rules, plan};

/// Prints a table with a row for each patch that is there and a column for each
/// that comes in its place (whatever its own `replace` says), then the
/// callbacks of each pair. A patch that is refused by itself is so in its own
/// place too.
///
/// # Errors
/// The output cannot be written. A refused pair is an answer, not an error.
pub fn matrix(series: &Series, out: &mut dyn Write) -> Result<(), Problem> {
    let names: Vec<_> = (0..series.len())
        .map(|at| series.patch(at).name.to_string())
        .collect();
    let mut rows = Vec::new();
    let mut details = Vec::new();
    for old in 0..series.len() {
        let mut row = vec![names[old].clone()];
        for new in 0..series.len() {
            if old == new {
                // One that nobody could enable is not to be passed over.
                match with(series.make(old)?) {
                    Ok(_) => row.push(String::from(".")),
                    Err(refusal) => {
                        row.push(String::from("refused"));
                        details.push(format!("{}: refused: {refusal}", names[old]));
                    }
                }
                continue;
            }
            let (cell, detail) = match pair(series, old, new)? {
                Ok(answer) => answer,
                Err(refusal) => (String::from("refused"), format!("refused: {refusal}")),
            };
            row.push(cell);
            details.push(format!("{} -> {}: {detail}", names[old], names[new]));
        }
        rows.push(row);
    }
    let mut head = vec![String::from("from \\ to")];
    head.extend(names);
    rows.insert(0, head);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    writeln!(
        out,
        "\n+id: the state begins, -id: it ends, =: no callback runs\n"
    )?;
    for detail in details {
        writeln!(out, "{detail}")?;
    }
    Ok(())
}

/// A cell of the table and its explanation.
type Answer = Result<(String, String), Refusal>;

fn pair(series: &Series, old: usize, new: usize) -> Result<Answer, Problem> {
    let engine = match with(series.make(old)?) {
        Ok(engine) => engine,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut patch = series.make(new)?;
    patch.replace = Replace::All;
    let planned = match plan(engine.installed(), Request::Enable(&patch), Rules::Umbra) {
        Ok(planned) => planned,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let begins = planned.introduced().map(|id| format!("+{id}"));
    let cell: Vec<_> = begins
        .chain(planned.removed().map(|id| format!("-{id}")))
        .collect();
    let cell = if cell.is_empty() {
        String::from("=")
    } else {
        cell.join(" ")
    };
    let callbacks = lines(engine.installed(), Some(&patch), &planned);
    // The hooks are the same for a whole column; the table is about states.
    let callbacks = callbacks
        .iter()
        .map(|line| if line.starts_with("--") { "|" } else { line });
    let detail = callbacks.collect::<Vec<_>>().join(" ");
    Ok(Ok((
        cell,
        if detail == "|" {
            String::from("no callback")
        } else {
            detail
        },
    )))
}
