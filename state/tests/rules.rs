//! What exists, run beside Umbra: each defect shown and beaten, and the rules of
//! mainline, so that the comparison is with something.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use umbra_state::refusal::OldRule;
use umbra_state::{
    Callback, Callbacks, Direction, NotReversible, Object, Patch, Reason, Refusal, Request, Rules,
    State, Status,
};

fn v1() -> Bench {
    Bench::under(Rules::V1)
}

fn mainline() -> Bench {
    Bench::under(Rules::Mainline)
}

/// A patch whose author declares no states, only callbacks.
fn callbacks_only(mut patch: Patch) -> Patch {
    objects(&mut patch);
    patch.states.clear();
    patch
}

fn blocked(id: u64) -> State {
    let mut state = state(id);
    state.block_disable = true;
    state
}

#[test]
fn t1_d4_r31_v1_undoes_in_forward_order_and_leaks_what_the_failing_one_attached() {
    let mut bench = v1();
    bench.lab.fail("A", 3, -12);
    assert!(matches!(
        bench.enable(beside("A", &[1, 2, 3, 4])),
        Ok(Status::Undone(_))
    ));
    assert_eq!(
        bench.lab.take(),
        [
            "A.1.pre_patch",
            "A.2.pre_patch",
            "A.3.pre_patch!ERR",
            "A.1.post_unpatch",
            "free(1)",
            "A.2.post_unpatch",
            "free(2)",
        ]
    );
    let live = [1, 2, 3].map(|id| bench.lab.live(id));
    assert_eq!(live, [0, 0, SHADOWS], "D4");
}

#[test]
fn t2_d1_r56_v1_and_mainline_leak_a_state_that_two_replaced_patches_share() {
    let mut bench = v1();
    bench.on(beside("A", &[1]));
    bench.on(beside("B", &[1]));
    assert_eq!(bench.on(instead("C", &[])), ["switch"]);
    assert_eq!(bench.lab.live(1), SHADOWS, "D1");

    let mut bench = mainline();
    bench.on(callbacks_only(beside("A", &[1])));
    bench.on(callbacks_only(instead("C", &[])));
    assert_eq!(bench.lab.live(1), SHADOWS, "R56: nobody is called");

    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.on(beside("B", &[1]));
    bench.on(instead("C", &[]));
    assert_eq!(bench.lab.live(1), 0);
}

#[test]
fn t3_t4_v1_reverses_as_we_do() {
    let mut bench = v1();
    bench.on(beside("A", &[1]));
    bench.lab.stalls = 1;
    assert_eq!(bench.enable(instead("B", &[2])), Ok(Status::Stalled));
    assert_eq!(bench.engine.reverse(&mut bench.lab), Ok(Direction::Back));
    bench.run();
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
    bench.lab.stalls = 1;
    assert_eq!(bench.disable("A"), Ok(Status::Stalled));
    bench.engine.reverse(&mut bench.lab).unwrap();
    bench.run();
    assert_eq!(
        bench.lab.take(),
        ["A.1.pre_unpatch", "reverse", "switch", "A.1.post_patch"]
    );
}

#[test]
fn t5_d5_v1_cannot_take_back_a_blocked_patch_that_is_stuck() {
    let mut bench = v1();
    bench.lab.stalls = 1;
    assert_eq!(bench.enable(patch("A", [blocked(1)])), Ok(Status::Stalled));
    let refused = bench.engine.reverse(&mut bench.lab);
    assert_eq!(refused, Err(NotReversible::Blocked { state: 1 }));
    bench.engine.force(&mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Completed);
}

#[test]
fn t6_d6_v1_refuses_to_disable_what_another_patch_keeps() {
    let mut bench = v1();
    bench.on(patch("A", [blocked(1)]));
    bench.on(patch("B", [blocked(1)]));
    let refusal = bench.disable("B").unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "patch B: state 1 (s1) is marked block_disable, so it can only be forced"
    );
    assert_eq!(refusal.state(), Some(1));
}

#[test]
fn t7_d7_v1_runs_a_duplicate_twice_and_a_zero_id_ends_the_list() {
    let mut bench = v1();
    assert_eq!(
        bench.on(beside("A", &[1, 1])),
        [
            "A.1.pre_patch",
            "A.1.pre_patch",
            "switch",
            "A.1.post_patch",
            "A.1.post_patch"
        ]
    );
    assert_eq!(
        bench.off("A"),
        [
            "A.1.pre_unpatch",
            "A.1.pre_unpatch",
            "switch",
            "A.1.post_unpatch",
            "free(1)",
            "A.1.post_unpatch",
            "free(1)"
        ]
    );
    // R2: the rest is silently not there.
    assert_eq!(
        bench.on(beside("B", &[2, 0, 3])),
        ["B.2.pre_patch", "switch", "B.2.post_patch"]
    );
}

