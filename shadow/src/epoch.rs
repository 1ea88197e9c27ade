//! The userspace platform: crossbeam-epoch under the lists of [`deferred`], and memory
//! in large pages.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use crate::deferred::{self, Deferred, Scheme};
use crate::memory;
use crate::platform::{AllocFlags, Link, Memory, Platform, Smr};
use crate::sync::{AtomicU64, Ordering};

/// Userspace: crossbeam-epoch's default collector, and with the feature
/// `large-pages` (on by default) memory in 2 MiB pages where the system gives them;
/// without it, the global allocator's.
///
/// # Examples
/// ```
/// use umbra_shadow::{AllocFlags, Epoch, ShadowTable, Smr};
///
/// let shadows = ShadowTable::new(Epoch);
/// shadows.alloc(0xffff_8880_0000_1000, 1, 8, AllocFlags::default(), |_| Ok::<(), ()>(()));
/// let guard = Epoch.pin();
/// assert!(shadows.get(0xffff_8880_0000_1000, 1, &guard).is_some());
/// assert!(shadows.get(0xffff_8880_0000_2000, 1, &guard).is_none());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Epoch;

/// A read-side critical section of [`Epoch`].
///
/// A type of its own, because a `crossbeam_epoch::Guard` may belong to any
/// collector, and another one's would protect nothing here. It stays on its
/// thread:
/// ```compile_fail
/// # use umbra_shadow::{Epoch, Smr};
/// let guard = Epoch.pin();
/// std::thread::spawn(move || drop(guard));
/// ```
#[derive(Debug)]
pub struct EpochGuard(#[expect(dead_code, reason = "held for its drop")] crossbeam_epoch::Guard);

static DEFERRED: Deferred = Deferred::new();
static BARRIER: Mutex<()> = Mutex::new(());

thread_local! {
    /// This thread reclaims: a destructor that writes does not start over.
    static RECLAIMING: Cell<bool> = const { Cell::new(false) };
}

impl Scheme for Epoch {
    type Deferred = &'static Deferred;

    #[inline]
    fn deferred(&self) -> &'static Deferred {
        &DEFERRED
    }

    unsafe fn defer(&self, f: impl FnOnce() + 'static) {
        let guard = crossbeam_epoch::pin();
        // SAFETY: the caller's contract.
        unsafe { guard.defer_unchecked(f) };
        guard.flush();
    }

    fn flush(&self) {
        // The epoch advances when a pinning thread tries.
        crossbeam_epoch::pin().flush();
    }

    fn enter(&self) -> bool {
        // While the thread ends its flag may be gone: others reclaim then.
        !RECLAIMING.try_with(|r| r.replace(true)).unwrap_or(true)
    }

    fn leave(&self) {
        let _ = RECLAIMING.try_with(|r| r.set(false));
    }

    fn relax(&self) {
        std::thread::yield_now();
    }
}

// SAFETY: a link goes through `defer_unchecked` of a pin made after it was
// retired, so crossbeam moves it to `ripe` after every guard that was alive then
// is gone; each list is taken as a whole by one thread, so it is reclaimed once.
unsafe impl Smr for Epoch {
    type Guard = EpochGuard;

    #[inline]
    fn pin(&self) -> EpochGuard {
        EpochGuard(crossbeam_epoch::pin())
    }

    unsafe fn retire(&self, link: NonNull<Link>) {
        // SAFETY: the caller's contract.
        unsafe { deferred::retire(self, link) }
    }

    fn assist(&self) {
        deferred::assist(self);
    }

    fn barrier(&self) {
        crate::context::wait_for_reclamation();
        let _one = BARRIER.lock().unwrap_or_else(PoisonError::into_inner);
        deferred::barrier(self);
    }
}

// SAFETY: the allocator's own contract.
unsafe impl Memory for Epoch {
    fn alloc_zeroed(&self, layout: Layout, _flags: AllocFlags) -> Option<NonNull<u8>> {
        memory::alloc_zeroed(layout)
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { memory::dealloc(ptr, layout) }
    }
}

impl Platform for Epoch {
    fn seed(&self) -> u64 {
        use std::hash::{BuildHasher, RandomState};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Relaxed: only a different number each time.
        RandomState::new().hash_one(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn relax(&self, _flags: AllocFlags, _round: u32) -> bool {
        std::thread::yield_now();
        true
    }
}
