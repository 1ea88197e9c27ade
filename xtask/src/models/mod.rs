//! `cargo xtask loom`: explores every model, a table of what that was.
//!
//! ```text
//!  build ── list ── run, one program a model ── table, target/umbra/loom/loom.json
//!                        │ red
//!                        └── schedule: replay of the one execution, step by step
//! ```
//! Quick (the default, and CI's) explores each model to its own bound, `--model` to
//! the deeper one of those that have two. `--full` allows one preemption more, or the
//! deeper one; `--unbounded` takes every bound away. Both for a time: what was not
//! explored to
//! its end is named, and is neither green nor red.

mod book;
mod build;
mod outcome;
pub(crate) mod schedule;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

pub(crate) use book::longest_first;
pub(crate) use build::{Model, build};
pub(crate) use outcome::{Outcome, Verdict};

use crate::error::{Error, Result};
use crate::paths::{self, Paths};
use crate::pool::{self, Ended, Source, Work};
use crate::ui::{self, Task};

/// The time after which the quick run is ended, building aside. It is to take less than
/// five minutes on two processors; who shares them with other work is given more.
const QUICK: Duration = Duration::from_secs(900);

/// What `cargo xtask loom` is asked to do.
#[derive(Debug, Args, Default)]
pub(crate) struct LoomArgs {
    /// One preemption more than each model's bound, or no bound where that is for the
    /// quick run alone, as far as the time goes
    #[arg(long)]
    full: bool,
    /// Without the models' bounds, as far as the time goes: what ends needs none
    #[arg(long, conflicts_with = "full")]
    unbounded: bool,
    /// Only models whose name contains this (may be given more than once), to the
    /// deeper bound of those that have one for the quick run
    #[arg(long, value_name = "PART")]
    model: Vec<String>,
    /// Seconds for one model [default: 600, with --full 300, with --unbounded 120]; the
    /// quick run ends after 900 in all
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    budget: Option<u64>,
    /// Show the failing execution that an earlier run saved, step by step
    #[arg(long, value_name = "FILE", conflicts_with_all = ["full", "unbounded", "model"])]
    replay: Option<PathBuf>,
    /// Write what was explored to loom-tests/RESULTS.md: the models, or with --unbounded
    /// what became of those that have a bound
    #[arg(long, conflicts_with_all = ["full", "model", "replay"])]
    write: bool,
}

/// How far each model goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Own,
    /// Models that are asked for by name: without the quick run's bounds.
    Deep,
    More,
    Unbounded,
}

impl Reach {
    fn of(args: &LoomArgs) -> Self {
        match (args.full, args.unbounded) {
            (true, _) => Self::More,
            (_, true) => Self::Unbounded,
            _ if !args.model.is_empty() => Self::Deep,
            _ => Self::Own,
        }
    }

    /// The variable that tells a model, and the file of what came of it.
    fn names(self) -> (Option<&'static str>, &'static str) {
        match self {
            Self::Own => (None, "loom.json"),
            Self::Deep => (Some("UMBRA_LOOM_DEEP"), "deep.json"),
            Self::More => (Some("UMBRA_LOOM_FULL"), "full.json"),
            Self::Unbounded => (Some("UMBRA_LOOM_UNBOUNDED"), "unbounded.json"),
        }
    }

    fn environment(self, budget: Duration) -> schedule::Environment {
        let name = self.names().0.into_iter();
        name.map(|name| (name.to_owned(), budget.as_secs().to_string()))
            .collect()
    }
}

