//! The contents of one type: a directory of segments, and the attic.
//!
//! # The directory
//! The low bits of the hash, as many as `mask` has, are the index of a slot; a slot has a segment and,
//! in the pointer's low bits, the segment's own depth. A null slot stands for its
//! parent (the index without its top bit); slot 0 is null until the few lines of
//! the root are outgrown. A split of the segment at `index` publishes
//!
//! ```text
//!  slot(index + 2^d) = second heir, if null   then   mask for d + 1 bits, if for d
//!  then   slot(index) = first heir, if it is the old segment: the winner retires it
//! ```
//! Between the first of these steps and the last, the old segment is still found
//! from its slot while writers already use the second heir. Whoever takes an entry
//! (or a segment) out from under a second heir therefore finishes that split before
//! retiring it, or a younger reader of the old segment would meet it.
//!
//! A lookup that saw the old mask, or the second slot still null, and then the
//! first heir, notices (the mask has changed; the heir's depth is above the level
//! that it looked at) and looks again.
//!

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::attic::Attic;
use super::blocks::{fill, free_block, null};
use super::entry::{DEAD, Dtor, Entry, LIVE, OwnedEntry, Spare};
use super::line::{FREE, Head, Line, fingerprint, is_entry};
use super::list;
use super::segment::{COUNT_ZERO, Control, Lines, ROOT_LINES, Segment, init_line};
use super::type_core::Core;
use crate::platform::{AllocFlags, Link, Platform};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// log2 of the slots of a page: 2 KiB.
pub(super) const PAGE_BITS: u32 = if crate::TINY { 1 } else { 8 };
/// log2 of the pages of a body: 4 KiB.
const ROOT_BITS: u32 = if crate::TINY { 2 } else { 9 };
pub(super) const MAX_DEPTH: u32 = PAGE_BITS + ROOT_BITS;
/// In a slot's pointer: the segment's depth.
pub(super) const DEPTH: usize = 63;

pub(super) struct Page<P: Platform>(pub(super) [AtomicPtr<Segment<P>>; 1 << PAGE_BITS]);

#[repr(C, align(64))]
pub(super) struct Body<P: Platform> {
    pub(super) link: Link,
    pub(super) core: NonNull<Core<P>>,
    /// Set by whoever detached the body, read when it is walked.
    pub(super) dtor: Cell<Option<Dtor>>,
    /// The next slot to walk.
    pub(super) cursor: Cell<usize>,
    /// Entries reserved and neither published nor cancelled.
    pub(super) busy: AtomicUsize,
    /// The slots in use, a power of two, minus 1.
    pub(super) mask: AtomicUsize,
    /// How many there are.
    pub(super) segments: AtomicUsize,
    pub(super) control: Control<P>,
    pub(super) root: [Line; ROOT_LINES],
    pub(super) pages: [AtomicPtr<Page<P>>; 1 << ROOT_BITS],
    pub(super) attic: Attic,
}

/// Where an entry was found, or put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Lane,
    Attic,
}

/// What an attempt to insert came to.
pub(super) enum Step<P: Platform> {
    /// The object has a variable.
    Exists(NonNull<u8>),
    /// The object's variable is being constructed.
    Wait,
    /// An entry is needed to go on.
    NeedEntry,
    /// The line needs a renewal to go on.
    Worn,
    /// The entry is in, reserved.
    Done(OwnedEntry<P>, Place),
    /// The entry was in the list for a moment and cannot be used again: retire it.
    Spent(OwnedEntry<P>),
}

fn parent(index: usize) -> (usize, u32) {
    let level = index.ilog2();
    (index & !(1 << level), level)
}

pub(super) fn low_bits(hash: u64, bits: u32) -> usize {
    hash as usize & ((1 << bits) - 1)
}

