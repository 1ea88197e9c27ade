//! Instructions, counted by callgrind.

#![allow(missing_docs)]

use iai_callgrind::{library_benchmark, library_benchmark_group, main};
use std::hint::black_box;

#[library_benchmark]
#[bench::small(100)]
#[bench::large(1_000)]
fn primes(limit: usize) -> Vec<usize> {
    black_box(sample::primes(black_box(limit)))
}

#[library_benchmark(setup = sample::primes)]
#[bench::large(1_000)]
fn digits(numbers: Vec<usize>) -> usize {
    black_box(sample::digits(black_box(&numbers)))
}

library_benchmark_group!(name = all; benchmarks = primes, digits);
main!(library_benchmark_groups = all);
