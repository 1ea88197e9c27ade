//! papaya: the fastest published concurrent map for reads that we know of.
//!
//! Three times: sized for its final number of entries, which is its best case;
//! grown from its default by incremental resizing; and grown by blocking
//! resizing, where writers wait for the whole of it.

use super::hasher;
use crate::keys::Keys;
use crate::{Lookup, Map, Payload};
use foldhash::fast::FixedState;
use papaya::{HashMap, LocalGuard, ResizeMode};

/// papaya with room for every entry from the start.
#[derive(Debug)]
pub struct PapayaSized(HashMap<usize, Payload, FixedState>);

/// papaya as it comes: empty, growing in steps that writers share.
#[derive(Debug)]
pub struct PapayaDefault(HashMap<usize, Payload, FixedState>);

/// papaya growing by steps that hold everybody up.
#[derive(Debug)]
pub struct PapayaBlocking(HashMap<usize, Payload, FixedState>);

macro_rules! contestant {
    ($name:ident, $label:literal, $make:expr) => {
        impl Lookup for $name {
            type Guard<'a> = LocalGuard<'a>;
            const NAME: &'static str = $label;

            fn filled(keys: &Keys) -> Self {
                super::fill(keys)
            }

            #[inline]
            fn guard(&self) -> LocalGuard<'_> {
                self.0.guard()
            }

            #[inline(always)]
            fn get(&self, key: usize, guard: &LocalGuard<'_>) -> Option<u64> {
                self.0.get(&key, guard).map(Payload::word)
            }
        }

        impl Map for $name {
            fn new(capacity: usize) -> Self {
                let make: fn(usize) -> HashMap<usize, Payload, FixedState> = $make;
                Self(make(capacity))
            }

            #[inline]
            fn get_or_alloc(&self, key: usize, word: u64, guard: &LocalGuard<'_>) -> u64 {
                // Not `get_or_insert_with`: it does not help an incremental
                // resize on (0.2.5), and a table grown by it alone has lookups
                // of microseconds.
                match self.0.try_insert(key, Payload::new(word), guard) {
                    Ok(made) => made.word(),
                    Err(there) => there.current.word(),
                }
            }

            #[inline]
            fn free(&self, key: usize, guard: &LocalGuard<'_>) -> bool {
                self.0.remove(&key, guard).is_some()
            }

            fn free_everything(&self) -> bool {
                self.0.clear(&self.0.guard());
                true
            }
        }
    };
}

contestant!(PapayaSized, "papaya-sized", |capacity| {
    HashMap::with_capacity_and_hasher(capacity, hasher())
});
contestant!(PapayaDefault, "papaya", |_| HashMap::with_hasher(hasher()));
contestant!(PapayaBlocking, "papaya-blocking", |_| {
    HashMap::builder()
        .resize_mode(ResizeMode::Blocking)
        .hasher(hasher())
        .build()
});
