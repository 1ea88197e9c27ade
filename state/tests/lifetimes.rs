//! A state's life under sharing, replacing and disabling, row by row.

#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use umbra_state::{Callback, Callbacks, Errno, Reason, Replace, Status};

#[test]
fn r1_any_number_of_states() {
    for count in [0, 1, 64, 10_000] {
        let ids: Vec<u64> = (1..=count).collect();
        let mut bench = Bench::new();
        let mut plain = beside("A", &ids);
        for state in &mut plain.states {
            state.is_shadow = false;
        }
        let calls = bench.on(plain);
        assert_eq!(calls.len() as u64, 2 * count + 1);
        assert_eq!(bench.off("A").len() as u64, 2 * count + 1);
    }
}

#[test]
fn r10_a_replace_series_hands_the_duty_to_clean_up_along() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    assert_eq!(bench.on(instead("B", &[1])), ["switch"]);
    assert_eq!(
        bench.off("B"),
        ["B.1.pre_unpatch", "switch", "B.1.post_unpatch", "free(1)"]
    );
}

#[test]
fn r11_r12_parallel_patches_share_a_state_and_the_last_one_cleans_up() {
    for (first, last) in [("A", "B"), ("B", "A")] {
        let mut bench = Bench::new();
        let made = bench.on(beside("A", &[1]));
        assert_eq!(made, ["A.1.pre_patch", "switch", "A.1.post_patch"]);
        assert_eq!(
            bench.on(beside("B", &[1])),
            ["switch"],
            "R12: the effect happens once"
        );
        assert_eq!(bench.off(first), ["switch"]);
        assert_eq!(bench.lab.live(1), SHADOWS);
        let unpatched = [
            format!("{last}.1.pre_unpatch"),
            "switch".into(),
            format!("{last}.1.post_unpatch"),
            "free(1)".into(),
        ];
        assert_eq!(bench.off(last), unpatched);
        assert_eq!(bench.lab.live(1), 0);
    }
}

#[test]
fn r7_equal_descriptors_share_silently() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    assert_eq!(bench.on(beside("B", &[2, 1])), ["switch"]);
    assert!(bench.lab.refused.is_empty());
}

#[test]
fn r15_r18_any_set_of_callbacks_will_do() {
    for mask in 0..32_u32 {
        let set: Callbacks = Callback::ALL
            .into_iter()
            .filter(|c| mask & 1 << *c as u32 != 0)
            .collect();
        // The fifth optional function is the destructor: without one of its
        // own the lab puts in a default, so it is counted by frees here.
        let mut one = state(1);
        one.is_shadow = mask & 16 != 0;
        one.callbacks = set;
        let mut bench = Bench::new();
        let mut calls = bench.on(patch("A", [one]));
        calls.extend(bench.off("A"));
        let mut want = Vec::new();
        for callback in Callback::ALL {
            if set.contains(callback) {
                want.push(format!("A.1.{callback}"));
            }
            match callback {
                Callback::PrePatch | Callback::PreUnpatch => want.push("switch".into()),
                Callback::PostUnpatch if one.is_shadow => want.push("free(1)".into()),
                _ => {}
            }
        }
        assert_eq!(calls, want, "set {mask:#b}");
    }
}

#[test]
fn r16_r19_r20_r21_each_callback_has_its_moment_around_the_switch() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.on(beside("A", &[1])),
        ["A.1.pre_patch", "switch", "A.1.post_patch"]
    );
    assert_eq!(
        bench.off("A"),
        ["A.1.pre_unpatch", "switch", "A.1.post_unpatch", "free(1)"]
    );
    use Reason::{Disable, Enable};
    assert_eq!(bench.lab.reasons, [Enable, Enable, Disable, Disable]);
}

