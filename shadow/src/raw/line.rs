//! A line: seven references and the head that governs them.
//!
//! The heads of a segment stand together, apart from the references: a lookup that
//! finds nothing reads its head only, and eight of them share a cache line.
//!
//! ```text
//!  head, by bytes   63    62   61..58  57..56      55      54..48      7      6..0
//!                  +------+-----+------+-------+ +-------+--------+   +-------+--------+
//!                  |FROZEN|ATTIC|GUESTS|version| |version| lane 6 |...|version| lane 0 |
//!                  +------+-----+------+-------+ +-------+--------+   +-------+--------+
//!  a lane: 0 when free, else the complement of the fingerprint's 7 bits
//! ```
//! * `FROZEN`: the line is being replaced; its head and the slots of its taken
//!   lanes do not change any more.
//! * `GUESTS`: entries of this line may stand in the other lines of its group: one
//!   bit for each value of two bits of the hash. `ATTIC`: or in the attic.
//! * The version counts insertions, in nine bits that stand apart, so that a lane
//!   has a byte: a match is found and its slot addressed without a division. A
//!   line in use has a version above 0; a line of a new segment is zero until it
//!   is filled; that does not come back.
//!
//! A slot is null (nobody has had it), an entry, or [`FREE`] (somebody has). It is claimed
//! by a CAS before its lane is set in the head, and set to `FREE` after its lane is
//! cleared; only who did the one does the other. So null does not come back, and whoever
//! acquires a head sees an entry or `FREE` in the slots of the lanes that it has taken.

use super::blocks::{fill, null};
use super::entry::Header;
use super::segment::LINES;
use crate::sync::{AtomicPtr, AtomicU64};

/// References in a line.
pub(super) const LANES: usize = if cfg!(any(loom, umbra_shuttle)) { 2 } else { 7 };
/// `byte` in each lane.
const fn lanes(byte: u64) -> u64 {
    let (mut all, mut lane) = (0, 0);
    while lane < LANES {
        all |= byte << (lane * 8);
        lane += 1;
    }
    all
}
/// A fingerprint's bits in a lane.
const PRINT: u64 = 0x7f;

const FROZEN: u64 = 1 << 63;
/// The attic may have entries of this line.
pub(super) const ATTIC: u64 = 1 << 62;
const GUESTS_SHIFT: u32 = 58;
const EXTENDED: u64 = 0xf << GUESTS_SHIFT | ATTIC;
/// The version's bits: the top bit of each lane's byte, then two more.
const VERSION: u64 = 0x0380_8080_8080_8080;

/// A version as it stands in a head.
const fn version(n: u64) -> u64 {
    let (mut bits, mut left, mut at) = (0, n, 0);
    while at < 64 {
        if VERSION >> at & 1 != 0 {
            bits |= (left & 1) << at;
            left >>= 1;
        }
        at += 1;
    }
    bits
}
/// The last version. Near the first under the model checkers, so that heads wear
/// out in tiny tests.
const WORN: u64 = version(if crate::TINY { 6 } else { (1 << 9) - 1 });

/// A slot's value when an entry has left it: nobody's entry, so that a lookup need not
/// tell it from one. (The model checkers' atomics cannot stand in a static.)
#[cfg(not(any(loom, umbra_shuttle)))]
pub(super) const FREE: *mut Header = {
    static VACANT: Header = Header::vacant();
    (&raw const VACANT).cast_mut()
};
#[cfg(any(loom, umbra_shuttle))]
pub(super) const FREE: *mut Header = core::ptr::without_provenance_mut(1);

/// Whether a slot's value is an entry.
#[inline]
pub(super) fn is_entry(slot: *mut Header) -> bool {
    !slot.is_null() && slot != FREE
}

/// The references of a line.
pub(super) type Slots = [AtomicPtr<Header>; LANES];

/// A line of a block.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) head: &'a AtomicU64,
    pub(super) slots: &'a Slots,
}

/// So many lines. (Slots are not aligned to cache lines: one of them is never in two,
/// and more than one is seldom read.)
#[repr(C)]
pub(super) struct Block<const N: usize> {
    pub(super) slots: [Slots; N],
    pub(super) heads: [AtomicU64; N],
}

