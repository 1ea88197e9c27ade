//! What userspace has between a retirement and its destructor
//! (`shadow/src/lanes.rs`), over the model's own grace periods: crossbeam-epoch's
//! many steps would leave no room for those of the lists.

use std::alloc::Layout;
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::Arc as StdArc;
use std::sync::Mutex as StdMutex;

use loom::thread::ThreadId;
use umbra_shadow::lanes::{self, Lanes, Scheme};
use umbra_shadow::{AllocFlags, Link, Memory, Platform, Smr};

use crate::platform::{Guard, Tracked};

/// The lists over the tracked platform.
#[derive(Clone, Default)]
pub struct Lists {
    tracked: Tracked,
    lanes: StdArc<Lanes>,
    reclaiming: StdArc<Reclaiming>,
}

/// Threads in the midst of a reclaim; loom does not see this.
#[derive(Default)]
pub(crate) struct Reclaiming(StdMutex<HashSet<ThreadId>>);

impl Reclaiming {
    /// [`Scheme::enter`].
    pub(crate) fn enter(&self) -> bool {
        let thread = loom::thread::current().id();
        self.0.lock().unwrap().insert(thread)
    }

    /// [`Scheme::leave`].
    pub(crate) fn leave(&self) {
        let thread = loom::thread::current().id();
        self.0.lock().unwrap().remove(&thread);
    }
}

impl Scheme for Lists {
    type Lanes = StdArc<Lanes>;

    fn lanes(&self) -> StdArc<Lanes> {
        StdArc::clone(&self.lanes)
    }

    unsafe fn defer(&self, f: impl FnOnce() + 'static) {
        // SAFETY: the caller's contract.
        unsafe { self.tracked.after_guards(f) }
    }

    fn flush(&self) {
        self.tracked.reclaim();
    }

    fn enter(&self) -> bool {
        self.reclaiming.enter()
    }

    fn leave(&self) {
        self.reclaiming.leave();
    }

    fn relax(&self) {
        loom::thread::yield_now();
    }
}

// SAFETY: as of `Tracked`; the lists hand each link on once.
unsafe impl Smr for Lists {
    type Guard = Guard;

    fn pin(&self) -> Guard {
        self.tracked.pin()
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

// SAFETY: as of `Tracked`.
unsafe impl Memory for Lists {
    fn alloc_zeroed(&self, layout: Layout, flags: AllocFlags) -> Option<NonNull<u8>> {
        self.tracked.alloc_zeroed(layout, flags)
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { self.tracked.dealloc(ptr, layout) }
    }
}

impl Platform for Lists {
    fn relax(&self, flags: AllocFlags, round: u32) -> bool {
        Platform::relax(&self.tracked, flags, round)
    }
}
