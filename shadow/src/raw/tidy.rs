//! Tidying: what a round of a type's limbo does beside destroying entries. A type that
//! is empty gives its lines back ([`shrink`](super::shrink)), one that is nearly so has its
//! segments merged ([`merge`](super::merge)), a pair and a step at a time.
//!
//! ```text
//!  few entries for so many segments? -> a pass: slots of the directory, in order
//!     -> a pair that is worth it -> memory -> proposed -> helped to its end -> looked at again
//! ```
//! A pass that ends is not repeated unless half of the entries have gone since it began, or
//! segments have come. One that finds no memory ends too, and the next round, if there is one,
//! begins another. After a few merges it is interrupted for a round of its own: what they
//! replaced waits for a grace period, and in the kernel for the end of the run.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::body::{Body, low_bits};
use super::growth::SPLIT_AT;
use super::merge::{Merge, fit};
use super::segment::{Lines, Segment};
use super::type_core::Core;
use crate::platform::{AllocFlags, Platform, Progress};
use crate::sync::{Cell, Ordering};

/// Taken lanes of two segments together up to which they are merged: the heir has to
/// triple before it is split again, so a type that swings does not thrash.
const MERGE_AT: usize = if crate::TINY { 1 } else { SPLIT_AT / 3 };
/// Entries for each segment, in the mean, below which a type is looked through.
const SPARSE: usize = if crate::TINY { 1 } else { SPLIT_AT / 4 };
/// log2 of the slots that may have one segment: so many exchanges publish it.
const ALIASES: u32 = if crate::TINY { 3 } else { 8 };
/// Slots of the directory that one call looks at.
const SLICE: usize = if crate::TINY { 1 } else { 32 };
/// Merges of a round: 1 MiB that waits for a grace period.
const ROUND: usize = if crate::TINY { 3 } else { 32 };

/// The hash by which a merge is counted as a user of its body: any will do.
const RESERVED: u64 = 0;

/// Memory for a merge.
struct Room<P: Platform> {
    note: NonNull<u8>,
    heirs: [*mut Segment<P>; 2],
}

/// A pass that is under way.
#[derive(Clone, Copy)]
struct Pass {
    /// Entries when it began.
    entries: usize,
    /// The slot to look at next,
    slot: usize,
    /// but first the one of the last merge's heir, which may have a buddy.
    heir: Option<usize>,
}

/// How far the passes through a body's directory have come; whoever reclaims for the type is
/// alone with it.
pub(super) struct Passes {
    now: Cell<Option<Pass>>,
    /// Of the last one: entries when it began, and segments when it ended.
    last: Cell<(usize, usize)>,
}

impl Passes {
    pub(super) fn new() -> Self {
        Self {
            now: Cell::new(None),
            last: Cell::new((usize::MAX, 0)),
        }
    }
}

/// A merge that was proposed; a reservation keeps the body.
struct UnderWay<P: Platform> {
    body: NonNull<Body<P>>,
    /// The slots of the two.
    both: [u64; 2],
}

/// What a type knows of its merging; whoever reclaims for the type is alone with it.
pub(super) struct Merging<P: Platform> {
    under_way: Cell<Option<UnderWay<P>>>,
    /// Merges that this round may still end.
    left: Cell<usize>,
    /// Whether it merges: in a model not unless told to, for with it most would not end.
    #[cfg(loom)]
    allowed: Cell<bool>,
}

impl<P: Platform> Merging<P> {
    pub(super) fn new() -> Self {
        Self {
            under_way: Cell::new(None),
            left: Cell::new(ROUND),
            #[cfg(loom)]
            allowed: Cell::new(false),
        }
    }

    /// Whether the round that ends has to be followed by another one, for the sake of what
    /// is left to merge; the next one may do as much.
    pub(super) fn is_interrupted(&self) -> bool {
        self.left.replace(ROUND) == 0
    }

    fn is_allowed(&self) -> bool {
        #[cfg(loom)]
        return self.allowed.get();
        #[cfg(not(loom))]
        true
    }
}

