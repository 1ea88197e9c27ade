//! Random histories in which everything goes wrong: hosts that panic in any
//! method, switches that stall, fail, are forced, reversed and cancelled in any
//! order, patches that are registered, replaced by set and forced out.
//!
//! The lab holds each call to the ledger (R23, R24), each clean-up to who may
//! still use the state (S5), and the counts to a scan (R9).
#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use umbra_state::{Errno, Patch, Replace, Status};

const PATCHES: usize = 5;
const STATES: u64 = 4;

#[derive(Clone, Debug)]
enum Act {
    Enable(usize, Replace),
    Register(usize, Replace),
    EnableRegistered(usize),
    Unregister(usize),
    Disable(usize),
    Leave(usize),
}

#[derive(Clone, Debug)]
struct Turn {
    act: Act,
    /// After so many calls of the host, one panics.
    trip: Option<usize>,
    fails: Option<u64>,
    switch_fails: bool,
    stalls: usize,
    /// What is done at each stall and after each panic.
    choices: Vec<u8>,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let replace = || {
        prop_oneof![
            Just(Replace::Nothing),
            Just(Replace::All),
            (0..2_u32).prop_map(Replace::Set),
        ]
    };
    let act = prop_oneof![
        6 => (0..PATCHES, replace()).prop_map(|(p, r)| Act::Enable(p, r)),
        1 => (0..PATCHES, replace()).prop_map(|(p, r)| Act::Register(p, r)),
        2 => (0..PATCHES).prop_map(Act::EnableRegistered),
        1 => (0..PATCHES).prop_map(Act::Unregister),
        3 => (0..PATCHES).prop_map(Act::Disable),
        3 => (0..PATCHES).prop_map(Act::Leave),
    ];
    let turn = (
        act,
        proptest::option::weighted(0.4, 0_usize..25),
        proptest::option::weighted(0.15, 1..=STATES),
        proptest::bool::weighted(0.1),
        0_usize..4,
        proptest::collection::vec(0_u8..5, 0..6),
    );
    let turn = turn.prop_map(|(act, trip, fails, switch_fails, stalls, choices)| Turn {
        act,
        trip,
        fails,
        switch_fails,
        stalls,
        choices,
    });
    proptest::collection::vec(turn, 1..16)
}

fn sets() -> impl Strategy<Value = Vec<Vec<u64>>> {
    let ids = proptest::sample::subsequence((1..=STATES).collect::<Vec<_>>(), 0..=STATES as usize);
    proptest::collection::vec(ids.prop_shuffle(), PATCHES)
}

fn build(sets: &[Vec<u64>], at: usize, replace: Replace) -> Patch {
    let mut patch = beside(&format!("P{at}"), &sets[at]);
    patch.replace = replace;
    if let Some(&id) = sets[at].first() {
        patch.push_hook(hook(at + 1, id)).unwrap();
    }
    patch
}

/// Who would be left inside of what, by names: forward and back.
fn outs(bench: &Bench, act: &Act) -> [BTreeMap<String, BTreeSet<u64>>; 2] {
    let installed = bench.engine.installed();
    let of = |p: &Patch| (p.name.to_string(), p.states.iter().map(|s| s.id).collect());
    let leaving = |replace: Replace| {
        let goes = move |p: &&Patch| match replace {
            Replace::All => true,
            Replace::Set(_) => p.replace == replace,
            _ => false,
        };
        installed.patches().iter().filter(goes).map(of).collect()
    };
    match act {
        Act::EnableRegistered(p) => {
            let name = format!("P{p}");
            let mut known = installed.registered().iter();
            match known.find(|patch| patch.name.to_string() == name) {
                Some(patch) => [leaving(patch.replace), BTreeMap::from([of(patch)])],
                None => Default::default(),
            }
        }
        Act::Disable(p) => {
            let name = format!("P{p}");
            let one = installed.patches().iter();
            let one = one.filter(|patch| patch.name.to_string() == name);
            [one.map(of).collect(), BTreeMap::new()]
        }
        Act::Enable(_, replace) => [leaving(*replace), BTreeMap::new()],
        _ => Default::default(),
    }
}

