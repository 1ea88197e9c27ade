//! Counters in several lines, so that writers of different objects seldom meet.
//!
//! A type's entries and their bytes stand in one line. The users of a body
//! ([`Busy`](super::shrink)) cannot join them: a body that was detached waits for its own
//! users to end, while the entries of its type come and go.

use crate::sync::{AtomicUsize, Ordering};

const STRIPES: usize = if crate::TINY { 1 } else { 8 };

#[repr(align(64))]
struct Stripe<T>(T);

/// What is counted together, `T`, stands in one line.
pub(super) struct Stripes<T = AtomicUsize>([Stripe<T>; STRIPES]);

impl<T> Stripes<T> {
    /// Each as `zero` makes it, written in place.
    ///
    /// # Safety
    /// `this` is valid for writes and nobody else's.
    pub(super) unsafe fn init_with(this: *mut Self, zero: impl Fn() -> T) {
        // SAFETY: the caller's contract.
        unsafe { super::blocks::fill(&raw mut (*this).0, || Stripe(zero())) }
    }

    /// The stripe for a hash or an address.
    pub(super) fn of(&self, n: u64) -> &T {
        &self.0[(n >> 12) as usize % STRIPES].0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|stripe| &stripe.0)
    }
}

impl Stripes {
    /// All zero, written in place.
    ///
    /// # Safety
    /// `this` is valid for writes and nobody else's.
    pub(super) unsafe fn init(this: *mut Self) {
        // SAFETY: the caller's contract.
        unsafe { Self::init_with(this, || AtomicUsize::new(0)) }
    }

    /// What each stripe has.
    pub(super) fn each(&self, order: Ordering) -> impl Iterator<Item = usize> {
        self.iter().map(move |stripe| stripe.load(order))
    }
}
