//! scc's `HashIndex`: made for reads, which take no lock.

use super::hasher;
use crate::keys::Keys;
use crate::{Lookup, Map, Payload};
use foldhash::fast::FixedState;
use scc::{Guard, HashIndex};

/// scc's read-optimised table.
#[derive(Debug)]
pub struct SccIndex(HashIndex<usize, Payload, FixedState>);

impl Lookup for SccIndex {
    type Guard<'a> = Guard;
    const NAME: &'static str = "scc-hashindex";

    fn filled(keys: &Keys) -> Self {
        super::fill(keys)
    }

    #[inline]
    fn guard(&self) -> Guard {
        Guard::new()
    }

    #[inline(always)]
    fn get(&self, key: usize, guard: &Guard) -> Option<u64> {
        self.0.peek(&key, guard).map(Payload::word)
    }
}

impl Map for SccIndex {
    fn new(capacity: usize) -> Self {
        Self(HashIndex::with_capacity_and_hasher(capacity, hasher()))
    }

    #[inline]
    fn get_or_alloc(&self, key: usize, word: u64, _: &Guard) -> u64 {
        self.0
            .entry_sync(key)
            .or_insert_with(|| Payload::new(word))
            .get()
            .word()
    }

    #[inline]
    fn free(&self, key: usize, _: &Guard) -> bool {
        self.0.remove_sync(&key)
    }

    fn free_everything(&self) -> bool {
        self.0.clear_sync();
        true
    }
}