/// What is done where something may be done: 0 and 1 go on.
fn choose(bench: &mut Bench, choice: u8) {
    let act = AssertUnwindSafe(|| match choice {
        2 => drop(bench.engine.reverse(&mut bench.lab).map_err(|_| ())),
        3 => drop(bench.engine.cancel(&mut bench.lab).map_err(|_| ())),
        4 => drop(bench.engine.force(&mut bench.lab).map_err(|_| ())),
        _ => {}
    });
    // The one panic of the turn may come here too.
    drop(catch_unwind(act));
}

fn play(sets: &[Vec<u64>], turns: Vec<Turn>) -> Result<(), TestCaseError> {
    let mut bench = Bench::new();
    bench.lab.quiescent = true;
    // A clean-up that panicked is made up for when someone settles again.
    let mut halfway = false;
    for turn in turns {
        let mut choices = turn.choices.into_iter();
        bench.lab.failing.clear();
        bench.lab.stalls = turn.stalls;
        bench.lab.switch_fails = turn.switch_fails.then_some(Errno::EBUSY);
        if let Some(id) = turn.fails {
            (0..PATCHES).for_each(|p| bench.lab.fail(&format!("P{p}"), id, -5));
        }
        bench.lab.outs = outs(&bench, &turn.act);
        if let Act::Enable(p, _) = turn.act {
            let ids = sets[p].iter().copied().collect();
            bench.lab.outs[1].insert(format!("P{p}"), ids);
        }
        bench.lab.trip_in = turn.trip;
        let (engine, lab) = (&mut bench.engine, &mut bench.lab);
        let begin = AssertUnwindSafe(|| match turn.act {
            Act::Enable(p, replace) => engine.enable(build(sets, p, replace), lab),
            Act::Register(p, replace) => engine.register(build(sets, p, replace), lab),
            Act::EnableRegistered(p) => engine.enable_registered(&format!("P{p}"), lab),
            Act::Unregister(p) => engine.unregister(&format!("P{p}"), lab),
            Act::Disable(p) => engine.disable(&format!("P{p}"), lab),
            Act::Leave(p) => {
                lab.inside.remove(&format!("P{p}"));
                engine.settle(lab);
                Ok(())
            }
        });
        let settles = matches!(turn.act, Act::Leave(_));
        let panicked = catch_unwind(begin).is_err();
        if settles {
            halfway = panicked;
        }
        for state in bench.engine.installed().states() {
            let gate = bench.engine.installed().gate(state.id).unwrap();
            bench.lab.gates.insert(state.id, std::ptr::from_ref(gate));
        }
        let mut rounds = 0;
        loop {
            let run = AssertUnwindSafe(|| bench.engine.run(&mut bench.lab));
            match catch_unwind(run) {
                Ok(Status::Stalled) | Err(_) => {
                    let choice = choices.next().unwrap_or(0);
                    choose(&mut bench, choice);
                }
                Ok(_) => break,
            }
            rounds += 1;
            prop_assert!(rounds < 50, "it does not end: {:?}", bench.lab.trace);
        }
        bench.lab.trip_in = None;
        prop_assert!(bench.engine.installed().running().is_none());
        bench.audit();
        if !halfway {
            balanced(&bench)?;
        }
    }
    // Everybody leaves, and it all comes apart.
    bench.lab.failing.clear();
    (bench.lab.switch_fails, bench.lab.stalls) = (None, 0);
    bench.lab.inside.clear();
    bench.engine.settle(&mut bench.lab);
    prop_assert!(bench.engine.installed().pinned().is_empty());
    for name in bench.picture().0 {
        bench.lab.outs = Default::default();
        bench.off(&name);
    }
    balanced(&bench)?;
    prop_assert!((1..=STATES).all(|id| bench.lab.live(id) == 0));
    Ok(())
}

/// The ledger has the tokens of the states in use, and those of states that wait
/// but for their change, which is off.
fn balanced(bench: &Bench) -> Result<(), TestCaseError> {
    for (&id, &tokens) in &bench.lab.ledger {
        let state = bench.engine.installed().state(id).unwrap();
        let there = state.word.phase() != umbra_state::Phase::Dormant;
        let whole = Ledger {
            pre: there,
            post: state.open,
        };
        prop_assert_eq!(tokens, whole, "state {}: {:?}", id, bench.lab.trace);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(
            std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000)
        )
    })]

    #[test]
    fn r9_r23_r24_d8_whatever_goes_wrong_nothing_is_lost_or_freed_early(
        sets in sets(),
        turns in turns(),
    ) {
        play(&sets, turns)?;
    }
}
