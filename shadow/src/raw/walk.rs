//! All of a body at once: iteration, counting, and its end.
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

use core::ops::Range;
use core::ptr::NonNull;

use super::batch::prefetch;
use super::blocks::free_block;
use super::body::{Body, low_bits};
use super::entry::{Dtor, Entry};
use super::line::{Head, Line, is_entry};
use super::segment::{LINES, Lines, Segment};
use super::type_core::{Core, Stats};
use crate::platform::{Link, Platform, Progress};
use crate::sync::Ordering;

/// Entries of the attic destroyed by one call of `reclaim`.
const SLICE: usize = if crate::TINY { 2 } else { 64 };
/// Lines of a segment whose entries one call destroys.
const SLICE_LINES: usize = if crate::TINY { 1 } else { 15 };

/// What a slice has destroyed, counted at its end: writers' counters are shared.
struct Gone<'a, P: Platform> {
    core: &'a Core<P>,
    entries: usize,
    bytes: usize,
}

impl<P: Platform> Gone<'_, P> {
    /// # Safety
    /// As [`Entry::destroy`].
    unsafe fn destroy(&mut self, entry: Entry, dtor: Option<Dtor>) {
        // SAFETY: the caller's contract.
        self.bytes += unsafe { entry.destroy_uncounted(self.core, dtor) };
        self.entries += 1;
    }
}

impl<P: Platform> Drop for Gone<'_, P> {
    fn drop(&mut self) {
        self.core.forget_entries(0, self.entries, self.bytes);
    }
}

impl<P: Platform> Body<P> {
    /// What follows the prefix of a hash that these lines share, in the order of
    /// the reversed hash; `at` is reversed.
    fn after(at: u64, lines: &Lines<P>) -> Option<u64> {
        let step = 1u64.checked_shl(64 - lines.depth)?;
        (at & !(step - 1)).checked_add(step)
    }

