//! What all handles, bodies and retired entries of one type share, and the
//! operations on it.
//!
//! # Lifetime
//! `handles` counts the users' handles: at 0 the body is detached, as by
//! `free_all`. `owners` counts the handles (one for all of them), the bodies and
//! the retired entries; at 0 the core's memory goes. So a handle can be dropped
//! anywhere, without waiting for anybody.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::attic::Attic;
use super::body::{Body, Place, Step};
use super::entry::{DEAD, Dtor, LIVE, OwnedEntry, Spare, Unmade};
use crate::error::AllocError;
use crate::platform::{AllocFlags, Platform};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, fence};

/// What a type holds at the moment. Each figure is exact when nobody writes; the
/// readers pay nothing for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Variables that a lookup finds.
    pub live: usize,
    /// Entries freed (or being constructed) whose memory is still held.
    pub pending: usize,
    /// Bytes of data asked for, of live and pending variables together.
    pub bytes: usize,
    /// Lines of the table: 64 bytes and seven variables each.
    pub lines: usize,
    /// Of the live variables, those that found no lane in their line: a lookup of
    /// one costs a few cache lines more.
    pub attic: usize,
    /// How often lines were replaced (a segment split or renewed), in all.
    pub splits: usize,
}

pub(crate) struct Core<P: Platform> {
    platform: P,
    id: u64,
    seed: u64,
    default_dtor: Option<Dtor>,
    body: AtomicPtr<Body<P>>,
    handles: AtomicUsize,
    owners: AtomicUsize,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    splits: AtomicUsize,
}

/// An entry with somebody's constructor about to run on its data.
///
/// Dropped without [`publish`](Self::publish) (the constructor failed, or
/// unwinds) it takes the entry out again.
struct Reservation<'a, P: Platform> {
    core: &'a Core<P>,
    body: NonNull<Body<P>>,
    entry: OwnedEntry<P>,
    place: Place,
    hash: u64,
}

impl<P: Platform> Core<P> {
    pub(crate) fn create(
        platform: P,
        id: u64,
        default_dtor: Option<Dtor>,
        flags: AllocFlags,
    ) -> Option<NonNull<Self>> {
        let memory = platform
            .alloc_zeroed(Layout::new::<Self>(), flags)?
            .cast::<Self>();
        let seed = platform.seed();
        // SAFETY: fresh memory of this layout.
        unsafe {
            memory.write(Self {
                platform,
                id,
                seed,
                default_dtor,
                body: AtomicPtr::new(core::ptr::null_mut()),
                handles: AtomicUsize::new(1),
                owners: AtomicUsize::new(1),
                entries: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
                splits: AtomicUsize::new(0),
            });
        }
        Some(memory)
    }

