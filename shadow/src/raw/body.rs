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
//! A lookup that saw the old mask, or the second slot still null, and then the
//! first heir, notices (the mask has changed; the heir's depth is above the level
//! that it looked at) and looks again.
//!
//! # The end of a body
//! ```text
//!  swapped out by free_all, or by the last handle's drop
//!    -> grace period: nobody who loaded it before is inside a guard
//!    -> `busy` reads 0 (else another one): no constructor of it is left
//!    -> walked in slices, alone: every entry destroyed, then the lines
//! ```
//! A variable that is published into a detached body counts as freed at once. Its
//! caller may use it under a guard taken before the call: that guard is older
//! than the swap, and the first grace period waits for it.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::attic::Attic;
use super::blocks::{fill, free_block, make, null};
use super::entry::{DEAD, Dtor, Entry, LIVE, OwnedEntry};
use super::line::{FREE, Head, Line, fingerprint, is_entry};
use super::list;
use super::segment::{Control, Heirs, LINES, Lines, Present, ROOT_LINES, Segment, init_line};
use super::type_core::Core;
use crate::platform::{AllocFlags, Link, Platform, Progress};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// log2 of the slots of a page: 2 KiB.
const PAGE_BITS: u32 = if crate::TINY { 1 } else { 8 };
/// log2 of the pages of a body: 4 KiB.
const ROOT_BITS: u32 = if crate::TINY { 2 } else { 9 };
const MAX_DEPTH: u32 = PAGE_BITS + ROOT_BITS;
/// Taken lanes at which a segment is split: 3.7 of 7 in the mean, where one line
/// in twenty is full.
const SPLIT_AT: usize = if crate::TINY { 2 } else { LINES * 37 / 10 };
/// Taken lanes at which the root becomes a segment.
const ROOT_FULL: usize = if crate::TINY { 1 } else { ROOT_LINES * 5 };
/// In a slot's pointer: the segment's depth.
const DEPTH: usize = 63;
/// Entries of the attic destroyed by one call of `reclaim`.
const SLICE: usize = if crate::TINY { 2 } else { 64 };

struct Page<P: Platform>([AtomicPtr<Segment<P>>; 1 << PAGE_BITS]);

