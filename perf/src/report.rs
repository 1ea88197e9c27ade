//! Reports as Markdown, for people and pull requests. JSON needs nothing here,
//! the types serialize themselves; [`crate::html`] makes pages.

use crate::ab::{self, Finding as Wall};
use crate::bisect::{Answer, Seen};
use crate::compare::{Comparison, Moved, Row};
use crate::gate::{Finding, Judgement, Origin, Outcome, Verdict};
use crate::git::Commit;
use crate::history::{History, Series, sparkline};
use crate::markdown::{code, plain};
use crate::record::{Measure, Provenance, Record, Source, Unit, Value};
use crate::stats::Interval;
use std::fmt::Write;

/// Who measured what, as a heading.
pub(crate) const fn heading(source: Source) -> &'static str {
    match source {
        Source::IaiCallgrind => "Instructions (iai-callgrind)",
        Source::Criterion => "Wall time (criterion)",
        Source::Vm => "In the kernel (virtual machine)",
    }
}

/// The metrics that a table shows; a record holds more.
#[must_use]
pub fn shown(source: Source, metric: &str) -> bool {
    match source {
        Source::IaiCallgrind => matches!(metric, "Ir" | "EstimatedCycles"),
        Source::Criterion => matches!(metric, "median" | "median_per_element"),
        Source::Vm => true,
    }
}

/// The metric of each source that is worth a picture.
#[must_use]
pub fn plotted(source: Source, metric: &str) -> bool {
    match source {
        Source::IaiCallgrind => metric == "Ir",
        Source::Criterion => metric == "median",
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
                    line!(
                        out,
                        "| {} | {} | {} |",
                        code(id),
                        plain(metric),
                        value(measure)
                    );
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
    } = *measure;
    let value = quantity(value, unit);
    let end = |end| quantity(Value::Real(end), unit);
    match interval {
        Some([low, high]) => format!("{value} ({} to {})", end(low), end(high)),
        None => value,
    }
}

/// A value with its unit.
fn quantity(value: Value, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds => time(value.as_f64()),
        _ => format!("{value} {unit}"),
    }
}

/// A time in the unit that fits it, to four digits.
fn time(nanoseconds: f64) -> String {
    let units = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    // What would be rounded up to a thousand belongs to the next unit.
    let fits = |&&(_, size): &&(_, f64)| nanoseconds.abs() / size < 999.95;
    let &(unit, size) = units.iter().find(fits).unwrap_or(&units[3]);
    let value = nanoseconds / size;
    let decimals = match value.abs() {
        small if small < 9.9995 => 3,
        small if small < 99.995 => 2,
        _ => 1,
    };
    format!("{value:.decimals$} {unit}")
}

fn provenance(out: &mut String, provenance: &Provenance) {
    let Provenance {
        rustc,
        target,
        valgrind,
        commit,
        dirty,
        ..
    } = provenance;
    let or_unknown = |field: &Option<String>| {
        let text = field.as_deref().unwrap_or("unknown");
        plain(text).into_owned()
    };
    line!(
        out,
        "Commit {}{}, {}, {}, {}, {}",
        or_unknown(commit),
        if *dirty { " with changes" } else { "" },
        or_unknown(rustc),
        or_unknown(target),
        or_unknown(valgrind),
        or_unknown(&provenance.processor()),
    );
    for (name, field) in [
        ("The virtual machine", &provenance.vm_machine),
        ("Its kernel", &provenance.vm_kernel),
    ] {
        if let Some(field) = field {
            line!(out, "{name}: {}", plain(field));
        }
    }
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
            line!(out, "- {}", plain(&mismatch.to_string()));
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
            let Row { id, metric, .. } = row;
            let old = match row.unit {
                Unit::Nanoseconds => quantity(row.old, row.unit),
                _ => row.old.to_string(),
            };
            line!(
                out,
                "| {} | {} | {old} | {} | {} |",
                code(id),
                plain(metric),
                quantity(row.new, row.unit),
                change(row)
            );
        }
    }
    functions(&mut out, &comparison.functions);
    list(&mut out, "New", &comparison.added);
    list(&mut out, "Gone", &comparison.gone);
    out
}

/// Functions that a table shows of each benchmark; JSON has all of them.
const FUNCTIONS: usize = 5;

