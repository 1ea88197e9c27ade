//! What a patch that was forced out may still use, whoever ends the state later.
//!
//! A pinned patch has all of its states in use, not only those that it was the
//! last user of: a state that any of its tasks may run code for is in quarantine
//! once its last enabled user has gone.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use umbra_state::{Callback, Cause, Direction, Engine, Phase, Refusal, Request, Status};

/// A{1} is forced out by B{1}, which has the state from now on.
fn replaced() -> Bench {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.lab.stalls = 1;
    assert_eq!(bench.enable(instead("B", &[1])), Ok(Status::Stalled));
    force(&mut bench, &[("A", &[1])]);
    bench
}

/// Forces what stalls, while a task is inside these patches and uses these.
fn force(bench: &mut Bench, inside: &[(&str, &[u64])]) {
    bench.engine.force(&mut bench.lab).unwrap();
    for (patch, ids) in inside {
        let ids = ids.iter().copied().collect();
        bench.lab.inside.insert((*patch).into(), ids);
    }
    assert_ne!(bench.run(), Status::Stalled);
    bench.lab.take();
    bench.lab.quiescent = true;
}

/// The tasks leave this patch, and what can be cleaned up is: how many patches
/// are let go.
fn leave(bench: &mut Bench, patch: &str) -> usize {
    assert!(bench.lab.inside.remove(patch).is_some());
    let settled = bench.engine.settle(&mut bench.lab);
    bench.audit();
    settled
}

fn phase(bench: &Bench, id: u64) -> Phase {
    bench.engine.installed().state(id).unwrap().word.phase()
}

#[test]
fn d8_a_later_disable_frees_nothing_that_a_pinned_patch_may_use() {
    let mut bench = replaced();
    assert_eq!(
        bench.off("B"),
        ["B.1.pre_unpatch", "switch", "quarantine(B.1)", "pin(B)"]
    );
    assert_eq!(bench.lab.live(1), SHADOWS);
    assert_eq!(bench.engine.settle(&mut bench.lab), 0, "A is not quiescent");
    assert!(matches!(
        bench.enable(beside("C", &[1])),
        Err(Refusal::Quarantined { state: 1, by, .. }) if by == name("A")
    ));
    assert_eq!(leave(&mut bench, "A"), 2);
    assert_eq!(bench.lab.take(), ["B.1.post_unpatch", "free(1)"]);
    assert_eq!(bench.lab.live(1), 0);
    bench.on(beside("C", &[1]));
}

#[test]
fn d8_a_later_replace_frees_nothing_that_a_pinned_patch_may_use() {
    let mut bench = replaced();
    assert_eq!(
        bench.on(instead("C", &[2])),
        [
            "C.2.pre_patch",
            "B.1.pre_unpatch",
            "switch",
            "quarantine(B.1)",
            "C.2.post_patch",
            "pin(B)"
        ]
    );
    assert_eq!(
        (bench.lab.live(1), phase(&bench, 1)),
        (SHADOWS, Phase::Disabling)
    );
    assert_eq!(leave(&mut bench, "A"), 2);
    assert_eq!((bench.lab.live(1), bench.lab.live(2)), (0, SHADOWS));
}

#[test]
fn d8_a_sharer_s_disable_frees_nothing_that_a_pinned_patch_may_use() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    bench.on(beside("B", &[2, 3]));
    bench.lab.stalls = 1;
    bench.disable("A").unwrap();
    force(&mut bench, &[("A", &[1, 2])]);
    assert_eq!(
        bench.off("B"),
        [
            "B.2.pre_unpatch",
            "B.3.pre_unpatch",
            "switch",
            "quarantine(B.2)",
            "B.3.post_unpatch",
            "free(3)",
            "pin(B)"
        ],
        "only what A has waits"
    );
    assert_eq!(
        [1, 2, 3].map(|id| bench.lab.live(id)),
        [SHADOWS, SHADOWS, 0]
    );
    assert_eq!(leave(&mut bench, "A"), 2);
    assert_eq!([1, 2, 3].map(|id| bench.lab.live(id)), [0; 3]);
}

#[test]
fn d8_a_forced_reversal_of_a_sharing_enable_keeps_the_state_in_use() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.lab.stalls = 2;
    assert_eq!(bench.enable(beside("B", &[1])), Ok(Status::Stalled));
    bench.engine.reverse(&mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Stalled);
    force(&mut bench, &[("B", &[1])]);
    assert_eq!(
        bench.off("A"),
        ["A.1.pre_unpatch", "switch", "quarantine(A.1)", "pin(A)"]
    );
    assert_eq!(bench.lab.live(1), SHADOWS);
    assert_eq!(leave(&mut bench, "B"), 2);
    assert_eq!(bench.lab.live(1), 0);
}

