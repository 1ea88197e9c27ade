//! Hosts that panic, in userspace: in a callback, in a switch, while freeing,
//! waiting or listening. The engine goes on from there, or back, and owes nothing.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use umbra_state::{Callback, Cause, Errno, Patch, Status};

/// What is done after a panic, before the engine is stepped on.
#[derive(Clone, Copy, Debug)]
enum Then {
    GoOn,
    Reverse,
    Cancel,
}

/// What is done with a switch that stalls.
#[derive(Clone, Copy, Debug)]
enum Stall {
    Wait,
    Reverse,
    Force,
    ReverseAndForce,
}

/// One request: what is there, and what is asked for.
struct Scene {
    there: fn() -> Vec<Patch>,
    asked: fn(&mut Bench),
}

const SCENES: [Scene; 3] = [
    Scene {
        there: || vec![beside("A", &[1, 4]), beside("S", &[4, 5])],
        asked: |bench| {
            let mut patch = instead("B", &[2, 4, 3]);
            patch.push_hook(hook(10, 2)).unwrap();
            let _ = bench.engine.enable(patch, &mut bench.lab);
        },
    },
    Scene {
        there: || vec![beside("A", &[1, 4]), beside("S", &[4])],
        asked: |bench| {
            let _ = bench.engine.disable("A", &mut bench.lab);
        },
    },
    Scene {
        there: || vec![beside("A", &[1])],
        asked: |bench| {
            let mut patch = beside("B", &[1, 2]);
            patch.push_hook(hook(10, 2)).unwrap();
            bench.engine.register(patch, &mut bench.lab).unwrap();
            let _ = bench.engine.enable_registered("B", &mut bench.lab);
        },
    },
];

/// Runs `what`; on a panic does what is to be done then, and says that it was.
fn tried<T>(bench: &mut Bench, then: Then, what: impl FnOnce(&mut Bench) -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(|| what(bench)));
    if done.is_err() {
        // At most one panic is asked for, so these do not.
        // Where it is too late for that it is refused, and the run goes on.
        let _ = match then {
            Then::GoOn => return None,
            Then::Reverse => bench.engine.reverse(&mut bench.lab).map(|_| ()),
            Then::Cancel => bench.engine.cancel(&mut bench.lab),
        };
    }
    done.ok()
}

/// The request with a panic at moment `at`; whether there was such a moment.
fn play(scene: &Scene, stall: Stall, then: Then, at: usize) -> bool {
    let mut bench = Bench::new();
    for patch in (scene.there)() {
        bench.on(patch);
    }
    let before = bench.picture();
    bench.lab.stalls = match stall {
        Stall::Wait | Stall::Force => 1,
        Stall::Reverse | Stall::ReverseAndForce => 2,
    };
    bench.lab.trip_in = Some(at);
    tried(&mut bench, then, scene.asked);
    for state in bench.engine.installed().states() {
        let gate = bench.engine.installed().gate(state.id).unwrap();
        bench.lab.gates.insert(state.id, std::ptr::from_ref(gate));
    }
    let mut stalled = 0;
    let mut status = Status::Working;
    for _ in 0..50 {
        let run = tried(&mut bench, then, |bench| bench.engine.run(&mut bench.lab));
        status = run.unwrap_or(Status::Working);
        match (status, stall) {
            (Status::Working, _) => continue,
            (Status::Stalled, _) => {}
            _ => break,
        }
        stalled += 1;
        match stall {
            Stall::Wait => {}
            Stall::Reverse | Stall::ReverseAndForce if stalled == 1 => {
                tried(&mut bench, then, |bench| {
                    let _ = bench.engine.reverse(&mut bench.lab);
                });
            }
            Stall::Reverse => {}
            Stall::Force | Stall::ReverseAndForce => {
                tried(&mut bench, then, |bench| {
                    let _ = bench.engine.force(&mut bench.lab);
                });
            }
        }
    }
    let tripped = bench.lab.trip_in.is_none();
    let story = || format!("{stall:?} {then:?} at {at}: {:?}", bench.lab.trace);
    assert!(
        !matches!(status, Status::Working | Status::Stalled),
        "it does not end: {}",
        story()
    );
    assert!(bench.engine.installed().running().is_none(), "{}", story());
    bench.audit();
    if matches!(status, Status::Undone(_)) {
        let (patches, ..) = bench.picture();
        assert_eq!(patches, before.0, "{}", story());
    }
    // What waits is made up for, whoever panics meanwhile.
    bench.lab.quiescent = true;
    for _ in 0..2 {
        tried(&mut bench, then, |bench| {
            bench.engine.settle(&mut bench.lab)
        });
    }
    let tripped = tripped || bench.lab.trip_in.is_none();
    bench.lab.trip_in = None;
    bench.engine.settle(&mut bench.lab);
    let story = || format!("{stall:?} {then:?} at {at}: {:?}", bench.lab.trace);
    assert!(bench.engine.installed().pinned().is_empty(), "{}", story());
    bench.audit();
    if matches!(status, Status::Undone(_)) {
        assert_eq!(bench.picture(), before, "{}", story());
    }
    balanced(&bench, &story());
    // And it all comes apart again.
    bench.lab.stalls = 0;
    let names: Vec<_> = bench.picture().0;
    for name in names {
        bench.off(&name);
    }
    balanced(&bench, "afterwards");
    assert!((1..=5).all(|id| bench.lab.live(id) == 0));
    tripped
}

