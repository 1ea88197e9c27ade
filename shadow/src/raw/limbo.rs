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

use core::cell::Cell;
use core::ptr::{NonNull, null_mut};

use super::blocks::null;
use super::entry::{Dtor, Entry, Header};
use super::type_core::Core;
use crate::platform::{Link, Platform, Progress};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// Different destructors that the entries of one type may wait for, with none.
const KINDS: usize = if crate::TINY { 3 } else { 8 };
/// The kind that waits for memory only.
pub(super) const NO_DTOR: usize = 0;
/// Entries destroyed by one call.
const SLICE: usize = if crate::TINY { 1 } else { 16 };

struct List {
    /// The latest dead entry; a stack.
    fresh: AtomicPtr<Header>,
    ripening: Cell<*mut Header>,
    /// The destructor, as an address; null while the list has not been used.
    dtor: AtomicPtr<()>,
}

pub(super) struct Limbo {
    /// The type's link is retired, or its round is under way.
    queued: AtomicUsize,
    lists: [List; KINDS],
}

impl Limbo {
    pub(super) fn new() -> Self {
        Self {
            queued: AtomicUsize::new(0),
            lists: core::array::from_fn(|_| List {
                fresh: null(),
                ripening: Cell::new(null_mut()),
                dtor: null(),
            }),
        }
    }

    /// The list of a destructor; `None` when all are taken by others.
    pub(super) fn kind(&self, dtor: Option<Dtor>) -> Option<usize> {
        let Some(dtor) = dtor else {
            return Some(NO_DTOR);
        };
        let wanted = dtor as *mut ();
        (1..KINDS).find(|&kind| {
            let slot = &self.lists[kind].dtor;
            // Relaxed, also in the CAS: an address of code, which publishes
            // nothing.
            let mut there = slot.load(Ordering::Relaxed);
            if there.is_null() {
                // Relaxed: as above.
                there = slot
                    .compare_exchange(null_mut(), wanted, Ordering::Relaxed, Ordering::Relaxed)
                    .err()
                    .unwrap_or(wanted);
            }
            there == wanted
        })
    }

    /// Moves what is fresh to the ripening lists; whether there was any.
    ///
    /// Only for whoever is alone with them.
    fn collect(&self) -> bool {
        let mut any = false;
        for list in &self.lists {
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
        self.lists
            .iter()
            // Relaxed: ordered by the exchange of `queued` before it.
            .any(|list| !list.fresh.load(Ordering::Relaxed).is_null())
    }
}

impl<P: Platform> Core<P> {
    /// Hands a dead, unlinked entry to the grace period; the destructor of `kind`
    /// runs after it.
    ///
    /// # Safety
    /// The caller took the entry to `Dead`, alone, and made sure that it is
    /// unlinked.
    pub(super) unsafe fn retire(&self, entry: Entry, kind: usize) {
        let fresh = &self.limbo.lists[kind].fresh;
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
        // A barrier waits for guards first, so it finds the link of whoever has set
        // `queued` and not come to retire it.
        let guard = self.platform().pin();
        // AcqRel: pairs with the other exchanges of `queued`. Either the round's
        // last exchange reads ours, and then sees the push, or we read its 0.
        if self.limbo.queued.swap(1, Ordering::AcqRel) == 0 {
            self.limbo.collect();
            self.hold();
            self.retire_link();
        }
        drop(guard);
        self.platform().assist();
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
        for list in &limbo.lists {
            // Relaxed: written before any entry came to the list.
            let dtor = list.dtor.load(Ordering::Relaxed);
            // SAFETY: null, or the address of such a function.
            let dtor = unsafe { core::mem::transmute::<*mut (), Option<Dtor>>(dtor) };
            while !list.ripening.get().is_null() {
                if left == 0 {
                    return Progress::More;
                }
                left -= 1;
                // SAFETY: dead, unlinked, its grace period over, and this round's
                // alone.
                unsafe {
                    let entry = Entry::of(list.ripening.get());
                    list.ripening.set(entry.next());
                    entry.destroy(core, dtor);
                }
            }
        }
        // AcqRel, twice: pairs with the exchange in `retire`.
        let more = limbo.collect()
            || limbo.queued.swap(0, Ordering::AcqRel) == 1
                && limbo.has_fresh()
                && limbo.queued.swap(1, Ordering::AcqRel) == 0
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
