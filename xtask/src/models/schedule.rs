//! A model that failed, step by step.
//!
//! ```text
//!  run until red ── which execution ── run up to it, saved by loom as a checkpoint
//!                                        │
//!                  the one execution again, logged ── a column for each thread
//! ```
//! All of it happens in the instrumented copy ([`crate::mutate`]): loom's log
//! says which atomic was touched, but not from where; the copy says where.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Model, Outcome, Verdict, remove};
use crate::error::{Error, Result};
use crate::mutate::{self, Place, prepare, read_to_show};
use crate::paths::{self, Paths};
use crate::pool::{self, Ended, Source, Work};
use crate::ui::{self, Task, clip};

/// A replay takes one execution; this is for one that spins.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// What a model is told besides: `(name, value)`.
pub(crate) type Environment = Vec<(String, String)>;

/// A failing execution, saved.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    model: String,
    name: String,
    /// The program, and the hash of it.
    exe: PathBuf,
    build: String,
    dir: PathBuf,
    /// What the program was told: what to weaken, how far to go.
    environment: Environment,
    /// Loom's file; none if the first execution fails.
    checkpoint: Option<PathBuf>,
    execution: u64,
    /// What it said when it failed.
    why: String,
    /// The hash of the sources that it is of.
    content: String,
    /// The sites, for the places in the schedule.
    sites: Vec<(String, usize, String, String)>,
}

/// Finds the failing execution of a model in the instrumented copy, and prints it.
pub(crate) fn show(
    paths: &Paths,
    model: &Model,
    outcome: &Outcome,
    environment: Environment,
    limit: Duration,
) -> Result<()> {
    let tree = prepare(paths, read_to_show(paths.root())?)?;
    let same = tree.models.iter().find(|m| m.id() == model.id());
    match same {
        Some(model) => of(paths, &tree, model, environment, limit).map(drop),
        None => {
            ui::note(&format!(
                "{} is not in the instrumented copy: no schedule",
                outcome.model
            ));
            Ok(())
        }
    }
}

/// As [`show`], with the copy at hand; whether it failed there. A run up to the failure
/// may take `limit`.
pub(crate) fn of(
    paths: &Paths,
    tree: &mutate::Tree,
    model: &Model,
    environment: Environment,
    limit: Duration,
) -> Result<bool> {
    let command = || {
        let mut command = model.command(&tree.dir);
        command.envs(environment.iter().cloned());
        command
    };
    let task = Task::new(&format!("the execution in which {} fails", model.id()));
    let first = Outcome::of(model.id(), &once(command(), limit, &task, "looked for")?);
    if first.verdict != Verdict::Red {
        task.done("");
        ui::note(&format!(
            "{} is {} in the instrumented copy: no schedule",
            model.id(),
            first.verdict.word()
        ));
        return Ok(false);
    }
    let dir = paths.dir("loom")?;
    let checkpoint = dir.join(format!("{}.checkpoint", model.name));
    remove(&checkpoint)?;
    remove(&note(&checkpoint))?;
    // Of a model's parts only the one that failed is of interest from here on.
    let mut environment = environment;
    if let Some(part) = &first.failed_part {
        environment.push(("UMBRA_LOOM_PART".into(), part.clone()));
    }
    let command = || {
        let mut command = model.command(&tree.dir);
        command.envs(environment.iter().cloned());
        command
    };
    // Loom saves its place before each execution whose number the interval
    // divides; one that does not count is saved before each of them.
    let execution = first.failed_in.unwrap_or(0);
    let saved = execution != 1;
    if saved {
        let mut again = command();
        again
            .env("LOOM_CHECKPOINT_FILE", &checkpoint)
            .env("LOOM_CHECKPOINT_INTERVAL", execution.max(1).to_string());
        once(again, limit, &task, "gone to")?;
    }
    task.done("");
    let file = dir.join(format!("{}.json", model.name));
    let saved = Saved {
        model: model.id(),
        name: model.name.clone(),
        exe: model.exe.clone(),
        build: build(&model.exe)?,
        dir: tree.dir.clone(),
        environment,
        checkpoint: saved.then_some(checkpoint),
        execution,
        why: first.why,
        content: tree.content.clone(),
        sites: tree.catalogue.places.iter().map(place).collect(),
    };
    let text = serde_json::to_string_pretty(&saved).unwrap_or_default();
    fs::write(&file, text).map_err(Error::io("write", &file))?;
    repeat(paths, &file)?;
    Ok(true)
}