    pub(crate) fn platform(&self) -> &P {
        &self.platform
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// One more owner; the caller has (or is covered by) one already.
    pub(super) fn hold(&self) {
        // Relaxed: taken from an existing owner, nothing to publish.
        self.owners.fetch_add(1, Ordering::Relaxed);
    }

    /// One owner less; the last frees the core.
    ///
    /// # Safety
    /// The caller gives up the ownership that it has.
    pub(super) unsafe fn release(this: NonNull<Self>) {
        // SAFETY: owned until the subtraction. Release: pairs with the fence
        // below, so that every owner's last use happens before the end.
        if unsafe { this.as_ref() }
            .owners
            .fetch_sub(1, Ordering::Release)
            != 1
        {
            return;
        }
        // Acquire: pairs with the releases above.
        fence(Ordering::Acquire);
        // SAFETY: no owner is left; the block came from the platform's `clone`.
        unsafe {
            let platform = this.as_ref().platform.clone();
            this.drop_in_place();
            platform.dealloc(this.cast(), Layout::new::<Self>());
        }
    }

    pub(crate) fn handle_up(&self) {
        // Relaxed: made from an existing handle.
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// One handle less; the last detaches the body.
    ///
    /// # Safety
    /// The caller gives up a handle that it has.
    pub(crate) unsafe fn handle_down(this: NonNull<Self>) {
        // SAFETY: the handles' ownership is given up below, by the last of them.
        let core = unsafe { this.as_ref() };
        // AcqRel: every handle's writes happen before the last one's free_all.
        if core.handles.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        core.free_all(None);
        // SAFETY: the ownership of the handles, which are no more.
        unsafe { Self::release(this) };
    }

    pub(super) fn count_split(&self) {
        // Relaxed: a statistic.
        self.splits.fetch_add(1, Ordering::Relaxed);
    }

    /// An entry's memory is about to go.
    pub(super) fn forget_entry(&self, size: usize) {
        // Relaxed: statistics.
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(size, Ordering::Relaxed);
    }

    /// Injective for one seed, with every input bit in the low half, which the
    /// buckets are chosen by (a multiplicative hash and a fold).
    pub(super) fn hash(&self, obj: usize) -> u64 {
        let x = (obj as u64 ^ self.seed).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        x ^ (x >> 32)
    }

    #[inline]
    pub(crate) fn get(&self, obj: usize, _guard: &P::Guard) -> Option<NonNull<u8>> {
        // Acquire: pairs with the release CAS in `body_for_insert`: the body's
        // initial contents are visible.
        let body = self.body.load(Ordering::Acquire);
        // SAFETY: the guard is older than the pointer, so the body is kept.
        unsafe { body.as_ref()?.get(self.hash(obj), obj) }
    }

    /// The body, made if there is none. The pointer is only good under a guard
    /// taken before this call.
    fn body_for_insert(&self, this: NonNull<Self>, flags: AllocFlags) -> Option<NonNull<Body<P>>> {
        // Acquire: as in `get`.
        if let Some(body) = NonNull::new(self.body.load(Ordering::Acquire)) {
            return Some(body);
        }
        // SAFETY: `this` is alive, being `self`.
        let made = unsafe { Body::new(this, flags) }?;
        // Release: publishes the body to the acquire loads of this word.
        // Acquire on failure: the winner's is used instead.
        match self.body.compare_exchange(
            core::ptr::null_mut(),
            made.as_ptr(),
            Ordering::Release,
            Ordering::Acquire,
        ) {
            Ok(_) => Some(made),
            Err(winner) => {
                // SAFETY: nobody has seen `made`.
                unsafe { Body::discard(made) };
                NonNull::new(winner)
            }
        }
    }

    /// Finds the variable of `obj`, or reserves, constructs and publishes one.
    /// `Ok` is a new one's data.
    pub(crate) fn insert<E>(
        this: NonNull<Self>,
        obj: usize,
        size: usize,
        flags: AllocFlags,
        ctor: impl FnOnce(NonNull<u8>) -> Result<(), E>,
    ) -> Result<NonNull<u8>, AllocError<E>> {
        // SAFETY: the caller's handle keeps the core.
        let core = unsafe { this.as_ref() };
        let hash = core.hash(obj);
        let mut spare = Spare {
            entry: None,
            seen: false,
        };
        let mut waited = 0;
        let reserved = loop {
            // A body to insert into must exist before the guard is taken, for
            // making it may sleep.
            // Relaxed: only whether there is one.
            if core.body.load(Ordering::Relaxed).is_null()
                && core.body_for_insert(this, flags).is_none()
            {
                return Err(AllocError::OutOfMemory);
            }
            let guard = core.platform.pin();
            // Acquire: as in `get`.
            let Some(body) = NonNull::new(core.body.load(Ordering::Acquire)) else {
                continue;
            };
            // SAFETY: loaded under the guard; the spare entry is ours.
            let step = unsafe { body.as_ref().insert(core, hash, obj, &mut spare) };
            match step {
                Step::Exists(data) => return Err(AllocError::Exists(data)),
                Step::Done(entry, place) => {
                    break Reservation {
                        core,
                        body,
                        entry,
                        place,
                        hash,
                    };
                }
                Step::Worn => {
                    // SAFETY: loaded under the guard. Relaxed: ordered as in
                    // `Body::insert`. The body stays while it counts us.
                    let body = unsafe { body.as_ref() };
                    body.reserve();
                    drop(guard);
                    let renewed = body.renew(hash, core, flags);
                    body.settle();
                    if !renewed {
                        return Err(AllocError::OutOfMemory);
                    }
                }
                Step::Wait => {
                    drop(guard);
                    if !core.platform.relax(flags, waited) {
                        return Err(AllocError::Busy);
                    }
                    waited = waited.saturating_add(1);
                }
                Step::Spent(entry) => {
                    drop(guard);
                    spare.seen = false;
                    // SAFETY: `insert` took it to DEAD and unlinked it.
                    unsafe { entry.retire(&core.platform, None) };
                }
                Step::NeedEntry => {
                    drop(guard);
                    let key = Attic::key(hash);
                    let made = OwnedEntry::new(this, &core.platform, key, obj, size, flags);
                    spare.entry = Some(made.map_err(|e| match e {
                        Unmade::Layout => AllocError::Layout,
                        Unmade::OutOfMemory => AllocError::OutOfMemory,
                    })?);
                    // Relaxed: statistics.
                    core.entries.fetch_add(1, Ordering::Relaxed);
                    core.bytes.fetch_add(size, Ordering::Relaxed);
                }
            }
        };
        // No guard from here on: the constructor may sleep and use the table, and
        // growing may allocate. The reservation keeps the body.
        ctor(reserved.entry.entry().data()).map_err(AllocError::Ctor)?;
        Ok(reserved.publish(flags))
    }

    /// Frees the variable of `obj`; its destructor runs after the grace period.
    pub(crate) fn free(&self, obj: usize, dtor: Option<Dtor>) -> bool {
        self.take(obj, |entry| {
            // SAFETY: `take` made us the one to retire it.
            unsafe { entry.retire(&self.platform, dtor.or(self.default_dtor)) };
        })
    }

    /// Frees the variable of `obj`, with `f` run on its data before the return.
    pub(crate) fn free_now(&self, obj: usize, f: impl FnOnce(NonNull<u8>)) -> bool {
        self.take(obj, |entry| {
            f(entry.entry().data());
            // SAFETY: as above.
            unsafe { entry.retire(&self.platform, None) };
        })
    }

    /// Takes the variable of `obj` out of the list and gives it, with no guard
    /// held, to `then`. False when there is none.
    fn take(&self, obj: usize, then: impl FnOnce(OwnedEntry<P>)) -> bool {
        let hash = self.hash(obj);
        let guard = self.platform.pin();
        // Acquire: as in `get`.
        let body = self.body.load(Ordering::Acquire);
        // SAFETY: loaded under the guard.
        let Some(body) = (unsafe { body.as_ref() }) else {
            return false;
        };
        // SAFETY: as above.
        let Some((found, place)) = (unsafe { body.find(hash, obj) }) else {
            return false;
        };
        if !found.entry().kill() {
            // Being constructed, which is as if it came later; or already dead,
            // which is as if we came later.
            return false;
        }
        // SAFETY: as above, and we took the entry to DEAD.
        unsafe { body.unlink(self, hash, found, place) };
        drop(guard);
        then(found);
        true
    }

    /// Makes every variable invisible at once; they are destroyed later.
    pub(crate) fn free_all(&self, dtor: Option<Dtor>) {
        // Acquire: we hand the body's contents on. Release is not needed: null
        // publishes nothing.
        let body = self.body.swap(core::ptr::null_mut(), Ordering::Acquire);
        if let Some(body) = NonNull::new(body) {
            // SAFETY: the swap gave it to us alone.
            unsafe { Body::retire(body, &self.platform, dtor.or(self.default_dtor)) };
        }
    }

    pub(crate) fn for_each(&self, f: &mut dyn FnMut(usize, NonNull<u8>)) {
        let _guard = self.platform.pin();
        // Acquire: as in `get`.
        let body = self.body.load(Ordering::Acquire);
        // SAFETY: loaded under the guard.
        if let Some(body) = unsafe { body.as_ref() } {
            // SAFETY: as above.
            unsafe { body.for_each(f) };
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let _guard = self.platform.pin();
        // Acquire: as in `get`.
        let body = self.body.load(Ordering::Acquire);
        // SAFETY: loaded under the guard.
        let (live, attic, lines) = unsafe { body.as_ref().map_or((0, 0, 0), |body| body.counts()) };
        // Relaxed: statistics.
        Stats {
            live,
            pending: self.entries.load(Ordering::Relaxed).saturating_sub(live),
            bytes: self.bytes.load(Ordering::Relaxed),
            lines,
            attic,
            splits: self.splits.load(Ordering::Relaxed),
        }
    }
}

impl<P: Platform> Reservation<'_, P> {
    /// Makes the constructed variable visible, then looks after the table: who
    /// waits for the variable does not wait for that.
    fn publish(self, flags: AllocFlags) -> NonNull<u8> {
        let data = self.entry.entry().data();
        // Release: pairs with the acquire loads of `state`: who sees LIVE sees
        // what the constructor wrote.
        self.entry.entry().state().store(LIVE, Ordering::Release);
        // SAFETY: the reservation (`busy`) keeps the body until `settle`.
        let body = unsafe { self.body.as_ref() };
        body.grow(self.hash, self.core, flags);
        body.settle();
        core::mem::forget(self);
        data
    }
}

impl<P: Platform> Drop for Reservation<'_, P> {
    fn drop(&mut self) {
        let guard = self.core.platform.pin();
        // SAFETY: the reservation keeps the body; the guard keeps the nodes that
        // the search meets.
        unsafe {
            let body = self.body.as_ref();
            // Relaxed: nobody reads the data of a dead entry.
            self.entry.entry().state().store(DEAD, Ordering::Relaxed);
            body.unlink(self.core, self.hash, self.entry, self.place);
            body.settle();
        }
        drop(guard);
        // SAFETY: dead and unlinked by us, who alone may leave RESERVED.
        unsafe { self.entry.retire(&self.core.platform, None) };
    }
}
