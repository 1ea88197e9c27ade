//! The limbo of a type: dead entries on their way through the grace period.
//!
//! ```text
//!  retire -> fresh --(collect)--> ripening --(grace period)--> destroyed
//!            lists, one for each destructor
//! ```
//! Entries have no link of their own for the platform: the type's one link is
//! retired for all of them. `queued` says that it is, and whoever set it from 0
//! is alone with the ripening lists: first the writer that retires the link, then
//! the platform's call of [`Core::reclaim_limbo`], which destroys what was
//! ripening, collects what is fresh by then, and retires the link once more if
//! there was any. So an entry waits for two grace periods at most, and whatever
//! was dead when a platform's barrier began is destroyed by the third of the
//! link's rounds that it sees.
//!
//! # Lists and their destructors
//! | list | for | counted |
//! |---|---|---|
//! | 0 | no destructor | no |
//! | 1 | the type's own destructor | no |
//! | the others, and blocks of more | any other, as long as an entry waits for it | yes |
//!
//! A counted list is lent. `users` counts the entries that wait in it and the calls
//! about to add one; at 0 the next destructor may have it:
//!
//! ```text
//!        claim           the destructor is set        join, leave
//!  0 -------------> CLAIMED -----------------> 1 <----------------> n
//!  ^                                           |
//!  +-------------------- leave ----------------+
//! ```
//! Two lists may have one destructor (two callers claimed at once, or a function has
//! two addresses): that costs a list, no more. When all are lent a block of further
//! lists is made, which stays until the type goes.

use crate::sync::Cell;
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use super::blocks::{fill, free_block, null};
use super::entry::{Dtor, Entry, Header};
use super::type_core::Core;
use crate::error::OutOfMemory;
use crate::platform::{AllocFlags, Link, Platform, Progress};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// Lists that a type has from the start.
const LISTS: usize = if crate::TINY { 3 } else { 8 };
/// Lists of a further block.
const MORE: usize = if crate::TINY { 1 } else { 8 };
/// Entries destroyed by one call.
const SLICE: usize = if crate::TINY { 1 } else { 16 };
/// In `users`: the destructor is being set.
const CLAIMED: usize = usize::MAX;

/// The entries that wait for one destructor.
pub(super) struct List {
    /// The latest dead entry; a stack.
    fresh: AtomicPtr<Header>,
    ripening: Cell<*mut Header>,
    /// The destructor, as an address; constant while there are users.
    dtor: AtomicPtr<()>,
    users: AtomicUsize,
    /// Never lent to another destructor, and so not counted.
    own: bool,
}

/// A block of further lists.
#[repr(C, align(64))]
struct More {
    lists: [List; MORE],
    next: *const More,
}

pub(super) struct Limbo {
    /// The type's link is retired, or its round is under way.
    queued: AtomicUsize,
    lists: [List; LISTS],
    /// The latest block.
    more: AtomicPtr<More>,
}

impl List {
    fn new(own: bool, dtor: *mut ()) -> Self {
        Self {
            fresh: null(),
            ripening: Cell::new(null_mut()),
            dtor: AtomicPtr::new(dtor),
            users: AtomicUsize::new(0),
            own,
        }
    }

    /// Counts the caller in if the list is lent to this destructor.
    fn join(&self, wanted: *mut ()) -> bool {
        // Relaxed: a guess, looked at again below.
        if self.dtor.load(Ordering::Relaxed) != wanted {
            return false;
        }
        // Relaxed: the CAS reads it again.
        let mut users = self.users.load(Ordering::Relaxed);
        loop {
            if users == 0 || users == CLAIMED {
                return false;
            }
            // Acquire: pairs with the release in `claim`: the destructor is the
            // one that these users share. Relaxed on failure: only tried again.
            let joined = self.users.compare_exchange(
                users,
                users + 1,
                Ordering::Acquire,
                Ordering::Relaxed, // only tried again
            );
            match joined {
                Ok(_) => break,
                Err(now) => users = now,
            }
        }
        // Relaxed: constant while we are counted, and acquired above.
        if self.dtor.load(Ordering::Relaxed) == wanted {
            return true;
        }
        self.leave(1);
        false
    }

