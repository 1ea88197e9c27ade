//! The Rust half of umbra.ko.
//!
//! What decides is here and in the crates below: the table (`umbra-shadow`), the
//! states (`umbra-state`), and the glue between them and a running kernel. C
//! holds what only C can say: the kernel's inline functions and macros
//! (`src/shim.c`), ftrace (`src/hook.c`), exports and parameters.
//!
//! ```text
//!  C callers ──> shadows, patches ──> umbra-state::Engine ──> host ──> callbacks
//!                   │                                           │
//!                   v                                           v
//!             umbra-shadow::ShadowTable <── decide <── slots <── hooks (ftrace)
//!                   │
//!                   v
//!                platform: RCU, a work item that reclaims, kmalloc
//! ```
//!
//! # Rules of this code
//! Every allocation may fail and is asked for with the caller's `gfp`; no path
//! panics in normal operation; no local is aligned to more than 8 in a function
//! that C calls, because kernel C aligns the stack to 8 only.
#![no_std]

extern crate alloc;

mod adapter;
mod describe;
mod ffi;
mod global;
mod json;
mod klp;
mod log;
mod patches;
mod platform;
mod reclaim;
mod shadows;
mod show;
mod slots;
mod target;

use core::panic::PanicInfo;

/// A defect of ours: says where, then stops the task as `BUG()` does, with a
/// stack trace through the Rust frames.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    log::emergency(format_args!("BUG: {info}"));
    // SAFETY: `ud2` raises an invalid-opcode trap, which the kernel turns into
    // an oops of this task; it does not come back.
    unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
}
