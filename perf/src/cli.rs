//! What each command does.

use crate::args::{self, Cli, Command, Format, Output, Past, Shape, Sources};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, io};
use umbra_perf::ab;
use umbra_perf::bisect::{self, Question};
use umbra_perf::compare::compare;
use umbra_perf::error::{Error, Result};
use umbra_perf::gate::{self, Origin, Outcome, Verdict};
use umbra_perf::git::Repository;
use umbra_perf::history::History;
use umbra_perf::html::{self, Page};
use umbra_perf::limits::{Limits, Renames};
use umbra_perf::measure::{self, Bench};
use umbra_perf::read::{self, Harvest, Stale};
use umbra_perf::record::{Record, Source};
use umbra_perf::{provenance, report, store};

/// Does what was asked.
pub(crate) fn run(cli: Cli) -> Result<Outcome> {
    match cli.command {
        Command::Record(args) => record(&args).map(|()| Outcome::Fine),
        Command::Compare(args) => {
            let (old, new) = (store::load(&args.old)?, store::load(&args.new)?);
            let comparison = compare(&old, &new, &Renames::default());
            args.output.show(&comparison, report::comparison)?;
            Ok(Outcome::Fine)
        }
        Command::Gate(args) => judge(args),
        Command::Report(args) => make_report(&args).map(|()| Outcome::Fine),
        Command::History(args) => show_history(args).map(|()| Outcome::Fine),
        Command::Bisect(args) => find(&args).map(|()| Outcome::Fine),
        Command::Ab(args) => time(args),
    }
}

fn record(args: &args::Record) -> Result<()> {
    let record = args.sources.record(Purpose::Keep)?;
    if args.out == Path::new("-") {
        return print(&json(&record)?);
    }
    let out = if args.out.is_dir() {
        store::place_in(&args.out, &record, args.prune)?
    } else {
        args.out.clone()
    };
    store::save(&out, &record)?;
    let n = record.benchmarks.len();
    tell(&format!("{n} benchmarks recorded in {}", out.display()));
    Ok(())
}

fn judge(args: args::Gate) -> Result<Outcome> {
    let limits = limits(args.limits.as_deref())?;
    let verdict = match &args.against {
        Some(commit) => against(&args, commit, &limits)?,
        None => {
            let baselines = store::load_all(&args.baselines)?;
            let current = match &args.record {
                Some(path) => store::load(path)?,
                None => args.sources.record(Purpose::Judge)?,
            };
            let baseline = gate::choose(&baselines, &current, Origin::Committed, &args.accept)?;
            gate::judge(&baseline, &current, &limits)
        }
    };
    args.output.show(&verdict, report::verdict)?;
    Ok(verdict.outcome())
}

/// HEAD by another commit, both measured here and now; or rather by what HEAD was
/// built upon. A branch that has gone on since may have got worse, and HEAD would
/// be allowed as much for nothing.
fn against(args: &args::Gate, commit: &str, limits: &Limits) -> Result<Verdict> {
    let repository = repository(&args.sources.project)?;
    let (named, new) = (repository.commit(commit)?, repository.commit("HEAD")?);
    let old = repository.merge_base(&named, &new)?;
    if old != named {
        tell(&format!(
            "{commit} has gone on since: judging by {} {}, which HEAD was built upon",
            old.short(),
            old.subject
        ));
    }
    let target = args.sources.target_dir.as_deref();
    let bench = Bench::new(&repository, &args.command, target)?;
    let measure = |commit: &umbra_perf::git::Commit| {
        tell(&format!("measuring {} {}", commit.short(), commit.subject));
        bench.measure(commit)
    };
    let before = match measure(&old) {
        Err(error) if measure::has_none(&error) => {
            tell(&format!("{} has no such benchmarks: {error}", old.short()));
            None
        }
        before => Some(before?),
    };
    let after = measure(&new)?;
    if let Some(folder) = &args.keep {
        keep(folder, before.as_ref(), &after)?;
    }
    let (name, before) = match before {
        Some(before) => (format!("commit {}", old.short()), before),
        // As if it had been measured: it was made as HEAD is, and has nothing.
        None => (
            format!("commit {}, which has no such benchmarks", old.short()),
            Record::new(after.provenance.clone(), BTreeMap::new()),
        ),
    };
    let baselines = [(name.into(), before)];
    let baseline = gate::choose(&baselines, &after, Origin::Here, &args.accept)?;
    Ok(gate::judge(&baseline, &after, limits))
}