impl<P: Platform> Core<P> {
    /// A step of giving back what the type does not need; `More` if there is another one.
    ///
    /// Only for whoever reclaims for the type.
    pub(super) fn tidy(&self) -> Progress {
        // (A merge uses the body, which is not shrunk before it is done.)
        if let Some(merge) = self.merging.under_way.take() {
            self.go_on(merge);
            return Progress::More;
        }
        match self.shrink() {
            Progress::More => Progress::More,
            _ if self.merging.left.get() == 0 => Progress::Done,
            _ => self.look_for_a_pair(),
        }
    }

    /// A step of a merge.
    fn go_on(&self, merge: UnderWay<P>) {
        // SAFETY: the reservation keeps it.
        let body = unsafe { merge.body.as_ref() };
        let guard = self.platform().pin();
        // SAFETY: as above, and the guard.
        let more = (merge.both.iter()).any(|&hash| unsafe { body.help(self, hash) });
        drop(guard);
        if more {
            self.merging.under_way.set(Some(merge));
        } else {
            let left = self.merging.left.get();
            self.merging.left.set(left.saturating_sub(1));
            body.busy.settle_apart(RESERVED, self);
        }
    }

    /// A look for something to merge, at a few slots; `More` if there are others to look at, or
    /// something was found. Costs at most two segments and the note of a merge, and puts it off
    /// without memory.
    fn look_for_a_pair(&self) -> Progress {
        let guard = self.platform().pin();
        let Some(pointer) = self.body_now() else {
            return Progress::Done;
        };
        // SAFETY: loaded under the guard.
        let body = unsafe { pointer.as_ref() };
        let mut pass = match body.passes.now.take() {
            Some(pass) => pass,
            None if self.is_sparse(body) => Pass {
                entries: self.entries(),
                slot: 0,
                heir: None,
            },
            None => return Progress::Done,
        };
        // Relaxed: what is younger is not looked at.
        let end = body.mask.load(Ordering::Relaxed) + 1;
        let next = end.min(pass.slot + SLICE);
        let mut slots = pass.heir.take().into_iter().chain(pass.slot..next);
        let Some(at) = slots.find(|&at| body.pair(at).is_some()) else {
            if next < end {
                pass.slot = next;
                body.passes.now.set(Some(pass));
                return Progress::More;
            }
            // Relaxed: a hint.
            let segments = body.segments.load(Ordering::Relaxed);
            body.passes.last.set((pass.entries, segments));
            // Half of them may have gone since it looked at the first slot.
            return if self.is_sparse(body) {
                Progress::More
            } else {
                Progress::Done
            };
        };
        if !body.busy.reserve_apart(RESERVED) {
            return Progress::Done;
        }
        drop(guard);
        let both = (body.room(self)).map(|room| body.propose_merge(self, at, room));
        let under_way = both.flatten();
        if let Some(both) = under_way {
            pass.heir = Some(both[0] as usize);
            self.merging.under_way.set(Some(UnderWay {
                body: pointer,
                both,
            }));
        } else {
            pass.slot = pass.slot.max(at + 1);
        }
        // Without memory the next round begins anew.
        body.passes.now.set(both.map(|_| pass));
        if under_way.is_none() {
            body.busy.settle_apart(RESERVED, self);
        }
        if both.is_some() {
            Progress::More
        } else {
            Progress::Done
        }
    }

    /// Lets the type merge; before anything was freed in it.
    #[cfg(loom)]
    pub(crate) fn let_merge(&self) {
        self.merging.allowed.set(true);
    }

    /// Whether a pass may find something: there are few entries for so many segments, and
    /// since the last one half of the entries went, or segments came.
    fn is_sparse(&self, body: &Body<P>) -> bool {
        // Relaxed: a hint.
        let segments = body.segments.load(Ordering::Relaxed);
        let entries = self.entries();
        let (last, then) = body.passes.last.get();
        self.merging.is_allowed()
            && segments > 1
            && entries < segments.saturating_mul(SPARSE)
            && (entries <= last / 2 && last != 0 || segments > then)
    }
}

