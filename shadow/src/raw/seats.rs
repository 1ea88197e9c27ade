//! Who stands where in the lines of a heir, while a [`segment`](super::segment) is
//! being replaced: a function of the frozen lines alone, so that all helpers agree.

use super::entry::{Entry, Header};
use super::line::{ATTIC, Block, Head, LANES, Line, fingerprint, guest};
use super::segment::{GROUP, LINES, Lines, ROOT_LINES, line_of};
use super::type_core::Core;
use crate::platform::Platform;
use crate::sync::Ordering;

/// The entries of some frozen lines, in the order of their lanes. They are looked at
/// before any of them is seated: what is waited for then comes together.
pub(super) struct Standing {
    entries: [(*mut Header, u64); Self::MOST],
    len: usize,
}

impl Standing {
    /// The lanes of a group of each of two segments, or of a root.
    const MOST: usize = LANES
        * if 2 * GROUP > ROOT_LINES {
            2 * GROUP
        } else {
            ROOT_LINES
        };

    pub(super) const fn none() -> Self {
        Self {
            entries: [(core::ptr::null_mut(), 0); Self::MOST],
            len: 0,
        }
    }

    /// Has the entries of these lines instead.
    ///
    /// # Safety
    /// The lines are a group, one of each of two segments, or a root, frozen and protected.
    pub(super) unsafe fn read<'a, P: Platform>(
        &mut self,
        lines: impl Iterator<Item = Line<'a>>,
        core: &Core<P>,
    ) {
        let mut places = self.entries.iter_mut();
        for line in lines {
            // Relaxed: frozen; `freeze` acquired it.
            let taken = Head(line.head.load(Ordering::Relaxed)).taken();
            for (_, slot) in taken.slots(line.slots) {
                // Relaxed: the claim came before the commit that `freeze`
                // acquired, and a taken lane of a frozen head does not change.
                let entry = slot.load(Ordering::Relaxed);
                // SAFETY: a taken lane's slot is an entry, and whoever removes it
                // must come through the heir first.
                let hash = core.hash(unsafe { Entry::of(entry) }.obj());
                let place = places.next();
                debug_assert!(place.is_some(), "one for each lane");
                if let Some(place) = place {
                    *place = (entry, hash);
                }
            }
        }
        self.len = Self::MOST - places.len();
    }
}

/// A group of lines in each of the heirs.
pub(super) struct Seats<'a> {
    heirs: [&'a Block<LINES>; 2],
    first: usize,
    /// What is to become of the lines' heads, and how many lanes are taken: the group of
    /// the first heir, then that of the second.
    heads: [Head; 2 * GROUP],
    taken: [usize; 2 * GROUP],
}

impl<'a> Seats<'a> {
    /// The groups that begin at line `first`.
    pub(super) fn new(heirs: [&'a Block<LINES>; 2], first: usize) -> Self {
        const { assert!(LINES.is_multiple_of(GROUP)) };
        debug_assert!(first + GROUP <= LINES);
        Self {
            heirs,
            first,
            heads: [Head::EMPTY; 2 * GROUP],
            taken: [0; 2 * GROUP],
        }
    }

    /// Seats the entries that `wanted` gives an heir and a line of the group, each in its
    /// own line while that has lanes, then the others as guests. `standing` is used up.
    pub(super) fn seat_all(
        &mut self,
        standing: &mut Standing,
        wanted: impl Fn(u64) -> Option<(usize, usize)>,
    ) {
        let mut guests = 0;
        for at in 0..standing.len {
            let (entry, hash) = standing.entries[at];
            if let Some((half, home)) = wanted(hash)
                && !self.seat(half, home, entry, hash)
            {
                // Before what is read next, at the latest in its place.
                standing.entries[guests] = (entry, hash);
                guests += 1;
            }
        }
        for &(entry, hash) in &standing.entries[..guests] {
            let Some((half, home)) = wanted(hash) else {
                continue;
            };
            let head = &mut self.heads[half * GROUP + home];
            *head = head.with(guest(hash));
            // They came out of as many lanes as the group has.
            let seated = (1..GROUP).any(|other| self.seat(half, home ^ other, entry, hash));
            debug_assert!(seated);
        }
    }

    /// Takes the next lane of a line, or finds that another helper did; false when it has
    /// no more.
    #[inline(always)]
    fn seat(&mut self, half: usize, at: usize, entry: *mut Header, hash: u64) -> bool {
        let seat = half * GROUP + at;
        let lane = self.taken[seat];
        if lane == LANES {
            return false;
        }
        self.taken[seat] = lane + 1;
        self.heads[seat] = self.heads[seat].place(lane, fingerprint(hash));
        // Relaxed, both ways: published by `advance`, or with the heir. A failure
        // means that another helper was here: then this one has read what that one
        // wrote, and whoever acquires from it reads no older value (coherence).
        // What the entry refers to was acquired by each helper when it froze.
        let _ = self.line(half, at).slots[lane].compare_exchange(
            core::ptr::null_mut(),
            entry,
            Ordering::Relaxed,
            Ordering::Relaxed, // the same value, or what has come after it
        );
        true
    }

    fn line(&self, half: usize, at: usize) -> Line<'a> {
        // SAFETY: a group is within the lines.
        unsafe { self.heirs[half].line(self.first + at) }
    }

    /// Sets the heads of an heir's group, with further `bits` for each line, or finds them
    /// set: the lines are filled. The lanes taken.
    pub(super) fn fill(&self, half: usize, bits: impl Fn(usize) -> u64) -> usize {
        let mut total = 0;
        for at in 0..GROUP {
            let seat = half * GROUP + at;
            // Release: pairs with the acquiring loads of the head: without its `ATTIC` bit it
            // says that what was freed there is gone, which this helper may have learnt from
            // the attic alone. Relaxed on failure: another helper was here, and those who read
            // the head acquire it from whoever wrote it.
            let _ = self.line(half, at).head.compare_exchange(
                0,
                self.heads[seat].with(bits(self.first + at)).0,
                Ordering::Release,
                Ordering::Relaxed, // another helper's, or what has come after it
            );
            total += self.taken[seat];
        }
        total
    }
}

/// Which of the heirs' lines the attic has entries for.
pub(super) struct Present([[bool; LINES]; 2]);

impl Present {
    pub(super) fn none() -> Self {
        Self([[false; LINES]; 2])
    }

    pub(super) fn note(&mut self, hash: u64, depth: u32, split: bool) {
        let half = if split {
            (hash >> depth & 1) as usize
        } else {
            0
        };
        self.0[half][line_of(hash)] = true;
    }

    /// Whatever the frozen lines say: an heir's line has entries of one line only, or of one
    /// of each of two segments.
    pub(super) fn inherit<P: Platform>(&mut self, from: &Lines<P>) {
        for at in 0..LINES {
            if from.has_attic_at(at) {
                self.0.iter_mut().for_each(|half| half[at] = true);
            }
        }
    }

    pub(super) fn bit(&self, half: usize, at: usize) -> u64 {
        if self.0[half][at] { ATTIC } else { 0 }
    }
}
