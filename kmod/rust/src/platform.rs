//! The kernel as a [`Platform`]: RCU for grace periods, `kmalloc` for memory.
//!
//! # Guards
//! A guard is a section with preemption off. Since Linux 4.20 `synchronize_rcu`
//! waits for those as for `rcu_read_lock` sections, they cost one instruction at
//! each end on any kernel configuration, and they are safe in a trampoline.
//! Nothing in the table sleeps or allocates under a guard.
//!
//! # Reclamation
//! `retire` pushes the link onto a list, lock-free, and whoever finds the list empty
//! queues the work item, which does the rest ([`reclaim`]).

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_ulong;
use core::marker::PhantomData;
use core::ptr::NonNull;

use umbra_shadow::{AllocFlags, Link, Memory, Platform, Smr};

use crate::ffi;
use crate::reclaim;

/// The running kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel;

/// Preemption is off while this lives.
pub(crate) struct Guard(PhantomData<*const ()>);

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: balances the `umbra_c_guard` of `pin`.
        unsafe { ffi::umbra_c_unguard() }
    }
}

/// Interrupts are off on this CPU while this lives, then as they were before.
pub(crate) struct IrqsOff(c_ulong, PhantomData<*const ()>);

impl IrqsOff {
    pub(crate) fn new() -> Self {
        Self(ffi::umbra_c_irqs_off(), PhantomData)
    }
}

impl Drop for IrqsOff {
    fn drop(&mut self) {
        // SAFETY: what `new` was given, on its CPU: nobody is moved with interrupts off.
        unsafe { ffi::umbra_c_irqs_as(self.0) }
    }
}

/// A guard in name only: the C caller's section is the guard.
pub(crate) struct Held(core::mem::ManuallyDrop<Guard>);

impl Held {
    /// # Safety
    /// The caller is in a section that `synchronize_rcu` waits for while this lives:
    /// preemption is off, or `rcu_read_lock` is held.
    #[inline]
    pub(crate) unsafe fn new() -> Self {
        Self(core::mem::ManuallyDrop::new(Guard(PhantomData)))
    }

    #[inline]
    pub(crate) fn guard(&self) -> &Guard {
        &self.0
    }
}

// SAFETY: a link is pushed once and taken off by one swap, so reclaimed once; the
// work waits for a grace period between the swap and the reclaim, and a guard
// is a section that grace periods wait for.
unsafe impl Smr for Kernel {
    type Guard = Guard;

    fn pin(&self) -> Guard {
        ffi::umbra_c_guard();
        Guard(PhantomData)
    }

    // SAFETY: the caller's promises are the trait's: unreachable, retired once.
    unsafe fn retire(&self, link: NonNull<Link>) {
        if reclaim::push(link) {
            ffi::umbra_c_queue_reclaim();
        }
    }

    fn assist(&self) {
        // The work item does it all.
    }

    fn barrier(&self) {
        // Who is about to retire a type's link has preemption off until it has.
        ffi::umbra_c_synchronize_rcu();
        // The link is retired again by its own reclaim, so what was retired before
        // the call may be another two runs away.
        for _ in 0..3 {
            reclaim::flush();
        }
    }
}

// SAFETY: `umbra_c_zalloc` gives zeroed memory of the size and alignment, and
// `umbra_c_free` takes any of it.
unsafe impl Memory for Kernel {
    fn alloc_zeroed(&self, layout: Layout, flags: AllocFlags) -> Option<NonNull<u8>> {
        // SAFETY: an alignment of a `Layout` is a power of two; the flags are
        // the C caller's or our own.
        NonNull::new(unsafe { ffi::umbra_c_zalloc(layout.size().max(1), layout.align(), flags.0) })
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, _layout: Layout) {
        // SAFETY: from `alloc_zeroed`, and given back once.
        unsafe { ffi::umbra_c_free(ptr.as_ptr()) }
    }
}

impl Platform for Kernel {
    fn seed(&self) -> u64 {
        ffi::umbra_c_seed()
    }

    fn relax(&self, flags: AllocFlags, round: u32) -> bool {
        ffi::umbra_c_relax(flags.0, round)
    }

    fn on_split(&self, id: u64) {
        ffi::umbra_c_trace_split(id);
    }
}

/// The flags of everything that the control path asks for.
pub(crate) fn may_sleep() -> AllocFlags {
    // SAFETY: a constant of shim.c.
    AllocFlags(unsafe { ffi::umbra_c_gfp_kernel })
}

/// What `alloc`'s collections use: the control path only, and it may sleep.
struct Kmalloc;

// SAFETY: as `Memory` of `Kernel`.
unsafe impl GlobalAlloc for Kmalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Kernel
            .alloc_zeroed(layout, may_sleep())
            .map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, _layout: Layout) {
        // SAFETY: from `alloc`, and given back once.
        unsafe { ffi::umbra_c_free(ptr) }
    }
}

#[global_allocator]
static KMALLOC: Kmalloc = Kmalloc;
