//! Random patch sets and histories against what can be said without the engine.

#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use umbra_state::{Cause, Direction, Refusal, Replace, Request, Rules, Status, plan};

#[derive(Clone, Debug)]
enum Move {
    /// Enable patch number `.0`, replacing or not.
    Enable(usize, bool),
    Disable(usize),
    /// The tasks leave these of the patches that were forced out.
    Leave(Vec<usize>),
}

#[derive(Clone, Debug)]
struct Turn {
    what: Move,
    /// The state whose `pre_patch` fails, if it comes to that.
    fails: Option<u64>,
    stalls: usize,
    /// Reverse after this many steps, if it is not too late by then.
    reverse: Option<usize>,
    /// Force the switch when it stalls, whichever way it goes.
    force: bool,
}

const PATCHES: usize = 5;
const STATES: u64 = 6;

fn patches() -> impl Strategy<Value = Vec<(Vec<u64>, Vec<u64>)>> {
    let ids = proptest::sample::subsequence((1..=STATES).collect::<Vec<_>>(), 0..=STATES as usize);
    let ids = ids.prop_shuffle();
    let blocked = proptest::sample::subsequence((1..=STATES).collect::<Vec<_>>(), 0..=1);
    proptest::collection::vec((ids, blocked), PATCHES)
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let what = prop_oneof![
        3 => (0..PATCHES, any::<bool>()).prop_map(|(p, r)| Move::Enable(p, r)),
        1 => (0..PATCHES).prop_map(Move::Disable),
        1 => proptest::collection::vec(0..PATCHES, 0..3).prop_map(Move::Leave),
    ];
    let fails = proptest::option::weighted(0.2, 1..=STATES);
    let reverse = proptest::option::weighted(0.3, 0_usize..12);
    let force = proptest::bool::weighted(0.4);
    let turn = (what, fails, 0_usize..3, reverse, force);
    let turn = turn.prop_map(|(what, fails, stalls, reverse, force)| Turn {
        what,
        fails,
        stalls,
        reverse,
        force,
    });
    proptest::collection::vec(turn, 1..24)
}

fn build((ids, blocked): &(Vec<u64>, Vec<u64>), at: usize, replace: bool) -> umbra_state::Patch {
    let states = ids.iter().map(|&id| {
        let mut state = state(id);
        state.block_disable = blocked.contains(&id);
        state
    });
    let mut patch = patch(&format!("P{at}"), states);
    patch.replace = if replace {
        Replace::All
    } else {
        Replace::Nothing
    };
    if let Some(&id) = ids.first() {
        patch.push_hook(hook(at + 1, id)).unwrap();
    }
    patch
}

/// The oracle: which patches are enabled, and how many scans find each state.
fn scan(sets: &[(Vec<u64>, Vec<u64>)], enabled: &[usize]) -> BTreeMap<u64, usize> {
    let mut users = BTreeMap::new();
    for id in enabled.iter().flat_map(|&p| &sets[p].0) {
        *users.entry(*id).or_default() += 1;
    }
    users
}

/// What there is, told without the engine.
struct Oracle<'a> {
    sets: &'a [(Vec<u64>, Vec<u64>)],
    enabled: Vec<usize>,
    /// The states that ended under somebody.
    waiting: BTreeSet<u64>,
}

