//! The work item that takes apart what was freed, in slices.
//!
//! ```text
//!  retire ──> RETIRED ──(work)──> grace period ──> step, step, step │ step, step ...
//!                ^                                 └─── a slice ───┘ others may run
//!                └── a type whose constructor runs <──┘
//! ```
//! The work takes the whole list, waits for one grace period for all of it (of tasks
//! too, while a hook hands shadows to its replacement), and takes the nodes apart:
//! destructors run there, so they may sleep. What a reader could meet
//! is therefore never freed in an interrupt, and a writer pays a push. A *step* is what
//! the table does without a pause, a few dozen entries; preemption is on. A *slice* is
//! as many steps as the parameter `slice_us` allows, and at least one.
//!
//! The list is unbounded, as RCU's own is; `pending` in debugfs shows it, and `reclaim`
//! how far the work is.

use core::ptr::NonNull;

use umbra_shadow::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use umbra_shadow::{Link, Progress};

use crate::ffi;

/// What waits for its grace period, the latest first.
static RETIRED: AtomicPtr<Link> = AtomicPtr::new(core::ptr::null_mut());

/// Links that the last run of the work put back: types that were emptied while
/// one of their constructors runs.
static AGAIN: AtomicUsize = AtomicUsize::new(0);

/// For reports; written by the work alone.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static STEPS: AtomicU64 = AtomicU64::new(0);
static SLICES: AtomicU64 = AtomicU64::new(0);
static LONGEST: AtomicU64 = AtomicU64::new(0);

/// Puts a link on the list; true when the list was empty.
pub(crate) fn push(link: NonNull<Link>) -> bool {
    // Relaxed: the value is only compared and stored in a link of ours.
    let mut head = RETIRED.load(Ordering::Relaxed);
    loop {
        // SAFETY: retired, so the platform's alone; `next` is ours to write.
        unsafe { link.as_ref() }.next.set(head);
        // Release: pairs with the Acquire swap in `umbra_rs_reclaim`: who takes
        // the list sees `next` and all that happened before the retire.
        match RETIRED.compare_exchange(
            head,
            link.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed, // only tried again
        ) {
            Ok(_) => return head.is_null(),
            Err(now) => head = now,
        }
    }
}

/// Returns when the work has run that everything retired before is part of.
pub(crate) fn flush() {
    loop {
        ffi::umbra_c_flush_reclaim();
        // Acquire: pairs with the release in `umbra_rs_reclaim`.
        if AGAIN.load(Ordering::Acquire) == 0 {
            break;
        }
    }
}

/// A stretch of work.
struct Slice {
    begun: u64,
}

impl Slice {
    fn begin() -> Self {
        Self {
            begun: ffi::umbra_c_clock(),
        }
    }

    fn ran(&self) -> u64 {
        ffi::umbra_c_clock().saturating_sub(self.begun)
    }

    /// Ends here: others may run.
    fn end(&mut self) {
        let ran = self.ran();
        // Relaxed: a report, written by the one work item.
        SLICES.store(SLICES.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Relaxed: as above.
        if ran > LONGEST.load(Ordering::Relaxed) {
            // Relaxed: as above.
            LONGEST.store(ran, Ordering::Relaxed);
        }
        ffi::umbra_c_resched();
        *self = Self::begin();
    }

    /// A step is done: ends if the time is up.
    fn step(&mut self) {
        // Relaxed: as in `end`.
        STEPS.store(STEPS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if self.ran() >= ffi::umbra_c_slice() {
            self.end();
        }
    }
}

/// The work item: one batch. What is retired meanwhile is another run's, so a run
/// ends however busy the writers are, and a barrier waits for one run only.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_reclaim() {
    // Acquire: pairs with the Release in `push`.
    let mut next = RETIRED.swap(core::ptr::null_mut(), Ordering::Acquire);
    if next.is_null() {
        return;
    }
    // Relaxed: a report.
    RUNNING.store(1, Ordering::Relaxed);
    ffi::umbra_c_synchronize_readers();
    let mut again = 0;
    let mut slice = Slice::begin();
    while let Some(link) = NonNull::new(next) {
        // SAFETY: on our list, so it exists; read before it is reclaimed.
        next = unsafe { link.as_ref() }.next.get();
        loop {
            // SAFETY: we are the `Smr`, the link was retired, and a grace
            // period has passed since.
            let progress = unsafe { Link::reclaim(link) };
            slice.step();
            match progress {
                Progress::Done => break,
                Progress::More => {}
                Progress::Again => {
                    again += 1;
                    push(link);
                    break;
                }
            }
        }
    }
    slice.end();
    // Release: pairs with the acquire in `flush`: the destructors have run.
    AGAIN.store(again, Ordering::Release);
    // Relaxed: a report.
    RUNNING.store(0, Ordering::Relaxed);
    // Relaxed: who pushed onto an empty list has queued the work already; only
    // our own pushes, and those on top of them, are not announced.
    if !RETIRED.load(Ordering::Relaxed).is_null() {
        ffi::umbra_c_queue_reclaim();
    }
}

/// How far the work is, since the module was loaded.
pub(crate) struct Report {
    /// It has something to do.
    pub(crate) running: bool,
    /// Steps done.
    pub(crate) steps: u64,
    /// Slices ended.
    pub(crate) slices: u64,
    /// The longest slice in nanoseconds, with what its destructors slept.
    pub(crate) longest_ns: u64,
    /// What a slice may take, in nanoseconds.
    pub(crate) slice_ns: u64,
}

/// See [`Report`].
pub(crate) fn report() -> Report {
    // Relaxed, all of it: figures for people, each for itself.
    let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    Report {
        // Relaxed: as above.
        running: RUNNING.load(Ordering::Relaxed) != 0,
        steps: read(&STEPS),
        slices: read(&SLICES),
        longest_ns: read(&LONGEST),
        slice_ns: ffi::umbra_c_slice(),
    }
}
