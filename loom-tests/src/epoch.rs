//! The real crossbeam-epoch, explored together with the table.
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
use umbra_shadow::{AllocFlags, Link, Memory, Platform, Progress, Smr, Table};

use crate::blocks::Blocks;
use crate::payload::{FLAGS, Payload};

/// crossbeam-epoch as a platform, for one execution of a model.
#[derive(Clone)]
pub struct RealEpoch(StdArc<Shared>);

struct Shared {
    // Before the collector: a handle must not outlive the last chance to be
    // taken off its list.
    handles: StdMutex<Handles>,
    collector: Collector,
    /// Links retired and not yet reclaimed; loom does not see this.
    pending: StdMutex<usize>,
    blocks: Blocks,
}

#[derive(Default)]
struct Handles(HashMap<ThreadId, LocalHandle>);

// SAFETY: a handle is used by the thread it is kept for only, and dropped when
// that thread uses it no more; its drop touches atomics of the collector.
unsafe impl Send for Handles {}

struct Retired {
    link: NonNull<Link>,
    epoch: RealEpoch,
}

// SAFETY: a retired link belongs to the scheme, whichever thread it runs on.
unsafe impl Send for Retired {}

impl RealEpoch {
    /// A collector for one execution.
    #[must_use]
    pub fn new() -> Self {
        Self(StdArc::new(Shared {
            handles: StdMutex::default(),
            collector: Collector::new(),
            pending: StdMutex::new(0),
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
    pub fn leave(&self) {
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

impl Retired {
    /// A closure that calls this captures the whole of it, and so may be sent.
    fn reclaim(self) {
        let progress = loop {
            // SAFETY: deferred once, and the collector says that its time has
            // come.
            match unsafe { Link::reclaim(self.link) } {
                Progress::More => {}
                other => break other,
            }
        };
        if progress == Progress::Again {
            // SAFETY: it asks for another grace period.
            unsafe { self.epoch.defer(self.link) };
        } else {
            *self.epoch.0.pending.lock().unwrap() -= 1;
        }
    }
}

impl RealEpoch {
    /// # Safety
    /// As of [`Smr::retire`].
    unsafe fn defer(&self, link: NonNull<Link>) {
        let retired = Retired {
            link,
            epoch: self.clone(),
        };
        let guard = self.pin();
        // SAFETY: nobody reaches the link who is not pinned now.
        unsafe { guard.defer_unchecked(move || retired.reclaim()) };
        // Otherwise nothing would be freed within so short a model.
        guard.flush();
    }
}

// SAFETY: a link is deferred once for each grace period it asks for.
unsafe impl Smr for RealEpoch {
    type Guard = Guard;

    fn pin(&self) -> Guard {
        let thread = loom::thread::current().id();
        // Registering and pinning are steps of the model, so the lock is not
        // held during them; the handle stays where it is until `leave`.
        let known = self.0.handles.lock().unwrap().0.remove(&thread);
        let handle = known.unwrap_or_else(|| self.0.collector.register());
        let guard = handle.pin();
        self.0.handles.lock().unwrap().0.insert(thread, handle);
        guard
    }

    unsafe fn retire(&self, link: NonNull<Link>) {
        *self.0.pending.lock().unwrap() += 1;
        // SAFETY: the caller's contract.
        unsafe { self.defer(link) }
    }

    fn assist(&self) {}

    fn barrier(&self) {
        while *self.0.pending.lock().unwrap() > 0 {
            self.pin().flush();
            loom::thread::yield_now();
        }
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
