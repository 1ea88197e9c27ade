//! dashmap: the most used concurrent map of Rust, sharded by locks.

use super::hasher;
use crate::keys::Keys;
use crate::{Lookup, Map, Payload};
use dashmap::DashMap;
use foldhash::fast::FixedState;

/// dashmap with its default number of shards.
#[derive(Debug)]
pub struct Dash(DashMap<usize, Payload, FixedState>);

impl Lookup for Dash {
    type Guard<'a> = ();
    const NAME: &'static str = "dashmap";

    fn filled(keys: &Keys) -> Self {
        super::fill(keys)
    }

    #[inline]
    fn guard(&self) {}

    #[inline(always)]
    fn get(&self, key: usize, (): &()) -> Option<u64> {
        self.0.get(&key).map(|payload| payload.word())
    }
}

impl Map for Dash {
    fn new(capacity: usize) -> Self {
        Self(DashMap::with_capacity_and_hasher(capacity, hasher()))
    }

    #[inline]
    fn get_or_alloc(&self, key: usize, word: u64, (): &()) -> u64 {
        self.0
            .entry(key)
            .or_insert_with(|| Payload::new(word))
            .word()
    }

    #[inline]
    fn free(&self, key: usize, (): &()) -> bool {
        self.0.remove(&key).is_some()
    }

    fn free_everything(&self) -> bool {
        self.0.clear();
        true
    }
}
