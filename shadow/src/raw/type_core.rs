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

use super::blocks::null;
use super::body::Body;
use super::entry::{Dtor, Entry};
use super::limbo::Limbo;
use super::line::Search;
use super::shrink::Shrinking;
use super::sizes::Sizes;
use super::stripes::Stripes;
use super::tidy::Merging;
use crate::error::OutOfMemory;
use crate::platform::{AllocFlags, Link, Platform};
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
    /// The most variables of colliding hashes that a lookup has to walk past,
    /// beyond its line (G12).
    pub longest: usize,
    /// How often all variables were freed at once. Those there are were made
    /// since the last time.
    pub generation: usize,
    /// Of the live variables, those that found no lane in their line: a lookup of
    /// one costs a few cache lines more.
    pub attic: usize,
    /// How often lines were replaced (a segment split or renewed), in all.
    pub splits: usize,
    /// How often two segments that were nearly empty became one, in all.
    pub merges: usize,
}

/// The bits of a seed. The low half would break up what the multiplication makes of
/// objects of equal distance.
const SEED: u64 = !0xffff_ffff;

/// What the hash multiplies by: odd, its bits mixed.
const MULTIPLIER: u64 = 0xD6E8_FEB8_6659_FD93;

#[repr(C)]
pub(crate) struct Core<P: Platform> {
    /// Retired for all of the limbo.
    pub(super) link: Link,
    /// The pointer that the core was made as, with leave to give its memory back.
    pub(super) me: NonNull<Self>,
    platform: P,
    id: u64,
    default_dtor: Option<Dtor>,
    /// All that lookups read of a type stands together, from here on.
    body: AtomicPtr<Body<P>>,
    seed: u64,
    /// [`MULTIPLIER`]: see [`Search`].
    multiplier: u64,
    pub(super) search: Search,
    handles: AtomicUsize,
    owners: AtomicUsize,
    splits: AtomicUsize,
    merges: AtomicUsize,
    generation: AtomicUsize,
    pub(super) sizes: Sizes,
    pub(super) limbo: Limbo,
    pub(super) shrinking: Shrinking<P>,
    pub(super) merging: Merging<P>,
    counts: Stripes<Counts>,
}

