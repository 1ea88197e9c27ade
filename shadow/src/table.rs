//! One shadow type: the handle that data-plane users hold.

use core::ffi::c_void;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::error::{AllocError, OutOfMemory};
use crate::platform::{AllocFlags, Platform};
use crate::raw::{BATCH, Core, Dtor, Stats};
use crate::session::Session;

/// What a lookup with a cookie found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Lookup<T> {
    /// The object's variable.
    Live(T),
    /// A variable of an object that was at the address before (or of none, if
    /// only one of the two cookies is 0).
    Stale,
    /// No variable.
    Absent,
}

/// All shadow variables of one id.
///
/// A handle is counted: clones share the type, and the last one dropped frees
/// every variable, as [`free_all`](Self::free_all) would. Dropping never waits.
///
/// # Pointers
/// The operations give raw pointers to the data. One stays valid until the
/// variable is freed and the guards of that moment are gone; callers exclude
/// each other over the *data* themselves, as with `klp_shadow_*`.
/// [`ShadowMap`](crate::ShadowMap) is the safe, typed form.
///
/// # Context
/// [`get`](Self::get) runs anywhere a guard can be had, NMI included if the
/// platform's guard allows it. The others are lock-free; they allocate as
/// `flags` say, and wait only for a running constructor of the *same* object.
#[repr(transparent)]
pub struct Table<P: Platform> {
    core: NonNull<Core<P>>,
}

// SAFETY: the core is shared state made of atomics and constants; variables are
// handed out as raw pointers, whose users answer for what they do with them.
unsafe impl<P: Platform> Send for Table<P> {}
// SAFETY: as above.
unsafe impl<P: Platform> Sync for Table<P> {}

