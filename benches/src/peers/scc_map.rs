//! scc's `HashMap`: a lock a bucket, taken by readers too; grows in steps.

use super::hasher;
use crate::keys::Keys;
use crate::{Lookup, Map, Payload};
use foldhash::fast::FixedState;
use scc::HashMap;

/// scc's general-purpose table.
#[derive(Debug)]
pub struct SccMap(HashMap<usize, Payload, FixedState>);

impl Lookup for SccMap {
    type Guard<'a> = ();
    const NAME: &'static str = "scc-hashmap";

    fn filled(keys: &Keys) -> Self {
        super::fill(keys)
    }

    #[inline]
    fn guard(&self) {}

    #[inline(always)]
    fn get(&self, key: usize, (): &()) -> Option<u64> {
        self.0.read_sync(&key, |_, payload| payload.word())
    }
}

impl Map for SccMap {
    fn new(capacity: usize) -> Self {
        Self(HashMap::with_capacity_and_hasher(capacity, hasher()))
    }

    #[inline]
    fn get_or_alloc(&self, key: usize, word: u64, (): &()) -> u64 {
        self.0
            .entry_sync(key)
            .or_insert_with(|| Payload::new(word))
            .get()
            .word()
    }

    #[inline]
    fn free(&self, key: usize, (): &()) -> bool {
        self.0.remove_sync(&key).is_some()
    }

    fn free_everything(&self) -> bool {
        self.0.clear_sync();
        true
    }
}
