//! The global allocator, with a count of the bytes that are in use; a contestant
//! with an allocator of its own counts its blocks here too.
//!
//! Counting is off but for the memory row: a counter that all threads write
//! would slow down whoever allocates most. What is counted is the usable size
//! of each block: what the allocator really set aside, not what was asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use umbra_shadow::sync::{AtomicU64, AtomicUsize, Ordering};

/// The system's allocator, counted on demand.
#[derive(Debug)]
pub struct Counting;

/// 1 while counting. A word of its own that is otherwise only read.
static ON: AtomicUsize = AtomicUsize::new(0);
/// Bytes in use, relative to when counting began; wraps below zero.
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: malloc's own function; a null pointer is 0 bytes.
unsafe extern "C" {
    fn malloc_usable_size(block: *mut c_void) -> usize;
}

/// Counts a block, of a size that is only asked for while counting is on.
#[inline]
pub fn count(sign: i64, size: impl FnOnce() -> usize) {
    // Relaxed: switched by the thread that allocates what is counted.
    if ON.load(Ordering::Relaxed) != 0 {
        // Relaxed: a sum, read after the work.
        BYTES.fetch_add((size() as i64 * sign) as u64, Ordering::Relaxed);
    }
}

/// What malloc set aside for a block.
fn usable_size(block: *mut u8) -> usize {
    // SAFETY: a live block of the system's allocator, or null.
    unsafe { malloc_usable_size(block.cast()) }
}

// SAFETY: all blocks are the system allocator's, handled with its contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let block = unsafe { System.alloc(layout) };
        count(1, || usable_size(block));
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let block = unsafe { System.alloc_zeroed(layout) };
        count(1, || usable_size(block));
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-1, || usable_size(block));
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(-1, || usable_size(block));
        // SAFETY: the caller's contract.
        let moved = unsafe { System.realloc(block, layout, size) };
        count(1, || {
            usable_size(if moved.is_null() { block } else { moved })
        });
        moved
    }
}

/// The bytes in use after `work` beyond those before it, and its result. Only
/// for a program whose global allocator is [`Counting`].
pub fn counted<R>(work: impl FnOnce() -> R) -> (i64, R) {
    // Relaxed: this thread does the work that is counted.
    BYTES.store(0, Ordering::Relaxed);
    // Relaxed: as above.
    ON.store(1, Ordering::Relaxed);
    let result = work();
    // Relaxed: as above.
    ON.store(0, Ordering::Relaxed);
    // Relaxed: as above.
    (BYTES.load(Ordering::Relaxed) as i64, result)
}
