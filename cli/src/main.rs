//! The `umbra` command.
#![allow(clippy::result_large_err, reason = "see the library")]

use clap::{Parser, Subcommand, ValueEnum};
use miette::Report;
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use umbra_cli::check::check;
use umbra_cli::compare;
use umbra_cli::matrix::matrix;
use umbra_cli::simulate::{Failure, Options, simulate};
use umbra_cli::timeline::Timeline;
use umbra_cli::{Problem, Series};
use umbra_state::{Rules, Strictness};

/// Says what a series of live patches does to the states of a system, before a
/// kernel does it.
#[derive(Parser)]
#[command(name = "umbra", version, arg_required_else_help = true)]
#[command(
    after_help = "Exits with 0 when the answer is yes, 1 when a step is refused, \
                        2 when the file or the command line makes no sense."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What `umbra check --help` says of the file.
const KEYS: &str = concat!("The keys of the file:\n\n", include_str!("keys.toml"));

#[derive(Subcommand)]
enum Command {
    /// Print the callbacks that each step would run and warn of what looks wrong,
    /// or explain the refusal
    #[command(after_long_help = KEYS)]
    Check {
        /// The patches and steps (TOML)
        file: PathBuf,
        /// Refuse descriptors of one state that differ, and to disable a patch
        /// while a later one is enabled
        #[arg(long)]
        strict: bool,
        /// By which rules
        #[arg(long, value_enum, default_value_t)]
        rules: By,
    },
    /// Print what every patch does in the place of every other
    Matrix {
        /// The patches (TOML)
        file: PathBuf,
    },
    /// Show the same requests under Umbra's rules, those of the unmerged state
    /// callbacks (v1), and those of mainline Linux
    Compare {
        /// The patches and steps (TOML); without: known traces and defects
        file: Option<PathBuf>,
    },
    /// Play the series through on real shadow tables
    Simulate {
        /// The patches and steps (TOML)
        file: PathBuf,
        /// Let a pre_patch fail, as in 2.pre_patch or P3.2.pre_patch
        #[arg(long, value_name = "[PATCH.]STATE.pre_patch")]
        fail: Vec<Failure>,
        /// Let the switch of step N stall, and reverse it
        #[arg(long, value_name = "N")]
        reverse_at: Option<usize>,
        /// Let the switch of step N stall, and force it; with --reverse-at N,
        /// force it back. A task stays inside what went until the end
        #[arg(long, value_name = "N")]
        force_at: Option<usize>,
        /// By which rules
        #[arg(long, value_enum, default_value_t)]
        rules: By,
        /// Draw the callbacks as a picture (SVG)
        #[arg(long, value_name = "FILE")]
        timeline: Option<PathBuf>,
    },
}

/// The rules by their names.
#[derive(Clone, Copy, Default, ValueEnum)]
enum By {
    /// What we ship
    #[default]
    Umbra,
    /// The unmerged state callbacks of January 2025
    V1,
    /// Linux as it is
    Mainline,
}

impl From<By> for Rules {
    fn from(by: By) -> Self {
        match by {
            By::Umbra => Self::Umbra,
            By::V1 => Self::V1,
            By::Mainline => Self::Mainline,
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) if problem.is_closed_pipe() => ExitCode::SUCCESS,
        Err(problem) => {
            let code = problem.exit_code();
            // Nobody is left to be told if this fails.
            let _ = writeln!(std::io::stderr(), "{:?}", Report::new(problem));
            ExitCode::from(code)
        }
    }
}

fn run(command: Command) -> Result<(), Problem> {
    let mut out = stdout().lock();
    match command {
        Command::Check {
            file,
            strict,
            rules,
        } => {
            let strictness = if strict {
                Strictness::Strict
            } else {
                Strictness::Compat
            };
            check(&Series::read(&file)?, rules.into(), strictness, &mut out)?;
        }
        Command::Matrix { file } => matrix(&Series::read(&file)?, &mut out)?,
        Command::Compare { file: Some(file) } => compare::file(&Series::read(&file)?, &mut out)?,
        Command::Compare { file: None } => compare::scenes(&mut out)?,
        Command::Simulate {
            file,
            fail,
            reverse_at,
            force_at,
            rules,
            timeline,
        } => {
            let options = Options {
                rules: rules.into(),
                fail,
                reverse_at,
                force_at,
            };
            let series = Series::read(&file)?;
            let mut drawn = Timeline::new("Simulated series");
            let played = simulate(&series, &options, &mut drawn, &mut out);
            // A series that is refused half-way is drawn as far as it came.
            if let Some(path) = timeline {
                save(&path, &file, &drawn.svg())?;
                writeln!(out, "timeline: {}", path.display())?;
            }
            played?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Writes `text` to `path`, which is not to be `input`.
fn save(path: &Path, input: &Path, text: &str) -> Result<(), Problem> {
    let same = match (path.canonicalize(), input.canonicalize()) {
        (Ok(path), Ok(input)) => path == input,
        _ => false,
    };
    let written = if same {
        Err(io::Error::other(
            "it is the series itself; name another file",
        ))
    } else {
        std::fs::write(path, text)
    };
    written.map_err(|source| Problem::Write {
        what: path.display().to_string(),
        source,
    })
}
