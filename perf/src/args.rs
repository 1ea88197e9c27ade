//! The command line's words; [`crate::cli`] acts on them.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use umbra_perf::compare::Aspect;

/// Tracks the performance of a crate that has iai-callgrind or criterion
/// benchmarks.
///
/// Exit codes: 0 fine; 2 cannot compare, or bad input; 3 regressed.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read what the benchmarks left behind into one record.
    Record(Record),
    /// Show what moved from one record to another. Decides nothing.
    Compare(Compare),
    /// Judge the instructions of a run against the committed baselines, or of
    /// HEAD against another commit.
    Gate(Gate),
    /// Show one record, or what moved since another; with its history.
    Report(Report),
    /// Show how each benchmark went from one committed baseline to the next.
    History(History),
    /// Find the commit that moved a benchmark past a limit.
    Bisect(Bisect),
    /// Compare the wall time of two commits, their processes in turn.
    Ab(Ab),
}

/// `umbra-perf record`.
#[derive(Debug, Args)]
pub(crate) struct Record {
    #[command(flatten)]
    pub(crate) sources: Sources,
    /// Where to write the record; `-` is standard output. In a folder it takes the
    /// place of the baseline that was made alike, or is put beside the others.
    #[arg(long, short, default_value = "-")]
    pub(crate) out: PathBuf,
    /// Let it replace a baseline in the folder that has more benchmarks.
    #[arg(long)]
    pub(crate) prune: bool,
}

/// `umbra-perf compare`.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The record before.
    pub(crate) old: PathBuf,
    /// The record after.
    pub(crate) new: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `umbra-perf gate`.
#[derive(Debug, Args)]
pub(crate) struct Gate {
    /// A record; without it, what the benchmarks left behind is read.
    pub(crate) record: Option<PathBuf>,
    /// Measure this commit and HEAD, here and now, and judge HEAD by it: for
    /// machines that have no baseline of their own. If it has gone on since HEAD
    /// left it, the commit where they parted is measured. What is built is kept in
    /// --target-dir, if one is named.
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["record", "baselines"], requires = "command")]
    pub(crate) against: Option<String>,
    /// Keep both records in this folder, as `old.json` (if that commit has such
    /// benchmarks) and `new.json`.
    #[arg(long, value_name = "FOLDER", requires = "against")]
    pub(crate) keep: Option<PathBuf>,
    /// What runs the benchmarks in the project's folder: `cargo bench --bench NAME --
    /// --save-summary=json`. Benches of criterion or libtest refuse that option, so
    /// those of iai-callgrind have to be named.
    #[arg(last = true, requires = "against")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) sources: Sources,
    /// A baseline, or a folder of them.
    #[arg(long, default_value = "perf/baselines")]
    pub(crate) baselines: PathBuf,
    /// The file of limits. Without it: reported from 0.1 %, closed above 1 %.
    #[arg(long)]
    pub(crate) limits: Option<PathBuf>,
    /// Compare in spite of a difference in these.
    #[arg(long, value_delimiter = ',')]
    pub(crate) accept: Vec<Aspect>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `umbra-perf report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The record.
    pub(crate) record: PathBuf,
    /// An older record to compare it with.
    #[arg(long)]
    pub(crate) since: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) history: Past,
    /// The format.
    #[arg(long, value_enum, default_value_t = Shape::Md)]
    pub(crate) format: Shape,
    /// Where to write it; `-` is standard output.
    #[arg(long, short, default_value = "-")]
    pub(crate) out: PathBuf,
}

/// `umbra-perf history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) history: Past,
    /// Only benchmarks of this pattern; `*` is any text.
    #[arg(long)]
    pub(crate) benchmark: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `umbra-perf bisect`.
