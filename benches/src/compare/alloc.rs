//! The global allocator, with a count of the bytes that are in use; a contestant
//! with an allocator of its own counts its blocks here too.
//!
//! Counting is off but for the memory row: a counter that all threads write
//! would slow down whoever allocates most. What is counted is the usable size
//! of each block: what the allocator really set aside, not what was asked for.
//!
//! The blocks are the C library's, as in most programs of Rust, while Umbra has its own
//! from mimalloc. What of a difference that is, rows show that are measured in a process
//! in which all blocks are mimalloc's: one that is started with [`MIMALLOC`] in its
//! environment. It is read before the first block is made, for a block goes back to where
//! it came from.

use libmimalloc_sys::{
    mi_free, mi_is_in_heap_region, mi_malloc_aligned, mi_option_large_os_pages,
    mi_option_set_enabled, mi_realloc_aligned, mi_usable_size, mi_zalloc_aligned,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, c_char, c_void};
use umbra_shadow::sync::{AtomicU64, AtomicUsize, Ordering};

/// The system's allocator, or mimalloc, counted on demand.
#[derive(Debug)]
pub struct Counting;

/// The variable that makes all blocks of a process mimalloc's.
pub const MIMALLOC: &CStr = c"UMBRA_BENCHES_MIMALLOC";

/// [`UNDECIDED`], [`LIBC`] or [`MI`].
static WHOSE: AtomicUsize = AtomicUsize::new(UNDECIDED);
const UNDECIDED: usize = 0;
const LIBC: usize = 1;
const MI: usize = 2;

/// Whether blocks are mimalloc's.
#[inline]
fn mimalloc() -> bool {
    // Relaxed: decided once, before there is a second thread.
    match WHOSE.load(Ordering::Relaxed) {
        UNDECIDED => decide(),
        whose => whose == MI,
    }
}

#[cold]
fn decide() -> bool {
    // SAFETY: a string with its zero; before `main` nobody changes the environment.
    let asked = !unsafe { getenv(MIMALLOC.as_ptr()) }.is_null();
    if asked {
        // As Umbra asks for it later: who allocates first must not be without.
        // SAFETY: an option's number.
        unsafe { mi_option_set_enabled(mi_option_large_os_pages, true) };
    }
    // Relaxed: as above.
    WHOSE.store(if asked { MI } else { LIBC }, Ordering::Relaxed);
    asked
}

/// Whether this program's blocks really are mimalloc's.
#[must_use]
pub fn from_mimalloc() -> bool {
    let block = Box::new(0u64);
    // SAFETY: any address may be asked about.
    unsafe { mi_is_in_heap_region((&raw const *block).cast()) }
}

/// 1 while counting. A word of its own that is otherwise only read.
static ON: AtomicUsize = AtomicUsize::new(0);
/// Bytes in use, relative to when counting began; wraps below zero.
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: the C library's own functions; to the first a null pointer is 0 bytes.
unsafe extern "C" {
    fn malloc_usable_size(block: *mut c_void) -> usize;
    fn getenv(name: *const c_char) -> *const c_char;
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

/// What was set aside for a block.
fn usable_size(block: *mut u8) -> usize {
    // SAFETY: a live block of the allocator that this process has, or null.
    unsafe {
        match mimalloc() {
            true => mi_usable_size(block.cast()),
            false => malloc_usable_size(block.cast()),
        }
    }
}

// SAFETY: all blocks are of one allocator, handled with its contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let block = unsafe {
            match mimalloc() {
                true => mi_malloc_aligned(layout.size(), layout.align()).cast(),
                false => System.alloc(layout),
            }
        };
        count(1, || usable_size(block));
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let block = unsafe {
            match mimalloc() {
                true => mi_zalloc_aligned(layout.size(), layout.align()).cast(),
                false => System.alloc_zeroed(layout),
            }
        };
        count(1, || usable_size(block));
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-1, || usable_size(block));
        // SAFETY: the caller's contract.
        unsafe {
            match mimalloc() {
                true => mi_free(block.cast()),
                false => System.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(-1, || usable_size(block));
        // SAFETY: the caller's contract.
        let moved = unsafe {
            match mimalloc() {
                true => mi_realloc_aligned(block.cast(), size, layout.align()).cast(),
                false => System.realloc(block, layout, size),
            }
        };
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