impl<const N: usize> Block<N> {
    /// Writes all lines in place, their heads to be filled (zero) or in use.
    ///
    /// # Safety
    /// `this` is valid for writes and nobody else's.
    pub(super) unsafe fn init(this: *mut Self, head: u64) {
        // SAFETY: the caller's contract.
        unsafe {
            fill(&raw mut (*this).heads, || AtomicU64::new(head));
            for i in 0..N {
                fill(&raw mut (*this).slots[i], null);
            }
        }
    }

    /// # Safety
    /// `at` is below `N`.
    #[inline(always)]
    pub(super) unsafe fn line(&self, at: usize) -> Line<'_> {
        // SAFETY: the caller's contract.
        unsafe {
            Line {
                head: self.heads.get_unchecked(at),
                slots: self.slots.get_unchecked(at),
            }
        }
    }
}

/// The value of a head.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(pub(super) u64);

/// What `fetch_or` freezes a head with.
pub(super) const FREEZE: u64 = FROZEN;

/// Fingerprints that there are: at most 127. (A processor multiplies by this number in
/// one instruction, and by 127 in three.)
const PRINTS: u64 = 125;

/// What tells an entry from others of its line, below [`PRINTS`]; its lane has the
/// complement, which is not 0. (Where the hash lies between the line's first and the next one's: so
/// it comes from bits below those that choose the line. The low half of the hash has
/// folded copies of what decides the segment; these are above the deepest of them.)
#[inline(always)]
pub(super) fn fingerprint(hash: u64) -> u64 {
    let between = ((hash >> 32) * LINES as u64) as u32;
    (u64::from(between) * PRINTS) >> 32
}

/// The constants of a search, in memory next to what it reads anyway: an instruction that
/// takes one from there is one, and loading one of 64 bits is another.
#[derive(Clone, Copy)]
pub(super) struct Search {
    /// One in each lane, to multiply by.
    ones: u64,
    /// A fingerprint's bits.
    prints: u64,
    /// One in each lane, to add: used once each, neither needs a register.
    plus: u64,
    tops: u64,
}

impl Search {
    pub(super) const NEW: Self = Self {
        ones: lanes(1),
        prints: lanes(PRINT),
        plus: lanes(1),
        tops: lanes(0x80),
    };
}

/// The bit of `GUESTS` that an entry of this hash sets.
#[inline]
pub(super) fn guest(hash: u64) -> u64 {
    1 << (GUESTS_SHIFT + (hash >> 24 & 3) as u32)
}

impl Head {
    /// In use, all lanes free.
    pub(super) const EMPTY: Self = Self(version(1));

    #[inline]
    pub(super) fn is_frozen(self) -> bool {
        self.0 & FROZEN != 0
    }

    /// The attic may have entries of this line.
    #[inline]
    pub(super) fn has_attic(self) -> bool {
        self.0 & ATTIC != 0
    }

    /// An entry of this hash may stand elsewhere in the group.
    #[inline]
    pub(super) fn may_have_guest(self, hash: u64) -> bool {
        self.0 & guest(hash) != 0
    }

    /// Entries of this line may stand outside of it.
    #[inline]
    pub(super) fn is_extended(self) -> bool {
        self.0 & EXTENDED != 0
    }

    /// No further insertion can be counted.
    #[inline]
    pub(super) fn is_worn(self) -> bool {
        self.0 & VERSION == WORN
    }

    /// The lanes that have this fingerprint, and no others. (Word arithmetic: the seven
    /// bits are all ones where lane and complement agree, and only then does adding one
    /// set the bit above.)
    #[inline(always)]
    pub(super) fn matches(self, fingerprint: u64, by: &Search) -> Lanes {
        let agree = (self.0 ^ (fingerprint * by.ones)) & by.prints;
        Lanes(agree.wrapping_add(by.plus) & by.tops)
    }

    /// The lanes in use.
    #[inline]
    pub(super) fn taken(self) -> Lanes {
        Lanes(((self.0 & lanes(PRINT)) + lanes(PRINT)) & lanes(0x80))
    }

    /// The lanes not in use.
    #[inline]
    pub(super) fn free(self) -> Lanes {
        Lanes(self.taken().0 ^ lanes(0x80))
    }

    /// With one more lane taken; the version is left.
    #[inline]
    pub(super) fn place(self, lane: usize, fingerprint: u64) -> Self {
        Self(self.0 | (fingerprint ^ PRINT) << (lane * 8))
    }