impl Oracle<'_> {
    /// Who was forced out by forcing the request, and what they use.
    fn out(&self, what: &Move, way: Option<Direction>) -> Vec<(String, BTreeSet<u64>)> {
        let out = match (what, way) {
            (Move::Enable(_, true), Some(Direction::Forward)) => self.enabled.clone(),
            (Move::Disable(p), Some(Direction::Forward)) => vec![*p],
            (Move::Enable(p, _), Some(Direction::Back)) => vec![*p],
            _ => Vec::new(),
        };
        let ids = |p: usize| self.sets[p].0.iter().copied().collect();
        out.into_iter().map(|p| (format!("P{p}"), ids(p))).collect()
    }

    fn completed(&mut self, what: &Move) {
        match *what {
            Move::Enable(p, replace) => {
                if replace {
                    self.enabled.clear();
                }
                self.enabled.push(p);
            }
            Move::Disable(p) => self.enabled.retain(|&q| q != p),
            Move::Leave(_) => {}
        }
    }

    /// Which states ended, or were taken back, while somebody may use them.
    fn waits(
        &mut self,
        users: &BTreeMap<u64, usize>,
        after: &BTreeMap<u64, usize>,
        what: &Move,
        forced: bool,
        status: Status,
        lab: &Lab,
    ) {
        let begun = match what {
            Move::Enable(p, _) if forced && status != Status::Completed => self.sets[*p].0.clone(),
            _ => Vec::new(),
        };
        let ended = users.keys().filter(|id| !after.contains_key(id));
        let begun = begun.iter().filter(|id| !users.contains_key(id));
        let used = |id: &&u64| lab.inside.values().any(|ids| ids.contains(*id));
        self.waiting.extend(ended.chain(begun).filter(used));
    }

    fn settled(&mut self, lab: &Lab) {
        self.waiting
            .retain(|id| lab.inside.values().any(|ids| ids.contains(id)));
    }

    fn refused(&self, what: &Move, refusal: Refusal, bench: &Bench) -> Result<(), TestCaseError> {
        let (Move::Enable(p, _) | Move::Disable(p)) = what else {
            return Err(TestCaseError::fail("nothing to refuse"));
        };
        let enabled = self.enabled.contains(p);
        let pinned = bench.engine.installed().pinned().iter();
        match refusal {
            Refusal::AlreadyEnabled { .. } => prop_assert!(enabled),
            Refusal::NotEnabled { .. } => prop_assert!(!enabled),
            Refusal::Blocked { state, .. } => {
                let blocks =
                    |&p: &usize| self.sets[p].0.contains(&state) && self.sets[p].1.contains(&state);
                prop_assert!(self.enabled.iter().any(blocks));
            }
            Refusal::Quarantined { state, .. } => prop_assert!(self.waiting.contains(&state)),
            Refusal::Pinned { patch } => {
                prop_assert!(pinned.into_iter().any(|one| one.patch().name == patch));
            }
            other => prop_assert!(false, "{}", other),
        }
        Ok(())
    }

    /// Shadows and tokens are those of the states in use, and of those that
    /// wait, whose changes are off.
    fn check(&self, bench: &Bench) -> Result<(), TestCaseError> {
        let used = scan(self.sets, &self.enabled);
        for id in 1..=STATES {
            let (used, waits) = (used.contains_key(&id), self.waiting.contains(&id));
            let live = bench.lab.live(id);
            prop_assert_eq!(
                live,
                if used || waits { SHADOWS } else { 0 },
                "state {}",
                id
            );
            if let Some(tokens) = bench.lab.ledger.get(&id) {
                let whole = Ledger {
                    pre: used || waits,
                    post: used,
                };
                prop_assert_eq!(*tokens, whole, "state {}", id);
            }
        }
        Ok(())
    }
}

