//! Instructions of writes, counted by callgrind.
//!
//! `cargo bench -p umbra-benches --bench insn_write`. The number of operations
//! is fixed and a guard is held throughout, so that no epoch advances: what is
//! counted is the operation and handing its memory over, not reclamation.

#![allow(
    missing_docs,
    reason = "iai-callgrind's macros generate undocumented items"
)]

use iai_callgrind::{library_benchmark, library_benchmark_group, main};
use std::hint::black_box;
use umbra_benches::keys::Keys;
use umbra_benches::peers::{Klp, Umbra};
use umbra_benches::{Lookup, Map, workload};

/// Writes in each benchmark: per write, divide by this.
const OPERATIONS: usize = 1_000;

type Filled<L> = (&'static L, <L as Lookup>::Guard<'static>, &'static Keys);

/// A table of `n` entries under a guard, leaked so that tearing it down is not
/// counted.
fn filled<L: Lookup>(n: usize) -> Filled<L> {
    let keys: &Keys = Box::leak(Box::new(Keys::new(n)));
    let table: &L = Box::leak(Box::new(L::filled(keys)));
    (table, table.guard(), keys)
}

fn run_alloc<M: Map>((table, guard, keys): Filled<M>) -> Filled<M> {
    for &key in &keys.absent()[..OPERATIONS] {
        black_box(table.get_or_alloc(key, 1, &guard));
    }
    (table, guard, keys)
}

fn run_free<M: Map>((table, guard, keys): Filled<M>) -> Filled<M> {
    black_box(workload::free_all_one_by_one(
        table,
        &guard,
        &keys.present()[..OPERATIONS],
    ));
    (table, guard, keys)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn umbra_alloc(input: Filled<Umbra>) -> Filled<Umbra> {
    run_alloc(input)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn umbra_free(input: Filled<Umbra>) -> Filled<Umbra> {
    run_free(input)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn klp_alloc(input: Filled<Klp>) -> Filled<Klp> {
    run_alloc(input)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn klp_free(input: Filled<Klp>) -> Filled<Klp> {
    run_free(input)
}

library_benchmark_group!(
    name = write;
    benchmarks = umbra_alloc, umbra_free, klp_alloc, klp_free
);

main!(library_benchmark_groups = write);
