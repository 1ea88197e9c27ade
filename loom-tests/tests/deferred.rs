//! The lists of userspace between a retirement and its destructor: what a thread
//! frees another one destroys, and a barrier has seen all of it.

use std::ptr::NonNull;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use umbra_loom::{Lists, Payload, explore, finish, free, spawn};
use umbra_shadow::{Link, Progress, Smr};

const A: usize = 0x1000;
const B: usize = 0x2000;

/// G8: who destroys a variable sees all that was done to it before it was freed.
#[test]
fn g8_a_free_against_who_destroys_it() {
    explore("alloc, free | assist", None, || {
        let platform = Lists::default();
        let table = platform.table();
        let assists = spawn(&table, |t| t.platform().assist());
        assert!(Payload::put(&table, A, 1));
        assert!(free(&table, A));
        assists.join().unwrap();
        finish(&platform, table);
    });
}

/// G8: each of two threads may destroy what the other one freed, once.
#[test]
fn g8_two_frees_and_who_destroys_them() {
    explore("free | free, by the lists", Some(3), || {
        let platform = Lists::default();
        let table = platform.table();
        assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
        let frees = spawn(&table, |t| assert!(free(t, A)));
        assert!(free(&table, B));
        frees.join().unwrap();
        finish(&platform, table);
    });
}

/// What is retired, without a table around it: a table's own steps would order more.
#[repr(C)]
struct Node {
    link: Link,
    platform: Lists,
    further: Further,
    /// How often it is to be reclaimed.
    rounds: u64,
    /// How often it has been.
    reclaimed: UnsafeCell<u64>,
    /// Whether it has been.
    ended: AtomicUsize,
}

/// How a node gets another grace period.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Further {
    /// It answers that it needs one.
    Asks,
    /// It is retired again, as a type's link is by its own rounds.
    Retires,
    /// It asks until this one has been reclaimed, as a body does until its type's link has
    /// ended a merge.
    Waits(*const Node),
}

impl Node {
    fn new(platform: &Lists, rounds: u64, further: Further) -> Box<Self> {
        Box::new(Self {
            link: Link::new(Self::reclaim),
            platform: platform.clone(),
            further,
            rounds,
            reclaimed: UnsafeCell::new(0),
            ended: AtomicUsize::new(0),
        })
    }

    fn link(&self) -> NonNull<Link> {
        NonNull::from(self).cast()
    }

    unsafe fn reclaim(link: NonNull<Link>) -> Progress {
        // SAFETY: a node's link; the model keeps the node.
        let node = unsafe { link.cast::<Self>().as_ref() };
        // SAFETY: whoever reclaims a link is alone with it: the model proves it.
        let reclaimed = node.reclaimed.with_mut(|v| unsafe {
            *v += 1;
            *v
        });
        if let Further::Waits(other) = node.further {
            // SAFETY: the model keeps it too. Relaxed: only whether.
            let waits = unsafe { &*other }.ended.load(Ordering::Relaxed) == 0;
            return if waits {
                Progress::Again
            } else {
                Progress::Done
            };
        }
        // Relaxed: as above.
        node.ended.store(1, Ordering::Relaxed);
        if reclaimed < node.rounds {
            if node.further == Further::Asks {
                return Progress::Again;
            }
            // SAFETY: it was taken from the lists, and is this call's.
            unsafe { node.platform.retire(link) }
        }
        Progress::Done
    }

    fn reclaimed(&self) -> u64 {
        // SAFETY: the model asks when nobody reclaims it any more.
        self.reclaimed.with(|v| unsafe { *v })
    }
}

/// A link on its way to the thread that retires it.
struct Sent(NonNull<Link>);

// SAFETY: that thread alone uses it until it is retired.
unsafe impl Send for Sent {}

impl Sent {
    fn link(self) -> NonNull<Link> {
        self.0
    }
}

