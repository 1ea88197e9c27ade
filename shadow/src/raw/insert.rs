//! Insertion: an entry is made, reserved, constructed and published.
//!
//! ```text
//!  entry made -> guard: body looked through, entry put in (change) -> no guard: ctor
//!      -> published -> grown, if the count says so
//!                     |--------------- the caller's section ----------------|
//! ```
//! Whatever stands in the way (another's constructor, a worn head, a body that is
//! given up, a prefix that is needed) is dealt with outside of the guard, and the look
//! is repeated.

use core::ptr::NonNull;

use super::body::{Body, Place};
use super::change::Step;
use super::entry::{Entry, Spare, Unmade, Wanted};
use super::type_core::Core;
use crate::context;
use crate::error::AllocError;
use crate::platform::{AllocFlags, Platform};

/// An entry with somebody's constructor about to run on its data.
///
/// Dropped without [`publish`](Self::publish) (the constructor failed, or
/// unwinds) it takes the entry out again.
struct Reservation<'a, P: Platform, S> {
    core: &'a Core<P>,
    /// The caller's section, until the entry is published or cancelled.
    section: Option<S>,
    body: NonNull<Body<P>>,
    entry: Entry,
    place: Place,
    /// The table is to grow.
    grow: bool,
    hash: u64,
}

impl<P: Platform> Core<P> {
    /// Finds the variable of `obj`, or reserves, constructs and publishes one, in a
    /// `section` that is made anew for each attempt at a place. `Ok` is a new one's data.
    pub(crate) fn insert<S, E>(
        this: NonNull<Self>,
        obj: usize,
        size: usize,
        cookie: u64,
        flags: AllocFlags,
        section: impl Fn() -> S,
        ctor: impl FnOnce(NonNull<u8>) -> Result<(), E>,
    ) -> Result<NonNull<u8>, AllocError<E>> {
        // SAFETY: the caller's handle keeps the core.
        let core = unsafe { this.as_ref() };
        let hash = core.hash(obj);
        let wanted = |prefixed| Wanted {
            obj,
            hash,
            size,
            cookie,
            prefixed,
        };
        // Made before the first look, for nearly always there is no variable yet. If
        // it cannot be, one that is there is still found.
        let first = Entry::new(core, &wanted(false), flags)
            .map_err(|e| core.find(obj).map_or(e.into(), AllocError::Exists))?;
        let mut spare = Spare {
            core,
            entry: Some(first),
            seen: false,
        };
        let mut waited = 0;
        let reserved = loop {
            // A body to insert into must exist before the guard is taken, for
            // making it may sleep.
            if !core.body_for_insert(this, flags) {
                return Err(AllocError::OutOfMemory);
            }
            let guard = core.platform().pin();
            let Some(body) = core.body_now() else {
                continue;
            };
            let within = section();
            // SAFETY: loaded under the guard; the spare entry is ours.
            let step = unsafe { body.as_ref().insert(core, hash, obj, &mut spare) };
            // Whatever else it is, is dealt with outside of the section.
            let within = matches!(step, Step::Done(..)).then_some(within);
            match step {
                Step::Done(entry, place, grow) => {
                    break Reservation {
                        core,
                        section: within,
                        body,
                        entry,
                        place,
                        grow,
                        hash,
                    };
                }
                Step::Exists(entry) => return Err(AllocError::Exists(entry.data())),
                Step::Worn | Step::Frozen => {
                    // SAFETY: loaded under the guard; it stays while it counts us.
                    let used = unsafe { body.as_ref() };
                    if !used.busy.reserve(hash) {
                        core.detach(body);
                        continue;
                    }
                    drop(guard);
                    let worn = matches!(step, Step::Worn);
                    let writable = !worn || used.renew(hash, core, flags);
                    used.help_out(core, hash);
                    used.busy.settle(hash, core);
                    if !writable {
                        return Err(AllocError::OutOfMemory);
                    }
                }
                Step::Gone => core.detach(body),
                Step::Wait => {
                    drop(guard);
                    context::wait_for_ctor(this.addr().get(), obj);
                    if !core.platform().relax(flags, waited) {
                        return Err(AllocError::Busy);
                    }
                    waited = waited.saturating_add(1);
                }
                Step::Spent(entry, place) => {
                    // SAFETY: loaded under the guard; it stays while it counts us.
                    unsafe {
                        let body = body.as_ref();
                        body.unlink(core, hash, entry, place, guard);
                        body.busy.settle(hash, core);
                    }
                    spare.seen = false;
                    // SAFETY: `insert` took it to Dead, and it is unlinked.
                    unsafe { core.retire(entry, core.limbo.without_dtor()) };
                }
                Step::NeedEntry(prefixed) => {
                    drop(guard);
                    spare.discard();
                    spare.entry = Some(core.another(&wanted(prefixed), flags)?);
                }
            }
        };
        // No guard from here on: the constructor may sleep and use the table, and
        // growing may allocate. The reservation keeps the body.
        let made = {
            let _in = context::constructing(this.addr().get(), obj);
            ctor(reserved.entry.data())
        };
        made.map_err(AllocError::Ctor)?;
        let data = reserved.publish(flags);
        core.platform().assist();
        Ok(data)
    }
}

impl<P: Platform> Core<P> {
    /// An entry of another kind than the first.
    #[cold]
    #[inline(never)]
    fn another(&self, wanted: &Wanted, flags: AllocFlags) -> Result<Entry, Unmade> {
        Entry::new(self, wanted, flags)
    }
}

impl<E> From<Unmade> for AllocError<E> {
    fn from(e: Unmade) -> Self {
        match e {
            Unmade::Layout => Self::Layout,
            Unmade::OutOfMemory => Self::OutOfMemory,
        }
    }
}

impl<P: Platform, S> Reservation<'_, P, S> {
    /// Makes the constructed variable visible, then looks after the table: who
    /// waits for the variable does not wait for that.
    fn publish(mut self, flags: AllocFlags) -> NonNull<u8> {
        let data = self.entry.data();
        self.core.sizes.keep(self.entry.class());
        self.entry.publish();
        drop(self.section.take());
        // SAFETY: the reservation (`busy`) keeps the body until `settle`.
        let body = unsafe { self.body.as_ref() };
        if self.grow {
            body.grow(self.hash, self.core, flags);
        }
        body.busy.settle(self.hash, self.core);
        core::mem::forget(self);
        data
    }
}

impl<P: Platform, S> Drop for Reservation<'_, P, S> {
    fn drop(&mut self) {
        self.entry.cancel();
        drop(self.section.take());
        let guard = self.core.platform().pin();
        // SAFETY: the reservation keeps the body; the guard keeps the nodes that
        // the search meets.
        unsafe {
            let body = self.body.as_ref();
            body.unlink(self.core, self.hash, self.entry, self.place, guard);
            body.busy.settle(self.hash, self.core);
        }
        // SAFETY: dead and unlinked by us, who alone may leave RESERVED.
        unsafe { self.core.retire(self.entry, self.core.limbo.without_dtor()) };
    }
}
