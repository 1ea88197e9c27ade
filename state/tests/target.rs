//! Functions that go with their module while patches hook them: D3, for hooks.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use umbra_state::{Patch, Refusal, Request, Status};

const MODULE: std::ops::Range<usize> = 100..200;

fn hooking(called: &str, id: u64, functions: &[usize]) -> Patch {
    let mut patch = beside(called, &[id]);
    for &function in functions {
        patch.push_hook(hook(function, id)).unwrap();
    }
    patch
}

/// The module goes: its functions, and what the host had on them.
fn unload(bench: &mut Bench) {
    bench.engine.forget_functions(|f| MODULE.contains(&f));
    bench.lab.hooked.retain(|f, _| !MODULE.contains(f));
}

#[test]
fn d3_an_address_whose_function_is_gone_may_be_hooked_anew() {
    let mut bench = Bench::new();
    bench.on(hooking("A", 1, &[10, 100, 101]));
    let taken = bench.begin(hooking("B", 2, &[100]));
    assert!(matches!(taken, Err(Refusal::FunctionTaken { .. })));
    unload(&mut bench);
    bench.on(hooking("B", 2, &[100]));
    assert_eq!(bench.lab.hooked.get(&100).map(String::as_str), Some("B"));
    bench.off("A");
    assert_eq!(
        bench.lab.hooked.keys().copied().collect::<Vec<_>>(),
        [100],
        "A took away what was its own, and not B's"
    );
    bench.off("B");
    assert!(bench.lab.hooked.is_empty());
}

#[test]
fn d3_what_is_not_gone_stays_hooked_and_taken() {
    let mut bench = Bench::new();
    bench.on(hooking("A", 1, &[10, 100]));
    unload(&mut bench);
    assert_eq!(bench.lab.hooked.get(&10).map(String::as_str), Some("A"));
    let taken = bench.begin(hooking("B", 2, &[10]));
    assert!(matches!(taken, Err(Refusal::FunctionTaken { .. })));
    bench.off("A");
    assert!(bench.lab.hooked.is_empty());
}

#[test]
fn d3_a_transition_goes_on_and_back_without_what_is_gone() {
    for turned in [false, true] {
        let mut bench = Bench::new();
        bench.on(hooking("A", 1, &[10, 100]));
        bench.lab.stalls = 1;
        let mut new = instead("B", &[1]);
        for function in [10, 101] {
            new.push_hook(hook(function, 1)).unwrap();
        }
        assert_eq!(bench.enable(new), Ok(Status::Stalled));
        unload(&mut bench);
        if turned {
            bench.engine.reverse(&mut bench.lab).unwrap();
        }
        bench.engine.run(&mut bench.lab);
        let left = if turned { "A" } else { "B" };
        let want: std::collections::BTreeMap<_, _> = [(10, left.to_string())].into();
        assert_eq!(bench.lab.hooked, want, "turned round: {turned}");
    }
}

#[test]
fn r40_a_target_that_goes_runs_no_callback() {
    let mut bench = Bench::new();
    bench.on(hooking("A", 1, &[100]));
    let before = bench.picture();
    bench.lab.take();
    unload(&mut bench);
    assert!(bench.lab.take().is_empty());
    let after = bench.picture();
    assert_eq!((before.0, before.1), (after.0, after.1));
}

#[test]
fn d3_a_registered_patch_does_not_hook_what_is_gone() {
    let mut bench = Bench::new();
    let known = hooking("R", 1, &[10, 100]);
    bench.engine.register(known, &mut bench.lab).unwrap();
    unload(&mut bench);
    // The address is another function's now.
    bench.on(hooking("B", 2, &[100]));
    let refused = bench.engine.enable_registered("R", &mut bench.lab);
    assert!(
        matches!(refused, Err(Refusal::NullFunction { function, index: 1, .. }) if function == name("f100")),
        "{refused:?}"
    );
    // With the address of today it may come.
    bench.engine.unregister("R", &mut bench.lab).unwrap();
    bench.on(hooking("R", 1, &[10, 101]));
    let by = |f: usize| bench.lab.hooked.get(&f).map(String::as_str);
    assert_eq!((by(10), by(100)), (Some("R"), Some("B")));
}

#[test]
fn d3_a_plan_does_not_count_hooks_whose_function_is_gone() {
    let mut bench = Bench::new();
    bench.on(hooking("A", 1, &[10, 100, 101]));
    unload(&mut bench);
    let plan = bench.engine.plan(Request::Disable("A")).unwrap();
    assert_eq!(plan.hook_counts(), (0, 0, 1));
    assert!(plan.unhooked().eq([10]));
}
