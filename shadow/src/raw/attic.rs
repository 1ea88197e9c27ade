//! The attic: entries that found no lane in their line.
//!
//! A line of the directory has room for few entries. What does not fit, or comes
//! before there is memory for lines, stands here: in one lock-free list, sorted by
//! the bit reversal of the hash (Shalev and Shavit, *Split-Ordered Lists*, JACM
//! 2006), with sentinels in it as shortcuts.
//!
//! ```text
//!  level = 2          pages -> page -> segment [.. b2, b1, b3 ..]
//!                                                  |   |   |
//!  list:  head=b0 -> e -> e -> b2 -> e -> b1 -> e -> b3 -> e -> null
//! ```
//! Doubling the number of buckets moves nothing: bucket `b` of level `l` splits
//! where the sentinel of bucket `b + 2^l` is put into the middle of its run. A
//! bucket whose sentinel or segment is missing is served from its parent (the
//! index without its top bit), so growth is a matter of speed only and may fail,
//! be late or be helped by anybody.
//!
//! A sentinel goes `0 -> key -> key | READY`: the CAS from 0 picks the one writer
//! that links it; nobody waits for that writer.
//!
//! The order of the list is the order of the directory too (both take the hash's
//! low bits first), so what the attic has of one segment stands together.

use super::blocks::{fill, free_block, free_made, make, null};
use super::entry::Entry;
use super::list::{self, ENTRY, Node, Position, READY};
use crate::platform::{AllocFlags, Platform};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// log2 of the sentinels in a segment: 16 KiB. Tiny under the model checkers,
/// so that a handful of entries crosses segments and pages.
const SEGMENT_BITS: u32 = if crate::TINY { 1 } else { 10 };
/// log2 of the segments a page points to: 2 KiB.
const PAGE_BITS: u32 = if crate::TINY { 1 } else { 8 };
/// log2 of the pages: 512 bytes of pointers.
const ROOT_BITS: u32 = if crate::TINY { 1 } else { 6 };
/// No further doubling: 16 million buckets. More entries make longer runs.
pub(super) const MAX_LEVEL: u32 = SEGMENT_BITS + PAGE_BITS + ROOT_BITS;
/// Up to this many entries are searched without any bucket.
const UNBUCKETED: usize = if crate::TINY { 1 } else { 8 };
struct Segment([Node; 1 << SEGMENT_BITS]);
struct Page([AtomicPtr<Segment>; 1 << PAGE_BITS]);

pub(super) struct Attic {
    /// The sentinel of bucket 0: the start of the list.
    head: Node,
    /// log2 of the number of buckets.
    level: AtomicUsize,
    /// Linked entries that are not dead.
    count: AtomicUsize,
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

impl Attic {
    /// An empty attic, written in place.
    ///
    /// # Safety
    /// `this` is valid for writes and nobody else's.
    pub(super) unsafe fn init(this: *mut Self) {
        // SAFETY: the caller's contract; each field is written in place (a
        // kernel stack has no room for the array).
        unsafe {
            (&raw mut (*this).head).write(Node::new(READY));
            (&raw mut (*this).level).write(AtomicUsize::new(0));
            (&raw mut (*this).count).write(AtomicUsize::new(0));
            fill(&raw mut (*this).pages, null);
        }
    }

    /// Linked entries that are not dead, about.
    pub(super) fn count(&self) -> usize {
        // Relaxed: a statistic.
        self.count.load(Ordering::Relaxed)
    }

