//! What is refused, and that each refusal says what, by whom and what to do.

#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use umbra_state::{Errno, Name, Phase, RefCount, Refusal, Replace, Status};

fn refused(bench: &mut Bench, patch: umbra_state::Patch) -> Refusal {
    bench.lab.take();
    let refusal = bench.enable(patch).unwrap_err();
    assert_eq!(bench.lab.take(), [""; 0], "nothing was called");
    assert_eq!(
        bench.lab.refused.pop(),
        Some(refusal),
        "and the host was told"
    );
    refusal
}

#[test]
fn t7_d7_r3_a_duplicate_id_is_refused_before_any_callback() {
    let mut bench = Bench::new();
    let refusal = refused(&mut bench, beside("A", &[1, 2, 1]));
    assert_eq!(
        refusal,
        Refusal::DuplicateId {
            patch: name("A"),
            state: 1,
            names: [name("s1"); 2]
        }
    );
    assert_eq!(
        refusal.to_string(),
        "patch A: state 1 (s1) is listed twice; remove one of the two"
    );
    assert_eq!(refusal.errno(), Errno::EINVAL);
    let mut other = state(1);
    other.name = name("other");
    assert_eq!(
        refused(&mut bench, patch("A", [state(1), other])).to_string(),
        "patch A: the id 1 is listed twice, as \"s1\" and as \"other\"; \
         give one of them an id of its own"
    );
}

#[test]
fn r2_a_zero_id_is_a_named_error() {
    let mut bench = Bench::new();
    let mut zero = state(0);
    zero.name = name("knob");
    let refusal = refused(&mut bench, patch("A", [state(7), zero]));
    assert_eq!(
        refusal,
        Refusal::ZeroId {
            patch: name("A"),
            name: name("knob"),
            index: 1
        }
    );
    assert_eq!(
        refusal.to_string(),
        "patch A: state number 2 (knob) has the id 0, which names no state; \
         give it an id from 1 on"
    );
}

#[test]
fn r2_an_id_above_32_bits_is_a_named_error() {
    let mut bench = Bench::new();
    let refusal = refused(&mut bench, beside("A", &[1 << 32]));
    assert_eq!(
        refusal,
        Refusal::IdTooLarge {
            patch: name("A"),
            state: 1 << 32
        }
    );
    assert_eq!(
        refusal.to_string(),
        "patch A: the state id 0x100000000 needs more than 32 bits; choose one up to 0xffffffff"
    );
    bench.on(beside("A", &[u64::from(u32::MAX)]));
}

#[test]
fn r4_names_must_agree_across_patches() {
    let mut bench = Bench::new();
    let mut x = state(42);
    x.name = name("x");
    bench.on(patch("A", [x]));
    let mut y = state(42);
    y.name = name("y");
    for replace in [Replace::Nothing, Replace::All] {
        let mut second = patch("B", [y]);
        second.replace = replace;
        let refusal = refused(&mut bench, second);
        assert_eq!(
            refusal,
            Refusal::NamesDisagree {
                state: 42,
                patch: (name("B"), name("y")),
                other: (name("A"), name("x"))
            }
        );
        assert_eq!(
            refusal.to_string(),
            "state 42 is \"y\" in patch B and \"x\" in the enabled patch A; one id means one \
             change, so give the new state an id of its own or the same name"
        );
    }
    bench.off("A");
    bench.on(patch("B", [y]));
}

#[test]
fn patches_must_agree_on_whether_shadows_belong_to_a_state() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    let mut plain = state(1);
    plain.is_shadow = false;
    assert_eq!(
        refused(&mut bench, patch("B", [plain])).to_string(),
        "state 1 (s1): is_shadow is false in patch B and true in the enabled patch A; whoever \
         ends the state must know whether to free, so make them agree"
    );
}

unsafe extern "C" fn never(_: *mut std::ffi::c_void, _: *mut std::ffi::c_void) {}

#[test]
fn a_destructor_that_nothing_would_call_is_refused() {
    let mut bench = Bench::new();
    let mut plain = state(1);
    plain.is_shadow = false;
    // SAFETY: it touches nothing.
    plain.shadow_dtor = Some(unsafe { umbra_shadow::Dtor::new(never) });
    let refusal = refused(&mut bench, patch("A", [plain]));
    assert!(matches!(
        refusal,
        Refusal::DtorWithoutShadow { state: 1, .. }
    ));
    assert!(
        refusal
            .to_string()
            .ends_with("set is_shadow or drop the shadow_dtor")
    );
}

