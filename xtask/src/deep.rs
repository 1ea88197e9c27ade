//! `cargo xtask miri`, `tsan`, `shuttle`: what the exhaustive models cannot show.
//!
//! | command | looks for | over | does not see |
//! |---|---|---|---|
//! | `miri` | undefined behaviour (tree borrows), weak values | the stress tests, shortened, a seed each time | long runs |
//! | `tsan` | data races at full speed | the same tests, whole, on tiny segments | a race that did not come near |
//! | `shuttle` | wrong logic in long scenarios | `shuttle-tests/`, random schedules | orderings |
//!
//! Each runs rounds until its time is up, and says how many. A round that was begun
//! is ended, so a run takes its time and, at most, twice a round more. The first two
//! need a nightly toolchain and install what is missing of it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;

use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::proc;
use crate::suite::{Tests, cargo, count};
use crate::ui::{self, Task};

/// What the commands are asked.
#[derive(Debug, Args)]
pub(crate) struct DeepArgs {
    /// How long to go on, in seconds, building aside
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// The first seed of Miri's [default: 0]
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
}

impl DeepArgs {
    /// The short form, for the suite.
    pub(crate) fn short() -> Self {
        Self {
            seconds: 60,
            seed: 0,
        }
    }
}

/// The tests that run many threads on one table.
const STRESS: &[&str] = &["concurrent", "linear", "merge"];
const NIGHTLY: &str = "+nightly";
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Seeds of one round of Miri: one program runs them, on all processors.
const SEEDS: u64 = 4;

/// Miri over the stress tests, with a new seed each time.
pub(crate) fn miri(paths: &Paths, args: &DeepArgs) -> Result<Tests> {
    nightly("miri", &["miri", "rust-src"])?;
    let build = || stress(paths, "miri", &["miri", "test"], &[]);
    let mut rounds = Rounds::new(paths, "miri", args.seconds);
    rounds.build(no_run(build()?))?;
    rounds.go_on(|round| {
        let from = args.seed + round * SEEDS;
        let mut command = build()?;
        command.env("MIRIFLAGS", miri_flags(from));
        Ok(command)
    })
}

fn miri_flags(from: u64) -> String {
    // Leaks aside: crossbeam-epoch's default collector lives as long as the process.
    format!(
        "-Zmiri-tree-borrows -Zmiri-ignore-leaks -Zmiri-many-seeds={from}..{}",
        from + SEEDS
    )
}

/// The stress tests under ThreadSanitizer.
///
/// It knows of no fence: crossbeam-epoch has a configuration without those, and ours
/// are in the suppressions. Nor does it see what mimalloc does, which is C and not
/// compiled for it: a block that goes from one thread to another by way of mimalloc
/// is a race to it. So memory comes from the global allocator, which it knows.
pub(crate) fn tsan(paths: &Paths, args: &DeepArgs) -> Result<Tests> {
    nightly("ThreadSanitizer", &["rust-src"])?;
    let suppressions = paths.root().join("xtask/src/tsan.supp");
    let build = || {
        let extra = [
            "-Zbuild-std",
            "--target",
            TARGET,
            "--no-default-features",
            "--features",
            "std",
        ];
        let mut command = stress(paths, "tsan", &["test"], &extra)?;
        command.env(
            "RUSTFLAGS",
            "-Zsanitizer=thread --cfg crossbeam_sanitize --cfg crossbeam_sanitize_thread \
             --cfg umbra_tiny",
        );
        command.env(
            "TSAN_OPTIONS",
            format!("suppressions={} history_size=7", suppressions.display()),
        );
        Ok(command)
    };
    let mut rounds = Rounds::new(paths, "tsan", args.seconds);
    rounds.build(no_run(build()?))?;
    rounds.go_on(|_| build())
}

/// The scenarios of `shuttle-tests/`.
pub(crate) fn shuttle(paths: &Paths, args: &DeepArgs) -> Result<Tests> {
    let dir = paths.root().join("shuttle-tests");
    let target = paths.dir("shuttle")?;
    let build = || {
        let mut command = cargo(&dir, &["test", "--tests", "--target-dir"]);
        command
            .arg(&target)
            // Either would take the place of the flags in that folder.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    };
    let mut rounds = Rounds::new(paths, "shuttle", args.seconds);
    rounds.build(no_run(build()))?;
    // Each scenario takes its share of the time itself, one after another: one round.
    let share = (args.seconds / SCENARIOS).max(2).to_string();
    rounds.until = Instant::now();
    rounds.go_on(|_| {
        let mut command = build();
        command
            .args(["--", "--nocapture", "--test-threads=1"])
            .env("UMBRA_SHUTTLE_SECONDS", &share);
        Ok(command)
    })
}

/// How many scenarios share the time; a test holds it against the folder.
const SCENARIOS: u64 = 3;

/// Cargo with the stress tests of shadow/, in a folder of its own for what is built.
fn stress(paths: &Paths, name: &str, verb: &[&str], extra: &[&str]) -> Result<Command> {
    let mut arguments = vec![NIGHTLY];
    arguments.extend(verb);
    arguments.extend(["--package", "umbra-shadow"]);
    arguments.extend(extra);
    for test in STRESS {
        arguments.extend(["--test", test]);
    }
    let mut command = cargo(paths.root(), &arguments);
    command.arg("--target-dir").arg(paths.dir(name)?);
    // What `cargo run` set for the toolchain that built xtask.
    for key in ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "CARGO"] {
        command.env_remove(key);
    }
    Ok(command)
}

