//! Freeing a quarter of all entries while a reader goes on.
//!
//! ```text
//!  writer   |-- free ------|-- until reclaimed --|
//!  reader  ..get..get..get..get..get..get..get..get..   each one timed
//!              ^ first one that finds nothing: invisible
//! ```
//! Umbra's quarter is an id of its own, as a state's shadows are, and
//! `free_all` frees it. The others have one table and free entry by entry.
//! The reader takes a guard for each lookup, which is when somebody else's
//! garbage can fall to it. Wall time, for waiting counts.

use super::super::clock::{stay_anywhere, stay_on};
use super::super::model::{Row, Tail};
use super::super::peer::{Filled, Peer};
use super::super::stats::Distribution;
use super::super::targets::{Series, UMBRA};
use super::{Kind, Spec, series};
use crate::keys::Keys;
use crate::peers::Umbra;
use crate::{Lookup, Map};
use std::time::{Duration, Instant};
use umbra_shadow::sync::{AtomicUsize, Ordering};
use umbra_shadow::{Epoch, Smr};

/// What one run found.
struct Run {
    invisible: Duration,
    reclaimed: Option<Duration>,
    /// The reader's lookups while the others were freed, in nanoseconds.
    during: Vec<u32>,
    /// And before.
    before: Vec<u32>,
}

/// A table of which a part can be freed.
trait Scene: Sync {
    fn get_part(&self, key: usize) -> Option<u64>;
    fn get_rest(&self, key: usize) -> Option<u64>;
    fn free(&self, part: &[usize]);
    /// Returns when what was freed is reclaimed; false if nobody can tell.
    fn wait(&self) -> bool;
}

/// Two ids of Umbra.
struct TwoIds {
    part: Umbra,
    rest: Umbra,
}

impl TwoIds {
    fn filled(keys: &Keys, part: &[usize]) -> Self {
        let ids = Self {
            part: Umbra::new(0),
            rest: Umbra::new(0),
        };
        let guard = ids.part.guard();
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        for (key, word) in keys.pairs() {
            let id = match sorted.binary_search(&key) {
                Ok(_) => &ids.part,
                Err(_) => &ids.rest,
            };
            id.get_or_alloc(key, word, &guard);
        }
        ids
    }
}

impl Scene for TwoIds {
    fn get_part(&self, key: usize) -> Option<u64> {
        self.part.get(key, &self.part.guard())
    }

    fn get_rest(&self, key: usize) -> Option<u64> {
        self.rest.get(key, &self.rest.guard())
    }

    fn free(&self, _: &[usize]) {
        self.part.free_all();
    }

    fn wait(&self) -> bool {
        Epoch.barrier();
        true
    }
}

/// A contestant with one table for all.
struct One(Box<dyn Filled>);

impl Scene for One {
    fn get_part(&self, key: usize) -> Option<u64> {
        self.0.get_guarded(key)
    }

    fn get_rest(&self, key: usize) -> Option<u64> {
        self.0.get_guarded(key)
    }

    fn free(&self, part: &[usize]) {
        self.0.free_part(part);
    }

    fn wait(&self) -> bool {
        false
    }
}

const BEFORE: usize = 0;
const DURING: usize = 1;
const OVER: usize = 2;

/// Lookups that the reader keeps at most, before and during.
const KEPT: usize = 1 << 20;

