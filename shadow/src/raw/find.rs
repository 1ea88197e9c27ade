//! Finding: lookups, and what writers look for.
//!
//! A lookup glances at the head of the line that the mask in force names and is done if the
//! first lane that matches has its entry, or if none matches, the line is not extended, and
//! the mask is still in force. Everything else is out of line.

use core::ptr::NonNull;

use super::batch::prefetch;
use super::body::{Body, Place};
use super::entry::{Entry, Header, State};
use super::line::{FREE, Head, LANES, Line, Search, fingerprint};
use super::segment::Lines;
use super::type_core::Core;
use crate::platform::Platform;
use crate::sync::{AtomicPtr, Ordering};

/// What the head of an object's line says of it.
#[derive(Clone, Copy)]
pub(super) enum Glimpse<'a> {
    /// There is nothing, unless the object is `NULL`, which has no place in a line.
    Nothing,
    /// It is there if this, the first that is alike, has it.
    Slot(&'a AtomicPtr<Header>),
    /// Its line is extended, or the mask is no longer in force.
    Unsure,
}

impl<P: Platform> Body<P> {
    /// The line of a hash by this mask, if its slot has a segment; it may be one heir too
    /// far to the left, unless the mask is [`still`](Self::still) the same after.
    #[inline(always)]
    fn glance(&self, hash: u64, mask: usize) -> Option<Line<'_>> {
        let (segment, _) = Self::untagged(self.slot_value(hash, mask));
        // SAFETY: found in the directory under the caller's guard, which outlives
        // the borrow of the body.
        let line = unsafe { segment.as_ref() }?.line(hash);
        if !cfg!(target_os = "none") {
            // A hit waits for head and slot together (seven slots of eight: the
            // others are over the edge of a cache line). In the kernel nearly all
            // lookups find nothing, and what the patched function has in the cache
            // is worth more.
            prefetch(&line.slots[LANES.min(3) - 1]);
        }
        Some(line)
    }

    /// The same where the slot has none, by its parent's, or that one's: the hash's segment
    /// was not split as often as others. So it is with half of them while all are split one
    /// after the other, and with most while one is far ahead.
    #[inline]
    fn glance_above(&self, hash: u64, mut mask: usize) -> Option<Line<'_>> {
        while mask != 0 && self.slot_value(hash, mask).is_null() {
            if let Some(line) = self.glance(hash, mask >> 1) {
                // A first heir is published after its sibling, which would stand in the
                // slot that had nothing: if it still has nothing, that was none, but the
                // parent.
                return self.slot_value(hash, mask).is_null().then_some(line);
            }
            mask >>= 1;
        }
        None
    }

    /// The line of a hash by this mask, as [`glance`](Self::glance), wherever it is.
    #[inline(always)]
    pub(super) fn glance_around(&self, hash: u64, mask: usize) -> Option<Line<'_>> {
        self.glance(hash, mask)
            .or_else(|| self.glance_above(hash, mask))
    }

    /// The mask in force, for a [`glance`](Self::glance).
    #[inline(always)]
    pub(super) fn mask_now(&self) -> usize {
        // Acquire: pairs with the exchange in `publish`: `near` has a page if this needs one.
        self.mask.load(Ordering::Acquire)
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
    pub(super) unsafe fn get(&self, core: &Core<P>, obj: usize) -> Option<NonNull<u8>> {
        let hash = core.hash(obj);
        let mask = self.mask_now();
        match self.glance(hash, mask) {
            // SAFETY: the caller's contract.
            Some(line) => unsafe { self.get_at(core, line, mask, hash, obj) },
            // SAFETY: as above.
            None => unsafe { Self::get_above(core, obj, self) },
        }
    }

    /// [`get`](Self::get), out of line, where the slot has no segment: few variables, or
    /// a segment that was not split as often as others.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    #[cold]
    #[inline(never)]
    unsafe fn get_above(core: &Core<P>, obj: usize, body: &Self) -> Option<NonNull<u8>> {
        // Computed anew, so that a lookup that ends early need not keep it.
        let (hash, mask) = (core.hash(obj), body.mask_now());
        match body.glance_above(hash, mask) {
            // SAFETY: the caller's contract.
            Some(line) => unsafe { body.get_at(core, line, mask, hash, obj) },
            // SAFETY: as above.
            None => unsafe { Self::get_slowly(core, obj, body) },
        }
    }

    /// [`get`](Self::get) after a [`glance`](Self::glance).
    ///
    /// # Safety
    /// As [`get`](Self::get); the glance was under the same guard.
    #[inline(always)]
    unsafe fn get_at(
        &self,
        core: &Core<P>,
        line: Line<'_>,
        mask: usize,
        hash: u64,
        obj: usize,
    ) -> Option<NonNull<u8>> {
        match self.glimpse(core, line, mask, fingerprint(hash)) {
            // Nearly always there is one, and it is the one, or there is none.
            Glimpse::Slot(slot) => {
                // SAFETY: reached from the body under the guard.
                if let Some(entry) = unsafe { Self::met(slot, obj, Entry::is_live) } {
                    return Some(entry.data());
                }
            }
            // The address 0 has no place in a line.
            Glimpse::Nothing if obj != 0 => return None,
            Glimpse::Nothing | Glimpse::Unsure => {}
        }
        // SAFETY: the caller's contract.
        unsafe { Self::get_slowly(core, obj, self) }
    }

    /// What the head of a line says that a [`glance`](Self::glance) with this mask found.
    #[inline(always)]
    pub(super) fn glimpse<'a>(
        &self,
        core: &Core<P>,
        line: Line<'a>,
        mask: usize,
        fingerprint: u64,
    ) -> Glimpse<'a> {
        // Acquire: pairs with the commits: the slots of the taken lanes are visible, which
        // were null until they were claimed, and what an extended line has in the attic.
        let head = Head(line.head.load(Ordering::Acquire));
        match head.matches(fingerprint, &core.search).first(line.slots) {
            Some(slot) => Glimpse::Slot(slot),
            None if !head.is_extended() && self.still(mask) => Glimpse::Nothing,
            None => Glimpse::Unsure,
        }
    }

    /// [`get`](Self::get), out of line: few variables, a split under way, an extended line,
    /// another object's entry that is alike, or the address 0.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn get_slowly(
        core: &Core<P>,
        obj: usize,
        body: &Self,
    ) -> Option<NonNull<u8>> {
        if obj == 0 {
            // SAFETY: the caller's contract.
            return unsafe { body.get_null() }.map(Entry::data);
        }
        // Anew, as above.
        let hash = core.hash(obj);
        let lines = body.lines(hash);
        let line = lines.line(hash);
        // Acquire: as in `glimpse`.
        let head = Head(line.head.load(Ordering::Acquire));
        // SAFETY: the caller's contract, here and below.
        let entry = unsafe {
            Self::look(line, head, hash, obj, Entry::is_live)
                .or_else(|| Self::look_around(&lines, head, hash, obj, Entry::is_live))
                .or_else(|| head.has_attic().then(|| body.attic.get(hash, obj))?)
        };
        entry.map(Entry::data)
    }

    /// The live entry of `obj` in its group. Another caller's that is not committed,
    /// and will be taken out again, may stand in front of it.
    ///
    /// # Safety
    /// As [`look`](Self::look).
    pub(super) unsafe fn look_live(
        lines: &Lines<P>,
        line: Line<'_>,
        head: Head,
        hash: u64,
        obj: usize,
    ) -> Option<Entry> {
        // SAFETY: the caller's contract.
        unsafe {
            Self::look(line, head, hash, obj, Entry::is_live)
                .or_else(|| Self::look_around(lines, head, hash, obj, Entry::is_live))
        }
    }

    /// [`look`](Self::look) in the other lines of the group, if the head of the
    /// object's own says that it may be there.
    ///
    /// # Safety
    /// As [`look`](Self::look).
    pub(super) unsafe fn look_around(
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
            // Acquire: as in `glimpse`.
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
    unsafe fn get_null(&self) -> Option<Entry> {
        // SAFETY: the caller's contract.
        unsafe { self.null_entry() }.filter(|&entry| entry.is_live())
    }

    /// The entry of `obj` to be freed: in a lane, a live one.
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
        // Acquire: as in `glimpse`.
        let head = Head(line.head.load(Ordering::Acquire));
        // SAFETY: the caller's contract.
        let found = unsafe { Self::look_live(&lines, line, head, hash, obj) };
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

    pub(super) fn stands(entry: Entry) -> bool {
        entry.state() != State::Dead
    }

    /// The entry of `obj` in a line that is as wanted. (A dead one is passed: a
    /// newer one of the same object may stand behind it.)
    ///
    /// # Safety
    /// As [`get`](Self::get); the line was found under the guard.
    #[inline]
    pub(super) unsafe fn look(
        line: Line<'_>,
        head: Head,
        hash: u64,
        obj: usize,
        wanted: impl Fn(Entry) -> bool,
    ) -> Option<Entry> {
        head.matches(fingerprint(hash), &Search::NEW)
            .find_map(|lane| {
                // SAFETY: a lane of a head is below LANES; the caller's contract.
                unsafe { Self::met(line.slots.get_unchecked(lane), obj, &wanted) }
            })
    }

    /// What stands in a slot, if it is `obj`'s and as wanted.
    ///
    /// # Safety
    /// As [`look`](Self::look); the slot's lane was seen taken.
    #[inline(always)]
    unsafe fn met(
        slot: &AtomicPtr<Header>,
        obj: usize,
        wanted: impl Fn(Entry) -> bool,
    ) -> Option<Entry> {
        // SAFETY: the caller's contract.
        let entry = unsafe { Self::entry_in(slot) }?;
        (entry.obj() == obj && wanted(entry)).then_some(entry)
    }

    /// What stands in a slot. (Always something, save under the model checkers.)
    ///
    /// # Safety
    /// As [`look`](Self::look); the slot's lane was seen taken.
    #[inline(always)]
    pub(super) unsafe fn entry_in(slot: &AtomicPtr<Header>) -> Option<Entry> {
        // Acquire: pairs with the claim of the slot, which may be younger than the
        // head: the entry's contents are visible.
        let slot = slot.load(Ordering::Acquire);
        // A taken lane's slot was claimed; freed meanwhile, it refers to nobody's entry,
        // which is not live.
        debug_assert!(!slot.is_null(), "the lane was seen taken");
        if cfg!(any(loom, umbra_shuttle)) && slot == FREE {
            return None;
        }
        // SAFETY: reached from the body under the guard.
        Some(unsafe { Entry::of(slot) })
    }
}