#[test]
fn t8_v1_runs_josh_s_series_as_we_do() {
    let series: [&[u64]; 5] = [&[1], &[1], &[1, 2], &[1, 3], &[1]];
    let run = |mut bench: Bench| {
        let step = |(at, ids): (usize, &&[u64])| bench.on(instead(&format!("P{at}"), ids));
        series.iter().enumerate().flat_map(step).collect::<Vec<_>>()
    };
    assert_eq!(run(v1()), run(Bench::new()));
}

#[test]
fn r6_v1_leaks_where_descriptors_of_one_id_differ() {
    let mut plain = state(1);
    plain.is_shadow = false;
    let mut bench = v1();
    bench.on(beside("A", &[1]));
    let mut second = patch("B", [plain]);
    second.replace = umbra_state::Replace::All;
    bench.on(second);
    bench.off("B");
    assert_eq!(bench.lab.live(1), SHADOWS, "B does not know that it owes");

    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    assert!(matches!(
        bench.enable(patch("B", [plain])),
        Err(Refusal::ShadowsDisagree { state: 1, .. })
    ));
}

#[test]
fn d2_destructors_run_where_they_may_sleep() {
    // Under umbra the engine hands shadows over and waits outside of any lock
    // or guard: here a destructor sleeps, and the transition waits for it.
    unsafe extern "C" fn sleeps(_: *mut std::ffi::c_void, _: *mut std::ffi::c_void) {
        std::thread::sleep(std::time::Duration::from_millis(5));
        SLEPT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    static SLEPT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let mut bench = Bench::new();
    let mut one = state(1);
    // SAFETY: it touches no data.
    one.shadow_dtor = Some(unsafe { umbra_shadow::Dtor::new(sleeps) });
    bench.on(patch("A", [one]));
    bench.off("A");
    // SeqCst: the test's own tally.
    assert_eq!(SLEPT.load(std::sync::atomic::Ordering::SeqCst), SHADOWS);
}

#[test]
fn r93_r94_mainline_calls_only_the_new_patch_at_a_replace_so_the_old_one_leaks() {
    let mut bench = mainline();
    bench.on(callbacks_only(beside("A", &[1])));
    assert_eq!(
        bench.on(callbacks_only(instead("B", &[2]))),
        ["B.2.pre_patch", "switch", "B.2.post_patch"]
    );
    bench.off("B");
    assert_eq!((bench.lab.live(1), bench.lab.live(2)), (SHADOWS, 0));
}

#[test]
fn r73_r81_mainline_compares_versions_with_every_enabled_patch() {
    let version = |id, version| {
        let mut state = state(id);
        state.version = version;
        state
    };
    let all = umbra_state::Replace::All;
    let none = umbra_state::Replace::Nothing;
    // What is there, the new patch's replace, its states, whether it may come.
    let table = [
        (vec![version(1, 2)], all, vec![version(1, 2)], true),
        (vec![version(1, 2)], all, vec![version(1, 3)], true),
        (vec![version(1, 2)], all, vec![version(1, 1)], false),
        (vec![version(1, 2)], all, vec![], false),
        (vec![version(1, 2)], none, vec![], true),
        (vec![version(1, 2)], none, vec![version(1, 2)], true),
        (vec![version(1, 2)], none, vec![version(1, 1)], false),
        (vec![], all, vec![version(1, 1)], true),
        (
            vec![version(1, 2)],
            all,
            vec![version(1, 2), version(2, 1)],
            true,
        ),
        (
            vec![version(1, 2), version(2, 1)],
            all,
            vec![version(1, 2)],
            false,
        ),
    ];
    for (there, replace, states, may) in table {
        let mut bench = mainline();
        bench.on(patch("A", there.clone()));
        // One in between that knows nothing does not hide A.
        bench.on(beside("X", &[]));
        let mut new = patch("B", states.clone());
        new.replace = replace;
        let came = bench.enable(new);
        assert_eq!(
            came.is_ok(),
            may,
            "{there:?} {replace:?} {states:?}: {came:?}"
        );
        // The version means nothing to us (R73).
        let mut bench = Bench::new();
        bench.on(patch("A", there));
        let mut new = patch("B", states);
        new.replace = replace;
        assert_eq!(bench.enable(new), Ok(Status::Completed));
    }
    let mut bench = mainline();
    bench.on(patch("A", [version(1, 2)]));
    let refusal = bench.enable(patch("B", [version(1, 1)])).unwrap_err();
    let OldRules { rule } = OldRules::of(refusal);
    assert!(matches!(
        rule,
        OldRule::Older {
            versions: (1, 2),
            ..
        }
    ));
    assert!(refusal.to_string().ends_with("a version of at least 2"));
}

struct OldRules {
    rule: OldRule,
}

impl OldRules {
    fn of(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OldRules { rule, .. } => Self { rule },
            other => panic!("{other}"),
        }
    }
}

