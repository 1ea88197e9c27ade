//! The lists between a retirement and its destructor, for a scheme that can run
//! something after a grace period. (Public for the models only.)
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
//! Each link is counted on one of two sides. A barrier switches new links to the
//! other side and waits until the old one is empty, four times over: as SRCU does,
//! for once is not enough for a link that was counted just after a switch; and
//! twice that, for a type's link is retired again by its own reclaim. Meanwhile it
//! reclaims on both, for a link of the old side may wait for what one of the other has
//! to end: a body for a merge, which its type's link carries on.

use core::ops::Deref;
use core::ptr::NonNull;
use std::sync::Arc;

use crate::platform::{Link, Progress};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// `reclaim` calls that a writer makes after its own operation, at most. Each
/// destroys a few entries, so that a writer catches up with what it frees.
const SHARE: usize = 4;

/// What the lists need of the scheme under them.
pub trait Scheme {
    /// How its lists are reached: they live as long as any of these.
    type Deferred: Deref<Target = Deferred> + Clone + 'static;

    /// Its lists.
    fn deferred(&self) -> Self::Deferred;

    /// Runs `f` once, on any thread, when every guard of now is gone. What
    /// happened before the call and under those guards happens before `f`. Looks, as
    /// `flush` does.
    ///
    /// # Safety
    /// `f` may run on any thread.
    unsafe fn defer(&self, f: impl FnOnce() + 'static);

    /// Looks whether a grace period is over, and runs what was deferred for it.
    fn flush(&self);

    /// Whether this thread was not reclaiming yet: a destructor that writes does
    /// not start over.
    fn enter(&self) -> bool;

    /// It reclaims no more.
    fn leave(&self);

    /// Lets others run.
    fn relax(&self);
}

/// The lists of one scheme.
#[derive(Debug, Default)]
pub struct Deferred {
    sides: [Side; 2],
    /// The side of new links.
    current: AtomicUsize,
}

#[derive(Debug, Default)]
struct Side {
    /// Retired links without a grace period under way.
    limbo: AtomicPtr<Link>,
    /// Links whose grace period is over.
    ripe: AtomicPtr<Link>,
    /// Links retired and not yet reclaimed.
    pending: AtomicUsize,
}

impl Deferred {
    /// For a static. (loom's atomics belong to an execution: `default`.)
    #[cfg(not(any(loom, umbra_shuttle)))]
    pub(crate) const fn new() -> Self {
        const fn side() -> Side {
            Side {
                limbo: AtomicPtr::new(core::ptr::null_mut()),
                ripe: AtomicPtr::new(core::ptr::null_mut()),
                pending: AtomicUsize::new(0),
            }
        }
        Self {
            sides: [side(), side()],
            current: AtomicUsize::new(0),
        }
    }
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
    NonNull::new(list.swap(core::ptr::null_mut(), Ordering::Acquire))
}

/// Starts a grace period for what is in the limbo of a side.
fn start_grace_period<S: Scheme>(scheme: &S, side: usize) {
    let deferred = scheme.deferred();
    let Some(first) = take(&deferred.sides[side].limbo) else {
        return;
    };
    let ripen = move || {
        let mut last = first;
        // SAFETY: the closure owns the chain.
        unsafe {
            while let Some(next) = NonNull::new(last.as_ref().next.get()) {
                last = next;
            }
            push(&deferred.sides[side].ripe, first, last);
        }
    };
    // SAFETY: retired links belong to the reclamation scheme; whoever holds the
    // chain is alone with it, on whichever thread. It is moved, no more.
    unsafe { scheme.defer(ripen) };
}

/// Returns when every guard of now is gone.
fn wait_for_guards(scheme: &impl Scheme) {
    let gone = Arc::new(AtomicUsize::new(0));
    let mark = Arc::clone(&gone);
    // Release: pairs with the acquire below.
    let open = move || mark.store(1, Ordering::Release);
    // SAFETY: an atomic store, on any thread.
    unsafe { scheme.defer(open) };
    // Acquire: pairs with the release above: what happened under the guards is
    // visible.
    while gone.load(Ordering::Acquire) == 0 {
        scheme.flush();
        scheme.relax();
    }
}

/// Calls `reclaim` up to `budget` times for what is ripe on a side, if anything is.
#[inline]
fn reclaim(scheme: &impl Scheme, at: usize, budget: usize) {
    // Relaxed: a look; what is ripe by the next time is found then.
    if !scheme.deferred().sides[at]
        .ripe
        .load(Ordering::Relaxed)
        .is_null()
    {
        reclaim_ripe(scheme, at, budget);
    }
}

#[cold]
#[inline(never)]
fn reclaim_ripe(scheme: &impl Scheme, at: usize, mut budget: usize) {
    if !scheme.enter() {
        return;
    }
    let deferred = scheme.deferred();
    let side = &deferred.sides[at];
    let mut list = take(&side.ripe);
    let mut again = false;
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
                side.pending.fetch_sub(1, Ordering::Release);
            }
            // SAFETY: ours. A repeated grace period in the link's own side.
            Progress::Again => unsafe {
                list = next;
                again = true;
                push(&side.limbo, link, link);
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
            push(&side.ripe, first, last);
        }
    }
    if again {
        // Not left to the next retirement: that may be onto the other side.
        start_grace_period(scheme, at);
    }
    scheme.leave();
}

/// [`Smr::retire`](crate::Smr::retire).
///
/// # Safety
/// As there.
pub unsafe fn retire(scheme: &impl Scheme, link: NonNull<Link>) {
    let deferred = scheme.deferred();
    // Relaxed: a link counted on either side is found by a barrier that begins
    // later, which waits for both.
    let at = deferred.current.load(Ordering::Relaxed) & 1;
    let side = &deferred.sides[at];
    // Relaxed: the caller's retire happens before a later barrier by whatever
    // orders the two calls.
    side.pending.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller hands the link over.
    unsafe { push(&side.limbo, link, link) };
    start_grace_period(scheme, at);
}

/// [`Smr::assist`](crate::Smr::assist).
#[inline]
pub fn assist(scheme: &impl Scheme) {
    for side in [0, 1] {
        reclaim(scheme, side, SHARE);
    }
}

/// [`Smr::barrier`](crate::Smr::barrier); one at a time.
pub fn barrier(scheme: &impl Scheme) {
    let deferred = scheme.deferred();
    wait_for_guards(scheme);
    for _ in 0..4 {
        // Relaxed: see `retire`; each round finds who missed the one before.
        let at = deferred.current.fetch_xor(1, Ordering::Relaxed) & 1;
        let side = &deferred.sides[at];
        // Acquire: pairs with the release in `reclaim`: the destructors' effects
        // are visible.
        while side.pending.load(Ordering::Acquire) != 0 {
            start_grace_period(scheme, at);
            // Deferred work runs when the scheme is asked.
            scheme.flush();
            reclaim(scheme, at, usize::MAX);
            reclaim(scheme, at ^ 1, usize::MAX);
            scheme.relax();
        }
    }
}