#[derive(Debug, Args)]
pub(crate) struct Bisect {
    /// A commit at which it was as it should be.
    #[arg(long)]
    pub(crate) good: String,
    /// A later one at which it is not.
    #[arg(long, default_value = "HEAD")]
    pub(crate) bad: String,
    /// The benchmark's id.
    #[arg(long)]
    pub(crate) benchmark: String,
    /// Its metric.
    #[arg(long, default_value = "Ir")]
    pub(crate) metric: String,
    /// How many percent are a move.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub(crate) limit: f64,
    /// Look at what was merged, not at its parts.
    #[arg(long)]
    pub(crate) first_parent: bool,
    /// Build here and keep it, for the next time [default: a folder that goes away].
    #[arg(long)]
    pub(crate) target_dir: Option<PathBuf>,
    /// The project's folder.
    #[arg(long, default_value = ".")]
    pub(crate) project: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
    /// What runs the benchmarks in the project's folder: `cargo bench --bench NAME --
    /// --save-summary=json`. Benches of criterion or libtest refuse that option, so
    /// those of iai-callgrind have to be named.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// `umbra-perf ab`.
#[derive(Debug, Args)]
pub(crate) struct Ab {
    /// The commit before.
    #[arg(long)]
    pub(crate) old: String,
    /// The commit after.
    #[arg(long, default_value = "HEAD")]
    pub(crate) new: String,
    /// A bench of criterion's, by the name of its target; may be repeated.
    #[arg(long, required = true)]
    pub(crate) bench: Vec<String>,
    /// The package that it is in.
    #[arg(long, short)]
    pub(crate) package: Option<String>,
    /// Only benchmarks whose name has this in it.
    #[arg(long)]
    pub(crate) filter: Option<String>,
    /// Pairs of processes.
    #[arg(long, default_value_t = 10)]
    pub(crate) pairs: usize,
    /// Seconds of each benchmark in each process.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// The confidence of the intervals in percent.
    #[arg(long, default_value_t = 95.0, value_parser = confidence)]
    pub(crate) confidence: f64,
    /// Exit with 3 if something is surely slower by more than this many
    /// percent. Without it nothing blocks. The confidence is that of all
    /// benchmarks together: more of them need more pairs.
    #[arg(long, value_name = "PERCENT", value_parser = positive)]
    pub(crate) block_above: Option<f64>,
    /// Build here and keep it, for the next time [default: a folder that goes away].
    #[arg(long)]
    pub(crate) target_dir: Option<PathBuf>,
    /// The project's folder.
    #[arg(long, default_value = ".")]
    pub(crate) project: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Where older runs are found.
#[derive(Debug, Args)]
pub(crate) struct Past {
    /// A baseline in git, or a folder of them: every committed version is a run.
    /// May be repeated.
    #[arg(long = "history", value_name = "BASELINE")]
    pub(crate) committed: Vec<PathBuf>,
    /// A record that is not in git, or a folder of them; may be repeated.
    #[arg(long, value_name = "RECORD")]
    pub(crate) records: Vec<PathBuf>,
    /// The file of limits: its `[renamed]` joins the histories of benchmarks that
    /// were renamed.
    #[arg(long)]
    pub(crate) limits: Option<PathBuf>,
}

/// Where the benchmarks' output lies.
#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// Cargo's target folder, in which `iai` and `criterion` are looked for
    /// [default: $CARGO_TARGET_DIR, or `target` in the project].
    #[arg(long)]
    pub(crate) target_dir: Option<PathBuf>,
    /// iai-callgrind's output.
    #[arg(long)]
    pub(crate) iai: Option<PathBuf>,
    /// criterion's output.
    #[arg(long)]
    pub(crate) criterion: Option<PathBuf>,
    /// A virtual machine's serial log.
    #[arg(long)]
    pub(crate) vm: Option<PathBuf>,
    /// The project's folder: its compiler and commit are recorded.
    #[arg(long, default_value = ".")]
    pub(crate) project: PathBuf,
    /// The target triple, if the benchmarks were built for another one.
    #[arg(long)]
    pub(crate) target: Option<String>,
}

/// How to show a result.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// The format.
    #[arg(long, value_enum, default_value_t = Format::Md)]
    pub(crate) format: Format,
    /// Where to write it; `-` is standard output.
    #[arg(long, short, default_value = "-")]
    pub(crate) out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Markdown.
    Md,
    /// JSON.
    Json,
}

/// The formats of a report.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shape {
    /// Markdown.
    Md,
    /// JSON.
    Json,
    /// One HTML file that loads nothing.
    Html,
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number > 0.0 {
        Ok(number)
    } else {
        Err("must be above 0".to_owned())
    }
}

fn confidence(text: &str) -> std::result::Result<f64, String> {
    let percent = positive(text)?;
    if (50.0..100.0).contains(&percent) {
        Ok(percent)
    } else {
        Err("must be 50 or more and below 100".to_owned())
    }
}
