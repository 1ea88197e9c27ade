//! Umbra itself: one shadow type in userspace, over crossbeam-epoch.
//!
//! The platform is [`Epoch`] in everything but the seed of the hash, which is
//! fixed as the peers' are: two runs must do the same work.

use crate::compare::alloc::count;
use crate::keys::Keys;
use crate::{InSession, Lookup, Map, Payload};
use core::alloc::Layout;
use core::convert::Infallible;
use core::ptr::NonNull;
use umbra_shadow::{AllocFlags, Epoch, Link, Memory, Platform, Session, Smr, Table};

/// What the allocator set aside for a block of [`Epoch`]'s.
fn usable_size(block: NonNull<u8>) -> usize {
    // SAFETY: a live block of mimalloc's, which `Epoch` has its memory from.
    unsafe { libmimalloc_sys::mi_usable_size(block.as_ptr().cast()) }
}

/// [`Epoch`] with the constant seed that [`Platform`] has by default.
#[derive(Clone, Copy, Debug)]
pub struct FixedSeed;

// SAFETY: every operation is `Epoch`'s, which keeps the contract.
unsafe impl Smr for FixedSeed {
    type Guard = <Epoch as Smr>::Guard;

    #[inline]
    fn pin(&self) -> Self::Guard {
        Epoch.pin()
    }

    #[inline]
    unsafe fn retire(&self, link: NonNull<Link>) {
        // SAFETY: the caller keeps the same contract.
        unsafe { Epoch.retire(link) }
    }

    fn assist(&self) {
        Epoch.assist();
    }

    fn barrier(&self) {
        Epoch.barrier();
    }
}

// SAFETY: as above.
unsafe impl Memory for FixedSeed {
    #[inline]
    fn alloc_zeroed(&self, layout: Layout, flags: AllocFlags) -> Option<NonNull<u8>> {
        let block = Epoch.alloc_zeroed(layout, flags)?;
        count(1, || usable_size(block));
        Some(block)
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        count(-1, || usable_size(ptr));
        // SAFETY: the caller keeps the same contract.
        unsafe { Epoch.dealloc(ptr, layout) }
    }
}

impl Platform for FixedSeed {
    fn relax(&self, flags: AllocFlags, _round: u32) -> bool {
        Epoch.relax(flags, 0)
    }
}

/// A table of one id, as a livepatch has for one state.
#[derive(Debug)]
pub struct Umbra(Table<FixedSeed>);

impl Umbra {
    /// Frees every entry at once, as the end of a state does.
    pub fn free_all(&self) {
        self.0.free_all(None);
    }

    /// # Safety
    /// `data` is a variable of this table, found under a guard that is held.
    #[inline]
    unsafe fn word(data: NonNull<u8>) -> u64 {
        // SAFETY: every variable was made by `get_or_alloc` below with a
        // `Payload` at its start, 16-aligned, and lives while the guard does.
        unsafe { data.cast::<u64>().read() }
    }
}

impl Lookup for Umbra {
    type Guard<'a> = <Epoch as Smr>::Guard;
    const NAME: &'static str = "umbra";

    fn filled(keys: &Keys) -> Self {
        super::fill(keys)
    }

    #[inline]
    fn guard(&self) -> Self::Guard<'_> {
        Epoch.pin()
    }

    #[inline(always)]
    fn get(&self, key: usize, guard: &Self::Guard<'_>) -> Option<u64> {
        // SAFETY: found under `guard`.
        self.0
            .get(key, guard)
            .map(|data| unsafe { Self::word(data) })
    }

    #[inline]
    fn get_many(&self, keys: &[usize], guard: &Self::Guard<'_>, words: &mut [u64]) {
        let mut found = [None; 32];
        for (keys, words) in keys.chunks(32).zip(words.chunks_mut(32)) {
            let found = &mut found[..keys.len()];
            self.0.get_many(keys, found, guard);
            for (found, word) in found.iter().zip(words) {
                // SAFETY: found under `guard`.
                *word = found.map_or(0, |data| unsafe { Self::word(data) });
            }
        }
    }
}

impl InSession for Umbra {
    type Session<'a> = Session<'a, FixedSeed>;

    fn session(&self) -> Self::Session<'_> {
        self.0.session()
    }

    #[inline(always)]
    fn get_in(&self, key: usize, session: &mut Self::Session<'_>) -> Option<u64> {
        // SAFETY: found in the session, whose next call is yet to come.
        session.get(key).map(|data| unsafe { Self::word(data) })
    }
}

impl Map for Umbra {
    /// # Panics
    /// If there is no memory for an empty table: a benchmark cannot go on.
    fn new(_: usize) -> Self {
        Self(Table::new(FixedSeed, 1).expect("memory for an empty table"))
    }

    #[inline]
    fn get_or_alloc(&self, key: usize, word: u64, _: &Self::Guard<'_>) -> u64 {
        let made = self
            .0
            .get_or_alloc(key, size_of::<Payload>(), AllocFlags(0), |data| {
                // SAFETY: the data is fresh, 16-aligned, as large as was asked for,
                // and nobody else's until the constructor returns.
                unsafe { data.cast::<Payload>().write(Payload::new(word)) };
                Ok::<(), Infallible>(())
            });
        // SAFETY: found or made under the caller's guard.
        made.map_or(0, |data| unsafe { Self::word(data) })
    }

    #[inline]
    fn free(&self, key: usize, _: &Self::Guard<'_>) -> bool {
        self.0.free(key)
    }

    fn free_everything(&self) -> bool {
        self.free_all();
        true
    }
}
