//! Every interleaving of users of one state, under the model checker.
//!
//! What a state is made of is a `loom::alloc::Track`ed value in an `UnsafeCell`:
//! loom fails when it leaks, when it is touched without the count's ordering
//! between, or when two edges run at once.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

use loom::alloc::Track;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;
use umbra_loom::explore;
use umbra_state::refcount::{Acquire, Release};
use umbra_state::{
    Callback, Engine, Errno, Gate, Host, Name, Patch, Phase, Progress, Reason, RefCount, Rules,
    State, Status, Switch,
};

struct Shared {
    count: RefCount,
    /// What pre_patch makes and post_unpatch takes away.
    made: UnsafeCell<Option<Track<u32>>>,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            count: RefCount::new(),
            made: UnsafeCell::new(None),
        })
    }

    /// One user comes, looks and goes. Says how many edges it ran, each way;
    /// nothing when it found another on an edge, for the engine waits there.
    fn visit(&self) -> Option<(usize, usize)> {
        let mut edges = (0, 0);
        match self.count.acquire() {
            Acquire::First => {
                edges.0 = 1;
                self.make();
                self.count.commit().unwrap();
            }
            Acquire::Shared(_) => {}
            Acquire::Busy(_) => return None,
            Acquire::Saturated => unreachable!(),
        }
        self.look();
        match self.count.release() {
            Release::Last => {
                edges.1 = 1;
                self.unmake();
                self.count.retire().unwrap();
            }
            Release::Shared(_) => {}
            other => unreachable!("{other:?}"),
        }
        Some(edges)
    }

    fn make(&self) {
        self.made.with_mut(|made| {
            // SAFETY: the caller stands on the enabling edge alone.
            let before = unsafe { (*made).replace(Track::new(7)) };
            assert!(before.is_none(), "made twice");
        });
    }

    fn look(&self) {
        self.made.with(|made| {
            // SAFETY: the caller is a user, so it is there and only read.
            let made = unsafe { (*made).as_ref() };
            assert_eq!(
                made.map(|value| *value.get_ref()),
                Some(7),
                "used before it was made"
            );
        });
    }

    fn unmake(&self) {
        self.made.with_mut(|made| {
            // SAFETY: the caller stands on the disabling edge alone.
            assert!(unsafe { (*made).take() }.is_some(), "unmade twice");
        });
    }
}

/// `preemptions` bounds how often a thread may be interrupted where it could go
/// on; `None` is every interleaving there is.
fn race(name: &str, users: usize, preemptions: Option<usize>) {
    explore(name, preemptions, move || {
        let shared = Shared::new();
        let threads: Vec<_> = (1..users)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || shared.visit())
            })
            .collect();
        let mut seen = vec![shared.visit()];
        seen.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
        let visits: Vec<_> = seen.into_iter().flatten().collect();
        let made: usize = visits.iter().map(|edges| edges.0).sum();
        let unmade: usize = visits.iter().map(|edges| edges.1).sum();
        assert!(made >= 1);
        assert_eq!(made, unmade);
        let word = shared.count.load();
        assert_eq!((word.phase(), word.users()), (Phase::Dormant, 0));
        assert_eq!(word.generation() as usize, unmade);
    });
}

#[test]
fn r8_two_users_run_each_edge_once() {
    race("two users come and go", 2, None);
}

#[test]
fn r8_three_users_run_each_edge_once() {
    // All of them take minutes.
    race("three users come and go", 3, Some(3));
}

#[test]
fn r8_users_that_share_run_no_edge_and_the_last_one_sees_them_all() {
    explore("release | release", None, || {
        let shared = Shared::new();
        assert_eq!(shared.count.acquire(), Acquire::First);
        shared.make();
        shared.count.commit().unwrap();
        assert_eq!(shared.count.acquire(), Acquire::Shared(2));
        let other = shared.clone();
        let leave = |shared: &Shared| {
            shared.look();
            match shared.count.release() {
                Release::Last => {
                    shared.unmake();
                    shared.count.retire().unwrap();
                    1
                }
                Release::Shared(left) => {
                    assert_eq!(left, 1);
                    0
                }
                other => unreachable!("{other:?}"),
            }
        };
        let thread = thread::spawn(move || leave(&other));
        assert_eq!(leave(&shared) + thread.join().unwrap(), 1);
    });
}

#[test]
fn r34_who_finds_the_state_active_sees_what_its_callbacks_made() {
    explore("load | acquire, commit", None, || {
        let shared = Shared::new();
        let reader = shared.clone();
        let thread = thread::spawn(move || {
            if reader.count.load().phase() == Phase::Active {
                reader.look();
            }
        });
        assert_eq!(shared.count.acquire(), Acquire::First);
        shared.make();
        shared.count.commit().unwrap();
        thread.join().unwrap();
        assert_eq!(shared.count.release(), Release::Last);
        shared.unmake();
        shared.count.retire().unwrap();
    });
}

#[test]
fn r30_a_life_that_was_given_up_is_cleaned_up_before_the_next() {
    explore("abort | acquire", None, || {
        let shared = Shared::new();
        assert_eq!(shared.count.acquire(), Acquire::First);
        let other = shared.clone();
        let thread = thread::spawn(move || other.visit());
        shared.make();
        shared.unmake();
        shared.count.abort().unwrap();
        if let Some(edges) = thread.join().unwrap() {
            assert_eq!(edges, (1, 1));
        }
    });
}

