//! One contestant behind a trait object, so that a row can be run over a list.
//!
//! A call through the object covers thousands of operations, and inside it the
//! contestant's own code is compiled in: nobody pays for the indirection.

use super::clock::timed;
use super::lines::Single;
use crate::keys::Keys;
use crate::peers::{
    Chase, Dash, Flurry, Klp, P32, P64, PapayaBlocking, PapayaDefault, PapayaSized, SccIndex,
    SccMap, Sharded, Umbra,
};
use crate::{InSession, Map, workload};
use std::hint::black_box;
use std::time::Duration;

/// A kind of lookup that a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Present keys, none waiting for another.
    Hit,
    /// Each present key named by the payload before it.
    HitDependent,
    /// Absent keys, none waiting for another.
    Miss,
    /// Each absent key computed from the result before it.
    MissDependent,
    /// Present keys, 32 at a time, where the contestant has a way to.
    Many,
    /// As `Hit`, with a guard taken for each.
    HitGuarded,
    /// As `Hit`, each protected on its own in a session.
    HitInSession,
    /// Nothing but taking a guard and letting it go, once for each key.
    Guard,
}

impl Operation {
    /// The keys that it looks up.
    #[must_use]
    pub fn keys(self, keys: &Keys) -> &[usize] {
        match self {
            Self::Miss | Self::MissDependent => keys.absent(),
            _ => keys.present(),
        }
    }
}

/// A filled contestant.
pub trait Filled: Send + Sync {
    /// Looks up `part`, a run of neighbours in the keys' order of lookup, under
    /// one guard; the sum of the words that were read (of a dependent walk: the
    /// last word). `None` if the contestant has no such operation.
    fn run(&self, operation: Operation, part: &[usize]) -> Option<u64>;

    /// Carries out mixed operations as [`mixed_op`] packs them, a guard for
    /// each [`GUARDED`] of them; a word that depends on all. `None` for what
    /// cannot be written.
    fn mixed(&self, operations: &[usize]) -> Option<u64>;

    /// Looks up each key under a guard of its own.
    fn get_guarded(&self, key: usize) -> Option<u64>;

    /// Frees `part`, entry by entry in its order; how many were there. Returns when no
    /// lookup finds one of them.
    fn free_part(&self, part: &[usize]) -> u64;

    /// Frees all entries by one operation; whether the contestant has one. Returns when
    /// no lookup finds one of them.
    fn free_everything(&self) -> bool {
        false
    }

    /// Does `what` to each of `keys`, each operation inside a call of `around`,
    /// and nothing else in there. Whether the contestant can do it.
    fn singly(
        &self,
        _what: Single,
        _keys: &[usize],
        _around: &mut dyn FnMut(&mut dyn FnMut()),
    ) -> bool {
        false
    }
}

/// Operations under one guard in mixed work: long enough that its cost does not
/// matter, short enough that what was freed can be reclaimed.
pub const GUARDED: usize = 64;

/// What to do with a key, in the bits that an object's address leaves free.
#[must_use]
pub const fn mixed_op(key: usize, what: Mixed) -> usize {
    key | what as usize
}

/// An operation of mixed work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Mixed {
    /// Look it up.
    Get = 0,
    /// Make it if it is not there.
    Insert = 1,
    /// Free it if it is there.
    Free = 2,
}

const KIND: usize = 3;

fn mixed<M: Map>(table: &M, operations: &[usize]) -> u64 {
    let mut sum = 0u64;
    for part in operations.chunks(GUARDED) {
        let guard = table.guard();
        for &operation in part {
            let key = operation & !KIND;
            sum = sum.wrapping_add(match operation & KIND {
                1 => table.get_or_alloc(key, key as u64, &guard),
                2 => u64::from(table.free(key, &guard)),
                _ => table.get(key, &guard).unwrap_or(0),
            });
        }
    }
    sum
}

