//! What the machine allows at best: no table, only its memory accesses.
//!
//! [`P64`] and [`P32`] know each object's index without hashing or searching, so
//! they are arrays that a perfect hash function indexes for free. [`Chase`]
//! is not a table at all but the latency of one access to the same footprint.
//!
//! Each is there twice: in whatever pages the C library has, and (`LARGE`) in
//! 2 MiB pages. With those a processor looks up an address without reading a
//! page table, so who has them is compared with a bound that has them too.

use super::array::Array;
use crate::keys::{BASE, Keys, STRIDE};
use crate::{Lookup, Payload};

/// The index of an object. An absent one falls on the line of some present
/// one, as it would with a hash: the lookup has to touch it to know.
#[inline]
fn index(key: usize, len: usize) -> usize {
    let object = (key - BASE) / STRIDE;
    if object < len { object } else { object - len }
}

/// A key and its payload on one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line {
    key: usize,
    payload: Payload,
}

const EMPTY: Line = Line {
    key: 0,
    payload: Payload::new(0),
};

/// A perfectly indexed array whose entry is one cache line: one miss a hit.
#[derive(Debug)]
pub struct P64<const LARGE: bool = false>(Array<Line>);

impl<const LARGE: bool> Lookup for P64<LARGE> {
    type Guard<'a> = ();
    const NAME: &'static str = match LARGE {
        true => "bound-p64-2mib",
        false => "bound-p64",
    };

    fn filled(keys: &Keys) -> Self {
        let mut lines = Array::of(EMPTY, keys.len(), LARGE);
        for (key, word) in keys.pairs() {
            lines[index(key, keys.len())] = Line {
                key,
                payload: Payload::new(word),
            };
        }
        Self(lines)
    }

    #[inline]
    fn guard(&self) {}

    #[inline(always)]
    fn get(&self, key: usize, (): &()) -> Option<u64> {
        let line = &self.0[index(key, self.0.len())];
        (line.key == key).then(|| line.payload.word())
    }
}

/// A slot of half a line: the key, and where the payload is.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
struct Slot<'a> {
    key: usize,
    entry: Option<&'a Line>,
}

/// A perfectly indexed array of 32-byte slots that point to the payload's own
/// line: two dependent misses a hit, one a miss.
#[derive(Debug)]
pub struct P32<const LARGE: bool = false>(Array<Slot<'static>>);

impl<const LARGE: bool> Lookup for P32<LARGE> {
    type Guard<'a> = ();
    const NAME: &'static str = match LARGE {
        true => "bound-p32-2mib",
        false => "bound-p32",
    };

    /// The entries are leaked. A bound lives as long as its process, and a
    /// plain reference keeps the read path free of any trace of ownership.
    fn filled(keys: &Keys) -> Self {
        let mut lines = Array::of(EMPTY, keys.len(), LARGE);
        for (line, (key, word)) in lines.iter_mut().zip(keys.pairs()) {
            let payload = Payload::new(word);
            *line = Line { key, payload };
        }
        let none = Slot {
            key: 0,
            entry: None,
        };
        let mut slots = Array::of(none, keys.len(), LARGE);
        for line in lines.leak() {
            slots[index(line.key, keys.len())] = Slot {
                key: line.key,
                entry: Some(line),
            };
        }
        Self(slots)
    }

    #[inline]
    fn guard(&self) {}

    #[inline(always)]
    fn get(&self, key: usize, (): &()) -> Option<u64> {
        let slot = &self.0[index(key, self.0.len())];
        if slot.key == key {
            slot.entry.map(|line| line.payload.word())
        } else {
            None
        }
    }
}

/// A ring of cache lines, each naming the next: the latency of memory at this
/// footprint, below which no dependent lookup can get.
#[derive(Debug)]
pub struct Chase(Array<ChaseLine>);

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct ChaseLine {
    next: usize,
}

impl Chase {
    /// A ring over as many lines as `keys` has objects, in their order of
    /// lookup.
    #[must_use]
    pub fn new(keys: &Keys, large: bool) -> Self {
        let mut lines = Array::of(ChaseLine { next: 0 }, keys.len(), large);
        let line_of = |key| index(key, keys.len());
        for (key, next) in keys.pairs() {
            lines[line_of(key)].next = line_of(next as usize);
        }
        Self(lines)
    }

    /// The line of an object that is present.
    #[must_use]
    pub fn line_of(object: usize) -> usize {
        (object - BASE) / STRIDE
    }

    /// The object of a line.
    #[must_use]
    pub fn object_of(line: usize) -> usize {
        BASE + line * STRIDE
    }

    /// Follows the ring for `count` steps from the line `start`.
    #[inline(never)]
    #[must_use]
    pub fn walk(&self, start: usize, count: usize) -> usize {
        (0..count).fold(start, |at, _| self.0[at].next)
    }
}
