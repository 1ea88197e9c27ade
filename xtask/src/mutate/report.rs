//! The report: JSON for machines, one HTML file for people.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::tree::Tree;
use super::verdicts::{Row, Verdict};
use crate::error::{Error, Result};
use crate::results;

#[derive(Serialize)]
struct Report<'a> {
    /// Hash of the sources and models that it holds for.
    tree: &'a str,
    together: &'a str,
    mutants: &'a [Row],
    /// Sites that no model passes, weakened or not.
    unreached: Vec<String>,
}

/// Writes both; the path of the HTML.
pub(crate) fn write(dir: &Path, tree: &Tree, rows: &[Row], together: &str) -> Result<PathBuf> {
    let unreached = rows
        .iter()
        .filter(|r| r.models == 0)
        .map(|r| format!("{}:{} {}", r.file, r.line, r.key))
        .collect();
    let report = Report {
        tree: &tree.content,
        together,
        mutants: rows,
        unreached,
    };
    let json = dir.join("report.json");
    let text = serde_json::to_string_pretty(&report).unwrap_or_default();
    fs::write(&json, text).map_err(Error::io("write", &json))?;
    let html = dir.join("report.html");
    fs::write(&html, page(&tree.content, rows, together)).map_err(Error::io("write", &html))?;
    Ok(html)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --good: #2a7d3a; --bad: #c03030; --dim: #888; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
code, pre { font: 13px ui-monospace, monospace; }
pre { margin: .3rem 0; white-space: pre-wrap; }
.killed { color: var(--good); } .survived, .timeout, .unreached { color: var(--bad); font-weight: 600; }
.dim { color: var(--dim); }
label { margin-right: 1rem; }
";

/// Hides the rows of the verdicts that are not ticked.
const SCRIPT: &str = "
document.querySelectorAll('input').forEach(box => box.addEventListener('change', () =>
  document.querySelectorAll('tr[data-v=\"' + box.value + '\"]')
    .forEach(row => row.hidden = !box.checked)));
";

pub(crate) const VERDICTS: [(Verdict, &str); 6] = [
    (Verdict::Killed, "a model goes red"),
    (Verdict::Equivalent, "the program means the same"),
    (Verdict::Limit, "the checker cannot show the difference"),
    (Verdict::Unreached, "no model runs it"),
    (Verdict::Timeout, "a model did not end"),
    (Verdict::Survived, "no model notices, and nobody said why"),
];

/// The score, and what was not killed with its reason.
pub(crate) fn markdown(rows: &[Row], together: &str) -> String {
    let (head, cells) = super::score(rows);
    let left: Vec<Vec<String>> = rows
        .iter()
        .filter(|r| r.verdict != Verdict::Killed)
        .map(|r| {
            let reason = r.reason.as_deref().unwrap_or("none: an error");
            vec![
                format!("`{}`", r.key),
                r.verdict.word().into(),
                reason.replace('|', "\\|"),
            ]
        })
        .collect();
    let mut out = results::markdown(&head, &cells);
    if !left.is_empty() {
        out.push_str("\nNot killed:\n\n");
        out.push_str(&results::markdown(&["mutant", "verdict", "reason"], &left));
    }
    if !together.is_empty() {
        let _ = write!(out, "\n{together}.\n");
    }
    out
}

fn page(tree: &str, rows: &[Row], together: &str) -> String {
    let mut out = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Mutants</title>\
         <style>{STYLE}</style><h1>Mutants</h1>\
         <p>Each ordering one step weaker, each fence removed, and the named changes of logic. \
         <span class=dim>Tree {tree}.</span></p>\n<table><tr><th>verdict<th>meaning<th>mutants"
    );
    for (verdict, meaning) in VERDICTS {
        let n = rows.iter().filter(|r| r.verdict == verdict).count();
        let word = verdict.word();
        let _ = write!(
            out,
            "<tr><td class={word}>{word}<td>{meaning}<td class=n>{n}"
        );
    }
    let _ = write!(out, "</table><p>{}</p>\n<p>Show: ", escape(together));
    for (verdict, _) in VERDICTS {
        let word = verdict.word();
        let _ = write!(
            out,
            "<label><input type=checkbox checked value={word}> {word}</label>"
        );
    }
    out.push_str("</p>\n<table><tr><th>verdict<th>mutant<th>by, or why not<th>time");
    for row in rows {
        let word = row.verdict.word();
        let mut detail = String::new();
        if let Some(killer) = &row.killer {
            let _ = write!(detail, "<code>{}</code>", escape(killer));
        }
        if !row.said.is_empty() {
            let _ = write!(detail, "<pre class=dim>{}</pre>", escape(&row.said));
        }
        if let Some(reason) = &row.reason {
            let _ = write!(detail, "<p>{}</p>", escape(reason));
        }
        if row.killer.is_none() {
            let _ = write!(detail, "<span class=dim>{} models ran</span>", row.models);
        }
        let _ = write!(
            out,
            "\n<tr data-v={word}><td class={word}>{word}<td><code>{}</code><br>\
             <span class=dim>{}:{} {}</span><td>{detail}<td class=n>{:.1} s",
            escape(&row.key),
            escape(&row.file),
            row.line,
            escape(&row.about),
            row.seconds
        );
    }
    let _ = writeln!(out, "</table><script>{SCRIPT}</script></html>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_each_mutant_and_escapes_what_it_says() {
        let row = Row {
            key: "state/src/a.rs f store Release->Relaxed".into(),
            file: "state/src/a.rs".into(),
            line: 7,
            function: "f".into(),
            code: "c".into(),
            about: String::new(),
            verdict: Verdict::Killed,
            killer: Some("state::r8".into()),
            said: "a < b".into(),
            reason: None,
            models: 1,
            seconds: 0.25,
            choice: "1=Relaxed".into(),
        };
        let page = page("t", &[row], "");
        assert!(page.contains("store Release-&gt;Relaxed"));
        assert!(page.contains("a &lt; b") && !page.contains("a < b"));
        assert!(page.contains("<td class=killed>killed<td>a model goes red<td class=n>1"));
    }
}
