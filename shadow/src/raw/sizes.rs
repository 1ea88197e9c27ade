//! The sizes that a type has interned: those of its plain entries, which have a number
//! of two bits in place of a size.
//!
//! ```text
//!  word     63       62 .. 33         32 .. 0
//!          [ KEPT | entries, if not | size + 1 ]      0: free
//!
//!  free --(an entry is made)--> n entries --(one is published)--> KEPT, for good
//!    ^                             |
//!    +--(the last is destroyed)----+
//! ```
//! An insertion that is refused takes its size back so; otherwise a few odd ones would
//! have later entries of the real size take a prefix more. (Two insertions that are the
//! first of a size at the same moment may take two places.)

use super::entry::SIZES;
use crate::sync::{AtomicU64, Ordering};

const KEPT: u64 = 1 << 63;
const ONE: u64 = 1 << 33;
const SIZE: u64 = ONE - 1;

pub(super) struct Sizes([AtomicU64; SIZES]);

impl Sizes {
    pub(super) fn new() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// The class of a size, for an entry that is being made; [`SIZES`] if there is no
    /// room. (The size is an entry's, and so below 2^32.)
    #[inline]
    pub(super) fn class_of(&self, size: usize) -> usize {
        let wanted = size as u64 + 1;
        // Relaxed: as in `claim`.
        let known = |slot: &AtomicU64| slot.load(Ordering::Relaxed) & (KEPT | SIZE);
        let mut slots = self.0.iter();
        let kept = slots.position(|slot| known(slot) == KEPT | wanted);
        kept.unwrap_or_else(|| self.claim(wanted))
    }

    /// [`class_of`](Self::class_of) a size that no entry was published with.
    #[cold]
    #[inline(never)]
    fn claim(&self, wanted: u64) -> usize {
        for free in [wanted, 0] {
            for (class, slot) in self.0.iter().enumerate() {
                // Relaxed, also in the CAS: a number, whose readers have an entry that
                // was made after it.
                let mut there = slot.load(Ordering::Relaxed);
                while there & SIZE == wanted || there == free {
                    if there & KEPT != 0 {
                        return class;
                    }
                    // Relaxed: as above.
                    match slot.compare_exchange(
                        there,
                        (there | wanted) + ONE,
                        Ordering::Relaxed,
                        Ordering::Relaxed, // only tried again
                    ) {
                        Ok(_) => return class,
                        Err(now) => there = now,
                    }
                }
            }
        }
        SIZES
    }

    /// An entry of this class is about to be published.
    #[inline]
    pub(super) fn keep(&self, class: usize) {
        // Relaxed: whoever destroys the entry comes after its publication.
        if let Some(slot) = self.0.get(class)
            && slot.load(Ordering::Relaxed) & KEPT == 0
        {
            slot.fetch_or(KEPT, Ordering::Relaxed); // as above
        }
    }

    /// The size of an entry of this class, which is about to be destroyed.
    #[inline]
    pub(super) fn take(&self, class: usize) -> usize {
        let slot = &self.0[class];
        // Relaxed: constant while there is an entry, and the entry's way here orders
        // the two.
        let there = slot.load(Ordering::Relaxed);
        if there & KEPT == 0 {
            Self::forget(slot, there);
        }
        (there & SIZE).saturating_sub(1) as usize
    }

    #[cold]
    fn forget(slot: &AtomicU64, mut there: u64) {
        while there & KEPT == 0 {
            let left = there.saturating_sub(ONE);
            // Relaxed: a number, as in `class_of`.
            match slot.compare_exchange(
                there,
                if left < ONE { 0 } else { left },
                Ordering::Relaxed,
                Ordering::Relaxed, // only tried again
            ) {
                Ok(_) => return,
                Err(now) => there = now,
            }
        }
    }
}
