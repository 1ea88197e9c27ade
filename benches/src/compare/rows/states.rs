//! What states cost: to ask a gate, to find it first, and to plan.
//!
//! A row's size is the number of states that are in use. There are no peers for
//! a gate; a plan by our rules is beside one by those of the v1 series, which
//! scans the list of patches for each state.

use super::super::clock::{each, timed};
use super::super::model::Row;
use super::super::targets::{Series, UMBRA};
use super::{Kind, Spec};
use crate::keys::SplitMix;
use crate::states::Stack;
use std::hint::black_box;
use umbra_state::Rules;

/// Times that a gate is asked in a round, at least.
const ASKED: usize = if cfg!(debug_assertions) {
    10_000
} else {
    1_000_000
};

/// Above so many states a scan for each of them takes minutes.
const SCANNED: usize = 10_000;

/// Runs the rows among `specs`, all of them of one size.
pub(super) fn rows(specs: &[Spec], rounds: usize, done: &mut dyn FnMut(Row)) {
    let Some(first) = specs.first() else {
        return;
    };
    let stack = Stack::new(first.size);
    let mut ids = stack.ids();
    // As calls come: in no order.
    let mut rng = SplitMix::new(0x6761_7465);
    for at in (1..ids.len()).rev() {
        ids.swap(at, rng.below(at + 1));
    }
    for spec in specs {
        let (series, notes) = match spec.kind {
            Kind::Plan => plans(&stack, first.size, rounds),
            kind => {
                let asked = (0..rounds).map(|_| gates(&stack, &ids, kind == Kind::GateById));
                let samples = asked.collect();
                (
                    vec![Series {
                        peer: UMBRA,
                        samples,
                    }],
                    Vec::new(),
                )
            }
        };
        done(spec.row(&series, Vec::new(), notes));
    }
}

/// Nanoseconds for each gate.
fn gates(stack: &Stack, ids: &[u64], find: bool) -> f64 {
    let passes = ASKED.div_ceil(ids.len());
    let (time, open) = if find {
        timed(|| {
            let pass = |_| {
                ids.iter()
                    .filter(|&&id| stack.is_open(black_box(id)))
                    .count()
            };
            (0..passes).map(pass).sum::<usize>()
        })
    } else {
        stack.held(ids, |gates| {
            let pass = |_| {
                gates
                    .iter()
                    .filter(|gate| black_box(gate).is_open())
                    .count()
            };
            timed(|| (0..passes).map(pass).sum::<usize>())
        })
    };
    assert_eq!(open, passes * ids.len(), "all states are in use");
    each(time, passes * ids.len())
}

/// Milliseconds of a plan by each of the rules.
fn plans(stack: &Stack, states: usize, rounds: usize) -> (Vec<Series>, Vec<String>) {
    let mut rules = vec![(Rules::Umbra, UMBRA)];
    let mut notes = Vec::new();
    match states <= SCANNED {
        true => rules.push((Rules::V1, "v1")),
        false => notes.push("left out, for it takes too long: v1".into()),
    }
    let mut series: Vec<_> = rules
        .iter()
        .map(|&(_, peer)| Series {
            peer,
            samples: Vec::new(),
        })
        .collect();
    for _ in 0..rounds {
        for (series, (rules, _)) in series.iter_mut().zip(&rules) {
            let (time, planned) = timed(|| stack.plan(*rules));
            assert!(planned.is_some(), "nothing conflicts");
            series.samples.push(time.as_secs_f64() * 1e3);
        }
    }
    (series, notes)
}