    /// With one insertion more counted; not of a worn head. (The bits between
    /// those of the version are set for the addition, so that it carries over.)
    #[inline]
    pub(super) fn counted(self) -> Self {
        debug_assert!(!self.is_worn());
        let sum = (self.0 | !VERSION).wrapping_add(version(1));
        Self(sum & VERSION | self.0 & !VERSION)
    }

    /// With a bit of [`guest`], or [`ATTIC`].
    #[inline]
    pub(super) fn with(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }

    /// With a lane free again.
    #[inline]
    pub(super) fn without(self, lane: usize) -> Self {
        Self(self.0 & !(PRINT << (lane * 8)))
    }
}

/// Some lanes of a line, as one bit in the byte of each.
#[derive(Clone, Copy)]
pub(super) struct Lanes(u64);

impl Iterator for Lanes {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let lane = self.0.trailing_zeros() / 8;
        self.0 &= self.0 - 1;
        Some(lane as usize)
    }
}

impl Lanes {
    /// The slot of the first.
    #[inline(always)]
    pub(super) fn first(self, slots: &Slots) -> Option<&AtomicPtr<Header>> {
        if self.0 == 0 {
            return None;
        }
        // Eight times the lane: where a slot has eight bytes, its place as it is.
        let bit = self.0.trailing_zeros() as usize - 7;
        const SIZE: usize = size_of::<AtomicPtr<Header>>();
        let at = if SIZE == 8 { bit } else { bit / 8 * SIZE };
        // SAFETY: a lane of a head is below LANES.
        Some(unsafe { &*slots.as_ptr().byte_add(at) })
    }

    /// Each with its slot.
    #[inline(always)]
    pub(super) fn slots(
        mut self,
        slots: &Slots,
    ) -> impl Iterator<Item = (usize, &AtomicPtr<Header>)> {
        core::iter::from_fn(move || {
            let slot = self.first(slots)?;
            Some((self.next()?, slot))
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn a_head_finds_what_was_placed() {
        let mut head = Head::EMPTY;
        for lane in 0..LANES {
            assert_eq!(head.free().next(), Some(lane));
            head = head.place(lane, lane as u64 * 9);
        }
        assert_eq!(head.free().next(), None);
        for lane in 0..LANES {
            let fp = lane as u64 * 9;
            let mut found = head.matches(fp, &Search::NEW);
            let slots: Slots = core::array::from_fn(|_| AtomicPtr::new(core::ptr::null_mut()));
            let slot = found.first(&slots).map(core::ptr::from_ref);
            assert_eq!(slot, Some(&raw const slots[lane]));
            assert_eq!(found.next(), Some(lane));
            assert_eq!(found.next(), None, "the match is exact");
            let without = head.without(lane).matches(fp, &Search::NEW);
            assert!(without.first(&slots).is_none());
        }
        for fp in 0..PRINTS {
            let mut lanes = Head::EMPTY.matches(fp, &Search::NEW);
            assert_eq!(lanes.next(), None, "a free lane matches nothing");
            let mut lanes = head.matches(fp, &Search::NEW);
            assert_eq!(lanes.next().is_some(), fp % 9 == 0 && fp / 9 < LANES as u64);
        }
    }

    #[test]
    fn fingerprints_are_even_and_none_is_the_complement_of_0() {
        let mut seen = [0u32; PRINTS as usize];
        for n in 0..1 << 16 {
            seen[fingerprint(n << 48) as usize] += 1;
        }
        let mean = (1 << 16) / PRINTS as u32;
        assert!(
            seen.iter().all(|&n| n.abs_diff(mean) <= mean / 10),
            "{seen:?}"
        );
        assert!(fingerprint(u64::MAX) < PRINTS);
    }

    #[test]
    fn versions_wear_out_and_leave_the_rest_alone() {
        let hash = 2 << 24;
        let first = Head::EMPTY.place(3, 0x2a).with(guest(hash));
        let (mut head, mut seen) = (first, std::collections::HashSet::new());
        while !head.is_worn() {
            assert!(seen.insert(head.0), "a version comes once");
            head = head.counted();
            assert_eq!(head.0 & !VERSION, first.0 & !VERSION);
        }
        assert_eq!(seen.len(), if crate::TINY { 5 } else { 510 });
        assert!(head.may_have_guest(hash) && !head.may_have_guest(hash + (1 << 24)));
        assert_eq!(head.taken().next(), Some(3));
        assert!(!head.is_frozen() && Head(head.0 | FREEZE).is_frozen());
    }
}
