//! `cargo xtask mutate`: does some model notice when an ordering is too weak?
//!
//! ```text
//!  sources ── sites ── mutants ── one instrumented build ──┐
//!                                                          ├─ each mutant against
//!  all models, none chosen: green, and which sites each    │  the models that reach
//!  one reaches ────────────────────────────────────────────┘  it, the quickest first
//! ```
//! | verdict | meaning | fails the command |
//! |---|---|---|
//! | killed | a model went red | |
//! | equivalent, limit | all stayed green, and the book says why that is right | |
//! | unreached | no model runs the site | always |
//! | timeout | no model went red, and one did not end | always |
//! | survived | all stayed green | always |
//!
//! Verdicts are saved one by one and hold as long as the sources, the models and the
//! named mutants are the same, so an interrupted run goes on where it was. One that
//! was not killed is judged again if more is asked: a longer `--budget`, `--long`, a
//! reason that is no more.

mod mutants;
mod report;
mod runner;
mod sites;
mod tree;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;

pub(crate) use mutants::{Place, read_to_show};
pub(crate) use tree::{Tree, prepare, update};

use crate::error::{Error, Result};
use crate::models::schedule;
use crate::paths::{self, Paths};
use crate::proc;
use crate::report::table;
use crate::results;
use crate::ui;
use mutants::{Catalogue, Mutant};
use verdicts::{Row, Verdicts};

/// What `cargo xtask mutate` is asked to do.
#[derive(Debug, Args)]
pub(crate) struct MutateArgs {
    /// Only mutants whose key contains this (may be given more than once)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Only mutants of functions that differ from this revision, and those that are
    /// watched by models that do
    #[arg(long, value_name = "REV")]
    changed: Option<String>,
    /// Seconds for one mutant
    #[arg(long, value_name = "SECONDS", default_value = "400", value_parser = clap::value_parser!(u64).range(1..))]
    budget: u64,
    /// Begin no further mutant after so many seconds of judging, models without a mutant
    /// aside; what is left is counted, and no failure. Who is spared by what killed it
    /// before is one
    #[arg(long, value_name = "SECONDS")]
    total: Option<u64>,
    /// Explore long models to their own bound for mutants with a reason too, and not
    /// with one preemption only
    #[arg(long)]
    long: bool,
    /// Forget the verdicts of an earlier run
    #[arg(long)]
    fresh: bool,
    /// List the mutants, with what a reason has to name, and end
    #[arg(long)]
    list: bool,
    /// Write the score and the reasons to loom-tests/RESULTS.md
    #[arg(long, conflicts_with_all = ["only", "changed", "total", "list"])]
    write: bool,
    /// Show the schedule on which a model kills this mutant
    #[arg(long, value_name = "KEY", conflicts_with_all = ["only", "changed", "list", "write"])]
    show: Option<String>,
}

impl MutateArgs {
    /// What a change has touched since `UMBRA_BASE`, for the suite: for a minute and a half.
    pub(crate) fn of_a_change() -> Option<Self> {
        let base = std::env::var("UMBRA_BASE").ok().filter(|b| !b.is_empty());
        base.map(|base| Self {
            only: vec![],
            changed: Some(base),
            budget: 180,
            total: Some(90),
            long: false,
            fresh: false,
            list: false,
            write: false,
            show: None,
        })
    }
}