    /// Takes a list that nobody uses, for this destructor.
    fn claim(&self, wanted: *mut ()) -> bool {
        // Acquire: pairs with the release in `leave`: whoever read the destructor
        // before has done so. Relaxed on failure: another list is tried.
        let claimed = self.users.compare_exchange(
            0,
            CLAIMED,
            Ordering::Acquire,
            Ordering::Relaxed, // another list is tried
        );
        if claimed.is_err() {
            return false;
        }
        // Relaxed: published by the store below.
        self.dtor.store(wanted, Ordering::Relaxed);
        // Release: pairs with the acquire in `join`.
        self.users.store(1, Ordering::Release);
        true
    }

    /// Takes `n` users off the count.
    pub(super) fn leave(&self, n: usize) {
        if !self.own && n != 0 {
            // Release: pairs with the acquire in `claim`.
            self.users.fetch_sub(n, Ordering::Release);
        }
    }
}

impl Limbo {
    pub(super) fn new(own: Option<Dtor>) -> Self {
        let own = own.map_or(null_mut(), Dtor::address);
        Self {
            queued: AtomicUsize::new(0),
            lists: core::array::from_fn(|i| {
                List::new(i < 2, if i == 1 { own } else { null_mut() })
            }),
            more: null(),
        }
    }

    /// All lists there are.
    fn lists(&self) -> impl Iterator<Item = &List> {
        // Acquire: pairs with the release in `extend`: the block's contents are
        // visible.
        let mut block = self.more.load(Ordering::Acquire).cast_const();
        let more = core::iter::from_fn(move || {
            // SAFETY: blocks live as long as the limbo.
            let there = unsafe { block.as_ref() }?;
            block = there.next;
            Some(&there.lists)
        });
        self.lists.iter().chain(more.flatten())
    }

    /// The list of entries that wait for memory only.
    pub(super) fn without_dtor(&self) -> &List {
        &self.lists[0]
    }

    /// The list of the type's own destructor, which may be none.
    pub(super) fn own(&self) -> &List {
        &self.lists[1]
    }

    /// A list for a destructor, with the caller counted in.
    pub(super) fn lend<P: Platform>(&self, dtor: Dtor, platform: &P) -> Result<&List, OutOfMemory> {
        let wanted = dtor.address();
        // Relaxed: constant.
        if self.own().dtor.load(Ordering::Relaxed) == wanted {
            return Ok(self.own());
        }
        let lent = || self.lists().filter(|list| !list.own);
        lent()
            .find(|list| list.join(wanted))
            .or_else(|| lent().find(|list| list.claim(wanted)))
            .map_or_else(|| self.extend(wanted, platform), Ok)
    }

    /// A block of further lists, the first of them lent.
    fn extend<P: Platform>(&self, wanted: *mut (), platform: &P) -> Result<&List, OutOfMemory> {
        let block = platform
            .alloc_zeroed(Layout::new::<More>(), AllocFlags::default())
            .ok_or(OutOfMemory)?
            .cast::<More>();
        // SAFETY: fresh memory of this layout; not shared before the CAS below, and
        // alive as long as the limbo from then on.
        unsafe {
            let this = block.as_ptr();
            fill(&raw mut (*this).lists, || List::new(false, null_mut()));
            (*this).lists[0].claim(wanted);
            // Relaxed: the CAS reads it again. The block behind it is released to
            // the readers by its own CAS, whose release sequence ours continues.
            let mut next = self.more.load(Ordering::Relaxed);
            loop {
                (&raw mut (*this).next).write(next);
                // Release: pairs with the acquire in `lists`.
                match self.more.compare_exchange(
                    next,
                    this,
                    Ordering::Release,
                    Ordering::Relaxed, // only tried again
                ) {
                    Ok(_) => return Ok(&(*this).lists[0]),
                    Err(now) => next = now,
                }
            }
        }
    }

    /// Gives the blocks back; nothing waits in the lists any more.
    ///
    /// # Safety
    /// Nobody uses the limbo any more; `platform` is the one it grew with.
    pub(super) unsafe fn end<P: Platform>(&self, platform: &P) {
        debug_assert!(!self.has_fresh());
        debug_assert!(self.lists().all(|list| list.ripening.get().is_null()));
        // Relaxed: the caller is alone.
        let mut block = self.more.load(Ordering::Relaxed);
        while !block.is_null() {
            // SAFETY: the caller's contract.
            unsafe {
                let next = (*block).next.cast_mut();
                free_block(block, platform);
                block = next;
            }
        }
    }

