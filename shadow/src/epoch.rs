//! The userspace platform: crossbeam-epoch, and memory in large pages.
//!
//! # Who runs destructors
//! crossbeam runs what was deferred inside `pin`, so a reader could be made to
//! run another thread's destructors. Here the deferred work only moves a batch
//! from one list to another:
//!
//! ```text
//!  retire -> limbo -> defer + flush
//!         -> grace period -> ripe --(writers, after their operation)--> reclaim
//! ```
//! `limbo` and `ripe` are lists of the process, not of the thread, so an idle
//! thread holds nothing back.
//!
//! # The barrier
//! Each link is counted in one of two lanes. A barrier switches new links to the
//! other lane and waits until the old one is empty, four times over: as SRCU does,
//! for once is not enough for a link that was counted just after a switch; and
//! twice that, for a type's link is retired again by its own reclaim.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::memory;
use crate::platform::{AllocFlags, Link, Memory, Platform, Progress, Smr};
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// `reclaim` calls that a writer makes after its own operation, at most. Each
/// destroys a few entries, so that a writer catches up with what it frees.
const SHARE: usize = 4;

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

struct Lane {
    /// Retired links without a grace period under way.
    limbo: AtomicPtr<Link>,
    /// Links whose grace period is over.
    ripe: AtomicPtr<Link>,
    /// Links retired and not yet reclaimed.
    pending: AtomicUsize,
}

impl Lane {
    const fn new() -> Self {
        Self {
            limbo: AtomicPtr::new(null_mut()),
            ripe: AtomicPtr::new(null_mut()),
            pending: AtomicUsize::new(0),
        }
    }
}

static LANES: [Lane; 2] = [Lane::new(), Lane::new()];
/// The lane of new links.
static LANE: AtomicUsize = AtomicUsize::new(0);
static BARRIER: Mutex<()> = Mutex::new(());

thread_local! {
    /// This thread reclaims: a destructor that writes does not start over.
    static RECLAIMING: Cell<bool> = const { Cell::new(false) };
}

/// Puts the chain `first ..= last` in front of `list`.
///
/// # Safety
/// The caller owns the links of the chain.
unsafe fn push(list: &AtomicPtr<Link>, first: NonNull<Link>, last: NonNull<Link>) {
    // Relaxed: the CAS reads it again, and only the value is used.
    let mut head = list.load(Ordering::Relaxed);
    loop {
        // SAFETY: the caller's contract.
        unsafe { last.as_ref() }.next.set(head);
        // Release: pairs with the acquire in `take`: the taker sees the chain.
        match list.compare_exchange_weak(head, first.as_ptr(), Ordering::Release, Ordering::Relaxed)
        {
            Ok(_) => return,
            Err(seen) => head = seen,
        }
    }
}

/// Takes the whole of `list`. (Never a part, so there is no ABA problem.)
fn take(list: &AtomicPtr<Link>) -> Option<NonNull<Link>> {
    // Relaxed: a look before the write, so that empty lists stay shared.
    if list.load(Ordering::Relaxed).is_null() {
        return None;
    }
    // Acquire: pairs with the release in `push`.
    NonNull::new(list.swap(null_mut(), Ordering::Acquire))
}

/// Starts a grace period for what is in `lane`'s limbo.
fn start_grace_period(lane: &'static Lane) {
    let Some(first) = take(&lane.limbo) else {
        return;
    };
    let chain = Chain(first);
    let guard = crossbeam_epoch::pin();
    // SAFETY: the closure owns the chain, touches nothing of this stack, and may
    // run on any thread: links are only moved.
    unsafe {
        guard.defer_unchecked(move || {
            let first = chain.into_first();
            let mut last = first;
            while let Some(next) = NonNull::new(last.as_ref().next.get()) {
                last = next;
            }
            push(&lane.ripe, first, last);
        });
    }
    guard.flush();
}

/// Returns when every guard of now is gone.
fn wait_for_guards() {
    let gone = Arc::new(AtomicUsize::new(0));
    let mark = Arc::clone(&gone);
    // Release: pairs with the acquire below.
    crossbeam_epoch::pin().defer(move || mark.store(1, Ordering::Release));
    // Acquire: what happened under the guards is visible.
    while gone.load(Ordering::Acquire) == 0 {
        crossbeam_epoch::pin().flush();
        std::thread::yield_now();
    }
}

/// A chain of links on its way to another thread.
struct Chain(NonNull<Link>);
// SAFETY: retired links belong to the reclamation scheme; whoever holds the
// chain is alone with it.
unsafe impl Send for Chain {}
impl Chain {
    fn into_first(self) -> NonNull<Link> {
        self.0
    }
}

/// Calls `reclaim` up to `budget` times for what is ripe in `lane`.
fn reclaim(lane: &'static Lane, mut budget: usize) {
    // Relaxed: a look; what is ripe by the next time is found then.
    if lane.ripe.load(Ordering::Relaxed).is_null() {
        return;
    }
    // While the thread ends its flag may be gone: others reclaim then.
    if RECLAIMING.try_with(|r| r.replace(true)).unwrap_or(true) {
        return;
    }
    let mut list = take(&lane.ripe);
    while let Some(link) = list {
        if budget == 0 {
            break;
        }
        budget -= 1;
        // SAFETY: a ripe link exists until it is reclaimed, and is ours.
        let next = NonNull::new(unsafe { link.as_ref() }.next.get());
        // SAFETY: its grace period is over, and only this call has it.
        match unsafe { Link::reclaim(link) } {
            Progress::Done => {
                list = next;
                // Release: pairs with the acquire in `barrier`.
                lane.pending.fetch_sub(1, Ordering::Release);
            }
            // SAFETY: ours. A repeated grace period in the link's own lane.
            Progress::Again => unsafe {
                list = next;
                push(&lane.limbo, link, link);
            },
            Progress::More => list = Some(link),
        }
    }
    if let Some(first) = list {
        let mut last = first;
        // SAFETY: the rest of the chain is ours still.
        unsafe {
            while let Some(next) = NonNull::new(last.as_ref().next.get()) {
                last = next;
            }
            push(&lane.ripe, first, last);
        }
    }
    let _ = RECLAIMING.try_with(|r| r.set(false));
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
        // Relaxed: a link counted in either lane is found by a barrier that
        // begins later, which waits for both.
        let lane = &LANES[LANE.load(Ordering::Relaxed) & 1];
        // Relaxed: the caller's retire happens before a later barrier by
        // whatever orders the two calls.
        lane.pending.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller hands the link over.
        unsafe { push(&lane.limbo, link, link) };
        start_grace_period(lane);
    }

    fn assist(&self) {
        for lane in &LANES {
            reclaim(lane, SHARE);
        }
    }

    fn barrier(&self) {
        crate::context::wait_for_reclamation();
        let _one = BARRIER.lock().unwrap_or_else(PoisonError::into_inner);
        wait_for_guards();
        for _ in 0..4 {
            // Relaxed: see `retire`; each round finds who missed the one before.
            let lane = &LANES[LANE.fetch_xor(1, Ordering::Relaxed) & 1];
            // Acquire: pairs with the release in `reclaim`: the destructors'
            // effects are visible.
            while lane.pending.load(Ordering::Acquire) != 0 {
                start_grace_period(lane);
                // Deferred work runs when the epoch advances, which a pinning
                // thread tries.
                crossbeam_epoch::pin().flush();
                reclaim(lane, usize::MAX);
                std::thread::yield_now();
            }
        }
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
