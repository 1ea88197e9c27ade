//! The real crossbeam-epoch, explored together with the table, by way of the lists
//! that userspace has over it (`shadow/src/deferred.rs`).
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
use umbra_shadow::{AllocFlags, Memory};

use crate::blocks::Blocks;
use crate::lists::{Below, Over};

/// crossbeam-epoch as a platform, for one execution of a model.
pub type RealEpoch = Over<Crossbeam>;

/// A collector of its own, and memory that loom watches.
#[derive(Clone)]
pub struct Crossbeam(StdArc<Shared>);

struct Shared {
    // Before the collector: a handle must not outlive the last chance to be
    // taken off its list.
    handles: StdMutex<Handles>,
    collector: Collector,
    blocks: Blocks,
}

#[derive(Default)]
struct Handles(HashMap<ThreadId, LocalHandle>);

// SAFETY: a handle is used by the thread it is kept for only, and dropped when
// that thread uses it no more; its drop touches atomics of the collector.
unsafe impl Send for Handles {}

impl RealEpoch {
    /// Gives up this thread's place in the collector, as its end would.
    pub fn depart(&self) {
        let thread = loom::thread::current().id();
        let handle = self.below.0.handles.lock().unwrap().0.remove(&thread);
        drop(handle);
    }
}

impl Default for Crossbeam {
    fn default() -> Self {
        Self(StdArc::new(Shared {
            handles: StdMutex::default(),
            collector: Collector::new(),
            blocks: Blocks::default(),
        }))
    }
}

// SAFETY: crossbeam's own promise, over a collector that is this execution's.
unsafe impl Below for Crossbeam {
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

    unsafe fn defer(&self, f: impl FnOnce() + 'static) {
        let guard = self.pin();
        // SAFETY: the caller's contract.
        unsafe { guard.defer_unchecked(f) };
        guard.flush();
    }

    fn flush(&self) {
        self.pin().flush();
    }
}

// SAFETY: as of `Blocks`.
unsafe impl Memory for Crossbeam {
    fn alloc_zeroed(&self, layout: Layout, _flags: AllocFlags) -> Option<NonNull<u8>> {
        self.0.blocks.alloc_zeroed(layout)
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { self.0.blocks.dealloc(ptr, layout) }
    }
}