fn lookups<L: InSession>(table: &L, operation: Operation, part: &[usize]) -> Option<u64> {
    let guard = table.guard();
    Some(match operation {
        Operation::Hit => workload::hit_independent(table, &guard, part),
        Operation::HitDependent => workload::hit_dependent(table, &guard, part[0], part.len()),
        Operation::Miss => workload::miss_independent(table, &guard, part),
        Operation::MissDependent => workload::miss_dependent(table, &guard, part),
        Operation::Many => workload::hit_many(table, &guard, part),
        Operation::HitGuarded => {
            drop(guard);
            workload::hit_guarded(table, part)
        }
        Operation::HitInSession => {
            drop(guard);
            workload::hit_in_session(table, part)
        }
        Operation::Guard => {
            drop(guard);
            for _ in part {
                black_box(table.guard());
            }
            return None;
        }
    })
}

/// Lookups under one guard, as they are timed; writes under one each, so that
/// what they retire goes as it would.
fn singly<M: Map + InSession>(
    table: &M,
    what: Single,
    keys: &[usize],
    around: &mut dyn FnMut(&mut dyn FnMut()),
) -> bool {
    match what {
        Single::Hit | Single::Miss => {
            let guard = table.guard();
            for &key in keys {
                around(&mut || _ = black_box(table.get(key, &guard)));
            }
        }
        Single::Many => {
            let guard = table.guard();
            let mut words = [0; 32];
            for part in keys.chunks_exact(words.len()) {
                around(&mut || table.get_many(part, &guard, &mut words));
                black_box(words);
            }
        }
        Single::Session => {
            let mut session = table.session();
            for &key in keys {
                around(&mut || _ = black_box(table.get_in(key, &mut session)));
            }
        }
        Single::Guard => {
            for _ in keys {
                around(&mut || drop(black_box(table.guard())));
            }
        }
        Single::Insert => {
            for &key in keys {
                let guard = table.guard();
                around(&mut || _ = black_box(table.get_or_alloc(key, 1, &guard)));
            }
        }
        Single::Free => {
            for &key in keys {
                let guard = table.guard();
                around(&mut || _ = black_box(table.free(key, &guard)));
            }
        }
        Single::FreeAll => {
            let mut can = false;
            around(&mut || can = table.free_everything());
            return can;
        }
    }
    true
}

struct Written<M>(M);

impl<M: Map + InSession + Send + Sync> Filled for Written<M> {
    fn run(&self, operation: Operation, part: &[usize]) -> Option<u64> {
        lookups(&self.0, operation, part)
    }

    fn mixed(&self, operations: &[usize]) -> Option<u64> {
        Some(mixed(&self.0, operations))
    }

    fn get_guarded(&self, key: usize) -> Option<u64> {
        self.0.get(key, &self.0.guard())
    }

    fn free_part(&self, part: &[usize]) -> u64 {
        part.chunks(GUARDED)
            .map(|part| workload::free_all_one_by_one(&self.0, &self.0.guard(), part))
            .sum()
    }

    fn free_everything(&self) -> bool {
        self.0.free_everything()
    }

    fn singly(
        &self,
        what: Single,
        keys: &[usize],
        around: &mut dyn FnMut(&mut dyn FnMut()),
    ) -> bool {
        singly(&self.0, what, keys, around)
    }
}

struct Bound<L>(L);

impl<L: InSession + Send + Sync> Filled for Bound<L> {
    fn run(&self, operation: Operation, part: &[usize]) -> Option<u64> {
        lookups(&self.0, operation, part)
    }

    fn mixed(&self, _: &[usize]) -> Option<u64> {
        None
    }

    fn get_guarded(&self, key: usize) -> Option<u64> {
        self.0.get(key, &self.0.guard())
    }

    fn free_part(&self, _: &[usize]) -> u64 {
        0
    }
}

/// The chase knows one operation, and its result is a line, not a word.
struct Ring(Chase);

impl Filled for Ring {
    fn run(&self, operation: Operation, part: &[usize]) -> Option<u64> {
        (operation == Operation::HitDependent).then(|| {
            let line = self.0.walk(Chase::line_of(part[0]), part.len());
            Chase::object_of(line) as u64
        })
    }