/// Explores the models, and shows the schedules of those that fail. Says how
/// many passed.
pub(crate) fn run(paths: &Paths, args: &LoomArgs) -> Result<usize> {
    if let Some(file) = &args.replay {
        schedule::repeat(paths, file)?;
        return Ok(1);
    }
    let dir = paths.root().join("loom-tests");
    let models = build(paths, &dir, "loom")?;
    let chosen: Vec<Model> = models
        .iter()
        .filter(|m| args.model.is_empty() || args.model.iter().any(|p| m.id().contains(p)))
        .cloned()
        .collect();
    if chosen.is_empty() {
        return Err(Error::NoModel {
            name: args.model.join(", "),
            known: models.iter().map(Model::id).collect::<Vec<_>>().join("\n"),
        });
    }
    let reach = Reach::of(args);
    let budget = budget(args);
    let mut exploration = Exploration {
        paths,
        dir: dir.clone(),
        reach,
        budget,
        until: (reach == Reach::Own).then(|| Instant::now() + QUICK),
        left: longest_first(paths, chosen.clone()).into(),
        total: chosen.len(),
        done: Vec::new(),
        task: None,
    };
    announce(paths, &chosen, &exploration);
    exploration.task = Some(Task::new("exploring"));
    pool::run(pool::width(), &mut exploration)?;
    if let Some(task) = exploration.task.take() {
        task.done("");
    }
    let outcomes = exploration.done;
    finish(paths, &chosen, outcomes, args)
}

/// The time that one model has.
fn budget(args: &LoomArgs) -> Duration {
    Duration::from_secs(args.budget.unwrap_or(match Reach::of(args) {
        Reach::Own | Reach::Deep => 600,
        Reach::More => 300,
        Reach::Unbounded => 120,
    }))
}

/// Prints the time it may take, and what the last run took.
fn announce(paths: &Paths, chosen: &[Model], e: &Exploration<'_>) {
    let rounds = u32::try_from(chosen.len().div_ceil(pool::width())).unwrap_or(u32::MAX);
    let worst = match e.until {
        Some(_) => QUICK.min(e.budget * rounds),
        None => e.budget * rounds,
    };
    let before = last(paths, e.reach);
    let known: f64 = chosen.iter().filter_map(|m| before.get(&m.id())).sum();
    let usual = if known > 0.0 {
        let wall = Duration::from_secs_f64(known / pool::width() as f64);
        format!("; the last run took {}", ui::seconds(wall))
    } else {
        String::new()
    };
    ui::note(&format!(
        "{} to explore, at most {} each and {} in all{usual}",
        chosen.len(),
        ui::seconds(e.budget),
        ui::seconds(worst),
    ));
}

/// The file that keeps a run's outcomes.
fn record(paths: &Paths, reach: Reach) -> Result<PathBuf> {
    Ok(paths.dir("loom")?.join(reach.names().1))
}

/// The times of the last run, by model.
fn last(paths: &Paths, reach: Reach) -> BTreeMap<String, f64> {
    let read = || {
        let text = fs::read_to_string(record(paths, reach).ok()?).ok()?;
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).ok()?;
        Some(rows)
    };
    let rows = read().unwrap_or_default();
    rows.iter()
        .filter_map(|r| Some((r["model"].as_str()?.to_owned(), r["seconds"].as_f64()?)))
        .collect()
}

struct Exploration<'a> {
    paths: &'a Paths,
    dir: PathBuf,
    reach: Reach,
    budget: Duration,
    /// When the whole run is over.
    until: Option<Instant>,
    left: VecDeque<Model>,
    total: usize,
    done: Vec<(Model, Outcome)>,
    task: Option<Task>,
}

impl Source<Model> for Exploration<'_> {
    fn next(&mut self) -> Option<Work<Model>> {
        let model = self.left.pop_front()?;
        let mut command = model.command(&self.dir);
        let mut limit = match self.until {
            Some(until) => self
                .budget
                .min(until.saturating_duration_since(Instant::now())),
            None => self.budget,
        };
        let environment = self.reach.environment(self.budget);
        if !environment.is_empty() {
            command.envs(environment);
            // It stops by itself; this is for one that does not.
            limit += self.budget / 2 + Duration::from_secs(10);
        }
        Some(Work {
            tag: model,
            command,
            limit,
        })
    }

    fn ended(&mut self, model: Model, ended: Ended) -> Result<()> {
        let mut outcome = Outcome::of(model.id(), &ended);
        if model.explores && outcome.verdict == Verdict::Green && outcome.executions.is_none() {
            probe(self.paths, &self.dir, &model, &mut outcome)?;
        }
        if let (Some(task), true) = (&self.task, outcome.verdict == Verdict::Red) {
            task.say(&format!("{} failed", outcome.model));
        }
        self.done.push((model, outcome));
        Ok(())
    }

    fn tick(&mut self) {
        if let Some(task) = &self.task {
            let last = self.done.last().map_or("", |(m, _)| m.name.as_str());
            task.progress(last, self.done.len() as u64, self.total as u64);
        }
    }
}

