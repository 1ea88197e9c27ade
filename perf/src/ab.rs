//! Wall time of two commits, process by process in turn.
//!
//! ```text
//! pair     1        2        3        4
//!      old  new  new  old  old  new  new  old      one process each
//!       \____/    \____/    \____/    \____/
//!       ratio     ratio     ratio     ratio   ->  median, confidence interval
//! ```
//!
//! Both are built first. Whatever drifts (the clock, the temperature, a
//! neighbour) then meets both sides of a pair alike, and the order within a pair
//! changes from one to the next. A process's median over its iterations is one
//! sample; [`crate::stats`] says why and what is made of them.
//!
//! The result is reported. It closes nothing unless it is asked to.

use crate::error::{Error, Result};
use crate::gate::Outcome;
use crate::git::{Commit, Copy};
use crate::measure::{build_folder, forget_cargo};
use crate::program;
use crate::read::{self, Harvest};
use crate::record::{Benchmark, Unit};
use crate::stats::{self, Interval};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
}

impl Comparison {
    /// [`Outcome::Fine`], unless a limit was asked for and something is surely
    /// slower by more.
    #[must_use]
    pub fn outcome(&self, block_above: Option<f64>) -> Outcome {
        let above = |row: &Row| block_above.is_some_and(|limit| row.change.low > limit);
        if self.rows.iter().any(above) {
            Outcome::Regressed
        } else {
            Outcome::Fine
        }
    }
}

/// Builds and measures both.
///
/// # Errors
/// [`Error::Command`] if a commit does not build or a bench fails;
/// [`Error::NoOutput`] if no benchmark ran; [`Error::Incomparable`] with too few
/// pairs, or without a benchmark that both have.
pub fn run(
    copy: &Copy,
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
    tell(&format!("building {} {}", old.short(), old.subject));
    let old_programs = build(copy, &old, plan, "old")?;
    tell(&format!("building {} {}", new.short(), new.subject));
    let new_programs = build(copy, &new, plan, "new")?;
    let mut sides = [Samples::default(), Samples::default()];
    for pair in 0..plan.pairs {
        tell(&format!("pair {} of {}", pair + 1, plan.pairs));
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let programs = [&old_programs, &new_programs][side];
            for program in programs {
                sides[side].add(program.run(copy, plan)?);
            }
        }
    }
    let [old_samples, new_samples] = sides;
    let cpu = crate::provenance::cpu();
    comparison(old, new, cpu, plan, &old_samples, &new_samples)
}

/// The medians of every process, by benchmark.
#[derive(Debug, Default)]
struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
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
        let pairs: Vec<_> = old.iter().copied().zip(new.iter().copied()).collect();
        let change =
            stats::paired_change(&pairs, plan.confidence).ok_or_else(|| Error::Incomparable {
                reason: format!("`{id}` was not measured by every process, or took no time"),
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
    let comparison = Comparison {
        old,
        new,
        cpu,
        confidence: plan.confidence,
        rows,
        added: only(after, before),
        gone: only(before, after),
    };
    if comparison.rows.is_empty() {
        return Err(Error::Incomparable {
            reason: "the two commits have no benchmark in common".to_owned(),
            help: "check --bench and --filter".to_owned(),
        });
    }
    Ok(comparison)
}

/// One bench, built.
#[derive(Debug)]
struct Program {
    executable: PathBuf,
    /// Where cargo would run it.
    folder: PathBuf,
}

/// What cargo says of what it built.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

impl Message {
    /// A bench, and not one of the package's programs, which cargo builds for it too.
    fn is_bench(&self) -> bool {
        let mut kinds = self.target.iter().flat_map(|t| &t.kind);
        self.reason == "compiler-artifact" && kinds.any(|kind| kind == "bench")
    }
}

/// Builds a commit's benches and keeps them from the next build.
fn build(copy: &Copy, commit: &Commit, plan: &Plan, side: &str) -> Result<Vec<Program>> {
    copy.check_out(commit)?;
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "bench",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(copy.project())
        .env(
            "CARGO_TARGET_DIR",
            build_folder(copy, plan.target.as_deref()),
        );
    if let Some(package) = &plan.package {
        cargo.args(["--package", package]);
    }
    for bench in &plan.benches {
        cargo.args(["--bench", bench]);
    }
    forget_cargo(&mut cargo);
    let help = format!("run it at {} ({})", commit.short(), commit.subject);
    let said = program::output(&mut cargo, &help)?;
    let write = |path: &Path, source| Error::Write {
        path: path.to_owned(),
        source,
    };
    // Names of one length: a program's own path is on its stack.
    let folder = copy.beside(side);
    fs::create_dir_all(&folder).map_err(|error| write(&folder, error))?;
    let mut programs = Vec::new();
    for line in said.lines() {
        let Ok(message) = serde_json::from_str::<Message>(line) else {
            continue;
        };
        if !message.is_bench() {
            continue;
        }
        let (Some(built), Some(manifest)) = (message.executable, message.manifest_path) else {
            continue;
        };
        let executable = folder.join(format!("bench-{}", programs.len()));
        fs::copy(&built, &executable).map_err(|error| write(&executable, error))?;
        let folder = manifest.parent().unwrap_or(Path::new("/")).to_owned();
        programs.push(Program { executable, folder });
    }
    copy.clean()?;
    if programs.is_empty() {
        return Err(Error::Incomparable {
            reason: format!("cargo built no bench at {}", commit.short()),
            help: "name criterion's benches with --bench".to_owned(),
        });
    }
    Ok(programs)
}

impl Program {
    /// One process, and what criterion wrote.
    fn run(&self, copy: &Copy, plan: &Plan) -> Result<BTreeMap<String, Benchmark>> {
        let home = copy.beside("criterion");
        if home.exists() {
            fs::remove_dir_all(&home).map_err(|source| Error::Write {
                path: home.clone(),
                source,
            })?;
        }
        let mut process = Command::new(&self.executable);
        process
            .args(["--bench", "--noplot", "--sample-size", "20"])
            .args(["--measurement-time", &plan.seconds.to_string()])
            .args(["--warm-up-time", &(plan.seconds / 4.0).to_string()])
            .args(&plan.filter)
            .current_dir(existing(&self.folder))
            .env("CRITERION_HOME", &home);
        program::output(&mut process, "only benches of criterion can be compared so")?;
        let mut harvest = Harvest::default();
        if home.exists() {
            read::criterion::read(&home, &mut harvest)?;
        }
        if harvest.is_empty() {
            return Err(Error::NoOutput {
                places: "$CRITERION_HOME".to_owned(),
            });
        }
        Ok(harvest.into_benchmarks())
    }
}

/// The folder, or what is left of it: the other commit may not have it.
fn existing(folder: &Path) -> &Path {
    let mut up = folder.ancestors();
    up.find(|folder| folder.is_dir()).unwrap_or(Path::new("/"))
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
        assert_eq!(comparison.outcome(None), Outcome::Fine);
        assert_eq!(comparison.outcome(Some(10.0)), Outcome::Regressed);
        assert_eq!(comparison.outcome(Some(30.0)), Outcome::Fine);
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
