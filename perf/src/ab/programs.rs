//! The benches of a commit as programs: built by cargo, run one process at a time.

use super::Plan;
use crate::error::{Error, Result};
use crate::git::{Commit, Copy};
use crate::measure::forget_cargo;
use crate::program;
use crate::read::{self, Harvest};
use crate::record::Benchmark;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One bench, built.
#[derive(Debug)]
pub(super) struct Program {
    /// The package's folder and the bench, to name it by.
    name: String,
    executable: PathBuf,
    /// Where cargo would run it.
    folder: PathBuf,
}

/// What cargo says of what it built.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Message {
    /// The name of a bench; of nothing else, like one of the package's programs,
    /// which cargo builds for it too.
    fn bench(&self) -> Option<&str> {
        let target = self.target.as_ref()?;
        let is_bench = target.kind.iter().any(|kind| kind == "bench");
        (is_bench && self.reason == "compiler-artifact").then_some(&target.name)
    }
}

/// Builds a commit's benches and keeps them from the next build.
pub(super) fn build(
    copy: &Copy,
    commit: &Commit,
    plan: &Plan,
    target: &Path,
) -> Result<Vec<Program>> {
    copy.check_out(commit)?;
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "bench",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(copy.project())
        .env("CARGO_TARGET_DIR", target);
    if let Some(package) = &plan.package {
        cargo.args(["--package", package]);
    }
    for bench in &plan.benches {
        cargo.args(["--bench", bench]);
    }
    forget_cargo(&mut cargo);
    let help = format!("run it at {} ({})", commit.short(), commit.subject);
    let said = program::output(&mut cargo, &help)?;
    let write = |path: &Path, source| Error::Write {
        path: path.to_owned(),
        source,
    };
    // Copies have paths of one length: a program's own path is on its stack.
    let folder = copy.beside("programs");
    fs::create_dir_all(&folder).map_err(|error| write(&folder, error))?;
    let mut programs = Vec::new();
    for line in said.lines() {
        let Ok(message) = serde_json::from_str::<Message>(line) else {
            continue;
        };
        let bench = message.bench().map(str::to_owned);
        let (Some(bench), Some(built), Some(manifest)) =
            (bench, message.executable, message.manifest_path)
        else {
            continue;
        };
        let executable = folder.join(format!("bench-{}", programs.len()));
        fs::copy(&built, &executable).map_err(|error| write(&executable, error))?;
        let folder = manifest.parent().unwrap_or(Path::new("/")).to_owned();
        let package = folder.strip_prefix(copy.project()).unwrap_or(&folder);
        programs.push(Program {
            name: package.join(bench).display().to_string(),
            executable,
            folder,
        });
    }
    copy.clean()?;
    if programs.is_empty() {
        return Err(Error::Incomparable {
            reason: format!("cargo built no bench at {}", commit.short()),
            help: "name criterion's benches with --bench".to_owned(),
        });
    }
    Ok(programs)
}

impl Program {
    /// One process, and what criterion wrote.
    fn run(&self, plan: &Plan, home: &Path) -> Result<BTreeMap<String, Benchmark>> {
        if home.exists() {
            fs::remove_dir_all(home).map_err(|source| Error::Write {
                path: home.to_owned(),
                source,
            })?;
        }
        let mut process = Command::new(&self.executable);
        process
            .args(["--bench", "--noplot", "--sample-size", "20"])
            .args(["--measurement-time", &plan.seconds.to_string()])
            .args(["--warm-up-time", &(plan.seconds / 4.0).to_string()])
            .args(&plan.filter)
            .current_dir(&self.folder)
            .env("CRITERION_HOME", home);
        // As cargo would run it; what cargo says of our own package leads elsewhere.
        forget_cargo(&mut process);
        process.env("CARGO_MANIFEST_DIR", &self.folder);
        program::output(&mut process, "only benches of criterion can be compared so")?;
        let mut harvest = Harvest::default();
        if home.exists() {
            read::criterion::read(home, &mut harvest)?;
        }
        if harvest.is_empty() {
            return Err(Error::NoOutput {
                places: "$CRITERION_HOME".to_owned(),
            });
        }
        Ok(harvest.into_benchmarks())
    }
}

/// One process of each bench of a commit.
pub(super) fn turn(
    programs: &[Program],
    plan: &Plan,
    home: &Path,
) -> Result<BTreeMap<String, Benchmark>> {
    let mut all = BTreeMap::new();
    for program in programs {
        for (id, benchmark) in program.run(plan, home)? {
            // As two samples of one turn they would go into two pairs.
            if let Some((first, _)) = all.insert(id.clone(), (&program.name, benchmark)) {
                return Err(Error::Incomparable {
                    reason: format!(
                        "`{id}` is measured by two benches, {first} and {}",
                        program.name
                    ),
                    help: "name one of them with --bench, and its --package".to_owned(),
                });
            }
        }
    }
    let all = all.into_iter();
    Ok(all.map(|(id, (_, benchmark))| (id, benchmark)).collect())
}
