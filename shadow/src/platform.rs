//! What the table needs from the place it runs in: grace periods and memory.
//!
//! The table is the same code in a process, in the kernel and under the model
//! checker. Each of them is a [`Platform`]: crossbeam-epoch and the global
//! allocator ([`Epoch`](crate::Epoch)), RCU and `kmalloc` (the module's glue),
//! a tracked model (loom-tests).
//!
//! # Grace periods
//! A reader holds a guard from [`Smr::pin`]. Whatever was reachable while the
//! guard was taken stays allocated until it is dropped: a writer makes a node
//! unreachable first, then hands it to [`Smr::retire`], which calls
//! [`Link::reclaim`] once every guard that existed at the time of the call is
//! gone. Reclaiming runs in a context that may sleep, and never inside a
//! reader.

use crate::sync::Cell;
use core::alloc::Layout;
use core::ptr::NonNull;

/// Safe memory reclamation: who may still look at a node, and when it can go.
///
/// # Safety
/// An implementation calls `reclaim` of a retired link exactly once, and only
/// after every guard that was alive when [`retire`](Self::retire) was called
/// has been dropped; guards of every value of the type count, for a table takes
/// any. Everything that happened before those drops happens before
/// the reclaim, and everything before the `retire` does too.
pub unsafe trait Smr {
    /// A read-side critical section, for as long as the value lives.
    type Guard;

    /// Enters a read-side critical section. Guards nest.
    fn pin(&self) -> Self::Guard;

    /// Hands over a node that is no longer reachable by new readers.
    ///
    /// Never sleeps and never allocates in a way that can fail, so it may be
    /// called wherever the table may be written.
    ///
    /// # Safety
    /// The link is embedded in a node that was made unreachable before the
    /// call, is retired once, and stays untouched by the caller from here on.
    unsafe fn retire(&self, link: NonNull<Link>);

    /// A writer has just added to what waits: a chance to do a bounded part of
    /// what is ripe, where nobody else is there to do it. Under no guard, at the end
    /// of the operation.
    fn assist(&self);

    /// Returns when everything has been reclaimed that was retired before the call
    /// or under a guard that was held at the call, and what such a link's reclaim
    /// retired in turn, twice over. (A type that has many segments to merge does it in more
    /// rounds than that.)
    ///
    /// May sleep. Not under a guard: it would wait for itself.
    fn barrier(&self);
}

/// Where entries and bucket arrays come from.
///
/// # Safety
/// As [`core::alloc::GlobalAlloc`]: a block is valid for its layout until it is
/// given back, and its bytes are zero when it is handed out.
pub unsafe trait Memory {
    /// Zeroed memory for `layout`, or `None`.
    fn alloc_zeroed(&self, layout: Layout, flags: AllocFlags) -> Option<NonNull<u8>>;

    /// Gives a block back.
    ///
    /// # Safety
    /// `ptr` came from [`alloc_zeroed`](Self::alloc_zeroed) of this memory with
    /// the same layout and is not used afterwards.
    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout);
}

/// All that a table needs, cheap to clone (a zero-sized type outside of tests).
pub trait Platform: Smr + Memory + Clone + Send + Sync + 'static {
    /// A number that whoever chooses object addresses cannot guess, for the
    /// hash of a new table. The default is a constant, for tests.
    fn seed(&self) -> u64 {
        0x9E37_79B9_7F4A_7C15
    }

    /// Lets another caller's running constructor get on: spins, yields or
    /// sleeps, as `flags` allow. Called without a guard; `round` counts the calls
    /// of one wait from 0. False gives the wait up ([`AllocError::Busy`]): a caller
    /// that may not sleep must not wait for one that it has interrupted.
    ///
    /// [`AllocError::Busy`]: crate::AllocError::Busy
    fn relax(&self, flags: AllocFlags, round: u32) -> bool;

    /// Lines of the type of this id were replaced by a split, for tracers. Called under
    /// a guard; does nothing unless told to.
    fn on_split(&self, id: u64) {
        let _ = id;
    }
}

/// How an allocation may be made. The table passes it through: in the kernel
/// it is a `gfp_t`, in userspace nothing looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct AllocFlags(pub u32);

/// What [`Link::reclaim`] says of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The node is gone.
    Done,
    /// There is more to do, and it needs another grace period first: the
    /// platform retires the link again.
    Again,
    /// There is more to do and nothing to wait for: the platform calls again
    /// when it suits, after letting others run (the kernel's `cond_resched`).
    /// This is how a large reclamation is cut into slices.
    More,
}

/// The part of a node by which it waits for its grace period.
#[derive(Debug)]
#[repr(C)]
pub struct Link {
    /// The next waiting link; the platform's while retired.
    pub next: Cell<*mut Link>,
    reclaim: unsafe fn(NonNull<Link>) -> Progress,
}

impl Link {
    /// A link whose node is taken apart by `reclaim`. (Public for the models only.)
    #[doc(hidden)]
    pub fn new(reclaim: unsafe fn(NonNull<Link>) -> Progress) -> Self {
        Self {
            next: Cell::new(core::ptr::null_mut()),
            reclaim,
        }
    }

    /// Takes the node apart: destructor, then memory. May sleep.
    ///
    /// # Safety
    /// Only a [`Smr`] calls this, on a link that was retired, once its grace
    /// period is over; after [`Progress::Done`] the link no longer exists.
    pub unsafe fn reclaim(this: NonNull<Link>) -> Progress {
        // SAFETY: the caller says that the link is retired and still exists.
        let reclaim = unsafe { this.as_ref().reclaim };
        // SAFETY: same contract; `reclaim` was given for this very node.
        unsafe { reclaim(this) }
    }
}
