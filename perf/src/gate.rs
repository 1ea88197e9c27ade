//! The verdict: may this change be merged, as far as instructions go?
//!
//! The gate looks at every metric in instructions, iai-callgrind's `Ir` and a
//! VM's figures, and at nothing else. It is symmetric: getting better by more
//! than the soft limit is reported as loudly as getting worse, because a
//! baseline that is better than it says would let the next loss pass unseen.

use crate::compare::{Aspect, Mismatch, Moved, Row, compare, mismatches, same_numbers, unknown};
use crate::error::{Error, Result};
use crate::limits::{Limit, Limits};
use crate::record::{Benchmark, Record, Unit, Value};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What the gate says of one benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Above its ceiling.
    AboveMax,
    /// Worse by more than the hard limit.
    Regressed,
    /// Worse, by the soft limit or more.
    Worse,
    /// Better by the soft limit or more: record a new baseline.
    Improved,
    /// As before, within the soft limit.
    Steady,
}

impl Judgement {
    /// Whether it closes the gate.
    #[must_use]
    pub const fn closes(self) -> bool {
        matches!(self, Self::AboveMax | Self::Regressed)
    }
}

/// One benchmark judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The judgement.
    pub judgement: Judgement,
    /// The change that was judged.
    #[serde(flatten)]
    pub row: Row,
    /// The limit that was broken or came closest: percent, or a count for
    /// [`Judgement::AboveMax`].
    pub limit: f64,
}

/// The gate's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The baseline that was compared with.
    pub baseline: PathBuf,
    /// Where it comes from.
    pub origin: Origin,
    /// Every gated benchmark, the worst first.
    pub findings: Vec<Finding>,
    /// The functions that moved in benchmarks that did, the most first.
    pub functions: Vec<Moved>,
    /// Benchmarks without a baseline: judged by their ceilings alone. One that is
    /// above has a finding, with 0 for the value before.
    pub added: Vec<String>,
    /// Benchmarks of the baseline that are gone: nobody knows what they cost.
    pub gone: Vec<String>,
    /// Those that the limits say were removed on purpose.
    pub removed: Vec<String>,
    /// Limits that match no benchmark, and removals of none that the baseline has.
    pub idle_limits: Vec<String>,
    /// Renames that were not applied: the benchmark of the older name is still
    /// there, or another is by now, and is judged by itself.
    pub idle_renames: Vec<String>,
    /// Differences of the machine that were accepted on request.
    pub accepted: Vec<String>,
}

/// The process's exit code for each outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Nothing got worse than its limit.
    Fine = 0,
    /// No verdict is possible.
    CannotCompare = 2,
    /// Something got worse than its limit.
    Regressed = 3,
}

impl Verdict {
    /// What it comes to. A regression that was seen outweighs a benchmark that
    /// was not.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.findings.iter().any(|f| f.judgement.closes()) {
            Outcome::Regressed
        } else if self.gone.is_empty() {
            Outcome::Fine
        } else {
            Outcome::CannotCompare
        }
    }

    /// The findings of one judgement.
    pub fn of(&self, judgement: Judgement) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |f| f.judgement == judgement)
    }
}

/// Where a baseline comes from, beside what it says of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A file of whatever machine: what neither knows of its own may differ.
    Committed,
    /// Measured here, just now. It may have no benchmark: it is then older than
    /// all of them.
    Here,
}

impl Origin {
    /// In what the baseline was made otherwise, or nobody knows.
    fn differences(self, old: &Record, new: &Record) -> Vec<Mismatch> {
        let mut all = mismatches(old, new);
        if self == Self::Committed {
            all.extend(unknown(old, new));
        }
        all
    }

    /// Whether a baseline can be judged by.
    fn serves(self, baseline: &Record) -> bool {
        baseline.has_instructions() || self == Self::Here && baseline.benchmarks.is_empty()
    }

    /// What to do if none serves.
    const fn none(self) -> &'static str {
        match self {
            Self::Committed => {
                "record one from iai-callgrind's output on the commit to compare with"
            }
            Self::Here => "let the command after `--` run iai-callgrind's benchmarks there, too",
        }
    }

    /// What to do about differences in these aspects.
    fn otherwise(self, aspects: &str) -> String {
        match self {
            Self::Committed => format!(
                "record a baseline here, on the commit to compare with, and commit it beside the \
                 others; or, if you know that it does not matter, pass `--accept {aspects}`"
            ),
            Self::Here => format!(
                "if the change itself brings this (a new compiler, say), pass `--accept \
                 {aspects}`: it is judged with what that costs"
            ),
        }
    }
}

