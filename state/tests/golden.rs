//! The golden traces of the requirements, as the `umbra` rules run them.

#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use umbra_state::{Cause, Direction, Errno, NotReversible, Reason, Status};

#[test]
fn t1_d4_r30_r31_a_failing_pre_patch_is_undone_in_reverse_and_leaves_no_shadow() {
    let mut bench = Bench::new();
    bench.lab.fail("A", 3, -12);
    let failed = bench.enable(beside("A", &[1, 2, 3, 4])).unwrap();
    let cause = Cause::PrePatch {
        patch: name("A"),
        state: 3,
        name: name("s3"),
        errno: Errno(-12),
    };
    assert_eq!(failed, Status::Undone(cause));
    assert_eq!(cause.errno(), Errno::ENOMEM);
    assert_eq!(
        bench.lab.take(),
        [
            "A.1.pre_patch",
            "A.2.pre_patch",
            "A.3.pre_patch!ERR",
            "free(3)",
            "A.2.post_unpatch",
            "free(2)",
            "A.1.post_unpatch",
            "free(1)",
        ]
    );
    assert!((1..=4).all(|id| bench.lab.live(id) == 0));
    assert!(bench.engine.installed().patches().is_empty());
    assert_eq!(bench.lab.barriers, 1, "the destructors ran before the end");

    bench.lab.failing.clear();
    assert_eq!(
        bench.enable(beside("A", &[1, 2, 3, 4])),
        Ok(Status::Completed)
    );
}

#[test]
fn t1_a_replace_that_fails_midway_leaves_the_old_patch_as_it_was() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    let before = bench.picture();
    bench.lab.fail("B", 4, -5);
    let failed = bench.enable(instead("B", &[2, 3, 4])).unwrap();
    assert!(matches!(
        failed,
        Status::Undone(Cause::PrePatch { state: 4, .. })
    ));
    assert_eq!(
        bench.lab.take(),
        [
            "B.3.pre_patch",
            "B.4.pre_patch!ERR",
            "free(4)",
            "B.3.post_unpatch",
            "free(3)"
        ]
    );
    assert_eq!(bench.picture(), before);
    assert_eq!(
        bench.off("A").len(),
        7,
        "A still owes, and pays, all its callbacks"
    );
}

#[test]
fn t2_d1_r52_a_state_shared_by_two_replaced_patches_is_cleaned_up_once() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    assert_eq!(bench.on(beside("B", &[1])), ["switch"]);
    assert_eq!(bench.lab.live(1), SHADOWS);
    assert_eq!(
        bench.on(instead("C", &[])),
        ["B.1.pre_unpatch", "switch", "B.1.post_unpatch", "free(1)"]
    );
    assert_eq!(bench.lab.live(1), 0);
}

#[test]
fn t3_r28_r29_r83_a_stalled_replace_that_is_reversed_restores_the_old_patch() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    let before = bench.picture();
    bench.lab.stalls = 1;
    bench.begin(instead("B", &[2])).unwrap();
    assert_eq!(bench.run(), Status::Stalled);
    assert_eq!(bench.engine.reverse(&mut bench.lab), Ok(Direction::Back));
    assert_eq!(bench.run(), Status::Undone(Cause::Reversed));
    assert_eq!(
        bench.lab.take(),
        [
            "B.2.pre_patch",
            "A.1.pre_unpatch",
            "reverse",
            "switch",
            "A.1.post_patch",
            "B.2.post_unpatch",
            "free(2)"
        ]
    );
    assert_eq!(
        bench.lab.reasons[4..],
        [Reason::Reverse; 2],
        "R83: told why"
    );
    assert_eq!(bench.picture(), before);
    assert_eq!(bench.lab.live(1), SHADOWS, "A's shadows never went");
}

#[test]
fn t4_a_stalled_disable_that_is_reversed_only_reopens() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    let before = bench.picture();
    bench.lab.stalls = 1;
    assert_eq!(bench.disable("A"), Ok(Status::Stalled));
    bench.engine.reverse(&mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Undone(Cause::Reversed));
    assert_eq!(
        bench.lab.take(),
        ["A.1.pre_unpatch", "reverse", "switch", "A.1.post_patch"]
    );
    assert_eq!(bench.picture(), before);
}

#[test]
fn t5_d5_a_blocked_patch_that_is_still_being_enabled_may_be_reversed() {
    let mut bench = Bench::new();
    let mut blocked = state(1);
    blocked.block_disable = true;
    bench.lab.stalls = 1;
    assert_eq!(bench.enable(patch("A", [blocked])), Ok(Status::Stalled));
    assert_eq!(bench.engine.reverse(&mut bench.lab), Ok(Direction::Back));
    assert_eq!(bench.run(), Status::Undone(Cause::Reversed));
    let trace = bench.lab.take();
    assert_eq!(
        trace,
        [
            "A.1.pre_patch",
            "reverse",
            "switch",
            "A.1.post_unpatch",
            "free(1)"
        ]
    );
}

#[test]
fn t6_d6_a_blocked_state_that_another_patch_keeps_does_not_block() {
    let mut bench = Bench::new();
    let mut blocked = state(1);
    blocked.block_disable = true;
    bench.on(patch("A", [blocked]));
    bench.on(patch("B", [blocked]));
    assert_eq!(bench.off("B"), ["switch"]);
    assert_eq!(bench.lab.live(1), SHADOWS);
    assert!(bench.disable("A").is_err(), "now A is the last");
}

