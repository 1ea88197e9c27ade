//! flurry: Java's `ConcurrentHashMap` in Rust.

use super::hasher;
use crate::keys::Keys;
use crate::{Lookup, Map, Payload};
use flurry::{Guard, HashMap};
use foldhash::fast::FixedState;

/// flurry with room for every entry from the start.
#[derive(Debug)]
pub struct Flurry(HashMap<usize, Payload, FixedState>);

impl Lookup for Flurry {
    type Guard<'a> = Guard<'a>;
    const NAME: &'static str = "flurry";

    fn filled(keys: &Keys) -> Self {
        super::fill(keys)
    }

    #[inline]
    fn guard(&self) -> Guard<'_> {
        self.0.guard()
    }

    #[inline(always)]
    fn get(&self, key: usize, guard: &Guard<'_>) -> Option<u64> {
        self.0.get(&key, guard).map(Payload::word)
    }
}

impl Map for Flurry {
    fn new(capacity: usize) -> Self {
        Self(HashMap::with_capacity_and_hasher(capacity, hasher()))
    }

    #[inline]
    fn get_or_alloc(&self, key: usize, word: u64, guard: &Guard<'_>) -> u64 {
        match self.0.try_insert(key, Payload::new(word), guard) {
            Ok(made) => made.word(),
            Err(there) => there.current.word(),
        }
    }

    #[inline]
    fn free(&self, key: usize, guard: &Guard<'_>) -> bool {
        self.0.remove(&key, guard).is_some()
    }

    fn free_everything(&self) -> bool {
        self.0.clear(&self.0.guard());
        true
    }
}
