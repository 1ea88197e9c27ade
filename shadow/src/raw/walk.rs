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

use core::ptr::NonNull;

use super::blocks::free_block;
use super::body::Body;
use super::entry::{Entry, LIVE, OwnedEntry};
use super::line::{Head, Line, is_entry};
use super::list;
use super::segment::{Lines, Segment};
use super::type_core::Core;
use crate::platform::{Link, Platform, Progress};
use crate::sync::Ordering;

/// Entries of the attic destroyed by one call of `reclaim`.
const SLICE: usize = if crate::TINY { 2 } else { 64 };

impl<P: Platform> Body<P> {
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
    pub(super) unsafe fn reclaim(link: NonNull<Link>) -> Progress {
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
