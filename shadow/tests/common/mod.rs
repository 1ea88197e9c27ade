//! A platform that counts what is allocated and can be told to fail.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::alloc::Layout;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use umbra_shadow::{AllocFlags, Dtor, Epoch, EpochGuard, Link, Memory, Platform, Smr, Table};

#[derive(Default)]
pub struct Ledger {
    /// Blocks handed out and not given back.
    pub blocks: AtomicUsize,
    /// Their bytes.
    pub bytes: AtomicUsize,
    /// Guards taken.
    pub pins: AtomicUsize,
    /// Looks at another caller's running constructor.
    pub waits: AtomicUsize,
    /// Allocations asked for.
    pub calls: AtomicUsize,
    /// The call (counted from 1) that fails; 0 for none.
    pub fail_nth: AtomicUsize,
    /// Every call from this one on fails; 0 for none.
    pub fail_from: AtomicUsize,
}

thread_local! {
    /// Whether this thread is in a [`Section`].
    static IN_SECTION: Cell<bool> = const { Cell::new(false) };
    /// Whether it is in [`interrupt`].
    static IN_INTERRUPT: Cell<bool> = const { Cell::new(false) };
}

/// A section of the thread's in which [`Counting`] neither has memory nor waits, and
/// what happens right before it and right after it.
pub struct Section<'a>(&'a dyn Fn());

impl<'a> Section<'a> {
    pub fn enter(around: &'a dyn Fn()) -> Self {
        around();
        assert!(!IN_SECTION.replace(true), "one at a time");
        Self(around)
    }
}

/// Whether this thread is in a section.
pub fn in_section() -> bool {
    IN_SECTION.get()
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        IN_SECTION.set(false);
        if !thread::panicking() {
            (self.0)();
        }
    }
}

/// Runs `f` as an interrupt of this thread, which cannot wait for it.
pub fn interrupt<T>(f: impl FnOnce() -> T) -> T {
    IN_INTERRUPT.set(true);
    let result = f();
    IN_INTERRUPT.set(false);
    result
}

/// [`Epoch`] with a ledger.
#[derive(Clone, Default)]
pub struct Counting(pub Arc<Ledger>);

impl Counting {
    pub fn blocks(&self) -> usize {
        self.0.blocks.load(SeqCst)
    }
}

// SAFETY: all of it is `Epoch`'s.
unsafe impl Smr for Counting {
    type Guard = EpochGuard;
    fn pin(&self) -> EpochGuard {
        self.0.pins.fetch_add(1, SeqCst);
        Epoch.pin()
    }
    unsafe fn retire(&self, link: NonNull<Link>) {
        // SAFETY: the caller's contract.
        unsafe { Epoch.retire(link) }
    }
    fn assist(&self) {
        Epoch.assist();
    }

    fn barrier(&self) {
        Epoch.barrier();
    }
}

// SAFETY: `Epoch`'s memory, or none.
unsafe impl Memory for Counting {
    fn alloc_zeroed(&self, layout: Layout, flags: AllocFlags) -> Option<NonNull<u8>> {
        assert!(!in_section(), "memory is had outside of sections");
        let call = self.0.calls.fetch_add(1, SeqCst) + 1;
        let from = self.0.fail_from.load(SeqCst);
        if call == self.0.fail_nth.load(SeqCst) || (from != 0 && call >= from) {
            return None;
        }
        assert!(
            layout.size() <= 16 << 10,
            "no allocation above 16 KiB (G6): {layout:?}"
        );
        let block = Epoch.alloc_zeroed(layout, flags)?;
        self.0.blocks.fetch_add(1, SeqCst);
        self.0.bytes.fetch_add(layout.size(), SeqCst);
        Some(block)
    }
    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        self.0.blocks.fetch_sub(1, SeqCst);
        self.0.bytes.fetch_sub(layout.size(), SeqCst);
        // SAFETY: poisoned while still ours, so that a late reader is seen; then
        // the caller's contract.
        unsafe {
            ptr.as_ptr().write_bytes(0xDD, layout.size());
            Epoch.dealloc(ptr, layout);
        }
    }
}

impl Platform for Counting {
    fn relax(&self, flags: AllocFlags, _round: u32) -> bool {
        self.0.waits.fetch_add(1, SeqCst);
        assert!(!in_section(), "others are waited for outside");
        !IN_INTERRUPT.get() && Epoch.relax(flags, 0)
    }
}

pub const FLAGS: AllocFlags = AllocFlags(0);

/// Addresses as a slab would give them out.
pub fn object(i: usize) -> usize {
    0xffff_8880_0000_0000 + i * 192
}

/// Attaches a `u64`.
pub fn put<P: Platform>(table: &Table<P>, obj: usize, value: u64) -> bool {
    let ctor = |data: NonNull<u8>| {
        // SAFETY: eight bytes were asked for.
        unsafe { data.cast::<u64>().write(value) };
        Ok::<(), ()>(())
    };
    table.alloc(obj, 8, FLAGS, ctor).is_ok()
}

/// Reads it back.
pub fn look<P: Platform>(table: &Table<P>, obj: usize) -> Option<u64> {
    let guard = table.platform().pin();
    // SAFETY: `put` wrote it, and the guard is held.
    table
        .get(obj, &guard)
        .map(|data| unsafe { data.cast::<u64>().read() })
}

/// A destructor that counts, through the value it destroys: data is the address
/// of a counter.
// SAFETY: for tables whose variables are made by `put_counter`, or the same way.
pub const COUNT: Dtor = unsafe { Dtor::new(count_dtor) };

unsafe extern "C" fn count_dtor(_obj: *mut c_void, data: *mut c_void) {
    // SAFETY: tests that pass this destructor store a leaked counter's address.
    unsafe { (*data.cast::<&'static AtomicUsize>()).fetch_add(1, SeqCst) };
}

/// Attaches a counter's address, for `count_dtor`.
pub fn put_counter<P: Platform>(table: &Table<P>, obj: usize, counter: &'static AtomicUsize) {
    let made = table.alloc(obj, 8, FLAGS, |data| {
        // SAFETY: eight bytes were asked for.
        unsafe { data.cast::<&'static AtomicUsize>().write(counter) };
        Ok::<(), ()>(())
    });
    assert!(made.is_ok(), "{obj:#x} is new");
}

pub fn counter() -> &'static AtomicUsize {
    Box::leak(Box::default())
}
