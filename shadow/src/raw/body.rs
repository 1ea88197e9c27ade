//! The contents of one type: its list, and the buckets that shorten searches.
//!
//! # Buckets
//! `level` says that there are `2^level` buckets. A bucket's sentinel lives in a
//! segment (16 KiB of them), the segments hang off pages, the pages off the
//! body; each is made when a writer first needs it and is missing until then. A
//! lookup that meets a missing segment or a sentinel that is not `READY` takes
//! the parent bucket, whose run contains the child's: correct, only longer.
//!
//! A sentinel goes `0 -> key -> key | READY`: the CAS from 0 picks the one writer
//! that links it; nobody waits for that writer.
//!
//! # The end of a body
//! ```text
//!  swapped out by free_all, or by the last handle's drop
//!    -> grace period: nobody who loaded it before is inside a guard
//!    -> `busy` reads 0 (else another one): no constructor of it is left
//!    -> walked in slices, alone: every entry destroyed, then the buckets
//! ```
//! A variable that is published into a detached body counts as freed at once. Its
//! caller may use it under a guard taken before the call: that guard is older
//! than the swap, and the first grace period waits for it.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::entry::{DEAD, Dtor, Entry, LIVE, OwnedEntry};
use super::list::{self, ENTRY, Node, Position, READY};
use super::type_core::Core;
use crate::platform::{AllocFlags, Link, Platform, Progress};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// log2 of the sentinels in a segment: 16 KiB. Tiny under the model checkers,
/// so that a handful of entries crosses segments and pages.
const SEGMENT_BITS: u32 = if cfg!(any(loom, miri)) { 1 } else { 10 };
/// log2 of the segments a page points to: 2 KiB.
const PAGE_BITS: u32 = if cfg!(any(loom, miri)) { 1 } else { 8 };
/// log2 of the pages a body points to: 1 KiB.
const ROOT_BITS: u32 = if cfg!(any(loom, miri)) { 1 } else { 7 };
/// No further doubling: 33 million buckets. More entries make longer runs.
const MAX_LEVEL: u32 = SEGMENT_BITS + PAGE_BITS + ROOT_BITS;
/// Up to this many entries are searched without any bucket.
const UNBUCKETED: usize = if cfg!(any(loom, miri)) { 1 } else { 8 };
/// Entries destroyed by one call of `reclaim`.
const SLICE: usize = if cfg!(any(loom, miri)) { 2 } else { 64 };

struct Segment([Node; 1 << SEGMENT_BITS]);
struct Page([AtomicPtr<Segment>; 1 << PAGE_BITS]);

#[repr(C, align(16))]
pub(super) struct Body<P: Platform> {
    link: Link,
    core: NonNull<Core<P>>,
    /// Set by whoever detached the body, read when it is walked.
    dtor: Cell<Option<Dtor>>,
    /// The sentinel of bucket 0: the start of the list.
    head: Node,
    /// log2 of the number of buckets.
    level: AtomicUsize,
    /// Linked entries that are not dead.
    count: AtomicUsize,
    /// Entries reserved and neither published nor cancelled.
    busy: AtomicUsize,
    pages: [AtomicPtr<Page>; 1 << ROOT_BITS],
}

/// The order bits of the sentinel of bucket `index`.
fn sentinel_key(index: usize) -> u64 {
    (index as u64).reverse_bits() & !(ENTRY | READY)
}

/// A key's bits that all nodes of one bucket share at `level`.
fn run_mask(level: u32) -> u64 {
    !(u64::MAX >> level)
}

/// The bucket that `index` splits from, and the level at which it did.
fn parent(index: usize) -> (usize, u32) {
    let level = index.ilog2();
    (index & !(1 << level), level)
}

fn null<T>() -> AtomicPtr<T> {
    AtomicPtr::new(core::ptr::null_mut())
}

