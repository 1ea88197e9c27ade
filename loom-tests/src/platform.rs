//! The tracked platform, and the payload that notices misuse.

use std::alloc::Layout;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc as StdArc;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool as StdAtomicBool, Ordering as StdOrdering};

use loom::alloc::Track;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use umbra_shadow::{AllocFlags, Link, Memory, Platform, Progress, Smr, Table};

/// The flags of every allocation in a model: nothing looks at them.
pub const FLAGS: AllocFlags = AllocFlags(0);

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
    /// No memory for segments, pages and other such large blocks.
    cramped: StdAtomicBool,
    retired: AtomicUsize,
    dropped: AtomicUsize,
    /// Blocks given back, poisoned.
    freed: StdMutex<Vec<(usize, Layout)>>,
    /// Blocks handed out. Loom's tracker reports those alive at the end.
    blocks: StdMutex<HashMap<usize, (Track<()>, Layout)>>,
}

#[derive(Default)]
struct State {
    next: u64,
    alive: Vec<u64>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    link: NonNull<Link>,
    /// Guards that were alive at the retire.
    guards: Vec<u64>,
}

// SAFETY: a retired link belongs to the reclamation scheme, whichever thread it
// runs on.
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
            cramped: StdAtomicBool::new(false),
            retired: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            freed: StdMutex::new(Vec::new()),
            blocks: StdMutex::new(HashMap::new()),
        }))
    }

    /// From now on there is memory for entries only, or for everything again.
    pub fn cramp(&self, cramped: bool) {
        self.0.cramped.store(cramped, StdOrdering::Relaxed);
    }

    /// A table on this platform.
    #[must_use]
    pub fn table(&self) -> Table<Self> {
        Table::new(self.clone(), 1).expect("the model's memory does not run out")
    }

    /// Reclaims what waits for nobody any more. A link that asks for another
    /// grace period gets it at the next call, so that others run before.
    fn reclaim(&self) {
        let ready: Vec<Waiting> = {
            let mut state = self.0.state.lock().unwrap();
            state
                .waiting
                .extract_if(.., |w| w.guards.is_empty())
                .collect()
        };
        for Waiting { link, .. } in ready {
            // Acquire, by a read-modify-write so that no older value is read:
            // pairs with the drops of the guards and with the retire.
            self.0.dropped.fetch_add(0, Ordering::Acquire);
            let progress = loop {
                // SAFETY: the guards of its retire are gone, and it was taken
                // from the list.
                match unsafe { Link::reclaim(link) } {
                    Progress::More => {}
                    other => break other,
                }
            };
            if progress == Progress::Again {
                let mut state = self.0.state.lock().unwrap();
                let guards = state.alive.clone();
                state.waiting.push(Waiting { link, guards });
            }
        }
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
        let mut state = self.0.state.lock().unwrap();
        let number = state.next;
        state.next += 1;
        state.alive.push(number);
        drop(state);
        // Acquire, by a read-modify-write: pairs with the release in `retire`.
        self.0.retired.fetch_add(0, Ordering::Acquire);
        Guard {
            platform: self.clone(),
            number,
        }
    }

    unsafe fn retire(&self, link: NonNull<Link>) {
        // Release: pair with the acquires in `pin` and `reclaim`.
        self.0.retired.fetch_add(1, Ordering::Release);
        self.0.dropped.fetch_add(1, Ordering::Release);
        let mut state = self.0.state.lock().unwrap();
        let guards = state.alive.clone();
        state.waiting.push(Waiting { link, guards });
        drop(state);
        self.reclaim();
    }

    fn barrier(&self) {
        while !self.0.state.lock().unwrap().waiting.is_empty() {
            self.reclaim();
            loom::thread::yield_now();
        }
    }
}

