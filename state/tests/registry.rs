//! Registered patches, sets, and descriptors that differ.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use umbra_state::patch::Difference;
use umbra_state::{
    Callback, Callbacks, Cause, Engine, Patch, Refusal, Replace, Request, Rules, State, Status,
    Strictness,
};

fn names(patches: &[Patch]) -> Vec<String> {
    patches.iter().map(|p| p.name.to_string()).collect()
}

fn set(called: &str, number: u32, ids: &[u64]) -> Patch {
    let mut patch = beside(called, ids);
    patch.replace = Replace::Set(number);
    patch
}

#[test]
fn r87_a_replace_takes_registered_patches_along_without_a_callback() {
    let mut bench = Bench::new();
    bench
        .engine
        .register(beside("A", &[1]), &mut bench.lab)
        .unwrap();
    bench.on(beside("B", &[2]));
    assert_eq!(names(bench.engine.installed().registered()), ["A"]);
    assert_eq!(
        bench.on(instead("C", &[2])),
        ["switch"],
        "A was never enabled, so it owes nothing"
    );
    assert!(bench.engine.installed().registered().is_empty());
    let gone = bench.engine.enable_registered("A", &mut bench.lab);
    assert_eq!(gone, Err(Refusal::NotRegistered { patch: name("A") }));
}

#[test]
fn a_registered_patch_is_enabled_by_its_name_and_comes_back_when_that_fails() {
    let mut bench = Bench::new();
    bench
        .engine
        .register(beside("A", &[1]), &mut bench.lab)
        .unwrap();
    let again = bench.engine.register(beside("A", &[1]), &mut bench.lab);
    assert_eq!(again, Err(Refusal::AlreadyRegistered { patch: name("A") }));
    assert_eq!(
        bench.enable(beside("A", &[1])),
        Err(Refusal::AlreadyRegistered { patch: name("A") })
    );
    let later = bench.engine.register(beside("Z", &[9]), &mut bench.lab);
    assert_eq!(later, Ok(()));
    bench.lab.fail("A", 1, -5);
    bench.engine.enable_registered("A", &mut bench.lab).unwrap();
    assert!(matches!(
        bench.run(),
        Status::Undone(Cause::PrePatch { .. })
    ));
    let registered = names(bench.engine.installed().registered());
    assert_eq!(registered, ["A", "Z"], "S3: in its place");
    bench.lab.failing.clear();
    bench.engine.enable_registered("A", &mut bench.lab).unwrap();
    assert_eq!(bench.run(), Status::Completed);
    assert_eq!(names(bench.engine.installed().patches()), ["A"]);
    let enabled = bench.engine.unregister("A", &mut bench.lab);
    assert_eq!(enabled, Err(Refusal::StillEnabled { patch: name("A") }));
    let again = bench.engine.register(beside("A", &[1]), &mut bench.lab);
    assert_eq!(again, Err(Refusal::AlreadyEnabled { patch: name("A") }));
}

#[test]
fn unregistering_forgets_and_calls_nothing() {
    let mut bench = Bench::new();
    bench
        .engine
        .register(beside("A", &[1]), &mut bench.lab)
        .unwrap();
    let bad = bench.engine.register(beside("B", &[1, 1]), &mut bench.lab);
    assert!(matches!(bad, Err(Refusal::DuplicateId { .. })));
    assert_eq!(bench.engine.unregister("A", &mut bench.lab), Ok(()));
    let gone = Refusal::NotRegistered { patch: name("A") };
    assert_eq!(bench.engine.unregister("A", &mut bench.lab), Err(gone));
    assert!(gone.to_string().contains("nothing to forget"));
    assert_eq!(bench.lab.take(), [""; 0]);
}