    fn mixed(&self, _: &[usize]) -> Option<u64> {
        None
    }

    fn get_guarded(&self, _: usize) -> Option<u64> {
        None
    }

    fn free_part(&self, _: &[usize]) -> u64 {
        0
    }
}

/// What a table that is written does beyond lookups.
#[derive(Clone, Copy)]
pub struct Writes {
    /// Above so many entries it would take minutes.
    pub most: usize,
    /// Whether its growth is its own: a setting that is about room from the
    /// start grows as the contestant's default does.
    pub grows: bool,
    /// An empty table grown to all keys; the CPU time, without the table's end.
    pub grow: fn(&Keys) -> Duration,
    /// The same, with the CPU time of each insertion in nanoseconds.
    pub grow_each: fn(&Keys) -> Vec<u32>,
    /// Two tables: one of so many of the present objects, those that are looked up first,
    /// and one of the rest.
    pub two: fn(&Keys, usize) -> [Box<dyn Filled>; 2],
}

/// A contestant that a row may fill.
#[derive(Clone, Copy)]
pub struct Peer {
    /// Its name in reports and for `--peers`.
    pub name: &'static str,
    /// How many times fewer lookups it is given in a table of so many entries:
    /// more than 1 for what would take the whole of a run.
    pub fewer: fn(usize) -> usize,
    /// Above so many entries it is left out.
    pub most: usize,
    /// Makes and fills it.
    pub filled: fn(&Keys) -> Box<dyn Filled>,
    /// If it can be written.
    pub writes: Option<Writes>,
}

/// The words that all insertions of `keys` return, summed up: the words are a ring of
/// all present objects.
fn sum(keys: &Keys) -> u64 {
    let words = keys.present().iter().map(|&key| key as u64);
    words.fold(0, u64::wrapping_add)
}

fn grow<M: Map>(keys: &Keys) -> Duration {
    let table = M::new(0);
    let (time, read) = timed(|| {
        keys.pairs().fold(0u64, |read, (key, word)| {
            read.wrapping_add(table.get_or_alloc(key, word, &table.guard()))
        })
    });
    assert_eq!(read, sum(keys), "{} made something else", M::NAME);
    time
}

fn grow_each<M: Map>(keys: &Keys) -> Vec<u32> {
    let table = M::new(0);
    // Written beforehand, so that no insertion pays for this list's pages.
    let mut nanos = vec![u32::MAX; keys.len()];
    let mut read = 0u64;
    let mut last = super::clock::thread_time();
    for (slot, (key, word)) in nanos.iter_mut().zip(keys.pairs()) {
        read = read.wrapping_add(table.get_or_alloc(key, word, &table.guard()));
        let now = super::clock::thread_time();
        *slot = (now - last).as_nanos().try_into().unwrap_or(u32::MAX);
        last = now;
    }
    assert_eq!(read, sum(keys), "{} made something else", M::NAME);
    nanos
}

fn two<M: Map + InSession + Send + Sync + 'static>(
    keys: &Keys,
    first: usize,
) -> [Box<dyn Filled>; 2] {
    let tables = [M::new(first), M::new(keys.len() - first)];
    let mut part = keys.present()[..first].to_vec();
    part.sort_unstable();
    for (key, word) in keys.pairs() {
        let table = &tables[usize::from(part.binary_search(&key).is_err())];
        table.get_or_alloc(key, word, &table.guard());
    }
    tables.map(|table| Box::new(Written(table)) as Box<dyn Filled>)
}

const fn map<M: Map + InSession + Send + Sync + 'static>() -> Peer {
    Peer {
        name: M::NAME,
        fewer: |_| 1,
        most: usize::MAX,
        filled: |keys| Box::new(Written(M::filled(keys))),
        writes: Some(writes::<M>(usize::MAX)),
    }
}

const fn writes<M: Map + InSession + Send + Sync + 'static>(most: usize) -> Writes {
    Writes {
        most,
        grows: true,
        grow: grow::<M>,
        grow_each: grow_each::<M>,
        two: two::<M>,
    }
}

