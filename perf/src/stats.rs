//! How much slower, and how sure: a confidence interval from pairs of processes.
//!
//! What varies from process to process (where the loader and the allocator put
//! things, what else runs) does not vary within one. So a process is one sample,
//! however many iterations it ran, and pairs of processes are what is resampled.
//!
//! The estimate is the median of the pairs' ratios, its interval the sign test's:
//! each pair is on one side of the true median as likely as on the other, so the
//! ranks that hold it follow from the binomial distribution alone. That is exact
//! for any number of pairs and any distribution, where a bootstrap of the median
//! misses too often with as few pairs as these (Conover, Practical Nonparametric
//! Statistics, 3rd edition, section 3.2; David and Nagaraja, Order Statistics, 7.1).
//!
//! A pair that something else ran into is one vote, however far off it is. On a
//! quiet machine the mean would need a third fewer pairs; machines that run CI
//! are not quiet.

/// The fewest pairs whose extremes hold the median with this confidence: each
/// pair is on one side of it as likely as on the other.
#[must_use]
pub fn fewest(confidence: f64) -> usize {
    (2.0 / (1.0 - confidence)).log2().ceil() as usize
}

/// An estimate with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The estimate.
    pub estimate: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self {
            low: f(self.low),
            estimate: f(self.estimate),
            high: f(self.high),
        }
    }
}

/// The change in percent from `old` to `new`, pair by pair, with an interval
/// that holds the true one with the given confidence (0.95, say) or more.
///
/// `None` with fewer than [`fewest`] pairs, and if a value is not a positive
/// number.
#[must_use]
pub fn paired_change(pairs: &[(f64, f64)], confidence: f64) -> Option<Interval> {
    let positive = |x: f64| x.is_finite() && x > 0.0;
    if pairs.len() < fewest(confidence) || !pairs.iter().all(|&(a, b)| positive(a) && positive(b)) {
        return None;
    }
    // Twice as slow and twice as fast are the same distance from 1.
    let ratios: Vec<_> = pairs.iter().map(|&(old, new)| (new / old).ln()).collect();
    let percent = |ln: f64| ln.exp_m1() * 100.0;
    Some(median_interval(ratios, confidence).map(percent))
}

/// The median of `sample`, with the interval between two of its values.
fn median_interval(mut sample: Vec<f64>, confidence: f64) -> Interval {
    sample.sort_by(f64::total_cmp);
    let rank = rank(sample.len(), confidence).max(1);
    Interval {
        low: sample[rank - 1],
        estimate: median(&sample),
        high: sample[sample.len() - rank],
    }
}

/// The rank, from either end and from 1, of the values between which the median
/// lies with this confidence; 0 if there are too few of them.
///
/// The median is below the k-th smallest of n values if fewer than k are below
/// it, which is `P(B < k)` of a binomial distribution with n throws of a coin.
fn rank(n: usize, confidence: f64) -> usize {
    let tail = (1.0 - confidence) / 2.0;
    // Logarithms, for the powers of 1/2 soon underflow.
    let mut term = -(n as f64) * core::f64::consts::LN_2;
    let mut below = 0.0;
    let mut rank = 0;
    while rank < n / 2 {
        below += term.exp();
        // Room for rounding where the two are meant to be equal.
        if below > tail * (1.0 + 1e-9) {
            break;
        }
        term += ((n - rank) as f64).ln() - ((rank + 1) as f64).ln();
        rank += 1;
    }
    rank
}

