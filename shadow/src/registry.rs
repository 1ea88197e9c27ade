//! Types by id: the dynamic form, as `klp_shadow_*` has it.
//!
//! The ids are few and change rarely, so they stand in one sorted array that is
//! replaced as a whole (copied, changed, published by a CAS, the old one retired).
//! A lookup is one acquire load and a binary search under a guard.

use crate::sync::Cell;
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use crate::error::{AllocError, OutOfMemory};
use crate::platform::{AllocFlags, Link, Platform, Progress};
use crate::raw::Dtor;
use crate::sync::{AtomicPtr, Ordering};
use crate::table::Table;

/// Shadow variables by `(object address, id)`.
///
/// Each id has a [`Table`] of its own, made when it is first written and kept
/// until [`drop_type`](Self::drop_type). A user of one id should hold its `Table`
/// and save the search; the operations here are the search, then the table's.
pub struct ShadowTable<P: Platform> {
    platform: P,
    /// Null when no id is known.
    ids: AtomicPtr<Ids<P>>,
}

/// The head of a block; the tables follow it, sorted by id.
#[repr(C)]
struct Ids<P: Platform> {
    link: Link,
    platform: P,
    len: usize,
    /// A table that the successor has no more: dropped with this array.
    dropped: Cell<Option<Table<P>>>,
}

// SAFETY: tables are `Send + Sync`, and the cells of `Ids` are touched only by
// whoever replaced it.
unsafe impl<P: Platform> Send for ShadowTable<P> {}
// SAFETY: as above.
unsafe impl<P: Platform> Sync for ShadowTable<P> {}

impl<P: Platform> Ids<P> {
    fn layout(len: usize) -> Option<(Layout, usize)> {
        let tables = Layout::array::<Table<P>>(len).ok()?;
        Layout::new::<Self>().extend(tables).ok()
    }

    /// A block with room for `len` tables, none of them written yet.
    fn make(platform: &P, len: usize, flags: AllocFlags) -> Option<NonNull<Self>> {
        let block = platform
            .alloc_zeroed(Self::layout(len)?.0, flags)?
            .cast::<Self>();
        // SAFETY: fresh memory of the layout.
        unsafe {
            block.write(Self {
                link: Link::new(Self::reclaim),
                platform: platform.clone(),
                len,
                dropped: Cell::new(None),
            });
        }
        Some(block)
    }

    /// Where the first table stands.
    ///
    /// # Safety
    /// `this` is a live block.
    unsafe fn first(this: NonNull<Self>) -> *mut Table<P> {
        // SAFETY: the caller's contract; the block was laid out so for `len`.
        unsafe {
            const { assert!(size_of::<Self>().is_multiple_of(align_of::<Table<P>>())) };
            this.add(1).cast().as_ptr()
        }
    }

    /// # Safety
    /// `this` is a live block whose tables are written.
    unsafe fn tables<'a>(this: NonNull<Self>) -> &'a [Table<P>] {
        // SAFETY: the caller's contract; `len` tables were written.
        unsafe { core::slice::from_raw_parts(Self::first(this), this.as_ref().len) }
    }

    /// Gives the block back, not the handles in it.
    ///
    /// # Safety
    /// `this` is unreachable, and its handles live elsewhere.
    unsafe fn free(this: NonNull<Self>) {
        // SAFETY: the caller's contract.
        unsafe {
            let platform = this.as_ref().platform.clone();
            let layout = Self::layout(this.as_ref().len);
            this.drop_in_place();
            if let Some((layout, _)) = layout {
                platform.dealloc(this.cast(), layout);
            }
        }
    }

    /// # Safety
    /// [`Link::reclaim`]'s contract.
    unsafe fn reclaim(link: NonNull<Link>) -> Progress {
        // SAFETY: the link is the block's first field.
        unsafe { Self::free(link.cast()) };
        Progress::Done
    }
}