#[test]
fn r22_destructors_run_after_post_unpatch_and_before_the_end() {
    let moment = |what: &str, ran| (what.to_owned(), ran);
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    bench.lab.dtors();
    bench.lab.order.clear();
    bench.off("A");
    let order = std::mem::take(&mut bench.lab.order);
    // None by the time of the last post_unpatch, all by the time anyone is told
    // that the patch has gone: its code, which the destructors are, may go then.
    assert_eq!(order[0], moment("1.post_unpatch", 0));
    let at = |what: &str| order.iter().position(|(o, _)| o == what).unwrap();
    assert!(at("1.post_unpatch") < at("free(1)") && at("2.post_unpatch") < at("free(2)"));
    assert!(at("free(2)") < at("barrier"));
    assert_eq!(order[at("removed(A)")], moment("removed(A)", 2 * SHADOWS));
    assert_eq!(order.last(), Some(&moment("ended", 2 * SHADOWS)));
    let mut ran = bench.lab.dtors();
    ran.sort_unstable();
    assert_eq!(ran, [1, 1, 1, 2, 2, 2], "each variable's once");

    // The same where an enable is taken back.
    bench.lab.fail("B", 3, -5);
    bench.lab.order.clear();
    bench.enable(beside("B", &[1, 2, 3])).unwrap();
    assert_eq!(bench.lab.order.last(), Some(&moment("ended", 3 * SHADOWS)));
    bench.lab.dtors();

    // And where a forced transition is made up for.
    bench.on(beside("C", &[1]));
    bench.lab.stalls = 1;
    bench.disable("C").unwrap();
    bench.engine.force(&mut bench.lab).unwrap();
    bench.run();
    bench.lab.quiescent = true;
    bench.lab.order.clear();
    assert_eq!(bench.engine.settle(&mut bench.lab), 1);
    assert_eq!(bench.lab.order.last(), Some(&moment("removed(C)", SHADOWS)));
    bench.lab.dtors();
}

#[test]
fn r25_no_callback_runs_where_an_enabled_patch_has_the_state() {
    for replace in [Replace::Nothing, Replace::All] {
        let mut bench = Bench::new();
        bench.on(beside("A", &[1, 2]));
        let mut second = beside("B", &[1, 2]);
        second.replace = replace;
        assert_eq!(bench.on(second), ["switch"]);
    }
}

#[test]
fn r26_r60_a_replace_unpatches_exactly_what_the_new_patch_drops() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    assert_eq!(
        bench.on(instead("B", &[2, 3])),
        [
            "B.3.pre_patch",
            "A.1.pre_unpatch",
            "switch",
            "A.1.post_unpatch",
            "free(1)",
            "B.3.post_patch"
        ]
    );
    assert_eq!(
        (bench.lab.live(1), bench.lab.live(2), bench.lab.live(3)),
        (0, SHADOWS, SHADOWS)
    );
}

#[test]
fn r37_r38_the_gate_is_open_only_between_post_patch_and_pre_unpatch() {
    // The lab asserts at each callback that the gate is closed; here the rest:
    // it is open in between, and stays so through a replace that keeps the state.
    let mut bench = Bench::new();
    let open = |bench: &Bench| {
        bench
            .engine
            .installed()
            .gate(1)
            .is_some_and(|g| g.is_open())
    };
    bench.begin(beside("A", &[1])).unwrap();
    while bench.engine.step(&mut bench.lab) != Status::Completed {
        assert_eq!(
            open(&bench),
            bench.lab.trace.contains(&"A.1.post_patch".into())
        );
    }
    bench.begin(instead("B", &[1])).unwrap();
    while bench.engine.step(&mut bench.lab) != Status::Completed {
        assert!(open(&bench));
    }
    bench.engine.disable("B", &mut bench.lab).unwrap();
    assert!(open(&bench));
    while bench.engine.step(&mut bench.lab) != Status::Completed {
        assert!(!open(&bench));
    }
}

#[test]
fn r39_an_explicit_free_all_beside_the_automatic_one_is_harmless() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.lab.shadows.free_all(1, None);
    bench.off("A");
    assert_eq!(bench.lab.live(1), 0);
}