/// Writes what was measured into a folder; what an older run left there is not of
/// this one.
fn keep(folder: &Path, before: Option<&Record>, after: &Record) -> Result<()> {
    let failed = |path: &Path, source| Error::Write {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let old = folder.join("old.json");
    match before {
        Some(before) => store::save(&old, before)?,
        None if old.exists() => {
            std::fs::remove_file(&old).map_err(|error| failed(&old, error))?;
        }
        None => {}
    }
    store::save(&folder.join("new.json"), after)
}

fn make_report(args: &args::Report) -> Result<()> {
    let record = store::load(&args.record)?;
    let older = args.since.as_deref().map(store::load).transpose()?;
    let limits = limits(args.history.limits.as_deref())?;
    let renames = limits.renames();
    let comparison = older.as_ref().map(|old| compare(old, &record, renames));
    let text = match (args.format, &comparison) {
        (Shape::Md, None) => report::record(&record),
        (Shape::Md, Some(comparison)) => report::comparison(comparison),
        (Shape::Json, None) => json(&record)?,
        (Shape::Json, Some(comparison)) => json(comparison)?,
        (Shape::Html, _) => {
            let mut history = args.history.read()?;
            if let Some((path, old)) = args.since.as_ref().zip(older) {
                history.add(path.display().to_string(), old);
            }
            history.add(args.record.display().to_string(), record.clone());
            let page = Page {
                record: &record,
                comparison: comparison.as_ref(),
                series: &history.series(report::plotted, renames),
                history: &history,
            };
            html::report(&page).map_err(|error| output_error(io::Error::other(error)))?
        }
    };
    put(&args.out, &text)
}

fn show_history(mut args: args::History) -> Result<()> {
    let Past {
        committed, records, ..
    } = &mut args.history;
    if committed.is_empty() && records.is_empty() {
        committed.push("perf/baselines".into());
    }
    let places: Vec<_> = committed.iter().chain(records.iter()).collect();
    let places: Vec<_> = places.iter().map(|p| p.display().to_string()).collect();
    let history = args.history.read()?.checked(&places.join(", "))?;
    let limits = limits(args.history.limits.as_deref())?;
    let mut series = history.series(report::shown, limits.renames());
    if let Some(pattern) = &args.benchmark {
        let pattern = umbra_perf::limits::pattern(pattern).map_err(|problem| Error::Content {
            path: "--benchmark".into(),
            problem,
            help: "`*` is any text".to_owned(),
        })?;
        series.retain(|series| pattern.is_match(&series.id));
        if series.is_empty() {
            return Err(Error::Incomparable {
                reason: "no benchmark of the history has such a name".to_owned(),
                help: "without --benchmark all of them are listed".to_owned(),
            });
        }
    }
    args.output
        .show(&series, |series| report::history(&history, series))
}

fn find(args: &args::Bisect) -> Result<()> {
    let repository = repository(&args.project)?;
    let question = Question {
        good: repository.commit(&args.good)?,
        bad: repository.commit(&args.bad)?,
        benchmark: &args.benchmark,
        metric: &args.metric,
        percent: args.limit,
        first_parent: args.first_parent,
    };
    let bench = Bench::new(&repository, &args.command, args.target_dir.as_deref())?;
    let answer = bisect::find(&bench, &question, |step| {
        let value = step
            .value
            .map_or_else(|| "no value".to_owned(), |v| v.to_string());
        let commit = &step.commit;
        tell(&format!("{} {value}: {}", commit.short(), commit.subject));
    })?;
    args.output.show(&answer, report::bisection)
}

fn time(args: args::Ab) -> Result<Outcome> {
    let repository = repository(&args.project)?;
    let (old, new) = (repository.commit(&args.old)?, repository.commit(&args.new)?);
    let plan = ab::Plan {
        benches: args.bench,
        package: args.package,
        filter: args.filter,
        pairs: args.pairs,
        seconds: args.seconds,
        confidence: args.confidence / 100.0,
        block_above: args.block_above,
        target: args.target_dir,
    };
    let copies = [repository.copy()?, repository.copy()?];
    let comparison = ab::run(copies.each_ref(), old, new, &plan, tell)?;
    args.output.show(&comparison, report::wall)?;
    Ok(comparison.outcome())
}

/// The repository whose commits are to be measured.
fn repository(project: &Path) -> Result<Repository> {
    let repository = Repository::around(project)?;
    if repository.is_changed()? {
        tell("warning: commits are measured; what is changed here and not committed is not");
    }
    Ok(repository)
}

fn limits(file: Option<&Path>) -> Result<Limits> {
    file.map_or_else(|| Ok(Limits::default()), Limits::load)
}

/// Says how far a command is, beside its result.
fn tell(what: &str) {
    anstream::eprintln!("{what}");
}

impl Past {
    fn read(&self) -> Result<History> {
        let mut history = History::default();
        for place in &self.committed {
            history.add_committed(place)?;
        }
        for place in &self.records {
            history.add_records(place)?;
        }
        for problem in &history.unreadable {
            tell(&format!("warning: left out of the history: {problem}"));
        }
        Ok(history)
    }
}

impl Output {
    fn show<T: Serialize>(&self, value: &T, markdown: impl Fn(&T) -> String) -> Result<()> {
        let text = match self.format {
            Format::Md => markdown(value),
            Format::Json => json(value)?,
        };
        put(&self.out, &text)
    }
}

fn put(place: &Path, text: &str) -> Result<()> {
    if place == Path::new("-") {
        print(text)
    } else {
        store::write(place, text)
    }
}

/// What the benchmarks' output is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To be recorded: whatever there is.
    Keep,
    /// To be judged: it must be of this code, as far as one can see.
    Judge,
}