/// Judges the mutants and writes the reports; how many passed.
pub(crate) fn run(paths: &Paths, args: &MutateArgs) -> Result<usize> {
    if args.list {
        let catalogue = catalogue(paths, args)?;
        for mutant in chosen(paths, &catalogue, args)? {
            let Mutant {
                file,
                line,
                key,
                code,
                ..
            } = mutant;
            println!("{file}:{line}  {key}  (code {code})");
        }
        return Ok(0);
    }
    // Looked at first: often there is nothing to judge, and so nothing to build.
    let catalogue = catalogue(paths, args)?;
    if args.show.is_none() && chosen(paths, &catalogue, args)?.is_empty() {
        ui::note("nothing that was changed has an ordering or a named mutant, or watches one");
        return Ok(0);
    }
    let tree = prepare(paths, catalogue)?;
    let mut verdicts = Verdicts::open(paths, &tree, args.fresh)?;
    if let Some(key) = &args.show {
        return show(paths, &tree, &mut verdicts, key, args).map(|()| 0);
    }
    let chosen = chosen(paths, &tree.catalogue, args)?;
    judge(paths, &tree, &chosen, &mut verdicts, args)?;
    let rows = verdicts.rows(&tree.catalogue, &chosen);
    let left = chosen.len() - rows.len();
    if left > 0 {
        ui::note(&format!(
            "{left} mutants are not judged, for the time was up; the same command goes on"
        ));
    }
    let (together, green) = runner::together(&tree, &rows, &verdicts)?;
    let dir = paths.dir("mutate")?;
    let report = report::write(&dir, &tree, &rows, &together)?;
    let (head, cells) = score(&rows);
    println!("{}", table(&head, &cells));
    if !together.is_empty() {
        println!("{together}");
    }
    println!("report: {}", paths::short(&report));
    let passed = verdict(&rows, report)?;
    if !green {
        return Err(Error::Refused {
            what: together,
            help: "of those that a reason calls equivalent, one is needed by another: \
                   strengthen it again, or change its reason"
                .into(),
        });
    }
    // Only what holds: the killers of a run that did not end would be lost.
    if args.write {
        results::write(paths, "mutants", &report::markdown(&rows, &together))?;
        verdicts.write_killers(paths)?;
    }
    Ok(passed)
}

/// Judges the chosen ones: by what killed them before, alone, and what survives that by
/// all models that reach it.
fn judge(
    paths: &Paths,
    tree: &tree::Tree,
    chosen: &[&Mutant],
    verdicts: &mut Verdicts,
    args: &MutateArgs,
) -> Result<()> {
    let shallow = |key: &str| runner::is_shallow(tree, key, args.long);
    verdicts.demand(chosen, args.budget, shallow);
    let mut limits = runner::Limits {
        each: Duration::from_secs(args.budget),
        total: args.total.map(Duration::from_secs),
        long: args.long,
    };
    let killers = verdicts.suspects(chosen);
    runner::baseline(paths, tree, verdicts, |m| killers.contains(&m.id()))?;
    let began = Instant::now();
    let spared = runner::judge(tree, chosen, verdicts, limits, runner::By::Suspect)?;
    limits.total = limits.total.map(|t| t.saturating_sub(began.elapsed()));
    if limits.total.is_some() && !spared.is_empty() {
        // To ask all the others takes longer than whoever sets a limit has.
        return Err(Error::Refused {
            what: format!(
                "what killed these before lets them live now:\n{}",
                spared.join("\n")
            ),
            help: "`cargo xtask mutate --only 'KEY'` asks all models, without a limit".into(),
        });
    }
    if verdicts.unjudged(chosen) == 0 || limits.total.is_some_and(|t| t.is_zero()) {
        return Ok(());
    }
    runner::baseline(paths, tree, verdicts, |_| true)?;
    runner::judge(tree, chosen, verdicts, limits, runner::By::All).map(drop)
}

/// All mutants; each name that was given is one's.
fn catalogue(paths: &Paths, args: &MutateArgs) -> Result<Catalogue> {
    let catalogue = mutants::read(paths.root())?;
    for part in &args.only {
        if !catalogue.mutants.iter().any(|m| m.key.contains(part)) {
            return Err(unknown(part));
        }
    }
    if let Some(key) = &args.show {
        named(&catalogue, key)?;
    }
    Ok(catalogue)
}

fn unknown(name: &str) -> Error {
    Error::Refused {
        what: format!("no mutant is called `{name}`"),
        help: "`cargo xtask mutate --list` has them all".into(),
    }
}

fn named<'a>(catalogue: &'a Catalogue, key: &str) -> Result<&'a Mutant> {
    let mut all = catalogue.mutants.iter();
    all.find(|m| m.key == key).ok_or_else(|| unknown(key))
}

