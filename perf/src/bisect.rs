//! Which commit moved a benchmark past a limit.
//!
//! ```text
//! good  o---o---o---X---o---o  bad      git bisect, driven by counts:
//!       100 100 100 109 109 109         X is the first past 100 + limit
//! ```
//!
//! git chooses the commits, for it knows how to halve a history with merges and
//! how to go round a commit that does not build. It does so in a clone, so a
//! bisection of one's own is not disturbed, and checks nothing out there: it would
//! carry along what a run wrote into a tracked file, or refuse to go on for it.

use crate::compare::{Moved, compare};
use crate::error::{Error, Result};
use crate::git::Commit;
use crate::limits::Renames;
use crate::measure::Bench;
use crate::record::{Record, Value};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// What is looked for.
#[derive(Debug)]
pub struct Question<'a> {
    /// A commit at which the benchmark was as it should be.
    pub good: Commit,
    /// A later one at which it is not.
    pub bad: Commit,
    /// The benchmark.
    pub benchmark: &'a str,
    /// Its metric: `Ir`.
    pub metric: &'a str,
    /// A change of more than this many percent is a move.
    pub percent: f64,
    /// Only look at the first parents: at what was merged, not at its parts.
    pub first_parent: bool,
}

/// What was seen of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// As at the good end.
    Good,
    /// Past the limit.
    Bad,
    /// It does not build, or lacks the benchmark.
    Skipped,
}

/// One commit that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The commit.
    #[serde(flatten)]
    pub commit: Commit,
    /// What was seen.
    pub seen: Seen,
    /// The value, if there is one.
    pub value: Option<Value>,
    /// The change from the good end in percent.
    pub percent: Option<f64>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer, with its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The benchmark.
    pub benchmark: String,
    /// Its metric.
    pub metric: String,
    /// The limit in percent.
    pub limit: f64,
    /// The first commit past the limit; several if those between them could not
    /// be measured.
    pub first: Vec<Commit>,
    /// The value before it, and at it.
    pub values: Option<(Value, Value)>,
    /// The functions that moved with it.
    pub functions: Vec<Moved>,
    /// Every commit that was measured, in order of measurement.
    pub steps: Vec<Step>,
}

/// Looks for it.
///
/// # Errors
/// [`Error::Incomparable`] if the ends do not differ by more than the limit, or
/// one of them does not have the benchmark, or `good` is no ancestor of `bad`;
/// whatever measuring an end gives.
pub fn find(bench: &Bench, question: &Question<'_>, mut tell: impl FnMut(&Step)) -> Result<Answer> {
    let mut records = HashMap::new();
    let mut steps = Vec::new();
    if !bench.copy().is_ancestor(&question.good, &question.bad)? {
        return Err(Error::Incomparable {
            reason: format!(
                "{} is no ancestor of {}",
                question.good.short(),
                question.bad.short()
            ),
            help: "name as --good a commit that --bad was built upon".to_owned(),
        });
    }
    let good = end(bench, question, &question.good)?;
    let bad = end(bench, question, &question.bad)?;
    let change = percent(good.1, bad.1);
    for (seen, commit, value) in [
        (Seen::Good, &question.good, good.1),
        (Seen::Bad, &question.bad, bad.1),
    ] {
        let step = Step {
            commit: commit.clone(),
            seen,
            value: Some(value),
            percent: Some(percent(good.1, value)),
            reason: None,
        };
        tell(&step);
        steps.push(step);
    }
    if change.abs() <= question.percent {
        return Err(Error::Incomparable {
            reason: format!(
                "`{}` did not move past {} %: {} at {}, {} at {} ({change:+.2} %)",
                question.benchmark,
                question.percent,
                good.1,
                question.good.short(),
                bad.1,
                question.bad.short()
            ),
            help: "name an older good commit or a smaller --limit".to_owned(),
        });
    }
    records.insert(question.good.id.clone(), good.0);
    records.insert(question.bad.id.clone(), bad.0);

    let mut next = Ok(start(bench, question)?);
    let mut skipped = HashSet::new();
    let first = loop {
        let left = candidates(bench, question)?;
        // The first of them is bad already.
        if left.iter().skip(1).all(|id| skipped.contains(id)) {
            let commits = left.iter().map(|id| bench.copy().commit(id));
            break commits.collect::<Result<Vec<_>>>()?;
        }
        // git fails where only skipped commits are left; any other failure is one.
        next?;
        let commit = bench.copy().commit("BISECT_HEAD")?;
        if steps.iter().any(|step| step.commit == commit) {
            return Err(stuck(&commit));
        }
        let measured = measure(bench, &commit)?;
        let value = measured
            .as_ref()
            .ok()
            .and_then(|record| value(record, question));
        let moved = value.map(|value| percent(good.1, value));
        let seen = match moved {
            // Past the limit on the side of the bad end.
            Some(moved) if moved * change.signum() > question.percent => Seen::Bad,
            Some(_) => Seen::Good,
            None => Seen::Skipped,
        };
        let reason = match &measured {
            Err(error) => Some(error.to_string()),
            Ok(_) if value.is_none() => Some(absent(question)),
            Ok(_) => None,
        };
        if let Ok(record) = measured {
            records.insert(commit.id.clone(), record);
        }
        let step = Step {
            commit: commit.clone(),
            seen,
            value,
            percent: moved,
            reason,
        };
        tell(&step);
        steps.push(step);
        let verdict = match seen {
            Seen::Good => "good",
            Seen::Bad => "bad",
            Seen::Skipped => "skip",
        };
        if seen == Seen::Skipped {
            skipped.insert(commit.id.clone());
        }
        next = bench.copy().git(&["bisect", verdict]);
    };

    let mut answer = Answer {
        benchmark: question.benchmark.to_owned(),
        metric: question.metric.to_owned(),
        limit: question.percent,
        first,
        values: None,
        functions: Vec::new(),
        steps,
    };
    if let [first] = &answer.first[..] {
        let parent = bench.copy().commit(&format!("{}^", first.id))?;
        // Of a merge the first parent need not have been measured.
        let before = match records.remove(&parent.id) {
            Some(record) => Some(record),
            None => bench.measure(&parent).ok(),
        };
        if let (Some(before), Some(after)) = (before, records.get(&first.id)) {
            answer.values = value(&before, question).zip(value(after, question));
            answer.functions = compare(&before, after, &Renames::default()).functions;
            answer.functions.retain(|f| f.id == question.benchmark);
        }
    }
    Ok(answer)
}

