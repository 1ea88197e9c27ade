//! Measuring a commit: check it out, run its benchmarks, read what they leave.

use crate::error::{Error, Result};
use crate::git::{Commit, Copy, Repository};
use crate::program;
use crate::provenance;
use crate::read::{self, Harvest};
use crate::record::Record;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A place to measure commits in, one after the other. What is built is kept
/// from one to the next, in the same folder: paths are part of a binary, and a
/// longer one can cost an instruction.
#[derive(Debug)]
pub struct Bench {
    copy: Copy,
    command: Vec<String>,
    target: PathBuf,
}

impl Bench {
    /// A copy of the repository, and the command that runs its benchmarks in the
    /// project's folder. It finds `CARGO_TARGET_DIR` set: to a folder in `target`
    /// if what is built shall be kept.
    ///
    /// # Errors
    /// As [`Repository::copy`].
    pub fn new(repository: &Repository, command: &[String], target: Option<&Path>) -> Result<Self> {
        let copy = repository.copy()?;
        let target = build_folder(&copy, target);
        Ok(Self {
            copy,
            command: command.to_vec(),
            target,
        })
    }

    /// The copy.
    #[must_use]
    pub fn copy(&self) -> &Copy {
        &self.copy
    }

    /// Measures a commit.
    ///
    /// # Errors
    /// [`Error::Command`] if it does not build or its benchmarks fail;
    /// [`Error::NoOutput`] if they leave nothing.
    pub fn measure(&self, commit: &Commit) -> Result<Record> {
        self.copy.check_out(commit)?;
        self.measure_here()
    }

    /// Measures what is laid out in the copy, and leaves nothing there that the run
    /// wrote (a lock file, say): it would be measured with the next commit.
    ///
    /// # Errors
    /// As [`Self::measure`].
    pub fn measure_here(&self) -> Result<Record> {
        let ran = self.run();
        let cleaned = self.copy.clean();
        let record = ran?;
        cleaned.map(|()| record)
    }

    fn run(&self) -> Result<Record> {
        let project = self.copy.project();
        for name in ["iai", "criterion"] {
            remove(&self.target.join(name))?;
        }
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().map_or("true", String::as_str));
        command
            .args(words)
            .current_dir(&project)
            .env("CARGO_TARGET_DIR", &self.target);
        forget_cargo(&mut command);
        program::output(
            &mut command,
            "run it in the project's folder; another command can be given after `--`",
        )?;
        harvest(&project, &self.target)
    }
}

/// Where commits are built: in a corner of `target`, whose own output stays as it
/// is, or beside the copy.
#[must_use]
pub fn build_folder(copy: &Copy, target: Option<&Path>) -> PathBuf {
    let kept = target.map(|folder| {
        let folder = folder.join("umbra-perf");
        std::path::absolute(&folder).unwrap_or(folder)
    });
    kept.unwrap_or_else(|| copy.beside("target"))
}

/// Whether an error of measuring says that the commit has none of the benchmarks
/// asked for, and not that they fail: they left nothing, or cargo knows none of
/// the name. A failure in other words is not taken for that.
#[must_use]
pub fn has_none(error: &Error) -> bool {
    match error {
        Error::NoOutput { .. } => true,
        Error::Command { problem, .. } => {
            let of_cargo = |line: &str| {
                line.starts_with("error: no bench target ")
                    || line.starts_with("error: package ") && line.ends_with(" match any packages")
            };
            problem.lines().any(of_cargo)
        }
        _ => false,
    }
}

/// What a target folder holds, as a record of the project there.
fn harvest(project: &Path, target: &Path) -> Result<Record> {
    let mut harvest = Harvest::default();
    let (iai, criterion) = (target.join("iai"), target.join("criterion"));
    if iai.exists() {
        read::iai::read(&iai, &mut harvest)?;
    }
    if criterion.exists() {
        read::criterion::read(&criterion, &mut harvest)?;
    }
    if harvest.is_empty() {
        return Err(Error::NoOutput {
            places: "$CARGO_TARGET_DIR/iai, $CARGO_TARGET_DIR/criterion".to_owned(),
        });
    }
    Ok(harvest.into_record(provenance::here(project, None)))
}

/// Under `cargo run` or `cargo test` the environment describes our own package;
/// the other one's build must not take it for its own.
pub(crate) fn forget_cargo(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&key);
        }
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Write {
            path: folder.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_that_there_are_no_such_benchmarks_in_words_that_are_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("the folder");
            fs::write(path, text).expect("to write it");
        };
        write(
            "Cargo.toml",
            "[package]\nname = \"a\"\nedition = \"2024\"\n[workspace]\n",
        );
        write("src/lib.rs", "no Rust");
        let cargo = |args: &[&str]| {
            let mut command = Command::new("cargo");
            command.args(args).current_dir(folder.path());
            command.env("CARGO_TARGET_DIR", folder.path().join("target"));
            forget_cargo(&mut command);
            program::output(&mut command, "").expect_err("it fails")
        };
        for none in [
            &["bench", "--bench", "insn_*"][..],
            &["bench", "--bench", "insn"],
            &["bench", "--package", "b", "--bench", "insn"],
        ] {
            let error = cargo(none);
            assert!(has_none(&error), "{error}");
        }
        let error = cargo(&["bench"]);
        assert!(!has_none(&error), "it does not build: {error}");
    }
}