/// Initialises an array in place, element by element.
///
/// # Safety
/// `array` is valid for writes and holds nothing that needs dropping.
unsafe fn fill<T, const N: usize>(array: *mut [T; N], element: impl Fn() -> T) {
    for i in 0..N {
        // SAFETY: `i` is inside the array.
        unsafe { array.cast::<T>().add(i).write(element()) };
    }
}

impl<P: Platform> Body<P> {
    /// An empty body, holding its core.
    ///
    /// # Safety
    /// The core is alive.
    pub(super) unsafe fn new(core: NonNull<Core<P>>, flags: AllocFlags) -> Option<NonNull<Self>> {
        // SAFETY: the caller's contract.
        let owner = unsafe { core.as_ref() };
        let memory = owner
            .platform()
            .alloc_zeroed(Layout::new::<Self>(), flags)?
            .cast::<Self>();
        owner.hold();
        let body = memory.as_ptr();
        // SAFETY: fresh memory of this layout; each field is written in place
        // (a kernel stack has no room for the arrays).
        unsafe {
            (&raw mut (*body).link).write(Link::new(Self::reclaim));
            (&raw mut (*body).core).write(core);
            (&raw mut (*body).dtor).write(Cell::new(None));
            (&raw mut (*body).head).write(Node::new(READY));
            (&raw mut (*body).level).write(AtomicUsize::new(0));
            (&raw mut (*body).count).write(AtomicUsize::new(0));
            (&raw mut (*body).busy).write(AtomicUsize::new(0));
            fill(&raw mut (*body).pages, null);
        }
        Some(memory)
    }

    /// Gives back a body that was never attached.
    ///
    /// # Safety
    /// It came from `new`, and nobody else has seen it.
    pub(super) unsafe fn discard(this: NonNull<Self>) {
        // SAFETY: the caller owns it, and holds the core besides.
        unsafe {
            let core = this.as_ref().core;
            Self::deallocate(this.as_ptr());
            Core::release(core);
        }
    }

    /// Hands a detached body to the grace period; its entries get `dtor`.
    ///
    /// # Safety
    /// The caller took it out of its core, alone.
    pub(super) unsafe fn retire(this: NonNull<Self>, platform: &P, dtor: Option<Dtor>) {
        // SAFETY: whoever swaps a body out is the only one to touch these two
        // fields until `reclaim`.
        unsafe {
            let this = this.as_ptr();
            (*this).dtor.set(dtor);
            platform.retire(NonNull::new_unchecked(&raw mut (*this).link));
        }
    }

    pub(super) fn live(&self) -> usize {
        // Relaxed, both: a statistic.
        let linked = self.count.load(Ordering::Relaxed);
        linked.saturating_sub(self.busy.load(Ordering::Relaxed))
    }

    pub(super) fn buckets(&self) -> usize {
        // Relaxed: a statistic.
        1 << self.level.load(Ordering::Relaxed)
    }

    /// The data of the live variable of `obj`: loads only.
    ///
    /// # Safety
    /// The caller holds a guard that is older than its pointer to this body.
    #[inline]
    pub(super) unsafe fn get(&self, hash: u64, obj: usize) -> Option<NonNull<u8>> {
        let (bucket, level) = self.bucket(hash);
        let mask = run_mask(level);
        // SAFETY: a ready sentinel lives as long as the body. Relaxed: its order
        // bits are constant.
        let home = unsafe { (*bucket).key.load(Ordering::Relaxed) };
        // SAFETY: as above. The acquire pairs with the release CAS in
        // `list::link`: the next node's contents are visible.
        let mut cur = list::unmarked(unsafe { (*bucket).next.load(Ordering::Acquire) });
        while !cur.is_null() {
            // SAFETY: reached from a linked node under the guard, so not yet
            // reclaimed. Relaxed: order bits are constant.
            let key = unsafe { (*cur).key.load(Ordering::Relaxed) };
            if (key ^ home) & mask != 0 {
                return None;
            }
            if key & ENTRY != 0 {
                // SAFETY: the ENTRY bit, and the guard.
                let entry = unsafe { Entry::of_node(cur) };
                // Acquire: pairs with the release in `Reservation::publish`, so
                // that the constructed data is visible. A dead entry is passed:
                // a newer one of the same object may follow it.
                if entry.obj() == obj && entry.state().load(Ordering::Acquire) == LIVE {
                    return Some(entry.data());
                }
            }
            // SAFETY: as for the first link, and so is the ordering.
            cur = list::unmarked(unsafe { (*cur).next.load(Ordering::Acquire) });
        }
        None
    }

