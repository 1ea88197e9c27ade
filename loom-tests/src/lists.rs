//! What userspace has between a retirement and its destructor
//! (`shadow/src/deferred.rs`), over a scheme for one execution of a model.
//!
//! | platform | the scheme below | shows |
//! |---|---|---|
//! | [`Lists`] | the tracked platform's guards | the lists' own steps: crossbeam-epoch's many would leave no room for them |
//! | [`RealEpoch`](crate::RealEpoch) | crossbeam-epoch | that table, lists and scheme fit together |

use std::alloc::Layout;
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::Arc as StdArc;
use std::sync::Mutex as StdMutex;

use loom::thread::ThreadId;
use umbra_shadow::deferred::{self, Deferred, Scheme};
use umbra_shadow::{AllocFlags, Link, Memory, Platform, Smr, Table};

use crate::platform::{Guard, Tracked};
use crate::scene;

/// What is under the lists.
///
/// # Safety
/// `defer` keeps its promise, on which [`Smr`] is built.
pub unsafe trait Below: Memory + Clone + Send + Sync + 'static {
    /// [`Smr::Guard`].
    type Guard;

    /// [`Smr::pin`].
    fn pin(&self) -> Self::Guard;

    /// [`Scheme::defer`].
    ///
    /// # Safety
    /// As there.
    unsafe fn defer(&self, f: impl FnOnce() + 'static);

    /// [`Scheme::flush`].
    fn flush(&self);
}

/// The lists over a scheme.
#[derive(Clone, Default)]
pub struct Over<B> {
    pub(crate) below: B,
    deferred: StdArc<Deferred>,
    reclaiming: StdArc<Reclaiming>,
}

/// The lists over the tracked platform.
pub type Lists = Over<Tracked>;

/// Threads in the midst of a reclaim; loom does not see this.
#[derive(Default)]
struct Reclaiming(StdMutex<HashSet<ThreadId>>);

impl<B: Below + Default> Over<B> {
    /// A platform for one execution of a model.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<B: Below> Over<B> {
    /// A table on it, of payloads.
    #[must_use]
    pub fn table(&self) -> Table<Self> {
        scene::table(self)
    }
}

// SAFETY: what `Tracked` is given runs after the guards of then.
unsafe impl Below for Tracked {
    type Guard = Guard;

    fn pin(&self) -> Guard {
        Smr::pin(self)
    }

    unsafe fn defer(&self, f: impl FnOnce() + 'static) {
        // SAFETY: the caller's contract.
        unsafe { self.after_guards(f) }
    }

    fn flush(&self) {
        self.reclaim();
    }
}

impl<B: Below> Scheme for Over<B> {
    type Deferred = StdArc<Deferred>;

    fn deferred(&self) -> StdArc<Deferred> {
        StdArc::clone(&self.deferred)
    }

    unsafe fn defer(&self, f: impl FnOnce() + 'static) {
        // SAFETY: the caller's contract.
        unsafe { self.below.defer(f) }
    }

    fn flush(&self) {
        self.below.flush();
    }

    fn enter(&self) -> bool {
        let thread = loom::thread::current().id();
        self.reclaiming.0.lock().unwrap().insert(thread)
    }

    fn leave(&self) {
        let thread = loom::thread::current().id();
        self.reclaiming.0.lock().unwrap().remove(&thread);
    }

    fn relax(&self) {
        loom::thread::yield_now();
    }
}

// SAFETY: a link is deferred after its retirement, so it is ripe after every guard
// of then; the lists hand each one on once.
unsafe impl<B: Below> Smr for Over<B> {
    type Guard = B::Guard;

    fn pin(&self) -> B::Guard {
        self.below.pin()
    }

    unsafe fn retire(&self, link: NonNull<Link>) {
        // SAFETY: the caller's contract.
        unsafe { deferred::retire(self, link) }
    }

    fn assist(&self) {
        deferred::assist(self);
    }

    fn barrier(&self) {
        deferred::barrier(self);
    }
}

// SAFETY: the memory of what is below.
unsafe impl<B: Below> Memory for Over<B> {
    fn alloc_zeroed(&self, layout: Layout, flags: AllocFlags) -> Option<NonNull<u8>> {
        self.below.alloc_zeroed(layout, flags)
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { self.below.dealloc(ptr, layout) }
    }
}

impl<B: Below> Platform for Over<B> {
    fn relax(&self, _flags: AllocFlags, _round: u32) -> bool {
        loom::thread::yield_now();
        true
    }
}
