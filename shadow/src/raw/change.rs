//! Changing: an entry is put into a lane, or into the attic, and committed by its
//! own line's head; it leaves by the head of the line that it stands in.
//!
//! ```text
//!  own line has a lane    claim the slot, then head + lane + version
//!  another of the group   claim the slot there, head there + lane,
//!                         then own head + guest bit + version
//!  neither                link the node, then own head + attic bit + version
//! ```
//! The last step is the one CAS that decides between insertions of one object: it
//! fails if anybody has inserted into the line since it was looked at, and then
//! what was put elsewhere is taken out again.

use super::body::{Body, Place};
use super::entry::{Entry, Spare, State};
use super::growth::Stay;
use super::line::{ATTIC, FREE, Head, Line, Search, fingerprint, guest, is_entry};
use super::list;
use super::segment::Lines;
use super::type_core::Core;
use crate::platform::Platform;
use crate::sync::Ordering;

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
    /// The lines are being replaced: help is needed to go on.
    Frozen,
    /// The body is empty and given up: another one is needed.
    Gone,
    /// The entry is in, reserved; whether there is something to grow.
    Done(Entry, Place, bool),
    /// The entry is in, but dead, and cannot be used again: unlink it, settle, and
    /// retire it.
    Spent(Entry, Place),
}