#[test]
fn t8_r66_r68_r53_josh_s_series_runs_the_xor_of_the_states() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.on(instead("P1", &[1])),
        ["P1.1.pre_patch", "switch", "P1.1.post_patch"]
    );
    let guard = bench.lab.shadows.pin();
    let address = bench.lab.shadows.get(1 << 8, 1, &guard).unwrap();
    assert_eq!(bench.on(instead("P2", &[1])), ["switch"]);
    assert_eq!(
        bench.on(instead("P3", &[1, 2])),
        ["P3.2.pre_patch", "switch", "P3.2.post_patch"]
    );
    assert_eq!(
        bench.lab.shadows.get(1 << 8, 1, &guard),
        Some(address),
        "R53: the same variable all along"
    );
    // SAFETY: the guard is held, and the lab's variables are one u64.
    let content = unsafe { *address.cast::<u64>().as_ref() };
    assert_eq!(content & 0xffff, 1, "R53: and its content");
    assert!(bench.lab.dtors().is_empty());
    drop(guard);
    assert_eq!(
        bench.on(instead("P4", &[1, 3])),
        [
            "P4.3.pre_patch",
            "P3.2.pre_unpatch",
            "switch",
            "P3.2.post_unpatch",
            "free(2)",
            "P4.3.post_patch"
        ]
    );
    assert_eq!(
        (bench.lab.live(1), bench.lab.live(2), bench.lab.live(3)),
        (SHADOWS, 0, SHADOWS)
    );
    assert_eq!(
        bench.on(instead("P1", &[1])),
        ["P4.3.pre_unpatch", "switch", "P4.3.post_unpatch", "free(3)"]
    );
    assert_eq!(
        bench.off("P1"),
        ["P1.1.pre_unpatch", "switch", "P1.1.post_unpatch", "free(1)"]
    );
    assert!((1..=3).all(|id| bench.lab.live(id) == 0));
}

#[test]
fn r27_a_reversed_enable_calls_no_pre_unpatch() {
    let mut bench = Bench::new();
    bench.lab.stalls = 1;
    bench.enable(beside("A", &[1])).unwrap();
    bench.engine.reverse(&mut bench.lab).unwrap();
    bench.run();
    let trace = bench.lab.take();
    assert!(
        !trace.iter().any(|step| step.ends_with("pre_unpatch")),
        "{trace:?}"
    );
    assert!(trace.contains(&"A.1.post_unpatch".into()), "{trace:?}");
}

#[test]
fn r95_the_order_of_mixed_callbacks_is_frozen() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    bench.on(beside("B", &[2, 3]));
    assert_eq!(
        bench.on(instead("C", &[3, 4, 5])),
        [
            "C.4.pre_patch",
            "C.5.pre_patch",
            "A.1.pre_unpatch",
            "B.2.pre_unpatch",
            "switch",
            "A.1.post_unpatch",
            "free(1)",
            "B.2.post_unpatch",
            "free(2)",
            "C.4.post_patch",
            "C.5.post_patch",
        ]
    );
}

#[test]
fn a_reversal_may_itself_be_reversed_until_the_switch_is_back() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.engine.reverse(&mut bench.lab),
        Err(NotReversible::Idle)
    );
    bench.lab.stalls = 2;
    assert_eq!(bench.enable(beside("A", &[1])), Ok(Status::Stalled));
    assert_eq!(bench.engine.reverse(&mut bench.lab), Ok(Direction::Back));
    assert_eq!(bench.run(), Status::Stalled, "the way back stalls as well");
    assert_eq!(bench.engine.reverse(&mut bench.lab), Ok(Direction::Forward));
    assert_eq!(bench.engine.step(&mut bench.lab), Status::Working);
    assert_eq!(
        bench.engine.reverse(&mut bench.lab),
        Err(NotReversible::TooLate)
    );
    assert_eq!(bench.run(), Status::Completed);
    assert_eq!(
        bench.lab.take(),
        [
            "A.1.pre_patch",
            "reverse",
            "reverse",
            "switch",
            "A.1.post_patch"
        ]
    );
}

#[test]
fn a_transition_may_be_reversed_at_every_step_before_its_switch_is_done() {
    for after in 0.. {
        let mut bench = Bench::new();
        bench.on(beside("A", &[1, 2]));
        bench.on(beside("B", &[2, 3]));
        let before = bench.picture();
        bench.begin(instead("C", &[3, 4])).unwrap();
        for _ in 0..after {
            bench.engine.step(&mut bench.lab);
        }
        match bench.engine.reverse(&mut bench.lab) {
            Ok(_) => {
                assert_eq!(bench.run(), Status::Undone(Cause::Reversed));
                assert_eq!(bench.picture(), before, "reversed after {after} steps");
            }
            Err(error) => {
                assert_eq!(error, NotReversible::TooLate);
                assert_eq!(after, 7, "2 states in, 4 out, then the switch");
                assert_eq!(bench.run(), Status::Completed);
                break;
            }
        }
    }
}

#[test]
fn a_switch_that_fails_is_taken_back_and_says_why() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    let before = bench.picture();
    bench.lab.switch_fails = Some(Errno::EBUSY);
    let cause = Cause::Switch {
        patch: name("B"),
        errno: Errno::EBUSY,
    };
    assert_eq!(bench.enable(instead("B", &[2])), Ok(Status::Undone(cause)));
    assert_eq!(
        bench.lab.take(),
        [
            "B.2.pre_patch",
            "A.1.pre_unpatch",
            "A.1.post_patch",
            "B.2.post_unpatch",
            "free(2)"
        ]
    );
    assert_eq!(bench.lab.reasons.last(), Some(&Reason::Failed));
    assert_eq!(bench.picture(), before);
    assert_eq!(
        cause.to_string(),
        "the hooks of patch B could not be changed: -16 (EBUSY); everything is as before"
    );
}
