//! Instructions of what a transition and a hooked call ask of states, counted by
//! callgrind: a gate that is held, a gate that is looked up by its id first, and the
//! plan of an atomic replace.
//!
//! `cargo bench -p umbra-benches --bench insn_state`. As in `insn_get`: one thread, a
//! fixed number of operations, one seed. The plan's own memory is part of what it costs.

#![allow(
    missing_docs,
    reason = "iai-callgrind's macros generate undocumented items"
)]

use iai_callgrind::{library_benchmark, library_benchmark_group, main};
use std::hint::black_box;
use umbra_benches::states::Stack;
use umbra_state::Rules;

/// Questions in each benchmark of gates: per question, divide by this.
const OPERATIONS: usize = 1_000;

/// A stack of patches, leaked so that tearing it down is not counted, and whom to ask.
fn stack(states: usize) -> (&'static Stack, Vec<u64>) {
    let stack: &Stack = Box::leak(Box::new(Stack::new(states)));
    let ids = stack.ids();
    let asked = ids.iter().cycle().take(OPERATIONS).copied().collect();
    (stack, asked)
}

type Asked = (&'static Stack, Vec<u64>);

fn gates(states: usize) -> Vec<&'static umbra_state::Gate> {
    let (stack, ids) = stack(states);
    stack.held(&ids, <[_]>::to_vec)
}

#[library_benchmark(setup = gates)]
#[bench::n100(100)]
#[bench::n1k(1_000)]
fn gate_held(gates: Vec<&'static umbra_state::Gate>) -> Vec<&'static umbra_state::Gate> {
    black_box(gates.iter().filter(|gate| gate.is_open()).count());
    gates
}

#[library_benchmark(setup = stack)]
#[bench::n100(100)]
#[bench::n1k(1_000)]
fn gate_found((stack, ids): Asked) -> Asked {
    black_box(ids.iter().filter(|&&id| stack.is_open(id)).count());
    (stack, ids)
}

#[library_benchmark(setup = stack)]
#[bench::n100(100)]
#[bench::n1k(1_000)]
fn plan_of_a_replace((stack, ids): Asked) -> Asked {
    black_box(stack.plan(Rules::Umbra));
    (stack, ids)
}

library_benchmark_group!(
    name = state;
    benchmarks = gate_held, gate_found, plan_of_a_replace
);

main!(library_benchmark_groups = state);
