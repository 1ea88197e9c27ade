//! What one writes without thinking twice: hashbrown behind reader-writer
//! locks, one for each shard.

use super::hasher;
use crate::keys::Keys;
use crate::{Lookup, Map, Payload};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::hash::BuildHasher;
use std::sync::{PoisonError, RwLock};

/// Enough that two threads rarely meet, few enough to stay in the cache.
const SHARDS: usize = 64;

/// One shard has its lines to itself: a lock taken in one must not slow
/// readers of its neighbour.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(RwLock<HashMap<usize, Payload, FixedState>>);

/// hashbrown in 64 shards.
#[derive(Debug)]
pub struct Sharded {
    shards: Box<[Shard]>,
    hasher: FixedState,
}

impl Sharded {
    /// hashbrown takes the low bits of the hash for the position and the seven
    /// highest for the tag. The shard takes bits between them: bits that all
    /// keys of a shard share would be lost to the tag or the position.
    #[inline]
    fn shard(&self, key: usize) -> &RwLock<HashMap<usize, Payload, FixedState>> {
        let hash = self.hasher.hash_one(key);
        &self.shards[(hash >> 48) as usize % SHARDS].0
    }
}

impl Lookup for Sharded {
    type Guard<'a> = ();
    const NAME: &'static str = "sharded-rwlock";

    fn filled(keys: &Keys) -> Self {
        super::fill(keys)
    }

    #[inline]
    fn guard(&self) {}

    #[inline(always)]
    fn get(&self, key: usize, (): &()) -> Option<u64> {
        let shard = self
            .shard(key)
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        shard.get(&key).map(Payload::word)
    }
}

impl Map for Sharded {
    fn new(capacity: usize) -> Self {
        // Shards fill unevenly; an eighth more than the mean holds them all.
        let each = capacity / SHARDS + capacity / SHARDS / 8;
        let shard = || {
            Shard(RwLock::new(HashMap::with_capacity_and_hasher(
                each,
                hasher(),
            )))
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: hasher(),
        }
    }

    #[inline]
    fn get_or_alloc(&self, key: usize, word: u64, (): &()) -> u64 {
        let mut shard = self
            .shard(key)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shard
            .entry(key)
            .or_insert_with(|| Payload::new(word))
            .word()
    }

    #[inline]
    fn free(&self, key: usize, (): &()) -> bool {
        let mut shard = self
            .shard(key)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shard.remove(&key).is_some()
    }

    fn free_everything(&self) -> bool {
        for Shard(shard) in &self.shards {
            shard
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
        true
    }
}