/// 10,000 cases, which are half a minute unoptimized, or as many as
/// `PROPTEST_CASES` says.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let cases = asked.and_then(|n| n.parse().ok()).unwrap_or(10_000);
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(config())]

    /// The lab holds the ledger: no callback without its counterpart (R23,
    /// R24), none while the gate is open, and no clean-up of what a task may
    /// still use (S5). `audit` holds the count to a scan (R9), and every shadow
    /// to a state that is in use (R54).
    #[test]
    fn r9_r23_r24_r54_r64_d8_random_histories_keep_the_ledger(sets in patches(), turns in turns()) {
        let mut bench = Bench::new();
        bench.lab.quiescent = true;
        let mut oracle = Oracle { sets: &sets, enabled: Vec::new(), waiting: BTreeSet::new() };
        for turn in turns {
            let before = bench.picture();
            let users = scan(&sets, &oracle.enabled);
            bench.lab.take();
            bench.lab.failing.clear();
            bench.lab.stalls = turn.stalls;
            if let (Some(id), Move::Enable(p, _)) = (turn.fails, &turn.what) {
                bench.lab.fail(&format!("P{p}"), id, -5);
            }

            let begun = match &turn.what {
                Move::Enable(p, replace) => {
                    let patch = build(&sets[*p], *p, *replace);
                    // S2: the plan that is asked for twice is the same plan.
                    let request = || plan(bench.engine.installed(), Request::Enable(&patch), Rules::Umbra);
                    prop_assert_eq!(request(), request());
                    bench.begin(patch)
                }
                Move::Disable(p) => bench.engine.disable(&format!("P{p}"), &mut bench.lab),
                Move::Leave(patches) => {
                    for p in patches {
                        bench.lab.inside.remove(&format!("P{p}"));
                    }
                    bench.engine.settle(&mut bench.lab);
                    bench.audit();
                    oracle.settled(&bench.lab);
                    oracle.check(&bench)?;
                    continue;
                }
            };
            if let Err(refusal) = begun {
                oracle.refused(&turn.what, refusal, &bench)?;
                prop_assert_eq!(bench.picture(), before);
                continue;
            }

            let mut status = Status::Working;
            for _ in 0..turn.reverse.unwrap_or(0) {
                status = bench.engine.step(&mut bench.lab);
                if !matches!(status, Status::Working | Status::Stalled) {
                    break;
                }
            }
            let running = matches!(status, Status::Working | Status::Stalled);
            if turn.reverse.is_some() && running {
                let _ = bench.engine.reverse(&mut bench.lab);
            }
            let mut forced = false;
            while matches!(status, Status::Working | Status::Stalled) {
                if turn.force && status == Status::Stalled {
                    let way = bench.engine.direction();
                    if bench.engine.force(&mut bench.lab).is_ok() {
                        forced = true;
                        bench.lab.inside.extend(oracle.out(&turn.what, way));
                    }
                }
                status = bench.run();
            }
            bench.audit();

            let after = match status {
                Status::Completed => {
                    oracle.completed(&turn.what);
                    scan(&sets, &oracle.enabled)
                }
                Status::Undone(cause) => {
                    let failed = matches!(cause, Cause::PrePatch { .. });
                    prop_assert!(turn.reverse.is_some() || failed);
                    let now = bench.picture();
                    prop_assert_eq!(&now.0, &before.0);
                    prop_assert!(forced || now == before);
                    users.clone()
                }
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            oracle.waits(&users, &after, &turn.what, forced, status, &bench.lab);

            // Whose callbacks ran is told by the two scans alone (R66): the
            // states in exactly one of them.
            if status == Status::Completed {
                for id in 1..=STATES {
                    let ran = bench.lab.trace.iter().filter(|t| t.contains(&format!(".{id}."))).count();
                    let edge = users.contains_key(&id) != after.contains_key(&id);
                    let want = match (edge, oracle.waiting.contains(&id)) {
                        (false, _) => 0,
                        (true, true) => 1,
                        (true, false) => 2,
                    };
                    prop_assert_eq!(ran, want, "state {}: {:?}", id, bench.lab.trace);
                }
            }
            oracle.check(&bench)?;
        }
        // Everybody leaves, and nothing waits any more.
        bench.lab.inside.clear();
        bench.engine.settle(&mut bench.lab);
        oracle.settled(&bench.lab);
        prop_assert!(bench.engine.installed().pinned().is_empty());
        bench.audit();
        oracle.check(&bench)?;
    }

    /// Any patch in the place of any other, and then none: nothing stays, and a
    /// reversal anywhere on the way restores exactly what was (S3).
    #[test]
    fn r64_s3_every_ordered_pair_is_leak_free_and_a_reversal_restores(
        sets in patches(),
        old in 0..PATCHES,
        new in 0..PATCHES,
        back in 0_usize..16,
    ) {
        let bare = |at: usize| (sets[at].0.clone(), Vec::new());
        let name = format!("P{}", PATCHES + new);
        let incoming = || build(&bare(new), PATCHES + new, true);
        let mut bench = Bench::new();
        bench.enable(build(&bare(old), old, true)).unwrap();
        let before = bench.picture();
        bench.begin(incoming()).unwrap();
        for _ in 0..back {
            bench.engine.step(&mut bench.lab);
        }
        if bench.engine.reverse(&mut bench.lab).is_ok() {
            bench.run();
            prop_assert_eq!(bench.picture(), before);
            bench.enable(incoming()).unwrap();
        }
        bench.run();
        bench.disable(&name).unwrap();
        prop_assert!((1..=STATES).all(|id| bench.lab.live(id) == 0));
    }

    /// An id is only a name: other ids in the same places give the same steps.
    #[test]
    fn r67_relabelling_the_states_changes_nothing(
        sets in patches(),
        series in proptest::collection::vec(0..PATCHES, 1..8),
        by in 1_u64..1000,
    ) {
        let run = |relabel: &dyn Fn(u64) -> u64| {
            let mut bench = Bench::new();
            let mut calls = Vec::new();
            for &p in &series {
                let ids: Vec<u64> = sets[p].0.iter().map(|&id| relabel(id)).collect();
                if bench.enable(build(&(ids, Vec::new()), p, true)).is_err() {
                    calls.push("refused".to_owned());
                }
                calls.append(&mut bench.lab.trace);
            }
            calls
        };
        let back = |call: String, id: u64, new: u64| {
            call.replace(&format!(".{new}."), &format!(".{id}."))
                .replace(&format!("({new})"), &format!("({id})"))
        };
        // Above all old ids, and in the opposite order.
        let relabel = |id: u64| 10_000 - id * by;
        let mut renamed = run(&relabel);
        for id in 1..=STATES {
            renamed = renamed.into_iter().map(|call| back(call, id, relabel(id))).collect();
        }
        prop_assert_eq!(renamed, run(&|id| id));
    }
}

#[test]
fn r58_r63_r64_r65_every_patch_may_replace_every_other_without_a_trace() {
    let sets: [&[u64]; 6] = [&[], &[1], &[2], &[1, 2], &[1, 3], &[3, 2, 1]];
    for (i, old) in sets.iter().enumerate() {
        for (j, new) in sets.iter().enumerate() {
            let mut bench = Bench::new();
            bench.on(instead(&format!("O{i}"), old));
            let calls = bench.on(instead(&format!("N{j}"), new)).len();
            let xor = old.iter().filter(|id| !new.contains(id)).count();
            let xor = xor * 3 + 2 * new.iter().filter(|id| !old.contains(id)).count();
            assert_eq!(
                calls,
                xor + 1,
                "R65: only what is needed, {old:?} to {new:?}"
            );
            bench.off(&format!("N{j}"));
            assert!((1..=3).all(|id| bench.lab.live(id) == 0));
        }
    }
}
