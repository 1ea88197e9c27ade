//! Wall time, by criterion.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn digits(c: &mut Criterion) {
    let numbers = sample::primes(1_000);
    c.bench_function("digits/large", |b| {
        b.iter(|| sample::digits(black_box(&numbers)));
    });
}

criterion_group!(all, digits);
criterion_main!(all);