    /// The live entry of `obj`: loads only.
    ///
    /// # Safety
    /// The caller holds a guard that is older than its pointer to the body.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn get(&self, hash: u64, obj: usize) -> Option<Entry> {
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
                // A dead entry is passed: a newer one of the same object may
                // follow it.
                if entry.obj() == obj && entry.is_live() {
                    return Some(entry);
                }
            }
            // SAFETY: as for the first link, and so is the ordering.
            cur = list::unmarked(unsafe { (*cur).next.load(Ordering::Acquire) });
        }
        None
    }

    /// The deepest bucket of `hash` that is ready, and its level.
    fn bucket(&self, hash: u64) -> (*mut Node, u32) {
        // Relaxed: any level is right; the sentinels say what is there.
        self.bucket_at(hash, self.level.load(Ordering::Relaxed) as u32)
    }

    /// The deepest ready bucket of `hash` at `level` or above it.
    fn bucket_at(&self, hash: u64, mut level: u32) -> (*mut Node, u32) {
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
        // Release: pairs with the acquire in `bucket_at`: who sees READY sees the
        // sentinel's `next`.
        // SAFETY: as above.
        unsafe { (*sentinel).key.store(key | READY, Ordering::Release) };
        true
    }

    /// The order key of an entry.
    pub(super) fn key(hash: u64) -> u64 {
        hash.reverse_bits() & !READY | ENTRY
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
    pub(super) fn grow<P: Platform>(&self, hash: u64, platform: &P, flags: AllocFlags) {
        let count = self.count();
        if count <= UNBUCKETED {
            return;
        }
        // Relaxed: as in `bucket`; the CAS only keeps two from doubling twice.
        let level = self.level.load(Ordering::Relaxed);
        if (level as u32) < MAX_LEVEL && count > 1 << level {
            let next = level + 1;
            // Relaxed, both ways: as said above.
            let _ = self
                .level
                .compare_exchange(level, next, Ordering::Relaxed, Ordering::Relaxed);
        }
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
    }

    /// Calls `f` with each entry whose hash has the low `bits` bits of `prefix`,
    /// dead ones included, in list order. Walks `limit` nodes at most; false if
    /// there were more.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn for_run(
        &self,
        prefix: u64,
        bits: u32,
        limit: usize,
        f: &mut dyn FnMut(Entry),
    ) -> bool {
        // The bucket of the prefix at a level that is not above `bits`: its run
        // holds all of the prefix's entries.
        let (mut node, _) = self.bucket_at(prefix, bits);
        let wanted = prefix.reverse_bits();
        let mask = run_mask(bits);
        for _ in 0..limit {
            // SAFETY: a sentinel at first, then reached under the guard. Acquire:
            // pairs with the release CAS in `list::link`.
            node = list::unmarked(unsafe { (*node).next.load(Ordering::Acquire) });
            if node.is_null() {
                return true;
            }
            // SAFETY: as above. Relaxed: constant order bits.
            let key = unsafe { (*node).key.load(Ordering::Relaxed) };
            if (key ^ wanted) & mask == 0 {
                if key & ENTRY != 0 {
                    // SAFETY: the ENTRY bit, and the guard.
                    f(unsafe { Entry::of_node(node) });
                }
            } else if key & mask > wanted & mask {
                return true;
            }
        }
        false
    }

    /// The most entries that a lookup walks past, from a sentinel to the next.
    ///
    /// # Safety
    /// As [`get`](Self::get). Costs the whole list.
    pub(super) unsafe fn longest_run(&self) -> usize {
        let (mut longest, mut run) = (0, 0);
        // Acquire: as in `Attic::get`, here and below.
        let mut node = list::unmarked(self.head.next.load(Ordering::Acquire));
        while !node.is_null() {
            // SAFETY: reached under the guard. Relaxed: constant order bits.
            let key = unsafe { (*node).key.load(Ordering::Relaxed) };
            run = if key & ENTRY == 0 { 0 } else { run + 1 };
            longest = longest.max(run);
            // SAFETY: as above.
            node = list::unmarked(unsafe { (*node).next.load(Ordering::Acquire) });
        }
        longest
    }

    /// Takes an entry off a list that nobody else uses any more.
    ///
    /// # Safety
    /// The attic is unreachable for others.
    pub(super) unsafe fn pop(&mut self) -> Option<Entry> {
        // SAFETY: the nodes are ours alone. Relaxed throughout: the grace period
        // ordered every store to the list before us.
        unsafe {
            loop {
                let cur = list::unmarked(self.head.next.load(Ordering::Relaxed));
                if cur.is_null() {
                    return None;
                }
                let next = (*cur).next.load(Ordering::Relaxed); // alone
                self.head.next.store(next, Ordering::Relaxed); // alone
                if (*cur).key.load(Ordering::Relaxed) & ENTRY != 0 {
                    // alone
                    return Some(Entry::of_node(cur));
                }
            }
        }
    }

    /// Gives the buckets back.
    ///
    /// # Safety
    /// The attic is unreachable for others and not used afterwards; `platform`
    /// is the one it grew with.
    pub(super) unsafe fn free_buckets<P: Platform>(&self, platform: &P) {
        for page in &self.pages {
            // Relaxed: as in `pop`.
            let page = page.load(Ordering::Relaxed);
            if page.is_null() {
                continue;
            }
            // SAFETY: the caller's contract; every block goes back to the
            // platform that gave it, with its own layout.
            unsafe {
                for segment in &(*page).0 {
                    free_made(segment, platform);
                }
                free_block(page, platform);
            }
        }
    }
}
