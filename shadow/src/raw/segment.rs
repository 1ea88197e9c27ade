//! A segment: 252 lines and what is known of them, 16 KiB.
//!
//! Lines stand in groups of four. An entry whose line is full is a *guest* in the
//! next line of its group that has a lane; only then does the attic come in.
//!
//! # Being replaced
//! ```text
//!  heirs agreed on -> lines frozen -> heirs' lines filled -> directory -> retired
//!  (two: a split;     (by helpers, in any order and number)    (body)
//!   one: a renewal)
//! ```
//! (Two segments that have one heir: [`merge`](super::merge).)
//!
//! This goes in steps, so that no guard is held for all of it: `done` says how many
//! are; the first freezes, each of the others fills the lines of a few groups, and the
//! last publishes. All helpers compute the same lanes for an heir's lines, for they look
//! at frozen lines only. Whether a line has its `ATTIC` bit is decided by whoever fills its
//! head: the attic can only have lost entries of the frozen line since, never
//! gained any.

use core::alloc::Layout;
use core::ops::Range;
use core::ptr::NonNull;

use super::blocks::{free_block, null};
use super::line::{Block, FREEZE, Head, Line, Slots};
use super::merge::Merge;
use super::seats::{Present, Seats, Standing};
use super::type_core::Core;
use crate::platform::{AllocFlags, Link, Platform, Progress};
use crate::sync::{self, AtomicPtr, AtomicU64, AtomicUsize, Cell, Ordering};

/// Lines of a segment; with the control, 16 KiB. Few under the checkers, and under loom
/// one group, for it explores each step of each.
pub(super) const LINES: usize = match (cfg!(loom), crate::TINY) {
    (true, _) => 2,
    (false, true) => 8,
    (false, false) => 252,
};
/// Lines of a group.
pub(super) const GROUP: usize = if crate::TINY { 2 } else { 4 };
/// log2 of a segment's lines that one line of the root stands for.
const ROOT_SHIFT: u32 = if crate::TINY { 1 } else { 6 };
/// Lines that a body has before its first segment.
pub(super) const ROOT_LINES: usize = ((LINES - 1) >> ROOT_SHIFT) + 1;

/// What is known of a number of lines, in a line of its own.
#[repr(C, align(64))]
pub(super) struct Control<P: Platform> {
    link: Link,
    core: NonNull<Core<P>>,
    /// What replaces it: null, or the first heir, its address plus [`RENEWAL`]
    /// if it is the only one, or a [`Merge`]'s plus [`MERGE`].
    heir: AtomicPtr<Segment<P>>,
    second: AtomicPtr<Segment<P>>,
    /// Taken lanes plus [`COUNT_ZERO`].
    count: AtomicUsize,
    /// Steps of its replacement that are done.
    done: AtomicUsize,
    /// Slots of the directory below `1 << reach` may have it; set before it is agreed on.
    reach: Cell<u32>,
}

/// No taken lane. Far from 0, for a removal may be counted before the insertion
/// that it removes.
const COUNT_ZERO: usize = 1 << 31;

/// In `heir`: there is no second.
const RENEWAL: usize = 1;
/// In `heir`: it is a [`Merge`].
const MERGE: usize = 2;

/// Groups that one step fills.
const STEP: usize = if crate::TINY { 1 } else { 4 };
/// The last step: all of the groups are filled.
pub(super) const LAST: usize = (LINES / GROUP).div_ceil(STEP);

/// The slots come first, so that a lookup adds nothing to their address.
#[repr(C)]
pub(super) struct Segment<P: Platform> {
    pub(super) lines: Block<LINES>,
    pub(super) control: Control<P>,
}

/// The lines and the control of a segment, or of the root of a body.
pub(super) struct Lines<P: Platform> {
    control: *const Control<P>,
    heads: *const AtomicU64,
    slots: *const Slots,
    len: usize,
    /// Low bits of the hash that all of its entries share.
    pub(super) depth: u32,
}

impl<P: Platform> Clone for Lines<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P: Platform> Copy for Lines<P> {}

/// What becomes of lines that are being replaced.
pub(super) enum Fate<P: Platform> {
    Heirs(Heirs<P>),
    Merge(NonNull<Merge<P>>),
}

