//! Reports: Markdown for people and pull requests. JSON needs nothing here, the
//! types serialize themselves.

use crate::compare::{Comparison, Row};
use crate::gate::{Finding, Judgement, Outcome, Verdict};
use crate::record::{Measure, Provenance, Record, Source};
use std::fmt::Write;

/// Who measured what, as a heading.
const fn heading(source: Source) -> &'static str {
    match source {
        Source::IaiCallgrind => "Instructions (iai-callgrind)",
        Source::Criterion => "Wall time (criterion)",
        Source::Vm => "In the kernel (virtual machine)",
    }
}

/// The metrics that a table shows; a record holds more.
fn shown(source: Source, metric: &str) -> bool {
    match source {
        Source::IaiCallgrind => matches!(metric, "Ir" | "EstimatedCycles"),
        Source::Criterion => matches!(metric, "median" | "median_per_element"),
        Source::Vm => true,
    }
}

const SOURCES: [Source; 3] = [Source::IaiCallgrind, Source::Criterion, Source::Vm];

/// A `String` takes whatever is written to it, so the result of writing to one
/// says nothing.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{
        let _ = writeln!($out, $($arg)*);
    }};
}

/// One record as Markdown.
#[must_use]
pub fn record(record: &Record) -> String {
    let mut out = String::from("# Performance\n\n");
    provenance(&mut out, &record.provenance);
    for source in SOURCES {
        let of_source = || record.benchmarks.iter().filter(|(_, b)| b.source == source);
        if of_source().next().is_none() {
            continue;
        }
        line!(
            out,
            "\n## {}\n\n| benchmark | metric | value |\n|---|---|---:|",
            heading(source)
        );
        for (id, benchmark) in of_source() {
            for (metric, measure) in &benchmark.metrics {
                if shown(source, metric) {
                    line!(out, "| `{id}` | {metric} | {} |", value(measure));
                }
            }
        }
    }
    out
}

fn value(measure: &Measure) -> String {
    let Measure {
        value,
        unit,
        interval,
    } = measure;
    match interval {
        Some([low, high]) => format!("{value} {unit} ({low:.2} to {high:.2})"),
        None => format!("{value} {unit}"),
    }
}

fn provenance(out: &mut String, provenance: &Provenance) {
    let Provenance {
        rustc,
        target,
        valgrind,
        cpu,
        commit,
        dirty,
        ..
    } = provenance;
    let or_unknown = |field: &Option<String>| field.clone().unwrap_or_else(|| "unknown".to_owned());
    line!(
        out,
        "Commit {}{}, {}, {}, {}, {}",
        or_unknown(commit),
        if *dirty { " with changes" } else { "" },
        or_unknown(rustc),
        or_unknown(target),
        or_unknown(valgrind),
        or_unknown(cpu),
    );
}

/// Two records as Markdown: what moved, by source.
#[must_use]
pub fn comparison(comparison: &Comparison) -> String {
    let mut out = String::from("# Performance compared\n\nBefore: ");
    provenance(&mut out, &comparison.old);
    out.push_str("\nNow: ");
    provenance(&mut out, &comparison.new);
    if !comparison.mismatches.is_empty() {
        line!(
            out,
            "\n**The two were made differently; the changes say more about that:**\n"
        );
        for mismatch in &comparison.mismatches {
            line!(out, "- {mismatch}");
        }
    }
    for source in SOURCES {
        let rows: Vec<_> = comparison
            .rows
            .iter()
            .filter(|row| row.source == source && shown(source, &row.metric))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let moved: Vec<_> = rows.iter().filter(|row| row.moved()).collect();
        line!(out, "\n## {}\n", heading(source));
        if moved.is_empty() {
            line!(out, "All {} values are the same.", rows.len());
            continue;
        }
        line!(out, "{} of {} values moved.\n", moved.len(), rows.len());
        line!(
            out,
            "| benchmark | metric | before | now | change |\n|---|---|---:|---:|---:|"
        );
        for row in moved {
            let Row {
                id,
                metric,
                old,
                new,
                unit,
                ..
            } = row;
            line!(
                out,
                "| `{id}` | {metric} | {old} | {new} {unit} | {} |",
                change(row)
            );
        }
    }
    list(&mut out, "New", &comparison.added);
    list(&mut out, "Gone", &comparison.gone);
    out
}

