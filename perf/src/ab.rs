//! Wall time of two commits, process by process in turn.
//!
//! ```text
//! pair     1        2        3        4
//!      old  new  new  old  old  new  new  old      one process each
//!       \____/    \____/    \____/    \____/
//!       ratio     ratio     ratio     ratio   ->  median, confidence interval
//! ```
//!
//! Both are built first, each in a tree of its own that stays as its commit is: a
//! bench may read files of the repository. Whatever drifts (the clock, the temperature, a
//! neighbour) then meets both sides of a pair alike, and the order within a pair
//! changes from one to the next. A process's median over its iterations is one
//! sample; [`crate::stats`] says why and what is made of them.
//!
//! The result is reported. It closes nothing unless it is asked to.

mod programs;

use crate::error::{Error, Result};
use crate::gate::Outcome;
use crate::git::{Commit, Copy};
use crate::measure::build_folder;
use crate::record::{Benchmark, Unit};
use crate::stats::{self, Interval};
use programs::{build, turn};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How to measure.
#[derive(Debug)]
pub struct Plan {
    /// criterion's benches, by the name of their target.
    pub benches: Vec<String>,
    /// The package that they are in, if the project has several.
    pub package: Option<String>,
    /// Only benchmarks whose name has this in it.
    pub filter: Option<String>,
    /// Pairs of processes.
    pub pairs: usize,
    /// Seconds that each benchmark runs in each process.
    pub seconds: f64,
    /// The confidence of the intervals.
    pub confidence: f64,
    /// What is surely slower by more than this many percent blocks.
    pub block_above: Option<f64>,
    /// Where what is built is kept, if it shall be.
    pub target: Option<PathBuf>,
}

/// What became of one benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The benchmark.
    pub id: String,
    /// The old commit's median process, in nanoseconds.
    pub old: f64,
    /// The new commit's.
    pub new: f64,
    /// The change in percent.
    pub change: Interval,
    /// What may be said.
    pub finding: Finding,
    /// Every pair: the old and the new process's median in nanoseconds.
    pub pairs: Vec<(f64, f64)>,
}

/// What an interval says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// All of it is above nothing.
    Slower,
    /// All of it is below.
    Faster,
    /// Nothing is in it.
    Unclear,
}

impl Finding {
    const fn of(change: Interval) -> Self {
        if change.low > 0.0 {
            Self::Slower
        } else if change.high < 0.0 {
            Self::Faster
        } else {
            Self::Unclear
        }
    }
}

/// Both commits compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The old commit.
    pub old: Commit,
    /// The new one.
    pub new: Commit,
    /// The processor.
    pub cpu: Option<String>,
    /// The confidence of the intervals.
    pub confidence: f64,
    /// The benchmarks, by name.
    pub rows: Vec<Row>,
    /// Benchmarks that only the new commit has.
    pub added: Vec<String>,
    /// Benchmarks that only the old one has.
    pub gone: Vec<String>,
    /// What blocks, if that was asked.
    pub block: Option<Block>,
}

/// What was asked to block, and what does.
#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// Surely slower by more than this many percent.
    pub above: f64,
    /// The confidence asked of each benchmark, so that all of them together keep
    /// that of the intervals (Bonferroni's correction: the chance to be wrong is
    /// divided by their number). Holm's would block in the same cases, for it
    /// differs in what follows the first.
    pub confidence: f64,
    /// The benchmarks.
    pub ids: Vec<String>,
}

impl Block {
    fn of(rows: &[Row], above: f64, plan: &Plan) -> Result<Self> {
        let confidence = Self::confidence(plan, rows.len())?;
        let surely = |row: &&Row| {
            let change = stats::paired_change(&row.pairs, confidence);
            change.is_some_and(|change| change.low > above)
        };
        let ids = rows.iter().filter(surely).map(|row| row.id.clone());
        Ok(Self {
            above,
            confidence,
            ids: ids.collect(),
        })
    }

    /// What to ask of each of so many benchmarks.
    fn confidence(plan: &Plan, rows: usize) -> Result<f64> {
        let confidence = 1.0 - (1.0 - plan.confidence) / rows.max(1) as f64;
        let fewest = stats::fewest(confidence);
        if plan.pairs >= fewest {
            return Ok(confidence);
        }
        let percent = plan.confidence * 100.0;
        Err(Error::Incomparable {
            reason: format!(
                "{} pairs cannot block on {rows} benchmarks with a confidence of {percent} % in \
                 all of them",
                plan.pairs
            ),
            help: format!("ask for {fewest} or more with --pairs, or for fewer with --filter"),
        })
    }
}

impl Comparison {
    /// [`Outcome::Fine`], unless a limit was asked for and something is surely
    /// slower by more, or gone: then nobody knows what it costs.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.block {
            Some(block) if !block.ids.is_empty() => Outcome::Regressed,
            Some(_) if !self.gone.is_empty() => Outcome::CannotCompare,
            _ => Outcome::Fine,
        }
    }
}