#[test]
fn r69_r70_r71_a_blocked_state_needs_a_patch_that_has_it() {
    let mut bench = Bench::new();
    let mut blocked = state(1);
    blocked.block_disable = true;
    bench.on(patch("A", [blocked]));

    let refusal = bench.disable("A").unwrap_err();
    assert_eq!(refusal.errno(), Errno::EPERM);
    assert_eq!(refusal.state(), Some(1));
    assert_eq!(
        refusal.to_string(),
        "patch A cannot be disabled: its state 1 (s1) is marked block_disable and no other \
         enabled patch has it; replace A by a patch that supports the state"
    );
    let refusal = refused(&mut bench, instead("B", &[2]));
    assert_eq!(
        refusal,
        Refusal::Blocked {
            state: 1,
            name: name("s1"),
            by: name("A"),
            replacement: Some(name("B"))
        }
    );
    assert_eq!(
        refusal.to_string(),
        "patch B cannot replace patch A: state 1 (s1) of A is marked block_disable and B does \
         not support it; add the state to B"
    );
    // R71: one that supports it may come, and may go.
    bench.on(instead("B", &[1]));
    assert_eq!(bench.off("B")[0], "B.1.pre_unpatch");
}

#[test]
fn enabling_twice_and_disabling_what_is_not_there_are_refused() {
    let mut bench = Bench::new();
    bench.on(beside("A", &[1]));
    for again in [beside("A", &[2]), instead("A", &[1])] {
        let refusal = refused(&mut bench, again);
        assert_eq!(refusal, Refusal::AlreadyEnabled { patch: name("A") });
        assert_eq!(refusal.errno(), Errno::EEXIST);
    }
    let refusal = bench.disable("B").unwrap_err();
    assert_eq!(refusal, Refusal::NotEnabled { patch: name("B") });
    let long = "x".repeat(100);
    assert_eq!(
        bench.disable(&long),
        Err(Refusal::NotEnabled {
            patch: Name::cut(&long)
        })
    );
}

#[test]
fn one_transition_at_a_time() {
    let mut bench = Bench::new();
    bench.lab.stalls = 1;
    assert_eq!(bench.enable(beside("A", &[1])), Ok(Status::Stalled));
    let running = Refusal::TransitionRunning { patch: name("A") };
    assert_eq!(refused(&mut bench, beside("B", &[2])), running);
    assert_eq!(bench.disable("A"), Err(running));
    assert_eq!(running.errno(), Errno::EBUSY);
    assert_eq!(bench.run(), Status::Completed);
    bench.on(beside("B", &[2]));
}

#[test]
fn a_function_has_one_hook_and_a_hook_has_a_state() {
    let mut bench = Bench::new();
    let mut first = beside("A", &[1]);
    first.push_hook(hook(10, 1)).unwrap();
    bench.on(first);
    let with = |called, hooks: &[(usize, u64)]| {
        let mut patch = beside(called, &[1]);
        for &(function, state) in hooks {
            patch.push_hook(hook(function, state)).unwrap();
        }
        patch
    };
    let refusal = refused(&mut bench, with("B", &[(10, 1)]));
    assert_eq!(refusal.errno(), Errno::EBUSY);
    assert_eq!(
        refusal.to_string(),
        "patch B: f10 is hooked by the enabled patch A; disable that one first, or let B \
         replace it"
    );
    assert_eq!(
        refused(&mut bench, with("B", &[(11, 1), (11, 1)])).to_string(),
        "patch B: it hooks f11 twice; a function has one hook, so merge them"
    );
    assert_eq!(
        refused(&mut bench, with("B", &[(11, 2)])),
        Refusal::HookWithoutState {
            patch: name("B"),
            function: name("f11"),
            state: 2
        }
    );
}

#[test]
fn a_count_that_is_full_sticks_instead_of_wrapping() {
    use umbra_state::refcount::{Acquire, Release, USERS_MAX};
    let count = RefCount::from_parts(Phase::Active, USERS_MAX - 1, u32::MAX);
    assert_eq!(count.acquire(), Acquire::Shared(USERS_MAX));
    assert_eq!(count.acquire(), Acquire::Saturated);
    assert_eq!(count.release(), Release::Saturated);
    assert!(count.load().is_saturated());

    let count = RefCount::from_parts(Phase::Active, 1, u32::MAX);
    assert_eq!(count.release(), Release::Last);
    assert_eq!(count.release(), Release::Busy(Phase::Disabling));
    assert_eq!(count.acquire(), Acquire::Busy(Phase::Disabling));
    assert!(count.commit().is_err() && count.abort().is_err());
    assert_eq!(count.retire(), Ok(()));
    assert_eq!(count.load().generation(), 0, "the generation wraps");
    assert_eq!(count.release(), Release::Underflow);
    assert!(count.retire().is_err() && count.restore().is_err());
}
