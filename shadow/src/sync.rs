//! The one place where an atomic type is named: core's, or loom's stand-ins.
//!
//! Both bodies have the same surface, so the rest of the crate (and
//! `umbra-state`, which uses this module too) is the same source under the
//! model checker. The test `atomics_come_from_sync_only` holds the rule.

#[cfg(not(loom))]
mod imp {
    #![allow(
        clippy::disallowed_types,
        reason = "this is the module that the lint points to"
    )]
    pub use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

#[cfg(loom)]
mod imp {
    pub use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

pub use imp::*;
