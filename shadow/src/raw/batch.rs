//! Lookups of many objects at once: what one of them waits for, memory, the others
//! wait for at the same time.
//!
//! ```text
//!  for all: hash, find the line, prefetch its head
//!  for all: match the head, prefetch the slot of the first match
//!  for all: prefetch the entry of that slot
//!  for all: look
//! ```
//! The last step is the lookup of one object as it always is, and alone decides;
//! those before it only make it fast.

use core::ptr::NonNull;

use super::body::Body;
use super::line::{Head, Search, fingerprint};
use super::type_core::Core;
use crate::platform::Platform;
use crate::sync::Ordering;

/// Lookups in flight. More than the processor has line buffers for gains little,
/// and 32 of them need no more than 512 bytes of stack.
pub(crate) const BATCH: usize = 32;

/// Asks for the line that `p` is in.
#[inline(always)]
pub(super) fn prefetch<T>(p: *const T) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse", not(miri)))]
    // SAFETY: a hint, which faults on no address.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[cfg(all(target_arch = "x86_64", not(target_feature = "sse"), not(miri)))]
    // SAFETY: as above. (By hand, for the kernel's target has no SSE, which the
    // intrinsic wants. The intrinsic's address costs no instruction of its own.)
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) p, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = p;
}

impl<P: Platform> Body<P> {
    /// [`get`](Self::get) for each of `objs`, at most [`BATCH`], into `found`,
    /// which is as long.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(super) unsafe fn get_batch(
        &self,
        core: &Core<P>,
        objs: &[usize],
        found: &mut [Option<NonNull<u8>>],
    ) {
        let mut glances = [None; BATCH];
        for (glance, &obj) in glances.iter_mut().zip(objs) {
            *glance = self.glance(core.hash(obj));
            if let Some((line, _)) = *glance {
                prefetch(line.head);
            }
        }
        let mut slots = [None; BATCH];
        for ((slot, glance), &obj) in slots.iter_mut().zip(&glances).zip(objs) {
            if let Some((line, _)) = *glance {
                // Relaxed: a guess, which nothing is read through.
                let head = Head(line.head.load(Ordering::Relaxed));
                *slot = head
                    .matches(fingerprint(core.hash(obj)), &Search::NEW)
                    .first(line.slots);
                if let Some(slot) = *slot {
                    prefetch(slot);
                }
            }
        }
        for slot in slots.iter().flatten() {
            // Relaxed: as above.
            prefetch(slot.load(Ordering::Relaxed));
        }
        for ((glance, &obj), found) in glances.iter().zip(objs).zip(found) {
            let hash = core.hash(obj);
            // SAFETY: the caller's contract.
            *found = unsafe {
                match *glance {
                    Some((line, mask)) if obj != 0 => self.get_at(core, line, mask, hash, obj),
                    _ => Self::get_slowly(core, obj, self),
                }
            };
        }
    }
}
