//! Wall time of lookups: every contestant, one loop of lookups per iteration.
//!
//! `cargo bench -p umbra-benches --bench wall_get`; a part of it by name, as
//! `-- 'hit/independent/umbra'`. Sizes above 100,000 are for the report of the
//! benchmark suite, which interleaves contestants and so can afford them.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use umbra_benches::keys::Keys;
use umbra_benches::peers::{
    Chase, Dash, Klp, P32, P64, PapayaDefault, PapayaSized, Sharded, Umbra,
};
use umbra_benches::{Lookup, workload};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// Lookups in one iteration: enough to hide the loop's own start.
const OPERATIONS: usize = 1_000;

fn contestant<L: Lookup>(c: &mut Criterion) {
    for n in SIZES {
        let keys = Keys::new(n);
        let table = L::filled(&keys);
        let guard = table.guard();
        // A window that moves over all keys: a fixed one would stay cached.
        let mut at = 0;
        let mut window = |list: &'_ [usize]| {
            at = if at + OPERATIONS < list.len() {
                at + OPERATIONS
            } else {
                0
            };
            at..at + OPERATIONS
        };

        let mut group = c.benchmark_group("get/hit/independent");
        group.throughput(Throughput::Elements(OPERATIONS as u64));
        group.bench_function(BenchmarkId::new(L::NAME, n), |b| {
            b.iter(|| {
                let part = &keys.present()[window(keys.present())];
                workload::hit_independent(&table, &guard, part)
            });
        });
        group.finish();

        let mut group = c.benchmark_group("get/hit/dependent");
        group.throughput(Throughput::Elements(OPERATIONS as u64));
        let mut start = keys.present()[0];
        group.bench_function(BenchmarkId::new(L::NAME, n), |b| {
            b.iter(|| {
                start = workload::hit_dependent(&table, &guard, start, OPERATIONS) as usize;
            });
        });
        group.finish();

        let mut group = c.benchmark_group("get/miss/independent");
        group.throughput(Throughput::Elements(OPERATIONS as u64));
        group.bench_function(BenchmarkId::new(L::NAME, n), |b| {
            b.iter(|| {
                let part = &keys.absent()[window(keys.absent())];
                workload::miss_independent(&table, &guard, part)
            });
        });
        group.finish();

        let mut group = c.benchmark_group("get/miss/dependent");
        group.throughput(Throughput::Elements(OPERATIONS as u64));
        group.bench_function(BenchmarkId::new(L::NAME, n), |b| {
            b.iter(|| {
                let part = &keys.absent()[window(keys.absent())];
                workload::miss_dependent(&table, &guard, part)
            });
        });
        group.finish();
    }
}

fn chase(c: &mut Criterion) {
    let mut group = c.benchmark_group("get/hit/dependent");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    for n in SIZES {
        let chase = Chase::new(&Keys::new(n), false);
        let mut at = 0;
        group.bench_function(BenchmarkId::new("bound-chase", n), |b| {
            b.iter(|| at = chase.walk(black_box(at), OPERATIONS));
        });
    }
    group.finish();
}

fn guard<L: Lookup>(c: &mut Criterion) {
    let keys = Keys::new(1);
    let table = L::filled(&keys);
    c.bench_function(&format!("guard/{}", L::NAME), |b| {
        b.iter(|| {
            black_box(table.guard());
        });
    });
}

criterion_group!(
    get,
    contestant::<Umbra>,
    contestant::<PapayaSized>,
    contestant::<PapayaDefault>,
    contestant::<Dash>,
    contestant::<Sharded>,
    contestant::<Klp>,
    contestant::<P64>,
    contestant::<P32>,
    chase,
    guard::<Umbra>,
    guard::<PapayaSized>,
);
criterion_main!(get);
