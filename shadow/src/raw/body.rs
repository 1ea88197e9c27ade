//! The contents of one type: a directory of segments, and the attic.
//!
//! # The directory
//! The low bits of the hash, as many as `mask` has, are the index of a slot; a slot has a segment and,
//! in the pointer's low bits, the segment's own depth. A null slot stands for its
//! parent (the index without its top bit); slot 0 is null until the few lines of
//! the root are outgrown. A split of the segment at `index` publishes
//!
//! ```text
//!  slot(index + 2^d) = second heir, if null   then   mask for d + 1 bits, if for d
//!  then   slot(index) = first heir, if it is the old segment: the winner retires it
//! ```
//! Between the first of these steps and the last, the old segment is still found
//! from its slot while writers already use the second heir. Whoever takes an entry
//! (or a segment) out from under a second heir therefore finishes that split before
//! retiring it, or a younger reader of the old segment would meet it.
//!
//! A segment that two were [merged](super::merge) into stands in its own slot (its index
//! has no more bits than its depth) and in others, its *aliases*. When it is replaced they
//! come first, from the last one down, and its own slot last, so who finds lines by an
//! alias while something else is in their own slot has found what is not finished either.
//!
//! A lookup that saw the old mask, or the second slot still null, and then the
//! first heir, notices (the mask has changed; the heir's depth is above the level
//! that it looked at; the slot below which it found it is null no longer) and looks again.
//!

use crate::sync::Cell;
use core::alloc::Layout;
use core::ptr::NonNull;

use super::attic::{self, Attic};
use super::blocks::{fill, free_block, free_made, make, null};
use super::entry::{Dtor, Header};
use super::line::{Block, Head};
use super::segment::{Control, Lines, ROOT_LINES, Segment};
use super::shrink::Busy;
use super::tidy::Passes;
use super::type_core::Core;
use crate::platform::{AllocFlags, Link, Platform};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// log2 of the slots of a page: 8 KiB.
const PAGE_BITS: u32 = if crate::TINY { 1 } else { 10 };
/// log2 of the pages of a body.
const ROOT_BITS: u32 = if crate::TINY { 2 } else { 7 };
pub(super) const MAX_DEPTH: u32 = PAGE_BITS + ROOT_BITS;
// A segment's run in the attic is found by as many bits of the hash as its depth has.
const _: () = assert!(MAX_DEPTH <= attic::MAX_LEVEL);
/// In a slot's pointer: the segment's depth.
pub(super) const DEPTH: usize = 63;

type Page<P> = [AtomicPtr<Segment<P>>; 1 << PAGE_BITS];

#[repr(C, align(64))]
pub(super) struct Body<P: Platform> {
    pub(super) link: Link,
    pub(super) core: NonNull<Core<P>>,
    /// Set by whoever detached the body, read when it is walked.
    pub(super) dtor: Cell<Option<Dtor>>,
    /// The next slot to walk, and the next line of its segment.
    pub(super) cursor: Cell<(usize, usize)>,
    /// The one object that is not hashed: the address 0 (G11).
    pub(super) null: AtomicPtr<Header>,
    /// The slots in use, a power of two, minus 1.
    pub(super) mask: AtomicUsize,
    /// How many there are.
    pub(super) segments: AtomicUsize,
    /// Publications that are under way, by those who make them.
    pub(super) publishing: AtomicUsize,
    pub(super) control: Control<P>,
    pub(super) root: Block<ROOT_LINES>,
    /// The slots of the first page, or [`none`](Self::none): while there are no more, a
    /// lookup reads no further pointer.
    near: AtomicPtr<AtomicPtr<Segment<P>>>,
    /// A slot that stays null: `near`, while the mask is 0.
    none: AtomicPtr<Segment<P>>,
    pages: [AtomicPtr<Page<P>>; 1 << ROOT_BITS],
    pub(super) attic: Attic,
    pub(super) busy: Busy,
    pub(super) passes: Passes,
}

/// Where an entry was found, or put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Lane,
    Attic,
    Null,
}

fn parent(index: usize) -> (usize, u32) {
    let level = index.ilog2();
    (index & !(1 << level), level)
}

pub(super) fn low_bits(hash: u64, bits: u32) -> usize {
    hash as usize & ((1 << bits) - 1)
}

impl<P: Platform> Body<P> {
    /// An empty body, holding its core.
    ///
    /// # Safety
    /// The core is alive.
    pub(super) unsafe fn new(core: NonNull<Core<P>>, flags: AllocFlags) -> Option<NonNull<Self>> {
        const { assert!(size_of::<Self>() <= 16 << 10) };
        // SAFETY: the caller's contract.
        let owner = unsafe { core.as_ref() };
        let memory = owner
            .platform()
            .alloc_zeroed(Layout::new::<Self>(), flags)?
            .cast::<Self>();
        owner.hold();
        let body = memory.as_ptr();
        // SAFETY: fresh memory of this layout; each field is written in place
        // (a kernel stack has no room for the arrays).
        unsafe {
            (&raw mut (*body).link).write(Link::new(Self::reclaim));
            (&raw mut (*body).core).write(core);
            (&raw mut (*body).dtor).write(Cell::new(None));
            (&raw mut (*body).cursor).write(Cell::new((0, 0)));
            (&raw mut (*body).null).write(null());
            Busy::init(&raw mut (*body).busy);
            (&raw mut (*body).passes).write(Passes::new());
            (&raw mut (*body).mask).write(AtomicUsize::new(0));
            (&raw mut (*body).segments).write(AtomicUsize::new(0));
            (&raw mut (*body).publishing).write(AtomicUsize::new(0));
            Control::init(&raw mut (*body).control, core);
            Block::init(&raw mut (*body).root, Head::EMPTY.0);
            (&raw mut (*body).near).write(AtomicPtr::new(&raw mut (*body).none));
            (&raw mut (*body).none).write(null());
            fill(&raw mut (*body).pages, null);
            Attic::init(&raw mut (*body).attic);
        }
        Some(memory)
    }