#[test]
fn r49_shadows_of_a_state_without_is_shadow_are_left_alone() {
    let mut bench = Bench::new();
    let mut plain = state(1);
    plain.is_shadow = false;
    bench.on(patch("A", [plain]));
    bench
        .lab
        .shadows
        .alloc(8, 1, 8, Default::default(), |_| Ok::<(), ()>(()))
        .unwrap();
    bench.lab.take();
    assert_eq!(bench.engine.disable("A", &mut bench.lab), Ok(()));
    assert_eq!(bench.engine.run(&mut bench.lab), Status::Completed);
    assert_eq!(
        bench.lab.take(),
        ["A.1.pre_unpatch", "switch", "A.1.post_unpatch"]
    );
    assert_eq!(bench.lab.live(1), 1);
}

#[test]
fn r51_shadows_are_freed_when_the_patch_is_disabled() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1, 2]));
    assert_eq!((bench.lab.live(1), bench.lab.live(2)), (SHADOWS, SHADOWS));
    bench.off("A");
    assert_eq!((bench.lab.live(1), bench.lab.live(2)), (0, 0));
}

#[test]
fn r55_a_state_that_was_away_comes_back_fresh() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.on(instead("B", &[]));
    // The lab's constructor asserts that what it is given is zeroed.
    assert_eq!(
        bench.on(instead("A2", &[1])),
        ["A2.1.pre_patch", "switch", "A2.1.post_patch"]
    );
    let state = bench.engine.installed().state(1).unwrap();
    assert_eq!((state.word.generation(), bench.lab.live(1)), (1, SHADOWS));
}

#[test]
fn r59_a_superset_replace_touches_no_shadow() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.on(instead("B", &[1, 2]));
    assert_eq!(bench.lab.barriers, 0);
    assert_eq!(bench.lab.live(1), SHADOWS);
}

#[test]
fn r72_a_downgrade_disables_what_the_new_patch_does_not_know() {
    let mut bench = Bench::new();
    bench.on(beside("new", &[1, 2]));
    assert_eq!(
        bench.on(instead("old", &[1])),
        [
            "new.2.pre_unpatch",
            "switch",
            "new.2.post_unpatch",
            "free(2)"
        ]
    );
}

#[test]
fn r86_r88_a_replace_leaves_only_the_new_patch_once_it_has_completed() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    bench.on(beside("B", &[2]));
    bench.lab.stalls = 1;
    assert_eq!(bench.enable(instead("C", &[1])), Ok(Status::Stalled));
    let names = |bench: &Bench| {
        let patches = bench.engine.installed().patches().iter();
        patches.map(|p| p.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&bench), ["A", "B"]);
    assert_eq!(bench.run(), Status::Completed);
    assert_eq!(names(&bench), ["C"]);
}

#[test]
fn hooks_are_added_exchanged_and_removed_in_the_switch_and_come_back_with_it() {
    let mut bench = Bench::new();
    let mut first = beside("A", &[1]);
    first.push_hook(hook(10, 1)).unwrap();
    first.push_hook(hook(11, 1)).unwrap();
    bench.on(first);
    assert_eq!(bench.lab.hooked[&10], "A");
    let mut second = instead("B", &[1]);
    second.push_hook(hook(11, 1)).unwrap();
    second.push_hook(hook(12, 1)).unwrap();
    bench.on(second);
    assert_eq!(bench.lab.hooked.keys().collect::<Vec<_>>(), [&11, &12]);
    assert_eq!(bench.lab.hooked[&11], "B");
    let mut third = instead("C", &[2]);
    third.push_hook(hook(12, 2)).unwrap();
    bench.lab.switch_fails = Some(Errno::EINVAL);
    assert!(matches!(bench.enable(third), Ok(Status::Undone(_))));
    assert_eq!(bench.lab.hooked[&12], "B");
    bench.lab.switch_fails = None;
    bench.off("B");
    assert!(bench.lab.hooked.is_empty());
}
