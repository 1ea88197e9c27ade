//! Lookups of many objects at once: what one of them waits for, memory, the others
//! wait for at the same time.
//!
//! ```text
//!  for all: hash, find the line, ask for its head and its slots
//!  for all: match the head: the first match's slot, or nothing, or unsure
//!  for all: read the slot, ask for its entry
//!  for all: see that it is the object's and live; else look as `get_slowly` does
//! ```
//! Each object's lookup is [`get`](Body::get), step for step, with other objects' steps
//! in between. What it has found stays where it is under the caller's guard, and
//! everything that it decides by was read in the call.

use core::ptr::NonNull;

use super::body::Body;
use super::find::Glimpse;
use super::line::fingerprint;
use super::type_core::Core;
use crate::platform::Platform;

/// Lookups in flight. More than the processor has line buffers for gains little,
/// and what is noted of 32 of them is 1,280 bytes of stack.
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
        let mask = self.mask_now();
        let mut lines = [None; BATCH];
        for (line, &obj) in lines.iter_mut().zip(objs) {
            let hash = core.hash(obj);
            if let Some(its) = self.glance_around(hash, mask) {
                prefetch(its.head);
                *line = Some((its, fingerprint(hash)));
            }
        }
        const { assert!(BATCH <= u32::BITS as usize) };
        let mut unsure: u32 = 0;
        let mut slots = [None; BATCH];
        for (i, (&obj, slot)) in objs.iter().zip(&mut slots).enumerate() {
            let glimpse = lines[i].map_or(Glimpse::Unsure, |(line, print)| {
                self.glimpse(core, line, mask, print)
            });
            match glimpse {
                Glimpse::Slot(its) => *slot = Some(its),
                // The address 0 has no place in a line.
                Glimpse::Nothing if obj != 0 => {}
                Glimpse::Nothing | Glimpse::Unsure => unsure |= 1 << i,
            }
        }
        let mut entries = [None; BATCH];
        for (entry, slot) in entries.iter_mut().zip(slots) {
            if let Some(slot) = slot {
                // SAFETY: reached from the body under the guard; its lane was taken.
                *entry = unsafe { Self::entry_in(slot) };
                prefetch(entry.map_or(core::ptr::null(), |entry| entry.as_ptr().cast_const()));
            }
        }
        for (i, (&obj, found)) in objs.iter().zip(found).enumerate() {
            let it = entries[i].filter(|entry| entry.obj() == obj && entry.is_live());
            *found = match it {
                Some(entry) => Some(entry.data()),
                None if slots[i].is_none() && unsure & 1 << i == 0 => None,
                // SAFETY: the caller's contract.
                None => unsafe { Self::get_slowly(core, obj, self) },
            };
        }
    }
}
