//! The gate of a state: may new code rely on it now?
//!
//! A gate is open only between the return of `post_patch` and the call of
//! `pre_unpatch` (S4). It is a word of its own and not a bit of the reference
//! count, because the entry of a patched function asks it on every call: this
//! word changes twice in a state's life, the count with every patch.
//!
//! The word is [`Gate::OPEN`] or zero, so a trampoline asks with one
//! `cmpl $0, gate`. Open gates order what `post_patch` did before what the
//! asker does next: the store is a release, the load an acquire (on x86 any
//! load is).
//!
//! Closing does not wait. Who saw the gate open may still be inside the new
//! code when `close` returns; that is why shadows are freed only after the
//! switch back and a grace period.

use core::fmt;
use umbra_shadow::sync::{AtomicU32, Ordering};

/// The gate of one state. Its address never changes while the engine lives.
#[repr(transparent)]
pub struct Gate(AtomicU32);

impl Gate {
    /// The value of an open gate; a closed one is zero.
    pub const OPEN: u32 = 1;

    /// A closed gate.
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// One load, in any context.
    #[inline]
    pub fn is_open(&self) -> bool {
        // Acquire: pairs with the Release in `open`, so that who finds it open
        // sees what post_patch made.
        self.0.load(Ordering::Acquire) != 0
    }

    /// `post_patch` has returned.
    pub(crate) fn open(&self) {
        // Release: pairs with the Acquire in `is_open`.
        self.0.store(Self::OPEN, Ordering::Release);
    }

    /// `pre_unpatch` is about to be called.
    pub(crate) fn close(&self) {
        // Relaxed: nothing is published. That no asker is left behind before
        // shadows go is the work of the switch and of the grace period.
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_open() {
            "Gate(open)"
        } else {
            "Gate(closed)"
        })
    }
}
