//! Running the models against the mutants, one program for each processor.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::mutants::Mutant;
use super::tree::Tree;
use super::verdicts::{Baseline, Judged, Row, Verdict, Verdicts};
use crate::error::{Error, Result};
use crate::models::{self, Model, Outcome};
use crate::paths::Paths;
use crate::pool::{self, Ended, Source, Work};
use crate::ui::{self, Task};

/// The longest that a model may take without a mutant.
const BASELINE: Duration = Duration::from_secs(600);

/// Runs models without a mutant: they have to be green, and say which sites they
/// reach.
pub(crate) fn baseline(
    paths: &Paths,
    tree: &Tree,
    verdicts: &mut Verdicts,
    wanted: impl Fn(&Model) -> bool,
) -> Result<()> {
    let missing = tree.models.iter().filter(|m| m.explores && wanted(m));
    let missing = missing.filter(|m| !verdicts.baselines.contains_key(&m.id()));
    let missing: VecDeque<&Model> = models::longest_first(paths, missing.collect()).into();
    if missing.is_empty() {
        return Ok(());
    }
    let total = missing.len();
    ui::note(&format!(
        "{total} models without a mutant first, {} each at most (all of them: a quarter of an hour)",
        ui::seconds(BASELINE)
    ));
    let mut source = Baselines {
        tree,
        hits: paths.dir("mutate/hits")?,
        left: missing,
        total,
        done: 0,
        verdicts,
        task: Task::new("models without a mutant"),
    };
    pool::run(pool::width(), &mut source)?;
    source.task.done("");
    Ok(())
}

struct Baselines<'a> {
    tree: &'a Tree,
    hits: PathBuf,
    left: VecDeque<&'a Model>,
    total: usize,
    done: usize,
    verdicts: &'a mut Verdicts,
    task: Task,
}

impl<'a> Source<&'a Model> for Baselines<'a> {
    fn next(&mut self) -> Option<Work<&'a Model>> {
        let model = self.left.pop_front()?;
        let mut command = self.tree.command(model);
        command.env("UMBRA_HITS", self.hits.join(&model.name));
        Some(Work {
            tag: model,
            command,
            limit: BASELINE,
        })
    }

    fn ended(&mut self, model: &'a Model, ended: Ended) -> Result<()> {
        self.done += 1;
        let outcome = Outcome::of(model.id(), &ended);
        if outcome.verdict != models::Verdict::Green {
            return Err(Error::Models {
                failed: 1,
                total: self.total,
                names: format!(
                    "{} without any mutant ({})\n{}",
                    model.id(),
                    outcome.verdict.word(),
                    outcome.why
                ),
            });
        }
        let file = self.hits.join(&model.name);
        // A model that passes no site writes no file.
        let text = fs::read_to_string(&file).unwrap_or_default();
        self.verdicts.baseline(Baseline {
            model: model.id(),
            seconds: outcome.seconds,
            hits: text.lines().filter_map(|l| l.parse().ok()).collect(),
        })
    }

    fn tick(&mut self) {
        self.task.progress("", self.done as u64, self.total as u64);
    }
}

/// A model to run against a mutant.
struct Try<'a> {
    model: &'a Model,
    /// What it takes without a mutant.
    seconds: f64,
    /// With one preemption only: part of its executions, and most mutants die
    /// there already.
    tight: bool,
}

/// Longer than this, and a model is tried with one preemption first.
const QUICK: f64 = 0.5;

/// By what mutants are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// What killed each in an earlier tree; what that does not kill stays open.
    Suspect,
    /// All models that reach it.
    All,
}

/// The models that reach a mutant: what killed it in an earlier tree, with one
/// preemption and to its own bound, then the quickest first; the long ones first with one preemption, and to their own bound
/// at the very end. That end is left out, unless asked for, if there is a reason why
/// nothing kills it.
fn relevant<'a>(
    tree: &'a Tree,
    verdicts: &Verdicts,
    mutant: &Mutant,
    long_too: bool,
) -> Vec<Try<'a>> {
    let mut models: Vec<(f64, &Model)> = tree
        .models
        .iter()
        .filter_map(|m| {
            let baseline = verdicts.baselines.get(&m.id())?;
            baseline
                .hits
                .contains(&mutant.id)
                .then_some((baseline.seconds, m))
        })
        .collect();
    models.sort_by(|a, b| a.0.total_cmp(&b.0));
    let tries = |tight: bool| {
        let models = models.iter().filter(move |m| !tight || m.0 > QUICK);
        models.map(move |&(seconds, model)| Try {
            model,
            seconds,
            tight,
        })
    };
    let hint = verdicts.hints.get(&mutant.key);
    let suspect = |t: &Try<'_>| hint.is_some_and(|hint| *hint == t.model.id());
    let (first, others): (Vec<_>, Vec<_>) = tries(false).partition(suspect);
    let (quick, long): (Vec<_>, Vec<_>) = others.into_iter().partition(|t| t.seconds <= QUICK);
    let (first_tight, tight): (Vec<_>, Vec<_>) = tries(true).partition(suspect);
    let long = if is_shallow(tree, &mutant.key, long_too) {
        Vec::new()
    } else {
        long
    };
    [first_tight, first, quick, tight, long]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether long models have one preemption only for a mutant.
