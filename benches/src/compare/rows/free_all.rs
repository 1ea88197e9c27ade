//! Freeing a quarter of all entries while a reader goes on.
//!
//! ```text
//!  writer   |-- free ------|-- until reclaimed --|
//!  reader  ..get..get..get..get..get..get..get..get..   each one timed
//!              ^ first one that finds nothing: invisible
//! ```
//! What a quarter is differs, and so each is a row of its own:
//!
//! | rows | Umbra's quarter | the others' | freed by |
//! |---|---|---|---|
//! | `free-all-*` | an id of its own, as a state's shadows are | some entries of the one table | Umbra `free_all`, others entry by entry |
//! | `free-map-*` | the same | a table of its own | `free_all`; the others' own operation for it (`clear`), or entry by entry if there is none |
//!
//! The first is what one has who keeps everything in one map, the second what one has who
//! keeps a map for each state. (To drop such a map is no way: there are readers.)
//!
//! The reader takes a guard for each lookup, which is when somebody else's
//! garbage can fall to it. Wall time, for waiting counts.

use super::super::clock::{stay_anywhere, stay_on};
use super::super::model::{Row, Tail};
use super::super::peer::{Filled, Peer};
use super::super::stats::Distribution;
use super::super::targets::{Series, UMBRA};
use super::catalogue::Quarter;
use super::{Kind, Spec, series, turns};
use crate::keys::Keys;
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

/// A contestant's entries.
enum Tables {
    /// All in one table.
    One(Box<dyn Filled>),
    /// A quarter in a table of its own, and the rest.
    Two([Box<dyn Filled>; 2]),
}

/// How a quarter was freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freed {
    /// Entry by entry, so many, in the order of the list.
    Each(u64),
    /// By one operation.
    AtOnce,
}

impl Tables {
    /// Umbra has two ids in any case. `None` for what cannot be written.
    fn filled(quarter: Quarter, peer: &Peer, keys: &Keys, part: usize) -> Option<Self> {
        let writes = peer.writes?;
        Some(match quarter {
            Quarter::OfOne if peer.name != UMBRA => Self::One((peer.filled)(keys)),
            _ => Self::Two((writes.two)(keys, part)),
        })
    }

    fn of_part(&self) -> &dyn Filled {
        match self {
            Self::One(table) | Self::Two([table, _]) => &**table,
        }
    }

    fn of_rest(&self) -> &dyn Filled {
        match self {
            Self::One(table) | Self::Two([_, table]) => &**table,
        }
    }

    fn free(&self, part: &[usize]) -> Freed {
        match self {
            Self::Two([table, _]) if table.free_everything() => Freed::AtOnce,
            _ => Freed::Each(self.of_part().free_part(part)),
        }
    }

    /// # Panics
    /// If an entry of `part` is left, or one of `rest` is not.
    fn check(&self, name: &str, part: &[usize], rest: &[usize]) {
        let left = |&key: &usize| self.of_part().get_guarded(key).is_some();
        assert!(!part.iter().any(left), "{name} has some of it left");
        let kept = |&key: &usize| self.of_rest().get_guarded(key).is_some();
        let some = rest.len().min(CHECKED);
        assert!(rest[..some].iter().all(kept), "{name} has lost others");
    }
}

/// Of the entries that should be left, so many are looked for afterwards.
const CHECKED: usize = 100_000;

const BEFORE: usize = 0;
const DURING: usize = 1;
const OVER: usize = 2;

/// Lookups that the reader keeps at most, before and during.
const KEPT: usize = 1 << 20;

/// # Panics
/// If the contestant frees something else, or the reader misses an entry that nobody frees.
fn one_run(name: &str, tables: &Tables, part: &[usize], rest: &[usize]) -> Run {
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
            let mut missed = 0;
            loop {
                // Acquire: pairs with the writer's Release stores; nothing
                // hangs on it but which list a lookup is put in.
                let now = phase.load(Ordering::Acquire);
                if now == OVER {
                    return (gone, lists, missed);
                }
                let start = begin.elapsed();
                let of_part = at % 4 == 0;
                let found = if of_part {
                    tables.of_part().get_guarded(last)
                } else {
                    tables.of_rest().get_guarded(rest[at % rest.len()])
                };
                let end = begin.elapsed();
                if found.is_none() {
                    if of_part {
                        gone = gone.or(Some(end));
                    } else {
                        missed += 1;
                    }
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
        let how = tables.free(part);
        let freed = begin.elapsed();
        // No other contestant can tell.
        let reclaimed = (name == UMBRA).then(|| {
            Epoch.barrier();
            begin.elapsed() - freeing
        });
        // Release: as above.
        phase.store(OVER, Ordering::Release);
        let (gone, [before, during], missed) = reader.join().expect("no lookup panics");
        // What comes next fills tables, with threads of their own in some.
        stay_anywhere();
        assert_eq!(missed, 0, "{name}: the reader missed what nobody freed");
        if let Freed::Each(count) = how {
            assert_eq!(count, part.len() as u64, "{name} freed so many");
        }
        tables.check(name, part, rest);
        Run {
            invisible: invisible(name, how, gone, freed).saturating_sub(freeing),
            reclaimed,
            during,
            before,
        }
    })
}

