//! One set of workloads for Umbra, its peers and the bounds of the machine.
//!
//! A comparison is only worth something if every contestant does the same work
//! on the same keys in the same process. So the work is written once, in
//! [`workload`], against the two small traits of this file, and each contestant
//! in [`peers`] says how it does the trait's operations, nothing else. The same
//! functions are timed by criterion (`criterion/`), counted by callgrind
//! (`callgrind/`), and run side by side by the comparison ([`compare`]).
//!
//! # What is looked up
//! A shadow variable's key is the address of a kernel object. Objects of one
//! kind come from a slab: they sit at a fixed stride, here 192 bytes, and are
//! met in no particular order. [`keys::Keys`] makes them so. The value is the 48
//! bytes of a typical shadow structure ([`Payload`]), and a lookup counts only
//! once its first word has been read: a table that returns a pointer without
//! touching the data has not paid for the cache line yet.
//!
//! # Guards
//! Lookups run under a guard that the caller holds (the *session* style): what
//! it costs to take one is a benchmark of its own, not a part of each.
//!
//! # Hashing
//! Every hashing peer uses the same fast seeded hash (foldhash), fixed to one
//! seed so that two runs do the same work. It is close to the best that each of
//! them can have; their defaults would be slower.

pub mod compare;
pub mod file;
pub mod keys;
pub mod peers;
pub mod report;
pub mod states;
pub mod workload;

/// The data of one shadow variable. The first word is what a lookup reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Payload(pub [u64; 6]);

impl Payload {
    /// A payload whose first word is `word` and whose others are derived from
    /// it, so that a torn or misplaced one shows in a test.
    #[must_use]
    pub const fn new(word: u64) -> Self {
        Self([word, !word, word ^ 2, word ^ 3, word ^ 4, word ^ 5])
    }

    /// The word that a lookup reads.
    #[must_use]
    pub const fn word(&self) -> u64 {
        self.0[0]
    }
}

/// Something that finds a payload by the address of an object.
///
/// The bounds of the machine implement only this: they are filled once and
/// never written again.
pub trait Lookup: Sized {
    /// What a reader holds while it looks things up; `()` where there is none.
    type Guard<'a>
    where
        Self: 'a;

    /// The name in reports.
    const NAME: &'static str;

    /// Holds every pair of `keys`: each present key with its
    /// [successor](keys::Keys::pairs) as the payload's word.
    fn filled(keys: &keys::Keys) -> Self;

    /// Enters a read-side section.
    fn guard(&self) -> Self::Guard<'_>;

    /// The payload's first word, read from memory; `None` if the object has no
    /// payload.
    fn get(&self, key: usize, guard: &Self::Guard<'_>) -> Option<u64>;

    /// The words of all of `keys`, 0 for an object without a payload: several
    /// lookups at once, for a contestant that can overlap them better than a
    /// loop does.
    ///
    /// # Panics
    /// If `words` is shorter than `keys`.
    #[inline]
    fn get_many(&self, keys: &[usize], guard: &Self::Guard<'_>, words: &mut [u64]) {
        for (&key, word) in keys.iter().zip(words) {
            *word = self.get(key, guard).unwrap_or(0);
        }
    }
}

/// A contestant that makes single lookups cheaper to protect while a thread does
/// many of them: by entering once and renewing, say.
///
/// Between two lookups of a session nothing is kept from being reclaimed for
/// long; that is what tells it from a guard that is held.
pub trait InSession: Lookup {
    /// What a thread keeps between its lookups.
    type Session<'a>
    where
        Self: 'a;

    /// Begins a session of this thread.
    fn session(&self) -> Self::Session<'_>;

    /// As [`Lookup::get`], protected by itself.
    fn get_in(&self, key: usize, session: &mut Self::Session<'_>) -> Option<u64>;
}

/// Contestants without sessions take a guard for each lookup.
macro_rules! no_session {
    ($($peer:ty),+ $(,)?) => {$(
        impl crate::InSession for $peer {
            type Session<'a> = ();

            fn session(&self) {}

            #[inline]
            fn get_in(&self, key: usize, (): &mut ()) -> Option<u64> {
                crate::Lookup::get(self, key, &crate::Lookup::guard(self))
            }
        }
    )+};
}
pub(crate) use no_session;

/// A table that is written too.
pub trait Map: Lookup {
    /// An empty table. A peer that can be told so makes room for `capacity`
    /// entries; one that cannot, or whose point is to grow, ignores it.
    fn new(capacity: usize) -> Self;

    /// The word of the key's payload, made from `word` if there was none.
    fn get_or_alloc(&self, key: usize, word: u64, guard: &Self::Guard<'_>) -> u64;

    /// Removes the key's payload; whether there was one.
    fn free(&self, key: usize, guard: &Self::Guard<'_>) -> bool;

    /// Removes all payloads by one operation, if the contestant has one.
    fn free_everything(&self) -> bool {
        false
    }
}
