//! Memory for a table in userspace.
//!
//! A large table's lookups miss the caches, and with 4 KiB pages the processor's
//! table of pages (TLB) too. mimalloc's heaps, told to use 2 MiB pages, need one
//! of its places where the C library's needs five hundred; its size classes fit an
//! entry of 64 bytes exactly, and an allocation costs less. The system decides
//! whether there are such pages ("always" or "madvise" in
//! `/sys/kernel/mm/transparent_hugepage/enabled`); without them all works the same.
//!
//! Nothing else of the program is allocated so, unless it uses mimalloc itself:
//! then the option holds for that too.

use core::alloc::Layout;
use core::ptr::NonNull;

#[cfg(all(feature = "large-pages", not(miri)))]
mod imp {
    use super::{Layout, NonNull};
    use libmimalloc_sys::{
        mi_free, mi_option_large_os_pages, mi_option_set_enabled, mi_zalloc_aligned,
    };
    use std::sync::Once;

    static LARGE_PAGES: Once = Once::new();

    pub(crate) fn alloc_zeroed(layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: an option's number, set before this crate's first allocation.
        LARGE_PAGES.call_once(|| unsafe { mi_option_set_enabled(mi_option_large_os_pages, true) });
        // SAFETY: a layout's alignment is a power of two.
        let block = unsafe { mi_zalloc_aligned(layout.size(), layout.align()) };
        NonNull::new(block.cast())
    }

    pub(crate) unsafe fn dealloc(block: NonNull<u8>, _layout: Layout) {
        // SAFETY: the caller's contract: mimalloc's block, and its last use.
        unsafe { mi_free(block.as_ptr().cast()) }
    }
}

#[cfg(not(all(feature = "large-pages", not(miri))))]
mod imp {
    use super::{Layout, NonNull};

    pub(crate) fn alloc_zeroed(layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the caller asks for some bytes.
        NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })
    }

    pub(crate) unsafe fn dealloc(block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract is the allocator's.
        unsafe { std::alloc::dealloc(block.as_ptr(), layout) }
    }
}

/// Zeroed memory, or `None` if there is none or none is asked for.
pub(crate) fn alloc_zeroed(layout: Layout) -> Option<NonNull<u8>> {
    (layout.size() != 0).then(|| imp::alloc_zeroed(layout))?
}

/// Gives a block back.
///
/// # Safety
/// It came from [`alloc_zeroed`] with the same layout and is not used afterwards.
pub(crate) unsafe fn dealloc(block: NonNull<u8>, layout: Layout) {
    // SAFETY: the caller's contract.
    unsafe { imp::dealloc(block, layout) }
}
