//! `cargo xtask test`: everything that tests, in one table.
//!
//! A failed step does not stop the others: one run shows all that is wrong.
//! The exit code and the last line sum it up; `target/umbra/test/test.json` has
//! it for machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::deep::{self, DeepArgs};
use crate::error::{Error, Result};
use crate::models::{self, LoomArgs};
use crate::mutate::{self, MutateArgs};
use crate::paths::{self, Paths};
use crate::proc;
use crate::report::table;
use crate::ui::{self, Task};
use crate::vm::{self, Machine};
use crate::{STOCK, demo, deps, kernel, modules, package, stock};

/// One step: a name to call it by, what it proves, and how it is done.
struct Step {
    name: &'static str,
    about: &'static str,
    /// Left out by `--quick`.
    slow: bool,
    /// Counts its tests as it goes, so that a failure keeps the count.
    run: fn(&Paths, &Options, &mut Tests) -> Result<()>,
}

/// What a step needs to know.
#[derive(Debug)]
pub(crate) struct Options {
    /// The kernel series of the guest steps.
    pub(crate) series: String,
    /// Missing packages may be installed without asking.
    pub(crate) yes: bool,
}

/// Tests that ran within a step.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tests {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "rustfmt, all workspaces",
        slow: false,
        run: fmt,
    },
    Step {
        name: "clippy",
        about: "clippy, warnings denied",
        slow: false,
        run: clippy,
    },
    Step {
        name: "test",
        about: "unit, integration and doc tests",
        slow: false,
        run: test,
    },
    Step {
        name: "doc",
        about: "documentation, warnings denied",
        slow: false,
        run: doc,
    },
    Step {
        name: "perf",
        about: "umbra-perf in a browser, on a foreign crate, and its gate proven",
        slow: true,
        run: perf,
    },
    Step {
        name: "kmod-lint",
        about: "clippy on the Rust half of umbra.ko",
        slow: true,
        run: kmod_lint,
    },
    Step {
        name: "loom",
        about: "the models, each to the bound of the quick run",
        slow: true,
        run: loom,
    },
    Step {
        name: "mutate",
        about: "the orderings of what has changed, weakened",
        slow: true,
        run: mutate,
    },
    Step {
        name: "shuttle",
        about: "long scenarios under random schedules, for a minute",
        slow: true,
        run: shuttle,
    },
    Step {
        name: "kmod",
        about: "the modules, objtool and modpost",
        slow: true,
        run: kmod,
    },
    Step {
        name: "package",
        about: "checkpatch, sparse, modules_install, dkms",
        slow: true,
        run: package_step,
    },
    Step {
        name: "vm",
        about: "the kernel tests in a stock kernel",
        slow: true,
        run: guest,
    },
    Step {
        name: "vm-6.12",
        about: "the same in the backports' kernel",
        slow: true,
        run: newer_guest,
    },
    Step {
        name: "vm-7.x",
        about: "hooks in the newest kernel of the next release",
        slow: true,
        run: newest_guest,
    },
    Step {
        name: "demo",
        about: "the demo, judged",
        slow: true,
        run: show,
    },
];

/// How a step ended, as the report has it.
#[derive(Debug, Serialize)]
struct Row {
    step: &'static str,
    ok: bool,
    seconds: f64,
    passed: usize,
    failed: usize,
    error: Option<String>,
}

