//! A sieve and a sum: something to measure.

/// The primes below `limit`.
#[must_use]
pub fn primes(limit: usize) -> Vec<usize> {
    let mut composite = vec![false; limit];
    let mut found = Vec::new();
    for n in 2..limit {
        if composite[n] {
            continue;
        }
        found.push(n);
        for multiple in (n * n..limit).step_by(n) {
            composite[multiple] = true;
        }
    }
    found
}

/// The sum of the decimal digits of all `numbers`.
#[must_use]
pub fn digits(numbers: &[usize]) -> usize {
    numbers.iter().map(|&n| digit_sum(n)).sum()
}

#[inline(never)]
fn digit_sum(mut n: usize) -> usize {
    let mut sum = 0;
    while n > 0 {
        sum += n % 10;
        n /= 10;
    }
    sum
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_of_small_primes_add_up() {
        assert_eq!(super::digits(&super::primes(20)), 2 + 3 + 5 + 7 + 2 + 4 + 8 + 10);
    }
}