impl<P: Platform> Body<P> {
    /// An empty body, holding its core.
    ///
    /// # Safety
    /// The core is alive.
    pub(super) unsafe fn new(core: NonNull<Core<P>>, flags: AllocFlags) -> Option<NonNull<Self>> {
        const { assert!(size_of::<Self>() <= 16 << 10) };
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
            (&raw mut (*body).cursor).write(Cell::new(0));
            (&raw mut (*body).busy).write(AtomicUsize::new(0));
            (&raw mut (*body).mask).write(AtomicUsize::new(0));
            (&raw mut (*body).segments).write(AtomicUsize::new(0));
            Control::init(&raw mut (*body).control, core, COUNT_ZERO);
            for i in 0..ROOT_LINES {
                init_line(&raw mut (*body).root[i], Head::EMPTY.0, FREE);
            }
            fill(&raw mut (*body).pages, null);
            Attic::init(&raw mut (*body).attic);
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
            free_block(this.as_ptr(), core.as_ref().platform());
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

    /// The slot of `index`, if its page exists.
    #[inline]
    pub(super) fn slot(&self, index: usize) -> Option<&AtomicPtr<Segment<P>>> {
        debug_assert!(index >> MAX_DEPTH == 0);
        // SAFETY: an index is masked by `mask`, which is below 2^MAX_DEPTH, or a
        // split's second, which is too. Acquire: pairs with the release in
        // `blocks::make`.
        let page = unsafe { self.pages.get_unchecked(index >> PAGE_BITS) }.load(Ordering::Acquire);
        // SAFETY: pages live as long as the body.
        let page = unsafe { page.as_ref() }?;
        Some(&page.0[index & ((1 << PAGE_BITS) - 1)])
    }

    /// The segment and its depth that a slot's pointer has.
    #[inline]
    pub(super) fn untagged(tagged: *mut Segment<P>) -> (*mut Segment<P>, u32) {
        (
            tagged.map_addr(|a| a & !DEPTH),
            (tagged.addr() & DEPTH) as u32,
        )
    }

    /// The line of a hash, as it is now, if its own slot has it.
    #[inline]
    fn line(&self, hash: u64) -> Option<&Line> {
        // Acquire: as in `lines`.
        let mask = self.mask.load(Ordering::Acquire);
        // Acquire: as in `lines`.
        let tagged = self.slot(hash as usize & mask)?.load(Ordering::Acquire);
        // An heir is published after the mask that it needs, so with this mask
        // still in force the segment's depth is not above it. Relaxed: the load
        // before it acquired the newer mask with the heir.
        if tagged.is_null() || self.mask.load(Ordering::Relaxed) != mask {
            return None;
        }
        // SAFETY: found in the directory under the caller's guard, which outlives
        // the borrow of the body.
        Some(unsafe { (*Self::untagged(tagged).0).line(hash) })
    }

    /// The lines of a hash, as they are now.
    pub(super) fn lines(&self, hash: u64) -> Lines<P> {
        loop {
            // Acquire: pairs with the release in `publish`, so that a retry sees
            // at least the mask that asked for it.
            let mask = self.mask.load(Ordering::Acquire);
            let mut level = mask.count_ones();
            let mut index = hash as usize & mask;
            loop {
                if let Some(slot) = self.slot(index) {
                    // Acquire: pairs with the release in `publish`: the heir's
                    // lines are filled.
                    let tagged = slot.load(Ordering::Acquire);
                    if !tagged.is_null() {
                        let (segment, depth) = Self::untagged(tagged);
                        if depth > level {
                            break;
                        }
                        // SAFETY: found in the directory under the caller's guard.
                        return unsafe { Lines::of_segment(segment, depth) };
                    }
                }
                if index == 0 {
                    return Lines::of_root(&raw const self.control, &self.root);
                }
                (index, level) = parent(index);
            }
        }
    }

    /// The data of the live variable of `obj`: loads only.
    ///
    /// # Safety
    /// The caller holds a guard that is older than its pointer to this body.
    #[inline]
    pub(super) unsafe fn get(&self, hash: u64, obj: usize) -> Option<NonNull<u8>> {
        match self.line(hash) {
            // SAFETY: the caller's contract.
            Some(line) => unsafe { self.get_in(line, hash, obj) },
            // SAFETY: the caller's contract.
            None => unsafe { self.get_by_parent(hash, obj) },
        }
    }

    /// [`get`](Self::get), out of line: few variables, or a split under way.
    #[cold]
    #[inline(never)]
    unsafe fn get_by_parent(&self, hash: u64, obj: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller's contract.
        unsafe { self.get_in(self.lines(hash).line(hash), hash, obj) }
    }

    /// # Safety
    /// As [`get`](Self::get); the line was found under the guard.
    #[inline]
    unsafe fn get_in(&self, line: &Line, hash: u64, obj: usize) -> Option<NonNull<u8>> {
        // Acquire: pairs with the commits: the slots of the taken lanes, and what
        // an extended line has in the attic, are visible.
        let head = Head(line.head.load(Ordering::Acquire));
        for lane in head.matches(fingerprint(hash)) {
            // Acquire: pairs with the claim of the slot, which may be younger than
            // the head: the entry's address and state are visible.
            let node = line.slots[lane].load(Ordering::Acquire);
            if is_entry(node) {
                // SAFETY: reached from the body under the guard.
                let entry = unsafe { Entry::of_node(node) };
                // Acquire: pairs with the release in `Reservation::publish`, so
                // that the constructed data is visible. A dead entry is passed: a
                // newer one of the same object may stand behind it.
                if entry.obj() == obj && entry.state().load(Ordering::Acquire) == LIVE {
                    return Some(entry.data());
                }
            }
        }
        if head.is_extended() {
            // SAFETY: the caller's contract.
            return unsafe { self.attic.get(hash, obj) };
        }
        None
    }

    /// The live or reserved entry of `obj`, for a writer.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn find(&self, hash: u64, obj: usize) -> Option<(OwnedEntry<P>, Place)> {
        let lines = self.lines(hash);
        let line = lines.line(hash);
        // Acquire: as in `get`.
        let head = Head(line.head.load(Ordering::Acquire));
        if let Some(node) = Self::look(line, head, hash, obj) {
            // SAFETY: found under the guard.
            return Some((unsafe { OwnedEntry::of_node(node) }, Place::Lane));
        }
        if !head.is_extended() {
            return None;
        }
        // SAFETY: the caller's contract.
        let at = unsafe { self.attic.search(hash, obj) };
        // SAFETY: found under the guard, with the key of an entry.
        at.found
            .then(|| (unsafe { OwnedEntry::of_node(at.cur) }, Place::Attic))
    }

