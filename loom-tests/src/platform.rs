//! The tracked platform: grace periods as short as the contract allows.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Arc as StdArc;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool as StdBool, Ordering::Relaxed as Plain};

use loom::sync::atomic::{AtomicUsize, Ordering};
use umbra_shadow::{AllocFlags, Link, Memory, Platform, Progress, Smr, Table};

use crate::blocks::Blocks;
use crate::scene;

/// The model's reclamation scheme and memory.
///
/// A guard is a number; retiring takes note of the guards that are alive; the
/// drop of the last of them, or the retire itself if there is none, reclaims.
/// The bookkeeping is invisible to loom. What the contract of [`Smr`] promises
/// is given by two atomics, and nothing beyond it:
///
/// ```text
///  retire  --release/acquire (retired)-->  a pin that it did not take note of
///  a guard's drop  --release/acquire (dropped)-->  the reclaim
///  retire  --release/acquire (dropped)-->  the reclaim
/// ```
/// The first is what makes grace periods work at all: a reader that begins
/// later must see the node unlinked.
#[derive(Clone)]
pub struct Tracked(StdArc<Shared>);

struct Shared {
    state: StdMutex<State>,
    retired: AtomicUsize,
    dropped: AtomicUsize,
    blocks: Blocks,
    /// Waiting for a constructor is an error.
    hurried: StdBool,
}

#[derive(Default)]
struct State {
    next: u64,
    alive: Vec<u64>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    what: What,
    /// Guards that were alive at the retire.
    guards: Vec<u64>,
}

/// What waits for its grace period.
enum What {
    Link(NonNull<Link>),
    Run(Box<dyn FnOnce()>),
}

// SAFETY: a retired link belongs to the reclamation scheme, whichever thread it
// runs on, and `defer`'s caller says the same of what it gives.
unsafe impl Send for Waiting {}

/// A read-side critical section of the model.
pub struct Guard {
    platform: Tracked,
    number: u64,
}

impl Tracked {
    /// A platform for one iteration of a model.
    #[must_use]
    pub fn new() -> Self {
        Self(StdArc::new(Shared {
            state: StdMutex::new(State::default()),
            retired: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            blocks: Blocks::default(),
            hurried: StdBool::new(false),
        }))
    }

    /// From now on there is memory for entries only, or for everything again.
    pub fn cramp(&self, cramped: bool) {
        self.0.blocks.cramp(cramped);
    }

    /// From now on it is an error to wait for another's constructor.
    pub fn nobody_waits(&self) {
        self.0.hurried.store(true, Plain);
    }

    /// A table on this platform, of payloads.
    #[must_use]
    pub fn table(&self) -> Table<Self> {
        scene::table(self)
    }

    /// Reclaims what waits for nobody any more. A link that asks for another
    /// grace period gets it at the next call, so that others run before.
    pub(crate) fn reclaim(&self) {
        let ready: Vec<Waiting> = {
            let mut state = self.0.state.lock().unwrap();
            state
                .waiting
                .extract_if(.., |w| w.guards.is_empty())
                .collect()
        };
        for Waiting { what, .. } in ready {
            // Acquire, by a read-modify-write so that no older value is read:
            // pairs with the drops of the guards and with the retire.
            self.0.dropped.fetch_add(0, Ordering::Acquire);
            let link = match what {
                What::Link(link) => link,
                What::Run(f) => {
                    f();
                    continue;
                }
            };
            let progress = loop {
                // SAFETY: the guards of its retire are gone, and it was taken
                // from the list.
                match unsafe { Link::reclaim(link) } {
                    Progress::More => {}
                    other => break other,
                }
            };
            if progress == Progress::Again {
                self.wait(What::Link(link));
            }
        }
    }

    fn wait(&self, what: What) {
        let mut state = self.0.state.lock().unwrap();
        let guards = state.alive.clone();
        state.waiting.push(Waiting { what, guards });
    }

    /// Takes over what has to wait for the guards of now.
    fn defer(&self, what: What) {
        // Release: pair with the acquires in `pin` and `reclaim`.
        self.0.retired.fetch_add(1, Ordering::Release);
        self.0.dropped.fetch_add(1, Ordering::Release);
        self.wait(what);
        self.reclaim();
    }

    /// Runs `f` when the guards of now are gone, on the thread that finds it so.
    ///
    /// # Safety
    /// `f` may run on any thread.
    pub(crate) unsafe fn after_guards(&self, f: impl FnOnce() + 'static) {
        self.defer(What::Run(Box::new(f)));
    }
}

impl Default for Tracked {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Release: pairs with the acquire in `reclaim`.
        self.platform.0.dropped.fetch_add(1, Ordering::Release);
        {
            let mut state = self.platform.0.state.lock().unwrap();
            state.alive.retain(|g| *g != self.number);
            for waiting in &mut state.waiting {
                waiting.guards.retain(|g| *g != self.number);
            }
        }
        self.platform.reclaim();
    }
}

// SAFETY: a link is reclaimed once (it is taken from the list) and after the
// guards of its retire, whose drops the mutex orders before it.
unsafe impl Smr for Tracked {
    type Guard = Guard;

    fn pin(&self) -> Guard {
        // Acquire, by a read-modify-write: pairs with the release in `retire`. It comes
        // first, for loom lets others run before an operation and not after it: a guard
        // that was noted before it would hold back what is retired before the pin.
        self.0.retired.fetch_add(0, Ordering::Acquire);
        let mut state = self.0.state.lock().unwrap();
        let number = state.next;
        state.next += 1;
        state.alive.push(number);
        drop(state);
        Guard {
            platform: self.clone(),
            number,
        }
    }

    unsafe fn retire(&self, link: NonNull<Link>) {
        self.defer(What::Link(link));
    }

    fn assist(&self) {}

    fn barrier(&self) {
        while !self.0.state.lock().unwrap().waiting.is_empty() {
            self.reclaim();
            loom::thread::yield_now();
        }
    }
}

// SAFETY: as of `Blocks`.
unsafe impl Memory for Tracked {
    fn alloc_zeroed(&self, layout: Layout, _flags: AllocFlags) -> Option<NonNull<u8>> {
        self.0.blocks.alloc_zeroed(layout)
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { self.0.blocks.dealloc(ptr, layout) }
    }
}

impl Platform for Tracked {
    fn relax(&self, _flags: AllocFlags, _round: u32) -> bool {
        assert!(
            !self.0.hurried.load(Plain),
            "waits for another's constructor"
        );
        loom::thread::yield_now();
        true
    }
}