fn no_run(mut command: Command) -> Command {
    command.arg("--no-run");
    command
}

/// Rounds of one command until a time is up.
struct Rounds<'a> {
    paths: &'a Paths,
    name: &'static str,
    time: Duration,
    until: Instant,
}

impl<'a> Rounds<'a> {
    fn new(paths: &'a Paths, name: &'static str, seconds: u64) -> Self {
        let time = Duration::from_secs(seconds);
        ui::note(&format!(
            "{name}: for {} and the end of a round, after a build of a minute or two",
            ui::seconds(time)
        ));
        Self {
            paths,
            name,
            time,
            until: Instant::now() + time,
        }
    }

    /// Builds, and starts the clock.
    fn build(&mut self, command: Command) -> Result<()> {
        self.run(command, &format!("building for {}", self.name))?;
        self.until = Instant::now() + self.time;
        Ok(())
    }

    fn run(&self, command: Command, what: &str) -> Result<Vec<String>> {
        let task = Task::new(what);
        let log = self.paths.log(self.name)?;
        let finished = proc::run(command, &task, Some(&log))?;
        let lines = finished.ok_or_help(Some(help(self.name, &log)))?;
        task.done("");
        Ok(lines)
    }

    fn go_on(&self, command: impl Fn(u64) -> Result<Command>) -> Result<Tests> {
        let (mut tests, mut round) = (Tests::default(), 0);
        loop {
            let what = format!("{}, round {}", self.name, round + 1);
            let lines = self.run(command(round)?, &what)?;
            let ran = count(&lines);
            if ran.passed == 0 {
                return Err(Error::Refused {
                    what: format!("{} ran no test", self.name),
                    help: "xtask/src/deep.rs names the tests that it runs".into(),
                });
            }
            for line in lines.iter().filter(|l| l.contains(" schedules, ")) {
                ui::note(line.trim());
            }
            tests.passed += ran.passed;
            round += 1;
            if Instant::now() >= self.until {
                break;
            }
        }
        ui::note(&format!(
            "{}: {round} rounds, {} tests passed",
            self.name, tests.passed
        ));
        Ok(tests)
    }
}

fn help(name: &str, log: &Path) -> String {
    let again = match name {
        "miri" => "\nthe seed stands there: cargo xtask miri --seed N --seconds 1 repeats it",
        "shuttle" => {
            "\nthe schedule stands there: UMBRA_SHUTTLE_REPLAY=… cargo test in shuttle-tests/ repeats it"
        }
        "tsan" => "\neach report there begins with `WARNING: ThreadSanitizer`",
        _ => "",
    };
    format!("the whole output is in {}{again}", log.display())
}

/// Sees that the nightly toolchain is there with these parts, or installs it.
fn nightly(what: &str, parts: &[&str]) -> Result<()> {
    let rustup = |arguments: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(arguments);
        command
    };
    let list = ["component", "list", "--installed", "--toolchain", "nightly"];
    let there = proc::output(rustup(&list)).unwrap_or_default();
    let missing = missing(&there, parts);
    if !there.is_empty() && missing.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["toolchain", "install", "nightly", "--profile", "minimal"];
    arguments.push("--no-self-update");
    for part in parts {
        arguments.extend(["--component", part]);
    }
    let task = Task::new(&format!("{what} needs: rustup {}", arguments.join(" ")));
    proc::run(rustup(&arguments), &task, None)?.ok_or_help(Some(
        "rustup (https://rustup.rs) has to be there, and the network".into(),
    ))?;
    task.done("");
    Ok(())
}

/// The parts that a list of rustup's does not have.
fn missing<'a>(there: &[String], parts: &[&'a str]) -> Vec<&'a str> {
    let has = |part: &str| there.iter().any(|line| line.starts_with(part));
    parts.iter().copied().filter(|part| !has(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_miri_have_seeds_of_their_own() {
        assert!(miri_flags(0).ends_with("=0..4") && miri_flags(SEEDS).ends_with("=4..8"));
    }

    #[test]
    fn a_part_is_missing_unless_rustup_lists_it() {
        let there = ["miri-x86_64-unknown-linux-gnu", "rust-src"].map(String::from);
        assert!(missing(&there, &["miri", "rust-src"]).is_empty());
        assert_eq!(missing(&there[..1], &["miri", "rust-src"]), ["rust-src"]);
    }

    #[test]
    fn the_scenarios_share_the_time() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shuttle-tests/tests");
        let text: String = std::fs::read_dir(root)
            .expect("the folder is there")
            .map(|e| std::fs::read_to_string(e.expect("listed").path()).expect("a text"))
            .collect();
        assert_eq!(text.matches("#[test]").count() as u64, SCENARIOS);
    }
}
