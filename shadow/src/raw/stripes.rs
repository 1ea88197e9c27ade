//! A counter in several lines, so that writers of different objects seldom meet.

use crate::sync::{AtomicUsize, Ordering};

const STRIPES: usize = if crate::TINY { 1 } else { 8 };

#[repr(align(64))]
struct Stripe(AtomicUsize);

pub(super) struct Stripes([Stripe; STRIPES]);

impl Stripes {
    /// All zero, written in place.
    ///
    /// # Safety
    /// `this` is valid for writes and nobody else's.
    pub(super) unsafe fn init(this: *mut Self) {
        // SAFETY: the caller's contract.
        unsafe { super::blocks::fill(&raw mut (*this).0, || Stripe(AtomicUsize::new(0))) }
    }

    /// The stripe for a hash or an address.
    pub(super) fn of(&self, n: u64) -> &AtomicUsize {
        &self.0[(n >> 12) as usize % STRIPES].0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &AtomicUsize> {
        self.0.iter().map(|stripe| &stripe.0)
    }

    /// What each stripe has.
    pub(super) fn each(&self, order: Ordering) -> impl Iterator<Item = usize> {
        self.iter().map(move |stripe| stripe.load(order))
    }

    /// The sum; exact when nobody counts.
    pub(super) fn sum(&self, order: Ordering) -> usize {
        self.each(order).fold(0, usize::wrapping_add)
    }
}