/// What a type's memory is asked for, each wrapping in its stripe.
struct Counts {
    entries: AtomicUsize,
    bytes: AtomicUsize,
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
        let seed = platform.seed() & SEED;
        let core = memory.as_ptr();
        // SAFETY: fresh memory of this layout; each field is written in place (a
        // kernel stack has no room for all of it).
        unsafe {
            (&raw mut (*core).link).write(Link::new(Self::reclaim_limbo));
            (&raw mut (*core).me).write(memory);
            (&raw mut (*core).platform).write(platform);
            (&raw mut (*core).id).write(id);
            (&raw mut (*core).default_dtor).write(default_dtor);
            (&raw mut (*core).seed).write(seed);
            (&raw mut (*core).multiplier).write(MULTIPLIER);
            (&raw mut (*core).search).write(Search::NEW);
            (&raw mut (*core).body).write(null());
            (&raw mut (*core).handles).write(AtomicUsize::new(1));
            (&raw mut (*core).owners).write(AtomicUsize::new(1));
            (&raw mut (*core).splits).write(AtomicUsize::new(0));
            (&raw mut (*core).merges).write(AtomicUsize::new(0));
            (&raw mut (*core).generation).write(AtomicUsize::new(0));
            (&raw mut (*core).sizes).write(Sizes::new());
            (&raw mut (*core).limbo).write(Limbo::new(default_dtor));
            (&raw mut (*core).shrinking).write(Shrinking::new());
            (&raw mut (*core).merging).write(Merging::new());
            Stripes::init_with(&raw mut (*core).counts, || Counts {
                entries: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
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
            this.as_ref().limbo.end(&platform);
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

    pub(super) fn count_merge(&self) {
        // Relaxed: a statistic.
        self.merges.fetch_add(1, Ordering::Relaxed);
    }

    /// An entry was made.
    pub(super) fn count_entry(&self, obj: usize, size: usize) {
        let counts = self.counts.of(obj as u64);
        // Relaxed: statistics, here and below.
        counts.entries.fetch_add(1, Ordering::Relaxed);
        counts.bytes.fetch_add(size, Ordering::Relaxed);
    }

    /// So many entries' memory is about to go, or has just gone.
    pub(super) fn forget_entries(&self, stripe: usize, entries: usize, bytes: usize) {
        let counts = self.counts.of(stripe as u64);
        // Relaxed: as above.
        counts.entries.fetch_sub(entries, Ordering::Relaxed);
        counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The sum of one of the counts; exact when nobody counts.
    fn sum(&self, count: impl Fn(&Counts) -> &AtomicUsize) -> usize {
        // Relaxed: as above.
        let each = self.counts.iter().map(|c| count(c).load(Ordering::Relaxed));
        each.fold(0, usize::wrapping_add)
    }

    /// Injective for one seed: a multiplicative hash (Knuth, *The Art of Computer
    /// Programming* 3, 6.4) and a fold, so that every bit of the address is in the
    /// low half, which the segments are chosen by. Addresses of equal distance, as
    /// in a slab, spread more evenly than by chance; the seed leaves that alone.
    #[inline(always)]
    pub(super) fn hash(&self, obj: usize) -> u64 {
        let x = (obj as u64 ^ self.seed).wrapping_mul(self.multiplier);
        x ^ (x >> 32)
    }

    // Always inlined: in a loop over objects its constants are loaded once.
    #[inline(always)]
    pub(crate) fn get(&self, obj: usize, _guard: &P::Guard) -> Option<NonNull<u8>> {
        // SAFETY: the guard is older than the pointer, so the body is kept.
        let body = unsafe { self.body_now()?.as_ref() };
        // SAFETY: as above.
        unsafe { body.get(self, obj) }
    }

    /// [`get`](Self::get) under a guard that ends with the call: for callers who
    /// know otherwise that the variable stays.
    pub(crate) fn find(&self, obj: usize) -> Option<NonNull<u8>> {
        self.get(obj, &self.platform.pin())
    }

    /// The live variable of `obj` and the cookie that it was made with.
    pub(crate) fn get_with_cookie(
        &self,
        obj: usize,
        guard: &P::Guard,
    ) -> Option<(NonNull<u8>, u64)> {
        // SAFETY: a live entry's data, under the guard.
        self.get(obj, guard)
            .map(|data| (data, unsafe { Entry::of_data(data) }.cookie()))
    }

    /// Looks up a few objects, each step for all of them before the next.
    pub(crate) fn get_batch(&self, objs: &[usize], found: &mut [Option<NonNull<u8>>]) {
        match self.body_now() {
            // SAFETY: the caller's guard is older than the pointer.
            Some(body) => unsafe { body.as_ref().get_batch(self, objs, found) },
            None => found.fill(None),
        }
    }

    /// The body, if there is one; good under a guard taken before.
    #[inline(always)]
    pub(super) fn body_now(&self) -> Option<NonNull<Body<P>>> {
        // Acquire: pairs with the release CAS in `body_for_insert`: the body's
        // initial contents are visible; and with that in `take_body`.
        NonNull::new(self.body.load(Ordering::Acquire))
    }

    /// Sees to it that there is a body, for now; false without memory.
    pub(super) fn body_for_insert(&self, this: NonNull<Self>, flags: AllocFlags) -> bool {
        if self.body_now().is_some() {
            return true;
        }
        // SAFETY: `this` is alive, being `self`.
        let Some(made) = (unsafe { Body::new(this, flags) }) else {
            return false;
        };
        // Release: publishes the body to the acquire loads of this word. Relaxed on
        // failure: there is another one, which is loaded under a guard.
        let put = self.body.compare_exchange(
            core::ptr::null_mut(),
            made.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed, // loaded under a guard
        );
        if put.is_err() {
            // SAFETY: nobody has seen `made`.
            unsafe { Body::discard(made) };
        }
        true
    }

    /// Takes this body out of the type; true for who does it, if it is still there.
    pub(super) fn take_body(&self, body: NonNull<Body<P>>) -> bool {
        self.body
            .compare_exchange(
                body.as_ptr(),
                core::ptr::null_mut(),
                // Release: pairs with the acquire in `body_now`: what was freed in it was
                // freed before what is put into the next one. (Its contents, which we hand
                // on, were acquired with the caller's pointer.)
                Ordering::Release,
                Ordering::Relaxed, // another one has taken it
            )
            .is_ok()
    }

    /// How many entries there are, live or pending; about.
    pub(super) fn entries(&self) -> usize {
        self.sum(|counts| &counts.entries)
    }

    /// Frees the variable of `obj`; the type's destructor runs after the grace
    /// period.
    pub(crate) fn free(&self, obj: usize) -> bool {
        self.take(obj, |entry| {
            // SAFETY: `take` made us the one to retire it.
            unsafe { self.retire(entry, self.limbo.own()) };
        })
    }

    /// [`free`](Self::free) with another destructor.
    pub(crate) fn free_with(&self, obj: usize, dtor: Dtor) -> Result<bool, OutOfMemory> {
        // Before anything is changed, and without a guard.
        let list = self.limbo.lend(dtor, &self.platform)?;
        let freed = self.take(obj, |entry| {
            // SAFETY: as above, and the list is lent.
            unsafe { self.retire(entry, list) };
        });
        if !freed {
            list.leave(1);
        }
        Ok(freed)
    }

    /// Frees the variable of `obj`, with `f` run on its data before the return.
    pub(crate) fn free_now(&self, obj: usize, f: impl FnOnce(NonNull<u8>)) -> bool {
        self.take(obj, |entry| {
            f(entry.data());
            // SAFETY: as above.
            unsafe { self.retire(entry, self.limbo.without_dtor()) };
        })
    }

    /// Takes the variable of `obj` out of the list and gives it, with no guard
    /// held, to `then`. False when there is none.
    fn take(&self, obj: usize, then: impl FnOnce(Entry)) -> bool {
        let hash = self.hash(obj);
        let guard = self.platform.pin();
        let Some(body) = self.body_now() else {
            return false;
        };
        // SAFETY: loaded under the guard.
        let body = unsafe { body.as_ref() };
        // SAFETY: as above.
        let Some((found, place)) = (unsafe { body.find(hash, obj) }) else {
            return false;
        };
        if !found.kill() {
            // Being constructed, which is as if it came later; or already dead,
            // which is as if we came later.
            return false;
        }
        // SAFETY: as above, and we took the entry to Dead.
        unsafe { body.unlink(self, hash, found, place, guard) };
        then(found);
        true
    }

    /// Makes every variable invisible at once; they are destroyed later.
    pub(crate) fn free_all(&self, dtor: Option<Dtor>) {
        // Acquire: we hand the body's contents on. Release is not needed: null
        // publishes nothing.
        let body = self.body.swap(core::ptr::null_mut(), Ordering::Acquire);
        // Relaxed: a statistic.
        self.generation.fetch_add(1, Ordering::Relaxed);
        if let Some(body) = NonNull::new(body) {
            // SAFETY: the swap gave it to us alone.
            unsafe { Body::retire(body, &self.platform, dtor.or(self.default_dtor)) };
        }
    }

    /// Helps what replaces the lines of an object to its end.
    pub(crate) fn help(&self, obj: usize) {
        let hash = self.hash(obj);
        let guard = self.platform.pin();
        let body = self.body_now();
        // SAFETY: loaded under the guard.
        let wanted = body.is_some_and(|body| unsafe { body.as_ref() }.wants_help(hash, true));
        drop(guard);
        if wanted {
            self.help_on(hash);
        }
    }

    /// The same of a hash, without a look whether there is something to help; a guard for
    /// each step.
    #[cold]
    fn help_on(&self, hash: u64) {
        loop {
            let _guard = self.platform.pin();
            let Some(body) = self.body_now() else { return };
            // SAFETY: loaded under the guard.
            if !unsafe { body.as_ref().help(self, hash) } {
                return;
            }
        }
    }

    /// Calls `f` for each live variable, under a guard of its own for each
    /// segment; if `sliced`, for those in its lanes before, under one for a few lines.
    pub(crate) fn for_each(&self, sliced: bool, f: &mut dyn FnMut(usize, NonNull<u8>)) {
        let (mut at, mut first) = (Some(0u64), None);
        let mut line = sliced.then_some(0);
        while let Some(prefix) = at {
            let mut guard = self.platform.pin();
            let Some(mut body) = self.body_now() else {
                return;
            };
            let hash = prefix.reverse_bits();
            // What was inserted before is found by slots that were published before this one, it
            // may be; and the first that `f` frees would have to help, under our guard.
            // SAFETY: loaded under the guard.
            if unsafe { body.as_ref() }.wants_help(hash, sliced) {
                drop(guard);
                self.help_on(hash);
                guard = self.platform.pin();
                let Some(now) = self.body_now() else { return };
                body = now;
            }
            // What was freed at once is not walked any more. (Its address may
            // come back: then variables that are new all through are.)
            if *first.get_or_insert(body) != body {
                return;
            }
            // SAFETY: loaded under the guard.
            let body = unsafe { body.as_ref() };
            if let Some(from) = line {
                // SAFETY: as above.
                line = unsafe { body.for_lines_from(prefix, from, f) };
            } else {
                // SAFETY: as above.
                at = unsafe { body.for_each_from(self, prefix, f) };
                line = sliced.then_some(0);
            }
            drop(guard);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let _guard = self.platform.pin();
        // SAFETY: loaded under the guard.
        let body = unsafe { self.body_now().map(|body| body.as_ref()) };
        // SAFETY: as above.
        let seen = unsafe { body.map(|body| body.counts()) }.unwrap_or_default();
        // SAFETY: as above.
        let longest = unsafe { body.map_or(0, |body| body.longest()) };
        let entries = self.entries();
        Stats {
            pending: entries.saturating_sub(seen.live),
            bytes: self.sum(|counts| &counts.bytes),
            splits: self.splits.load(Ordering::Relaxed), // a statistic
            merges: self.merges.load(Ordering::Relaxed), // a statistic
            generation: self.generation.load(Ordering::Relaxed), // a statistic
            longest,
            ..seen
        }
    }

    pub(crate) fn live(&self) -> usize {
        let _guard = self.platform.pin();
        let body = self.body_now();
        // SAFETY: loaded under the guard.
        unsafe { body.map_or(0, |body| body.as_ref().counts().live) }
    }
}
