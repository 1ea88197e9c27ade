//! Memory of the bounds: an array in pages of a chosen size.

use core::alloc::Layout;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use nix::sys::mman::{MmapAdvise, madvise};
use std::alloc::{alloc, dealloc, handle_alloc_error};

/// A large page, as the system gives it to those who ask.
const LARGE_PAGE: usize = 2 << 20;

/// A slice on the heap. With large pages it has whole ones to itself, if the
/// system gives any; else its pages are what the allocator has.
#[derive(Debug)]
pub(super) struct Array<T> {
    first: NonNull<T>,
    len: usize,
    layout: Layout,
}

impl<T: Copy> Array<T> {
    /// `len` copies of `value`; there is at least one.
    pub(super) fn of(value: T, len: usize, large_pages: bool) -> Self {
        assert!(len > 0 && size_of::<T>() > 0, "there is something to index");
        let mut layout = Layout::array::<T>(len).expect("it fits into memory");
        if large_pages {
            let whole = layout.align_to(LARGE_PAGE).expect("it fits into memory");
            layout = whole.pad_to_align();
        }
        // SAFETY: not of size 0.
        let block = NonNull::new(unsafe { alloc(layout) });
        let block = block.unwrap_or_else(|| handle_alloc_error(layout));
        if large_pages {
            // SAFETY: whole pages that are ours. It is advice: a system without
            // such pages does not take it, and the report says what came of it.
            let _ = unsafe { madvise(block.cast(), layout.size(), MmapAdvise::MADV_HUGEPAGE) };
        }
        let first = block.cast::<T>();
        for at in 0..len {
            // SAFETY: within the block, which nobody else has.
            unsafe { first.add(at).write(value) };
        }
        Self { first, len, layout }
    }

    /// The slice for the rest of the process.
    pub(super) fn leak(mut self) -> &'static mut [T] {
        let slice = core::ptr::from_mut::<[T]>(&mut self);
        core::mem::forget(self);
        // SAFETY: the block is never freed now, and nobody else knows it.
        unsafe { &mut *slice }
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `of` made so many.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, borrowed for as long.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: the block and its layout; `T` is `Copy`, which drops nothing.
        unsafe { dealloc(self.first.as_ptr().cast(), self.layout) };
    }
}

// SAFETY: it owns its values, as a boxed slice does.
unsafe impl<T: Send> Send for Array<T> {}
// SAFETY: shared, it lends them only to be read.
unsafe impl<T: Sync> Sync for Array<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_where_its_pages_are_and_holds_what_was_put_there() {
        for large in [false, true] {
            let mut array = Array::of(7u64, 1000, large);
            assert!(!large || (array.first.addr().get() % LARGE_PAGE == 0));
            array[999] = 8;
            assert!(array[..999].iter().all(|&n| n == 7) && array.len() == 1000);
            let leaked = array.leak();
            assert_eq!((leaked[0], leaked[999]), (7, 8));
        }
    }
}