    /// The deepest bucket of `hash` that is ready, and its level.
    #[inline]
    fn bucket(&self, hash: u64) -> (*mut Node, u32) {
        // Relaxed: any level is right; the sentinels say what is there.
        let mut level = self.level.load(Ordering::Relaxed) as u32;
        let mut index = hash as usize & ((1 << level) - 1);
        while index != 0 {
            if let Some(sentinel) = self.sentinel(index) {
                // Acquire: pairs with the release of READY in `split`: the
                // sentinel is linked, its `next` is set.
                // SAFETY: sentinels live as long as the body.
                if unsafe { (*sentinel).key.load(Ordering::Acquire) } & READY != 0 {
                    return (sentinel, level);
                }
            }
            (index, level) = parent(index);
        }
        // Bucket 0 at whatever level is in force: its run at that level starts at
        // the head. Level 0 (search to the end) would be right too, and slower.
        (&raw const self.head as *mut Node, level)
    }

    /// The sentinel's slot of bucket `index` (not 0), if its segment exists.
    fn sentinel(&self, index: usize) -> Option<*mut Node> {
        let segment = index >> SEGMENT_BITS;
        // Acquire, twice: pair with the releases in `make`: the page's and the
        // segment's initial contents are visible.
        let page = self.pages[segment >> PAGE_BITS].load(Ordering::Acquire);
        // SAFETY: pages and segments live as long as the body.
        let page = unsafe { page.as_ref() }?;
        let segment = page.0[segment & ((1 << PAGE_BITS) - 1)].load(Ordering::Acquire);
        if segment.is_null() {
            return None;
        }
        // SAFETY: the index is masked to the segment's length.
        Some(unsafe {
            (&raw mut (*segment).0)
                .cast::<Node>()
                .add(index & ((1 << SEGMENT_BITS) - 1))
        })
    }

    /// The place of `(key, obj)`, after trying to make its own bucket ready.
    ///
    /// # Safety
    /// As [`get`](Self::get), or `busy` is held.
    pub(super) unsafe fn search(&self, hash: u64, obj: usize) -> Position {
        // Relaxed: as in `bucket`.
        let level = self.level.load(Ordering::Relaxed) as u32;
        let index = hash as usize & ((1 << level) - 1);
        let (mut start, at) = self.bucket(hash);
        if at < level
            && index != 0
            && let Some(sentinel) = self.sentinel(index)
            // SAFETY: `start` is a ready sentinel before `index`'s place.
            && unsafe { self.split(start, sentinel, index) }
        {
            start = sentinel;
        }
        // SAFETY: `start` is linked and at or before the key; the caller's guard.
        unsafe { list::find(start, Self::key(hash), obj) }
    }

