//! Programs that we start, and that end with us.
//!
//! Each child leads a process group of its own and asks the kernel to be killed
//! when we die. A signal to us (Ctrl-C, SIGTERM, SIGHUP) ends all living groups
//! before we exit, so neither a QEMU nor a compiler outlives the tool, however
//! it ends. Standard output and error are one stream of lines; standard input
//! is empty.
//!
//! Invariant: a group is in [`GROUPS`] from before the child exists until it has
//! been reaped. Spawning happens under the lock, so the signal handler sees
//! either no child or its group.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, getpid, getppid};

use crate::error::{Error, Result};
use crate::ui::Task;

/// The process groups that are alive, and whether we are on our way out.
struct Groups {
    alive: BTreeSet<i32>,
    ending: bool,
}

static GROUPS: Mutex<Groups> = Mutex::new(Groups {
    alive: BTreeSet::new(),
    ending: false,
});

fn groups() -> MutexGuard<'static, Groups> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the signals over. Called once, first thing.
pub(crate) fn guard_signals() -> Result<()> {
    ctrlc::set_handler(|| {
        let alive = {
            let mut groups = groups();
            groups.ending = true;
            groups.alive.clone()
        };
        for &group in &alive {
            // It may have ended by itself meanwhile; then there is nothing to do.
            let _ = signal::killpg(Pid::from_raw(group), Signal::SIGTERM);
        }
        let patience = Instant::now() + Duration::from_secs(5);
        let living = || groups().alive.iter().any(|&group| lives(group));
        while living() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(20));
        }
        for &group in &groups().alive {
            let _ = signal::killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        eprintln!("\ninterrupted: everything that was started has been ended");
        std::process::exit(130);
    })
    .map_err(|e| Error::Refused {
        what: format!("cannot watch for Ctrl-C: {e}"),
        help: "start the command from an ordinary shell".into(),
    })
}

/// Whether a process of a group still runs. (One that has ended and was not waited for
/// can be signalled too, and this thread's owner waits for nobody any more.)
fn lives(group: i32) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return false;
    };
    let stats = processes.filter_map(|p| std::fs::read_to_string(p.ok()?.path().join("stat")).ok());
    let mut groups = stats.filter_map(|stat| {
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let group: i32 = fields.nth(1)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(group)
    });
    groups.any(|g| g == group)
}

/// Stops this thread: the signal handler is about to end the process, and
/// nothing new may start nor be reported.
fn leave_to_handler() -> ! {
    loop {
        thread::park();
    }
}

/// What a running program said next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A line, without its end.
    Line(String),
    /// Nothing within the time given.
    Nothing,
    /// Its output is at its end.
    End,
}

/// A running program.
pub(crate) struct Job {
    child: Child,
    lines: Receiver<String>,
    reaped: bool,
}

impl Job {
    /// Starts a program.
    ///
    /// Only to be called from the main thread: the death signal is sent when
    /// the *thread* that spawned the child ends.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let spawn = |source| Error::Spawn {
            program: program.clone(),
            source,
        };
        let (reader, writer) = std::io::pipe().map_err(spawn)?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(spawn)?)
            .stderr(writer)
            .process_group(0);
        let parent = getpid();
        // SAFETY: between fork and exec the closure only makes two system
        // calls; it neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                // We may have died before the line above took effect.
                if getppid() == parent {
                    Ok(())
                } else {
                    Err(std::io::ErrorKind::Interrupted.into())
                }
            });
        }
        let mut groups = groups();
        if groups.ending {
            drop(groups);
            leave_to_handler();
        }
        let child = command.spawn().map_err(spawn)?;
        groups.alive.insert(child.id().cast_signed());
        drop(groups);
        // The command holds the writing ends of the pipe; without this our
        // own copy would keep it open for ever.
        drop(command);
        let (send, lines) = channel();
        thread::spawn(move || {
            read_lines(reader, |line| send.send(line).is_ok());
        });
        Ok(Self {
            child,
            lines,
            reaped: false,
        })
    }

    /// Waits for the next line, for at most `time`.
    pub(crate) fn next(&self, time: Duration) -> Said {
        match self.lines.recv_timeout(time) {
            Ok(line) => Said::Line(line),
            Err(RecvTimeoutError::Timeout) => Said::Nothing,
            Err(RecvTimeoutError::Disconnected) => Said::End,
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        let status = self.child.wait().map_err(|source| Error::Spawn {
            program: "wait".into(),
            source,
        })?;
        self.forget();
        // A child that the handler has just ended is no failure to report.
        if groups().ending {
            leave_to_handler();
        }
        Ok(status)
    }

    /// Ends it and all it started.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Kills it and all it started; [`wait`](Self::wait) tells how it ended.
    pub(crate) fn interrupt(&self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        // An error means that the group is gone, which is what we want.
        let _ = signal::killpg(group, Signal::SIGKILL);
    }

    fn end(&mut self) {
        if self.reaped {
            return;
        }
        self.interrupt();
        let _ = self.child.wait();
        self.forget();
    }

    fn forget(&mut self) {
        self.reaped = true;
        groups().alive.remove(&self.child.id().cast_signed());
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end();
    }
}