impl<P: Platform> Table<P> {
    /// A new type without variables. `id` is a name only; any value will do.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(platform: P, id: u64) -> Result<Self, OutOfMemory> {
        Self::with_dtor(platform, id, None, AllocFlags::default())
    }

    /// A new type whose variables get `dtor` wherever none is given.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn with_dtor(
        platform: P,
        id: u64,
        dtor: Option<Dtor>,
        flags: AllocFlags,
    ) -> Result<Self, OutOfMemory> {
        let core = Core::create(platform, id, dtor, flags).ok_or(OutOfMemory)?;
        Ok(Self { core })
    }

    #[inline(always)]
    fn core(&self) -> &Core<P> {
        // SAFETY: a handle keeps its core.
        unsafe { self.core.as_ref() }
    }

    /// The id that the type was made with.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.core().id()
    }

    /// The platform that the type lives on.
    #[must_use]
    pub fn platform(&self) -> &P {
        self.core().platform()
    }

    /// The data of `obj`'s variable, for as long as the guard lives.
    ///
    /// Wait-free, loads only (G1). A variable whose constructor still runs is
    /// not there yet.
    // Always inlined: in a loop over objects its constants are loaded once.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, obj: usize, guard: &P::Guard) -> Option<NonNull<u8>> {
        self.core().get(obj, guard)
    }

    /// A reader that takes a guard for many lookups.
    #[must_use]
    pub fn session(&self) -> Session<'_, P> {
        Session::new(self)
    }

    /// [`get`](Self::get) of each of `objs`, into the same place of `found`.
    ///
    /// Thirty-two at a time are in flight, so that a large table's lookups wait for
    /// memory together. Each answer is right for some moment of the call, as if
    /// looked up by itself; which of two is looked up first is not said.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn get_many(&self, objs: &[usize], found: &mut [Option<NonNull<u8>>], _guard: &P::Guard) {
        assert_eq!(objs.len(), found.len(), "a place for each object");
        for (objs, found) in objs.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            self.core().get_batch(objs, found);
        }
    }

    /// As [`get`](Self::get), if the variable was made with this cookie (G10).
    ///
    /// A cookie says which object the address belonged to: a number that another
    /// object at the same address does not have, such as a generation or a time of
    /// birth. A variable made without one has the cookie 0.
    pub fn get_with_cookie(
        &self,
        obj: usize,
        cookie: u64,
        guard: &P::Guard,
    ) -> Lookup<NonNull<u8>> {
        match self.core().get_with_cookie(obj, guard) {
            Some((data, its)) if its == cookie => Lookup::Live(data),
            Some(_) => Lookup::Stale,
            None => Lookup::Absent,
        }
    }

    /// The cookie that `obj`'s variable was made with, 0 if without one.
    #[must_use]
    pub fn cookie(&self, obj: usize, guard: &P::Guard) -> Option<u64> {
        self.core()
            .get_with_cookie(obj, guard)
            .map(|(_, cookie)| cookie)
    }

    /// [`alloc`](Self::alloc) with a cookie of the object's birth, for
    /// [`get_with_cookie`](Self::get_with_cookie). Costs 32 bytes more, if not 0.
    ///
    /// A variable of another birth is not replaced: free it first.
    ///
    /// # Errors
    /// As [`alloc`](Self::alloc).
    pub fn alloc_with_cookie<E>(
        &self,
        obj: usize,
        cookie: u64,
        size: usize,
        flags: AllocFlags,
        ctor: impl FnOnce(NonNull<u8>) -> Result<(), E>,
    ) -> Result<NonNull<u8>, AllocError<E>> {
        self.alloc_within(obj, cookie, size, flags, || (), ctor)
    }

    /// [`alloc_with_cookie`](Self::alloc_with_cookie) in a section of the caller's: what
    /// `section` makes lives from before the variable's place is reserved until the
    /// variable is published, or the place is given up, `ctor` included.
    ///
    /// So a caller in an interrupt never meets a variable that the interrupted one is
    /// only just making, if the section is one without interrupts. Memory is had and
    /// others are waited for outside of it; then it is made anew.
    ///
    /// `section` is called under a guard, and what it makes may be dropped under one:
    /// neither may sleep.
    ///
    /// # Errors
    /// As [`alloc`](Self::alloc).
    pub fn alloc_within<S, E>(
        &self,
        obj: usize,
        cookie: u64,
        size: usize,
        flags: AllocFlags,
        section: impl Fn() -> S,
        ctor: impl FnOnce(NonNull<u8>) -> Result<(), E>,
    ) -> Result<NonNull<u8>, AllocError<E>> {
        Core::insert(self.core, obj, size, cookie, flags, section, ctor)
    }

    /// Attaches `size` zeroed bytes to `obj`, constructed by `ctor`.
    ///
    /// The data is aligned to [`MAX_ALIGN`](crate::MAX_ALIGN); its address is
    /// final before `ctor` runs (G4), which happens once, with no lock and no
    /// guard of the table held (G5): it may sleep where the caller may, and use
    /// the table. If it fails or panics nothing is left behind.
    ///
    /// # Errors
    /// [`AllocError::Exists`] with the data that is there (after waiting for its
    /// constructor), or why none could be made.
    pub fn alloc<E>(
        &self,
        obj: usize,
        size: usize,
        flags: AllocFlags,
        ctor: impl FnOnce(NonNull<u8>) -> Result<(), E>,
    ) -> Result<NonNull<u8>, AllocError<E>> {
        self.alloc_with_cookie(obj, 0, size, flags, ctor)
    }

    /// The data of `obj`'s variable, made as by [`alloc`](Self::alloc) if there
    /// is none; `size` and `ctor` are ignored if there is.
    ///
    /// # Errors
    /// As [`alloc`](Self::alloc), without `Exists`.
    pub fn get_or_alloc<E>(
        &self,
        obj: usize,
        size: usize,
        flags: AllocFlags,
        ctor: impl FnOnce(NonNull<u8>) -> Result<(), E>,
    ) -> Result<NonNull<u8>, AllocError<E>> {
        if let Some(data) = self.core().find(obj) {
            return Ok(data);
        }
        match self.alloc(obj, size, flags, ctor) {
            Err(AllocError::Exists(data)) => Ok(data),
            other => other,
        }
    }

    /// Frees `obj`'s variable; false when there is none.
    ///
    /// Invisible on return; the type's destructor runs once after the grace period,
    /// in a context that may sleep (G8).
    pub fn free(&self, obj: usize) -> bool {
        self.core().free(obj)
    }

    /// [`free`](Self::free) with another destructor than the type's.
    ///
    /// # Errors
    /// [`OutOfMemory`]: nothing is freed; call again when something was reclaimed.
    /// It takes seven different destructors that wait for the grace period at one
    /// time, and no memory for a list of further ones.
    pub fn free_with(&self, obj: usize, dtor: Dtor) -> Result<bool, OutOfMemory> {
        self.core().free_with(obj, dtor)
    }

    /// Frees `obj`'s variable with `f` run on its data before the return, as
    /// `klp_shadow_free` does: readers may still hold the pointer (D9). No other
    /// destructor runs.
    pub fn free_now(&self, obj: usize, f: impl FnOnce(NonNull<u8>)) -> bool {
        self.core().free_now(obj, f)
    }

    /// For a caller who is about to write under a lock or with interrupts off: helps what
    /// replaces the lines of `obj` (growth, merging) to its end, so that the write need not.
    ///
    /// Costs a look if there is nothing to help, and else some 100,000 instructions at most,
    /// each step of some 5,000 under a guard of its own. Another replacement may begin before
    /// the write does.
    pub fn help(&self, obj: usize) {
        self.core().help(obj);
    }

    /// Frees every variable: invisible at once, whatever their number (G7), and
    /// destroyed in slices after the grace period, each with `dtor` (or the
    /// type's). Variables made meanwhile are new ones and stay.
    pub fn free_all(&self, dtor: Option<Dtor>) {
        self.core().free_all(dtor);
    }

    /// Calls `f` for the variables, under a guard that is renewed after every
    /// thousand or so.
    ///
    /// Each variable that exists throughout the call is seen once; one that is
    /// made or freed meanwhile may be seen or not; none is seen twice.
    pub fn for_each(&self, mut f: impl FnMut(usize, NonNull<u8>)) {
        self.core().for_each(false, &mut f);
    }

    /// [`for_each`](Self::for_each) for an `f` that frees what it is given: the guard is
    /// renewed after every fifty or so. (What is left after that of a thousand or so, as
    /// what found no lane, comes under one.)
    ///
    /// Each variable that exists throughout the call is seen. One that `f` leaves may be
    /// seen again.
    pub fn for_each_to_free(&self, mut f: impl FnMut(usize, NonNull<u8>)) {
        self.core().for_each(true, &mut f);
    }

    /// How many variables a lookup finds; exact when nobody writes.
    ///
    /// Costs a look at each segment, a thousand variables.
    #[must_use]
    pub fn live(&self) -> usize {
        self.core().live()
    }

    /// Lets the type merge segments that are nearly empty, before anything was freed in it:
    /// in a model it does not by itself.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn let_merge(&self) {
        self.core().let_merge();
    }

    /// What the type holds. Costs a look at each segment, and a walk over what
    /// found no lane.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    /// The handle as an address that can go through C.
    #[must_use]
    pub fn into_raw(self) -> NonNull<c_void> {
        ManuallyDrop::new(self).core.cast()
    }

    /// The handle that [`into_raw`](Self::into_raw) gave away.
    ///
    /// # Safety
    /// `raw` came from `into_raw` of the same platform's type; each is taken
    /// back once.
    #[must_use]
    pub unsafe fn from_raw(raw: NonNull<c_void>) -> Self {
        Self { core: raw.cast() }
    }

    /// A look at a handle that stays given away.
    ///
    /// # Safety
    /// As [`from_raw`](Self::from_raw), except that the handle is not taken
    /// back, and is not while the result is used.
    #[must_use]
    pub unsafe fn borrow_raw(raw: NonNull<c_void>) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self { core: raw.cast() })
    }
}

impl<P: Platform> Clone for Table<P> {
    fn clone(&self) -> Self {
        self.core().handle_up();
        Self { core: self.core }
    }
}

impl<P: Platform> Drop for Table<P> {
    fn drop(&mut self) {
        // SAFETY: this handle is given up.
        unsafe { Core::handle_down(self.core) }
    }
}

impl<P: Platform> fmt::Debug for Table<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("id", &self.id())
            .field("stats", &self.stats())
            .finish()
    }
}
