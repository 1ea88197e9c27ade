//! Shared cache lines that each operation writes.
//!
//! What a line costs that two processors write cannot be seen on a machine with
//! two, and on one with many it is all that matters. So it is counted: this
//! program runs again under valgrind, whose tool lackey lists each access to
//! memory of everything that runs, contestants, allocators and libraries alike.
//!
//! ```text
//!  thread A   hit(k1) hit(k2) ..  | written(A, k1), written(A, k2) ..
//!  thread B   hit(k1) hit(k2) ..  | touched(B, k1), touched(B, k2) ..
//!                                 |
//!  shared lines written by hit = mean over k of |written(A, k) ∩ touched(B, k)|
//! ```
//! A thread's own stack, its epoch or its hazard pointer is written by an
//! operation and not touched by another thread's: it stays in its processor's
//! cache and is not counted. What *is* counted has to come from another
//! processor as soon as two of them do that operation on the same object.
//!
//! Three more figures come of it. How many of these lines two operations on
//! *different* objects have in common: 1 is one lock for all, 1/64 is 64 shards.
//! Which share of all operations writes the line that most of them write: they queue
//! up for it, however many processors there are. And how many lines a lookup touches that hardly another one does: those are
//! what comes from memory when a table is large.
//!
//! | module | is |
//! |---|---|
//! | [`play`] | what runs under valgrind |
//! | [`trace`] | what reads the trace |

pub mod play;
pub mod trace;

use super::model::Row;
use super::peer::roster;
use super::rows::Spec;
use super::targets::{Series, UMBRA, number};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use trace::{Counted, Reader, Turn};

/// An operation whose accesses are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Single {
    /// A lookup that finds something, under a guard that is held.
    Hit,
    /// One that finds nothing, likewise.
    Miss,
    /// 32 lookups at once, likewise.
    Many,
    /// A hit, protected by itself in a session.
    Session,
    /// Taking a guard and letting it go.
    Guard,
    /// An insertion.
    Insert,
    /// A removal.
    Free,
    /// Freeing all at once.
    FreeAll,
}

/// What is counted of its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Shared ones that it writes.
    Written,
    /// Those that two operations on different objects both write.
    Met,
    /// Of all operations, how many in a hundred write the line that most write.
    Hottest,
    /// Those that it touches, and hardly another operation.
    Cold,
}

impl Single {
    /// All of them, in the order in which they are played.
    pub const ALL: [Self; 8] = [
        Self::Hit,
        Self::Miss,
        Self::Many,
        Self::Session,
        Self::Guard,
        Self::Insert,
        Self::Free,
        Self::FreeAll,
    ];
}

/// Why the lines could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no valgrind.
    #[error("cannot run valgrind: {0}; apt-get install valgrind")]
    Valgrind(#[source] io::Error),
    /// The trace or the list of turns broke off.
    #[error("the run under valgrind broke off: {0}")]
    Broken(#[source] io::Error),
    /// It failed.
    #[error("the run under valgrind failed ({status}): {said}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// Its last words that are no trace.
        said: String,
    },
    /// It told of more or fewer turns than it took.
    #[error("the run under valgrind took {taken} turns and named {named}")]
    Turns {
        /// Those in the trace.
        taken: usize,
        /// Those in its list.
        named: usize,
    },
}

/// What a run of `program`, which is to [`play::run`], comes to: each
/// contestant's operations, counted.
///
/// # Errors
/// [`Error`].
pub fn count(mut program: Command) -> Result<Vec<(String, Single, Counted)>, Error> {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::Valgrind)?;
    let result = follow(&mut child);
    if result.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(Error::Broken)?;
    let (turns, named, said) = result?;
    if !status.success() {
        return Err(Error::Failed { status, said });
    }
    if turns.len() != named.len() {
        let (taken, named) = (turns.len(), named.len());
        return Err(Error::Turns { taken, named });
    }
    Ok(meet(turns, &named))
}

/// The trace's turns, the names that the program gives them, and what else was
/// said.
fn follow(child: &mut Child) -> Result<(Vec<Turn>, Vec<play::Named>, String), Error> {
    let broken = |what: &str| Error::Broken(io::Error::other(what.to_owned()));
    let mut stdin = child.stdin.take().ok_or_else(|| broken("no input"))?;
    let stdout = child.stdout.take().ok_or_else(|| broken("no output"))?;
    let trace: ChildStderr = child.stderr.take().ok_or_else(|| broken("no trace"))?;
    let (tell, told) = std::sync::mpsc::channel();
    let names = std::thread::spawn(move || -> io::Result<Vec<play::Named>> {
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let _ = tell.send(play::parse_places(&first));
        // It waits for this line, so no mark is in the trace before we know
        // what a mark is.
        stdin.write_all(b"go\n")?;
        lines.map(|line| play::Named::parse(&line?)).collect()
    });
    let mut reader = Reader::default();
    let mut said = String::new();
    for line in BufReader::with_capacity(1 << 20, trace).split(b'\n') {
        let line = line.map_err(Error::Broken)?;
        if !reader.knows_places()
            && let Ok(places) = told.try_recv()
        {
            let (marks, stack) = places.map_err(Error::Broken)?;
            reader.places(marks, stack);
        }
        if !reader.line(&line) && said.len() < 4096 {
            said.push_str(&String::from_utf8_lossy(&line));
            said.push('\n');
        }
    }
    let names = names.join().map_err(|_| broken("its list was not read"))?;
    Ok((reader.turns(), names.map_err(Error::Broken)?, said))
}

/// Puts the two threads' turns of each operation together.
fn meet(turns: Vec<Turn>, named: &[play::Named]) -> Vec<(String, Single, Counted)> {
    let mut first: Vec<(&play::Named, Turn)> = Vec::new();
    let mut all = Vec::new();
    for (turn, name) in turns.into_iter().zip(named) {
        let Some(what) = name.what else { continue };
        let same = |(n, _): &(&play::Named, Turn)| n.peer == name.peer && n.what == name.what;
        match first.iter().position(same) {
            None => first.push((name, turn)),
            Some(at) => {
                let (_, a) = first.swap_remove(at);
                all.push((name.peer.clone(), what, Counted::of(&a, &turn)));
            }
        }
    }
    all
}

/// The row of a measure, from all that was counted.
#[must_use]
pub fn row(spec: &Spec, all: &[(String, Single, Counted)]) -> Option<Row> {
    let (what, count) = spec.traced()?;
    let names = roster();
    let mut series = Vec::new();
    let mut notes = Vec::new();
    for (peer, _, counted) in all.iter().filter(|(_, w, _)| *w == what) {
        let Some(known) = names.iter().find(|p| p.name == peer) else {
            continue;
        };
        let figure = match count {
            Count::Written => counted.written,
            Count::Met => counted.met,
            Count::Hottest => counted.hottest * 100.0,
            Count::Cold => counted.cold,
        };
        series.push(Series {
            peer: known.name,
            samples: vec![figure],
        });
        if count == Count::Written && peer == UMBRA && counted.own > 0.0 {
            let own = number(counted.own);
            notes.push(format!(
                "with the thread's own lines, but for its stack, umbra writes {own}"
            ));
        }
    }
    Some(spec.row(&series, Vec::new(), notes))
}

#[cfg(test)]
mod tests;
