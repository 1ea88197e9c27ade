//! Growth: when lines are replaced, by whom, and how the heirs are published.
//!
//! An insertion that finds its lines full enough, after it is done and outside of
//! any guard, allocates two heirs and proposes them ([`segment`](super::segment)
//! has the protocol of the lines); from there on everybody who meets a frozen line
//! helps. [`body`](super::body) says why a lookup is not misled by the order in
//! which the directory changes.
//!
//! A replacement takes some 100,000 instructions, so it is done in steps, each under a
//! guard of its own: in the kernel that is a section with preemption off. Between two
//! steps a reservation keeps the body, and nothing else is remembered: the next step
//! begins with the lines as they are found then.

use super::body::{Body, MAX_DEPTH, low_bits};
use super::entry::Entry;
use super::line::Head;
use super::seats::Present;
use super::segment::{Fate, Heirs, LINES, Lines, ROOT_LINES, Segment};
use super::type_core::Core;
use crate::platform::{AllocFlags, Platform};
use crate::sync::Ordering;

/// Taken lanes at which a segment is split: 4.2 of 7 in the mean, where one line
/// in sixteen is full.
pub(super) const SPLIT_AT: usize = if crate::TINY { 2 } else { LINES * 42 / 10 };
/// Nodes of the attic that a helper looks at, to see which heirs' lines still need
/// it. If there are more (they pile up while there is no memory), the heirs take
/// over what the frozen lines say.
pub(super) const LOOK: usize = if crate::TINY { 2 } else { 256 };
/// Taken lanes at which the root becomes a segment.
const ROOT_FULL: usize = if crate::TINY { 1 } else { ROOT_LINES * 5 };

/// A body that is used across guards, if need be: until it is dropped.
pub(super) struct Stay<'a, P: Platform> {
    body: &'a Body<P>,
    core: &'a Core<P>,
    hash: u64,
    reserved: bool,
}

impl<'a, P: Platform> Stay<'a, P> {
    pub(super) fn new(body: &'a Body<P>, core: &'a Core<P>, hash: u64) -> Self {
        Self {
            body,
            core,
            hash,
            reserved: false,
        }
    }

    /// A guard in place of the caller's, after a moment without.
    pub(super) fn breathe(&mut self, guard: P::Guard) -> P::Guard {
        self.reserved = self.reserved || self.body.busy.reserve(self.hash);
        if !self.reserved {
            // The body is gone, so there is little to do: one guard will do.
            return guard;
        }
        drop(guard);
        self.core.platform().pin()
    }
}

impl<P: Platform> Drop for Stay<'_, P> {
    fn drop(&mut self) {
        if self.reserved {
            self.body.busy.settle(self.hash, self.core);
        }
    }
}

impl<P: Platform> Body<P> {
    /// A step of replacing lines that are frozen, or about to be, by their heirs; false
    /// when they have none.
    ///
    /// # Safety
    /// As [`get`](Self::get); the lines were found under the guard, and no ancestor
    /// of theirs is [unfinished](Self::unfinished).
    unsafe fn step(&self, lines: &Lines<P>, hash: u64, core: &Core<P>) -> bool {
        let heirs = match lines.fate() {
            None => return false,
            Some(Fate::Heirs(heirs)) => heirs,
            // SAFETY: the lines keep what they were joined to.
            Some(Fate::Merge(merge)) => match unsafe { merge.as_ref() }.apart(lines) {
                Some(heirs) => heirs,
                None => {
                    // SAFETY: the caller's contract.
                    unsafe { self.step_merge(merge, core) };
                    return true;
                }
            },
        };
        let done = lines.done();
        if done == 0 {
            lines.freeze();
            lines.advance(done);
            return true;
        }
        let split = !heirs.second.is_null();
        let mut present = None;
        if lines.may_have_attic(done) {
            let present = present.insert(Present::none());
            let mut note = |e: Entry| present.note(core.hash(e.obj()), lines.depth, split);
            // SAFETY: the caller's contract.
            if !unsafe { self.attic.for_run(hash, lines.depth, LOOK, &mut note) } {
                present.inherit(lines);
            }
        }
        // SAFETY: frozen, and the heirs are theirs.
        let totals = unsafe { lines.bequeath(&heirs, core, present.as_ref(), done) };
        if lines.advance(done) {
            // SAFETY: under the guard, as the lines.
            unsafe { heirs.count(totals) };
        }
        if Lines::<P>::is_last(done) {
            // SAFETY: the caller's contract.
            self.publishing(|| unsafe { self.publish(lines, &heirs, hash, core) });
        }
        true
    }