/// A model that does not count its executions is asked whether there is a
/// second one: loom saves its place there, if told to.
fn probe(paths: &Paths, dir: &std::path::Path, model: &Model, outcome: &mut Outcome) -> Result<()> {
    let file = paths
        .dir("loom")?
        .join(format!("probe-{}", std::process::id()));
    remove(&file)?;
    let mut command = model.command(dir);
    command
        .env("LOOM_CHECKPOINT_FILE", &file)
        .env("LOOM_CHECKPOINT_INTERVAL", "2")
        .env("LOOM_MAX_PERMUTATIONS", "2");
    crate::proc::output(command)?;
    if file.exists() {
        outcome.extent = "more than one; it does not count".into();
        remove(&file)
    } else {
        outcome.verdict = Verdict::Red;
        outcome.why =
            "it explored nothing: call umbra_loom::explore, with threads that meet".into();
        Ok(())
    }
}

fn remove(file: &std::path::Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", file)(e)),
        _ => Ok(()),
    }
}

/// The table, the record, the schedules of what failed, the verdict.
fn finish(
    paths: &Paths,
    chosen: &[Model],
    mut done: Vec<(Model, Outcome)>,
    args: &LoomArgs,
) -> Result<usize> {
    done.sort_by_key(|(m, _)| m.id());
    let outcomes: Vec<&Outcome> = done.iter().map(|(_, o)| o).collect();
    // A run of some models is no record of how long all of them take.
    if args.model.is_empty() {
        let file = record(paths, Reach::of(args))?;
        let text = serde_json::to_string_pretty(&outcomes).unwrap_or_default();
        fs::write(&file, text).map_err(Error::io("write", &file))?;
        ui::note(&format!("as JSON: {}", paths::short(&file)));
    }
    println!("{}", book::all(&outcomes));
    let count = |v: Verdict| outcomes.iter().filter(|o| o.verdict == v).count();
    let green = count(Verdict::Green);
    let bad: Vec<&(Model, Outcome)> = done
        .iter()
        .filter(|(_, o)| matches!(o.verdict, Verdict::Red | Verdict::Late))
        .collect();
    println!("{}", book::summary(&done));
    println!("{green} passed, {} failed", bad.len());
    if bad.is_empty() {
        if args.write {
            book::write(paths, &done, Reach::of(args), budget(args))?;
        }
        return Ok(green);
    }
    for (model, outcome) in &bad {
        println!("\n{}: {}", model.id(), outcome.why);
        // (What has a single execution has no schedule.)
        let explored = outcome.failed_in.is_some() || outcome.executions.is_none();
        if model.explores && outcome.verdict == Verdict::Red && explored {
            // The instrumented copy is slower.
            let slower = 4 * budget(args);
            let told = Reach::of(args).environment(slower);
            let shown = schedule::show(paths, model, outcome, told, slower + schedule::LIMIT);
            if let Err(error) = shown {
                ui::note(&format!("no schedule: {error}"));
            }
        }
    }
    Err(Error::Models {
        failed: bad.len(),
        total: chosen.len(),
        names: bad
            .iter()
            .map(|(m, o)| format!("{} ({})", m.id(), o.verdict.word()))
            .collect::<Vec<_>>()
            .join(", "),
    })
}
