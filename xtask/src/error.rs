//! What can go wrong, with what the reader needs to go on.
//!
//! Each variant says what failed and where; its `help` says the way out. The
//! report that miette prints from them is the only error output of the tool.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

/// The result of every fallible step.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A step that could not be done.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum Error {
    /// A file or folder could not be read, written or made.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// The verb: "read", "write" …
        what: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },

    /// A program could not be started at all.
    #[error("cannot start `{program}`")]
    #[diagnostic(help("`cargo xtask setup` lists what this machine lacks and installs it"))]
    Spawn {
        /// The program's name.
        program: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },

    /// A program ran and failed.
    #[error("`{command}` failed ({status})\n{tail}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The last lines it printed.
        tail: String,
        /// What to do about it.
        #[help]
        help: Option<String>,
    },

    /// Packages are missing and this user may not install them.
    #[error("{} needed package{} not installed: {}", packages.len(), if packages.len() == 1 { " is" } else { "s are" }, packages.join(" "))]
    #[diagnostic(help("run this, then the same command again:\n{command}"))]
    Missing {
        /// Their names.
        packages: Vec<String>,
        /// The exact command that installs them.
        command: String,
    },

    /// The package index has no such kernel.
    #[error("no Debian kernel {series} in the package index: {why}")]
    #[diagnostic(help(
        "the index comes from /etc/apt/sources.list*: it must name a Debian suite that has linux-image-amd64 {series} (bookworm has 6.1)"
    ))]
    NoKernel {
        /// The series asked for, as "6.1".
        series: String,
        /// What the index lacked.
        why: String,
    },

    /// The package index lacks a package.
    #[error("the package index has no {name}")]
    #[diagnostic(help(
        "the index comes from /etc/apt/sources.list* and, on Debian, the release's backports: is the network there?"
    ))]
    NoPackage {
        /// Its name, perhaps with a version.
        name: String,
    },

    /// A downloaded or unpacked file is not what it should be.
    #[error("{} is damaged: {why}", path.display())]
    #[diagnostic(help("the cache entry was dropped; run the same command again"))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// The compiler, objtool or modpost warned.
    #[error("the module build printed {} warning{}\n{}", lines.len(), if lines.len() == 1 { "" } else { "s" }, lines.join("\n"))]
    #[diagnostic(help("the whole output is in {}", log.display()))]
    Warnings {
        /// The warning lines.
        lines: Vec<String>,
        /// The build's log.
        log: PathBuf,
    },

    /// The build made no module.
    #[error("the build made no .ko file in {}", dir.display())]
    NoModules {
        /// Where they were expected.
        dir: PathBuf,
    },

    /// There is no guest script of that name.
    #[error("no guest script {name}.sh in {}", dir.display())]
    #[diagnostic(help("there are: {known}"))]
    NoGuestScript {
        /// The name asked for.
        name: String,
        /// Where scripts are.
        dir: PathBuf,
        /// The names that exist.
        known: String,
    },

    /// The guest ran, and something in it failed.
    #[error("the guest run `{run}` failed\n{why}")]
    #[diagnostic(help("the whole serial log is in {}", log.display()))]
    Guest {
        /// The name of the run.
        run: String,
        /// Each thing that was wrong, with its excerpt.
        why: String,
        /// The serial log.
        log: PathBuf,
    },

    /// Steps of the test suite failed.
    #[error("{failed} of {total} steps failed: {names}")]
    Steps {
        /// How many failed.
        failed: usize,
        /// How many ran.
        total: usize,
        /// Which.
        names: String,
    },

    /// A step of that name does not exist.
    #[error("no test step is called `{name}`")]
    #[diagnostic(help("the steps are: {known}"))]
    NoStep {
        /// The name given.
        name: String,
        /// All names.
        known: String,
    },

    /// Models failed, or did not end.
    #[error("{failed} of {total} models failed: {names}")]
    #[diagnostic(help("one of them alone: cargo xtask loom --model NAME"))]
    Models {
        /// How many failed.
        failed: usize,
        /// How many ran.
        total: usize,
        /// Which, and how.
        names: String,
    },

    /// The folder of the models has none.
    #[error("cargo built no model in {}", dir.display())]
    #[diagnostic(help("models are tests in its tests/ folder that call umbra_loom::explore"))]
    NoModels {
        /// The folder.
        dir: PathBuf,
    },

    /// No model is called so.
    #[error("no model's name contains `{name}`")]
    #[diagnostic(help("the models are:\n{known}"))]
    NoModel {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },

    /// A saved execution is of a program that is no longer there.
    #[error("{} was saved by another build of the models: {why}", file.display())]
    #[diagnostic(help(
        "its choices mean nothing in this one; run `cargo xtask loom --model {model}` to find the execution again"
    ))]
    OtherBuild {
        /// The saved execution.
        file: PathBuf,
        /// How that was seen.
        why: String,
        /// The model it is of.
        model: String,
    },

    /// Not every ordering of a file can be found.
    #[error("cannot find all orderings in {}: {why}", file.display())]
    #[diagnostic(help(
        "an ordering is found when it is written `Ordering::X` and is an argument of a call"
    ))]
    Sites {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },

    /// A book of mutants cannot be read.
    #[error("cannot read {}: {why}", file.display())]
    Book {
        /// The file.
        file: PathBuf,
        /// Where and why.
        why: String,
        /// What to do about it.
        #[help]
        help: String,
    },

    /// What was written down of the code is not true of it any more.
    #[error("{what} is out of date: {why}")]
    Stale {
        /// The entry.
        what: String,
        /// How that was seen.
        why: String,
        /// What to do about it.
        #[help]
        help: String,
    },

    /// Mutants survived that should not, or could not be judged.
    #[error("{}", lines.join("\n"))]
    #[diagnostic(help("weaken the source, write a model that notices, or write the reason down in loom-tests/mutants/; the report: {}", report.display()))]
    Mutants {
        /// One line each.
        lines: Vec<String>,
        /// The report.
        report: PathBuf,
    },

    /// Something the caller asked for cannot be done here.
    #[error("{what}")]
    Refused {
        /// What and why.
        what: String,
        /// The way out.
        #[help]
        help: String,
    },
}

impl Error {
    /// Wraps an I/O error with the verb and the path it belongs to.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { what, path, source }
    }
}