    /// A step towards lines of `hash` that can be written; false when they can be, as
    /// far as is known.
    ///
    /// # Safety
    /// As [`get`](Self::get), or a reservation keeps the body and the caller holds any
    /// guard.
    pub(super) unsafe fn help(&self, core: &Core<P>, hash: u64) -> bool {
        loop {
            let lines = self.lines(hash);
            let Some((its_hash, first)) = self.before(hash, &lines) else {
                // SAFETY: the caller's contract, and what comes first is finished.
                return unsafe { self.step(&lines, hash, core) };
            };
            // SAFETY: as above. If it has no heirs, it is no longer what comes first.
            if unsafe { self.step(&first, its_hash, core) } {
                return true;
            }
        }
    }

    /// The first of the replacements that are not finished and by which these lines came to
    /// be found: one before which there is none. (What stands in their own slot may have got
    /// there meanwhile, by a split that is not finished itself.)
    #[cold]
    fn before(&self, hash: u64, lines: &Lines<P>) -> Option<(u64, Lines<P>)> {
        let mut first = self.just_before(hash, lines)?;
        while let Some(earlier) = self.just_before(first.0, &first.1) {
            first = earlier;
        }
        #[cfg(loom)]
        self.assert_first(first.0, &first.1);
        Some(first)
    }

    /// That the contract of [`step`](Self::step) holds for lines that are about to be helped: no
    /// ancestor of theirs is unfinished, as long as they are in their slot. (What would come of
    /// it takes more threads than a model has: two that help such lines, one to freeze and one to
    /// publish, and two that are late with the ancestor, one of them since then.)
    #[cfg(loom)]
    fn assert_first(&self, hash: u64, lines: &Lines<P>) {
        if lines.is_root() || self.unfinished(hash, lines.depth).is_none() {
            return;
        }
        let own = self.slot(low_bits(hash, lines.depth));
        // Relaxed: only compared; an ancestor that came after them was acquired above.
        let there = own.map(|slot| Self::untagged(slot.load(Ordering::Relaxed)).0);
        assert!(
            there != Some(lines.segment()),
            "there is something before what is first"
        );
    }

    /// One of the replacements that are not finished and by which these lines came to be
    /// found, with the bits of the hash that its lines share, and then 0: it may be the lower
    /// half of what was merged.
    fn just_before(&self, hash: u64, lines: &Lines<P>) -> Option<(u64, Lines<P>)> {
        let before = self
            .unfinished(hash, lines.depth)
            .or_else(|| self.displaced(lines, hash))?;
        Some((low_bits(hash, before.depth.min(lines.depth)) as u64, before))
    }

    /// Whether a publication is under way. Who acquired the lines that one has put into the
    /// directory finds it counted, or what it replaced out of the directory.
    #[inline]
    pub(super) fn is_publishing(&self) -> bool {
        // Acquire: pairs with the release in `publishing`.
        self.publishing.load(Ordering::Acquire) != 0
    }

    /// Whether there may be a publication to help with; or, if `all`, any step of what
    /// replaces the lines of a hash.
    pub(super) fn wants_help(&self, hash: u64, all: bool) -> bool {
        self.is_publishing() || all && self.lines(hash).fate().is_some()
    }

    /// What stands in the own slot of lines that were found by an alias: it is being
    /// replaced by them.
    fn displaced(&self, lines: &Lines<P>, hash: u64) -> Option<Lines<P>> {
        let own = low_bits(hash, lines.depth);
        // Acquire: pairs with the release in `publish`.
        let (segment, depth) = Self::untagged(self.slot(own)?.load(Ordering::Acquire));
        // (An alias there is an heir of the lines, or of what has replaced them: whatever
        // they came from was finished when they were paired.)
        let at_home = own >> depth == 0;
        // SAFETY: found in the directory under the caller's guard.
        (!segment.is_null() && at_home && segment != lines.segment())
            .then(|| unsafe { Lines::of_segment(segment, depth) })
    }

