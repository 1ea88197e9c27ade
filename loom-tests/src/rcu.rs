//! The kernel's reclamation as a model: RCU's promises, and the module's use.
//!
//! ```text
//!  retire: push onto a list ─┐            reader: preemption off ... on
//!                            v                       │
//!  worker: take the list ── synchronize() waits for ─┘── reclaim all of it
//! ```
//! As in `kmod/rust/src/platform.rs`: whoever finds the list empty queues the
//! work, the worker takes the whole list and waits for one grace period, and a
//! link that asks for another one is put back. The work item is a thread of the
//! model or, where three threads would be too many, whoever calls
//! [`Smr::barrier`].
//!
//! `synchronize` gives what the kernel documents and no more: it waits for the
//! read-side sections that were running when it was called; each of those
//! happens before its return, and what happened before its call is visible to
//! every section that it did not wait for.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Arc as StdArc;
use std::sync::Mutex as StdMutex;

use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use umbra_shadow::{AllocFlags, Link, Memory, Platform, Progress, Smr, Table};

use crate::blocks::Blocks;
use crate::scene;

/// The kernel, for one execution of a model.
#[derive(Clone)]
pub struct Rcu(StdArc<Shared>);

struct Shared {
    /// Sections that are running, by number; loom does not see this.
    running: StdMutex<Sections>,
    /// Grace periods begun: what precedes one is visible to later sections.
    begun: AtomicUsize,
    /// Sections ended: they happen before the end of the grace period.
    ended: AtomicUsize,
    /// What waits for its grace period, the latest first.
    retired: AtomicPtr<Link>,
    /// Links that are on the list or in the worker's hands; loom does not see it.
    pending: StdMutex<usize>,
    blocks: Blocks,
}

#[derive(Default)]
struct Sections {
    next: u64,
    alive: Vec<u64>,
}

/// A read-side section: preemption is off while this lives.
pub struct Section {
    rcu: Rcu,
    number: u64,
}

/// A run of the work item.
pub struct Run {
    rcu: Rcu,
    next: Option<NonNull<Link>>,
}

impl Run {
    /// One step, as the table has them; false when there was none.
    pub fn step(&mut self) -> bool {
        let Some(link) = self.next else { return false };
        // SAFETY: on our list, so it exists; read before it is reclaimed.
        let next = NonNull::new(unsafe { link.as_ref() }.next.get());
        // SAFETY: retired, taken by one swap, a grace period ago.
        match unsafe { Link::reclaim(link) } {
            Progress::More => return true,
            Progress::Again => {
                self.rcu.push(link);
                // It waits for another thread, which must get on for that.
                loom::thread::yield_now();
            }
            Progress::Done => *self.rcu.0.pending.lock().unwrap() -= 1,
        }
        self.next = next;
        true
    }
}

impl Rcu {
    /// A kernel for one execution.
    #[must_use]
    pub fn new() -> Self {
        Self(StdArc::new(Shared {
            running: StdMutex::default(),
            begun: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            retired: AtomicPtr::new(std::ptr::null_mut()),
            pending: StdMutex::new(0),
            blocks: Blocks::default(),
        }))
    }

    /// A table in it.
    #[must_use]
    pub fn table(&self) -> Table<Self> {
        scene::table(self)
    }

    /// `synchronize_rcu()`.
    pub fn synchronize(&self) {
        // Release: pairs with the acquire in `pin`.
        self.0.begun.fetch_add(1, Ordering::Release);
        let waited_for = self.0.running.lock().unwrap().alive.clone();
        let there = || {
            let running = self.0.running.lock().unwrap();
            running.alive.iter().any(|n| waited_for.contains(n))
        };
        while there() {
            loom::thread::yield_now();
        }
        // Acquire: pairs with the release at a section's end.
        self.0.ended.fetch_add(0, Ordering::Acquire);
    }

    /// One run of the work item. True if it found something.
    pub fn work(&self) -> bool {
        let Some(mut run) = self.begin() else {
            return false;
        };
        while run.step() {}
        true
    }

    /// Begins a run: its grace period is over.
    #[must_use]
    pub fn begin(&self) -> Option<Run> {
        // Acquire: pairs with the release in `push`.
        let list = self.0.retired.swap(std::ptr::null_mut(), Ordering::Acquire);
        let next = Some(NonNull::new(list)?);
        self.synchronize();
        let rcu = self.clone();
        Some(Run { rcu, next })
    }

    fn push(&self, link: NonNull<Link>) {
        // Relaxed: the value is only compared and stored in a link of ours.
        let mut head = self.0.retired.load(Ordering::Relaxed);
        loop {
            // SAFETY: retired, so the platform's alone; `next` is ours to write.
            unsafe { link.as_ref() }.next.set(head);
            // Release: pairs with the acquire in `work`. Relaxed on failure:
            // only tried again.
            match self.0.retired.compare_exchange(
                head,
                link.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

impl Default for Rcu {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        // Release: pairs with the acquire in `synchronize`.
        self.rcu.0.ended.fetch_add(1, Ordering::Release);
        let mut running = self.rcu.0.running.lock().unwrap();
        running.alive.retain(|n| *n != self.number);
    }
}

// SAFETY: a link is taken off the list by one swap and reclaimed after a grace
// period that began later.
unsafe impl Smr for Rcu {
    type Guard = Section;

    fn pin(&self) -> Section {
        // Acquire, by a read-modify-write so that no older value is read: pairs
        // with the release in `synchronize`. First, as in `Tracked::pin`.
        self.0.begun.fetch_add(0, Ordering::Acquire);
        let number = {
            let mut running = self.0.running.lock().unwrap();
            let number = running.next;
            running.next += 1;
            running.alive.push(number);
            number
        };
        Section {
            rcu: self.clone(),
            number,
        }
    }

    unsafe fn retire(&self, link: NonNull<Link>) {
        *self.0.pending.lock().unwrap() += 1;
        self.push(link);
    }

    fn assist(&self) {}

    fn barrier(&self) {
        self.synchronize();
        while *self.0.pending.lock().unwrap() > 0 {
            if !self.work() {
                loom::thread::yield_now();
            }
        }
    }
}

// SAFETY: as of `Blocks`.
unsafe impl Memory for Rcu {
    fn alloc_zeroed(&self, layout: Layout, _flags: AllocFlags) -> Option<NonNull<u8>> {
        self.0.blocks.alloc_zeroed(layout)
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { self.0.blocks.dealloc(ptr, layout) }
    }
}

impl Platform for Rcu {
    fn relax(&self, _flags: AllocFlags, _round: u32) -> bool {
        loom::thread::yield_now();
        true
    }
}