/// The record of a commit on the way, or why it has none and is gone round.
///
/// # Errors
/// [`Error::Command`] if git fails: what is laid out is then anybody's guess.
fn measure(bench: &Bench, commit: &Commit) -> Result<Result<Record>> {
    match bench.copy().check_out(commit) {
        Ok(()) => Ok(bench.measure_here()),
        // The commit lacks the project's folder.
        Err(error @ Error::Read { .. }) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

fn stuck(commit: &Commit) -> Error {
    Error::Incomparable {
        reason: format!(
            "git asks for {} again, which was measured before",
            commit.short()
        ),
        help: "name other ends, nearer to each other".to_owned(),
    }
}

/// An end, which must be measurable.
fn end(bench: &Bench, question: &Question<'_>, commit: &Commit) -> Result<(Record, Value)> {
    let record = bench.measure(commit)?;
    match value(&record, question) {
        Some(value) => Ok((record, value)),
        None => Err(Error::Incomparable {
            reason: format!("{} at {}", absent(question), commit.short()),
            help: format!(
                "the benchmarks there are: {}",
                record
                    .benchmarks
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }),
    }
}

fn absent(question: &Question<'_>) -> String {
    let Question {
        benchmark, metric, ..
    } = question;
    format!("there is no `{metric}` of a benchmark `{benchmark}`")
}

fn value(record: &Record, question: &Question<'_>) -> Option<Value> {
    let benchmark = record.benchmarks.get(question.benchmark)?;
    Some(benchmark.metrics.get(question.metric)?.value)
}

fn percent(old: Value, new: Value) -> f64 {
    crate::compare::percent(old, new).unwrap_or(f64::INFINITY)
}

fn start(bench: &Bench, question: &Question<'_>) -> Result<String> {
    let mut args = vec!["bisect", "start", "--no-checkout"];
    if question.first_parent {
        args.push("--first-parent");
    }
    args.extend([&*question.bad.id, &*question.good.id, "--"]);
    bench.copy().git(&args)
}

/// The commits that may be the first past the limit, the latest first: those
/// that the bad end has and no good commit has.
fn candidates(bench: &Bench, question: &Question<'_>) -> Result<Vec<String>> {
    let mut args = vec![
        "rev-list",
        "refs/bisect/bad",
        "--not",
        "--glob=refs/bisect/good-*",
    ];
    if question.first_parent {
        args.insert(1, "--first-parent");
    }
    let list = bench.copy().git(&args)?;
    Ok(list.lines().map(str::to_owned).collect())
}