/// A baseline to judge by.
#[derive(Debug)]
pub struct Chosen<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// The baseline.
    pub record: &'a Record,
    /// Where it comes from.
    pub origin: Origin,
    /// Differences of the machine that were accepted on request.
    pub accepted: Vec<Mismatch>,
}

/// The baseline that was made as `current` was.
///
/// Several baselines may lie side by side, one for each compiler or machine. The
/// differences in the aspects of `accept` do not count. If several fit, one with the fewest differences is taken, accepted or not, and
/// of these the one recorded last.
///
/// # Errors
/// [`Error::Incomparable`] naming the baseline that comes closest and every
/// difference to it.
pub fn choose<'a>(
    baselines: &'a [(PathBuf, Record)],
    current: &Record,
    origin: Origin,
    accept: &[Aspect],
) -> Result<Chosen<'a>> {
    if !current.has_instructions() {
        return Err(Error::Incomparable {
            reason: "this run counted no instructions".to_owned(),
            help: "run the iai-callgrind benchmarks with `-- --save-summary=json` first".to_owned(),
        });
    }
    let candidates = baselines.iter().filter(|(_, r)| origin.serves(r));
    let closest = candidates
        .map(|(path, record)| {
            let all = origin.differences(record, current);
            let (accepted, open): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|m| accept.contains(&m.aspect));
            let chosen = Chosen {
                path,
                record,
                origin,
                accepted,
            };
            (chosen, open)
        })
        .min_by_key(|(chosen, open)| {
            let age = u64::MAX - chosen.record.provenance.recorded_at;
            let by_name = !same_numbers(chosen.record, current);
            (open.len(), chosen.accepted.len(), by_name, age)
        });
    let Some((chosen, differences)) = closest else {
        return Err(Error::Incomparable {
            reason: "no baseline counts instructions".to_owned(),
            help: origin.none().to_owned(),
        });
    };
    if differences.is_empty() {
        return Ok(chosen);
    }
    let list: Vec<_> = differences.iter().map(ToString::to_string).collect();
    let names: Vec<_> = differences.iter().map(|m| m.aspect.to_string()).collect();
    Err(Error::Incomparable {
        reason: format!(
            "the baseline {} was made otherwise ({})",
            chosen.path.display(),
            list.join("; ")
        ),
        help: origin.otherwise(&names.join(",")),
    })
}

/// Judges this run against a baseline.
///
/// A benchmark of the baseline is gone only if others of its source ran: whoever
/// runs callgrind's benchmarks alone does not ask about the VM's.
#[must_use]
pub fn judge(chosen: &Chosen<'_>, current: &Record, limits: &Limits) -> Verdict {
    let baseline = chosen.record;
    let comparison = compare(baseline, current, limits.renames());
    let gates = |b: &Benchmark| b.metrics.values().any(|m| m.unit == Unit::Instructions);
    let ran = |b: &Benchmark| {
        current
            .benchmarks
            .values()
            .any(|other| other.source == b.source)
    };
    let missed = |id: &String| match baseline.benchmarks.get(id) {
        Some(benchmark) => gates(benchmark) && ran(benchmark),
        // Not a benchmark but one metric of it: only gated ones are listed.
        None => true,
    };
    let mut findings: Vec<_> = comparison
        .rows
        .iter()
        .filter(|row| row.unit == Unit::Instructions)
        .map(|row| finding(row, limits.of(&row.id)))
        .collect();
    findings.extend(above_max(&comparison.added, current, limits));
    let weight = |row: &Row| row.percent.unwrap_or(f64::INFINITY);
    findings.sort_by(|a, b| {
        a.judgement
            .cmp(&b.judgement)
            .then(weight(&b.row).total_cmp(&weight(&a.row)))
    });
    let mut functions = comparison.functions;
    let moved = |id: &str| {
        let mut moved = findings.iter().filter(|f| f.judgement != Judgement::Steady);
        moved.any(|f| f.row.id == id)
    };
    functions.retain(|function| moved(&function.id));
    let gone = comparison.gone.into_iter().filter(missed);
    let (removed, gone): (Vec<_>, Vec<_>) = gone.partition(|id| limits.is_removed(id));
    let ids: Vec<_> = current.benchmarks.keys().map(String::as_str).collect();
    Verdict {
        baseline: chosen.path.to_owned(),
        origin: chosen.origin,
        findings,
        functions,
        added: comparison
            .added
            .into_iter()
            .filter(|id| gates(&current.benchmarks[id]))
            .collect(),
        idle_limits: limits
            .idle(&ids)
            .chain(limits.idle_removals(&removed))
            .map(str::to_owned)
            .collect(),
        gone,
        removed,
        idle_renames: limits
            .renames()
            .idle(|id| current.benchmarks.contains_key(id))
            .map(str::to_owned)
            .collect(),
        accepted: chosen.accepted.iter().map(ToString::to_string).collect(),
    }
}

