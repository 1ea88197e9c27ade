//! How much slower, and how sure: a confidence interval from pairs of processes.
//!
//! What varies from process to process (where the loader and the allocator put
//! things, what else runs) does not vary within one. So a process is one sample,
//! however many iterations it ran, and pairs of processes are what is resampled.
//!
//! The estimate is the median of the pairs' ratios, its interval the bootstrap's.
//! A pair that something else ran into is one vote, however far off it is. On a
//! quiet machine the mean would need a third fewer pairs; machines that run CI
//! are not quiet.

/// Resamples: the interval's ends no longer move visibly.
const RESAMPLES: usize = 10_000;

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
/// that holds the true one with the given confidence (0.95, say). The same
/// values give the same interval.
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
    Some(median_interval(&ratios, confidence, RESAMPLES).map(percent))
}

/// The median of `sample`, with the bootstrap's interval.
fn median_interval(sample: &[f64], confidence: f64, resamples: usize) -> Interval {
    let mut random = fastrand::Rng::with_seed(0x75_6d_62_72_61);
    let mut resample = vec![0.0; sample.len()];
    let mut medians: Vec<_> = (0..resamples)
        .map(|_| {
            resample.fill_with(|| sample[random.usize(..sample.len())]);
            median(&resample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    let last = (medians.len() - 1) as f64;
    Interval {
        low: medians[(last * tail).floor() as usize],
        estimate: median(sample),
        high: medians[(last * (1.0 - tail)).ceil() as usize],
    }
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

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        let mut random = fastrand::Rng::with_seed(1);
        let rounds = 400;
        let mut held = 0;
        for _ in 0..rounds {
            let pairs = experiment(&mut random, 1.03, 10);
            let ratios: Vec<_> = pairs.iter().map(|(old, new)| (new / old).ln()).collect();
            let interval = median_interval(&ratios, 0.95, 1_000);
            held += u32::from((interval.low..=interval.high).contains(&1.03_f64.ln()));
        }
        let share = f64::from(held) / f64::from(rounds);
        assert!((0.93..=0.99).contains(&share), "{share} instead of 0.95");
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