// SAFETY: blocks of the global allocator, each given back once (the map says).
unsafe impl Memory for Tracked {
    fn alloc_zeroed(&self, layout: Layout, _flags: AllocFlags) -> Option<NonNull<u8>> {
        // Lines are aligned to the cache's, entries are not.
        if layout.align() >= 64 && self.0.cramped.load(StdOrdering::Relaxed) {
            return None;
        }
        // SAFETY: no block of the table is empty.
        let block = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })?;
        let tracked = (Track::new(()), layout);
        self.0
            .blocks
            .lock()
            .unwrap()
            .insert(block.as_ptr() as usize, tracked);
        Some(block)
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        let known = self
            .0
            .blocks
            .lock()
            .unwrap()
            .remove(&(ptr.as_ptr() as usize));
        let (track, asked) = known.expect("freed once, and allocated here");
        assert_eq!(asked, layout, "freed with the layout it was allocated with");
        drop(track);
        // SAFETY: allocated with this layout. It is kept until the end of the
        // iteration, so that a late read sees poison and not another block.
        unsafe { ptr.as_ptr().write_bytes(0xDD, layout.size()) };
        self.0
            .freed
            .lock()
            .unwrap()
            .push((ptr.as_ptr() as usize, layout));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for (block, layout) in self.freed.get_mut().unwrap().drain(..) {
            // SAFETY: allocated with this layout, given back, in the list once.
            unsafe { std::alloc::dealloc(block as *mut u8, layout) }
        }
        let left = self.blocks.get_mut().unwrap();
        if !std::thread::panicking() {
            assert!(
                left.is_empty(),
                "{} blocks are left at the end of a model",
                left.len()
            );
        }
    }
}

impl Platform for Tracked {
    fn relax(&self, _flags: AllocFlags, _round: u32) -> bool {
        loom::thread::yield_now();
        true
    }
}

/// Data that loom watches: every access is checked against every other, and one
/// that outlives the variable is a use of a destroyed cell.
pub struct Payload(UnsafeCell<u64>);

impl Payload {
    /// Constructs one in place of fresh data.
    ///
    /// # Safety
    /// `data` has room for a `Payload` and nobody else reads it yet.
    pub unsafe fn construct(data: NonNull<u8>, value: u64) {
        // SAFETY: the caller's contract.
        unsafe { data.cast::<Self>().write(Self(UnsafeCell::new(0))) };
        // Written separately: the model sees a store that can come late.
        // SAFETY: as above.
        unsafe { data.cast::<Self>().as_ref().0.with_mut(|v| *v = value) };
    }

    /// Reads it.
    ///
    /// # Safety
    /// `data` is a live variable's, under a guard.
    #[must_use]
    pub unsafe fn read(data: NonNull<u8>) -> u64 {
        // SAFETY: the caller's contract; loom reports a race.
        unsafe { data.cast::<Self>().as_ref().0.with(|v| *v) }
    }

    /// The destructor: writes once more (so that a reader it races with is a
    /// report) and drops.
    pub unsafe extern "C" fn destroy(_obj: *mut c_void, data: *mut c_void) {
        let payload = data.cast::<Self>();
        // SAFETY: the table calls it once, on constructed data.
        unsafe {
            (*payload).0.with_mut(|v| *v = u64::MAX);
            payload.drop_in_place();
        }
    }

    /// Attaches one.
    pub fn put(table: &Table<Tracked>, obj: usize, value: u64) -> bool {
        let made = table.alloc(obj, size_of::<Self>(), FLAGS, |data| {
            // SAFETY: fresh data of this size.
            unsafe { Self::construct(data, value) };
            Ok::<(), ()>(())
        });
        made.is_ok()
    }

    /// Looks one up and reads it.
    #[must_use]
    pub fn look(table: &Table<Tracked>, obj: usize) -> Option<u64> {
        let guard = table.platform().pin();
        // SAFETY: under the guard.
        table
            .get(obj, &guard)
            .map(|data| unsafe { Self::read(data) })
    }
}