    /// Links the sentinel of bucket `index`; true when it is this call that did.
    ///
    /// # Safety
    /// As [`search`](Self::search); `from` is a ready sentinel before it.
    unsafe fn split(&self, from: *mut Node, sentinel: *mut Node, index: usize) -> bool {
        let key = sentinel_key(index);
        // SAFETY: the slot is part of the body. Relaxed, both ways: the claim
        // hands over nothing; READY publishes the sentinel.
        let claim = unsafe {
            (*sentinel)
                .key
                .compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed)
        };
        if claim.is_err() {
            return false;
        }
        loop {
            // SAFETY: the caller's contract; the sentinel is ours until linked,
            // and nothing else of its key can be in the list.
            let at = unsafe { list::find(from, key, 0) };
            // SAFETY: as above.
            if unsafe { list::link(&at, sentinel) } {
                break;
            }
        }
        // Release: pairs with the acquire in `bucket`: who sees READY sees the
        // sentinel's `next`.
        // SAFETY: as above.
        unsafe { (*sentinel).key.store(key | READY, Ordering::Release) };
        true
    }

    /// The order key of an entry.
    pub(super) fn key(hash: u64) -> u64 {
        hash.reverse_bits() & !READY | ENTRY
    }

    pub(super) fn reserve(&self) {
        // Relaxed: ordered by the release CAS that links the reserved entry (a
        // body is looked at only after a grace period, which the caller's guard
        // is part of).
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// One reservation less; the body may be gone afterwards, unless the caller
    /// holds a guard.
    pub(super) fn settle(&self) {
        // Release: pairs with the acquire in `reclaim`: what the constructor's
        // caller did to the list happens before the walk.
        self.busy.fetch_sub(1, Ordering::Release);
    }

    pub(super) fn count_up(&self) -> usize {
        // Relaxed: a hint for growth and a statistic.
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn count_down(&self) {
        // Relaxed: as above.
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// After an insertion: doubles the buckets when runs get long, and makes the
    /// segment that `hash` would use. Both may fail; the next insertion tries.
    /// Costs at most a page and a segment; may allocate as `flags` say.
    ///
    /// Called outside of any guard, while `busy` keeps the body.
    pub(super) fn grow(&self, hash: u64, count: usize, platform: &P, flags: AllocFlags) -> bool {
        if count <= UNBUCKETED {
            return false;
        }
        // Relaxed: as in `bucket`; the CAS only keeps two from doubling twice.
        let level = self.level.load(Ordering::Relaxed);
        let grown = (level as u32) < MAX_LEVEL
            && count > 1 << level
            && self
                .level
                .compare_exchange(level, level + 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        let index = hash as usize & ((1 << level) - 1);
        let segment = index >> SEGMENT_BITS;
        let page_slot = &self.pages[segment >> PAGE_BITS];
        // SAFETY: `make` hands fresh memory to be filled.
        let init = |page: *mut Page| unsafe { fill(&raw mut (*page).0, null) };
        if let Some(page) = make(page_slot, platform, flags, init) {
            // SAFETY: pages live as long as the body.
            let slot = unsafe { &(*page).0[segment & ((1 << PAGE_BITS) - 1)] };
            // SAFETY: as above.
            let init = |s: *mut Segment| unsafe { fill(&raw mut (*s).0, || Node::new(0)) };
            make(slot, platform, flags, init);
        }
        grown
    }

    /// Calls `f` for every live entry, in list order.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn for_each(&self, f: &mut dyn FnMut(usize, NonNull<u8>)) {
        // Acquire: as in `get`, here and below.
        let mut cur = list::unmarked(self.head.next.load(Ordering::Acquire));
        while !cur.is_null() {
            // SAFETY: reached under the guard. Relaxed: constant order bits.
            if unsafe { (*cur).key.load(Ordering::Relaxed) } & ENTRY != 0 {
                // SAFETY: the ENTRY bit, and the guard.
                let entry = unsafe { Entry::of_node(cur) };
                // Acquire: pairs with the publication, as in `get`.
                if entry.state().load(Ordering::Acquire) == LIVE {
                    f(entry.obj(), entry.data());
                }
            }
            // SAFETY: as above.
            cur = list::unmarked(unsafe { (*cur).next.load(Ordering::Acquire) });
        }
    }

    /// [`Link::reclaim`] of a body: waits out its users, then walks it.
    ///
    /// # Safety
    /// [`Link::reclaim`]'s contract.
    unsafe fn reclaim(link: NonNull<Link>) -> Progress {
        let this = link.cast::<Self>().as_ptr();
        // SAFETY: the link is the body's first field, and the body is detached:
        // after the grace period only reservations may still use it. Acquire:
        // pairs with the release in `settle`.
        unsafe {
            if (*this).busy.load(Ordering::Acquire) != 0 {
                return Progress::Again;
            }
            Self::walk(this)
        }
    }

    /// Destroys a slice of the entries; after the last one the body too.
    ///
    /// # Safety
    /// Nobody else can reach the body.
    unsafe fn walk(this: *mut Self) -> Progress {
        // SAFETY: all of the body and its entries is ours. Relaxed throughout:
        // the grace period ordered every store to the list before us.
        unsafe {
            let dtor = (*this).dtor.get();
            let mut cur = (*this).head.next.load(Ordering::Relaxed);
            let mut left = SLICE;
            while !cur.is_null() && left != 0 {
                let next = list::unmarked((*cur).next.load(Ordering::Relaxed));
                if (*cur).key.load(Ordering::Relaxed) & ENTRY != 0 {
                    left -= 1;
                    let entry = OwnedEntry::<P>::of_node(cur);
                    debug_assert_ne!(entry.entry().state().load(Ordering::Relaxed), DEAD);
                    entry.destroy(dtor);
                }
                cur = next;
            }
            (*this).head.next.store(cur, Ordering::Relaxed);
            if cur.is_null() {
                let core = (*this).core;
                Self::deallocate(this);
                Core::release(core);
                return Progress::Done;
            }
        }
        Progress::More
    }

    /// # Safety
    /// The body is ours alone and its list is empty.
    unsafe fn deallocate(this: *mut Self) {
        // SAFETY: the caller's contract; every block goes back to the platform
        // that gave it, with its own layout. Relaxed: as in `walk`.
        unsafe {
            let platform = (*this).core.as_ref().platform().clone();
            for page in &(*this).pages {
                let page = page.load(Ordering::Relaxed);
                if page.is_null() {
                    continue;
                }
                for segment in &(*page).0 {
                    free_made(segment, &platform);
                }
                free_block(page, &platform);
            }
            free_block(this, &platform);
        }
    }
}

/// The block in `slot`, made by `init` if there is none yet.
fn make<P: Platform, T>(
    slot: &AtomicPtr<T>,
    platform: &P,
    flags: AllocFlags,
    init: impl FnOnce(*mut T),
) -> Option<*mut T> {
    // Acquire: pairs with the release below, as the loads in `sentinel` do.
    let there = slot.load(Ordering::Acquire);
    if !there.is_null() {
        return Some(there);
    }
    let made = platform
        .alloc_zeroed(Layout::new::<T>(), flags)?
        .cast::<T>()
        .as_ptr();
    init(made);
    // Release: publishes the contents. Acquire on failure: we use the winner's.
    match slot.compare_exchange(
        core::ptr::null_mut(),
        made,
        Ordering::Release,
        Ordering::Acquire,
    ) {
        Ok(_) => Some(made),
        Err(winner) => {
            // SAFETY: nobody has seen `made`.
            unsafe { free_block(made, platform) };
            Some(winner)
        }
    }
}

/// # Safety
/// The block in `slot`, if any, came from `make` and is unreachable.
unsafe fn free_made<P: Platform, T>(slot: &AtomicPtr<T>, platform: &P) {
    // Relaxed: the caller is alone with the slot.
    let block = slot.load(Ordering::Relaxed);
    if !block.is_null() {
        // SAFETY: the caller's contract.
        unsafe { free_block(block, platform) };
    }
}

/// # Safety
/// `block` came from `platform` with `T`'s layout and is unreachable.
unsafe fn free_block<P: Platform, T>(block: *mut T, platform: &P) {
    // SAFETY: the caller's contract.
    unsafe {
        block.drop_in_place();
        platform.dealloc(NonNull::new_unchecked(block.cast()), Layout::new::<T>());
    }
}
