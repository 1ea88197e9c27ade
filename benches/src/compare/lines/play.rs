//! What runs under valgrind: each contestant's operations, in two threads that
//! take turns.

use super::Single;
use super::trace::Mark;
use crate::compare::peer::{Filled, Peer};
use crate::keys::Keys;
use std::io::{self, BufRead, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use umbra_shadow::sync::{AtomicU64, Ordering};

/// A line that nothing else is in.
#[repr(align(64))]
struct Marks([AtomicU64; 8]);

static MARKS: Marks = Marks([const { AtomicU64::new(0) }; 8]);

fn mark(what: Mark) {
    // Relaxed: nobody reads it; that it is stored is what the trace shows.
    MARKS.0[what as usize].store(1, Ordering::Relaxed);
}

/// A turn's name, as the list on the standard output has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The contestant.
    pub peer: String,
    /// What it does; nothing, if it cannot do what was asked for.
    pub what: Option<Single>,
}

impl Named {
    pub(super) fn parse(line: &str) -> io::Result<Self> {
        let parts = line.split_once(' ').and_then(|(peer, number)| {
            let what = match number {
                "-" => None,
                _ => Some(*Single::ALL.get(number.parse::<usize>().ok()?)?),
            };
            let peer = peer.to_owned();
            Some(Self { peer, what })
        });
        parts.ok_or_else(|| io::Error::other(format!("{line:?} names no turn")))
    }
}

/// What the first line gives: the address of the marks, and one on the first
/// thread's stack.
pub(super) fn parse_places(line: &str) -> io::Result<(u64, u64)> {
    let address = |text| u64::from_str_radix(text, 16).ok();
    line.split_once(' ')
        .and_then(|(marks, stack)| Some((address(marks)?, address(stack)?)))
        .ok_or_else(|| io::Error::other(format!("{line:?} is not two addresses")))
}

/// Objects of a table; few, for a trace is long.
pub const OBJECTS: usize = if cfg!(debug_assertions) { 100 } else { 10_000 };

/// Operations of a turn.
const OPERATIONS: usize = if cfg!(debug_assertions) { 100 } else { 500 };

/// Plays all operations of `peers`, marked, and lists the turns.
///
/// # Errors
/// Of the standard input and output.
pub fn run(peers: &[Peer]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let here = 0u8;
    let places = ((&raw const MARKS).addr(), (&raw const here).addr());
    writeln!(out, "{:x} {:x}", places.0, places.1)?;
    out.flush()?;
    io::stdin().lock().read_line(&mut String::new())?;
    let keys = Keys::new(OBJECTS);
    let mut list = String::new();
    for peer in peers {
        for what in play(peer, &keys) {
            let number = what.and_then(|what| Single::ALL.iter().position(|s| *s == what));
            let number = number.map_or_else(|| "-".to_owned(), |n| n.to_string());
            list += &format!("{} {number}\n", peer.name);
        }
    }
    out.write_all(list.as_bytes())
}

/// What is played together: insertions and removals leave the table as it was,
/// so that the second thread finds what the first one found.
const SCENES: [&[Single]; 7] = [
    &[Single::Hit],
    &[Single::Miss],
    &[Single::Many],
    &[Single::Session],
    &[Single::Guard],
    &[Single::Insert, Single::Free],
    &[Single::FreeAll],
];

/// Plays one contestant's; the turns that were taken.
fn play(peer: &Peer, keys: &Keys) -> Vec<Option<Single>> {
    let table = (peer.filled)(keys);
    let act = |scene: &[Single]| -> Vec<Option<Single>> {
        scene
            .iter()
            .map(|&what| turn(&*table, keys, what))
            .collect()
    };
    let mut done = Vec::new();
    std::thread::scope(|scope| {
        let (go, gone): (Sender<&[Single]>, Receiver<&[Single]>) = channel();
        let (ready, other) = channel();
        let act = &act;
        scope.spawn(move || {
            for scene in gone {
                if ready.send(act(scene)).is_err() {
                    return;
                }
            }
        });
        for scene in SCENES {
            done.extend(act(scene));
            if go.send(scene).is_ok() {
                done.extend(other.recv().unwrap_or_default());
            }
        }
        drop(go);
    });
    done
}

/// One thread's operations of one kind; nothing, if there is no such operation.
fn turn(table: &dyn Filled, keys: &Keys, what: Single) -> Option<Single> {
    let list = match what {
        Single::Miss | Single::Insert | Single::Free => keys.absent(),
        _ => keys.present(),
    };
    let list = &list[..OPERATIONS];
    // Once before, for what only the first operation of a thread makes.
    match what {
        Single::Insert | Single::Free => {}
        Single::FreeAll => _ = table.singly(Single::Insert, list, &mut |insert| insert()),
        _ => _ = table.singly(what, list, &mut |operation| operation()),
    }
    mark(Mark::Turn);
    table
        .singly(what, list, &mut |operation| {
            mark(Mark::Begin);
            operation();
            mark(Mark::End);
        })
        .then_some(what)
}
