//! A line: seven references and the head that governs them, one cache line.
//!
//! ```text
//!  head   63         52 51       50      49      48            0
//!        +-------------+--------+-------+-------+---------------+
//!        |   version   |EXTENDED| FROZEN| FILLED| 7 x 7 bits    |
//!        +-------------+--------+-------+-------+---------------+
//!  a lane's 7 bits: 0 when free, else 1 and the fingerprint's 6 bits
//! ```
//! * `FILLED`: the line is in use. A line of a new segment is zero until it is
//!   filled, its slots null; neither value comes back.
//! * `FROZEN`: the line is being replaced; its head and the slots of its taken
//!   lanes do not change any more.
//! * `EXTENDED`: the attic may have entries of this line.
//! * The version counts insertions.
//!
//! A slot is null (not filled), [`FREE`], or an entry's node. It is claimed by a
//! CAS from `FREE` before its lane is set in the head, and set to `FREE` again
//! after its lane is cleared; only who did the one does the other.

use super::list::Node;
use crate::sync::{AtomicPtr, AtomicU64};

/// References in a line.
pub(super) const LANES: usize = if cfg!(loom) { 2 } else { 7 };
const LANE_BITS: u32 = 7;
/// The lowest bit of each lane.
const LOW: u64 = {
    let (mut low, mut lane) = (0, 0);
    while lane < LANES {
        low |= 1 << (lane as u32 * LANE_BITS);
        lane += 1;
    }
    low
};
/// The "taken" bit of each lane.
const TAKEN: u64 = LOW << (LANE_BITS - 1);

const FILLED: u64 = 1 << 49;
const FROZEN: u64 = 1 << 50;
const EXTENDED: u64 = 1 << 51;
const VERSION_SHIFT: u32 = 52;
/// Insertions that a head can count. Few under the model checkers, so that
/// heads wear out in tiny tests.
const VERSIONS: u64 = if crate::TINY { 5 } else { (1 << 12) - 1 };

/// A slot's value when its lane can be claimed.
pub(super) const FREE: *mut Node = core::ptr::without_provenance_mut(1);

/// Whether a slot's value is an entry's node.
pub(super) fn is_entry(slot: *mut Node) -> bool {
    slot.addr() > FREE.addr()
}

#[repr(C, align(64))]
pub(super) struct Line {
    pub(super) head: AtomicU64,
    pub(super) slots: [AtomicPtr<Node>; LANES],
}

/// The value of a head.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(pub(super) u64);

/// What `fetch_or` freezes a head with.
pub(super) const FREEZE: u64 = FROZEN;

/// The taken 7 bits of an entry's lane, from its hash.
#[inline]
pub(super) fn fingerprint(hash: u64) -> u64 {
    (hash >> 40) & 0x3f | 0x40
}

impl Head {
    /// In use, all lanes free.
    pub(super) const EMPTY: Self = Self(FILLED);

    pub(super) fn is_frozen(self) -> bool {
        self.0 & FROZEN != 0
    }

    #[inline]
    pub(super) fn is_extended(self) -> bool {
        self.0 & EXTENDED != 0
    }

    /// No further insertion can be counted.
    pub(super) fn is_worn(self) -> bool {
        self.0 >> VERSION_SHIFT == VERSIONS
    }

    /// The lanes that may have this fingerprint: all that do, and rarely a lane
    /// above one that does. (Word arithmetic: the lowest zero lane of the XOR is
    /// found exactly, borrows blur those above it and the bits above the lanes,
    /// which are masked off.)
    #[inline]
    pub(super) fn matches(self, fingerprint: u64) -> Lanes {
        let x = self.0 ^ (fingerprint * LOW);
        Lanes(x.wrapping_sub(LOW) & !x & TAKEN)
    }

    /// The lanes in use.
    pub(super) fn taken(self) -> Lanes {
        Lanes(self.0 & TAKEN)
    }

    /// The lanes not in use.
    pub(super) fn free(self) -> Lanes {
        Lanes(!self.0 & TAKEN)
    }

    /// With one more lane taken; the version is left.
    pub(super) fn place(self, lane: usize, fingerprint: u64) -> Self {
        Self(self.0 | fingerprint << (lane as u32 * LANE_BITS))
    }

    /// With one insertion more counted; not of a worn head.
    pub(super) fn counted(self) -> Self {
        debug_assert!(!self.is_worn());
        Self(self.0 + (1 << VERSION_SHIFT))
    }

    pub(super) fn extended(self) -> Self {
        Self(self.0 | EXTENDED)
    }

    /// With a lane free again.
    pub(super) fn without(self, lane: usize) -> Self {
        Self(self.0 & !(((1 << LANE_BITS) - 1) << (lane as u32 * LANE_BITS)))
    }
}

/// Some lanes of a line, as their "taken" bits.
#[derive(Clone, Copy)]
pub(super) struct Lanes(u64);

impl Iterator for Lanes {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let lane = self.0.trailing_zeros() / LANE_BITS;
        self.0 &= self.0 - 1;
        Some(lane as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_head_finds_what_was_placed() {
        let mut head = Head::EMPTY;
        for lane in 0..LANES {
            assert_eq!(head.free().next(), Some(lane));
            head = head.place(lane, 0x40 + lane as u64 * 9).counted();
        }
        assert_eq!(head.free().next(), None);
        for lane in 0..LANES {
            let fp = 0x40 + lane as u64 * 9;
            assert_eq!(
                head.matches(fp).next(),
                Some(lane),
                "the lowest match is exact"
            );
            assert_eq!(head.without(lane).matches(fp).next(), None);
        }
        assert_eq!(head.matches(0x7f).next(), None);
        assert_eq!(
            Head::EMPTY.matches(0x40).next(),
            None,
            "a free lane matches nothing"
        );
    }

    #[test]
    fn versions_wear_out_and_leave_the_rest_alone() {
        let mut head = Head::EMPTY.place(3, 0x55).extended();
        for _ in 0..VERSIONS {
            assert!(!head.is_worn());
            head = head.counted();
        }
        assert!(head.is_worn() && head.is_extended() && !head.is_frozen());
        assert_eq!(head.taken().next(), Some(3));
        assert!(Head(head.0 | FREEZE).is_frozen());
    }
}
