//! Instructions of lookups, counted by callgrind.
//!
//! `cargo bench -p umbra-benches --bench insn_get`. One thread, a fixed number
//! of operations, tables of one seed: the same binary counts the same every
//! time. The guard is taken before counting starts and held throughout, so
//! that no epoch advances and nobody's garbage is collected in between.
//!
//! Two peers are counted beside Umbra: klp's algorithm, which is what there is
//! today, and papaya, the best there is.

#![allow(
    missing_docs,
    reason = "iai-callgrind's macros generate undocumented items"
)]

use iai_callgrind::{library_benchmark, library_benchmark_group, main};
use std::hint::black_box;
use umbra_benches::keys::Keys;
use umbra_benches::peers::{Klp, PapayaSized, Umbra};
use umbra_benches::{Lookup, workload};

/// Lookups in each benchmark: per lookup, divide by this.
const OPERATIONS: usize = 1_000;

/// A filled table under a guard, leaked so that tearing it down is not counted.
fn filled<L: Lookup>(n: usize) -> (&'static L, L::Guard<'static>, &'static Keys) {
    let keys: &Keys = Box::leak(Box::new(Keys::new(n)));
    let table: &L = Box::leak(Box::new(L::filled(keys)));
    (table, table.guard(), keys)
}

type Filled<L> = (&'static L, <L as Lookup>::Guard<'static>, &'static Keys);

fn run_hit<L: Lookup>((table, guard, keys): Filled<L>) -> Filled<L> {
    black_box(workload::hit_independent(
        table,
        &guard,
        &keys.present()[..OPERATIONS],
    ));
    (table, guard, keys)
}

fn run_miss<L: Lookup>((table, guard, keys): Filled<L>) -> Filled<L> {
    black_box(workload::miss_independent(
        table,
        &guard,
        &keys.absent()[..OPERATIONS],
    ));
    (table, guard, keys)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn umbra_hit(input: Filled<Umbra>) -> Filled<Umbra> {
    run_hit(input)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn umbra_miss(input: Filled<Umbra>) -> Filled<Umbra> {
    run_miss(input)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn papaya_hit(input: Filled<PapayaSized>) -> Filled<PapayaSized> {
    run_hit(input)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn papaya_miss(input: Filled<PapayaSized>) -> Filled<PapayaSized> {
    run_miss(input)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn klp_hit(input: Filled<Klp>) -> Filled<Klp> {
    run_hit(input)
}

#[library_benchmark(setup = filled)]
#[bench::n1k(1_000)]
#[bench::n100k(100_000)]
fn klp_miss(input: Filled<Klp>) -> Filled<Klp> {
    run_miss(input)
}

library_benchmark_group!(
    name = get;
    benchmarks = umbra_hit, umbra_miss, papaya_hit, papaya_miss, klp_hit, klp_miss
);

main!(library_benchmark_groups = get);