#[test]
fn a_set_has_one_patch_and_replaces_only_itself() {
    let mut bench = Bench::new();
    bench.on(set("net1", 1, &[1, 2]));
    bench.on(set("fs1", 2, &[10]));
    bench.on(beside("extra", &[2]));
    assert_eq!(
        bench.on(set("net2", 1, &[1, 3])),
        ["net2.3.pre_patch", "switch", "net2.3.post_patch"],
        "extra keeps state 2"
    );
    assert_eq!(
        names(bench.engine.installed().patches()),
        ["fs1", "extra", "net2"]
    );
    assert_eq!(
        bench.on(set("fs2", 2, &[])),
        [
            "fs1.10.pre_unpatch",
            "switch",
            "fs1.10.post_unpatch",
            "free(10)"
        ]
    );
    // The older flag is all sets at once.
    assert_eq!(Replace::from_flag(true), Replace::All);
    assert_eq!(Replace::from_flag(false), Replace::Nothing);
    bench.on(instead("all", &[1]));
    assert_eq!(names(bench.engine.installed().patches()), ["all"]);
}

#[test]
fn two_sets_share_no_state() {
    let mut bench = Bench::new();
    bench.on(set("net1", 1, &[1]));
    let refusal = bench.enable(set("fs1", 2, &[1])).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "state 1 (s1) is of patch fs1 in set 2 and of the enabled patch net1 in set 1; sets \
         share no states, so put both patches into one set"
    );
    let mut hooked = set("net2", 1, &[1]);
    hooked.push_hook(hook(10, 1)).unwrap();
    bench.on(hooked);
    let mut hooked = set("fs1", 2, &[2]);
    hooked.push_hook(hook(10, 2)).unwrap();
    assert!(matches!(
        bench.enable(hooked),
        Err(Refusal::FunctionTaken { .. })
    ));
}

#[test]
fn a_blocked_state_that_stays_with_another_patch_does_not_hold_its_set() {
    let mut blocked = state(1);
    blocked.block_disable = true;
    let mut bench = Bench::new();
    let mut first = patch("net1", [blocked]);
    first.replace = Replace::Set(1);
    bench.on(first);
    assert!(matches!(
        bench.enable(set("net2", 1, &[])),
        Err(Refusal::Blocked { .. })
    ));
    bench.on(patch("keeper", [blocked]));
    assert_eq!(bench.on(set("net2", 1, &[])), ["switch"]);
}

fn different() -> [(State, Difference); 3] {
    let mut size = state(1);
    size.shadow_size = 16;
    let mut block = state(1);
    block.block_disable = true;
    let mut calls = state(1);
    calls.callbacks = Callbacks::NONE.with(Callback::PrePatch);
    [
        (size, Difference::ShadowSize),
        (block, Difference::BlockDisable),
        (calls, Difference::Callbacks),
    ]
}

#[test]
fn r5_compat_reports_descriptors_that_differ_and_strict_refuses_them() {
    for (state, what) in different() {
        let first = || {
            let mut one = common::state(1);
            one.shadow_size = 8;
            patch("A", [one])
        };
        let mut second = state;
        if what != Difference::ShadowSize {
            second.shadow_size = 8;
        }
        let mut bench = Bench::new();
        bench.on(first());
        assert_eq!(
            bench.on(patch("B", [second])),
            [format!("B/A: 1.{what}"), "switch".into()]
        );

        let mut bench = Bench::new();
        bench.engine = Engine::new(1, Rules::Umbra).with_strictness(Strictness::Strict);
        bench.on(first());
        let refusal = bench.enable(patch("B", [second])).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::DescriptorsDisagree {
                state: 1,
                name: name("s1"),
                patch: name("B"),
                other: name("A"),
                what
            }
        );
        assert!(refusal.to_string().contains(what.as_str()), "{refusal}");
        bench.on(first_named("C"));
    }
}

