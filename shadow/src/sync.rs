//! The one place where an atomic type, or a cell that threads hand on, is named:
//! core's, or the stand-ins of loom (every schedule, every value) and of shuttle
//! (random schedules).
//!
//! All bodies have the same surface, so the rest of the crate (and
//! `umbra-state`, which uses this module too) is the same source under the
//! model checker. The test `atomics_come_from_sync_only` holds the rule.

#[cfg(not(any(loom, umbra_shuttle)))]
mod imp {
    #![allow(
        clippy::disallowed_types,
        reason = "this is the module that the lint points to"
    )]
    pub use core::cell::Cell;
    pub use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

#[cfg(loom)]
mod imp {
    // An access that nothing orders with another thread's is a report.
    pub use loom::cell::Cell;
    pub use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

#[cfg(all(umbra_shuttle, not(loom)))]
mod imp {
    pub use core::cell::Cell;
    pub use shuttle::sync::atomic::{
        AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// An atomic is more than its value: larger, and not all zero at first.
pub const FAT: bool = cfg!(any(loom, umbra_shuttle));

pub use imp::*;