impl<P: Platform> Body<P> {
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
    unsafe fn insert_null(&self, core: &Core<P>, hash: u64, spare: &mut Spare<'_, P>) -> Step {
        loop {
            // SAFETY: the caller's contract.
            let there = unsafe { self.null_entry() };
            if let Some(there) = there.filter(|&there| Self::stands(there)) {
                return Self::meet(there);
            }
            let Some(entry) = spare.entry else {
                return Step::NeedEntry(false);
            };
            if !self.busy.reserve(hash) {
                return Step::Gone;
            }
            // AcqRel: publishes the entry to `null_entry`, and keeps what the dead
            // one's release published. (Its address cannot come back under the
            // guard.) Relaxed on failure: the slot is looked at anew.
            let put = self.null.compare_exchange(
                there.map_or(core::ptr::null_mut(), Entry::as_ptr),
                entry.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed, // looked at anew
            );
            if put.is_ok() {
                spare.entry = None;
                return Step::Done(entry, Place::Null, false);
            }
            self.busy.settle(hash, core);
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
            return unsafe { self.insert_null(core, hash, spare) };
        }
        // No lane could be claimed, though some are free in the heads: their last
        // users are not quite done.
        let mut crowded = false;
        loop {
            let lines = self.lines(hash);
            let line = lines.line(hash);
            // Acquire: as in `glimpse`.
            let head = Head(line.head.load(Ordering::Acquire));
            if head.is_frozen() {
                return Step::Frozen;
            }
            // SAFETY: the caller's contract.
            let found = unsafe {
                Self::look(line, head, hash, obj, Self::stands)
                    .or_else(|| Self::look_around(&lines, head, hash, obj, Self::stands))
            };
            if let Some(entry) = found {
                // One that is not live is perhaps not committed, and so perhaps
                // taken out again: it is the same object's, so waiting is in order,
                // unless a live one stands behind it.
                // SAFETY: the caller's contract.
                let live = unsafe { Self::look_live(&lines, line, head, hash, obj) };
                return Self::meet(live.unwrap_or(entry));
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
            if !self.busy.reserve(hash) {
                return Step::Gone;
            }
            let mut seated = Self::take_lane(line, head, entry, hash, spare, true);
            if seated == Seat::Taken {
                spare.entry = None;
                return Step::Done(entry, Place::Lane, Self::is_full(&lines, lines.count_up()));
            }
            for other in lines.others(hash) {
                if seated != Seat::None {
                    break;
                }
                // Relaxed: nothing is read through it, and the commit compares it.
                let others = Head(other.head.load(Ordering::Relaxed));
                if !others.is_frozen() {
                    seated = Self::take_lane(other, others, entry, hash, spare, false);
                }
            }
            match (seated, at) {
                (Seat::Lost, _) => self.busy.settle(hash, core),
                (Seat::Taken, _) => {
                    spare.entry = None;
                    let full = Self::is_full(&lines, lines.count_up());
                    if Self::commit(line, head, head.with(guest(hash)).counted()) {
                        return Step::Done(entry, Place::Lane, full);
                    }
                    entry.cancel();
                    return Step::Spent(entry, Place::Lane);
                }
                (Seat::None, Some(at)) if full => {
                    // SAFETY: found under this guard; the entry is ours, unlinked.
                    if !unsafe { list::link(&at, entry.node()) } {
                        self.busy.settle(hash, core);
                        continue;
                    }
                    spare.entry = None;
                    self.attic.count_up();
                    if Self::commit(line, head, head.with(ATTIC).counted()) {
                        return Step::Done(entry, Place::Attic, true);
                    }
                    entry.cancel();
                    return Step::Spent(entry, Place::Attic);
                }
                (Seat::None, _) => {
                    self.busy.settle(hash, core);
                    crowded = true;
                }
            }
        }
    }

    /// Puts an entry into a free lane of a line, by its head; counts an insertion
    /// if it is the entry's own line.
    fn take_lane(
        line: Line<'_>,
        head: Head,
        entry: Entry,
        hash: u64,
        spare: &mut Spare<'_, P>,
        own: bool,
    ) -> Seat {
        for (lane, slot) in head.free().slots(line.slots) {
            // Relaxed: the claim compares it.
            let mut vacant = slot.load(Ordering::Relaxed);
            let claimed = loop {
                if is_entry(vacant) {
                    break false;
                }
                // Release: pairs with the acquire loads of the slot: the entry's
                // contents are visible. Relaxed on failure: it is compared again, once
                // at most, for null does not come back; or another lane is tried.
                match slot.compare_exchange(
                    vacant,
                    entry.as_ptr(),
                    Ordering::Release,
                    Ordering::Relaxed, // compared again
                ) {
                    Ok(_) => break true,
                    Err(now) => vacant = now,
                }
            };
            if !claimed {
                continue;
            }
            let next = head.place(lane, fingerprint(hash));
            if Self::commit(line, head, if own { next.counted() } else { next }) {
                return Seat::Taken;
            }
            // A lookup that remembers an older head may have met it there.
            spare.seen = true;
            // Relaxed: nothing was committed that anybody could come after, and
            // the next claim publishes its own entry.
            slot.store(FREE, Ordering::Relaxed);
            return Seat::Lost;
        }
        Seat::None
    }

    /// Changes a head that is still what the caller looked at.
    fn commit(line: Line<'_>, head: Head, next: Head) -> bool {
        // Release: publishes the slot, or the entry in the attic. A head is changed by
        // exchanges only, so who reads this one has those before it too. Relaxed on
        // failure: the line is looked at anew.
        line.head
            .compare_exchange(head.0, next.0, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes a dead entry out of where it stands.
    ///
    /// It takes the caller's guard, to give it up where lines are being replaced: the
    /// body is not to be used any more, unless a reservation of the caller's keeps it.
    ///
    /// # Safety
    /// As [`get`](Self::get), or the caller's reservation keeps the body and it
    /// holds any guard; the caller took the entry to `Dead`.
    pub(super) unsafe fn unlink(
        &self,
        core: &Core<P>,
        hash: u64,
        entry: Entry,
        place: Place,
        mut guard: P::Guard,
    ) {
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
                    Ordering::Relaxed, // another one is there
                );
                return;
            }
        }
        let mut stay = Stay::new(self, core, hash);
        loop {
            let lines = self.lines(hash);
            match Self::leave_lane(&lines, hash, entry) {
                Leave::Left => {
                    lines.count_down();
                    // SAFETY: the caller's contract, or the stay.
                    while unsafe { self.finish_before(core, hash, &lines) } {
                        guard = stay.breathe(guard);
                    }
                    return;
                }
                Leave::Frozen => {
                    // SAFETY: the caller's contract, or the stay.
                    unsafe { self.help(core, hash) };
                    guard = stay.breathe(guard);
                }
                Leave::Again => {}
            }
        }
    }

    /// Clears the lane of an entry, in its own line or where it is a guest.
    fn leave_lane(lines: &Lines<P>, hash: u64, entry: Entry) -> Leave {
        for line in core::iter::once(lines.line(hash)).chain(lines.others(hash)) {
            // Acquire: as in `glimpse`.
            let head = Head(line.head.load(Ordering::Acquire));
            if head.is_frozen() {
                return Leave::Frozen;
            }
            // Relaxed: only compared with our own entry, which nobody else puts in.
            let mut matches = head
                .matches(fingerprint(hash), &Search::NEW)
                .slots(line.slots);
            let at = matches.find(|(_, slot)| slot.load(Ordering::Relaxed) == entry.as_ptr());
            if let Some((lane, slot)) = at {
                if !Self::commit(line, head, head.without(lane)) {
                    return Leave::Again;
                }
                // Release: whoever claims the slot does so after the lane was
                // cleared.
                slot.store(FREE, Ordering::Release);
                return Leave::Left;
            }
        }
        // An entry stands in one of its lines, until they are frozen.
        debug_assert!(false, "a committed entry stands in its lines");
        Leave::Again
    }
}