impl<P: Platform> ShadowTable<P> {
    /// No ids and no variables; allocates nothing.
    pub fn new(platform: P) -> Self {
        Self {
            platform,
            ids: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// The platform that the table lives on.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// Enters a read-side critical section.
    pub fn pin(&self) -> P::Guard {
        self.platform.pin()
    }

    /// The tables there are.
    fn tables<'g>(&'g self, _guard: &'g P::Guard) -> &'g [Table<P>] {
        // Acquire: pairs with the release CAS in `replace`: the array's contents
        // and each table's core are visible.
        match NonNull::new(self.ids.load(Ordering::Acquire)) {
            // SAFETY: loaded under the guard, which keeps the array while the
            // borrow of `self` keeps its last one.
            Some(ids) => unsafe { Ids::tables(ids) },
            None => &[],
        }
    }

    /// The table of `id`, if the id is known.
    #[must_use]
    pub fn find<'g>(&'g self, id: u64, guard: &'g P::Guard) -> Option<&'g Table<P>> {
        let tables = self.tables(guard);
        tables
            .binary_search_by_key(&id, Table::id)
            .ok()
            .map(|i| &tables[i])
    }

    /// A handle of `id`'s table, which is made if the id is new.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn table(&self, id: u64, flags: AllocFlags) -> Result<Table<P>, OutOfMemory> {
        let mut made = None;
        loop {
            if let Some(table) = self.find(id, &self.platform.pin()) {
                return Ok(table.clone());
            }
            let new = match made.take() {
                Some(table) => table,
                None => Table::with_dtor(self.platform.clone(), id, None, flags)?,
            };
            if self.change(id, Some(&new), flags)? {
                return Ok(new);
            }
            made = Some(new);
        }
    }

    /// Forgets `id`: its variables are freed as by [`Table::free_all`] when the
    /// last handle of its table is gone. False when the id is not known.
    ///
    /// # Errors
    /// [`OutOfMemory`]: nothing is changed.
    pub fn drop_type(&self, id: u64, flags: AllocFlags) -> Result<bool, OutOfMemory> {
        self.change(id, None, flags)
    }

    /// Replaces the array by one with `id`'s table added (a clone of `add`) or
    /// removed; false when that is already so.
    fn change(
        &self,
        id: u64,
        add: Option<&Table<P>>,
        flags: AllocFlags,
    ) -> Result<bool, OutOfMemory> {
        loop {
            let len = self.tables(&self.platform.pin()).len();
            let new_len = if add.is_some() {
                len + 1
            } else {
                len.saturating_sub(1)
            };
            // Allocated without a guard, for it may sleep.
            let new = Ids::<P>::make(&self.platform, new_len, flags).ok_or(OutOfMemory)?;
            let guard = self.platform.pin();
            // Relaxed: only compared; `tables` acquires what it looks at.
            let old = self.ids.load(Ordering::Relaxed);
            let tables = self.tables(&guard);
            let place = tables.binary_search_by_key(&id, Table::id);
            let settled = place.is_ok() == add.is_some();
            let current = core::ptr::eq(tables.as_ptr(), self.tables(&guard).as_ptr());
            if settled || tables.len() != len || !current {
                // SAFETY: nobody has seen the block, and it holds no handles.
                unsafe { Ids::free(new) };
                if settled {
                    return Ok(false);
                }
                continue;
            }
            let (before, after) = match place {
                Ok(at) => (at, &tables[at + 1..]),
                Err(at) => (at, &tables[at..]),
            };
            // SAFETY: the new block has room for exactly these. Handles are
            // copied bit by bit: the old array gives its copies up when the CAS
            // succeeds, the new one when it fails.
            unsafe {
                let mut to = Ids::first(new);
                core::ptr::copy_nonoverlapping(tables.as_ptr(), to, before);
                to = to.add(before);
                if let Some(table) = add {
                    to.write(table.clone());
                    to = to.add(1);
                }
                core::ptr::copy_nonoverlapping(after.as_ptr(), to, after.len());
            }
            // Release: publishes the array to the acquire load in `tables`; the
            // contents it was copied from were acquired above, under a guard that
            // keeps the old array's address from being used again.
            let swapped = self.ids.compare_exchange(
                old,
                new.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed, // the array is looked at anew
            );
            if swapped.is_err() {
                // SAFETY: nobody has seen the block; of the handles in it only
                // the added one is its own.
                unsafe {
                    if add.is_some() {
                        Ids::first(new).add(before).drop_in_place();
                    }
                    Ids::free(new);
                }
                continue;
            }
            // SAFETY: we replaced the old array, so we alone write its cell and
            // retire it; a removed table's handle moves to the cell and is
            // dropped with the array, after the readers who may borrow it.
            unsafe {
                if let Some(old) = NonNull::new(old) {
                    if let (Ok(at), None) = (place, add) {
                        let removed = tables.as_ptr().add(at).read();
                        old.as_ref().dropped.set(Some(removed));
                    }
                    drop(guard);
                    self.platform.retire(old.cast());
                }
            }
            return Ok(true);
        }
    }

    /// The data of the variable `(obj, id)`; see [`Table::get`].
    #[inline]
    #[must_use]
    pub fn get(&self, obj: usize, id: u64, guard: &P::Guard) -> Option<NonNull<u8>> {
        self.find(id, guard)?.get(obj, guard)
    }

    /// Attaches a variable; see [`Table::alloc`].
    ///
    /// # Errors
    /// As [`Table::alloc`].
    pub fn alloc<E>(
        &self,
        obj: usize,
        id: u64,
        size: usize,
        flags: AllocFlags,
        ctor: impl FnOnce(NonNull<u8>) -> Result<(), E>,
    ) -> Result<NonNull<u8>, AllocError<E>> {
        self.table(id, flags)?.alloc(obj, size, flags, ctor)
    }

    /// Finds or attaches a variable; see [`Table::get_or_alloc`].
    ///
    /// # Errors
    /// As [`Table::get_or_alloc`].
    pub fn get_or_alloc<E>(
        &self,
        obj: usize,
        id: u64,
        size: usize,
        flags: AllocFlags,
        ctor: impl FnOnce(NonNull<u8>) -> Result<(), E>,
    ) -> Result<NonNull<u8>, AllocError<E>> {
        self.table(id, flags)?.get_or_alloc(obj, size, flags, ctor)
    }

    /// Frees the variable `(obj, id)`; see [`Table::free`].
    pub fn free(&self, obj: usize, id: u64) -> bool {
        self.handle(id).is_some_and(|table| table.free(obj))
    }

    /// Frees the variable `(obj, id)`; see [`Table::free_with`].
    ///
    /// # Errors
    /// As [`Table::free_with`].
    pub fn free_with(&self, obj: usize, id: u64, dtor: Dtor) -> Result<bool, OutOfMemory> {
        self.handle(id)
            .map_or(Ok(false), |table| table.free_with(obj, dtor))
    }

    /// Frees the variable `(obj, id)` with `f` run first; see
    /// [`Table::free_now`].
    pub fn free_now(&self, obj: usize, id: u64, f: impl FnOnce(NonNull<u8>)) -> bool {
        self.handle(id).is_some_and(|table| table.free_now(obj, f))
    }

    /// Frees all variables of `id`; see [`Table::free_all`].
    pub fn free_all(&self, id: u64, dtor: Option<Dtor>) {
        if let Some(table) = self.handle(id) {
            table.free_all(dtor);
        }
    }

    /// A handle of a known id's table, to be used without a guard.
    fn handle(&self, id: u64) -> Option<Table<P>> {
        self.find(id, &self.platform.pin()).cloned()
    }

    /// Calls `f` for each known id's table, in the order of the ids.
    pub fn for_each_type(&self, mut f: impl FnMut(&Table<P>)) {
        let guard = self.platform.pin();
        self.tables(&guard).iter().for_each(&mut f);
    }
}

impl<P: Platform> Drop for ShadowTable<P> {
    fn drop(&mut self) {
        // Relaxed: nobody else has the table any more.
        if let Some(ids) = NonNull::new(self.ids.load(Ordering::Relaxed)) {
            // SAFETY: as above; the array's handles are dropped in place, then
            // the block, which does not drop them again.
            unsafe {
                let len = ids.as_ref().len;
                core::ptr::slice_from_raw_parts_mut(Ids::first(ids), len).drop_in_place();
                Ids::free(ids);
            }
        }
    }
}

impl<P: Platform> fmt::Debug for ShadowTable<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.tables(&self.platform.pin()))
            .finish()
    }
}