pub(crate) fn is_shallow(tree: &Tree, mutant: &str, long_too: bool) -> bool {
    !long_too && tree.catalogue.reasons.contains_key(mutant)
}

/// How long a model with a mutant may take: a change that makes it explore
/// more is no reason to give up early, one that makes it spin is.
fn limit(seconds: f64) -> Duration {
    Duration::from_secs_f64(10.0 + 10.0 * seconds)
}

/// One mutant on its way through its models.
struct Case<'a> {
    mutant: &'a Mutant,
    left: VecDeque<Try<'a>>,
    judged: Judged,
    began: Instant,
    started: bool,
}

/// How long judging may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For one mutant.
    pub(crate) each: Duration,
    /// After this no further one is begun.
    pub(crate) total: Option<Duration>,
    /// Long models to their own bound for mutants with a reason too.
    pub(crate) long: bool,
}

/// Judges the mutants that have no verdict yet; the keys of those whom their suspects
/// left alive.
pub(crate) fn judge(
    tree: &Tree,
    chosen: &[&Mutant],
    verdicts: &mut Verdicts,
    limits: Limits,
    by: By,
) -> Result<Vec<String>> {
    let budget = limits.each;
    let mut waiting = VecDeque::new();
    let mut seconds = 0.0;
    for mutant in chosen {
        if verdicts.judged.contains_key(&mutant.key) {
            continue;
        }
        let mut models = relevant(tree, verdicts, mutant, limits.long);
        if by == By::Suspect {
            let suspect = verdicts.hints.get(&mutant.key);
            models.retain(|t| suspect.is_some_and(|s| *s == t.model.id()));
            if models.is_empty() {
                continue;
            }
        }
        seconds += models
            .iter()
            .map(|t| if t.tight { 0.0 } else { t.seconds })
            .sum::<f64>()
            .min(budget.as_secs_f64());
        waiting.push_back(Case {
            mutant,
            left: models.into(),
            judged: Judged {
                mutant: mutant.key.clone(),
                killer: None,
                why: String::new(),
                late: vec![],
                models: 0,
                seconds: 0.0,
                budget: budget.as_secs(),
                shallow: is_shallow(tree, &mutant.key, limits.long),
            },
            began: Instant::now(),
            started: false,
        });
    }
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let whom = match by {
        By::Suspect => "by what killed them before",
        By::All => "by all that reach them",
    };
    ui::note(&format!(
        "{} mutants to judge {whom}, {} each at most: {} if all of them survive",
        waiting.len(),
        ui::seconds(budget),
        ui::seconds({
            let worst = Duration::from_secs_f64(seconds / pool::width() as f64);
            limits
                .total
                .map_or(worst, |total| worst.min(total + budget))
        }),
    ));
    let mut source = Cases {
        tree,
        total: waiting.len(),
        waiting,
        verdicts,
        budget,
        until: limits.total.map(|total| Instant::now() + total),
        counts: BTreeMap::new(),
        by,
        spared: Vec::new(),
        task: Task::new("mutants"),
    };
    pool::run(pool::width(), &mut source)?;
    source.task.done("");
    Ok(source.spared)
}

struct Cases<'a> {
    tree: &'a Tree,
    total: usize,
    waiting: VecDeque<Case<'a>>,
    verdicts: &'a mut Verdicts,
    budget: Duration,
    /// When no further one is begun.
    until: Option<Instant>,
    counts: BTreeMap<&'static str, usize>,
    by: By,
    /// Whom their suspects left alive.
    spared: Vec<String>,
    task: Task,
}

impl<'a> Cases<'a> {
    fn close(&mut self, mut case: Case<'a>) -> Result<()> {
        case.judged.seconds = case.began.elapsed().as_secs_f64();
        let word = match &case.judged {
            j if j.killer.is_some() => "killed",
            j if !j.late.is_empty() => "not ended",
            j if j.models == 0 => "not reached",
            _ => "not killed",
        };
        *self.counts.entry(word).or_default() += 1;
        if self.by == By::Suspect && case.judged.killer.is_none() {
            // One that did not end has not said anything.
            if case.judged.late.is_empty() {
                self.spared.push(case.judged.mutant);
            }
            return Ok(());
        }
        self.verdicts.judged(case.judged)
    }
}