    /// Gives back a body that was never attached.
    ///
    /// # Safety
    /// It came from `new`, and nobody else has seen it.
    pub(super) unsafe fn discard(this: NonNull<Self>) {
        // SAFETY: the caller owns it, and holds the core besides.
        unsafe {
            let core = this.as_ref().core;
            free_block(this.as_ptr(), core.as_ref().platform());
            Core::release(core);
        }
    }

    /// Hands a detached body to the grace period; its entries get `dtor`.
    ///
    /// # Safety
    /// The caller took it out of its core, alone.
    pub(super) unsafe fn retire(this: NonNull<Self>, platform: &P, dtor: Option<Dtor>) {
        // SAFETY: whoever swaps a body out is the only one to touch these two
        // fields until `reclaim`.
        unsafe {
            let this = this.as_ptr();
            (*this).dtor.set(dtor);
            platform.retire(NonNull::new_unchecked(&raw mut (*this).link));
        }
    }

    /// What the slot of `hash` by this mask has; null if there is nothing yet.
    #[inline(always)]
    pub(super) fn slot_value(&self, hash: u64, mask: usize) -> *mut Segment<P> {
        let index = hash as usize & mask;
        // By the mask and not by the index: so it is guessed rightly.
        if mask < 1 << PAGE_BITS {
            // Acquire: pairs with the release in `set_near`, which comes before the mask is
            // raised for the first time: `near` has a page by then.
            let near = self.near.load(Ordering::Acquire);
            #[cfg(loom)]
            assert!(index == 0 || !core::ptr::eq(near, &self.none), "no page");
            // SAFETY: as said, a page is there for an index above 0, and `none` for 0;
            // both live as long as the body. Acquire: pairs with the release in
            // `publish`: the heir's lines are filled.
            unsafe { &*near.add(index) }.load(Ordering::Acquire)
        } else {
            self.slot(index)
                // Acquire: as above.
                .map_or(core::ptr::null_mut(), |slot| slot.load(Ordering::Acquire))
        }
    }

    /// The slot of `index`, if its page exists.
    #[inline]
    pub(super) fn slot(&self, index: usize) -> Option<&AtomicPtr<Segment<P>>> {
        debug_assert!(index >> MAX_DEPTH == 0);
        // SAFETY: an index is masked by `mask`, which is below 2^MAX_DEPTH, or a
        // split's second, which is too. Acquire: pairs with the release in
        // `blocks::make`.
        let page = unsafe { self.pages.get_unchecked(index >> PAGE_BITS) }.load(Ordering::Acquire);
        // SAFETY: pages live as long as the body.
        let page = unsafe { page.as_ref() }?;
        Some(&page[index & ((1 << PAGE_BITS) - 1)])
    }

    /// Makes the page of `index`, if there is none yet. False without memory.
    pub(super) fn make_slot(&self, index: usize, platform: &P, flags: AllocFlags) -> bool {
        let at = index >> PAGE_BITS;
        // SAFETY: `make` hands fresh memory to be filled.
        let init = |page: *mut Page<P>| unsafe { fill(page, null) };
        make(&self.pages[at], platform, flags, init).is_some()
    }

    /// Lets lookups find the first page, which the caller has acquired by [`slot`](Self::slot).
    pub(super) fn set_near(&self) {
        // Relaxed: acquired, as said.
        let first = self.pages[0].load(Ordering::Relaxed);
        // Release: pairs with the acquire in `slot_value`: as above.
        self.near.store(first.cast(), Ordering::Release);
    }

    /// Gives the pages back.
    ///
    /// # Safety
    /// Nobody else can reach the body.
    pub(super) unsafe fn free_pages(&self, platform: &P) {
        for page in &self.pages {
            // SAFETY: made above, and unreachable.
            unsafe { free_made(page, platform) };
        }
    }

    /// The segment and its depth that a slot's pointer has.
    #[inline]
    pub(super) fn untagged(tagged: *mut Segment<P>) -> (*mut Segment<P>, u32) {
        (
            tagged.map_addr(|a| a & !DEPTH),
            (tagged.addr() & DEPTH) as u32,
        )
    }

    /// The lines of a hash, as they are now.
    pub(super) fn lines(&self, hash: u64) -> Lines<P> {
        loop {
            // Relaxed: a retry sees at least the mask that asked for it, which came
            // before the heir that the load of the slot acquired.
            let mask = self.mask.load(Ordering::Relaxed);
            // (The mask is all ones, which trailing_ones counts without POPCNT.)
            let mut level = mask.trailing_ones();
            let mut index = hash as usize & mask;
            loop {
                if let Some(slot) = self.slot(index) {
                    // Acquire: pairs with the release in `publish`: the heir's
                    // lines are filled.
                    let tagged = slot.load(Ordering::Acquire);
                    if !tagged.is_null() {
                        let (segment, depth) = Self::untagged(tagged);
                        if depth > level {
                            break;
                        }
                        // SAFETY: found in the directory under the caller's guard.
                        return unsafe { Lines::of_segment(segment, depth) };
                    }
                }
                if index == 0 {
                    return Lines::of_root(&raw const self.control, &self.root);
                }
                (index, level) = parent(index);
            }
        }
    }
}