/// What to do about output of another run that would be judged.
fn left_over(files: &[&Stale], iai: &Path) -> Error {
    /// Enough to see what they are.
    const SHOWN: usize = 5;
    let mut list: Vec<_> = files.iter().take(SHOWN).map(ToString::to_string).collect();
    if files.len() > SHOWN {
        list.push(format!("and {} more", files.len() - SHOWN));
    }
    let iai = iai.strip_prefix(".").unwrap_or(iai);
    let remove = if files.iter().any(|file| file.source == Source::IaiCallgrind) {
        format!("`rm -r {}`, then ", iai.display())
    } else {
        String::new()
    };
    Error::Incomparable {
        reason: format!("output of another run: {}", list.join("; ")),
        help: format!(
            "{remove}run the benchmarks again; or, if it is of this very code, record it \
             (`umbra-perf record`) and let the record be judged"
        ),
    }
}

/// What reads one kind of output.
type Reader = fn(&Path, &mut Harvest) -> Result<()>;

impl Sources {
    /// Reads everything that there is. A source that was named must hold
    /// something; one that is only usual need not be there.
    fn record(&self, purpose: Purpose) -> Result<Record> {
        let target = self
            .target_dir
            .clone()
            .or_else(|| env::var_os("CARGO_TARGET_DIR").map(Into::into));
        let target = target.unwrap_or_else(|| self.project.join("target"));
        let (iai, criterion) = (target.join("iai"), target.join("criterion"));
        // Naming one source means that one only.
        let any_named = self.iai.is_some() || self.criterion.is_some() || self.vm.is_some();
        let usual = |path: &PathBuf| (!any_named && path.exists()).then(|| path.clone());

        let sources: [(_, _, Reader); 3] = [
            (&self.iai, usual(&iai), read::iai::read),
            (&self.criterion, usual(&criterion), read::criterion::read),
            (&self.vm, None, read::vm::read),
        ];
        let mut harvest = Harvest::default();
        for (named, usual, read) in sources {
            let before = harvest.len();
            if let Some(place) = named.clone().or(usual) {
                read(&place, &mut harvest)?;
            }
            // Beside another source its absence would not be noticed.
            if let Some(place) = named.as_ref().filter(|_| harvest.len() == before) {
                let places = place.display().to_string();
                return Err(Error::NoOutput { places });
            }
        }
        if harvest.is_empty() {
            let places = [iai, criterion].map(|place| place.display().to_string());
            return Err(Error::NoOutput {
                places: places.join(", "),
            });
        }
        let stale = harvest.stale(SystemTime::now());
        let judged =
            |stale: &&Stale| purpose == Purpose::Judge && stale.source != Source::Criterion;
        let refused: Vec<_> = stale.iter().filter(judged).collect();
        if !refused.is_empty() {
            return Err(left_over(&refused, self.iai.as_deref().unwrap_or(&iai)));
        }
        for file in stale {
            tell(&format!(
                "warning: {file}; if it is of another run, delete it and run the benchmarks again"
            ));
        }
        let provenance = provenance::here(&self.project, self.target.as_deref());
        Ok(harvest.into_record(provenance))
    }
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other);
    text.map(|text| text + "\n").map_err(output_error)
}

/// Prints to standard output. A reader that has seen enough (`| head`) is no
/// error.
fn print(text: &str) -> Result<()> {
    use io::Write;
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(output_error(error)),
        _ => Ok(()),
    }
}

fn output_error(source: io::Error) -> Error {
    Error::Write {
        path: "standard output".into(),
        source,
    }
}