/// The new benchmarks that are above their ceilings, as grown from nothing: there
/// is nothing else to judge them by.
fn above_max(added: &[String], current: &Record, limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    for id in added {
        let benchmark = &current.benchmarks[id];
        for (metric, measure) in &benchmark.metrics {
            if measure.unit != Unit::Instructions {
                continue;
            }
            let row = Row {
                id: id.clone(),
                source: benchmark.source,
                metric: metric.clone(),
                unit: measure.unit,
                old: Value::Count(0),
                new: measure.value,
                percent: None,
                overlap: None,
            };
            findings.push(finding(&row, limits.of(id)));
        }
    }
    findings.retain(|f| f.judgement == Judgement::AboveMax);
    findings
}

fn finding(row: &Row, limit: Limit) -> Finding {
    let judged = |judgement, limit| Finding {
        judgement,
        row: row.clone(),
        limit,
    };
    let above = |max: u64| match row.new {
        Value::Count(n) => n > max,
        Value::Real(x) => x > max as f64,
    };
    if let Some(max) = limit.max.filter(|&max| above(max)) {
        return judged(Judgement::AboveMax, max as f64);
    }
    let change = row.new.as_f64() - row.old.as_f64();
    // From nothing to something is more than any percentage.
    let percent = row.percent.unwrap_or(f64::INFINITY.copysign(change));
    if change == 0.0 || change.abs() < limit.ignore_below as f64 {
        judged(Judgement::Steady, limit.soft_percent)
    } else if percent > limit.hard_percent {
        judged(Judgement::Regressed, limit.hard_percent)
    } else if percent >= limit.soft_percent {
        judged(Judgement::Worse, limit.hard_percent)
    } else if percent <= -limit.soft_percent {
        judged(Judgement::Improved, limit.soft_percent)
    } else {
        judged(Judgement::Steady, limit.soft_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Source;

    fn row(old: u64, new: u64) -> Row {
        let percent = (old != 0).then(|| (new as f64 - old as f64) / old as f64 * 100.0);
        Row {
            id: "a".to_owned(),
            source: Source::IaiCallgrind,
            metric: "Ir".to_owned(),
            unit: Unit::Instructions,
            old: Value::Count(old),
            new: Value::Count(new),
            percent: if old == new { Some(0.0) } else { percent },
            overlap: None,
        }
    }

    fn judgement(old: u64, new: u64, limit: Limit) -> Judgement {
        finding(&row(old, new), limit).judgement
    }

    #[test]
    fn limits_are_met_at_the_limit_and_broken_above_it() {
        let limit = Limit {
            soft_percent: 1.0,
            hard_percent: 2.0,
            ..Limit::default()
        };
        assert_eq!(judgement(1000, 1000, limit), Judgement::Steady);
        assert_eq!(judgement(1000, 1009, limit), Judgement::Steady);
        assert_eq!(judgement(1000, 1010, limit), Judgement::Worse);
        assert_eq!(judgement(1000, 1020, limit), Judgement::Worse);
        assert_eq!(judgement(1000, 1021, limit), Judgement::Regressed);
        assert_eq!(judgement(1000, 991, limit), Judgement::Steady);
        assert_eq!(judgement(1000, 990, limit), Judgement::Improved);
        assert_eq!(judgement(0, 1, limit), Judgement::Regressed);
        assert_eq!(judgement(0, 0, limit), Judgement::Steady);
        let below = Row {
            new: Value::Real(-1.0),
            ..row(0, 1)
        };
        assert_eq!(finding(&below, limit).judgement, Judgement::Improved);
    }

    #[test]
    fn a_ceiling_holds_whatever_the_baseline_says() {
        let limit = Limit {
            max: Some(1000),
            ..Limit::default()
        };
        assert_eq!(judgement(1000, 1000, limit), Judgement::Steady);
        assert_eq!(judgement(1001, 1001, limit), Judgement::AboveMax);
        assert_eq!(judgement(2000, 1001, limit), Judgement::AboveMax);
    }

    #[test]
    fn small_changes_are_none_even_with_zero_limits() {
        let zero = Limit {
            soft_percent: 0.0,
            hard_percent: 0.0,
            ..Limit::default()
        };
        assert_eq!(judgement(1000, 1001, zero), Judgement::Regressed);
        assert_eq!(judgement(1000, 999, zero), Judgement::Improved);
        assert_eq!(judgement(1000, 1000, zero), Judgement::Steady);
        let ignoring = Limit {
            ignore_below: 2,
            ..zero
        };
        assert_eq!(judgement(1000, 1001, ignoring), Judgement::Steady);
        assert_eq!(judgement(1000, 1002, ignoring), Judgement::Regressed);
    }
}