impl<P: Platform> Body<P> {
    /// What stands in a slot by itself, and not as an alias.
    fn at_home(&self, index: usize) -> Option<Lines<P>> {
        // Acquire: pairs with the release in `publish`.
        let (segment, depth) = Self::untagged(self.slot(index)?.load(Ordering::Acquire));
        // SAFETY: found in the directory under the caller's guard.
        (!segment.is_null() && index >> depth == 0)
            .then(|| unsafe { Lines::of_segment(segment, depth) })
    }

    /// The buddies of the slot's segment that are worth a merge, and the depth and slot of
    /// the heir.
    fn pair(&self, index: usize) -> Option<([Lines<P>; 2], u32, usize)> {
        let depth = self.at_home(index)?.depth.checked_sub(1)?;
        let index = low_bits(index as u64, depth);
        let both = [self.at_home(index)?, self.at_home(index | 1 << depth)?];
        let [lower, upper] = both;
        let alike = lower.depth == depth + 1 && upper.depth == depth + 1;
        let few = lower.count() + upper.count() <= MERGE_AT;
        let near = lower.reach().max(upper.reach()) - depth <= ALIASES;
        (alike
            && few
            && near
            && lower.fate().is_none()
            && upper.fate().is_none()
            && fit(&lower, &upper))
        .then_some((both, depth, index))
    }

    /// Memory for a merge: all of it, or none.
    fn room(&self, core: &Core<P>) -> Option<Room<P>> {
        let (platform, flags) = (core.platform(), AllocFlags::default());
        let note = platform.alloc_zeroed(Layout::new::<Merge<P>>(), flags)?;
        // SAFETY: the core outlives its body.
        match [(); 2].map(|()| unsafe { Segment::new(self.core, flags) }) {
            [Some(first), Some(second)] => Some(Room {
                note,
                heirs: [first, second],
            }),
            some => {
                // SAFETY: nobody has seen them.
                unsafe { Self::give_back(note, some.into_iter().flatten(), platform) };
                None
            }
        }
    }

    /// # Safety
    /// They came from [`room`](Self::room), and nobody else has seen them.
    unsafe fn give_back(
        note: NonNull<u8>,
        heirs: impl IntoIterator<Item = *mut Segment<P>>,
        platform: &P,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            platform.dealloc(note, Layout::new::<Merge<P>>());
            for heir in heirs {
                Segment::free(heir, platform);
            }
        }
    }

    /// Agrees on a merge of the pair of a slot, as far as its lower segment goes; the
    /// slots of both.
    ///
    /// Under no guard; `busy` keeps the body.
    fn propose_merge(&self, core: &Core<P>, at: usize, room: Room<P>) -> Option<[u64; 2]> {
        let platform = core.platform();
        let guard = platform.pin();
        let Some((both, depth, index)) = self.pair(at) else {
            drop(guard);
            // SAFETY: nobody has seen them.
            unsafe { Self::give_back(room.note, room.heirs, platform) };
            return None;
        };
        let [lower, upper] = both;
        let merge = room.note.cast::<Merge<P>>();
        // SAFETY: fresh memory of this layout; heirs that nobody has seen.
        unsafe {
            Segment::reach(room.heirs[0], lower.reach().max(upper.reach()));
            Segment::reach(room.heirs[1], upper.reach());
            merge.write(Merge::new([&lower, &upper], index, room.heirs));
        }
        // SAFETY: found in the directory under the guard, and counted.
        let joined = unsafe { Segment::join(lower.segment(), merge) } == Ok(true);
        drop(guard);
        // SAFETY: our own count, and that of the lower segment if it was not joined.
        unsafe {
            if !joined {
                Merge::release(merge, platform);
            }
            Merge::release(merge, platform);
        }
        joined.then_some([index as u64, (index | 1 << depth) as u64])
    }
}