/// G9: a link that asks for another grace period gets it, though nothing else is retired.
#[test]
fn g9_another_grace_period_needs_no_other_retirement() {
    explore("retire, of a link that asks again | assist", None, || {
        let platform = Lists::default();
        let node = Node::new(&platform, 2, Further::Asks);
        let assists = {
            let platform = platform.clone();
            thread::spawn(move || platform.assist())
        };
        // SAFETY: the node stays until the end, and is retired once.
        unsafe { platform.retire(node.link()) };
        assists.join().unwrap();
        platform.assist();
        platform.assist();
        assert_eq!(node.reclaimed(), 2);
    });
}

/// G8: what was retired before a barrier is taken apart when it returns, whoever did
/// that, and what was done then is seen.
#[test]
fn g8_a_barrier_against_who_destroys() {
    explore("retire, barrier | assist", None, || {
        let platform = Lists::default();
        let node = Node::new(&platform, 1, Further::Asks);
        let assists = {
            let platform = platform.clone();
            thread::spawn(move || platform.assist())
        };
        // SAFETY: the node stays until the end, and is retired once.
        unsafe { platform.retire(node.link()) };
        platform.barrier();
        assert_eq!(node.reclaimed(), 1);
        assists.join().unwrap();
    });
}

/// G8: a barrier finds what was retired before it, also what another barrier made late:
/// a link that was counted on the side that is not current any more, and that its own
/// reclaim retires twice more, so that it changes sides.
#[test]
fn g8_a_barrier_after_a_retire_against_a_barrier() {
    explore("retire | barrier, barrier", None, || {
        let platform = Lists::default();
        let node = Node::new(&platform, 3, Further::Retires);
        let retires = {
            let (platform, sent) = (platform.clone(), Sent(node.link()));
            // SAFETY: the node stays until the end, and is retired once.
            thread::spawn(move || unsafe { platform.retire(sent.link()) })
        };
        platform.barrier();
        retires.join().unwrap();
        platform.barrier();
        assert_eq!(node.reclaimed(), 3);
    });
}

/// G8: a barrier ends though what it waits for on one side waits for what was retired onto
/// the other one, after it began, and nobody else reclaims.
#[test]
fn g8_a_barrier_over_a_link_that_waits_for_the_other_side() {
    explore(
        "retire, of one that waits, barrier | retire",
        Some(3),
        || {
            let platform = Lists::default();
            let other = Node::new(&platform, 1, Further::Asks);
            let waits = Node::new(&platform, 1, Further::Waits(&*other));
            // SAFETY: the nodes stay until the end, and are retired once.
            unsafe { platform.retire(waits.link()) };
            let retires = {
                let (platform, sent) = (platform.clone(), Sent(other.link()));
                // SAFETY: as above.
                thread::spawn(move || unsafe { platform.retire(sent.link()) })
            };
            platform.barrier();
            retires.join().unwrap();
            assert_eq!(other.reclaimed(), 1);
        },
    );
}

/// What loom watches, shared.
struct Watched(UnsafeCell<u64>);

// SAFETY: that is what the model proves.
unsafe impl Sync for Watched {}
// SAFETY: as above.
unsafe impl Send for Watched {}

/// G8: a barrier has waited for the guards that were there before it, and sees what
/// was done under them, though another thread was the one who found them gone.
#[test]
fn g8_a_barrier_against_a_guard() {
    explore("barrier | guard", None, || {
        let platform = Lists::default();
        let pinned = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(Watched(UnsafeCell::new(0)));
        let reads = {
            let (platform, pinned) = (platform.clone(), Arc::clone(&pinned));
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                let guard = platform.pin();
                pinned.store(1, Ordering::Release);
                // SAFETY: the other one looks after its barrier only.
                cell.0.with_mut(|v| unsafe { *v = 1 });
                drop(guard);
            })
        };
        let before = pinned.load(Ordering::Acquire) == 1;
        platform.barrier();
        if before {
            // SAFETY: the guard is gone.
            assert_eq!(cell.0.with(|v| unsafe { *v }), 1);
        }
        reads.join().unwrap();
    });
}
