//! Who stands where in the lines of a heir, while a [`segment`](super::segment) is
//! being replaced: a function of the frozen lines alone, so that all helpers agree.

use super::entry::{Entry, Header};
use super::line::{FREE, Head, LANES, Line, fingerprint, guest};
use super::segment::{GROUP, LINES};
use super::type_core::Core;
use crate::platform::Platform;
use crate::sync::Ordering;

/// A group of new lines.
pub(super) struct Seats {
    heads: [Head; GROUP],
    taken: [usize; GROUP],
    entries: [[*mut Header; LANES]; GROUP],
}

impl Seats {
    const EMPTY: Self = Self {
        heads: [Head::EMPTY; GROUP],
        taken: [0; GROUP],
        entries: [[core::ptr::null_mut(); LANES]; GROUP],
    };

    /// Seats the entries of frozen lines that `wanted` gives an heir and a line of the
    /// group, each in its own line while that has lanes, then the others as guests.
    ///
    /// # Safety
    /// The lines are frozen and protected.
    pub(super) unsafe fn of<'a, P: Platform>(
        from: impl Iterator<Item = Line<'a>>,
        core: &Core<P>,
        wanted: impl Fn(u64) -> Option<(usize, usize)>,
    ) -> [Self; 2] {
        let mut seats = [Self::EMPTY; 2];
        // Of the entries that found their line full: at most all lanes of a group.
        let mut guests = [(core::ptr::null_mut(), 0); LANES * GROUP];
        let mut standing = 0;
        for line in from {
            // Relaxed: frozen; `freeze` acquired it.
            for lane in Head(line.head.load(Ordering::Relaxed)).taken() {
                // Relaxed: the claim came before the commit that `freeze`
                // acquired, and a taken lane of a frozen head does not change.
                let entry = line.slots[lane].load(Ordering::Relaxed);
                // SAFETY: a taken lane's slot is an entry, and whoever removes it
                // must come through the heir first.
                let hash = core.hash(unsafe { Entry::of(entry) }.obj());
                if let Some((half, home)) = wanted(hash)
                    && !seats[half].seat(home, entry, hash)
                {
                    guests[standing] = (entry, hash);
                    standing += 1;
                }
            }
        }
        for &(entry, hash) in &guests[..standing] {
            let Some((half, home)) = wanted(hash) else {
                continue;
            };
            let seats = &mut seats[half];
            seats.heads[home] = seats.heads[home].with(guest(hash));
            // They came out of as many lanes as the group has.
            let seated = (1..GROUP).any(|other| seats.seat(home ^ other, entry, hash));
            debug_assert!(seated);
        }
        seats
    }

    fn seat(&mut self, line: usize, entry: *mut Header, hash: u64) -> bool {
        let lane = self.taken[line];
        if lane == LANES {
            return false;
        }
        self.heads[line] = self.heads[line].place(lane, fingerprint(hash));
        self.entries[line][lane] = entry;
        self.taken[line] += 1;
        true
    }

    /// Sets further bits of each line's head.
    pub(super) fn mark(&mut self, bits: impl Fn(usize) -> u64) {
        for (at, head) in self.heads.iter_mut().enumerate() {
            *head = head.with(bits(at));
        }
    }

    /// Fills the lines, or finds them filled; the lanes taken.
    pub(super) fn fill<'a>(&self, group: impl Fn(usize) -> Line<'a>) -> usize {
        const { assert!(LINES.is_multiple_of(GROUP)) };
        for at in 0..GROUP {
            let line = group(at);
            for (lane, slot) in line.slots.iter().enumerate() {
                let value = if lane < self.taken[at] {
                    self.entries[at][lane]
                } else {
                    FREE
                };
                // Relaxed, both ways: published by `advance`, or with the heir. A failure
                // means that another helper was here: then this one has read what that one
                // wrote, and whoever acquires from it reads no older value (coherence).
                // What the entry refers to was acquired by each helper when it froze.
                let _ = slot.compare_exchange(
                    core::ptr::null_mut(),
                    value,
                    Ordering::Relaxed,
                    Ordering::Relaxed, // the same value
                );
            }
            // Release: pairs with the acquiring loads of the head: without its `ATTIC` bit it
            // says that what was freed there is gone, which this helper may have learnt from
            // the attic alone. Relaxed on failure: as above, and those who read the head
            // acquire it from whoever wrote it.
            let _ = line.head.compare_exchange(
                0,
                self.heads[at].0,
                Ordering::Release,
                Ordering::Relaxed, // the same value
            );
        }
        self.taken.iter().sum()
    }
}