#[test]
fn r5_descriptors_are_compared_with_those_of_a_patch_that_is_still_there() {
    let sized = |called: &str, size| {
        let mut one = state(1);
        one.shadow_size = size;
        patch(called, [one, state(2)])
    };
    let differs = |called: &str, other: &str| {
        let line = format!("{called}/{other}: 1.shadow_size");
        vec![line, "switch".to_owned()]
    };
    let mut bench = Bench::new();
    bench.on(sized("A", 8));
    assert_eq!(bench.on(sized("B", 16)), differs("B", "A"));
    bench.off("B");
    assert_eq!(bench.on(sized("C", 8)), ["switch"], "as A, and B has gone");
    assert_eq!(bench.on(sized("D", 16)), differs("D", "C"));
    // From the front, with a replaced set, and of three.
    bench.off("A");
    bench.off("C");
    assert_eq!(bench.on(sized("E", 16)), ["switch"]);
    let mut of_set = |called, size| {
        let mut patch = sized(called, size);
        patch.replace = Replace::Set(1);
        bench.on(patch)
    };
    assert_eq!(of_set("S", 32), differs("S", "E"));
    assert_eq!(of_set("T", 16), differs("T", "S"));
    assert_eq!(of_set("U", 16), ["switch"]);

    // Strictly, that is a refusal less.
    let strict = Engine::new(1, Rules::Umbra).with_strictness(Strictness::Strict);
    bench.engine = strict;
    bench.lab = Lab::new();
    bench.on(sized("A", 8));
    assert!(bench.enable(sized("B", 16)).is_err());
    bench.off("A");
    bench.on(sized("B", 16));
}

#[test]
fn register_refuses_what_enabling_would_refuse_in_any_case() {
    let mut bench = Bench::new();
    let with = |hooks: &[(usize, u64)]| {
        let mut patch = beside("A", &[1]);
        for &(function, state) in hooks {
            patch.push_hook(hook(function, state)).unwrap();
        }
        patch
    };
    let mut register = |patch| bench.engine.register(patch, &mut bench.lab).unwrap_err();
    let null = register(with(&[(7, 1), (0, 1)]));
    assert_eq!(
        null.to_string(),
        "patch A: hook number 2 (f0) has no function; resolve the address before the patch is \
         enabled"
    );
    assert_eq!((null.errno().0, null.state()), (-22, None));
    assert!(matches!(
        register(with(&[(7, 1), (7, 1)])),
        Refusal::FunctionTaken { .. }
    ));
    assert!(matches!(
        register(with(&[(7, 2)])),
        Refusal::HookWithoutState { .. }
    ));
    assert!(bench.engine.installed().registered().is_empty());
    assert_eq!(bench.enable(with(&[(0, 1)])), Err(null_of("A")));
}

fn null_of(called: &str) -> Refusal {
    Refusal::NullFunction {
        patch: name(called),
        function: name("f0"),
        index: 0,
    }
}

fn first_named(called: &str) -> Patch {
    let mut one = state(1);
    one.shadow_size = 8;
    patch(called, [one])
}

#[test]
fn strict_keeps_the_order_of_the_stack() {
    let mut bench = Bench::new();
    bench.engine = Engine::new(1, Rules::Umbra).with_strictness(Strictness::Strict);
    bench.on(beside("A", &[1]));
    bench.on(beside("B", &[2]));
    let refusal = bench.disable("A").unwrap_err();
    assert_eq!(
        refusal,
        Refusal::NotOnTop {
            patch: name("A"),
            top: name("B")
        }
    );
    assert!(
        refusal
            .to_string()
            .ends_with("(umbra check without --strict)")
    );
    bench.off("B");
    bench.off("A");
}

#[test]
fn s2_a_plan_to_enable_a_registered_name_is_refused_as_the_request_is() {
    let mut bench = Bench::new();
    let known = beside("R", &[1]);
    bench.engine.register(known, &mut bench.lab).unwrap();
    let other = beside("R", &[2]);
    let planned = bench.engine.plan(Request::Enable(&other)).map(drop);
    assert_eq!(
        planned,
        Err(Refusal::AlreadyRegistered { patch: name("R") })
    );
    assert_eq!(bench.begin(other), planned);
    // The registered patch itself can be planned, and is enabled as planned.
    let known = bench.engine.installed().registered().first().unwrap();
    let planned = bench.engine.plan(Request::Enable(known)).unwrap();
    assert!(planned.introduced().eq([1]));
}