const fn bound<L: InSession + Send + Sync + 'static>() -> Peer {
    Peer {
        name: L::NAME,
        fewer: |_| 1,
        most: usize::MAX,
        filled: |keys| Box::new(Bound(L::filled(keys))),
        writes: None,
    }
}

const KLP: Peer = Peer {
    // Chains of n / 4096: beyond a few entries each, time grows with them.
    fewer: |n| (n / 16_384).max(1),
    most: 4_000_000,
    // An insertion walks its chain.
    writes: Some(writes::<Klp>(100_000)),
    ..map::<Klp>()
};

#[cfg(have_lfht)]
const LFHT: Peer = Peer {
    // Resizing itself up, and down again when it is emptied, takes tens of
    // seconds a run beyond this.
    writes: Some(writes::<crate::peers::Lfht>(100_000)),
    ..map::<crate::peers::Lfht>()
};

const PAPAYA_SIZED: Peer = Peer {
    writes: Some(Writes {
        grows: false,
        ..writes::<PapayaSized>(usize::MAX)
    }),
    ..map::<PapayaSized>()
};

const CHASE: Peer = Peer {
    name: "bound-chase",
    fewer: |_| 1,
    most: usize::MAX,
    filled: |keys| Box::new(Ring(Chase::new(keys, false))),
    writes: None,
};

const CHASE_LARGE: Peer = Peer {
    name: "bound-chase-2mib",
    filled: |keys| Box::new(Ring(Chase::new(keys, true))),
    ..CHASE
};

/// Every contestant, Umbra first, the bounds last.
#[must_use]
pub fn roster() -> Vec<Peer> {
    vec![
        map::<Umbra>(),
        PAPAYA_SIZED,
        map::<PapayaDefault>(),
        map::<PapayaBlocking>(),
        map::<Dash>(),
        map::<SccMap>(),
        map::<SccIndex>(),
        map::<Flurry>(),
        map::<Sharded>(),
        #[cfg(have_lfht)]
        LFHT,
        KLP,
        bound::<P64<false>>(),
        bound::<P64<true>>(),
        bound::<P32<false>>(),
        bound::<P32<true>>(),
        CHASE,
        CHASE_LARGE,
    ]
}

/// Why cds_lfht is not among the contestants, if it is not.
#[must_use]
pub const fn without_lfht() -> Option<&'static str> {
    if cfg!(have_lfht) {
        None
    } else if cfg!(feature = "lfht") {
        Some(
            "is left out: liburcu was not found; apt-get install liburcu-dev, touch benches/build.rs",
        )
    } else {
        Some("is left out: --features lfht builds it (Debian: liburcu-dev)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lookup;
    use std::panic::catch_unwind;

    /// A table that makes another word for one key than it is asked for.
    struct Liar(Dash, usize);

    impl Lookup for Liar {
        type Guard<'a> = ();
        const NAME: &'static str = "liar";

        fn filled(keys: &Keys) -> Self {
            Self(Dash::filled(keys), 0)
        }

        fn guard(&self) {}

        fn get(&self, key: usize, (): &()) -> Option<u64> {
            self.0.get(key, &())
        }
    }

    impl Map for Liar {
        fn new(capacity: usize) -> Self {
            Self(Dash::new(capacity), crate::keys::BASE)
        }

        fn get_or_alloc(&self, key: usize, word: u64, (): &()) -> u64 {
            let word = word ^ u64::from(key == self.1);
            self.0.get_or_alloc(key, word, &())
        }

        fn free(&self, key: usize, (): &()) -> bool {
            self.0.free(key, &())
        }
    }

    #[test]
    fn a_growth_that_makes_something_else_is_stopped() {
        let keys = Keys::new(100);
        assert!(grow::<Dash>(&keys) > Duration::ZERO);
        assert_eq!(grow_each::<Dash>(&keys).len(), 100);
        assert!(catch_unwind(|| grow::<Liar>(&keys)).is_err());
        assert!(catch_unwind(|| grow_each::<Liar>(&keys)).is_err());
    }
}