fn functions(out: &mut String, moved: &[Moved]) {
    if moved.is_empty() {
        return;
    }
    line!(
        out,
        "\n## Functions that moved\n\n| benchmark | function | file | before | now | change \
         |\n|---|---|---|---:|---:|---:|"
    );
    for of_benchmark in moved.chunk_by(|a, b| a.id == b.id) {
        for function in of_benchmark.iter().take(FUNCTIONS) {
            let Moved {
                id,
                function: name,
                file,
                old,
                new,
            } = function;
            let change = function.change();
            line!(
                out,
                "| {} | {} | {} | {old} | {new} | {change:+} |",
                code(id),
                code(name),
                plain(file)
            );
        }
    }
}

fn list(out: &mut String, title: &str, ids: &[String]) {
    if !ids.is_empty() {
        line!(out, "\n## {title}\n");
        for id in ids {
            line!(out, "- {}", code(id));
        }
    }
}

pub(crate) fn change(row: &Row) -> String {
    let percent = match row.percent {
        Some(percent) => format!("{percent:+.2} %"),
        None => "from nothing".to_owned(),
    };
    let less = row.new.as_f64() < row.old.as_f64();
    let word = match (row.overlap, row.unit.less_is_better(), less) {
        (Some(true), ..) => " (may be noise)",
        (_, true, true) => " better",
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
        plain(&verdict.baseline.display().to_string()),
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
            let (old, change) = if verdict.added.contains(id) {
                ("none".to_owned(), "new".to_owned())
            } else {
                (old.to_string(), change(row))
            };
            line!(
                out,
                "| {name} | {} | {old} | {new} {unit} | {change} | {limit} |",
                code(id)
            );
        }
    }
    functions(&mut out, &verdict.functions);
    list(
        &mut out,
        "Not judged but for their maximum, since the baseline does not have them",
        &verdict.added,
    );
    list(
        &mut out,
        "Gone, though the baseline has them",
        &verdict.gone,
    );
    list(&mut out, "Removed on purpose", &verdict.removed);
    list(
        &mut out,
        "Limits that match no benchmark",
        &verdict.idle_limits,
    );
    list(
        &mut out,
        "Renamed by the limits, and still there by the older name",
        &verdict.idle_renames,
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
    let committed = verdict.origin == Origin::Committed;
    if verdict.outcome() == Outcome::Regressed {
        advice.push(format!(
            "Find what costs more (the functions above, `umbra-perf bisect`, `callgrind_annotate` \
             on the benchmark's `callgrind.*.out`) and take it back; or, if it buys something, {} \
             and say in the commit what.",
            if committed {
                "record a new baseline"
            } else {
                "give the benchmark a higher `hard_percent` or `max` in the file of limits"
            }
        ));
    }
    if !verdict.gone.is_empty() {
        advice.push(format!(
            "A benchmark that was renamed belongs into the limits' `[renamed]`; one that was \
             removed on purpose into their `removed`{}; one that was not run needs running.",
            if committed {
                ", until there is a new baseline"
            } else {
                ""
            }
        ));
    }
    if committed && verdict.of(Judgement::Improved).next().is_some() {
        advice.push(
            "It got better: record a new baseline and commit it, or the next loss of as much \
             passes unseen."
                .to_owned(),
        );
    } else if committed && !verdict.added.is_empty() {
        advice.push("Record a new baseline to have the new benchmarks judged.".to_owned());
    }
    if !advice.is_empty() {
        line!(out, "\nWhat to do:");
        for sentence in advice {
            line!(out, "- {sentence}");
        }
    }
}

/// The history of each benchmark as Markdown.
#[must_use]
pub fn history(history: &History, series: &[Series]) -> String {
    let mut out = String::from("# History\n\n");
    line!(
        out,
        "{} runs. `·` in a history: the runs around it cannot be compared.\n",
        history.runs.len()
    );
    line!(
        out,
        "| benchmark | metric | processor | first | now | history | last move |\n|---|---|---|---:|---:|---|---|"
    );
    for series in series {
        let (Some(first), Some(last)) = (series.points.first(), series.points.last()) else {
            continue;
        };
        let moved = match series.last_step() {
            Some((point, percent)) => format!("{percent:+.2} % at {}", plain(&point.label)),
            None => "none".to_owned(),
        };
        line!(
            out,
            "| {} | {} | {} | {} | {} | {} | {moved} |",
            code(&series.id),
            plain(&series.metric),
            plain(series.processor.as_deref().unwrap_or("unknown")),
            first.value,
            last.value,
            sparkline(series)
        );
    }
    list(
        &mut out,
        "Versions that could not be read",
        &history.unreadable,
    );
    out
}

fn commit(commit: &Commit) -> String {
    format!("{} {}", commit.short(), plain(&commit.subject))
}