fn one_run(scene: &dyn Scene, part: &[usize], rest: &[usize]) -> Run {
    let phase = AtomicUsize::new(BEFORE);
    let reading = AtomicUsize::new(0);
    let begin = Instant::now();
    let last = part[part.len() - 1];
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            stay_on(1);
            let mut lists = [Vec::with_capacity(KEPT), Vec::with_capacity(KEPT)];
            let mut gone = None;
            let mut at = 0;
            loop {
                // Acquire: pairs with the writer's Release stores; nothing
                // hangs on it but which list a lookup is put in.
                let now = phase.load(Ordering::Acquire);
                if now == OVER {
                    return (gone, lists);
                }
                let start = begin.elapsed();
                let of_part = at % 4 == 0;
                let found = if of_part {
                    scene.get_part(last)
                } else {
                    scene.get_rest(rest[at % rest.len()])
                };
                let end = begin.elapsed();
                if of_part && found.is_none() && gone.is_none() {
                    gone = Some(end);
                }
                if lists[now].len() < KEPT {
                    lists[now].push((end - start).as_nanos().try_into().unwrap_or(u32::MAX));
                }
                at += 1;
                if at == 20_000 {
                    // Release: pairs with the writer's Acquire load.
                    reading.store(1, Ordering::Release);
                }
            }
        });
        stay_on(0);
        // Acquire: pairs with the reader's Release: it is under way.
        while reading.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        // Release, here and below: pairs with the reader's Acquire load.
        phase.store(DURING, Ordering::Release);
        let freeing = begin.elapsed();
        scene.free(part);
        let freed = begin.elapsed();
        let reclaimed = scene.wait().then(|| begin.elapsed() - freeing);
        // Release: as above.
        phase.store(OVER, Ordering::Release);
        let (gone, [before, during]) = reader.join().expect("no lookup panics");
        // What comes next fills tables, with threads of their own in some.
        stay_anywhere();
        Run {
            // No later than the call's return, if the reader was not looking.
            invisible: gone.unwrap_or(freed).min(freed).saturating_sub(freeing),
            reclaimed,
            during,
            before,
        }
    })
}

/// Runs the rows among `specs`, which share their runs.
pub(super) fn rows(
    specs: &[Spec],
    peers: &[Peer],
    keys: &Keys,
    rounds: usize,
    say: &dyn Fn(&str),
    done: &mut dyn FnMut(Row),
) {
    if specs.is_empty() {
        return;
    }
    let quarter = keys.len() / 4;
    let (part, rest) = keys.present().split_at(quarter);
    let peers: Vec<_> = peers
        .iter()
        .filter(|p| p.writes.is_some() && (p.fewer)(keys.len()) == 1)
        .copied()
        .collect();
    let mut invisible = series(&peers);
    let mut reclaimed = series(&peers);
    let mut reader = series(&peers);
    let mut during = vec![Vec::new(); peers.len()];
    let mut before = vec![Vec::new(); peers.len()];
    for round in 0..rounds {
        say(&format!("free-all: round {} of {rounds}", round + 1));
        for (i, peer) in peers.iter().enumerate() {
            let scene: Box<dyn Scene> = if peer.name == UMBRA {
                Box::new(TwoIds::filled(keys, part))
            } else {
                Box::new(One((peer.filled)(keys)))
            };
            let run = one_run(&*scene, part, rest);
            invisible[i].samples.push(run.invisible.as_secs_f64() * 1e6);
            if let Some(time) = run.reclaimed {
                reclaimed[i].samples.push(time.as_secs_f64() * 1e3);
            }
            let tail = Distribution::of(run.during.clone());
            if tail.count > 0 {
                reader[i].samples.push(tail.at(0.999) / 1e3);
            }
            during[i].extend(run.during);
            before[i].extend(run.before);
        }
    }
    let tails: Vec<_> = [("lookup while freeing", during), ("lookup before", before)]
        .into_iter()
        .flat_map(|(what, lists)| {
            peers
                .iter()
                .zip(lists)
                .filter(|(_, nanos)| !nanos.is_empty())
                .map(move |(peer, nanos)| Tail {
                    peer: peer.name.into(),
                    what: what.into(),
                    distribution: Distribution::of(nanos),
                })
        })
        .collect();
    let kept = |series: &[Series]| -> Vec<Series> {
        let some = |s: &&Series| !s.samples.is_empty();
        series.iter().filter(some).cloned().collect()
    };
    for spec in specs {
        let (series, tails, note) = match spec.kind {
            Kind::FreeInvisible => (&invisible, Vec::new(), "others free entry by entry"),
            Kind::FreeReclaimed => (
                &reclaimed,
                Vec::new(),
                "no other contestant can say when its memory is back",
            ),
            _ => (
                &reader,
                tails.clone(),
                "each lookup includes reading the clock and a guard of its own",
            ),
        };
        done(spec.row(&kept(series), tails, vec![note.into()]));
    }
}