    /// [`help`](Self::help) to the end, a guard for each step.
    ///
    /// The caller holds no guard of its own, and `busy` keeps the body.
    pub(super) fn help_out(&self, core: &Core<P>, hash: u64) {
        loop {
            let _guard = core.platform().pin();
            // SAFETY: the reservation, and the guard.
            if !unsafe { self.help(core, hash) } {
                return;
            }
        }
    }

    /// The first of the splits that are not finished and through whose second heirs the
    /// lines of `hash` at `depth` are found: a new reader could still meet its old
    /// segment.
    pub(super) fn unfinished(&self, hash: u64, depth: u32) -> Option<Lines<P>> {
        let mut levels = (0..depth).filter(|level| hash >> level & 1 == 1);
        levels.find_map(|level| {
            // Acquire: pairs with the release in `publish`.
            let tagged = self.slot(low_bits(hash, level))?.load(Ordering::Acquire);
            let (segment, its_depth) = Self::untagged(tagged);
            // SAFETY: found in the directory under the caller's guard. It has heirs,
            // for there are lines of `hash` below it.
            (!segment.is_null() && its_depth == level)
                .then(|| unsafe { Lines::of_segment(segment, level) })
        })
    }

    /// A step towards finishing the replacements that came before these lines; false when
    /// there is none: nobody who begins to look from now on meets what they replaced.
    ///
    /// # Safety
    /// As [`help`](Self::help).
    #[inline]
    pub(super) unsafe fn finish_before(&self, core: &Core<P>, hash: u64, lines: &Lines<P>) -> bool {
        self.is_publishing()
            && (self.before(hash, lines))
                // SAFETY: the caller's contract; the first of them has none before it.
                .is_some_and(|(its_hash, first)| unsafe { self.step(&first, its_hash, core) })
    }

    /// Runs a publication, which is counted while the directory has a part of it.
    pub(super) fn publishing(&self, publish: impl FnOnce()) {
        // Relaxed: the publication's own exchanges release it.
        self.publishing.fetch_add(1, Ordering::Relaxed);
        publish();
        // Release: pairs with the acquire in `is_publishing`: all of it is done, by whomever.
        self.publishing.fetch_sub(1, Ordering::Release);
    }