fn place(place: &Place) -> (String, usize, String, String) {
    let site = &place.site;
    let what = match site.receiver.as_str() {
        "" => site.operation.clone(),
        receiver => format!("{receiver}.{}", site.operation),
    };
    (
        place.file.clone(),
        site.line,
        site.function.clone(),
        clip(&what, 40),
    )
}

/// Prints the schedule of a saved execution.
pub(crate) fn repeat(paths: &Paths, file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).map_err(Error::io("read", file))?;
    let saved: Saved = serde_json::from_str(&text).map_err(|e| Error::OtherBuild {
        file: file.to_path_buf(),
        why: format!("it is no saved execution of this version: {e}"),
        model: "NAME".into(),
    })?;
    let other = |why: &str| Error::OtherBuild {
        file: file.to_path_buf(),
        why: why.to_owned(),
        model: saved.name.clone(),
    };
    match build(&saved.exe) {
        Ok(now) if now == saved.build => {}
        Ok(_) => return Err(other("the program has been built anew since")),
        Err(_) => return Err(other("the program is gone")),
    }
    let model = Model {
        file: String::new(),
        exe: saved.exe.clone(),
        name: saved.name.clone(),
        explores: true,
    };
    let mut command = model.command(&saved.dir);
    command
        .envs(saved.environment)
        .env("UMBRA_STEPS", "1")
        .env("LOOM_LOG", "trace")
        .env("LOOM_LOCATION", "1");
    if let Some(checkpoint) = &saved.checkpoint {
        if !checkpoint.exists() {
            return Err(other("loom's checkpoint is gone"));
        }
        command
            .env("LOOM_CHECKPOINT_FILE", checkpoint)
            .env("LOOM_CHECKPOINT_INTERVAL", u32::MAX.to_string());
    }
    let task = Task::new("that execution once more");
    let ended = once(command, LIMIT, &task, "replayed")?;
    task.done("");
    let outcome = Outcome::of(saved.model.clone(), &ended);
    if ended.ok() {
        return Err(other("its execution does not fail any more"));
    }
    // (The places in what follows are told in a replay only.)
    if outcome.why.lines().next() != saved.why.lines().next() {
        return Err(other(&format!("it fails otherwise now: {}", outcome.why)));
    }
    let steps = steps(&ended.lines, &saved.sites);
    let execution = match saved.execution {
        0 => "its last execution".into(),
        n => format!("execution {n}"),
    };
    println!("\n{}, {execution}:\n{}", saved.model, columns(&steps));
    // The copy's lines are the sources' own.
    let copy = saved.dir.parent().unwrap_or(&saved.dir);
    let copy = format!("{}/", copy.display());
    println!("{}\n", outcome.why.replace(&copy, ""));
    if mutate::update(paths, &read_to_show(paths.root())?)?.1 != saved.content {
        ui::note("the sources have changed since: this is the program as it was");
    }
    println!(
        "this execution again: cargo xtask loom --replay {}",
        paths::short(file)
    );
    Ok(())
}

/// Loom's checkpoint has a note beside it (`umbra_loom::explore`).
fn note(checkpoint: &Path) -> PathBuf {
    let mut name = checkpoint.as_os_str().to_owned();
    name.push(".build");
    name.into()
}

fn build(exe: &Path) -> Result<String> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let bytes = fs::read(exe).map_err(Error::io("read", exe))?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// Runs one program, for a limited time.
fn once(command: Command, limit: Duration, task: &Task, what: &str) -> Result<Ended> {
    struct Once<'a> {
        command: Option<Command>,
        limit: Duration,
        ended: Option<Ended>,
        task: &'a Task,
        what: &'a str,
    }
    impl Source<()> for Once<'_> {
        fn next(&mut self) -> Option<Work<()>> {
            Some(Work {
                tag: (),
                command: self.command.take()?,
                limit: self.limit,
            })
        }
        fn ended(&mut self, (): (), ended: Ended) -> Result<()> {
            self.ended = Some(ended);
            Ok(())
        }
        fn tick(&mut self) {
            self.task.at(self.what);
        }
    }
    let mut once = Once {
        command: Some(command),
        limit,
        ended: None,
        task,
        what,
    };
    pool::run(1, &mut once)?;
    once.ended.ok_or_else(|| Error::Refused {
        what: "a model ended without a result".into(),
        help: "run the command again".into(),
    })
}

/// One thing that a thread did.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    thread: usize,
    what: String,
    place: String,
}

