//! `loom-tests/RESULTS.md`: what the last full runs of the models and of the mutants
//! showed, each in a part of its own between two marks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::paths::{self, Paths};
use crate::ui;

/// The file, and what stands in it.
fn read(paths: &Paths) -> Result<(PathBuf, String)> {
    let file = paths.root().join("loom-tests/RESULTS.md");
    let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
    Ok((file, text))
}

/// The rows of the first table in the named part of the file.
pub(crate) fn rows(paths: &Paths, part: &str) -> Result<Vec<Vec<String>>> {
    let (file, text) = read(paths)?;
    let (from, to) = place(&text, part).ok_or_else(|| lacks(&file, part))?;
    Ok(cells(&text[from..to]))
}

/// The cells of a table in Markdown, its head aside.
fn cells(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|line| !line.starts_with("|---"));
    let lines = lines.skip(1).map_while(|line| line.strip_prefix("| "));
    lines
        .map(|line| {
            let cells = line.trim_end_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// Replaces the named part of the file with a text.
pub(crate) fn write(paths: &Paths, part: &str, text: &str) -> Result<()> {
    let (file, before) = read(paths)?;
    let after = replaced(&before, part, text).ok_or_else(|| lacks(&file, part))?;
    fs::write(&file, after).map_err(Error::io("write", &file))?;
    ui::note(&format!("written: {}", paths::short(&PathBuf::from(&file))));
    Ok(())
}

fn lacks(file: &Path, part: &str) -> Error {
    let (begin, end) = marks(part);
    Error::Refused {
        what: format!("{} has no part `{part}`", file.display()),
        help: format!("put these two lines where it is to stand:\n{begin}{end}"),
    }
}

fn marks(part: &str) -> (String, String) {
    (
        format!("<!-- {part}: written by a command, not by hand -->\n"),
        format!("<!-- end of {part} -->\n"),
    )
}

/// Where a part begins and ends.
fn place(text: &str, part: &str) -> Option<(usize, usize)> {
    let (begin, end) = marks(part);
    let from = text.find(&begin)? + begin.len();
    Some((from, from + text[from..].find(&end)?))
}

fn replaced(before: &str, part: &str, text: &str) -> Option<String> {
    let (from, to) = place(before, part)?;
    Some(format!("{}{text}{}", &before[..from], &before[to..]))
}

/// A table in Markdown.
pub(crate) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | ").replace('\n', " "));
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    let mut out = line(&head);
    out.push_str(&format!("|{}\n", "---|".repeat(head.len())));
    for row in rows {
        out.push_str(&line(row));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let (begin, end) = marks("models");
        let before = format!("head\n{begin}old\n{end}foot\n");
        let after = replaced(&before, "models", "new\n").expect("has the part");
        assert_eq!(after, format!("head\n{begin}new\n{end}foot\n"));
        assert!(replaced(&before, "mutants", "new\n").is_none());
        assert!(replaced("foot\n", "models", "new\n").is_none());
    }

    #[test]
    fn a_table_has_a_rule_and_a_line_a_row() {
        let rows: Vec<Vec<String>> = vec![vec!["a".into(), "1".into()]];
        let text = markdown(&["x", "n"], &rows);
        assert_eq!(text, "| x | n |\n|---|---|\n| a | 1 |\n");
        assert_eq!(cells(&format!("head\n\n{text}\n| no row |\n")), rows);
    }
}