/// Hands on one line after the other, whatever bytes they are made of.
fn read_lines(reader: PipeReader, mut each: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                    line.pop();
                }
                if !each(String::from_utf8_lossy(&line).into_owned()) {
                    return;
                }
            }
        }
    }
}

/// What a program printed and how it ended.
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// All it printed.
    pub(crate) lines: Vec<String>,
    /// The command line, for messages.
    pub(crate) command: String,
    /// It was ended here because it had nothing to say for too long.
    pub(crate) silent: bool,
}

impl Finished {
    /// Its output, or the error that tells why it failed.
    pub(crate) fn ok(self) -> Result<Vec<String>> {
        self.ok_or_help(None)
    }

    /// As [`ok`](Self::ok), with a way out.
    pub(crate) fn ok_or_help(self, help: Option<String>) -> Result<Vec<String>> {
        if self.status.success() {
            return Ok(self.lines);
        }
        Err(Error::Failed {
            command: self.command,
            status: self.status.to_string(),
            tail: last_words(&self.lines),
            help,
        })
    }
}

/// The last lines of a failed program; of a test program first what its failed
/// tests said, which may stand hundreds of lines before.
fn last_words(lines: &[String]) -> String {
    const SAID: usize = 12;
    const LAST: usize = 40;
    let last = lines.len().saturating_sub(LAST);
    let mut words = Vec::new();
    let mut left = 0;
    for line in &lines[..last] {
        if line.starts_with("---- ") && line.ends_with(" ----") {
            left = SAID;
        }
        if left > 0 {
            left -= 1;
            words.push(line.as_str());
        }
    }
    if !words.is_empty() {
        words.push("…");
    }
    words.extend(lines[last..].iter().map(String::as_str));
    words.join("\n")
}

/// Runs a program to its end, its last line shown in `task`, all of it in `log`.
pub(crate) fn run(command: Command, task: &Task, log: Option<&Path>) -> Result<Finished> {
    follow(command, task, log, None)
}

/// As [`run`], but a program that says nothing for `patience` is ended, and
/// [`Finished::silent`] tells so: for programs that hang when the net does.
pub(crate) fn run_while_it_speaks(
    command: Command,
    task: &Task,
    patience: Duration,
) -> Result<Finished> {
    follow(command, task, None, Some(patience))
}

fn follow(
    command: Command,
    task: &Task,
    log: Option<&Path>,
    patience: Option<Duration>,
) -> Result<Finished> {
    let line = show(&command);
    let mut log = match log {
        Some(path) => Some((File::create(path).map_err(Error::io("make", path))?, path)),
        None => None,
    };
    let job = Job::start(command)?;
    let mut lines = Vec::new();
    let mut last = String::from("starting");
    let mut spoke = Instant::now();
    let mut silent = false;
    loop {
        match job.next(Duration::from_secs(1)) {
            Said::Line(text) => {
                spoke = Instant::now();
                if let Some((file, path)) = &mut log {
                    writeln!(file, "{text}").map_err(Error::io("write", *path))?;
                }
                // Cargo's messages for machines are not for reading.
                if !text.starts_with('{') {
                    last.clear();
                    last.push_str(text.trim());
                }
                lines.push(text);
                task.at(&last);
            }
            Said::Nothing if patience.is_some_and(|patience| spoke.elapsed() >= patience) => {
                lines.push(format!(
                    "(ended: silent for {} s)",
                    spoke.elapsed().as_secs()
                ));
                silent = true;
                job.interrupt();
                break;
            }
            Said::Nothing => task.at(&last),
            Said::End => break,
        }
    }
    Ok(Finished {
        status: job.wait()?,
        lines,
        command: line,
        silent,
    })
}