#[test]
fn r29_who_shares_a_restored_state_sees_what_the_second_post_patch_made() {
    explore("restore | acquire", None, || {
        let shared = Shared::new();
        assert_eq!(shared.count.acquire(), Acquire::First);
        shared.make();
        shared.count.commit().unwrap();
        assert_eq!(shared.count.release(), Release::Last);
        let other = shared.clone();
        let thread = thread::spawn(move || {
            if matches!(other.count.acquire(), Acquire::Shared(_)) {
                other.look();
                assert_eq!(other.count.release(), Release::Shared(1));
            }
        });
        shared.unmake();
        shared.make();
        shared.count.restore().unwrap();
        thread.join().unwrap();
        assert_eq!(shared.count.release(), Release::Last);
        shared.unmake();
        shared.count.retire().unwrap();
    });
}

/// A host whose post_patch fills a cell that patched code reads.
struct Fills(Arc<UnsafeCell<u32>>);

impl Host for Fills {
    fn call(&mut self, _: &Patch, _: &State, callback: Callback, _: Reason) -> Result<(), Errno> {
        if callback == Callback::PostPatch {
            // SAFETY: nobody reads before the gate opens, which is what the
            // model is about.
            self.0.with_mut(|cell| unsafe { *cell = 7 });
        }
        Ok(())
    }

    fn switch(&mut self, _: &Switch<'_>) -> Result<Progress, Errno> {
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, _: &State) {}

    fn barrier(&mut self) {}
}

/// The address of a gate, as a trampoline has it.
struct At(*const Gate);

// SAFETY: a gate is an atomic word, and the engine outlives its readers here.
unsafe impl Send for At {}

impl At {
    fn gate(&self) -> &Gate {
        // SAFETY: the engine lives until every thread has been joined.
        unsafe { &*self.0 }
    }
}

#[test]
fn r37_who_finds_the_gate_open_sees_what_post_patch_made() {
    explore("gate | post_patch", None, || {
        let cell = Arc::new(UnsafeCell::new(0));
        let mut host = Fills(cell.clone());
        let mut engine = Engine::new(0, Rules::Umbra);
        let mut patch = Patch::new(Name::cut("A"));
        patch.push_state(State::new(1, Name::EMPTY)).unwrap();
        engine.enable(patch, &mut host).unwrap();
        let at = At(engine.installed().gate(1).unwrap());
        let reader = thread::spawn(move || {
            if at.gate().is_open() {
                // SAFETY: the gate is open, so post_patch has returned.
                cell.with(|cell| assert_eq!(unsafe { *cell }, 7));
            }
        });
        assert_eq!(engine.run(&mut host), Status::Completed);
        reader.join().unwrap();
    });
}

/// A host whose post_unpatch takes away what patched code reads. Its switch
/// waits, as every host's must, for who is inside.
struct Takes {
    cell: Arc<UnsafeCell<Option<Track<u32>>>>,
    inside: Arc<AtomicUsize>,
}

impl Host for Takes {
    fn call(&mut self, _: &Patch, _: &State, callback: Callback, _: Reason) -> Result<(), Errno> {
        self.cell.with_mut(|cell| {
            // SAFETY: before the gate opens and after the switch back nobody is
            // inside, which is what the model is about.
            let cell = unsafe { &mut *cell };
            match callback {
                Callback::PrePatch => *cell = Some(Track::new(7)),
                Callback::PostUnpatch => *cell = None,
                _ => {}
            }
        });
        Ok(())
    }

    fn switch(&mut self, _: &Switch<'_>) -> Result<Progress, Errno> {
        // Orders the closed gate before the look at who is inside; its partner
        // is the reader's fence between the two the other way round.
        fence(Ordering::SeqCst);
        // Acquire: what the reader did inside happens before post_unpatch.
        if self.inside.load(Ordering::Acquire) != 0 {
            return Ok(Progress::Pending);
        }
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, _: &State) {}

    fn barrier(&mut self) {}
}

#[test]
fn r38_who_found_the_gate_open_is_waited_for_before_the_clean_up() {
    explore("gate | pre_unpatch, switch, post_unpatch", None, || {
        let cell = Arc::new(UnsafeCell::new(None));
        let inside = Arc::new(AtomicUsize::new(0));
        let mut host = Takes {
            cell: cell.clone(),
            inside: inside.clone(),
        };
        let mut engine = Engine::new(0, Rules::Umbra);
        let mut patch = Patch::new(Name::cut("A"));
        let mut state = State::new(1, Name::EMPTY);
        state.callbacks = [Callback::PrePatch, Callback::PostUnpatch]
            .into_iter()
            .collect();
        patch.push_state(state).unwrap();
        engine.enable(patch, &mut host).unwrap();
        assert_eq!(engine.run(&mut host), Status::Completed);
        let at = At(engine.installed().gate(1).unwrap());
        let reader = thread::spawn(move || {
            inside.store(1, Ordering::Relaxed);
            // The partner of the switch's: either it sees us inside, or we see
            // the gate closed.
            fence(Ordering::SeqCst);
            if at.gate().is_open() {
                cell.with(|cell| {
                    // SAFETY: inside, and the gate is open.
                    let value = unsafe { (*cell).as_ref() };
                    assert_eq!(value.map(|value| *value.get_ref()), Some(7));
                });
            }
            inside.store(0, Ordering::Release);
        });
        engine.disable("A", &mut host).unwrap();
        while engine.run(&mut host) == Status::Stalled {
            thread::yield_now();
        }
        reader.join().unwrap();
    });
}
