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
use super::entry::{Dtor, Entry, Header, Spare, State};
use super::line::{ATTIC, FREE, Head, Line, fingerprint, guest, is_entry};
use super::list;
use super::segment::{COUNT_ZERO, Control, Lines, ROOT_LINES, Segment, init_line};
use super::stripes::Stripes;
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
    /// The next slot to walk, and the next line of its segment.
    pub(super) cursor: Cell<(usize, usize)>,
    /// The one object that is not hashed: the address 0 (G11).
    pub(super) null: AtomicPtr<Header>,
    /// The slots in use, a power of two, minus 1.
    pub(super) mask: AtomicUsize,
    /// How many there are.
    pub(super) segments: AtomicUsize,
    pub(super) control: Control<P>,
    pub(super) root: [Line; ROOT_LINES],
    pub(super) pages: [AtomicPtr<Page<P>>; 1 << ROOT_BITS],
    pub(super) attic: Attic,
    /// Entries reserved and neither published nor cancelled.
    pub(super) busy: Stripes,
}

/// Where an entry was found, or put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Lane,
    Attic,
    Null,
}

/// What an attempt to take a lane came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    Taken,
    /// The head had changed.
    Lost,
    /// No lane.
    None,
}

/// What an attempt to leave a lane came to.
enum Leave {
    Left,
    /// The lines are being replaced.
    Frozen,
    /// The head had changed.
    Again,
}

/// What an attempt to insert came to.
pub(super) enum Step {
    /// The object has a variable.
    Exists(Entry),
    /// The object's variable is being constructed.
    Wait,
    /// An entry is needed to go on; a prefixed one if so.
    NeedEntry(bool),
    /// The line needs a renewal to go on.
    Worn,
    /// The entry is in, reserved.
    Done(Entry, Place),
    /// The entry was in the list for a moment and cannot be used again: retire it.
    Spent(Entry),
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
            (&raw mut (*body).cursor).write(Cell::new((0, 0)));
            (&raw mut (*body).null).write(null());
            Stripes::init(&raw mut (*body).busy);
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

    /// The line of a hash by the mask in force, if its slot has a segment; it may
    /// be one heir too far to the left, unless the mask is still the same after.
    #[inline(always)]
    pub(super) fn glance(&self, hash: u64) -> Option<(&Line, usize)> {
        // Acquire: as in `lines`.
        let mask = self.mask.load(Ordering::Acquire);
        // Acquire: as in `lines`.
        let tagged = self.slot(hash as usize & mask)?.load(Ordering::Acquire);
        // SAFETY: found in the directory under the caller's guard, which outlives
        // the borrow of the body.
        let segment = unsafe { Self::untagged(tagged).0.as_ref() }?;
        Some((segment.line(hash), mask))
    }

    /// Whether a glance with this mask was at the right line.
    #[inline]
    pub(super) fn still(&self, mask: usize) -> bool {
        // An heir is published after the mask that it needs, so with this mask
        // still in force the segment's depth was not above it. Relaxed: the load
        // of the slot acquired the newer mask with the heir.
        self.mask.load(Ordering::Relaxed) == mask
    }

    /// The live entry of `obj`: loads only.
    ///
    /// # Safety
    /// The caller holds a guard that is older than its pointer to this body.
    #[inline(always)]
    pub(super) unsafe fn get(&self, hash: u64, obj: usize) -> Option<Entry> {
        match self.glance(hash) {
            // SAFETY: the caller's contract.
            Some((line, mask)) => unsafe { self.get_at(line, mask, hash, obj) },
            // SAFETY: as above.
            None => unsafe { self.get_slowly(hash, obj) },
        }
    }

    /// [`get`](Self::get) after a [`glance`](Self::glance).
    ///
    /// # Safety
    /// As [`get`](Self::get); the glance was under the same guard.
    #[inline(always)]
    pub(super) unsafe fn get_at(
        &self,
        line: &Line,
        mask: usize,
        hash: u64,
        obj: usize,
    ) -> Option<Entry> {
        // Acquire: pairs with the commits: the slots of the taken lanes, and
        // what an extended line has in the attic, are visible.
        let head = Head(line.head.load(Ordering::Acquire));
        // SAFETY: the caller's contract.
        if let Some(entry) = unsafe { Self::look(line, head, hash, obj, Entry::is_live) } {
            return Some(entry);
        }
        if self.still(mask) && !head.is_extended() {
            return None;
        }
        // SAFETY: the caller's contract.
        unsafe { self.get_slowly(hash, obj) }
    }

