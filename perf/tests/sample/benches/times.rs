//! Wall time, by criterion.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn sieve(c: &mut Criterion) {
    c.bench_function("primes/large", |b| {
        b.iter(|| sample::primes(black_box(1_000)));
    });
}

criterion_group!(all, sieve);
criterion_main!(all);
