//! Memory that runs out: a request then changes nothing, and once it has begun
//! it needs none.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use umbra_state::{
    Callback, Engine, Errno, Hook, Host, Name, Patch, Progress, Reason, Refusal, Replace, Rules,
    State, Status, Switch,
};

/// The system's allocator, which refuses this thread's allocation when its
/// countdown ends, and counts.
struct Failing;

thread_local! {
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

// SAFETY: all memory comes from the system's allocator, or is refused.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        match LEFT.get() {
            0 => return std::ptr::null_mut(),
            usize::MAX => {}
            left => LEFT.set(left - 1),
        }
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// A host that needs no memory itself.
#[derive(Default)]
struct Quiet {
    calls: usize,
    /// How often the switch stalls.
    stalls: usize,
    freed: usize,
}

impl Host for Quiet {
    fn call(&mut self, _: &Patch, _: &State, _: Callback, _: Reason) -> Result<(), Errno> {
        self.calls += 1;
        Ok(())
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno> {
        if self.stalls > 0 {
            self.stalls -= 1;
            return Ok(Progress::Pending);
        }
        self.calls += switch.changes().count();
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, _: &State) {
        self.freed += 1;
    }

    fn barrier(&mut self) {}

    fn quiescent(&mut self, _: &Patch) -> bool {
        true
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn patch(called: &str, ids: std::ops::Range<u64>, replace: Replace) -> Patch {
    let mut patch = Patch::new(name(called));
    patch.replace = replace;
    for id in ids {
        patch.push_state(State::new(id, name("s"))).unwrap();
        patch
            .push_hook(Hook::new(id as usize, name("f"), id))
            .unwrap();
    }
    patch
}

/// Runs `request` with the n-th allocation refused, for every n until it needs
/// no more. Says how many it took.
fn starve(mut request: impl FnMut() -> Result<(), Refusal>) -> usize {
    for left in 0.. {
        LEFT.set(left);
        let outcome = request();
        LEFT.set(usize::MAX);
        match outcome {
            Err(refusal) => assert_eq!(refusal, Refusal::OutOfMemory),
            Ok(()) => return left,
        }
    }
    unreachable!("some number of allocations is enough")
}

#[test]
fn every_allocation_of_a_request_may_fail_and_none_comes_later() {
    let mut engine = Engine::new(3, Rules::Umbra);
    let mut host = Quiet::default();
    let run = |engine: &mut Engine, host: &mut Quiet| {
        let before = COUNT.get();
        assert_eq!(engine.run(host), Status::Completed);
        assert_eq!(COUNT.get(), before, "no step needs memory");
    };

    // A patch is made anew each time: a refused one is dropped.
    let fresh = |called: &str, ids: std::ops::Range<u64>, replace| {
        let left = LEFT.replace(usize::MAX);
        let patch = patch(called, ids, replace);
        LEFT.set(left);
        patch
    };
    let mut enable = |engine: &mut Engine, called: &str, ids: std::ops::Range<u64>, replace| {
        let took = starve(|| {
            let patch = fresh(called, ids.clone(), replace);
            let calls = host.calls;
            let begun = engine.enable(patch, &mut host);
            assert_eq!(host.calls, calls, "begun or refused, nothing was called");
            begun
        });
        run(engine, &mut host);
        took
    };
    assert!(enable(&mut engine, "A", 1..40, Replace::Nothing) > 0);
    assert!(enable(&mut engine, "B", 40..60, Replace::Nothing) > 0);
    assert!(enable(&mut engine, "C", 20..80, Replace::All) > 0);

    let mut host = Quiet::default();
    assert!(starve(|| engine.disable("C", &mut host)) > 0);
    run(&mut engine, &mut host);
    assert_eq!(host.calls, 2 * 60 + 60, "60 states go, and 60 hooks");
    assert!(engine.installed().patches().is_empty());
}

#[test]
fn a_patch_that_gets_no_memory_is_as_before() {
    let mut patch = Patch::new(name("A"));
    let state = State::new(1, name("s"));
    LEFT.set(0);
    let (pushed, hooked) = (
        patch.push_state(state),
        patch.push_hook(Hook::new(1, Name::EMPTY, 1)),
    );
    LEFT.set(usize::MAX);
    assert!(pushed.is_err() && hooked.is_err());
    assert!(patch.states.is_empty() && patch.hooks.is_empty());
}

#[test]
fn what_is_forced_and_settled_needs_no_memory() {
    let mut engine = Engine::new(3, Rules::Umbra);
    let mut host = Quiet::default();
    let mut shadowed = patch("A", 1..40, Replace::All);
    for state in &mut shadowed.states {
        state.is_shadow = true;
    }
    let other = patch("B", 30..50, Replace::Nothing);
    let new = patch("C", 45..60, Replace::All);
    for patch in [shadowed, other] {
        let mut patch = patch;
        patch.hooks.clear();
        if patch.name.as_str() == "B" {
            patch.states.drain(..10);
        }
        engine.enable(patch, &mut host).unwrap();
        assert_eq!(engine.run(&mut host), Status::Completed);
    }
    host.stalls = 1;
    engine.enable(new, &mut host).unwrap();
    assert_eq!(engine.run(&mut host), Status::Stalled);
    let before = COUNT.get();
    engine.force(&mut host).unwrap();
    assert_eq!(engine.run(&mut host), Status::Completed);
    assert_eq!((engine.installed().pinned().len(), host.freed), (2, 0));
    assert_eq!(engine.settle(&mut host), 2);
    assert_eq!(COUNT.get(), before);
    assert_eq!(host.freed, 39);
}

#[test]
fn registering_may_fail_and_a_registered_patch_keeps_its_place() {
    let mut engine = Engine::new(3, Rules::Umbra);
    let mut host = Quiet::default();
    let took = starve(|| {
        let left = LEFT.replace(usize::MAX);
        let patch = patch("A", 1..20, Replace::Nothing);
        LEFT.set(left);
        engine.register(patch, &mut host)
    });
    assert!(took > 0);
    assert!(starve(|| engine.enable_registered("A", &mut host)) > 0);
    let running = engine.register(patch("B", 1..2, Replace::Nothing), &mut host);
    assert!(matches!(running, Err(Refusal::TransitionRunning { .. })));
    let before = COUNT.get();
    engine.cancel(&mut host).unwrap();
    assert!(matches!(engine.run(&mut host), Status::Undone(_)));
    assert_eq!(COUNT.get(), before);
    assert_eq!(engine.installed().registered().len(), 1);
}

#[test]
fn a_disagreement_that_gets_no_memory_is_a_refusal_too() {
    let mut engine = Engine::new(3, Rules::Umbra);
    let mut host = Quiet::default();
    engine
        .enable(patch("A", 1..40, Replace::Nothing), &mut host)
        .unwrap();
    assert_eq!(engine.run(&mut host), Status::Completed);
    let took = starve(|| {
        let left = LEFT.replace(usize::MAX);
        let mut patch = patch("B", 20..60, Replace::Nothing);
        patch.hooks.clear();
        for state in &mut patch.states {
            state.shadow_size = 8;
            state.callbacks = [Callback::PrePatch].into_iter().collect();
        }
        LEFT.set(left);
        engine.enable(patch, &mut host)
    });
    assert!(took > 0);
    let before = COUNT.get();
    assert_eq!(engine.run(&mut host), Status::Completed);
    assert_eq!(COUNT.get(), before);
    // Whoever leaves now makes the others be compared anew, in place.
    assert!(starve(|| engine.disable("B", &mut host)) > 0);
    let before = COUNT.get();
    assert_eq!(engine.run(&mut host), Status::Completed);
    assert_eq!(COUNT.get(), before);
}