impl<'a> Source<(Case<'a>, Try<'a>)> for Cases<'a> {
    fn next(&mut self) -> Option<Work<(Case<'a>, Try<'a>)>> {
        loop {
            let mut case = self.waiting.pop_front()?;
            if !case.started {
                case.began = Instant::now();
                if self.until.is_some_and(|until| case.began >= until) {
                    continue;
                }
            }
            let left = self.budget.saturating_sub(case.began.elapsed());
            match case.left.pop_front() {
                Some(next) if left.is_zero() => {
                    let late = format!("{} and later ones", next.model.id());
                    case.judged.late.push(late);
                }
                Some(next) => {
                    let mut command = self.tree.command(next.model);
                    command.env("UMBRA_MUTANT", case.mutant.choice());
                    if next.tight {
                        command.env("LOOM_MAX_PREEMPTIONS", "1");
                    }
                    let limit = limit(next.seconds).min(left);
                    return Some(Work {
                        tag: (case, next),
                        command,
                        limit,
                    });
                }
                None => {}
            }
            if let Err(error) = self.close(case) {
                // The next verdict will meet the same error and report it.
                ui::note(&error.to_string());
            }
        }
    }

    fn ended(&mut self, (mut case, tried): (Case<'a>, Try<'a>), ended: Ended) -> Result<()> {
        let model = tried.model;
        case.judged.models += usize::from(!tried.tight);
        case.started = true;
        let outcome = Outcome::of(model.id(), &ended);
        match outcome.verdict {
            // Whoever ended it, it was no execution of the model.
            models::Verdict::Red if outcome.failed_in.is_none() => {
                case.judged
                    .late
                    .push(format!("{} (no execution failed)", model.id()));
            }
            models::Verdict::Red => {
                case.judged.killer = Some(model.id());
                case.judged.why = outcome.why;
                return self.close(case);
            }
            models::Verdict::Late => case.judged.late.push(model.id()),
            models::Verdict::Green | models::Verdict::Cut => {}
        }
        self.waiting.push_front(case);
        Ok(())
    }

    fn tick(&mut self) {
        let done: usize = self.counts.values().sum();
        let words: Vec<String> = self
            .counts
            .iter()
            .map(|(word, n)| format!("{n} {word}"))
            .collect();
        self.task
            .progress(&words.join(", "), done as u64, self.total as u64);
    }
}

/// Runs all models on all that was called equivalent at once. Two that are each
/// harmless may not be so together; then at most one of them can be taken into
/// the source. What came of it, and whether all was green.
pub(crate) fn together(tree: &Tree, rows: &[Row], verdicts: &Verdicts) -> Result<(String, bool)> {
    let equivalent: Vec<&Row> = rows
        .iter()
        .filter(|r| r.verdict == Verdict::Equivalent && r.models > 0)
        .collect();
    if equivalent.len() < 2 {
        return Ok((String::new(), true));
    }
    let name = format!("{} equivalent ones together", equivalent.len());
    let choice: Vec<&str> = equivalent.iter().map(|r| r.choice.as_str()).collect();
    let choice = choice.join(",");
    let mut red = Vec::new();
    let task = Task::new(&name);
    let mut source = Together {
        tree,
        choice,
        left: tree
            .models
            .iter()
            .filter(|m| verdicts.baselines.contains_key(&m.id()))
            .map(|m| (verdicts.baselines[&m.id()].seconds, m))
            .collect(),
        red: &mut red,
        task: &task,
    };
    pool::run(pool::width(), &mut source)?;
    task.done("");
    let said = if red.is_empty() {
        format!("{name}: every model is green")
    } else {
        format!(
            "{name}: {} not green, so they rest on one another",
            red.join(", ")
        )
    };
    Ok((said, red.is_empty()))
}

struct Together<'a> {
    tree: &'a Tree,
    choice: String,
    left: VecDeque<(f64, &'a Model)>,
    red: &'a mut Vec<String>,
    task: &'a Task,
}

impl<'a> Source<&'a Model> for Together<'a> {
    fn next(&mut self) -> Option<Work<&'a Model>> {
        let (seconds, model) = self.left.pop_front()?;
        let mut command = self.tree.command(model);
        command.env("UMBRA_MUTANT", &self.choice);
        Some(Work {
            tag: model,
            command,
            limit: limit(seconds),
        })
    }

    fn ended(&mut self, model: &'a Model, ended: Ended) -> Result<()> {
        if !ended.ok() {
            self.red.push(model.id());
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.task.progress("left", self.left.len() as u64, 0);
    }
}
