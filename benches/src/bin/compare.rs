//! The comparison with peers and bounds: every row of the table of speeds.
//!
//! ```text
//! cargo run --release -p umbra-benches --bin compare -- --rows get-hit,memory
//! cargo run --release -p umbra-benches --features lfht --bin compare -- --json out.json
//! ```
//! | rows | run in |
//! |---|---|
//! | most | this process |
//! | `*-2mib` | one whose C library asks for 2 MiB pages (glibc's tunable `glibc.malloc.hugetlb`) |
//! | `*-mimalloc` | one in which everybody allocates from mimalloc, as Umbra does in all of them |
//! | `lines-*`, `meet-*`, `hot-*`, `cold-*` | one under valgrind; left out with a message where there is none |

use clap::Parser;
use std::env::temp_dir;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use umbra_benches::compare::alloc::{self, Counting};
use umbra_benches::compare::model::{Machine, Report, Row, SCHEMA};
use umbra_benches::compare::rows::{self, Options, Process, Spec, chosen};
use umbra_benches::compare::targets::UMBRA;
use umbra_benches::compare::{lines, peer, table};
use umbra_benches::file;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures Umbra beside its peers and the bounds of the machine
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Rows whose names begin so, or the one of that name, separated by commas; all if
    /// not given
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    rows: Vec<String>,
    /// Table sizes such as 1k,1M,10M; those of the targets if not given
    #[arg(long, value_delimiter = ',', value_name = "SIZE,...", value_parser = size)]
    sizes: Vec<usize>,
    /// Contestants beside Umbra; all if not given
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    peers: Vec<String>,
    /// A third of the rounds, and fewer contestants above 4M entries
    #[arg(long)]
    quick: bool,
    /// Also write everything here
    #[arg(long, value_name = "FILE", overrides_with = "json")]
    json: Option<PathBuf>,
    /// List rows and contestants, measure nothing
    #[arg(long)]
    list: bool,
    /// Run the rows that want 2 MiB pages, in this process
    #[arg(long, hide = true)]
    huge_pages: bool,
    /// Run the rows for which everybody allocates from mimalloc, in this process
    #[arg(long, hide = true, conflicts_with = "huge_pages")]
    mimalloc: bool,
    /// Do the operations whose lines are counted, in this process
    #[arg(long, hide = true)]
    play: bool,
}

fn size(text: &str) -> Result<usize, String> {
    let (digits, times) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 1_000_000),
            None => (text, 1),
        },
    };
    match digits.parse::<u32>() {
        Ok(n) if n > 0 && n <= 200_000_000 / times => Ok((n * times) as usize),
        _ => Err("not a size from 1 to 200M, as 1k or 10M".into()),
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no row's name begins with {0:?}; --list names them")]
    NoRow(Vec<String>),
    #[error("no contestant is called {0:?}; --list names them")]
    NoPeer(String),
    #[error("{what} {}: {source}", file.display())]
    File {
        what: &'static str,
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: not a comparison: {source}", file.display())]
    Json {
        file: PathBuf,
        source: serde_json::Error,
    },
    #[error("the run {of} failed ({status}); its own message is above")]
    Other {
        of: &'static str,
        status: ExitStatus,
    },
    #[error("memory is not from the allocator that the rows are about: is {} set?", alloc::MIMALLOC.to_string_lossy())]
    Allocator,
    #[error("shared lines were not counted: {0}")]
    Lines(#[from] lines::Error),
    #[error("cannot play the operations to be traced: {0}")]
    Play(std::io::Error),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::from(2)
        }
    }
}

fn list(options: &Options) {
    println!("rows:");
    for spec in chosen(options) {
        let where_ = match spec.process() {
            Process::Plain => "",
            Process::HugePages => " (2 MiB pages)",
            Process::Mimalloc => " (mimalloc for all)",
            Process::Traced => " (under valgrind)",
        };
        println!("  {}{where_}", spec.full_id());
    }
    println!("contestants:");
    for peer in peer::roster() {
        println!("  {}", peer.name);
    }
    if let Some(why) = peer::without_lfht() {
        println!("  (cds_lfht {why})");
    }
}