/// When no lookup finds an entry any more: when the reader missed the last one of the list,
/// if that is the last to go. It is, where they are freed in the list's order, and where all
/// go in the same moment, which is so of Umbra alone: a `clear` goes through a table in an
/// order that is its own, and all that is sure is that it has returned. No later than that,
/// if the reader was not looking.
fn invisible(name: &str, how: Freed, gone: Option<Duration>, freed: Duration) -> Duration {
    let last = name == UMBRA || how != Freed::AtOnce;
    gone.filter(|_| last).unwrap_or(freed).min(freed)
}

/// Runs the rows among `specs`. Those of one kind of quarter share their runs.
pub(super) fn rows(
    specs: &[Spec],
    peers: &[Peer],
    keys: &Keys,
    rounds: usize,
    say: &dyn Fn(&str),
    done: &mut dyn FnMut(Row),
) {
    for quarter in [Quarter::OfOne, Quarter::Apart] {
        let of = |spec: &&Spec| match spec.kind {
            Kind::FreeInvisible(of) | Kind::FreeReader(of) => of == quarter,
            _ => quarter == Quarter::OfOne,
        };
        let specs: Vec<_> = specs.iter().filter(of).collect();
        if !specs.is_empty() {
            let found = Found::of(quarter, peers, keys, rounds, say);
            specs.iter().for_each(|spec| done(found.row(spec)));
        }
    }
}

