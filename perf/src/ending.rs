//! What must not outlive us: the programs that we start, and the folders that we
//! build in.
//!
//! A signal (Ctrl-C, SIGTERM, SIGHUP) ends every living program with all that it
//! started, then removes the folders, and ends the process with status 130. A clone
//! with its build is gigabytes, and a compiler that nobody waits for keeps writing
//! into it.
//!
//! Invariant: a program is in `STATE` from before it exists until it has been
//! waited for, and a folder from before it exists until it is gone. Both are made
//! under the lock, so the handler sees all of them, and nothing is made after it has
//! looked.

use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The exit status of who was interrupted, as shells have it.
pub const STATUS: i32 = 130;

/// How long a program may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(3);

struct State {
    /// Each program leads a process group of its own number.
    programs: BTreeSet<u32>,
    folders: BTreeSet<PathBuf>,
    ending: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    programs: BTreeSet::new(),
    folders: BTreeSet::new(),
    ending: false,
});

/// The state, while it is not all over: then this thread stops, for the handler is
/// about to end the process, and a program that it has ended is no failure to report.
fn state() -> MutexGuard<'static, State> {
    let state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if !state.ending {
        return state;
    }
    drop(state);
    loop {
        thread::park();
    }
}

/// Takes the signals over. Called once, first thing.
///
/// # Errors
/// [`Error::Command`] if the system refuses.
pub fn guard() -> Result<()> {
    ctrlc::set_handler(end).map_err(|error| Error::Command {
        command: "umbra-perf".to_owned(),
        problem: format!("cannot watch for Ctrl-C: {error}"),
        help: "start it from an ordinary shell".to_owned(),
    })
}

fn end() {
    let (programs, folders) = {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        state.ending = true;
        (state.programs.clone(), state.folders.clone())
    };
    end_programs(&programs);
    for folder in &folders {
        remove(folder);
    }
    // Standard error may be closed by now.
    let _ = io::Write::write_all(
        &mut io::stderr(),
        b"interrupted: what was started has been ended, and its folders are gone\n",
    );
    std::process::exit(STATUS);
}

#[cfg(unix)]
fn end_programs(programs: &BTreeSet<u32>) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    let all = |signal: Option<Signal>| {
        // An error says that the group is gone already.
        let living = programs
            .iter()
            .filter(|id| killpg(Pid::from_raw(id.cast_signed()), signal).is_ok());
        living.count() > 0
    };
    all(Some(Signal::SIGTERM));
    let until = Instant::now() + PATIENCE;
    while all(None) && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    all(Some(Signal::SIGKILL));
}

/// A console tells all its programs of Ctrl-C by itself.
#[cfg(not(unix))]
fn end_programs(_: &BTreeSet<u32>) {}

/// Removes a folder, in which something may still be dying.
fn remove(folder: &Path) {
    let until = Instant::now() + PATIENCE;
    while fs::remove_dir_all(folder).is_err() && folder.exists() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a program to its end, or to ours.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut living = state();
    let child = command.spawn()?;
    let id = child.id();
    living.programs.insert(id);
    drop(living);
    let output = child.wait_with_output();
    state().programs.remove(&id);
    output
}

/// A temporary folder that goes away with this value, and with us.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

impl Folder {
    /// Makes one.
    pub(crate) fn new() -> io::Result<Self> {
        let mut state = state();
        let folder = tempfile::Builder::new().prefix("umbra-perf-").tempdir()?;
        state.folders.insert(folder.path().to_owned());
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // First, so that it is in the list as long as it is there. What cannot be
        // removed is left to the system, as `TempDir` leaves it.
        let _ = fs::remove_dir_all(self.path());
        state().folders.remove(self.path());
    }
}