    /// [`get`](Self::get), out of line: few variables, a split under way, or an
    /// extended line.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn get_slowly(&self, hash: u64, obj: usize) -> Option<Entry> {
        let lines = self.lines(hash);
        let line = lines.line(hash);
        // Acquire: as in `get`.
        let head = Head(line.head.load(Ordering::Acquire));
        // SAFETY: the caller's contract, here and below.
        unsafe {
            Self::look(line, head, hash, obj, Entry::is_live)
                .or_else(|| Self::look_around(&lines, head, hash, obj, Entry::is_live))
                .or_else(|| head.has_attic().then(|| self.attic.get(hash, obj))?)
        }
    }

    /// [`look`](Self::look) in the other lines of the group, if the head of the
    /// object's own says that it may be there.
    ///
    /// # Safety
    /// As [`look`](Self::look).
    unsafe fn look_around(
        lines: &Lines<P>,
        head: Head,
        hash: u64,
        obj: usize,
        wanted: impl Fn(Entry) -> bool,
    ) -> Option<Entry> {
        if !head.may_have_guest(hash) {
            return None;
        }
        lines.others(hash).find_map(|line| {
            // Acquire: as in `get`.
            let head = Head(line.head.load(Ordering::Acquire));
            // SAFETY: the caller's contract.
            unsafe { Self::look(line, head, hash, obj, &wanted) }
        })
    }

    /// The entry of the address 0, whatever its state.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn null_entry(&self) -> Option<Entry> {
        // Acquire: pairs with the CAS in `insert_null`: the entry's contents are
        // visible.
        let entry = self.null.load(Ordering::Acquire);
        // SAFETY: found under the caller's guard.
        (!entry.is_null()).then(|| unsafe { Entry::of(entry) })
    }

    /// The live entry of the address 0.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    #[cold]
    pub(super) unsafe fn get_null(&self) -> Option<Entry> {
        // SAFETY: the caller's contract.
        unsafe { self.null_entry() }.filter(|&entry| entry.is_live())
    }

    /// The live or reserved entry of `obj`, for a writer.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn find(&self, hash: u64, obj: usize) -> Option<(Entry, Place)> {
        if obj == 0 {
            // SAFETY: the caller's contract.
            return unsafe { self.null_entry() }.map(|entry| (entry, Place::Null));
        }
        let lines = self.lines(hash);
        let line = lines.line(hash);
        // Acquire: as in `get`.
        let head = Head(line.head.load(Ordering::Acquire));
        // SAFETY: the caller's contract.
        let found = unsafe {
            Self::look(line, head, hash, obj, Self::stands)
                .or_else(|| Self::look_around(&lines, head, hash, obj, Self::stands))
        };
        if let Some(entry) = found {
            return Some((entry, Place::Lane));
        }
        if !head.has_attic() {
            return None;
        }
        // SAFETY: the caller's contract.
        let at = unsafe { self.attic.search(hash, obj) };
        // SAFETY: found under the guard, with the key of an entry.
        at.found
            .then(|| (unsafe { Entry::of_node(at.cur) }, Place::Attic))
    }

    fn stands(entry: Entry) -> bool {
        entry.state() != State::Dead
    }

    /// The entry of `obj` in a line that is as wanted. (A dead one is passed: a
    /// newer one of the same object may stand behind it.)
    ///
    /// # Safety
    /// As [`get`](Self::get); the line was found under the guard.
    #[inline(always)]
    pub(super) unsafe fn look(
        line: &Line,
        head: Head,
        hash: u64,
        obj: usize,
        wanted: impl Fn(Entry) -> bool,
    ) -> Option<Entry> {
        for lane in head.matches(fingerprint(hash)) {
            // SAFETY: a lane of a head is below LANES. Acquire: pairs with the
            // claim of the slot, which may be younger than the head: the entry's
            // contents are visible.
            let slot = unsafe { line.slots.get_unchecked(lane) }.load(Ordering::Acquire);
            if is_entry(slot) {
                // SAFETY: reached from the body under the guard.
                let entry = unsafe { Entry::of(slot) };
                if entry.obj() == obj && wanted(entry) {
                    return Some(entry);
                }
            }
        }
        None
    }

    /// What an entry that is there means for an insertion of its object.
    fn meet(entry: Entry) -> Step {
        match entry.state() {
            State::Live => Step::Exists(entry),
            _ => Step::Wait,
        }
    }

    /// [`insert`](Self::insert) of the address 0.
    ///
    /// # Safety
    /// As `insert`.
    unsafe fn insert_null(&self, hash: u64, spare: &mut Spare<'_, P>) -> Step {
        loop {
            // SAFETY: the caller's contract.
            let there = unsafe { self.null_entry() };
            if let Some(there) = there.filter(|&there| Self::stands(there)) {
                return Self::meet(there);
            }
            let Some(entry) = spare.entry else {
                return Step::NeedEntry(false);
            };
            self.reserve(hash);
            // AcqRel: publishes the entry to `null_entry`, and keeps what the dead
            // one's release published. (Its address cannot come back under the
            // guard.) Relaxed on failure: the slot is looked at anew.
            let put = self.null.compare_exchange(
                there.map_or(core::ptr::null_mut(), Entry::as_ptr),
                entry.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if put.is_ok() {
                spare.entry = None;
                return Step::Done(entry, Place::Null);
            }
            self.settle(hash);
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
        spare: &mut Spare<'_, P>,
    ) -> Step {
        if obj == 0 {
            // SAFETY: the caller's contract.
            return unsafe { self.insert_null(hash, spare) };
        }
        // No lane could be claimed, though some are free in the heads: their last
        // users are not quite done.
        let mut crowded = false;
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
            // SAFETY: the caller's contract.
            let found = unsafe {
                Self::look(line, head, hash, obj, Self::stands)
                    .or_else(|| Self::look_around(&lines, head, hash, obj, Self::stands))
            };
            if let Some(entry) = found {
                // A guest is perhaps not committed, and so perhaps taken out again;
                // it is the same object's, so waiting is in order.
                return Self::meet(entry);
            }
            let full = crowded
                || head.free().next().is_none()
                    && lines.others(hash).all(|line| {
                        // Relaxed: a look only.
                        let head = Head(line.head.load(Ordering::Relaxed));
                        head.free().next().is_none()
                    });
            let mut at = None;
            if head.has_attic() || full {
                // SAFETY: the caller's contract.
                let position = unsafe { self.attic.search(hash, obj) };
                if position.found {
                    // SAFETY: found under the guard, with the key of an entry.
                    let entry = unsafe { Entry::of_node(position.cur) };
                    if entry.state() == State::Dead {
                        // SAFETY: protected by the guard. The next search
                        // unlinks it.
                        unsafe { list::mark(position.cur) };
                        continue;
                    }
                    // As for a guest.
                    return Self::meet(entry);
                }
                at = Some(position);
            }
            if head.is_worn() {
                return Step::Worn;
            }
            let Some(entry) = spare.entry.filter(|entry| !full || entry.is_prefixed()) else {
                return Step::NeedEntry(full);
            };
            self.reserve(hash);
            let mut seated = Self::take_lane(line, head, entry, hash, spare, true);
            if seated == Seat::Taken {
                lines.count_up();
                spare.entry = None;
                return Step::Done(entry, Place::Lane);
            }
            for other in lines.others(hash) {
                if seated != Seat::None {
                    break;
                }
                // Acquire: as in `get`.
                let others = Head(other.head.load(Ordering::Acquire));
                if !others.is_frozen() {
                    seated = Self::take_lane(other, others, entry, hash, spare, false);
                }
            }
            match (seated, at) {
                (Seat::Lost, _) => self.settle(hash),
                (Seat::Taken, _) => {
                    spare.entry = None;
                    lines.count_up();
                    if Self::commit(line, head, head.with(guest(hash)).counted()) {
                        return Step::Done(entry, Place::Lane);
                    }
                    entry.cancel();
                    // SAFETY: the caller's contract; we cancelled it.
                    unsafe { self.unlink(core, hash, entry, Place::Lane) };
                    self.settle(hash);
                    return Step::Spent(entry);
                }
                (Seat::None, Some(at)) if full => {
                    // SAFETY: found under this guard; the entry is ours, unlinked.
                    if !unsafe { list::link(&at, entry.node()) } {
                        self.settle(hash);
                        continue;
                    }
                    spare.entry = None;
                    self.attic.count_up();
                    if Self::commit(line, head, head.with(ATTIC).counted()) {
                        return Step::Done(entry, Place::Attic);
                    }
                    entry.cancel();
                    // SAFETY: as above.
                    unsafe { self.unlink(core, hash, entry, Place::Attic) };
                    self.settle(hash);
                    return Step::Spent(entry);
                }
                (Seat::None, _) => {
                    self.settle(hash);
                    crowded = true;
                }
            }
        }
    }

    /// Puts an entry into a free lane of a line, by its head; counts an insertion
    /// if it is the entry's own line.
    fn take_lane(
        line: &Line,
        head: Head,
        entry: Entry,
        hash: u64,
        spare: &mut Spare<'_, P>,
        own: bool,
    ) -> Seat {
        for lane in head.free() {
            // Release: pairs with the acquire loads of the slot: the entry's
            // contents are visible. Relaxed on failure: another lane is tried.
            let claimed = line.slots[lane].compare_exchange(
                FREE,
                entry.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            if claimed.is_err() {
                continue;
            }
            let next = head.place(lane, fingerprint(hash));
            if Self::commit(line, head, if own { next.counted() } else { next }) {
                return Seat::Taken;
            }
            // A lookup that remembers an older head may have met it there.
            spare.seen = true;
            // Release: whoever claims the slot next does so after us. (In a
            // frozen line nobody does.)
            line.slots[lane].store(FREE, Ordering::Release);
            return Seat::Lost;
        }
        Seat::None
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
    /// holds any guard; the caller took the entry to `Dead`.
    pub(super) unsafe fn unlink(&self, core: &Core<P>, hash: u64, entry: Entry, place: Place) {
        match place {
            Place::Lane => {}
            Place::Attic => {
                self.attic.count_down();
                // SAFETY: the guard protects the list. The search does not return
                // before the node is unlinked.
                unsafe {
                    list::mark(entry.node());
                    self.attic.search(hash, entry.obj());
                }
                return;
            }
            Place::Null => {
                // Release: who finds null or puts another entry there does so
                // after us. Relaxed on failure: another one has been put there.
                let _ = self.null.compare_exchange(
                    entry.as_ptr(),
                    core::ptr::null_mut(),
                    Ordering::Release,
                    Ordering::Relaxed,
                );
                return;
            }
        }
        loop {
            let lines = self.lines(hash);
            match Self::leave_lane(&lines, hash, entry) {
                Leave::Left => {
                    lines.count_down();
                    // SAFETY: the caller's contract.
                    unsafe { self.finish_ancestors(core, hash, lines.depth) };
                    return;
                }
                // SAFETY: the caller's contract.
                Leave::Frozen => unsafe { self.help(&lines, hash, core) },
                Leave::Again => {}
            }
        }
    }

    /// Clears the lane of an entry, in its own line or where it is a guest.
    fn leave_lane(lines: &Lines<P>, hash: u64, entry: Entry) -> Leave {
        for line in core::iter::once(lines.line(hash)).chain(lines.others(hash)) {
            // Acquire: as in `get`.
            let head = Head(line.head.load(Ordering::Acquire));
            if head.is_frozen() {
                return Leave::Frozen;
            }
            // Relaxed: only compared with our own entry, which nobody else puts in.
            let lane = head
                .matches(fingerprint(hash))
                .find(|&lane| line.slots[lane].load(Ordering::Relaxed) == entry.as_ptr());
            if let Some(lane) = lane {
                if !Self::commit(line, head, head.without(lane)) {
                    return Leave::Again;
                }
                // Release: whoever claims the slot does so after the lane was
                // cleared.
                line.slots[lane].store(FREE, Ordering::Release);
                return Leave::Left;
            }
        }
        // An entry stands in one of its lines, until they are frozen.
        debug_assert!(false, "a committed entry stands in its lines");
        Leave::Again
    }

    /// One more user of the body outside of its guard.
    pub(super) fn reserve(&self, hash: u64) {
        // Relaxed: the caller's guard is part of the grace period after which the
        // count is looked at.
        self.busy.of(hash).fetch_add(1, Ordering::Relaxed);
    }

    /// One reservation less; the body may be gone afterwards, unless the caller
    /// holds a guard.
    pub(super) fn settle(&self, hash: u64) {
        // Release: pairs with the acquire in `reclaim`: what the constructor's
        // caller did to the body happens before the walk.
        self.busy.of(hash).fetch_sub(1, Ordering::Release);
    }
}