#[repr(C, align(64))]
pub(super) struct Body<P: Platform> {
    link: Link,
    core: NonNull<Core<P>>,
    /// Set by whoever detached the body, read when it is walked.
    dtor: Cell<Option<Dtor>>,
    /// The next slot to walk.
    cursor: Cell<usize>,
    /// Entries reserved and neither published nor cancelled.
    busy: AtomicUsize,
    /// The slots in use, a power of two, minus 1.
    mask: AtomicUsize,
    /// How many there are.
    segments: AtomicUsize,
    control: Control<P>,
    root: [Line; ROOT_LINES],
    pages: [AtomicPtr<Page<P>>; 1 << ROOT_BITS],
    attic: Attic,
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

fn low_bits(hash: u64, bits: u32) -> usize {
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
            Control::init(&raw mut (*body).control, core, 1);
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
    fn slot(&self, index: usize) -> Option<&AtomicPtr<Segment<P>>> {
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
    fn untagged(tagged: *mut Segment<P>) -> (*mut Segment<P>, u32) {
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
    fn lines(&self, hash: u64) -> Lines<P> {
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

    /// Tries to put `spare` in for `obj`; takes it out of the option if it does.
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
        spare: &mut Option<OwnedEntry<P>>,
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
            let Some(entry) = *spare else {
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
                    *spare = None;
                    return Step::Done(entry, Place::Lane);
                }
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
            *spare = None;
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
                return;
            }
        }
    }

    /// Replaces frozen (or about to be frozen) lines by their heirs.
    ///
    /// # Safety
    /// As [`get`](Self::get); the lines were found under the guard.
    unsafe fn help(&self, lines: &Lines<P>, hash: u64, core: &Core<P>) {
        let Some(heirs) = lines.heirs() else { return };
        let split = !heirs.second.is_null();
        let mut present = Present::none();
        if lines.freeze() {
            let mut note = |obj| present.note(core.hash(obj), lines.depth, split);
            // SAFETY: the caller's contract.
            unsafe { self.attic.for_run(hash, lines.depth, &mut note) };
        }
        // SAFETY: frozen, and the heirs are theirs.
        unsafe { lines.bequeath(&heirs, core, &present) };
        self.publish(lines, &heirs, hash, core);
    }

    fn publish(&self, lines: &Lines<P>, heirs: &Heirs<P>, hash: u64, core: &Core<P>) {
        let depth = lines.depth;
        let index = low_bits(hash, depth);
        let mut heir_depth = depth;
        if !heirs.second.is_null() {
            heir_depth += 1;
            let second = heirs.second.map_addr(|a| a | heir_depth as usize);
            if let Some(slot) = self.slot(index | 1 << depth) {
                // Release: publishes the heir's lines. Relaxed on failure: it was
                // published already.
                let _ = slot.compare_exchange(
                    core::ptr::null_mut(),
                    second,
                    Ordering::Release,
                    Ordering::Relaxed,
                );
            }
            // AcqRel and Acquire: whichever helper raised it, the store of the
            // first heir below comes after it.
            let _ = self.mask.compare_exchange(
                (1 << depth) - 1,
                (1 << heir_depth) - 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
        let old = lines.segment();
        let expected = if old.is_null() {
            old
        } else {
            old.map_addr(|a| a | depth as usize)
        };
        let first = heirs.first.map_addr(|a| a | heir_depth as usize);
        let Some(slot) = self.slot(index) else { return };
        // Release: as above, and after the two steps above.
        if slot
            .compare_exchange(expected, first, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            // Relaxed: a statistic and a hint.
            self.segments.fetch_add(
                usize::from(heir_depth != depth || old.is_null()),
                Ordering::Relaxed,
            );
            core.count_split();
            if !old.is_null() {
                // SAFETY: we took it out of the directory.
                unsafe { Segment::retire(old, core.platform()) };
            }
        }
    }

    /// After an insertion: replaces the lines of `hash` if they are full enough.
    /// May fail, for lack of memory; a later insertion tries again. Costs at most
    /// two segments and a page; may allocate as `flags` say.
    ///
    /// Called outside of any guard, while `busy` keeps the body.
    pub(super) fn grow(&self, hash: u64, core: &Core<P>, flags: AllocFlags) {
        self.attic.grow(hash, core.platform(), flags);
        let guard = core.platform().pin();
        let lines = self.lines(hash);
        let count = lines.count();
        // Relaxed: a hint.
        let sparse = 1usize << lines.depth > 16 * self.segments.load(Ordering::Relaxed);
        let full = if lines.is_root() {
            count > ROOT_FULL
        } else {
            // Objects whose hashes agree gain nothing from a split.
            count > SPLIT_AT && lines.depth < MAX_DEPTH && !sparse
        };
        drop(guard);
        if full {
            self.renew(hash, core, flags);
        }
    }

    /// Replaces the lines of `hash`, by a split if they are full. False when there
    /// was no memory for it.
    ///
    /// As [`grow`](Self::grow), or the caller knows otherwise that the body stays.
    pub(super) fn renew(&self, hash: u64, core: &Core<P>, flags: AllocFlags) -> bool {
        let platform = core.platform();
        // Relaxed: read again below, under the guard.
        let deepest = self.mask.load(Ordering::Relaxed).count_ones();
        let last = low_bits(hash, deepest) | 1 << deepest.min(MAX_DEPTH - 1);
        for index in [low_bits(hash, deepest), last] {
            // SAFETY: `make` hands fresh memory to be filled.
            let init = |page: *mut Page<P>| unsafe { fill(&raw mut (*page).0, null) };
            if make(&self.pages[index >> PAGE_BITS], platform, flags, init).is_none() {
                return false;
            }
        }
        let segment = || {
            // SAFETY: the core outlives its body.
            unsafe { Segment::new(self.core, flags) }
        };
        let Some(first) = segment() else { return false };
        let Some(second) = segment() else {
            // SAFETY: nobody has seen it.
            unsafe { Segment::free(first, platform) };
            return false;
        };
        let mut heirs = Heirs { first, second };
        let guard = platform.pin();
        let lines = self.lines(hash);
        // The pages that the heirs' slots need are there only up to the depth of
        // before.
        if lines.depth <= deepest {
            let split = !lines.is_root() && lines.count() > SPLIT_AT && lines.depth < MAX_DEPTH;
            lines.propose(&mut heirs, split);
            // SAFETY: the reservation keeps the body; the guard, what is in it.
            unsafe { self.help(&lines, hash, core) };
        }
        drop(guard);
        for heir in [heirs.first, heirs.second] {
            if !heir.is_null() {
                // SAFETY: not agreed on, so nobody has seen it.
                unsafe { Segment::free(heir, platform) };
            }
        }
        true
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

    /// Calls `f` for each segment's lines, in the order of the reversed hash; one
    /// that is split meanwhile is seen whole, before or after.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    unsafe fn for_lines(&self, f: &mut dyn FnMut(Lines<P>)) {
        let mut at = 0u64;
        loop {
            let lines = self.lines(at.reverse_bits());
            f(lines);
            // The next prefix of this depth, as the reversed order has it.
            let step = 1u64.checked_shl(64 - lines.depth);
            match step.and_then(|step| (at & !(step - 1)).checked_add(step)) {
                Some(next) => at = next,
                None => return,
            }
        }
    }

    /// Variables that are found, those of the attic, and the lines there are.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn counts(&self) -> (usize, usize, usize) {
        let attic = self.attic.count();
        let (mut entries, mut total) = (attic, 0);
        // SAFETY: the caller's contract.
        unsafe {
            self.for_lines(&mut |lines| {
                entries += lines.count();
                total += lines.lines().len();
            });
        }
        // Relaxed: a statistic.
        let busy = self.busy.load(Ordering::Relaxed);
        (entries.saturating_sub(busy), attic, total)
    }

    /// Calls `f` for every live entry.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn for_each(&self, f: &mut dyn FnMut(usize, NonNull<u8>)) {
        // SAFETY: the caller's contract.
        unsafe {
            self.for_lines(&mut |lines| {
                for line in lines.lines() {
                    Self::for_taken(line, &mut |node| {
                        let entry = Entry::of_node(node);
                        // Acquire: pairs with the publication, as in `get`.
                        if entry.state().load(Ordering::Acquire) == LIVE {
                            f(entry.obj(), entry.data());
                        }
                    });
                }
            });
            self.attic.for_each(f);
        }
    }

    /// Calls `f` for the entries in the lanes of a line.
    fn for_taken(line: &Line, f: &mut dyn FnMut(*mut list::Node)) {
        // Acquire: as in `get`.
        for lane in Head(line.head.load(Ordering::Acquire)).taken() {
            // Acquire: as in `get`.
            let node = line.slots[lane].load(Ordering::Acquire);
            if is_entry(node) {
                f(node);
            }
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
        // SAFETY: all of the body is ours. Relaxed throughout: the grace period
        // ordered every store before us.
        unsafe {
            let dtor = (*this).dtor.get();
            let platform = (*this).core.as_ref().platform().clone();
            let mut destroy = |node| OwnedEntry::<P>::of_node(node).destroy(dtor);
            let cursor = (*this).cursor.get();
            if cursor <= (*this).mask.load(Ordering::Relaxed) {
                (*this).cursor.set(cursor + 1);
                let slot = (*this)
                    .slot(cursor)
                    .map(|slot| slot.load(Ordering::Relaxed));
                match slot {
                    Some(tagged) if !tagged.is_null() => {
                        let (segment, _) = Self::untagged(tagged);
                        for line in &(*segment).lines {
                            Self::for_taken(line, &mut destroy);
                        }
                        Segment::free(segment, &platform);
                    }
                    // The root, unless its entries were inherited.
                    _ if cursor == 0 => {
                        for line in &(*this).root {
                            Self::for_taken(line, &mut destroy);
                        }
                    }
                    _ => {}
                }
                return Progress::More;
            }
            for _ in 0..SLICE {
                let Some(node) = (*this).attic.pop() else {
                    (*this).attic.free_buckets(&platform);
                    for page in &(*this).pages {
                        let page = page.load(Ordering::Relaxed);
                        if !page.is_null() {
                            free_block(page, &platform);
                        }
                    }
                    let core = (*this).core;
                    free_block(this, &platform);
                    Core::release(core);
                    return Progress::Done;
                };
                destroy(node);
            }
        }
        Progress::More
    }
}
