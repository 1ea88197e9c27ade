//! Several programs at once, from one thread.
//!
//! A [`Job`] dies with the thread that started it, so all of them are started
//! and listened to here, on the main thread, in turns.

use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::proc::{Job, Said};

/// A program to run, and what the caller knows it by.
pub(crate) struct Work<T> {
    /// Handed back with the result.
    pub(crate) tag: T,
    /// The program.
    pub(crate) command: Command,
    /// It is ended after this time.
    pub(crate) limit: Duration,
}

/// How a program ended.
pub(crate) struct Ended {
    /// Its status; none if it was ended for its time.
    pub(crate) status: Option<ExitStatus>,
    /// All it printed.
    pub(crate) lines: Vec<String>,
    /// How long it ran.
    pub(crate) time: Duration,
}

impl Ended {
    /// It ended by itself, and well.
    pub(crate) fn ok(&self) -> bool {
        self.status.is_some_and(|s| s.success())
    }
}

/// What hands out work and takes results; both may go on as results arrive.
pub(crate) trait Source<T> {
    /// The next program; none for now or for good.
    fn next(&mut self) -> Option<Work<T>>;
    /// One has ended.
    fn ended(&mut self, tag: T, ended: Ended) -> Result<()>;
    /// Called often, with how many are running.
    fn tick(&mut self) {}
}

struct Slot<T> {
    tag: T,
    job: Job,
    lines: Vec<String>,
    started: Instant,
    limit: Duration,
}

enum State {
    Running,
    Ended,
    Late,
}

/// Runs all that the source has, `width` at a time.
pub(crate) fn run<T>(width: usize, source: &mut impl Source<T>) -> Result<()> {
    let mut slots: Vec<Slot<T>> = Vec::new();
    loop {
        while slots.len() < width {
            let Some(work) = source.next() else { break };
            slots.push(Slot {
                tag: work.tag,
                job: Job::start(work.command)?,
                lines: Vec::new(),
                started: Instant::now(),
                limit: work.limit,
            });
        }
        if slots.is_empty() {
            return Ok(());
        }
        source.tick();
        // The first one may be waited for; the others are only asked.
        let mut patience = Duration::from_millis(5);
        let mut at = 0;
        while at < slots.len() {
            let state = listen(&mut slots[at], patience);
            patience = Duration::ZERO;
            if matches!(state, State::Running) {
                at += 1;
                continue;
            }
            let slot = slots.swap_remove(at);
            let time = slot.started.elapsed();
            let status = match state {
                State::Late => {
                    slot.job.kill();
                    None
                }
                _ => Some(slot.job.wait()?),
            };
            source.ended(
                slot.tag,
                Ended {
                    status,
                    lines: slot.lines,
                    time,
                },
            )?;
        }
    }
}

/// Takes what a program has printed by now.
fn listen<T>(slot: &mut Slot<T>, patience: Duration) -> State {
    let mut patience = patience;
    loop {
        if slot.started.elapsed() > slot.limit {
            return State::Late;
        }
        match slot.job.next(patience) {
            Said::Line(line) => slot.lines.push(line),
            Said::Nothing => return State::Running,
            Said::End => return State::Ended,
        }
        patience = Duration::ZERO;
    }
}

/// How many programs to run at once: one for each processor.
pub(crate) fn width() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scripts {
        left: Vec<(&'static str, u64)>,
        seen: Vec<(&'static str, bool, bool, Vec<String>)>,
    }

    impl Source<&'static str> for Scripts {
        fn next(&mut self) -> Option<Work<&'static str>> {
            let (script, limit) = self.left.pop()?;
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Some(Work {
                tag: script,
                command,
                limit: Duration::from_millis(limit),
            })
        }

        fn ended(&mut self, tag: &'static str, ended: Ended) -> Result<()> {
            let late = ended.status.is_none();
            self.seen.push((tag, ended.ok(), late, ended.lines));
            Ok(())
        }
    }

    #[test]
    fn each_one_ends_once_with_its_own_lines_and_verdict() {
        let mut scripts = Scripts {
            left: vec![
                ("echo a; exit 3", 60_000),
                ("sleep 600", 200),
                ("echo b; echo c", 60_000),
            ],
            seen: Vec::new(),
        };
        run(2, &mut scripts).expect("starts");
        scripts.seen.sort_unstable();
        let lines = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            scripts.seen,
            [
                ("echo a; exit 3", false, false, lines(&["a"])),
                ("echo b; echo c", true, false, lines(&["b", "c"])),
                ("sleep 600", false, true, lines(&[])),
            ]
        );
    }
}
