//! Transitions that are forced or cancelled: what waits, and that nothing is
//! freed under a task that may still use it (S5).
#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use umbra_state::{
    Cause, Direction, Errno, NotForceable, NotReversible, Phase, Reason, Refusal, Rules, Status,
};

fn phase(bench: &Bench, id: u64) -> Phase {
    bench.engine.installed().state(id).unwrap().word.phase()
}

#[test]
fn d8_r92_a_forced_disable_quarantines_the_shadows_and_pins_the_patch() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    bench.lab.stalls = 1;
    assert_eq!(bench.disable("A"), Ok(Status::Stalled));
    assert_eq!(bench.engine.force(&mut bench.lab), Ok(Direction::Forward));
    bench.lab.take();
    assert_eq!(bench.run(), Status::Completed);
    assert_eq!(
        bench.lab.take(),
        ["forced", "quarantine(A.1)", "quarantine(A.2)", "pin(A)"]
    );
    assert_eq!((bench.lab.live(1), bench.lab.live(2)), (SHADOWS, SHADOWS));
    assert!(bench.engine.installed().patches().is_empty());
    assert_eq!(bench.engine.installed().pinned()[0].owes(), 2);

    // Neither the patch nor its states come back meanwhile.
    assert_eq!(
        bench.enable(beside("A", &[3])),
        Err(Refusal::Pinned { patch: name("A") })
    );
    let refusal = bench.enable(beside("B", &[2])).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "patch B: state 2 (s2) is in quarantine since patch A was taken away by force, and code \
         of it may still run; wait until it does not"
    );
    assert_eq!(refusal.errno(), Errno::EBUSY);
    bench.on(beside("C", &[3]));

    // Not before the host can prove it.
    assert_eq!(bench.engine.settle(&mut bench.lab), 0);
    assert_eq!(bench.lab.live(1), SHADOWS);
    bench.lab.quiescent = true;
    bench.lab.reasons.clear();
    assert_eq!(bench.engine.settle(&mut bench.lab), 1);
    assert_eq!(
        bench.lab.take(),
        ["A.1.post_unpatch", "free(1)", "A.2.post_unpatch", "free(2)"]
    );
    assert_eq!(bench.lab.reasons, [Reason::Forced; 2]);
    bench.audit();
    bench.on(beside("A", &[1, 2]));

    // What exists frees them at once.
    let mut bench = Bench::under(Rules::V1);
    bench.on(beside("A", &[1]));
    bench.lab.stalls = 1;
    bench.disable("A").unwrap();
    bench.engine.force(&mut bench.lab).unwrap();
    bench.run();
    assert_eq!(bench.lab.live(1), 0, "D8: tasks may still run A");
    bench.lab.quiescent = true;
    assert_eq!(
        bench.engine.settle(&mut bench.lab),
        0,
        "and A is pinned for good"
    );
    assert_eq!(bench.engine.installed().pinned().len(), 1);
}

#[test]
fn r92_a_forced_replace_pins_the_old_patches() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    bench.on(beside("B", &[2, 3]));
    bench.lab.stalls = 1;
    bench.enable(instead("C", &[3])).unwrap();
    bench.lab.take();
    bench.engine.force(&mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Completed);
    assert_eq!(
        bench.lab.take(),
        [
            "forced",
            "quarantine(A.1)",
            "quarantine(B.2)",
            "pin(A)",
            "pin(B)"
        ]
    );
    let installed = bench.engine.installed();
    let owed = |p| installed.owed(p).map(|s| s.id).collect::<Vec<_>>();
    let owed = installed.pinned().iter().map(owed);
    assert!(
        owed.eq([vec![1], vec![2]]),
        "each owes what it was the last user of"
    );
    assert_eq!(
        (phase(&bench, 1), phase(&bench, 3)),
        (Phase::Disabling, Phase::Active)
    );
    bench.lab.quiescent = true;
    assert_eq!(bench.engine.settle(&mut bench.lab), 2);
    assert_eq!([1, 2, 3].map(|id| bench.lab.live(id)), [0, 0, SHADOWS]);
    bench.audit();
}