/// Runs the steps, all, the quick ones or the named ones.
pub(crate) fn run(paths: &Paths, only: &[String], quick: bool, options: &Options) -> Result<()> {
    let chosen = choose(only, quick)?;
    let mut rows = Vec::new();
    for step in chosen {
        ui::note(&format!("\n▸ {}: {}", step.name, step.about));
        let started = Instant::now();
        let mut tests = Tests::default();
        let result = (step.run)(paths, options, &mut tests);
        rows.push(row(step, started.elapsed(), tests, result));
    }
    let file = paths.dir("test")?.join("test.json");
    let text = serde_json::to_string_pretty(&rows).unwrap_or_default();
    fs::write(&file, text).map_err(Error::io("write", &file))?;

    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    println!(
        "\n{}",
        table(&["step", "verdict", "time", "passed", "failed"], &cells)
    );
    println!("as JSON: {}", paths::short(&file));
    let (passed, failed) = rows
        .iter()
        .fold((0, 0), |(p, f), r| (p + r.passed, f + r.failed));
    println!("{passed} passed, {failed} failed");

    let bad: Vec<&str> = rows.iter().filter(|r| !r.ok).map(|r| r.step).collect();
    // Once more: between the failure and the table there may be an hour of output, of which
    // a CI keeps the end.
    for Row { step, error, .. } in rows.iter().filter(|r| !r.ok) {
        let error = error.as_deref().unwrap_or("some of its tests failed");
        println!("\n▸ {step} failed:\n{error}");
    }
    if bad.is_empty() {
        return Ok(());
    }
    Err(Error::Steps {
        failed: bad.len(),
        total: rows.len(),
        names: bad.join(", "),
    })
}

/// The steps as a table; those that `--quick` has are told.
pub(crate) fn list() -> String {
    let row = |step: &Step| {
        let quick = if step.slow { "" } else { "quick" };
        [step.name, quick, step.about].map(str::to_owned).to_vec()
    };
    let rows: Vec<_> = STEPS.iter().map(row).collect();
    table(&["step", "", "what it runs"], &rows)
}

fn choose(only: &[String], quick: bool) -> Result<Vec<&'static Step>> {
    for name in only {
        if !STEPS.iter().any(|s| s.name == name) {
            let known: Vec<&str> = STEPS.iter().map(|s| s.name).collect();
            return Err(Error::NoStep {
                name: name.clone(),
                known: known.join(", "),
            });
        }
    }
    Ok(STEPS
        .iter()
        .filter(|s| {
            if only.is_empty() {
                !(quick && s.slow)
            } else {
                only.iter().any(|n| n == s.name)
            }
        })
        .collect())
}

fn row(step: &Step, time: Duration, mut tests: Tests, result: Result<()>) -> Row {
    let error = result.err().map(|error| {
        let text = format!("{:?}", miette::Report::new(error));
        ui::note(&text);
        text
    });
    // A step without tests of its own is one check; an error that no failed
    // test explains is one failure.
    match error {
        Some(_) => tests.failed = tests.failed.max(1),
        None if tests == Tests::default() => tests.passed = 1,
        None => {}
    }
    Row {
        step: step.name,
        ok: tests.failed == 0,
        seconds: time.as_secs_f64(),
        passed: tests.passed,
        failed: tests.failed,
        error,
    }
}

fn cells(row: &Row) -> Vec<String> {
    vec![
        row.step.to_owned(),
        if row.ok { "ok" } else { "FAILED" }.to_owned(),
        ui::seconds(Duration::from_secs_f64(row.seconds)),
        row.passed.to_string(),
        row.failed.to_string(),
    ]
}

/// A cargo command in one of our workspaces, without what `cargo run` told us
/// about ourselves.
pub(crate) fn cargo(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(dir).args(arguments);
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&key);
        }
    }
    command
}

fn run_cargo(paths: &Paths, name: &str, command: Command, tests: &mut Tests) -> Result<()> {
    let task = Task::new(&proc::show(&command));
    let log = paths.log(name)?;
    let finished = proc::run(command, &task, Some(&log))?;
    *tests = count(&finished.lines);
    finished.ok_or_help(Some(format!("the whole output is in {}", log.display())))?;
    task.done("");
    Ok(())
}

/// The workspaces that are not the main one.
fn outer(paths: &Paths) -> [PathBuf; 3] {
    [
        paths.root().join("loom-tests"),
        paths.root().join("shuttle-tests"),
        paths.root().join("kmod/rust"),
    ]
}

