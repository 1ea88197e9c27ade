//! The work that is measured, written once for everybody.
//!
//! Each function does a fixed number of operations and returns a word that
//! depends on all of them, so that no compiler can drop one and no contestant
//! can win by being wrong: the callers compare the words.
//!
//! Lookups come in two kinds. *Independent* ones let the processor overlap as
//! many as it can: the rate of a loop over a list of objects. *Dependent* ones
//! need the result of the one before to know their key: the latency that a
//! single lookup adds to the function that it is in.

use crate::keys::Keys;
use crate::{InSession, Lookup, Map};
use std::time::{Duration, Instant};

/// Looks up each of `keys`, all of them present, none waiting for another.
#[inline(never)]
pub fn hit_independent<L: Lookup>(table: &L, guard: &L::Guard<'_>, keys: &[usize]) -> u64 {
    keys.iter().fold(0, |sum, &key| {
        sum.wrapping_add(table.get(key, guard).unwrap_or(1))
    })
}

/// Keys that are looked up at once.
pub const BATCH: usize = 32;

/// As [`hit_independent`], [`BATCH`] keys at a time.
#[inline(never)]
pub fn hit_many<L: Lookup>(table: &L, guard: &L::Guard<'_>, keys: &[usize]) -> u64 {
    let mut words = [0; BATCH];
    let mut sum = 0u64;
    for part in keys.chunks(BATCH) {
        table.get_many(part, guard, &mut words);
        sum = words[..part.len()]
            .iter()
            .fold(sum, |sum, word| sum.wrapping_add(*word));
    }
    sum
}

/// As [`hit_independent`], with a guard for each lookup.
#[inline(never)]
pub fn hit_guarded<L: Lookup>(table: &L, keys: &[usize]) -> u64 {
    keys.iter().fold(0, |sum, &key| {
        sum.wrapping_add(table.get(key, &table.guard()).unwrap_or(1))
    })
}

/// As [`hit_independent`], each lookup protected by itself in one session.
#[inline(never)]
pub fn hit_in_session<L: InSession>(table: &L, keys: &[usize]) -> u64 {
    let mut session = table.session();
    keys.iter().fold(0, |sum, &key| {
        sum.wrapping_add(table.get_in(key, &mut session).unwrap_or(1))
    })
}

/// Looks up `count` present objects, each named by the payload before it.
#[inline(never)]
pub fn hit_dependent<L: Lookup>(
    table: &L,
    guard: &L::Guard<'_>,
    start: usize,
    count: usize,
) -> u64 {
    let mut key = start;
    for _ in 0..count {
        key = table.get(key, guard).unwrap_or(0) as usize;
    }
    key as u64
}

/// Looks up each of `keys`, none of them present; the number that were found.
#[inline(never)]
pub fn miss_independent<L: Lookup>(table: &L, guard: &L::Guard<'_>, keys: &[usize]) -> u64 {
    keys.iter()
        .map(|&key| u64::from(table.get(key, guard).is_some()))
        .sum()
}

/// As [`miss_independent`], with each key computed from the result before it.
///
/// The result is always "nothing", so a processor that predicts it goes ahead
/// all the same, where the contestant's code branches on it: as it does in the
/// hot function that a hook sits in.
#[inline(never)]
pub fn miss_dependent<L: Lookup>(table: &L, guard: &L::Guard<'_>, keys: &[usize]) -> u64 {
    let mut found = 0;
    for &key in keys {
        found |= table
            .get(key.wrapping_add(found as usize), guard)
            .unwrap_or(0);
    }
    found
}

/// Makes a payload for each of `keys` and frees it again, one after the other;
/// the number that were really made and really freed.
#[inline(never)]
pub fn churn<M: Map>(table: &M, guard: &M::Guard<'_>, keys: &[usize]) -> u64 {
    keys.iter()
        .map(|&key| {
            let word = table.get_or_alloc(key, key as u64 ^ 1, guard);
            u64::from(word == key as u64 ^ 1) & u64::from(table.free(key, guard))
        })
        .sum()
}

/// Makes a payload for every present object of `keys`.
#[inline(never)]
pub fn insert_all<M: Map>(table: &M, guard: &M::Guard<'_>, keys: &Keys) -> u64 {
    keys.pairs().fold(0, |sum, (key, word)| {
        sum.wrapping_add(table.get_or_alloc(key, word, guard))
    })
}

/// Frees the payloads of `keys`; the number that were there.
#[inline(never)]
pub fn free_all_one_by_one<M: Map>(table: &M, guard: &M::Guard<'_>, keys: &[usize]) -> u64 {
    keys.iter()
        .map(|&key| u64::from(table.free(key, guard)))
        .sum()
}

/// What growing a table from nothing cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// All insertions together, without the clock's own cost being removed.
    pub total: Duration,
    /// The longest that one insertion took.
    pub longest: Duration,
}

/// Grows an empty table to all of `keys` and watches each insertion.
///
/// The guard is taken anew for each insertion: nobody who cares about a pause
/// would hold off reclamation for the whole of a growth.
pub fn growth<M: Map>(keys: &Keys) -> Growth {
    let table = M::new(0);
    let mut longest = Duration::ZERO;
    let begin = Instant::now();
    let mut last = begin;
    for (key, word) in keys.pairs() {
        table.get_or_alloc(key, word, &table.guard());
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    Growth {
        total: last - begin,
        longest,
    }
}