/// What all runs found.
struct Found {
    invisible: Vec<Series>,
    reclaimed: Vec<Series>,
    reader: Vec<Series>,
    tails: Vec<Tail>,
    notes: [&'static str; 2],
}

impl Found {
    fn of(
        quarter: Quarter,
        peers: &[Peer],
        keys: &Keys,
        rounds: usize,
        say: &dyn Fn(&str),
    ) -> Self {
        let (part, rest) = keys.present().split_at(keys.len() / 4);
        let peers: Vec<_> = peers
            .iter()
            .filter(|p| p.writes.is_some() && (p.fewer)(keys.len()) == 1)
            .copied()
            .collect();
        let [mut invisible, mut reclaimed, mut reader] = [(); 3].map(|()| series(&peers));
        let mut during = vec![Vec::new(); peers.len()];
        let mut before = vec![Vec::new(); peers.len()];
        for round in 0..rounds {
            say(&format!("freeing: round {} of {rounds}", round + 1));
            for i in turns(peers.len(), round) {
                let peer = &peers[i];
                let Some(tables) = Tables::filled(quarter, peer, keys, part.len()) else {
                    continue;
                };
                let run = one_run(peer.name, &tables, part, rest);
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
        let tails = [("lookup while freeing", during), ("lookup before", before)]
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
        for list in [&mut invisible, &mut reclaimed, &mut reader] {
            list.retain(|s| !s.samples.is_empty());
        }
        let compared = match quarter {
            Quarter::OfOne => {
                "not the same operation: Umbra's free_all of an id, others' removals one by one"
            }
            Quarter::Apart => {
                "Umbra's free_all of an id, others' clear() of a map; cds_lfht has none and removes one by one"
            }
        };
        let clock = "each lookup includes reading the clock and a guard of its own";
        Self {
            invisible,
            reclaimed,
            reader,
            tails,
            notes: [compared, clock],
        }
    }

    fn row(&self, spec: &Spec) -> Row {
        let [compared, clock] = self.notes;
        let (series, tails, notes) = match spec.kind {
            Kind::FreeInvisible(_) => (&self.invisible, Vec::new(), vec![compared]),
            Kind::FreeReclaimed => {
                let note = "no other contestant can say when its memory is back";
                (&self.reclaimed, Vec::new(), vec![note])
            }
            _ => (&self.reader, self.tails.clone(), vec![compared, clock]),
        };
        let notes = notes.into_iter().map(Into::into).collect();
        spec.row(series, tails, notes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::peer::{Operation, roster};
    use super::*;
    use std::cell::RefCell;
    use std::panic::catch_unwind;

    thread_local! {
        /// Whose turn it was, one after the other.
        static ORDER: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }

    fn peer(name: &str) -> Peer {
        let found = roster().into_iter().find(|p| p.name == name);
        found.expect("in the roster")
    }

    #[test]
    fn everybody_is_first_in_turn_and_frees_as_its_row_says() {
        let keys = Keys::new(400);
        let (part, _) = keys.present().split_at(100);
        let how = |quarter, name| {
            let tables = Tables::filled(quarter, &peer(name), &keys, 100).expect("written");
            tables.free(part)
        };
        assert_eq!(how(Quarter::OfOne, UMBRA), Freed::AtOnce);
        assert_eq!(how(Quarter::OfOne, "papaya"), Freed::Each(100));
        for peer in roster().iter().filter(|p| p.writes.is_some()) {
            let expected = match peer.name {
                "cds_lfht" => Freed::Each(100),
                _ => Freed::AtOnce,
            };
            assert_eq!(how(Quarter::Apart, peer.name), expected, "{}", peer.name);
        }

        let [mut one, mut other] = ["dashmap", "papaya"].map(peer);
        one.filled = |keys| {
            ORDER.with_borrow_mut(|order| order.push("dashmap"));
            (peer("dashmap").filled)(keys)
        };
        other.filled = |keys| {
            ORDER.with_borrow_mut(|order| order.push("papaya"));
            (peer("papaya").filled)(keys)
        };
        let found = Found::of(Quarter::OfOne, &[one, other], &keys, 2, &|_| ());
        assert!(found.invisible.iter().all(|s| s.samples.len() == 2));
        let order = ["dashmap", "papaya", "papaya", "dashmap"];
        assert_eq!(ORDER.take(), order);
    }

    #[test]
    fn a_clear_is_over_when_it_returns() {
        let [gone, freed] = [5, 9].map(Duration::from_micros);
        let when = |name, how| invisible(name, how, Some(gone), freed);
        assert_eq!(when(UMBRA, Freed::AtOnce), gone);
        assert_eq!(when("papaya", Freed::Each(3)), gone);
        assert_eq!(when("papaya", Freed::AtOnce), freed);
        assert_eq!(invisible(UMBRA, Freed::AtOnce, None, freed), freed);
    }

    #[test]
    fn who_has_freed_is_kept_on_no_processor() {
        let work = || {
            let all = std::thread::available_parallelism().map(usize::from);
            let keys = Keys::new(400);
            Found::of(Quarter::Apart, &[peer("dashmap")], &keys, 1, &|_| ());
            let now = std::thread::available_parallelism().map(usize::from);
            assert_eq!(now.expect("a number"), all.expect("a number"));
        };
        std::thread::spawn(work).join().expect("as above");
    }

    /// What a table does wrong.
    #[derive(Clone, Copy, PartialEq)]
    enum Wrong {
        Nothing,
        /// It leaves this place of the ring, or frees it though nobody asked.
        Frees(usize),
        /// It says one too few.
        Counts,
        /// One lookup of an entry that nobody frees finds nothing.
        Blinks,
    }

    struct Table(Box<dyn Filled>, Wrong, usize, AtomicUsize);

    impl Filled for Table {
        fn run(&self, operation: Operation, part: &[usize]) -> Option<u64> {
            self.0.run(operation, part)
        }

        fn mixed(&self, operations: &[usize]) -> Option<u64> {
            self.0.mixed(operations)
        }

        fn get_guarded(&self, key: usize) -> Option<u64> {
            // Relaxed: only the reader looks anything up by then. Every fourth is of the part.
            let lookups = self.3.fetch_add(1, Ordering::Relaxed);
            let blinks = self.1 == Wrong::Blinks && lookups == 10_001;
            self.0.get_guarded(key).filter(|_| !blinks)
        }

        fn free_part(&self, part: &[usize]) -> u64 {
            let some: Vec<_> = part.iter().copied().filter(|k| *k != self.2).collect();
            self.0.free_part(&some);
            if self.2 != 0 && !part.contains(&self.2) {
                self.0.free_part(&[self.2]);
            }
            part.len() as u64 - u64::from(self.1 == Wrong::Counts)
        }
    }

    #[test]
    fn who_frees_something_else_is_stopped() {
        let stopped = |wrong| {
            let run = || {
                let keys = Keys::new(4000);
                let (part, rest) = keys.present().split_at(1000);
                let key = match wrong {
                    Wrong::Frees(at) => keys.present()[at],
                    _ => 0,
                };
                let table = (peer("papaya").filled)(&keys);
                let table = Table(table, wrong, key, AtomicUsize::new(0));
                one_run("papaya", &Tables::One(Box::new(table)), part, rest)
            };
            catch_unwind(run).is_err()
        };
        assert!(!stopped(Wrong::Nothing));
        assert!(stopped(Wrong::Frees(10)), "one is left");
        assert!(stopped(Wrong::Frees(1500)), "one is lost");
        assert!(stopped(Wrong::Counts));
        assert!(stopped(Wrong::Blinks));
    }
}