/// Shows how a mutant dies: by what killed it before, if that still does, or by what
/// kills it now.
fn show(
    paths: &Paths,
    tree: &tree::Tree,
    verdicts: &mut Verdicts,
    key: &str,
    args: &MutateArgs,
) -> Result<()> {
    let mutant = named(&tree.catalogue, key)?;
    println!("{}:{}: {key}", mutant.file, mutant.line);
    if !mutant.about.is_empty() {
        println!("{}", mutant.about);
    }
    let show = |killer: Option<&str>| match tree.models.iter().find(|m| killer == Some(&m.id())) {
        Some(model) => {
            let told = [("UMBRA_MUTANT", &*mutant.choice()), tree::DEEP];
            let told = told.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
            schedule::of(paths, tree, model, told, schedule::LIMIT)
        }
        None => Ok(false),
    };
    if show(verdicts.killer(key))? {
        return Ok(());
    }
    judge(paths, tree, &[mutant], verdicts, args)?;
    let rows = verdicts.rows(&tree.catalogue, &[mutant]);
    let row = rows.first();
    if !show(row.and_then(|r| r.killer.as_deref()))? {
        println!("{key}: {}", row.map_or("not judged", |r| r.verdict.word()));
    }
    Ok(())
}

/// The mutants that were asked for.
fn chosen<'a>(paths: &Paths, all: &'a Catalogue, args: &MutateArgs) -> Result<Vec<&'a Mutant>> {
    let (touched, models) = match &args.changed {
        Some(revision) => {
            let touched = touched(paths, all, revision)?;
            (Some(touched), Models::changed(paths, revision)?)
        }
        None => (None, Models::default()),
    };
    Ok(all
        .mutants
        .iter()
        .filter(|m| args.only.is_empty() || args.only.iter().any(|p| m.key.contains(p.as_str())))
        .filter(|m| {
            touched.as_ref().is_none_or(|t| {
                t.contains(&(m.file.clone(), m.function.clone())) || models.watch(m)
            })
        })
        .collect())
}

fn git(paths: &Paths, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(paths.root()).args(arguments);
    command
}

/// What is not as it was of the models and their books.
#[derive(Default)]
struct Models {
    /// What all models are made of.
    all: bool,
    /// The named mutants, or a reason.
    books: bool,
    /// Files of models.
    files: BTreeSet<String>,
    killers: BTreeMap<String, String>,
}

impl Models {
    fn changed(paths: &Paths, revision: &str) -> Result<Self> {
        const OURS: &str = "loom-tests";
        let mut files = proc::output(git(paths, &["diff", "--name-only", revision, "--", OURS]))?;
        let new = ["ls-files", "--others", "--exclude-standard", "--", OURS];
        files.extend(proc::output(git(paths, &new))?);
        let within = |folder: &str| {
            let folder = format!("{OURS}/{folder}/");
            let names = files
                .iter()
                .filter_map(|f| f.strip_prefix(&folder).map(str::to_owned));
            names.collect::<Vec<_>>()
        };
        let models = within("tests");
        let models = models.iter().filter_map(|f| f.strip_suffix(".rs"));
        Ok(Self {
            all: !within("src").is_empty(),
            books: within("mutants").iter().any(|f| f.ends_with(".toml")),
            files: models.map(str::to_owned).collect(),
            killers: Verdicts::killers(paths)?,
        })
    }

    /// Whether a change of them may have to do with whether this mutant dies.
    fn watch(&self, mutant: &Mutant) -> bool {
        let killer = self.killers.get(&mutant.key);
        let file = killer.and_then(|k| k.split_once("::"));
        let named = !mutant.about.is_empty();
        self.all
            || self.books && (named || killer.is_none())
            || file.is_some_and(|(file, _)| self.files.contains(file))
    }
}

/// The functions whose code is not what it was in a revision.
fn touched(paths: &Paths, all: &Catalogue, revision: &str) -> Result<BTreeSet<(String, String)>> {
    let commit = format!("{revision}^{{commit}}");
    proc::output(git(paths, &["rev-parse", "--verify", "--quiet", &commit])).map_err(|_| {
        Error::Refused {
            what: format!("git knows no revision `{revision}`"),
            help: "--changed takes what `git diff` takes: main, HEAD~3, a commit".into(),
        }
    })?;
    let mut touched = BTreeSet::new();
    for source in &all.sources {
        // A file that was not there then, or that cannot be read as it was, is
        // new as a whole.
        let before = proc::output(git(
            paths,
            &["show", &format!("{revision}:{}", source.file)],
        ))
        .ok()
        .and_then(|lines| sites::find(&lines.join("\n")).ok())
        .unwrap_or_default();
        for mutant in all.mutants.iter().filter(|m| m.file == source.file) {
            if before.code(&mutant.function).as_deref() != Some(mutant.code.as_str()) {
                touched.insert((mutant.file.clone(), mutant.function.clone()));
            }
        }
    }
    Ok(touched)
}

