//! Medians, quartiles and quantiles of samples.

use serde::{Deserialize, Serialize};

/// What became of a series of samples: the median and the quartiles around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the samples are below.
    pub median: f64,
    /// A quarter of the samples is below.
    pub q1: f64,
    /// A quarter of the samples is above.
    pub q3: f64,
    /// How many samples there were.
    pub rounds: usize,
}

impl Spread {
    /// Of no samples, zeros.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            q1: quantile(&sorted, 0.25),
            q3: quantile(&sorted, 0.75),
            rounds: sorted.len(),
        }
    }

    /// Of the ratios `a / b`, sample by sample.
    #[must_use]
    pub fn of_ratio(a: &[f64], b: &[f64]) -> Self {
        let ratios: Vec<_> = a.iter().zip(b).map(|(a, b)| a / b).collect();
        Self::of(&ratios)
    }
}

/// The quantile `q` of sorted samples, between neighbours in proportion.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let at = q * last as f64;
    let low = at.floor() as usize;
    let high = at.ceil() as usize;
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

/// A distribution of durations in nanoseconds, as its quantiles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Pairs of quantile and nanoseconds, ascending.
    pub points: Vec<(f64, f64)>,
    /// The longest.
    pub max: f64,
    /// How many durations there were.
    pub count: usize,
}

impl Distribution {
    const QUANTILES: [f64; 12] = [
        0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 1.0,
    ];

    /// Of durations in any order.
    #[must_use]
    pub fn of(mut nanos: Vec<u32>) -> Self {
        nanos.sort_unstable();
        let Some(last) = nanos.len().checked_sub(1) else {
            return Self::default();
        };
        let at = |q: f64| f64::from(nanos[(q * last as f64).ceil() as usize]);
        Self {
            points: Self::QUANTILES.iter().map(|&q| (q, at(q))).collect(),
            max: at(1.0),
            count: nanos.len(),
        }
    }

    /// One of the quantiles that are kept; 0 for another, or of nothing.
    #[must_use]
    pub fn at(&self, quantile: f64) -> f64 {
        self.points
            .iter()
            .find(|(q, _)| (q - quantile).abs() < 1e-9)
            .map_or(0.0, |&(_, nanos)| nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbours_in_proportion() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!(
            (spread.q1, spread.median, spread.q3),
            (1.75, 2.5, 3.25),
            "of unsorted samples"
        );
        assert_eq!(Spread::of(&[]), Spread::default());
        assert_eq!(Spread::of(&[7.0]).q3, 7.0);
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The machine was half as fast in the second round: the ratio stays.
        let spread = Spread::of_ratio(&[10.0, 20.0, 10.0], &[5.0, 10.0, 5.0]);
        assert_eq!((spread.q1, spread.median, spread.q3), (2.0, 2.0, 2.0));
    }

    #[test]
    fn a_rare_long_duration_is_in_the_tail_and_nowhere_else() {
        let mut nanos = vec![50; 9_999];
        nanos.push(1_000_000);
        let distribution = Distribution::of(nanos);
        assert_eq!(distribution.at(0.999), 50.0);
        assert_eq!(distribution.at(1.0), 1_000_000.0);
        assert_eq!(distribution.max, 1_000_000.0);
        assert_eq!(distribution.count, 10_000);
    }
}