    /// Moves what is fresh to the ripening lists; whether there was any.
    ///
    /// Only for whoever is alone with them.
    fn collect(&self) -> bool {
        let mut any = false;
        for list in self.lists() {
            // Relaxed: a look before the write; an entry pushed meanwhile finds
            // the link queued, and the next round has it.
            if !list.fresh.load(Ordering::Relaxed).is_null() {
                debug_assert!(list.ripening.get().is_null());
                // Acquire: pairs with the release of the pushes: the entries'
                // contents and links are visible.
                list.ripening
                    .set(list.fresh.swap(null_mut(), Ordering::Acquire));
                any = true;
            }
        }
        any
    }

    fn has_fresh(&self) -> bool {
        self.lists()
            // Relaxed: ordered by the exchange of `queued` before it.
            .any(|list| !list.fresh.load(Ordering::Relaxed).is_null())
    }
}

impl<P: Platform> Core<P> {
    /// Hands a dead, unlinked entry to the grace period; the list's destructor runs
    /// after it. The entry takes over the caller's place among the list's users.
    ///
    /// # Safety
    /// The caller took the entry to `Dead`, alone, and made sure that it is
    /// unlinked; the list is this core's, and lent to the caller unless it is one of
    /// the type's own.
    pub(super) unsafe fn retire(&self, entry: Entry, list: &List) {
        let fresh = &list.fresh;
        // Relaxed: the CAS reads it again, and only the value is used.
        let mut head = fresh.load(Ordering::Relaxed);
        loop {
            entry.set_next(head);
            // Release: pairs with the acquire in `collect`.
            let pushed = fresh.compare_exchange_weak(
                head,
                entry.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed, // only tried again
            );
            match pushed {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.queue_round();
        self.platform().assist();
    }

    /// Sees to it that a round comes after what the caller has done.
    pub(super) fn queue_round(&self) {
        // A barrier waits for guards first, so it finds the link of whoever has set
        // `queued` and not come to retire it.
        let _guard = self.platform().pin();
        // AcqRel: pairs with the other exchanges of `queued`. Either the round's
        // last exchange reads ours, and then sees the push, or we read its 0.
        if self.limbo.queued.swap(1, Ordering::AcqRel) == 0 {
            self.limbo.collect();
            self.hold();
            self.retire_link();
        }
    }

    fn retire_link(&self) {
        // SAFETY: `queued` says that it is ours to retire, and an ownership of the
        // core goes with it.
        unsafe { self.platform().retire(self.me.cast()) };
    }

    /// A round: the grace period of what is ripening is over.
    ///
    /// # Safety
    /// [`Link::reclaim`]'s contract.
    pub(super) unsafe fn reclaim_limbo(link: NonNull<Link>) -> Progress {
        let this = link.cast::<Self>();
        // SAFETY: the link is the core's first field, and a retired link owns it.
        let core = unsafe { this.as_ref() };
        let limbo = &core.limbo;
        let mut left = SLICE;
        for list in limbo.lists() {
            if list.ripening.get().is_null() {
                continue;
            }
            // Relaxed: set before any entry came to the list, and not set anew
            // before the entries have left.
            let dtor = list.dtor.load(Ordering::Relaxed);
            // SAFETY: null, or a destructor's.
            let dtor = unsafe { Dtor::at(dtor) };
            let before = left;
            while left != 0 && !list.ripening.get().is_null() {
                left -= 1;
                // SAFETY: dead, unlinked, its grace period over, and this round's
                // alone.
                unsafe {
                    let entry = Entry::of(list.ripening.get());
                    list.ripening.set(entry.next());
                    entry.destroy(core, dtor);
                }
            }
            list.leave(before - left);
            if !list.ripening.get().is_null() {
                return Progress::More;
            }
        }
        if core.tidy() == Progress::More {
            return Progress::More;
        }
        // (Asked while `queued` is ours.)
        let interrupted = core.merging.is_interrupted();
        // AcqRel: pairs with the exchange in `queue_round`. Acquire, the second time:
        // between the two another thread may have had a round.
        let more = limbo.collect()
            || interrupted
            || limbo.queued.swap(0, Ordering::AcqRel) == 1
                && (limbo.has_fresh() || core.shrinking.is_due())
                && limbo.queued.swap(1, Ordering::Acquire) == 0
                && {
                    limbo.collect();
                    true
                };
        if more {
            core.retire_link();
        } else {
            // SAFETY: the link's own.
            unsafe { Self::release(this) };
        }
        Progress::Done
    }
}