/// Runs a short program and gives back its output.
pub(crate) fn output(command: Command) -> Result<Vec<String>> {
    let line = show(&command);
    let job = Job::start(command)?;
    let mut lines = Vec::new();
    loop {
        match job.next(Duration::from_secs(60)) {
            Said::Line(text) => lines.push(text),
            Said::Nothing => {}
            Said::End => break,
        }
    }
    Finished {
        status: job.wait()?,
        lines,
        command: line,
        silent: false,
    }
    .ok()
}

/// A command line as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_arrive_as_lines() {
        assert_eq!(
            output(sh("echo out; echo err >&2")).expect("runs"),
            ["out", "err"]
        );
    }

    #[test]
    fn a_failure_carries_its_last_words_and_status() {
        let error = output(sh("echo why; exit 3"))
            .expect_err("fails")
            .to_string();
        assert!(
            error.contains("why") && error.contains("exit status: 3"),
            "{error}"
        );
    }

    #[test]
    fn a_failed_test_s_words_are_kept_however_many_lines_follow() {
        let error = output(sh(
            "echo noise; echo '---- t8 stdout ----'; echo 'panicked at golden.rs:192';
             seq 100; echo end; exit 1",
        ))
        .expect_err("fails")
        .to_string();
        let (_, error) = error.split_once("exit status").expect("the command first");
        let at = |what: &str| {
            error
                .find(what)
                .unwrap_or_else(|| panic!("{what}: {error}"))
        };
        assert!(at("t8 stdout") < at("golden.rs:192") && at("golden.rs:192") < at("end"));
        assert!(
            !error.contains("noise") && !error.contains("\n50\n"),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_falls_silent_is_ended_with_all_it_started() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let script = format!(
            "echo begun; sleep 600 & echo $! >{}; wait",
            file.path().display()
        );
        let task = Task::new("test");
        let finished =
            run_while_it_speaks(sh(&script), &task, Duration::from_secs(1)).expect("starts");
        assert!(finished.silent && !finished.status.success());
        assert_eq!(finished.lines[0], "begun");
        let child: i32 = std::fs::read_to_string(file.path())
            .expect("reads")
            .trim()
            .parse()
            .expect("a number");
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            // Dead and not yet waited for by its new parent is gone enough.
            stat.map_or(true, |stat| stat.contains(") Z ") || stat.contains(") X "))
        };
        let patience = Instant::now() + Duration::from_secs(60);
        while !gone() {
            assert!(Instant::now() < patience, "{child} outlived its parent");
            thread::sleep(Duration::from_millis(10));
        }
        let quick = run_while_it_speaks(sh("echo done"), &task, Duration::from_secs(60));
        assert!(!quick.expect("runs").silent);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = output(Command::new("/nonexistent/qemu"))
            .expect_err("fails")
            .to_string();
        assert!(error.contains("/nonexistent/qemu"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_text_do_not_end_the_stream() {
        assert_eq!(
            output(sh(r"printf '\377\r\nok\n'")).expect("runs"),
            ["\u{fffd}", "ok"]
        );
    }

    #[test]
    fn a_group_lives_as_long_as_one_of_it_runs() {
        let mut child = Command::new("sh");
        child.args(["-c", "exit 0"]).process_group(0);
        let mut child = child.spawn().expect("starts");
        let group = child.id().cast_signed();
        let ended = (0..250).any(|_| {
            thread::sleep(Duration::from_millis(20));
            !lives(group)
        });
        assert!(ended, "nobody has waited for it, and it runs no more");
        assert!(signal::killpg(Pid::from_raw(group), None::<Signal>).is_ok());
        child.wait().expect("ended");
        let job = Job::start(sh("sleep 600")).expect("starts");
        assert!(lives(job.child.id().cast_signed()));
    }

    #[test]
    fn a_dropped_job_takes_its_children_along() {
        let job = Job::start(sh("sleep 600 & echo $!; wait")).expect("starts");
        let Said::Line(pid) = job.next(Duration::from_secs(10)) else {
            panic!("no line")
        };
        drop(job);
        let pid = Pid::from_raw(pid.parse().expect("a pid"));
        // Killed with the group, then reaped by init: give that a moment.
        let gone = (0..250).any(|_| {
            thread::sleep(Duration::from_millis(20));
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
        assert!(gone, "the grandchild outlived its job");
    }
}