#[test]
fn d8_a_state_waits_for_every_pinned_patch_that_has_it() {
    let mut bench = replaced();
    bench.lab.stalls = 1;
    bench.enable(instead("C", &[])).unwrap();
    force(&mut bench, &[("B", &[1])]);
    assert_eq!(leave(&mut bench, "A"), 1, "A owes nothing");
    assert_eq!(bench.lab.live(1), SHADOWS, "B may use it");
    assert_eq!(leave(&mut bench, "B"), 1);
    assert_eq!(bench.lab.live(1), 0);

    // The other way round: B, which owes the clean-up, waits for A.
    let mut bench = replaced();
    bench.lab.stalls = 1;
    bench.enable(instead("C", &[])).unwrap();
    force(&mut bench, &[("B", &[1])]);
    assert_eq!(leave(&mut bench, "B"), 0, "its clean-up has not run");
    assert_eq!(bench.lab.live(1), SHADOWS, "A may use it");
    assert_eq!(leave(&mut bench, "A"), 2);
    assert_eq!(bench.lab.live(1), 0);
}

#[test]
fn d8_s2_a_plan_says_which_clean_ups_wait() {
    let mut bench = replaced();
    let planned = bench.engine.plan(Request::Disable("B")).unwrap();
    let calls = planned.callbacks().map(|(_, id, call)| (id, call));
    assert!(calls.eq([(1, Callback::PreUnpatch)]), "{planned:?}");
    assert!(planned.steps().iter().all(|step| !step.frees));
    bench.lab.inside.clear();
    assert_eq!(bench.engine.settle(&mut bench.lab), 1);
    let planned = bench.engine.plan(Request::Disable("B")).unwrap();
    assert_eq!(planned.callbacks().count(), 2);
    assert!(planned.steps().iter().any(|step| step.frees));
}

#[test]
fn d8_who_shares_with_a_pinned_patch_is_let_in_and_out() {
    let mut bench = replaced();
    // The state lives, so another patch may share it; its end waits all the same.
    assert_eq!(bench.on(beside("C", &[1])), ["switch"]);
    assert_eq!(bench.off("B"), ["switch"]);
    assert!(bench.off("C").contains(&"quarantine(C.1)".to_owned()));
    assert_eq!(leave(&mut bench, "A"), 2);
    assert_eq!(bench.lab.live(1), 0);
}

#[test]
fn a_force_that_was_not_used_is_forgotten_when_the_transition_turns() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.lab.stalls = 2;
    assert_eq!(bench.enable(instead("B", &[2])), Ok(Status::Stalled));
    assert_eq!(bench.engine.force(&mut bench.lab), Ok(Direction::Forward));
    bench.engine.reverse(&mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Stalled, "nobody forced the way back");
    assert_eq!(bench.run(), Status::Undone(Cause::Reversed));
    assert!(bench.engine.installed().pinned().is_empty());
    assert_eq!(bench.lab.live(2), 0);

    // The same with cancel, and with a reversal that is itself reversed.
    bench.lab.stalls = 2;
    assert_eq!(bench.enable(instead("B", &[2])), Ok(Status::Stalled));
    bench.engine.force(&mut bench.lab).unwrap();
    bench.engine.cancel(&mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Stalled);
    assert_eq!(bench.run(), Status::Undone(Cause::Cancelled));
    bench.lab.stalls = 2;
    assert_eq!(bench.enable(instead("B", &[2])), Ok(Status::Stalled));
    bench.engine.reverse(&mut bench.lab).unwrap();
    bench.engine.force(&mut bench.lab).unwrap();
    bench.engine.reverse(&mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Stalled);
    assert_eq!(bench.run(), Status::Completed);
    assert!(bench.engine.installed().pinned().is_empty());
    let _: &Engine = &bench.engine;
}

#[test]
fn d8_settle_waits_for_destructors_also_where_no_patch_can_go() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    bench.on(beside("B", &[2]));
    for (patch, ids) in [("B", &[2][..]), ("A", &[1, 2])] {
        bench.lab.stalls = 1;
        assert_eq!(bench.disable(patch), Ok(Status::Stalled));
        force(&mut bench, &[(patch, ids)]);
    }
    let barriers = bench.lab.barriers;
    // B may still use 2, so A stays; 1 is clean and may begin anew.
    assert_eq!(leave(&mut bench, "A"), 0);
    assert_eq!(bench.lab.barriers, barriers + 1);
    bench.lab.stalls = 0;
    bench.on(beside("C", &[1]));
}