/// The middle value; of an even number of values, the mean of both.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Roughly normal, as the sum of twelve uniform values is.
    fn noise(random: &mut fastrand::Rng) -> f64 {
        (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
    }

    /// Pairs with a common drift that is far above the effect, as on a machine
    /// whose clock follows its temperature.
    fn experiment(random: &mut fastrand::Rng, effect: f64, pairs: usize) -> Vec<(f64, f64)> {
        let pair = |i: usize| {
            let drift = 100.0 * (1.0 + 0.1 * i as f64);
            let mut once = |factor: f64| drift * factor * (0.02 * noise(random)).exp();
            (once(1.0), once(effect))
        };
        (0..pairs).map(pair).collect()
    }

    /// Ratios around 1 of machines that are quiet, that jump between two clocks, and
    /// that are now and then disturbed for long: the logarithms' median is 0.
    const MACHINES: [fn(&mut fastrand::Rng) -> f64; 3] = [
        noise,
        |random| [1.0, -1.0][usize::from(random.bool())] + 0.1 * noise(random),
        |random| -(1.0 - random.f64()).ln() - core::f64::consts::LN_2,
    ];

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        let rounds = 4_000;
        let mut random = fastrand::Rng::with_seed(1);
        for confidence in [0.8, 0.95, 0.99] {
            for pairs in [6, 7, 8, 9, 10, 12, 20].map(|n| n.max(fewest(confidence))) {
                for (machine, noise) in MACHINES.iter().enumerate() {
                    let mut missed = 0;
                    for _ in 0..rounds {
                        let ratio = |_| (1.0, (0.02 * noise(&mut random)).exp());
                        let pairs: Vec<_> = (0..pairs).map(ratio).collect();
                        let change = paired_change(&pairs, confidence).expect("enough pairs");
                        missed += u32::from(!(change.low..=change.high).contains(&0.0));
                    }
                    let share = f64::from(missed) / f64::from(rounds);
                    let asked = 1.0 - confidence;
                    // Three standard deviations of such a count.
                    let chance = 3.0 * (asked * confidence / f64::from(rounds)).sqrt();
                    assert!(
                        share <= asked + chance,
                        "{pairs} pairs on machine {machine}: {share} instead of {asked} missed"
                    );
                }
            }
        }
    }

    #[test]
    fn the_ranks_are_those_of_the_tables_of_the_sign_test() {
        let ranks = |confidence, pairs: &[usize]| -> Vec<_> {
            pairs.iter().map(|&n| rank(n, confidence)).collect()
        };
        let some = [5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 23, 25];
        let of_95 = [0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 7, 8];
        assert_eq!(ranks(0.95, &some), of_95);
        assert_eq!(
            ranks(0.99, &[7, 8, 10, 11, 12, 15, 20]),
            [0, 1, 1, 1, 2, 3, 4]
        );
        for confidence in [0.5, 0.8, 0.95, 0.99, 0.9999] {
            let n = fewest(confidence);
            assert_eq!((rank(n - 1, confidence), rank(n, confidence)), (0, 1));
        }
        // Far more pairs than anybody runs: neither an overflow nor a crawl.
        assert!((1440..1452).contains(&rank(3000, 0.95)));
    }

    #[test]
    fn a_difference_is_seen_through_drift_and_none_is_seen_where_there_is_none() {
        let mut random = fastrand::Rng::with_seed(2);
        let slower = paired_change(&experiment(&mut random, 1.10, 12), 0.95).expect("12");
        assert!(slower.low > 0.0 && slower.high < 20.0, "{slower:?}");
        let same = paired_change(&experiment(&mut random, 1.0, 12), 0.95).expect("12");
        assert!(same.low < 0.0 && same.high > 0.0, "{same:?}");
    }

    #[test]
    fn a_pair_that_something_ran_into_does_not_hide_a_difference() {
        let mut pairs = experiment(&mut fastrand::Rng::with_seed(4), 1.10, 10);
        pairs[2].0 *= 30.0;
        let change = paired_change(&pairs, 0.95).expect("10");
        assert!(change.low > 0.0 && change.high < 20.0, "{change:?}");
    }

    #[test]
    fn more_confidence_needs_more_pairs() {
        assert_eq!([0.5, 0.9, 0.95, 0.99].map(fewest), [2, 5, 6, 8]);
        assert_eq!(paired_change(&[(1.0, 1.0); 5], 0.95), None);
        assert!(paired_change(&[(1.0, 1.0); 6], 0.95).is_some());
    }

    #[test]
    fn more_confidence_is_a_wider_interval_and_the_same_data_the_same_one() {
        let pairs = experiment(&mut fastrand::Rng::with_seed(3), 1.0, 8);
        let wide = paired_change(&pairs, 0.99).expect("8");
        let narrow = paired_change(&pairs, 0.80).expect("8");
        assert!(wide.low < narrow.low && narrow.high < wide.high);
        assert_eq!(paired_change(&pairs, 0.80), Some(narrow));
    }

    #[test]
    fn constant_and_impossible_values_have_their_answers() {
        let constant = paired_change(&[(2.0, 3.0); 6], 0.95).expect("6");
        for end in [constant.low, constant.estimate, constant.high] {
            assert!((end - 50.0).abs() < 1e-9, "{constant:?}");
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut pairs = vec![(1.0, 1.0); 6];
            pairs[3].1 = bad;
            assert_eq!(paired_change(&pairs, 0.95), None, "{bad}");
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