fn run(cli: &Cli) -> Result<(), Error> {
    let options = Options {
        rows: cli.rows.clone(),
        sizes: cli.sizes.clone(),
        peers: cli.peers.clone(),
        quick: cli.quick,
    };
    let specs = chosen(&options);
    if specs.is_empty() {
        return Err(Error::NoRow(cli.rows.clone()));
    }
    for name in &cli.peers {
        if !peer::roster().iter().any(|p| p.name == name) && name != "cds_lfht" {
            return Err(Error::NoPeer(name.clone()));
        }
    }
    if cli.list {
        list(&options);
        return Ok(());
    }
    if alloc::from_mimalloc() != cli.mimalloc {
        return Err(Error::Allocator);
    }
    let process = match (cli.huge_pages, cli.mimalloc) {
        (true, _) => Process::HugePages,
        (_, true) => Process::Mimalloc,
        _ => Process::Plain,
    };
    let first = process == Process::Plain;
    if !first || cli.play {
        // A child ends with its parent.
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    }
    if cli.play {
        return lines::play::run(&contestants(cli)).map_err(Error::Play);
    }
    if let Some(path) = &cli.json {
        file::writable(path).map_err(unwritable(path))?;
    }
    if let Some(why) = peer::without_lfht().filter(|_| first) {
        eprintln!("compare: cds_lfht {why}");
    }
    let mut report = Report {
        schema: SCHEMA,
        machine: Machine::this(),
        rows: Vec::new(),
    };
    let has = |other| first && specs.iter().any(|s| s.process() == other);
    // The other processes first: allocators keep what this one's tables had, and two times
    // the largest tables are more memory than there may be.
    for other in [Process::HugePages, Process::Mimalloc] {
        if has(other) {
            report.rows.extend(elsewhere(other)?);
        }
    }
    if has(Process::Traced) {
        report.rows.extend(traced(&specs)?);
    }
    rows::run(&options, process, &say, &mut |row| {
        finished(&row);
        report.rows.push(row);
    });
    // Sizes are run one after the other; the table keeps the catalogue's order.
    let place = |row: &Row| specs.iter().position(|spec| spec.full_id() == row.id);
    report.rows.sort_by_key(place);
    if first {
        print!("\n{}", table::verdicts(&report));
    }
    if let Some(file) = &cli.json {
        write(file, &report)?;
    }
    Ok(())
}

/// The contestants that are asked for; no bounds, for they cannot be written.
fn contestants(cli: &Cli) -> Vec<peer::Peer> {
    let mut peers = peer::roster();
    peers.retain(|p| {
        let asked =
            cli.peers.is_empty() || p.name == UMBRA || cli.peers.iter().any(|n| n == p.name);
        asked && p.writes.is_some()
    });
    peers
}

/// Runs this program again under valgrind. Without valgrind there are no rows.
fn traced(specs: &[Spec]) -> Result<Vec<Row>, Error> {
    say("counting shared lines");
    // Not /proc/self/exe, which would be valgrind itself; and not the program's
    // path, where another build may be by now.
    let program = format!("/proc/{}/exe", std::process::id());
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=lackey", "--trace-mem=yes", "--basic-counts=no"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .arg("--play");
    let counted = match lines::count(valgrind) {
        Ok(counted) => counted,
        Err(error @ lines::Error::Valgrind(_)) => {
            eprintln!("compare: shared lines are left out: {error}");
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::Lines(error)),
    };
    let row = |spec: &Spec| lines::row(spec, &counted);
    let rows: Vec<_> = specs.iter().filter_map(row).collect();
    rows.iter().for_each(finished);
    Ok(rows)
}

/// Progress on one line, where somebody watches.
fn say(what: &str) {
    let mut error = std::io::stderr();
    if error.is_terminal() {
        let _ = write!(error, "\r\x1b[K{what}");
    }
}

fn finished(row: &Row) {
    say("");
    print!("{}", table::figures(row));
    let _ = std::io::stdout().flush();
}

fn write(path: &Path, report: &Report) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(report).map_err(|source| Error::Json {
        file: path.into(),
        source,
    })?;
    file::replace(path, &(json + "\n")).map_err(unwritable(path))
}

fn unwritable(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let file = path.to_path_buf();
    move |source| Error::File {
        what: "cannot write",
        file,
        source,
    }
}

/// Runs this program again with the same arguments, in the process that such rows need.
fn elsewhere(process: Process) -> Result<Vec<Row>, Error> {
    let (of, flag, variable, value) = match process {
        Process::Mimalloc => {
            let name = alloc::MIMALLOC.to_string_lossy();
            ("with mimalloc", "--mimalloc", name, "1")
        }
        // The heap grows by whole pages of that size, and far at a time.
        _ => (
            "with 2 MiB pages",
            "--huge-pages",
            "GLIBC_TUNABLES".into(),
            "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=67108864",
        ),
    };
    let failed = |what, file: &Path| {
        let file = file.to_path_buf();
        move |source| Error::File { what, file, source }
    };
    let program = Path::new("/proc/self/exe");
    // In a folder that is ours alone: under a name that others can guess in the folder that
    // all may write to, somebody else's link could be waiting. It goes with its content,
    // however this function ends.
    let folder = tempfile::tempdir().map_err(failed("cannot make a folder in", &temp_dir()))?;
    let file = folder.path().join("rows.json");
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg(flag)
        .arg("--json")
        .arg(&file)
        .env(&*variable, value)
        .status()
        .map_err(failed("cannot run", program))?;
    if !status.success() {
        return Err(Error::Other { of, status });
    }
    let text = fs::read_to_string(&file).map_err(failed("cannot read", &file))?;
    let report: Report =
        serde_json::from_str(&text).map_err(|source| Error::Json { file, source })?;
    Ok(report.rows)
}
