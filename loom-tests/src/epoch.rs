//! The real crossbeam-epoch, explored together with the table, by way of the lists
//! that userspace has over it (`shadow/src/lanes.rs`).
//!
//! crossbeam-epoch runs on loom's atomics under `--cfg crossbeam_loom` (this
//! folder's `.cargo/config.toml` brings it). A collector lives for one
//! execution; each thread of the model registers with it once. Its own steps
//! are many, so these models are bounded tightly: they show that the table and
//! the scheme fit together, not every interleaving of either.

use std::alloc::Layout;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc as StdArc;
use std::sync::Mutex as StdMutex;

use crossbeam_epoch::{Collector, Guard, LocalHandle};
use loom::thread::ThreadId;
use umbra_shadow::lanes::{self, Lanes, Scheme};
use umbra_shadow::{AllocFlags, Link, Memory, Platform, Smr, Table};

use crate::blocks::Blocks;
use crate::lists::Reclaiming;
use crate::payload::{FLAGS, Payload};

/// crossbeam-epoch as a platform, for one execution of a model.
#[derive(Clone)]
pub struct RealEpoch(StdArc<Shared>);

struct Shared {
    // Before the collector: a handle must not outlive the last chance to be
    // taken off its list.
    handles: StdMutex<Handles>,
    collector: Collector,
    lanes: StdArc<Lanes>,
    reclaiming: Reclaiming,
    blocks: Blocks,
}

#[derive(Default)]
struct Handles(HashMap<ThreadId, LocalHandle>);

// SAFETY: a handle is used by the thread it is kept for only, and dropped when
// that thread uses it no more; its drop touches atomics of the collector.
unsafe impl Send for Handles {}

impl RealEpoch {
    /// A collector for one execution.
    #[must_use]
    pub fn new() -> Self {
        Self(StdArc::new(Shared {
            handles: StdMutex::default(),
            collector: Collector::new(),
            lanes: StdArc::default(),
            reclaiming: Reclaiming::default(),
            blocks: Blocks::default(),
        }))
    }

    /// A table on it, of payloads.
    #[must_use]
    pub fn table(&self) -> Table<Self> {
        let dtor = Some(Payload::DESTROY);
        Table::with_dtor(self.clone(), 1, dtor, FLAGS).expect("the model's memory does not run out")
    }

    /// Gives up this thread's place in the collector, as its end would.
    pub fn depart(&self) {
        let thread = loom::thread::current().id();
        let handle = self.0.handles.lock().unwrap().0.remove(&thread);
        drop(handle);
    }
}

impl Default for RealEpoch {
    fn default() -> Self {
        Self::new()
    }
}

impl Scheme for RealEpoch {
    type Lanes = StdArc<Lanes>;

    fn lanes(&self) -> StdArc<Lanes> {
        StdArc::clone(&self.0.lanes)
    }

    unsafe fn defer(&self, f: impl FnOnce() + 'static) {
        let guard = self.pin();
        // SAFETY: the caller's contract.
        unsafe { guard.defer_unchecked(f) };
        guard.flush();
    }

    fn flush(&self) {
        self.pin().flush();
    }

    fn enter(&self) -> bool {
        self.0.reclaiming.enter()
    }

    fn leave(&self) {
        self.0.reclaiming.leave();
    }

    fn relax(&self) {
        loom::thread::yield_now();
    }
}

// SAFETY: what userspace does, over a collector that is this execution's.
unsafe impl Smr for RealEpoch {
    type Guard = Guard;

    fn pin(&self) -> Guard {
        let thread = loom::thread::current().id();
        // Registering and pinning are steps of the model, so the lock is not
        // held during them; the handle stays where it is until `depart`.
        let known = self.0.handles.lock().unwrap().0.remove(&thread);
        let handle = known.unwrap_or_else(|| self.0.collector.register());
        let guard = handle.pin();
        self.0.handles.lock().unwrap().0.insert(thread, handle);
        guard
    }

    unsafe fn retire(&self, link: NonNull<Link>) {
        // SAFETY: the caller's contract.
        unsafe { lanes::retire(self, link) }
    }

    fn assist(&self) {
        lanes::assist(self);
    }

    fn barrier(&self) {
        lanes::barrier(self);
    }
}

// SAFETY: as of `Blocks`.
unsafe impl Memory for RealEpoch {
    fn alloc_zeroed(&self, layout: Layout, _flags: AllocFlags) -> Option<NonNull<u8>> {
        self.0.blocks.alloc_zeroed(layout)
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { self.0.blocks.dealloc(ptr, layout) }
    }
}

impl Platform for RealEpoch {
    fn relax(&self, _flags: AllocFlags, _round: u32) -> bool {
        loom::thread::yield_now();
        true
    }
}