/// Builds and measures both, in a copy of the repository for each.
///
/// # Errors
/// [`Error::Command`] if a commit does not build or a bench fails;
/// [`Error::NoOutput`] if no benchmark ran; [`Error::Incomparable`] with too few
/// pairs, also for what shall block, without a benchmark that both have, with one
/// that two benches of a commit measure, or with one that some process left out.
pub fn run(
    [old_copy, new_copy]: [&Copy; 2],
    old: Commit,
    new: Commit,
    plan: &Plan,
    mut tell: impl FnMut(&str),
) -> Result<Comparison> {
    let fewest = stats::fewest(plan.confidence);
    if plan.pairs < fewest {
        let percent = plan.confidence * 100.0;
        return Err(Error::Incomparable {
            reason: format!("{} pairs make no interval of {percent} %", plan.pairs),
            help: format!("ask for {fewest} or more; ten are usual"),
        });
    }
    // A program may look for others that were built with it, by their paths.
    let target = build_folder(old_copy, plan.target.as_deref());
    tell(&format!("building {} {}", old.short(), old.subject));
    let old_programs = build(old_copy, &old, plan, &target.join("old"))?;
    tell(&format!("building {} {}", new.short(), new.subject));
    let new_programs = build(new_copy, &new, plan, &target.join("new"))?;
    let home = old_copy.beside("criterion");
    let mut sides = [Samples::default(), Samples::default()];
    for pair in 0..plan.pairs {
        tell(&format!("pair {} of {}", pair + 1, plan.pairs));
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let programs = [&old_programs, &new_programs][side];
            sides[side].add(turn(programs, plan, &home)?);
        }
        // Known from the first pair on, and not said after the last.
        if plan.block_above.is_some() {
            Block::confidence(plan, sides[0].shared(&sides[1]))?;
        }
    }
    let [old_samples, new_samples] = sides;
    let (cpu, _) = crate::provenance::cpu();
    comparison(old, new, cpu, plan, &old_samples, &new_samples)
}

/// The medians of every process, by benchmark.
#[derive(Debug, Default)]
struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    /// How many benchmarks both have.
    fn shared(&self, other: &Self) -> usize {
        let ids = self.0.keys();
        ids.filter(|id| other.0.contains_key(*id)).count()
    }

    fn add(&mut self, benchmarks: BTreeMap<String, Benchmark>) {
        for (id, benchmark) in benchmarks {
            let median = benchmark.metrics.get("median");
            if let Some(median) = median.filter(|m| m.unit == Unit::Nanoseconds) {
                self.0.entry(id).or_default().push(median.value.as_f64());
            }
        }
    }
}