/// Who inherits.
pub(super) struct Heirs<P: Platform> {
    pub(super) first: *mut Segment<P>,
    /// Null for a renewal.
    pub(super) second: *mut Segment<P>,
}

/// The line of a segment that a hash belongs to: its top bits, scaled.
#[inline]
pub(super) fn line_of(hash: u64) -> usize {
    (((hash >> 32) * LINES as u64) >> 32) as usize
}

impl<P: Platform> Control<P> {
    /// The merge that a value of `heir` is.
    fn merge(heir: *mut Segment<P>) -> Option<NonNull<Merge<P>>> {
        let merge = heir.map_addr(|a| a & !MERGE).cast();
        NonNull::new(merge).filter(|_| heir.addr() & MERGE != 0)
    }

    /// # Safety
    /// `this` is valid for writes and nobody else's.
    pub(super) unsafe fn init(this: *mut Self, core: NonNull<Core<P>>) {
        // SAFETY: the caller's contract.
        unsafe {
            this.write(Self {
                link: Link::new(Segment::<P>::reclaim),
                core,
                heir: null(),
                second: null(),
                count: AtomicUsize::new(COUNT_ZERO),
                done: AtomicUsize::new(0),
                reach: Cell::new(0),
            });
        }
    }
}

impl<P: Platform> Segment<P> {
    /// A segment whose lines are yet to be filled.
    ///
    /// # Safety
    /// The core is alive.
    pub(super) unsafe fn new(core: NonNull<Core<P>>, flags: AllocFlags) -> Option<*mut Self> {
        const { assert!(size_of::<Self>() <= 16 << 10) };
        // SAFETY: the caller's contract.
        let platform = unsafe { core.as_ref() }.platform();
        let this = platform
            .alloc_zeroed(Layout::new::<Self>(), flags)?
            .cast::<Self>()
            .as_ptr();
        // SAFETY: fresh memory of this layout. (Under a model checker an atomic is more than
        // its zero bytes; elsewhere this writes zeros over zeros.)
        unsafe {
            Control::init(&raw mut (*this).control, core);
            if sync::FAT {
                Block::init(&raw mut (*this).lines, 0);
            }
        }
        Some(this)
    }

    /// The segment that a control is part of.
    ///
    /// # Safety
    /// It is a segment's, and the pointer has the provenance of all of it.
    unsafe fn of_control(control: *mut Control<P>) -> *mut Self {
        // SAFETY: the caller's contract.
        unsafe {
            control
                .byte_sub(core::mem::offset_of!(Self, control))
                .cast()
        }
    }