    /// Puts the heirs into the directory, in place of the lines; [counted](Self::publishing).
    ///
    /// # Safety
    /// As [`step`](Self::step).
    unsafe fn publish(&self, lines: &Lines<P>, heirs: &Heirs<P>, hash: u64, core: &Core<P>) {
        let depth = lines.depth;
        let index = low_bits(hash, depth);
        let Some(first) = self.slot(index) else {
            debug_assert!(false, "the proposer made the page");
            return;
        };
        if depth == 0 {
            self.set_near();
        }
        let old = lines.segment();
        let expected = if old.is_null() {
            old
        } else {
            old.map_addr(|a| a | depth as usize)
        };
        let heir_depth = depth + u32::from(!heirs.second.is_null());
        let [heir, second_heir] =
            [heirs.first, heirs.second].map(|it| it.map_addr(|a| a | heir_depth as usize));
        if !heirs.second.is_null() {
            let Some(second) = self.slot(index | 1 << depth) else {
                debug_assert!(false, "the proposer made this page too");
                return;
            };
            // Release: publishes the heir's lines. Relaxed on failure: it was
            // published already, or there is an alias of the old one.
            let _ = second.compare_exchange(
                core::ptr::null_mut(),
                second_heir,
                Ordering::Release,
                Ordering::Relaxed, // published already, or an alias
            );
            // Release: pairs with the acquire in `mask_now`: `near` is set. Relaxed on failure:
            // another helper raised it. Either way this thread knows the new mask, so who
            // acquires the first heir below from it reads no older one (coherence).
            let _ = self.mask.compare_exchange(
                (1 << depth) - 1,
                (1 << heir_depth) - 1,
                Ordering::Release,
                Ordering::Relaxed, // raised by another helper
            );
        }
        self.replace_aliases(index, depth, lines.reach(), &[expected], |at| {
            if heir_depth != depth && at >> depth & 1 == 1 {
                second_heir
            } else {
                heir
            }
        });
        // Release: as above, and after the steps above.
        let published = first
            .compare_exchange(expected, heir, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if published {
            // Relaxed: a statistic and a hint.
            self.segments.fetch_add(
                usize::from(heir_depth != depth || old.is_null()),
                Ordering::Relaxed,
            );
            core.count_split();
            core.platform().on_split(core.id());
            if let Some(Fate::Merge(merge)) = lines.fate() {
                // SAFETY: the lines keep it.
                unsafe { merge.as_ref() }.note_taken(heirs.first);
            }
            if !old.is_null() {
                // SAFETY: we took it out of the directory, and no older segment leads
                // to it any more: its ancestors are finished.
                unsafe { Segment::retire(old, core.platform()) };
            }
        }
    }

    /// Whether lines with so many taken lanes should be replaced.
    pub(super) fn is_full(lines: &Lines<P>, count: usize) -> bool {
        count > if lines.is_root() { ROOT_FULL } else { SPLIT_AT }
    }

    /// After an insertion that found its lines full: replaces them.
    /// May fail, for lack of memory; a later insertion tries again. Costs at most
    /// two segments and a page; may allocate as `flags` say.
    ///
    /// Called outside of any guard, while `busy` keeps the body.
    pub(super) fn grow(&self, hash: u64, core: &Core<P>, flags: AllocFlags) {
        self.attic.grow(hash, core.platform(), flags);
        let guard = core.platform().pin();
        let lines = self.lines(hash);
        let count = lines.count();
        // Relaxed, twice: hints.
        let segments = self.segments.load(Ordering::Relaxed);
        let needs_slots = 1usize << lines.depth > self.mask.load(Ordering::Relaxed);
        let sparse = needs_slots && 1usize << lines.depth > segments.saturating_mul(16);
        // Objects whose hashes agree gain nothing from a split.
        let full =
            Self::is_full(&lines, count) && (lines.is_root() || lines.depth < MAX_DEPTH && !sparse);
        drop(guard);
        if full && self.renew(hash, core, flags) {
            self.help_out(core, hash);
        }
    }

    /// Sees to it that a replacement of the lines of `hash` is agreed on, a split if they
    /// are full; the caller helps it to its end. False when there was no memory for it,
    /// and nobody else had replaced them or agreed on that.
    ///
    /// As [`grow`](Self::grow), or the caller knows otherwise that the body stays.
    pub(super) fn renew(&self, hash: u64, core: &Core<P>, flags: AllocFlags) -> bool {
        let platform = core.platform();
        let guard = platform.pin();
        let depth = self.lines(hash).depth;
        drop(guard);
        let Some(mut heirs) = self.heirs(hash, depth, core, flags) else {
            let _guard = platform.pin();
            let lines = self.lines(hash);
            // Relaxed: a look; the insertion looks anew.
            let head = Head(lines.line(hash).head.load(Ordering::Relaxed));
            return lines.fate().is_some() || !head.is_worn();
        };
        let guard = platform.pin();
        let lines = self.lines(hash);
        // The pages that the heirs need are there for this depth only. If it has
        // changed, somebody else has replaced the lines.
        if lines.depth == depth {
            let split = !lines.is_root() && lines.count() > SPLIT_AT && lines.depth < MAX_DEPTH;
            lines.propose(&mut heirs, split);
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

    /// What a replacement of lines of `depth` needs.
    fn heirs(&self, hash: u64, depth: u32, core: &Core<P>, flags: AllocFlags) -> Option<Heirs<P>> {
        let platform = core.platform();
        let index = low_bits(hash, depth);
        for index in [index, index | 1 << depth.min(MAX_DEPTH - 1)] {
            if !self.make_slot(index, platform, flags) {
                return None;
            }
        }
        // SAFETY: the core outlives its body.
        let first = unsafe { Segment::new(self.core, flags) }?;
        // SAFETY: as above.
        let Some(second) = (unsafe { Segment::new(self.core, flags) }) else {
            // SAFETY: nobody has seen it.
            unsafe { Segment::free(first, platform) };
            return None;
        };
        Some(Heirs { first, second })
    }
}