fn list(out: &mut String, title: &str, ids: &[String]) {
    if !ids.is_empty() {
        line!(out, "\n## {title}\n");
        for id in ids {
            line!(out, "- `{id}`");
        }
    }
}

fn change(row: &Row) -> String {
    let percent = match row.percent {
        Some(percent) => format!("{percent:+.2} %"),
        None => "from nothing".to_owned(),
    };
    let word = match (row.overlap, row.unit.less_is_better(), row.percent) {
        (Some(true), ..) => " (may be noise)",
        (_, true, Some(x)) if x < 0.0 => " better",
        (_, true, _) => " worse",
        (_, false, _) => "",
    };
    format!("{percent}{word}")
}

/// The gate's verdict as Markdown, which reads well in a terminal too: the
/// outcome first, then what moved, then what to do.
#[must_use]
pub fn verdict(verdict: &Verdict) -> String {
    let mut out = String::new();
    let count = |judgement| verdict.of(judgement).count();
    let word = match verdict.outcome() {
        Outcome::Fine => "fine",
        Outcome::CannotCompare => "cannot compare",
        Outcome::Regressed => "regressed",
    };
    line!(
        out,
        "Gate: {word}. {} benchmarks against {}: {} regressed, {} worse within the limit, {} \
         improved, {} as before.",
        verdict.findings.len(),
        verdict.baseline.display(),
        count(Judgement::Regressed) + count(Judgement::AboveMax),
        count(Judgement::Worse),
        count(Judgement::Improved),
        count(Judgement::Steady),
    );
    let moved: Vec<_> = verdict
        .findings
        .iter()
        .filter(|f| f.judgement != Judgement::Steady)
        .collect();
    if !moved.is_empty() {
        line!(
            out,
            "\n| | benchmark | before | now | change | limit |\n|---|---|---:|---:|---:|---:|"
        );
        for Finding {
            judgement,
            row,
            limit,
        } in moved
        {
            let (name, limit) = match judgement {
                Judgement::AboveMax => ("ABOVE MAXIMUM", format!("at most {limit}")),
                Judgement::Regressed => ("REGRESSED", format!("{limit} %")),
                Judgement::Worse => ("worse", format!("{limit} %")),
                Judgement::Improved => ("improved", format!("{limit} %")),
                Judgement::Steady => ("", String::new()),
            };
            let Row {
                id, old, new, unit, ..
            } = row;
            line!(
                out,
                "| {name} | `{id}` | {old} | {new} {unit} | {} | {limit} |",
                change(row)
            );
        }
    }
    list(
        &mut out,
        "Not judged, since the baseline does not have them",
        &verdict.added,
    );
    list(
        &mut out,
        "Gone, though the baseline has them",
        &verdict.gone,
    );
    list(
        &mut out,
        "Limits that match no benchmark",
        &verdict.idle_limits,
    );
    list(
        &mut out,
        "Differences accepted on request",
        &verdict.accepted,
    );
    advice(&mut out, verdict);
    out
}

fn advice(out: &mut String, verdict: &Verdict) {
    let mut advice = Vec::new();
    if verdict.outcome() == Outcome::Regressed {
        advice.push(
            "Find what costs more (`callgrind_annotate` on the benchmark's `callgrind.*.out`) and \
             take it back; or, if it buys something, record a new baseline and say in the commit \
             what.",
        );
    }
    if !verdict.gone.is_empty() {
        advice.push(
            "A benchmark that was renamed belongs into the limits' `[renamed]`; one that was \
             removed on purpose needs a new baseline; one that was not run needs running.",
        );
    }
    if verdict.of(Judgement::Improved).next().is_some() {
        advice.push(
            "It got better: record a new baseline and commit it, or the next loss of as much \
             passes unseen.",
        );
    } else if !verdict.added.is_empty() {
        advice.push("Record a new baseline to have the new benchmarks judged.");
    }
    if !advice.is_empty() {
        line!(out, "\nWhat to do:");
        for sentence in advice {
            line!(out, "- {sentence}");
        }
    }
}