    /// The line of a hash.
    #[inline(always)]
    pub(super) fn line(&self, hash: u64) -> Line<'_> {
        // SAFETY: `line_of` is below LINES.
        unsafe { self.lines.line(line_of(hash)) }
    }

    /// Gives back a segment that nobody else can reach; not its entries.
    ///
    /// # Safety
    /// So it is.
    pub(super) unsafe fn free(this: *mut Self, platform: &P) {
        // SAFETY: the caller's contract: a merge that it is in is protected by it.
        unsafe {
            // Relaxed: alone.
            let heir = (*this).control.heir.load(Ordering::Relaxed);
            if let Some(merge) = Control::merge(heir) {
                Merge::release(merge, platform);
            }
            free_block(this, platform);
        }
    }

    /// Lets slots below `1 << reach` have a segment that nobody else has seen.
    ///
    /// # Safety
    /// So it is.
    pub(super) unsafe fn reach(this: *mut Self, reach: u32) {
        // SAFETY: the caller's contract.
        unsafe { (*this).control.reach.set(reach) };
    }

    /// Joins a segment to a merge, unless something else is to become of it; whether it
    /// is part of it now.
    ///
    /// # Safety
    /// The segment is protected; the caller has a count of the merge's owners for it,
    /// which it gives up if the answer is `Ok(true)`: it was the one to join it.
    pub(super) unsafe fn join(this: *mut Self, merge: NonNull<Merge<P>>) -> Result<bool, ()> {
        let tagged = merge.as_ptr().cast::<Self>().map_addr(|a| a | MERGE);
        // SAFETY: the caller's contract. Release: pairs with the acquire in `fate`: what
        // the merge says is visible. Relaxed on failure: only compared.
        let joined = unsafe { &(*this).control.heir }.compare_exchange(
            core::ptr::null_mut(),
            tagged,
            Ordering::Release,
            Ordering::Relaxed, // only compared
        );
        match joined {
            Ok(_) => Ok(true),
            Err(other) if other == tagged => Ok(false),
            Err(_) => Err(()),
        }
    }

    /// Hands a replaced segment to the grace period.
    ///
    /// # Safety
    /// The caller took it out of the directory.
    pub(super) unsafe fn retire(this: *const Self, platform: &P) {
        // SAFETY: the core outlives the guard under which the segment was found,
        // and from here on the ownership taken.
        unsafe {
            (*this).control.core.as_ref().hold();
            let link = &raw const (*this).control.link;
            platform.retire(NonNull::new_unchecked(link.cast_mut()));
        }
    }

    /// # Safety
    /// [`Link::reclaim`]'s contract.
    unsafe fn reclaim(link: NonNull<Link>) -> Progress {
        // SAFETY: the link is the first field of the control, and came with the
        // provenance of all of the segment; its references were inherited.
        unsafe {
            let this = Self::of_control(link.as_ptr().cast());
            let core = (*this).control.core;
            Self::free(this, core.as_ref().platform());
            Core::release(core);
        }
        Progress::Done
    }
}

impl<P: Platform> Lines<P> {
    /// # Safety
    /// `segment` is protected while the result is used.
    #[inline]
    pub(super) unsafe fn of_segment(segment: *mut Segment<P>, depth: u32) -> Self {
        // SAFETY: the caller's contract.
        unsafe {
            Self {
                control: &raw const (*segment).control,
                heads: (&raw const (*segment).lines.heads).cast(),
                slots: (&raw const (*segment).lines.slots).cast(),
                len: LINES,
                depth,
            }
        }
    }

    pub(super) fn of_root(control: *const Control<P>, lines: &Block<ROOT_LINES>) -> Self {
        Self {
            control,
            heads: lines.heads.as_ptr(),
            slots: lines.slots.as_ptr(),
            len: ROOT_LINES,
            depth: 0,
        }
    }

    pub(super) fn is_root(&self) -> bool {
        self.len != LINES
    }

    /// The segment's address, as the directory has it (null for the root).
    pub(super) fn segment(&self) -> *mut Segment<P> {
        if self.is_root() {
            core::ptr::null_mut()
        } else {
            // SAFETY: not the root's, and made by `of_segment`.
            unsafe { Segment::of_control(self.control.cast_mut()) }
        }
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn at(&self, at: usize) -> Line<'_> {
        debug_assert!(at < self.len);
        // SAFETY: made of arrays of this length, which are protected.
        unsafe {
            Line {
                head: &*self.heads.add(at),
                slots: &*self.slots.add(at),
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        (0..self.len).map(|at| self.at(at))
    }

    /// Where a hash's line is.
    fn index(&self, hash: u64) -> usize {
        line_of(hash) >> self.shift()
    }

    fn control(&self) -> &Control<P> {
        // SAFETY: protected by `of_segment`'s or the body's contract.
        unsafe { &*self.control }
    }

    /// log2 of a segment's lines that one of these stands for.
    fn shift(&self) -> u32 {
        if self.is_root() { ROOT_SHIFT } else { 0 }
    }

    /// The line of a hash.
    #[inline]
    pub(super) fn line(&self, hash: u64) -> Line<'_> {
        self.at(self.index(hash))
    }

    /// The other lines of the group of a hash's line, nearest first.
    pub(super) fn others(&self, hash: u64) -> impl Iterator<Item = Line<'_>> {
        let at = self.index(hash);
        // Groups are aligned, and the lines a multiple of them, save for a root of
        // one line, which has no others.
        (1..GROUP.min(self.len)).map(move |other| self.at(at ^ other))
    }