#[test]
fn r80_r82_mainline_callbacks_ask_for_the_state_and_its_predecessor() {
    let version = |id, version| {
        let mut state = state(id);
        state.version = version;
        state
    };
    let replacing = |called: &str, states: Vec<State>| {
        let mut patch = patch(called, states);
        patch.replace = umbra_state::Replace::All;
        patch
    };
    // Modify: nothing was there.
    let mut bench = mainline();
    bench.on(replacing("A", vec![version(1, 1)]));
    assert_eq!(bench.lab.previous, [None]);
    let made = bench.lab.live(1);
    // Take over: the author finds the earlier version and leaves it be.
    bench.on(replacing("B", vec![version(1, 2)]));
    assert_eq!(bench.lab.previous, [None, Some(1)]);
    assert_eq!((made, bench.lab.live(1)), (SHADOWS, SHADOWS));
    // Remove on error: the post_unpatch of what went before, by hand. (That it
    // has to ask first whether it made the state is what R83 does away with.)
    bench.lab.fail("C", 3, -5);
    bench.lab.take();
    bench
        .enable(replacing(
            "C",
            vec![version(1, 2), version(2, 1), version(3, 1)],
        ))
        .unwrap();
    assert_eq!(
        bench.lab.take(),
        [
            "C.1.pre_patch",
            "C.2.pre_patch",
            "C.3.pre_patch!ERR",
            "C.1.post_unpatch",
            "free(1)",
            "C.2.post_unpatch",
            "free(2)"
        ]
    );
    assert_eq!(bench.lab.live(1), 0, "an author who did not ask broke B");
    // Restore on revert, restore on disable: post_patch again, post_unpatch.
    let mut bench = mainline();
    bench.on(beside("A", &[1]));
    bench.lab.stalls = 1;
    bench.disable("A").unwrap();
    bench.engine.reverse(&mut bench.lab).unwrap();
    bench.run();
    assert_eq!(
        bench.lab.take(),
        ["A.1.pre_unpatch", "reverse", "switch", "A.1.post_patch"]
    );
    assert_eq!(
        bench.off("A"),
        ["A.1.pre_unpatch", "switch", "A.1.post_unpatch", "free(1)"]
    );
}

#[test]
fn r32_mainline_calls_nothing_more_of_an_object_whose_pre_patch_failed() {
    let mut bench = mainline();
    bench.lab.fail("A", 2, -5);
    bench.enable(beside("A", &[1, 2, 3])).unwrap();
    assert_eq!(
        bench.lab.take(),
        [
            "A.1.pre_patch",
            "A.2.pre_patch!ERR",
            "A.1.post_unpatch",
            "free(1)"
        ]
    );
}

#[test]
fn r33_mainline_calls_only_post_unpatch_where_the_transition_never_started() {
    let mut bench = mainline();
    bench.lab.unpatchable.insert(2);
    bench.enable(beside("A", &[1, 2, 3])).unwrap();
    assert_eq!(
        bench.lab.take(),
        [
            "A.1.pre_patch",
            "A.2.pre_patch",
            "A.2.patch!ERR",
            "A.1.post_unpatch",
            "free(1)",
            "A.2.post_unpatch",
            "free(2)"
        ]
    );
}

fn with_module(called: &str) -> Patch {
    let mut with = beside(called, &[1]);
    objects(&mut with);
    let mut module = Object::new(name("virtio_net"));
    module.loaded = false;
    module.cookie = 9;
    with.push_object(module).unwrap();
    with
}