/// Reads loom's log and the sites that stand in it.
fn steps(lines: &[String], sites: &[(String, usize, String, String)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut thread = 0;
    // The site that each thread has passed last: its next operation is there.
    let mut passed: BTreeMap<usize, usize> = BTreeMap::new();
    for line in lines {
        if let Some(id) = line.strip_prefix("@site ") {
            let Ok(id) = id.trim().parse::<usize>() else {
                continue;
            };
            // A fence leaves no line of its own in the log.
            if let Some((file, at, _, what)) = sites.get(id)
                && what == "fence"
            {
                steps.push(Step {
                    thread,
                    what: "fence".into(),
                    place: format!("{file}:{at}"),
                });
            } else if id < sites.len() {
                passed.insert(thread, id);
            }
            continue;
        }
        // What comes after the failure is the clean-up of the wreck.
        if line.contains("panicked at ") {
            break;
        }
        if let Some(id) = between(line, "thread{id=", "}") {
            thread = id.parse().unwrap_or(thread);
        }
        let Some(event) = event(line) else { continue };
        let mut what = event;
        let mut place = between(line, "location=", " ").unwrap_or_default();
        if what.starts_with("Atomic::")
            && let Some((file, at, function, call)) =
                passed.remove(&thread).and_then(|i| sites.get(i))
        {
            place = format!("{file}:{at}");
            what = format!(
                "{call} {} in {function}",
                what.split_once(' ').map_or("", |w| w.1)
            );
        }
        steps.push(Step {
            thread,
            what,
            place: place.replace("tests/", "loom-tests/tests/"),
        });
    }
    steps
}

/// What a line of the log tells, if it is a step of the program.
fn event(line: &str) -> Option<String> {
    let object = between(line, "State>(", ")").unwrap_or_default();
    let (_, rest) = line.split_once("Atomic::").map_or_else(
        || line.split_once("loom::").unwrap_or(("", "")),
        |(_, r)| ("", r),
    );
    if line.contains("Atomic::") {
        let operation = rest.split(' ').next()?;
        let order = between(line, "ordering=", " ")
            .or_else(|| between(line, "success=", " "))
            .unwrap_or_default();
        return match operation {
            "load" | "store" | "rmw" => Some(format!("Atomic::{operation} {order} @{object}")),
            _ => None,
        };
    }
    if line.contains("loom::rt: spawn ") {
        return Some("spawns a thread".into());
    }
    if line.contains("yield_now") {
        return Some("yields".into());
    }
    if line.contains("Notify::wait 1") {
        return Some("waits for a thread".into());
    }
    if line.contains("thread_done: terminate") {
        return Some("ends".into());
    }
    if line.contains("Allocation::drop") {
        return Some("drops a tracked value".into());
    }
    None
}

fn between(line: &str, left: &str, right: &str) -> Option<String> {
    let from = line.split_once(left)?.1;
    Some(from.split(right).next().unwrap_or(from).to_owned())
}

/// Steps that are shown of a schedule without end: its beginning, and its last ones.
const HEAD: usize = 400;
const TAIL: usize = 60;
/// Characters of a cell.
const CELL: usize = 72;

/// The steps from the first spawn on, a column for each thread.
fn columns(steps: &[Step]) -> String {
    let spawn = steps.iter().position(|s| s.what.starts_with("spawns"));
    let from = spawn.unwrap_or(0);
    let shown = &steps[from..];
    let threads = shown.iter().map(|s| s.thread).max().unwrap_or(0) + 1;
    // What is too long is cut before the place, which says where to look.
    let cell = |step: &Step| {
        let file = step.place.rsplit('/').next().unwrap_or_default();
        let gap = if file.is_empty() { "" } else { "  " };
        let room = CELL.saturating_sub(gap.len() + file.chars().count());
        format!("{}{gap}{file}", clip(&step.what, room.saturating_sub(1)))
    };
    let mut widths: Vec<usize> = (0..threads).map(|t| format!("thread {t}").len()).collect();
    for step in shown {
        let width = cell(step).chars().count();
        widths[step.thread] = widths[step.thread].max(width);
    }
    let mut out = String::new();
    if from > 0 {
        let _ = writeln!(out, "  ({from} steps before the first thread is spawned)");
    }
    let row = |number: &str, cells: &[String]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(c, w)| format!("{c}{}", " ".repeat(w.saturating_sub(c.chars().count()))))
            .collect();
        format!("{number:>5} │ {}", cells.join(" │ "))
            .trim_end()
            .to_owned()
    };
    let heads: Vec<String> = (0..threads).map(|t| format!("thread {t}")).collect();
    let _ = writeln!(out, "{}", row("", &heads));
    let left_out = HEAD..shown.len().saturating_sub(TAIL);
    for (i, step) in shown.iter().enumerate() {
        if left_out.contains(&i) {
            if i == left_out.start {
                let steps = left_out.len();
                let _ = writeln!(out, "      │ ({steps} steps left out: does it end?)");
            }
            continue;
        }
        let mut cells = vec![String::new(); threads];
        cells[step.thread] = cell(step);
        let _ = writeln!(out, "{}", row(&(from + i + 1).to_string(), &cells));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<String> {
        [
            "TRACE iter{1}: loom::rt::arc: Arc::new state=Ref<loom::rt::arc::State>(1) location=tests/state.rs:253:20",
            "@site 0",
            "TRACE iter{1}:thread{id=0}: loom::rt::atomic: Atomic::load state=Ref<loom::rt::atomic::State>(2) ordering=Acquire",
            "TRACE iter{1}:thread{id=0}: loom::rt: spawn thread=Id(1)",
            "@site 1",
            "TRACE iter{1}:thread{id=0}: loom::rt: branch switch=true",
            " INFO iter{1}:thread{id=1}: loom::rt::execution: ~~~~~~~~ THREAD 1 ~~~~~~~~",
            "@site 2",
            "@site 0",
            "TRACE iter{1}:thread{id=1}: loom::rt::atomic: Atomic::load state=Ref<loom::rt::atomic::State>(3) ordering=Relaxed",
            " INFO iter{1}:thread{id=0}: loom::rt::execution: ~~~~~~~~ THREAD 0 ~~~~~~~~",
            "TRACE iter{1}:thread{id=0}: loom::rt::atomic: Atomic::store state=Ref<loom::rt::atomic::State>(3) ordering=Release",
            "thread 'x' (1) panicked at a.rs:1:1:",
            "TRACE iter{1}:thread{id=0}: loom::rt::atomic: Atomic::store state=Ref<loom::rt::atomic::State>(3) ordering=Release",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn sites() -> Vec<(String, usize, String, String)> {
        [
            ("state/src/gate.rs", 38, "Gate::is_open", "self.0.load"),
            ("state/src/gate.rs", 44, "Gate::open", "self.0.store"),
            ("shadow/src/a.rs", 9, "f", "fence"),
        ]
        .map(|(a, b, c, d)| (a.to_owned(), b, c.to_owned(), d.to_owned()))
        .to_vec()
    }

    #[test]
    fn an_operation_belongs_to_the_site_that_its_own_thread_passed() {
        let steps = steps(&log(), &sites());
        let seen: Vec<(usize, &str, &str)> = steps
            .iter()
            .map(|s| (s.thread, s.what.as_str(), s.place.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (
                    0,
                    "self.0.load Acquire @2 in Gate::is_open",
                    "state/src/gate.rs:38"
                ),
                (0, "spawns a thread", ""),
                (1, "fence", "shadow/src/a.rs:9"),
                (
                    1,
                    "self.0.load Relaxed @3 in Gate::is_open",
                    "state/src/gate.rs:38"
                ),
                (
                    0,
                    "self.0.store Release @3 in Gate::open",
                    "state/src/gate.rs:44"
                ),
            ]
        );
    }

    #[test]
    fn each_thread_has_a_column_and_the_set_up_is_left_out() {
        let table = columns(&steps(&log(), &sites()));
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].contains("1 steps before"));
        assert!(lines[1].contains("thread 0") && lines[1].contains("thread 1"));
        let column = |line: &str| line.split('│').position(|c| c.contains("self.0"));
        assert_eq!(column(lines[4]), Some(2));
        assert_eq!(column(lines[5]), Some(1));
    }

    #[test]
    fn a_schedule_without_end_is_cut_in_the_midst() {
        let step = |i: usize| Step {
            thread: i % 2,
            what: format!("step {i} of many"),
            place: String::new(),
        };
        let of = |steps: usize| columns(&(1..=steps).map(step).collect::<Vec<_>>());
        let whole = of(HEAD + TAIL);
        assert_eq!(whole.lines().count(), 1 + HEAD + TAIL);
        assert!(!whole.contains("left out"));
        let cut = of(50_000);
        assert_eq!(cut.lines().count(), 1 + HEAD + 1 + TAIL);
        assert!(cut.contains("(49540 steps left out") && cut.contains("step 400 of many"));
        assert!(!cut.contains("step 401 of many") && cut.contains("step 49941 of many"));
    }
}
