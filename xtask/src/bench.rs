//! `cargo xtask bench --counts`: counts the instructions of each operation and compares
//! them with the committed baseline.
//!
//! The verdict is `umbra-perf gate`'s, and so is the exit status: 0 fine, 3
//! regressed, 2 cannot compare (another compiler, processor or valgrind).

use std::fs;
use std::process::Command;

use crate::deps::{self, Consent};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::proc;
use crate::suite::cargo;
use crate::ui::Task;

/// What `umbra-perf` is asked to do with the counts.
pub(crate) enum Then {
    /// Compare them with the baseline.
    Gate,
    /// Make them the baseline of this kind of machine.
    Record,
}

/// Measures, and says what became of it.
pub(crate) fn run(paths: &Paths, yes: bool, then: Then) -> Result<std::process::ExitCode> {
    deps::ensure(paths, Consent { yes, bench: true })?;
    let target = paths.dir("bench")?;
    let counts = target.join("iai");
    // What a benchmark of before left there is not a count of now.
    if counts.exists() {
        fs::remove_dir_all(&counts).map_err(Error::io("remove", &counts))?;
    }
    let mut bench = cargo(
        paths.root(),
        &["bench", "--package", "umbra-benches", "--bench", "insn_*"],
    );
    bench
        .args(["--", "--save-summary=json"])
        // Not a flag: the runner looks for its own folder here too.
        .env("CARGO_TARGET_DIR", &target)
        .env("IAI_CALLGRIND_RUNNER", deps::runner(paths)?);
    let task = Task::new("instruction counts");
    proc::run(bench, &task, Some(&paths.log("bench")?))?.ok()?;
    task.done("");

    let perf = paths.root().join("perf");
    let mut judge = cargo(
        paths.root(),
        &["run", "--quiet", "--package", "umbra-perf", "--"],
    );
    match then {
        Then::Gate => judge
            .args(["gate", "--baselines"])
            .arg(perf.join("baselines"))
            .arg("--limits")
            .arg(perf.join("limits.toml")),
        // All of them ran: what is not there has been taken away.
        Then::Record => judge
            .args(["record", "--prune", "--out"])
            .arg(perf.join("baselines")),
    };
    judge.arg("--iai").arg(&counts);
    shown(judge)
}

/// Runs a command whose output and exit status are ours.
fn shown(mut command: Command) -> Result<std::process::ExitCode> {
    let name = proc::show(&command);
    let status = command
        .status()
        .map_err(Error::io("run", std::path::Path::new(&name)))?;
    let code = status.code().and_then(|c| u8::try_from(c).ok());
    Ok(std::process::ExitCode::from(code.unwrap_or(1)))
}