fn fmt(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    run_cargo(
        paths,
        "fmt",
        cargo(paths.root(), &["fmt", "--all", "--check"]),
        tests,
    )?;
    for dir in outer(paths) {
        run_cargo(paths, "fmt", cargo(&dir, &["fmt", "--check"]), tests)?;
    }
    Ok(())
}

fn clippy(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-Dwarnings",
    ];
    run_cargo(paths, "clippy", cargo(paths.root(), &arguments), tests)?;
    // The models, in their own folders for the flags that stand there. (The glue of
    // the module is the step kmod-lint.)
    for name in ["loom-tests", "shuttle-tests"] {
        let dir = paths.root().join(name);
        let mut command = cargo(&dir, &["clippy", "--all-targets", "--target-dir"]);
        command
            .arg(paths.dir("models-lint")?.join(name))
            .args(["--", "-Dwarnings"])
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        run_cargo(paths, "clippy", command, tests)?;
    }
    Ok(())
}

fn test(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    let arguments = ["test", "--workspace", "--no-fail-fast"];
    run_cargo(paths, "test", cargo(paths.root(), &arguments), tests)
}

fn doc(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    let mut command = cargo(paths.root(), &["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-Dwarnings");
    run_cargo(paths, "doc", command, tests)
}

/// The tests of umbra-perf that need more than Rust: valgrind, Chromium.
fn perf(paths: &Paths, options: &Options, tests: &mut Tests) -> Result<()> {
    deps::ensure_perf(paths, options.yes)?;
    let arguments = [
        "test",
        "--package=umbra-perf",
        "--package=umbra-benches",
        "--features=umbra-perf/browser-tests,umbra-perf/count-tests,umbra-benches/count-tests",
        "--no-fail-fast",
    ];
    let mut command = cargo(paths.root(), &arguments);
    for name in ["browser", "sample", "proof", "lines"] {
        command.args(["--test", name]);
    }
    command.env("IAI_CALLGRIND_RUNNER", deps::runner(paths)?);
    run_cargo(paths, "perf", command, tests)
}

fn kmod_lint(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    let dir = paths.root().join("kmod/rust");
    let mut command = cargo(&dir, &["clippy", "--release", "--locked", "--target-dir"]);
    command
        .arg(paths.cache().join("kmod-rust"))
        .args(["--", "-Dwarnings"]);
    // As the kernel's own Rust build does for its -Z flags.
    command.env("RUSTC_BOOTSTRAP", "1");
    run_cargo(paths, "kmod-lint", command, tests)
}

fn loom(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    tests.passed = models::run(paths, &LoomArgs::default())?;
    Ok(())
}

fn mutate(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    let Some(args) = MutateArgs::of_a_change() else {
        println!("UMBRA_BASE names no commit to compare with: nothing to judge");
        return Ok(());
    };
    tests.passed = mutate::run(paths, &args)?;
    Ok(())
}

fn shuttle(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    *tests = deep::shuttle(paths, &DeepArgs::short())?;
    Ok(())
}

fn kmod(paths: &Paths, options: &Options, _: &mut Tests) -> Result<()> {
    let kernel = kernel::get(paths, &options.series, false)?;
    modules::build(paths, &kernel)?;
    Ok(())
}

fn package_step(paths: &Paths, options: &Options, tests: &mut Tests) -> Result<()> {
    let kernel = kernel::get(paths, &options.series, false)?;
    package::check(paths, &kernel, &mut tests.passed)
}

fn guest(paths: &Paths, options: &Options, tests: &mut Tests) -> Result<()> {
    guests(paths, &options.series, GUESTS, tests)
}

/// The guest scripts that test.
const GUESTS: &[&str] = &["test", STOCK, "livepatch", "target", "coexist", "cycles"];

/// The newest series that the release's backports have.
const NEWER: &str = "6.12";

fn newer_guest(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    guests(paths, NEWER, GUESTS, tests)
}

/// What ftrace changes is seen first where it is hooked.
fn newest_guest(paths: &Paths, _: &Options, tests: &mut Tests) -> Result<()> {
    guests(paths, "7.x", &["target", "coexist"], tests)
}

fn guests(paths: &Paths, series: &str, names: &[&str], tests: &mut Tests) -> Result<()> {
    let kernel = kernel::get(paths, series, false)?;
    let mut modules = modules::build(paths, &kernel)?;
    if names.contains(&STOCK) {
        stock::add(paths, &kernel, &mut modules)?;
    }
    let mut verdict = Ok(());
    for &name in names {
        let run = vm::boot(paths, &kernel, &modules, &Machine::usual(name))?;
        tests.passed += run.outcome.passed;
        tests.failed += run.outcome.problems.len();
        let told = run.verdict(name).and_then(|()| {
            if run.outcome.passed > 0 {
                return Ok(());
            }
            Err(Error::Refused {
                what: format!("the guest `{name}` reported success, but not one test"),
                help: format!("kmod/tests/guest/{name}.sh has to report each test"),
            })
        });
        // The other guests run all the same; the first failure is the step's.
        if let (Err(_), Err(error)) = (&verdict, &told) {
            ui::note(&error.to_string());
        }
        verdict = verdict.and(told);
    }
    verdict
}

fn show(paths: &Paths, options: &Options, tests: &mut Tests) -> Result<()> {
    tests.passed = demo::run(paths, &options.series)?;
    Ok(())
}

/// Adds up cargo's `test result:` lines.
pub(crate) fn count(lines: &[String]) -> Tests {
    let mut tests = Tests::default();
    for line in lines {
        let Some(rest) = line.trim().strip_prefix("test result: ") else {
            continue;
        };
        let words: Vec<&str> = rest.split([' ', ';']).collect();
        for pair in words.windows(2) {
            let Ok(n) = pair[0].parse::<usize>() else {
                continue;
            };
            match pair[1] {
                "passed" => tests.passed += n,
                "failed" => tests.failed += n,
                _ => {}
            }
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_are_added_up() {
        let lines = [
            "test a ... ok",
            "test result: ok. 36 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out",
        ]
        .map(String::from);
        assert_eq!(
            count(&lines),
            Tests {
                passed: 38,
                failed: 3
            }
        );
        assert_eq!(count(&[]), Tests::default());
    }

    #[test]
    fn steps_are_chosen_by_name_or_speed() {
        let names = |steps: Vec<&Step>| steps.iter().map(|s| s.name).collect::<Vec<_>>();
        assert_eq!(choose(&[], false).expect("all").len(), STEPS.len());
        assert_eq!(names(choose(&["vm".into()], true).expect("one")), ["vm"]);
        assert_eq!(
            names(choose(&[], true).expect("quick")),
            ["fmt", "clippy", "test", "doc"]
        );
        let error = choose(&["vmm".into()], false).err().map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.contains("vmm")));
    }

    #[test]
    fn a_failure_is_counted_once_and_keeps_what_passed() {
        let bad = || {
            Err(Error::Refused {
                what: "no".into(),
                help: "try".into(),
            })
        };
        let counts = |tests: Tests, result| {
            let row = row(&STEPS[0], Duration::ZERO, tests, result);
            (row.ok, row.passed, row.failed)
        };
        assert_eq!(counts(Tests::default(), bad()), (false, 0, 1));
        assert_eq!(
            counts(
                Tests {
                    passed: 7,
                    failed: 2
                },
                bad()
            ),
            (false, 7, 2)
        );
        assert_eq!(counts(Tests::default(), Ok(())), (true, 1, 0));
        assert_eq!(
            counts(
                Tests {
                    passed: 7,
                    failed: 0
                },
                Ok(())
            ),
            (true, 7, 0)
        );
    }
}
