//! Wall time of writes: making and freeing one at a time, and growth.
//!
//! `cargo bench -p umbra-benches --bench wall_write`.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use umbra_benches::keys::Keys;
use umbra_benches::peers::{Dash, Klp, PapayaDefault, PapayaSized, Sharded, Umbra};
use umbra_benches::{Map, workload};

/// Writes in one iteration. The guard is taken once for each, so that what
/// was freed can be reclaimed while the benchmark runs.
const OPERATIONS: usize = 1_000;

fn churn<M: Map>(c: &mut Criterion) {
    let mut group = c.benchmark_group("churn");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    for n in [1_000, 100_000] {
        let keys = Keys::new(n);
        let table = M::filled(&keys);
        let part = &keys.absent()[..OPERATIONS];
        group.bench_function(BenchmarkId::new(M::NAME, n), |b| {
            b.iter(|| workload::churn(&table, &table.guard(), part));
        });
    }
    group.finish();
}

fn growth<M: Map>(c: &mut Criterion) {
    let mut group = c.benchmark_group("growth");
    group.sample_size(10);
    for n in [10_000, 100_000] {
        let keys = Keys::new(n);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new(M::NAME, n), |b| {
            b.iter_batched(
                || M::new(0),
                |table| {
                    workload::insert_all(&table, &table.guard(), &keys);
                    table
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(
    write,
    churn::<Umbra>,
    churn::<PapayaSized>,
    churn::<PapayaDefault>,
    churn::<Dash>,
    churn::<Sharded>,
    churn::<Klp>,
    growth::<Umbra>,
    growth::<PapayaDefault>,
    growth::<Dash>,
    growth::<Sharded>,
    growth::<Klp>,
);
criterion_main!(write);