    /// The entry of `obj` in a line that is not dead.
    fn look(line: &Line, head: Head, hash: u64, obj: usize) -> Option<*mut list::Node> {
        for lane in head.matches(fingerprint(hash)) {
            // Acquire: as in `get`.
            let node = line.slots[lane].load(Ordering::Acquire);
            if is_entry(node) {
                // SAFETY: reached from the body under the caller's guard.
                let entry = unsafe { Entry::of_node(node) };
                // Acquire: as in `get`, for whoever uses the data.
                if entry.obj() == obj && entry.state().load(Ordering::Acquire) != DEAD {
                    return Some(node);
                }
            }
        }
        None
    }

    /// What an entry that is there means for an insertion of its object.
    fn meet(node: *mut list::Node) -> Step<P> {
        // SAFETY: found under the caller's guard.
        let entry = unsafe { Entry::of_node(node) };
        // Acquire: pairs with the publication, for whoever reads the data.
        match entry.state().load(Ordering::Acquire) {
            LIVE => Step::Exists(entry.data()),
            _ => Step::Wait,
        }
    }

    /// Tries to put `spare` in for `obj`; takes the entry out of it if it does.
    /// Counts it in `busy` then.
    ///
    /// # Safety
    /// As [`get`](Self::get); `spare` is unlinked, the caller's own, and of this
    /// hash and object.
    pub(super) unsafe fn insert(
        &self,
        core: &Core<P>,
        hash: u64,
        obj: usize,
        spare: &mut Spare<P>,
    ) -> Step<P> {
        // No lane could be claimed, though some are free in the head: their last
        // users are not quite done.
        let mut crowded = false;
        'again: loop {
            let lines = self.lines(hash);
            let line = lines.line(hash);
            // Acquire: as in `get`.
            let head = Head(line.head.load(Ordering::Acquire));
            if head.is_frozen() {
                // SAFETY: the caller's contract.
                unsafe { self.help(&lines, hash, core) };
                continue;
            }
            if let Some(node) = Self::look(line, head, hash, obj) {
                return Self::meet(node);
            }
            let full = head.free().next().is_none();
            let mut at = None;
            if head.is_extended() || full || crowded {
                // SAFETY: the caller's contract.
                let position = unsafe { self.attic.search(hash, obj) };
                if position.found {
                    // SAFETY: found under the guard, with the key of an entry.
                    let entry = unsafe { Entry::of_node(position.cur) };
                    // Relaxed: a dead entry's data is nobody's.
                    if entry.state().load(Ordering::Relaxed) == DEAD {
                        // SAFETY: protected by the guard. The next search
                        // unlinks it.
                        unsafe { list::mark(position.cur) };
                        continue;
                    }
                    // Perhaps not committed, and so perhaps taken out again; it is
                    // the same object's, so waiting is in order.
                    return Self::meet(position.cur);
                }
                at = Some(position);
            }
            if head.is_worn() {
                return Step::Worn;
            }
            let Some(entry) = spare.entry else {
                return Step::NeedEntry;
            };
            let node = entry.entry().node();
            self.reserve();
            for lane in head.free() {
                // Release: pairs with the acquire loads of the slot: the entry's
                // contents are visible. Relaxed on failure: another lane is tried.
                let claimed = line.slots[lane].compare_exchange(
                    FREE,
                    node,
                    Ordering::Release,
                    Ordering::Relaxed,
                );
                if claimed.is_err() {
                    continue;
                }
                let next = head.place(lane, fingerprint(hash)).counted();
                if Self::commit(line, head, next) {
                    lines.count_up();
                    spare.entry = None;
                    return Step::Done(entry, Place::Lane);
                }
                // A lookup that remembers an older head may have met it there.
                spare.seen = true;
                // Release: whoever claims the slot next does so after us. (In a
                // frozen line nobody does.)
                line.slots[lane].store(FREE, Ordering::Release);
                self.settle();
                continue 'again;
            }
            let Some(at) = at else {
                self.settle();
                crowded = true;
                continue;
            };
            // SAFETY: found under this guard; the entry is ours, unlinked.
            if !unsafe { list::link(&at, node) } {
                self.settle();
                continue;
            }
            spare.entry = None;
            if Self::commit(line, head, head.extended().counted()) {
                self.attic.count_up();
                return Step::Done(entry, Place::Attic);
            }
            // Relaxed: nobody reads the data of a dead entry.
            entry.entry().state().store(DEAD, Ordering::Relaxed);
            // SAFETY: the guard protects the list; the search unlinks the node.
            unsafe {
                list::mark(node);
                self.attic.search(hash, obj);
            }
            self.settle();
            return Step::Spent(entry);
        }
    }

    /// Changes a head that is still what the caller looked at.
    fn commit(line: &Line, head: Head, next: Head) -> bool {
        // Release: publishes the slot, or the entry in the attic. Acquire: keeps
        // the release sequences of earlier commits in the chain that `freeze`
        // reads from. Relaxed on failure: the line is looked at anew.
        line.head
            .compare_exchange(head.0, next.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes a dead entry out of where it stands.
    ///
    /// # Safety
    /// As [`get`](Self::get), or the caller's reservation keeps the body and it
    /// holds any guard; the caller took the entry to `DEAD`.
    pub(super) unsafe fn unlink(
        &self,
        core: &Core<P>,
        hash: u64,
        entry: OwnedEntry<P>,
        place: Place,
    ) {
        let node = entry.entry().node();
        if place == Place::Attic {
            self.attic.count_down();
            // SAFETY: the guard protects the list. The search does not return
            // before the node is unlinked.
            unsafe {
                list::mark(node);
                self.attic.search(hash, entry.entry().obj());
            }
            return;
        }
        loop {
            let lines = self.lines(hash);
            let line = lines.line(hash);
            // Acquire: as in `get`.
            let head = Head(line.head.load(Ordering::Acquire));
            if head.is_frozen() {
                // SAFETY: the caller's contract.
                unsafe { self.help(&lines, hash, core) };
                continue;
            }
            // Relaxed: only compared with our own node, which nobody else puts in.
            let lane = head
                .matches(fingerprint(hash))
                .find(|&lane| line.slots[lane].load(Ordering::Relaxed) == node);
            let Some(lane) = lane else {
                debug_assert!(false, "a committed entry stands in its line");
                return;
            };
            if Self::commit(line, head, head.without(lane)) {
                // Release: whoever claims the slot does so after the lane was
                // cleared.
                line.slots[lane].store(FREE, Ordering::Release);
                lines.count_down();
                // SAFETY: the caller's contract.
                unsafe { self.finish_ancestors(core, hash, lines.depth) };
                return;
            }
        }
    }

    /// One more user of the body outside of its guard.
    pub(super) fn reserve(&self) {
        // Relaxed: the caller's guard is part of the grace period after which the
        // count is looked at.
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// One reservation less; the body may be gone afterwards, unless the caller
    /// holds a guard.
    pub(super) fn settle(&self) {
        // Release: pairs with the acquire in `reclaim`: what the constructor's
        // caller did to the body happens before the walk.
        self.busy.fetch_sub(1, Ordering::Release);
    }
}