    /// Taken lanes, about.
    pub(super) fn count(&self) -> usize {
        // Relaxed: a hint and a statistic.
        self.control()
            .count
            .load(Ordering::Relaxed)
            .saturating_sub(COUNT_ZERO)
    }

    /// One more; how many there are then, about.
    pub(super) fn count_up(&self) -> usize {
        // Relaxed: as above.
        let before = self.control().count.fetch_add(1, Ordering::Relaxed);
        (before + 1).saturating_sub(COUNT_ZERO)
    }

    pub(super) fn count_down(&self) {
        // Relaxed: as above.
        self.control().count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Proposes heirs, for a split or a renewal; those not taken are left in the
    /// proposal. (A proposer of a renewal may find that a split was agreed on:
    /// it should have a second heir to offer, or must leave it to others.)
    pub(super) fn propose(&self, heirs: &mut Heirs<P>, split: bool) {
        let control = self.control();
        let kind = if split { 0 } else { RENEWAL };
        for (heir, split) in [(heirs.first, split), (heirs.second, true)] {
            if !heir.is_null() {
                // SAFETY: the proposer's own, so far.
                unsafe { Segment::reach(heir, self.reach().max(self.depth + u32::from(split))) };
            }
        }
        // Release: pairs with `fate`: the heirs' initial contents are visible to every
        // helper. Relaxed on failure: one bit of the other's is looked at.
        let first = control.heir.compare_exchange(
            core::ptr::null_mut(),
            heirs.first.map_addr(|a| a | kind),
            Ordering::Release,
            Ordering::Relaxed, // one bit of it is looked at
        );
        let agreed = match first {
            Ok(_) => {
                core::mem::replace(&mut heirs.first, core::ptr::null_mut()).map_addr(|a| a | kind)
            }
            Err(other) => other,
        };
        if agreed.addr() & (RENEWAL | MERGE) == 0 && !heirs.second.is_null() {
            // Release, Relaxed: as above.
            let second = control.second.compare_exchange(
                core::ptr::null_mut(),
                heirs.second,
                Ordering::Release,
                Ordering::Relaxed, // nothing of it is looked at
            );
            if second.is_ok() {
                heirs.second = core::ptr::null_mut();
            }
        }
    }

    /// What becomes of them, once that is agreed on: of a split, once both heirs are.
    pub(super) fn fate(&self) -> Option<Fate<P>> {
        // Acquire, twice: pairs with `propose`, and with `join`.
        let heir = self.control().heir.load(Ordering::Acquire);
        if heir.is_null() {
            return None;
        }
        if let Some(merge) = Control::merge(heir) {
            return Some(Fate::Merge(merge));
        }
        let first = heir.map_addr(|a| a & !RENEWAL);
        let mut second = core::ptr::null_mut();
        if heir.addr() & RENEWAL == 0 {
            second = self.control().second.load(Ordering::Acquire); // pairs with `propose`
            if second.is_null() {
                return None;
            }
        }
        Some(Fate::Heirs(Heirs { first, second }))
    }

    /// Slots of the directory below two to the power of this may have them.
    pub(super) fn reach(&self) -> u32 {
        self.control().reach.get()
    }

    /// Steps of the replacement that are done.
    pub(super) fn done(&self) -> usize {
        // Acquire: pairs with the release in `advance`: the lines are frozen, and
        // those of the steps before are filled. (Until it is published, a helper does
        // the last one again.)
        self.control().done.load(Ordering::Acquire).min(LAST)
    }

    /// One step more is done; true for the first to say so.
    pub(super) fn advance(&self, done: usize) -> bool {
        // Release: pairs with the acquire in `done`. Relaxed on failure: another
        // helper was faster, and `done` is read anew.
        self.control()
            .done
            .compare_exchange(done, done + 1, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether step `done` is the one that publishes.
    pub(super) fn is_last(done: usize) -> bool {
        done == LAST
    }

    /// Freezes every line.
    pub(super) fn freeze(&self) {
        for line in self.iter() {
            // AcqRel: pairs with the commits of the line's head: their slots (and
            // what they put into the attic) are visible from here on, and every
            // later attempt to change the head sees it frozen.
            line.head.fetch_or(FREEZE, Ordering::AcqRel);
        }
    }

    /// The first lines of the groups that step `done` fills.
    pub(super) fn groups(done: usize) -> impl Iterator<Item = usize> {
        let from = (done - 1) * STEP;
        (from..(from + STEP).min(LINES / GROUP)).map(|group| group * GROUP)
    }

    /// The lines that have entries for the group at `first`: all of a root's may.
    fn sources(&self, first: usize) -> Range<usize> {
        if self.is_root() {
            0..self.len
        } else {
            first..first + GROUP
        }
    }

    /// Whether the attic may have entries of the lines that step `done` fills.
    pub(super) fn may_have_attic(&self, done: usize) -> bool {
        Self::groups(done).any(|first| {
            self.sources(first).any(|at| {
                // Relaxed: frozen; `freeze` acquired it.
                Head(self.at(at).head.load(Ordering::Relaxed)).has_attic()
            })
        })
    }

    /// Whether the attic may have entries of a segment's line `at`; of frozen lines.
    pub(super) fn has_attic_at(&self, at: usize) -> bool {
        // Relaxed: frozen; `freeze` acquired it.
        Head(self.at(at >> self.shift()).head.load(Ordering::Relaxed)).has_attic()
    }

    /// Fills the heirs' lines of step `done` from the frozen ones, for which the attic has
    /// what is said (or nothing); the lanes taken in each heir.
    ///
    /// # Safety
    /// The lines are frozen, the heirs are theirs; the caller holds the guard
    /// under which it found them.
    pub(super) unsafe fn bequeath(
        &self,
        heirs: &Heirs<P>,
        core: &Core<P>,
        attic: Option<&Present>,
        done: usize,
    ) -> [usize; 2] {
        // SAFETY: the heirs are protected as their parent is.
        let (first, second) = unsafe { (&(*heirs.first).lines, heirs.second.as_ref()) };
        // A renewal has one, whose lines get all.
        let second = second.map(|heir| &heir.lines);
        let bit = if second.is_some() { 1 << self.depth } else { 0 };
        let from = |group| self.sources(group).map(|at| self.at(at));
        // SAFETY: the caller's contract.
        unsafe {
            Self::seat(
                [first, second.unwrap_or(first)],
                bit,
                from,
                core,
                attic,
                done,
            )
        }
    }

    /// Fills the lines of step `done` in both halves (or in one, if no `bit` of the hash
    /// tells them apart) with what stands in the lines `from`, by groups.
    ///
    /// # Safety
    /// These lines are frozen and protected.
    pub(super) unsafe fn seat<'a, I: Iterator<Item = Line<'a>>>(
        heirs: [&Block<LINES>; 2],
        bit: u64,
        from: impl Fn(usize) -> I,
        core: &Core<P>,
        attic: Option<&Present>,
        done: usize,
    ) -> [usize; 2] {
        let mut totals = [0; 2];
        let mut standing = Standing::none();
        for group in Self::groups(done) {
            let wanted = |hash: u64| {
                let at = line_of(hash).wrapping_sub(group);
                (at < GROUP).then_some((usize::from(hash & bit != 0), at))
            };
            // SAFETY: the caller's contract.
            unsafe { standing.read(from(group), core) };
            let mut seats = Seats::new(heirs, group);
            seats.seat_all(&mut standing, wanted);
            let halves = if bit == 0 { 1 } else { 2 };
            for (half, total) in totals.iter_mut().enumerate().take(halves) {
                *total += seats.fill(half, |at| attic.map_or(0, |attic| attic.bit(half, at)));
            }
        }
        totals
    }
}

impl<P: Platform> Heirs<P> {
    /// Counts lanes that were taken in a step: once, by the first to end it.
    ///
    /// # Safety
    /// The heirs are protected.
    pub(super) unsafe fn count(&self, totals: [usize; 2]) {
        for (heir, total) in [self.first, self.second].into_iter().zip(totals) {
            // SAFETY: the caller's contract.
            if let Some(heir) = unsafe { heir.as_ref() } {
                // Relaxed: a hint and a statistic.
                heir.control.count.fetch_add(total, Ordering::Relaxed);
            }
        }
    }
}