#[test]
fn r40_a_target_module_s_load_and_unload_run_no_state_callback() {
    for rules in [Rules::Umbra, Rules::V1] {
        let mut bench = Bench::under(rules);
        bench.on(with_module("A"));
        assert_eq!(
            bench.engine.target_coming("virtio_net", &mut bench.lab),
            Ok(())
        );
        assert_eq!(
            bench.engine.target_going("virtio_net", &mut bench.lab),
            Ok(())
        );
        assert_eq!(bench.lab.take(), [""; 0]);
        assert_eq!(bench.lab.live(1), SHADOWS);
    }
    let mut bench = mainline();
    assert_eq!(
        bench.on(with_module("A")),
        ["A.1.pre_patch", "switch", "A.1.post_patch"]
    );
    bench
        .engine
        .target_coming("virtio_net", &mut bench.lab)
        .unwrap();
    assert_eq!(bench.lab.take(), ["A.9.pre_patch", "A.9.post_patch"]);
    bench
        .engine
        .target_going("virtio_net", &mut bench.lab)
        .unwrap();
    assert_eq!(
        bench.lab.take(),
        ["A.9.pre_unpatch", "A.9.post_unpatch", "free(9)"]
    );
}

#[test]
fn a_target_module_may_be_refused_by_a_later_patch_under_mainline() {
    let mut bench = mainline();
    bench.on(with_module("A"));
    let mut second = with_module("B");
    second.states.clear();
    second.objects.remove(0);
    bench.on(second);
    bench.lab.fail("B", 9, -5);
    bench.lab.take();
    assert!(
        bench
            .engine
            .target_coming("virtio_net", &mut bench.lab)
            .is_err()
    );
    assert_eq!(
        bench.lab.take(),
        [
            "A.9.pre_patch",
            "A.9.post_patch",
            "B.9.pre_patch!ERR",
            "A.9.pre_unpatch",
            "A.9.post_unpatch",
            "free(9)"
        ]
    );
}

#[test]
fn r14_a_callback_belongs_to_the_state_and_not_to_the_object() {
    // A patch of two objects and one state: its callbacks run once, not twice.
    let mut two = beside("A", &[1]);
    objects(&mut two);
    two.push_object(Object::new(name("vmlinux"))).unwrap();
    assert_eq!(
        Bench::new().on(two),
        ["A.1.pre_patch", "switch", "A.1.post_patch"]
    );
}

#[test]
fn r65_mainline_calls_where_nothing_is_needed() {
    let calls = |rules| {
        let mut bench = Bench::under(rules);
        bench.on(instead("A", &[1, 2, 3]));
        bench.on(instead("B", &[1, 2, 3])).len() - 1
    };
    assert_eq!(Rules::ALL.map(calls), [0, 0, 6]);
}

#[test]
fn r83_only_umbra_tells_a_reversal_from_a_disable() {
    let mut bench = Bench::new();
    bench.lab.stalls = 1;
    bench.enable(beside("A", &[1])).unwrap();
    bench.engine.reverse(&mut bench.lab).unwrap();
    bench.run();
    assert_eq!(bench.lab.reasons, [Reason::Enable, Reason::Reverse]);
    assert!(
        bench
            .lab
            .trace
            .contains(&format!("A.1.{}", Callback::PostUnpatch))
    );
}

#[test]
fn s2_a_reversal_s_plan_shows_only_the_callbacks_that_there_are() {
    for rules in [Rules::Umbra, Rules::V1, Rules::Mainline] {
        let mut bench = Bench::under(rules);
        let mut one = state(1);
        one.callbacks = Callbacks::NONE.with(Callback::PrePatch);
        bench.lab.stalls = 1;
        assert_eq!(
            bench.enable(patch("A", [one, state(2)])),
            Ok(Status::Stalled)
        );
        let planned = bench.engine.plan(Request::Reverse).unwrap();
        let planned: Vec<_> = planned.callbacks().map(|(_, _, call)| call).collect();
        assert_eq!(planned, [Callback::PostUnpatch], "{rules}: of state 2 only");
        bench.lab.take();
        bench.engine.reverse(&mut bench.lab).unwrap();
        bench.run();
        let calls = bench
            .lab
            .take()
            .into_iter()
            .filter(|c| c.contains(".post_unpatch"));
        assert_eq!(calls.collect::<Vec<_>>(), ["A.2.post_unpatch"], "{rules}");
    }
}