/// The ledger has the tokens of the states in use, and no other.
fn balanced(bench: &Bench, story: &str) {
    let installed = bench.engine.installed();
    for (&id, &tokens) in &bench.lab.ledger {
        let used = installed.gate(id).is_some_and(|gate| gate.is_open());
        let whole = Ledger {
            pre: used,
            post: used,
        };
        assert_eq!(tokens, whole, "state {id}: {story}");
    }
}

#[test]
fn r23_r24_a_host_may_panic_anywhere_and_no_callback_loses_its_counterpart() {
    let mut tried = 0;
    for scene in &SCENES {
        for stall in [
            Stall::Wait,
            Stall::Reverse,
            Stall::Force,
            Stall::ReverseAndForce,
        ] {
            for then in [Then::GoOn, Then::Reverse, Then::Cancel] {
                let moments = (0..).take_while(|&at| play(scene, stall, then, at));
                tried += moments.count();
            }
        }
    }
    assert!(tried > 500, "{tried} panics");
}

#[test]
fn a_callback_that_panics_leaves_an_engine_that_goes_on() {
    // Every callback there is in a replace, a disable and a reversal.
    let mut tried = 0;
    for (who, id) in [("A", 1), ("B", 2), ("B", 3)] {
        for callback in Callback::ALL {
            for reverse in [false, true] {
                let mut bench = Bench::new();
                bench.on(beside("A", &[1]));
                let before = bench.picture();
                bench.lab.panics = Some((who.into(), id, callback));
                bench.lab.stalls = usize::from(reverse);
                bench.begin(instead("B", &[2, 3])).unwrap();
                let mut run = || {
                    let run = AssertUnwindSafe(|| bench.engine.run(&mut bench.lab));
                    let status = catch_unwind(run);
                    tried += usize::from(status.is_err());
                    status.unwrap_or_else(|_| bench.engine.run(&mut bench.lab))
                };
                let mut status = run();
                if status == Status::Stalled {
                    bench.engine.reverse(&mut bench.lab).unwrap();
                    let run = AssertUnwindSafe(|| bench.engine.run(&mut bench.lab));
                    let again = catch_unwind(run);
                    tried += usize::from(again.is_err());
                    status = again.unwrap_or_else(|_| bench.engine.run(&mut bench.lab));
                }
                bench.lab.panics = None;
                bench.audit();
                match status {
                    Status::Completed => assert_eq!(bench.off("B").last().unwrap(), "free(3)"),
                    Status::Undone(cause) => {
                        let panicked = cause.errno() == Errno::PANICKED;
                        assert!(panicked || cause == Cause::Reversed, "{cause}");
                        assert_eq!(bench.picture(), before);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(tried, 12, "six callbacks each way");
}

#[test]
fn a_clean_up_that_panics_is_made_up_for_once() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.on(beside("B", &[2, 3]));
    bench.lab.stalls = 1;
    bench.enable(instead("C", &[])).unwrap();
    bench.engine.force(&mut bench.lab).unwrap();
    bench.run();
    bench.lab.quiescent = true;
    bench.lab.lingers = "A";
    bench.lab.panics = Some(("B".into(), 2, Callback::PostUnpatch));
    let settle = AssertUnwindSafe(|| bench.engine.settle(&mut bench.lab));
    assert!(catch_unwind(settle).is_err());
    bench.lab.take();
    assert_eq!(bench.engine.settle(&mut bench.lab), 1, "B, and not A");
    assert_eq!(bench.lab.take(), ["free(2)", "B.3.post_unpatch", "free(3)"]);
    assert_eq!([1, 2, 3].map(|id| bench.lab.live(id)), [SHADOWS, 0, 0]);
    bench.lab.lingers = "";
    assert_eq!(bench.engine.settle(&mut bench.lab), 1);
    assert_eq!(bench.lab.live(1), 0);
    bench.audit();
}

#[test]
fn d8_after_a_panic_in_settle_a_state_begins_anew_once_its_destructors_have_run() {
    for at in 0.. {
        let mut bench = Bench::new();
        bench.on(beside("A", &[1]));
        bench.lab.stalls = 1;
        assert_eq!(bench.disable("A"), Ok(Status::Stalled));
        bench.engine.force(&mut bench.lab).unwrap();
        assert_eq!(bench.run(), Status::Completed);
        (bench.lab.stalls, bench.lab.quiescent) = (0, true);
        bench.lab.trip_in = Some(at);
        let settle = AssertUnwindSafe(|| bench.engine.settle(&mut bench.lab));
        if catch_unwind(settle).is_ok() {
            assert!(at > 5, "a panic at each moment of a settling");
            return;
        }
        // The lab holds the order of what follows.
        if bench.begin(beside("C", &[1])).is_ok() {
            assert_eq!(bench.run(), Status::Completed);
            assert_eq!(bench.lab.live(1), SHADOWS);
        }
    }
}