#[test]
fn a_forced_reversal_quarantines_what_the_new_patch_had_begun() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.lab.stalls = 2;
    bench.enable(instead("B", &[2, 3])).unwrap();
    bench.engine.reverse(&mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Stalled);
    bench.lab.take();
    assert_eq!(bench.engine.force(&mut bench.lab), Ok(Direction::Back));
    assert_eq!(bench.run(), Status::Undone(Cause::Reversed));
    assert_eq!(
        bench.lab.take(),
        [
            "forced",
            "A.1.post_patch",
            "quarantine(B.3)",
            "quarantine(B.2)",
            "pin(B)"
        ]
    );
    bench.audit();
    assert!(matches!(
        bench.enable(beside("X", &[2])),
        Err(Refusal::Quarantined { state: 2, .. })
    ));
    bench.lab.quiescent = true;
    assert_eq!(bench.engine.settle(&mut bench.lab), 1);
    assert_eq!(
        bench.lab.take(),
        ["B.3.post_unpatch", "free(3)", "B.2.post_unpatch", "free(2)"]
    );
    bench.audit();
    bench.on(beside("X", &[2]));
}

#[test]
fn a_forced_enable_pins_nothing() {
    let mut bench = Bench::new();
    bench.lab.stalls = 1;
    bench.enable(beside("A", &[1])).unwrap();
    bench.engine.force(&mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Completed);
    assert!(bench.engine.installed().pinned().is_empty());
    bench.off("A");
}

#[test]
fn only_what_stalls_can_be_forced() {
    let mut bench = Bench::new();
    assert_eq!(bench.engine.force(&mut bench.lab), Err(NotForceable::Idle));
    bench.begin(beside("A", &[1])).unwrap();
    assert_eq!(
        bench.engine.force(&mut bench.lab),
        Err(NotForceable::NotStalled)
    );
    assert_eq!(
        bench.engine.settle(&mut bench.lab),
        0,
        "not during a transition"
    );
    assert_eq!(bench.run(), Status::Completed);
}

#[test]
fn r91_a_replaced_patch_may_be_loaded_anew_unless_it_was_forced_out() {
    let mut bench = Bench::new();
    bench.on(instead("A", &[1]));
    bench.on(instead("B", &[1]));
    assert_eq!(
        bench.disable("A"),
        Err(Refusal::NotEnabled { patch: name("A") })
    );
    bench.on(instead("A", &[1]));
    bench.lab.stalls = 1;
    bench.enable(instead("B", &[1])).unwrap();
    bench.engine.force(&mut bench.lab).unwrap();
    bench.run();
    let pinned = Refusal::Pinned { patch: name("A") };
    assert_eq!(bench.enable(instead("A", &[1])), Err(pinned));
    assert_eq!(bench.engine.unregister("A", &mut bench.lab), Err(pinned));
    assert_eq!(bench.lab.live(1), SHADOWS, "B keeps the state");
}

#[test]
fn a_cancelled_transition_goes_back_and_stays_so() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    let before = bench.picture();
    assert_eq!(
        bench.engine.cancel(&mut bench.lab),
        Err(NotReversible::Idle)
    );
    for reversed in [false, true] {
        bench.lab.stalls = 2;
        assert_eq!(bench.enable(instead("B", &[2])), Ok(Status::Stalled));
        if reversed {
            bench.engine.reverse(&mut bench.lab).unwrap();
        }
        bench.engine.cancel(&mut bench.lab).unwrap();
        assert_eq!(bench.run(), Status::Stalled);
        let undoing = Err(NotReversible::Undoing);
        assert_eq!(bench.engine.reverse(&mut bench.lab), undoing);
        assert_eq!(bench.run(), Status::Undone(Cause::Cancelled));
        assert_eq!(Cause::Cancelled.errno(), Errno(-125));
        assert_eq!(bench.picture(), before);
    }
}

#[test]
fn a_forced_switch_that_fails_is_taken_back_and_pins_nothing() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    let before = bench.picture();
    bench.lab.stalls = 1;
    assert_eq!(bench.enable(instead("B", &[2])), Ok(Status::Stalled));
    bench.lab.switch_fails = Some(Errno::EINVAL);
    bench.engine.force(&mut bench.lab).unwrap();
    let status = bench.run();
    assert!(
        matches!(status, Status::Undone(Cause::Switch { .. })),
        "{status:?}"
    );
    assert_eq!(bench.picture(), before, "nobody was forced");
    assert!(bench.engine.installed().pinned().is_empty());
    assert_eq!(bench.lab.live(2), 0);
}