fn comparison(
    old: Commit,
    new: Commit,
    cpu: Option<String>,
    plan: &Plan,
    Samples(before): &Samples,
    Samples(after): &Samples,
) -> Result<Comparison> {
    let only = |these: &BTreeMap<String, Vec<f64>>, those: &BTreeMap<String, Vec<f64>>| {
        let ids = these.keys().filter(|id| !those.contains_key(*id));
        ids.cloned().collect::<Vec<_>>()
    };
    let mut rows = Vec::new();
    for (id, old) in before {
        let Some(new) = after.get(id) else { continue };
        // With one missing, the later samples would be paired with those of other turns.
        for (commit, times) in [("old", old), ("new", new)] {
            if times.len() != plan.pairs {
                return Err(Error::Incomparable {
                    reason: format!(
                        "`{id}` was measured by {} of {} processes of the {commit} commit",
                        times.len(),
                        plan.pairs
                    ),
                    help: "let the bench measure the same every time, or leave it out with \
                           --filter"
                        .to_owned(),
                });
            }
        }
        let pairs: Vec<_> = old.iter().copied().zip(new.iter().copied()).collect();
        let change =
            stats::paired_change(&pairs, plan.confidence).ok_or_else(|| Error::Incomparable {
                reason: format!("`{id}` took no time"),
                help: "let it do more in an iteration, or leave it out with --filter".to_owned(),
            })?;
        rows.push(Row {
            id: id.clone(),
            old: stats::median(old),
            new: stats::median(new),
            change,
            finding: Finding::of(change),
            pairs,
        });
    }
    if rows.is_empty() {
        return Err(Error::Incomparable {
            reason: "the two commits have no benchmark in common".to_owned(),
            help: "check --bench and --filter".to_owned(),
        });
    }
    let block = plan.block_above.map(|above| Block::of(&rows, above, plan));
    Ok(Comparison {
        old,
        new,
        cpu,
        confidence: plan.confidence,
        rows,
        added: only(after, before),
        gone: only(before, after),
        block: block.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(id: &str) -> Commit {
        Commit {
            id: id.to_owned(),
            subject: String::new(),
        }
    }

    fn plan() -> Plan {
        Plan {
            benches: Vec::new(),
            package: None,
            filter: None,
            pairs: 6,
            seconds: 1.0,
            confidence: 0.95,
            block_above: None,
            target: None,
        }
    }

    fn samples(all: &[(&str, [f64; 6])]) -> Samples {
        let all = all.iter().map(|(id, s)| ((*id).to_owned(), s.to_vec()));
        Samples(all.collect())
    }

    fn compared(old: &[(&str, [f64; 6])], new: &[(&str, [f64; 6])]) -> Result<Comparison> {
        let (old, new) = (samples(old), samples(new));
        comparison(commit("a"), commit("b"), None, &plan(), &old, &new)
    }

    #[test]
    fn slower_faster_and_unclear_are_told_apart_and_nothing_blocks_unasked() {
        let base = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2];
        let times = |factor: f64| {
            let mut i = 0.0;
            base.map(|x| {
                i += 1.0;
                x * factor * (1.0 + 0.002 * (i % 3.0))
            })
        };
        let noisy = [110.0, 92.0, 99.0, 108.0, 91.0, 100.2];
        let comparison = compared(
            &[
                ("fast", base),
                ("gone", base),
                ("noise", base),
                ("slow", base),
            ],
            &[
                ("fast", times(0.8)),
                ("new", base),
                ("noise", noisy),
                ("slow", times(1.2)),
            ],
        )
        .expect("a comparison");
        let findings: Vec<_> = comparison
            .rows
            .iter()
            .map(|r| (&*r.id, r.finding))
            .collect();
        assert_eq!(
            findings,
            [
                ("fast", Finding::Faster),
                ("noise", Finding::Unclear),
                ("slow", Finding::Slower)
            ]
        );
        assert_eq!(
            (&*comparison.added, &*comparison.gone),
            (&["new".to_owned()][..], &["gone".to_owned()][..])
        );
        assert_eq!(comparison.outcome(), Outcome::Fine);
    }

    /// Every benchmark by itself, with noise around no change.
    fn noise(random: &mut fastrand::Rng, rows: usize, pairs: usize) -> [Samples; 2] {
        [(); 2].map(|()| {
            let row = |i| {
                let times = (0..pairs).map(|_| 100.0 + random.f64());
                (format!("{i:03}"), times.collect())
            };
            Samples((0..rows).map(row).collect())
        })
    }

    #[test]
    fn many_benchmarks_do_not_block_by_chance_more_often_than_one() {
        let mut random = fastrand::Rng::with_seed(5);
        let plan = Plan {
            pairs: 12,
            block_above: Some(0.001),
            ..plan()
        };
        let (rounds, rows) = (200, 40);
        let mut blocked = 0;
        let mut slower = 0;
        for _ in 0..rounds {
            let [old, new] = noise(&mut random, rows, plan.pairs);
            let comparison = comparison(commit("a"), commit("b"), None, &plan, &old, &new);
            let comparison = comparison.expect("a comparison");
            blocked += u32::from(comparison.outcome() == Outcome::Regressed);
            let surely = |row: &&Row| row.finding == Finding::Slower;
            slower += comparison.rows.iter().filter(surely).count();
        }
        assert!(slower > 20, "row by row some are wrong: {slower}");
        assert!(blocked <= 10, "{blocked} of {rounds} blocked by chance");
    }

    #[test]
    fn a_limit_for_many_benchmarks_needs_more_pairs() {
        let mut random = fastrand::Rng::with_seed(6);
        let plan = Plan {
            pairs: 10,
            block_above: Some(1.0),
            ..plan()
        };
        let compared = |rows| {
            let [old, new] = noise(&mut fastrand::Rng::with_seed(6), rows, plan.pairs);
            comparison(commit("a"), commit("b"), None, &plan, &old, &new)
        };
        let block = compared(25).expect("25 rows").block.expect("it was asked");
        assert!((block.confidence - 0.998).abs() < 1e-9, "{block:?}");
        let error = compared(26).expect_err("one too many").to_string();
        assert!(
            error.contains("10 pairs cannot block on 26 benchmarks"),
            "{error}"
        );
        let [old, mut new] = noise(&mut random, 5, plan.pairs);
        for time in new.0.get_mut("003").expect("it") {
            *time *= 1.1;
        }
        let found = comparison(commit("a"), commit("b"), None, &plan, &old, &new);
        let found = found.expect("a comparison");
        assert_eq!(found.outcome(), Outcome::Regressed);
        assert_eq!(found.block.expect("it was asked").ids, ["003"]);
    }

    #[test]
    fn nothing_in_common_and_no_time_at_all_are_errors() {
        let base = [1.0; 6];
        let error = compared(&[("a", base)], &[("b", base)]).expect_err("nothing in common");
        assert!(
            error.to_string().contains("no benchmark in common"),
            "{error}"
        );
        let error = compared(&[("a", base)], &[("a", [0.0; 6])]).expect_err("no time");
        assert!(error.to_string().contains("`a`"), "{error}");
    }
}