/// The answer of a bisection as Markdown, with its evidence.
#[must_use]
pub fn bisection(answer: &Answer) -> String {
    let mut out = String::new();
    let Answer {
        benchmark, metric, ..
    } = answer;
    match &answer.first[..] {
        [first] => line!(out, "First past the limit: {}\n", commit(first)),
        several => {
            line!(
                out,
                "One of these is the first past the limit; those between could not be measured:\n"
            );
            for candidate in several {
                line!(out, "- {}", commit(candidate));
            }
            line!(out, "");
        }
    }
    if let Some((before, after)) = answer.values {
        line!(
            out,
            "{} {}: {before} before it, {after} with it.",
            code(benchmark),
            plain(metric)
        );
    }
    functions(&mut out, &answer.functions);
    line!(
        out,
        "\n## Measured\n\nA move is more than {} %.\n\n| commit | value | change | |\n|---|---:|---:|---|",
        answer.limit
    );
    for step in &answer.steps {
        let value = step
            .value
            .map_or_else(|| "none".to_owned(), |v| v.to_string());
        let change = step
            .percent
            .map_or_else(String::new, |p| format!("{p:+.2} %"));
        let seen = match step.seen {
            Seen::Good => "good",
            Seen::Bad => "bad",
            Seen::Skipped => "skipped",
        };
        let reason = step
            .reason
            .as_deref()
            .and_then(|reason| reason.lines().next());
        let reason = reason.map_or_else(String::new, |reason| format!(": {}", plain(reason)));
        let name = commit(&step.commit);
        line!(out, "| {name} | {value} | {change} | {seen}{reason} |");
    }
    out
}

/// Wall time of two commits as Markdown.
#[must_use]
pub fn wall(comparison: &ab::Comparison) -> String {
    let mut out = String::from("# Wall time, process by process\n\n");
    line!(out, "Before: {}  ", commit(&comparison.old));
    line!(out, "Now: {}\n", commit(&comparison.new));
    let confidence = comparison.confidence * 100.0;
    line!(
        out,
        "| benchmark | before | now | change | {confidence} % interval | |\n|---|---:|---:|---:|---|---|"
    );
    for row in &comparison.rows {
        let Interval {
            low,
            estimate,
            high,
        } = row.change;
        let finding = match row.finding {
            Wall::Slower => "slower",
            Wall::Faster => "faster",
            Wall::Unclear => "no difference seen",
        };
        line!(
            out,
            "| {} | {} | {} | {estimate:+.2} % | {low:+.2} % to {high:+.2} % | {finding} |",
            code(&row.id),
            time(row.old),
            time(row.new),
        );
    }
    list(&mut out, "New", &comparison.added);
    list(&mut out, "Gone", &comparison.gone);
    let pairs = comparison.rows.first().map_or(0, |row| row.pairs.len());
    let cpu = plain(comparison.cpu.as_deref().unwrap_or("an unknown processor"));
    line!(
        out,
        "\n{pairs} pairs of processes on {cpu}. The times are medians over processes; the interval is the sign test's, of pairs."
    );
    if let Some(block) = &comparison.block {
        let n = comparison.rows.len();
        let (above, each) = (block.above, block.confidence * 100.0);
        line!(
            out,
            "\nTo block, a benchmark must be slower by more than {above} % with {each:.2} % confidence: so all {n} \
             together keep {confidence} %."
        );
        list(&mut out, "These block", &block.ids);
        if !comparison.gone.is_empty() {
            line!(
                out,
                "\nNobody knows what became of those that are gone: that is no pass. Compare with a commit that has \
                 them by their present names, or leave them out with --filter."
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_a_unit_that_fits_them() {
        let shown = |ns: f64| quantity(Value::Real(ns), Unit::Nanoseconds);
        for (ns, text) in [
            (0.0, "0.000 ns"),
            (0.4242, "0.424 ns"),
            (12.345, "12.35 ns"),
            (100.1, "100.1 ns"),
            (999.94, "999.9 ns"),
            (999.96, "1.000 µs"),
            (184_339.4, "184.3 µs"),
            (104_653_748.5, "104.7 ms"),
            (999_960_000.0, "1.000 s"),
            (7.2e12, "7200.0 s"),
            (-1_500.0, "-1.500 µs"),
        ] {
            assert_eq!(shown(ns), text, "{ns}");
        }
        assert_eq!(
            quantity(Value::Count(24_504), Unit::Instructions),
            "24,504 instructions"
        );
    }
}
