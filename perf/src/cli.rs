//! Arguments and commands.

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, io};
use umbra_perf::compare::{Aspect, compare};
use umbra_perf::error::{Error, Result};
use umbra_perf::gate::{self, Outcome};
use umbra_perf::limits::Limits;
use umbra_perf::read::{self, Harvest};
use umbra_perf::record::Record;
use umbra_perf::{provenance, report, store};

/// Output this much older than the newest is pointed out.
const STALE: Duration = Duration::from_secs(60 * 60);

/// Tracks the performance of a crate that has iai-callgrind or criterion
/// benchmarks.
///
/// Exit codes: 0 fine; 2 cannot compare, or bad input; 3 regressed.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read what the benchmarks left behind into one record.
    Record {
        #[command(flatten)]
        sources: Sources,
        /// Where to write the record; `-` is standard output.
        #[arg(long, short, default_value = "-")]
        out: PathBuf,
    },
    /// Show what moved from one record to another. Decides nothing.
    Compare {
        /// The record before.
        old: PathBuf,
        /// The record after.
        new: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Judge the instructions of a run against the committed baselines.
    Gate {
        /// A record; without it, what the benchmarks left behind is read.
        record: Option<PathBuf>,
        #[command(flatten)]
        sources: Sources,
        /// A baseline, or a folder of them.
        #[arg(long, default_value = "perf/baselines")]
        baselines: PathBuf,
        /// The file of limits. Without it: reported from 0.1 %, closed above 1 %.
        #[arg(long)]
        limits: Option<PathBuf>,
        /// Compare in spite of a difference in these.
        #[arg(long, value_delimiter = ',')]
        accept: Vec<Aspect>,
        #[command(flatten)]
        output: Output,
    },
    /// Show one record, or what moved since another.
    Report {
        /// The record.
        record: PathBuf,
        /// An older record to compare it with.
        #[arg(long)]
        since: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
}

/// Where the benchmarks' output lies.
#[derive(Debug, Args)]
struct Sources {
    /// Cargo's target folder, in which `iai` and `criterion` are looked for
    /// [default: $CARGO_TARGET_DIR, or `target` in the project].
    #[arg(long)]
    target_dir: Option<PathBuf>,
    /// iai-callgrind's output.
    #[arg(long)]
    iai: Option<PathBuf>,
    /// criterion's output.
    #[arg(long)]
    criterion: Option<PathBuf>,
    /// A virtual machine's serial log.
    #[arg(long)]
    vm: Option<PathBuf>,
    /// The project's folder: its compiler and commit are recorded.
    #[arg(long, default_value = ".")]
    project: PathBuf,
    /// The target triple, if the benchmarks were built for another one.
    #[arg(long)]
    target: Option<String>,
}

/// How to show a result.
#[derive(Debug, Args)]
struct Output {
    /// The format.
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
    /// Where to write it; `-` is standard output.
    #[arg(long, short, default_value = "-")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Markdown.
    Md,
    /// JSON.
    Json,
}

/// Does what was asked.
pub(crate) fn run(cli: Cli) -> Result<Outcome> {
    match cli.command {
        Command::Record { sources, out } => {
            let record = sources.record()?;
            if out == Path::new("-") {
                return print(&json(&record)?).map(|()| Outcome::Fine);
            }
            store::save(&out, &record)?;
            let n = record.benchmarks.len();
            anstream::eprintln!("{n} benchmarks recorded in {}", out.display());
            Ok(Outcome::Fine)
        }
        Command::Compare { old, new, output } => show_comparison(&old, &new, &output),
        Command::Gate {
            record,
            sources,
            baselines,
            limits,
            accept,
            output,
        } => {
            let limits = limits.map_or_else(|| Ok(Limits::default()), |p| Limits::load(&p))?;
            let baselines = store::load_all(&baselines)?;
            let current = match record {
                Some(path) => store::load(&path)?,
                None => sources.record()?,
            };
            let baseline = gate::choose(&baselines, &current, &accept)?;
            let verdict = gate::judge(baseline, &current, &limits);
            output.show(&verdict, report::verdict)?;
            Ok(verdict.outcome())
        }
        Command::Report {
            record,
            since: Some(old),
            output,
        } => show_comparison(&old, &record, &output),
        Command::Report {
            record,
            since: None,
            output,
        } => {
            output.show(&store::load(&record)?, report::record)?;
            Ok(Outcome::Fine)
        }
    }
}

fn show_comparison(old: &Path, new: &Path, output: &Output) -> Result<Outcome> {
    let (old, new) = (store::load(old)?, store::load(new)?);
    output.show(&compare(&old, &new, |_| None), report::comparison)?;
    Ok(Outcome::Fine)
}

impl Output {
    fn show<T: Serialize>(&self, value: &T, markdown: impl Fn(&T) -> String) -> Result<()> {
        let text = match self.format {
            Format::Md => markdown(value),
            Format::Json => json(value)?,
        };
        if self.out == Path::new("-") {
            print(&text)
        } else {
            store::write(&self.out, &text)
        }
    }
}

impl Sources {
    /// Reads everything that there is. A folder that was named must exist; one
    /// that is only usual need not.
    fn record(&self) -> Result<Record> {
        let target = self
            .target_dir
            .clone()
            .or_else(|| env::var_os("CARGO_TARGET_DIR").map(Into::into));
        let target = target.unwrap_or_else(|| self.project.join("target"));
        let (iai, criterion) = (target.join("iai"), target.join("criterion"));
        // Naming one source means that one only.
        let any_named = self.iai.is_some() || self.criterion.is_some() || self.vm.is_some();
        let usual = |path: &PathBuf| (!any_named && path.exists()).then(|| path.clone());

        let mut harvest = Harvest::default();
        if let Some(root) = self.iai.clone().or_else(|| usual(&iai)) {
            read::iai::read(&root, &mut harvest)?;
        }
        if let Some(root) = self.criterion.clone().or_else(|| usual(&criterion)) {
            read::criterion::read(&root, &mut harvest)?;
        }
        if let Some(log) = &self.vm {
            read::vm::read(log, &mut harvest)?;
        }
        if harvest.is_empty() {
            let named = [&self.iai, &self.criterion, &self.vm];
            let places: Vec<_> = if any_named {
                named
                    .into_iter()
                    .flatten()
                    .map(|p| p.display().to_string())
                    .collect()
            } else {
                vec![iai.display().to_string(), criterion.display().to_string()]
            };
            return Err(Error::NoOutput {
                places: places.join(", "),
            });
        }
        for path in harvest.stale(STALE) {
            anstream::eprintln!(
                "warning: {} is over an hour older than the newest output; if its benchmark no \
                 longer exists, delete its folder",
                path.display()
            );
        }
        let mut provenance = provenance::here(&self.project, self.target.as_deref());
        provenance.iai_callgrind_summary = harvest.iai_version().map(str::to_owned);
        Ok(Record::new(provenance, harvest.into_benchmarks()))
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