/// How many of each file fared how.
fn score(rows: &[Row]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let mut files: Vec<&str> = rows.iter().map(|r| r.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let words = report::VERDICTS.map(|(verdict, _)| verdict.word());
    let line = |name: &str, of: &dyn Fn(&Row) -> bool| {
        let mut cells = vec![name.to_owned()];
        cells.push(rows.iter().filter(|r| of(r)).count().to_string());
        for word in words {
            let n = rows.iter().filter(|r| of(r) && r.verdict.word() == word);
            cells.push(n.count().to_string());
        }
        cells
    };
    let mut cells: Vec<Vec<String>> = files
        .iter()
        .map(|file| line(file, &|r: &Row| r.file == *file))
        .collect();
    cells.push(line("all", &|_| true));
    (
        ["file", "mutants"].into_iter().chain(words).collect(),
        cells,
    )
}

/// Fails the command if a mutant has no right to live.
fn verdict(rows: &[Row], report: PathBuf) -> Result<usize> {
    let lines: Vec<String> = rows
        .iter()
        .filter_map(|r| {
            let complaint = r.complaint()?;
            Some(format!(
                "{}:{}: {} {complaint} (code {})",
                r.file, r.line, r.key, r.code
            ))
        })
        .collect();
    let bad = lines.len();
    println!("{} passed, {bad} failed", rows.len() - bad);
    if bad == 0 {
        return Ok(rows.len());
    }
    Err(Error::Mutants { lines, report })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_are_true_of_the_sources() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let all = mutants::read(&root).expect("every entry of the books still holds");
        let keys: BTreeSet<&str> = all.mutants.iter().map(|m| m.key.as_str()).collect();
        assert_eq!(keys.len(), all.mutants.len(), "a key names one mutant");
        assert!(all.mutants.iter().any(|m| m.file == "state/src/gate.rs"));
    }

    #[test]
    fn a_change_of_models_is_about_what_they_watch() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let all = mutants::read(&root).expect("the books hold");
        let paths = Paths::new().expect("in the checkout");
        let killers = Verdicts::killers(&paths).expect("they are kept");
        let watched = |models: &Models| all.mutants.iter().filter(|m| models.watch(m)).count();
        let models = |file: Option<&str>| Models {
            files: file.into_iter().map(str::to_owned).collect(),
            killers: killers.clone(),
            ..Models::default()
        };
        assert_eq!(watched(&models(None)), 0);
        // (What is kept of a mutant that is no more counts for nothing.)
        let killed_by = |m: &&Mutant| {
            killers
                .get(&m.key)
                .is_some_and(|k| k.starts_with("attic::"))
        };
        let of_attic = all.mutants.iter().filter(killed_by).count();
        assert!(of_attic > 0);
        assert_eq!(watched(&models(Some("attic"))), of_attic);
        let everything = Models {
            all: true,
            ..models(None)
        };
        assert_eq!(watched(&everything), all.mutants.len());
        let named = all.mutants.iter().filter(|m| !m.about.is_empty()).count();
        let books = Models {
            books: true,
            ..models(None)
        };
        assert!(watched(&books) >= named && watched(&books) < all.mutants.len());
    }

    #[test]
    fn a_mutant_that_does_not_exist_is_refused_before_anything_is_built() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: MutateArgs,
        }
        let paths = Paths::new().expect("in the checkout");
        for options in [
            &["--show", "no-such"][..],
            &["--only", "refcount", "--only", "no-such"],
            &["--only", "no-such", "--changed", "HEAD"],
            &["--only", "no-such", "--list"],
        ] {
            let line = <Line as clap::Parser>::parse_from([&["mutate"], options].concat());
            let refused = run(&paths, &line.args).expect_err("nothing to judge");
            assert!(
                refused
                    .to_string()
                    .contains("no mutant is called `no-such`")
            );
        }
    }
}
