//! Blocks of a platform's memory: made once in a slot, filled in place, freed.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::platform::{AllocFlags, Platform};
use crate::sync::{AtomicPtr, Ordering};

/// A pointer to nothing yet.
pub(super) fn null<T>() -> AtomicPtr<T> {
    AtomicPtr::new(core::ptr::null_mut())
}

/// Initialises an array in place, element by element.
///
/// # Safety
/// `array` is valid for writes and holds nothing that needs dropping.
pub(super) unsafe fn fill<T, const N: usize>(array: *mut [T; N], element: impl Fn() -> T) {
    for i in 0..N {
        // SAFETY: `i` is inside the array.
        unsafe { array.cast::<T>().add(i).write(element()) };
    }
}

/// The block in `slot`, made by `init` if there is none yet.
pub(super) fn make<P: Platform, T>(
    slot: &AtomicPtr<T>,
    platform: &P,
    flags: AllocFlags,
    init: impl FnOnce(*mut T),
) -> Option<*mut T> {
    // Acquire: pairs with the release below, as the loads in `sentinel` do.
    let there = slot.load(Ordering::Acquire);
    if !there.is_null() {
        return Some(there);
    }
    let made = platform
        .alloc_zeroed(Layout::new::<T>(), flags)?
        .cast::<T>()
        .as_ptr();
    init(made);
    // Release: publishes the contents. Acquire on failure: we use the winner's.
    match slot.compare_exchange(
        core::ptr::null_mut(),
        made,
        Ordering::Release,
        Ordering::Acquire, // pairs with the winner's release
    ) {
        Ok(_) => Some(made),
        Err(winner) => {
            // SAFETY: nobody has seen `made`.
            unsafe { free_block(made, platform) };
            Some(winner)
        }
    }
}

/// # Safety
/// The block in `slot`, if any, came from `make` and is unreachable.
pub(super) unsafe fn free_made<P: Platform, T>(slot: &AtomicPtr<T>, platform: &P) {
    // Relaxed: the caller is alone with the slot.
    let block = slot.load(Ordering::Relaxed);
    if !block.is_null() {
        // SAFETY: the caller's contract.
        unsafe { free_block(block, platform) };
    }
}

/// # Safety
/// `block` came from `platform` with `T`'s layout and is unreachable.
pub(super) unsafe fn free_block<P: Platform, T>(block: *mut T, platform: &P) {
    // SAFETY: the caller's contract.
    unsafe {
        block.drop_in_place();
        platform.dealloc(NonNull::new_unchecked(block.cast()), Layout::new::<T>());
    }
}