    /// What is counted here: variables, those of the attic, lines.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn counts(&self) -> Stats {
        let attic = self.attic.count();
        // SAFETY: the caller's contract.
        let null = usize::from(unsafe { self.null_entry() }.is_some());
        let (mut entries, mut total) = (attic + null, 0);
        let (mut at, mut again) = (Some(0u64), 3);
        while let Some(prefix) = at {
            let hash = prefix.reverse_bits();
            let lines = self.lines(hash);
            if low_bits(hash, lines.depth) as u64 != hash && again > 0 {
                // Merged with what was counted. (About, if that goes on and on.)
                again -= 1;
                (entries, total, at) = (attic + null, 0, Some(0));
                continue;
            }
            entries += lines.count();
            total += lines.len();
            at = Self::after(prefix, &lines);
        }
        Stats {
            live: entries.saturating_sub(self.busy.count()),
            attic,
            lines: total,
            ..Stats::default()
        }
    }

    /// The most entries that a lookup walks past in the attic.
    ///
    /// # Safety
    /// As [`get`](Self::get). Costs the whole attic.
    pub(super) unsafe fn longest(&self) -> usize {
        // SAFETY: the caller's contract.
        unsafe { self.attic.longest_run() }
    }

    /// Calls `f` for each live entry of the segment that has the hash `at`, bits
    /// reversed; where the next one begins. A segment that is split between two
    /// calls is seen whole, before or after; of one that was merged with what was
    /// seen, the rest.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn for_each_from(
        &self,
        core: &Core<P>,
        at: u64,
        f: &mut dyn FnMut(usize, NonNull<u8>),
    ) -> Option<u64> {
        let hash = at.reverse_bits();
        let lines = self.lines(hash);
        let merged = low_bits(hash, lines.depth) as u64 != hash;
        let mut f = |entry: Entry| {
            if !merged || core.hash(entry.obj()).reverse_bits() >= at {
                Self::if_live(entry, f);
            }
        };
        // SAFETY: the caller's contract.
        unsafe {
            if at == 0
                && let Some(entry) = self.null_entry()
            {
                f(entry);
            }
            for line in lines.iter() {
                Self::for_taken(line, &mut f);
            }
            self.attic.for_run(hash, lines.depth, usize::MAX, &mut f);
        }
        Self::after(at, &lines)
    }

    /// Calls `f` for each live entry in a few lines of that segment, from its `line` on;
    /// where to go on, or `None` after the last. One that is moved to another segment
    /// between two calls may be left out.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn for_lines_from(
        &self,
        at: u64,
        line: usize,
        f: &mut dyn FnMut(usize, NonNull<u8>),
    ) -> Option<usize> {
        let lines = self.lines(at.reverse_bits());
        for line in lines.iter().skip(line).take(SLICE_LINES) {
            // SAFETY: the caller's contract.
            unsafe { Self::for_taken(line, &mut |entry| Self::if_live(entry, f)) };
        }
        let next = line + SLICE_LINES;
        (next < lines.len()).then_some(next)
    }

    fn if_live(entry: Entry, f: &mut dyn FnMut(usize, NonNull<u8>)) {
        if entry.is_live() {
            f(entry.obj(), entry.data());
        }
    }

    /// Calls `f` for the entries in the lanes of a line.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    unsafe fn for_taken(line: Line<'_>, f: &mut dyn FnMut(Entry)) {
        // Acquire: as in `glimpse`.
        let taken = Head(line.head.load(Ordering::Acquire)).taken();
        for (_, slot) in taken.slots(line.slots) {
            // Acquire: as in `look`.
            let slot = slot.load(Ordering::Acquire);
            if is_entry(slot) {
                // SAFETY: reached from the body under the caller's guard.
                f(unsafe { Entry::of(slot) });
            }
        }
    }

    /// [`Link::reclaim`] of a body: waits out its users, then walks it.
    ///
    /// # Safety
    /// [`Link::reclaim`]'s contract.
    pub(super) unsafe fn reclaim(link: NonNull<Link>) -> Progress {
        let this = link.cast::<Self>().as_ptr();
        // SAFETY: the link is the body's first field, and the body is detached:
        // after the grace period only reservations may still use it.
        unsafe {
            if !(*this).busy.is_idle() {
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
            let core = (*this).core;
            let mut gone = Gone {
                core: core.as_ref(),
                entries: 0,
                bytes: 0,
            };
            let mut destroy = |entry: Entry| gone.destroy(entry, dtor);
            let (slot, line) = (*this).cursor.get();
            // Relaxed: alone, here and below.
            if slot <= (*this).mask.load(Ordering::Relaxed) {
                let tagged = (*this)
                    .slot(slot)
                    .map_or(core::ptr::null_mut(), |slot| slot.load(Ordering::Relaxed)); // alone
                let (segment, depth) = Self::untagged(tagged);
                let mut next = (slot + 1, 0);
                if slot >> depth != 0 {
                    // Null, or an alias of a slot before.
                } else if !segment.is_null() {
                    let end = LINES.min(line + SLICE_LINES);
                    let lines = |lines: Range<usize>| lines.map(|at| (*segment).lines.line(at));
                    // A slice is asked for before the one before it is destroyed, so
                    // that it comes meanwhile; the first of a segment, by itself.
                    let ahead = if line == 0 { line } else { end };
                    for line in lines(ahead..LINES.min(end + SLICE_LINES)) {
                        Self::for_taken(line, &mut |entry| prefetch(entry.as_ptr()));
                    }
                    for line in lines(line..end) {
                        Self::for_taken(line, &mut destroy);
                    }
                    if end < LINES {
                        next = (slot, end);
                    } else {
                        Segment::free(segment, &platform);
                    }
                } else if slot == 0 {
                    // The root: its entries were not inherited.
                    for line in Lines::of_root(&raw const (*this).control, &(*this).root).iter() {
                        Self::for_taken(line, &mut destroy);
                    }
                }
                (*this).cursor.set(next);
                return Progress::More;
            }
            if let Some(entry) = (*this).null_entry() {
                (*this).null.store(core::ptr::null_mut(), Ordering::Relaxed); // alone
                destroy(entry);
            }
            for _ in 0..SLICE {
                let Some(entry) = (*this).attic.pop() else {
                    (*this).attic.free_buckets(&platform);
                    (*this).free_pages(&platform);
                    free_block(this, &platform);
                    drop(gone);
                    core.as_ref().look_if_emptied();
                    Core::release(core);
                    return Progress::Done;
                };
                destroy(entry);
            }
        }
        Progress::More
    }
}
