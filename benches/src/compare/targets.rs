//! What Umbra should reach, and the judgement.

use super::model::{Target, Verdict};
use super::stats::Spread;

/// The samples of one contestant, a number for each round.
#[derive(Clone, Debug)]
pub struct Series {
    /// The contestant.
    pub peer: &'static str,
    /// Its samples, in the order of the rounds.
    pub samples: Vec<f64>,
}

impl Series {
    /// The samples as multiples of `other`'s, round by round; `None` if the two have
    /// no rounds in common, or a multiple is of nothing.
    pub(super) fn times(&self, other: &Self) -> Option<Spread> {
        let same = self.samples.len() == other.samples.len();
        let times = same.then(|| Spread::of_ratio(&self.samples, &other.samples))?;
        let finite = [times.median, times.q1, times.q3]
            .iter()
            .all(|n| n.is_finite());
        (finite && times.rounds > 0).then_some(times)
    }
}

/// One thing to reach. Names are those of contestants; of several, the fastest
/// in the run counts, so a peer is always taken at its best.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// Umbra takes at most so many times what the named bound takes. If the bound
    /// was measured in 2 MiB pages too, then Umbra had such pages, and like is
    /// compared with like.
    Within(f64, &'static str),
    /// The fastest of the named takes at least so many times what Umbra takes.
    Faster(f64, &'static str, &'static [&'static str]),
    /// Umbra takes less than the fastest of all peers in the run.
    AheadOfAll,
    /// Umbra's figure is at most this.
    AtMost(f64),
    /// Umbra's figure is at least this.
    AtLeast(f64),
}

/// Umbra's own name.
pub const UMBRA: &str = "umbra";

/// The bounds of the machine: not competitors.
pub const BOUNDS: [&str; 6] = [
    "bound-p64",
    "bound-p64-2mib",
    "bound-p32",
    "bound-p32-2mib",
    "bound-chase",
    "bound-chase-2mib",
];

/// How a bound is called whose memory is in 2 MiB pages.
pub const LARGE_PAGES: &str = "-2mib";

/// How `name` is called in a target.
fn short(name: &str) -> &str {
    match name {
        "bound-p64" => "P64",
        "bound-p32" => "P32",
        "bound-chase" => "chase",
        "bound-p64-2mib" => "P64 in 2 MiB pages",
        "bound-p32-2mib" => "P32 in 2 MiB pages",
        "bound-chase-2mib" => "chase in 2 MiB pages",
        other => other,
    }
}

fn find<'a>(series: &'a [Series], peer: &str) -> Option<&'a Series> {
    series
        .iter()
        .find(|s| s.peer == peer && !s.samples.is_empty())
}

fn fastest<'a>(series: impl Iterator<Item = &'a Series>) -> Option<&'a Series> {
    series
        .filter(|s| !s.samples.is_empty())
        .min_by(|a, b| f64::total_cmp(&median(a), &median(b)))
}

fn median(series: &Series) -> f64 {
    Spread::of(&series.samples).median
}

impl Goal {
    fn text(self, unit: &str) -> String {
        match self {
            Self::Within(times, bound) => format!("≤ {times} × {}", short(bound)),
            Self::Faster(times, name, _) => format!("≥ {times} × {name}"),
            Self::AheadOfAll => "ahead of the best peer".into(),
            Self::AtMost(limit) => format!("≤ {limit} {unit}"),
            Self::AtLeast(limit) => format!("≥ {limit} {unit}"),
        }
    }

    /// Judges a row's series.
    #[must_use]
    pub fn judge(self, series: &[Series], unit: &str) -> Target {
        let unknown = |text| Target {
            text,
            reached: "–".into(),
            figures: "–".into(),
            verdict: Verdict::Unknown,
        };
        let text = self.text(unit);
        let Some(umbra) = find(series, UMBRA) else {
            return unknown(text);
        };
        let other = match self {
            Self::Within(_, bound) => {
                let large = format!("{bound}{LARGE_PAGES}");
                find(series, &large).or_else(|| find(series, bound))
            }
            Self::Faster(_, _, names) => fastest(names.iter().filter_map(|n| find(series, n))),
            Self::AheadOfAll => fastest(
                series
                    .iter()
                    .filter(|s| s.peer != UMBRA && !BOUNDS.contains(&s.peer)),
            ),
            Self::AtMost(_) | Self::AtLeast(_) => Some(umbra),
        };
        let Some(other) = other else {
            return unknown(text);
        };
        let (reached, enough) = match self {
            Self::Within(times, _) => {
                let ratio = Spread::of_ratio(&umbra.samples, &other.samples);
                (times_text(&ratio), ratio.median <= times)
            }
            Self::Faster(times, _, _) => {
                let ratio = Spread::of_ratio(&other.samples, &umbra.samples);
                (times_text(&ratio), ratio.median >= times)
            }
            Self::AheadOfAll => {
                let ratio = Spread::of_ratio(&other.samples, &umbra.samples);
                (times_text(&ratio), ratio.median > 1.0)
            }
            Self::AtMost(limit) => (number(median(umbra)), median(umbra) <= limit),
            Self::AtLeast(limit) => (number(median(umbra)), median(umbra) >= limit),
        };
        let ours = number(median(umbra));
        let figures = if other.peer == UMBRA {
            format!("{ours} {unit}")
        } else {
            format!(
                "{ours} against {} {unit} of {}",
                number(median(other)),
                short(other.peer)
            )
        };
        Target {
            text,
            reached,
            figures,
            verdict: if enough { Verdict::Ok } else { Verdict::Missed },
        }
    }
}

/// A ratio with its quartiles.
fn times_text(ratio: &Spread) -> String {
    format!(
        "{} ({} to {})",
        number(ratio.median),
        number(ratio.q1),
        number(ratio.q3)
    )
}

/// Three digits that mean something.
#[must_use]
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        let digits = format!("{:.0}", magnitude);
        let mut grouped = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{grouped}")
    } else if magnitude >= 100.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(peer: &'static str, samples: &[f64]) -> Series {
        Series {
            peer,
            samples: samples.to_vec(),
        }
    }

    fn run() -> Vec<Series> {
        vec![
            series("umbra", &[10.0, 20.0, 10.0]),
            series("papaya", &[30.0, 60.0, 30.0]),
            series("papaya-sized", &[15.0, 30.0, 15.0]),
            series("bound-p64", &[8.0, 16.0, 8.0]),
        ]
    }

    #[test]
    fn a_peer_is_taken_at_its_best() {
        let papaya = &["papaya", "papaya-sized"];
        let verdict = |times| {
            Goal::Faster(times, "papaya", papaya)
                .judge(&run(), "ns")
                .verdict
        };
        assert_eq!(verdict(1.5), Verdict::Ok);
        assert_eq!(
            verdict(1.6),
            Verdict::Missed,
            "3.0 is the slower setting's ratio"
        );
    }

    #[test]
    fn a_bound_is_no_competitor() {
        let target = Goal::AheadOfAll.judge(&run(), "ns");
        assert_eq!(target.verdict, Verdict::Ok);
        assert!(target.figures.ends_with("of papaya-sized"));
        assert_eq!(
            Goal::Within(1.2, "bound-p64").judge(&run(), "ns").verdict,
            Verdict::Missed
        );
        assert_eq!(
            Goal::Within(1.3, "bound-p64").judge(&run(), "ns").verdict,
            Verdict::Ok
        );
    }

    #[test]
    fn like_pages_are_compared_with_like() {
        let mut run = run();
        run.push(series("bound-p64-2mib", &[5.0, 10.0, 5.0]));
        let target = Goal::Within(1.3, "bound-p64").judge(&run, "ns");
        assert_eq!(target.verdict, Verdict::Missed, "2.0 × the one that counts");
        assert!(target.figures.ends_with("of P64 in 2 MiB pages"));
    }

    #[test]
    fn multiples_are_of_a_round_or_are_not() {
        // The machine was half as fast in two rounds of three, not the same two.
        let ours = series("umbra", &[10.0, 20.0, 20.0]);
        let theirs = series("papaya", &[40.0, 40.0, 20.0]);
        let times = theirs.times(&ours).expect("rounds together");
        assert_eq!((times.median, times.q1, times.q3), (2.0, 1.5, 3.0));
        assert_eq!(series("late", &[1.0]).times(&ours), None);
        assert_eq!(series("x", &[1.0]).times(&series("umbra", &[0.0])), None);
        assert_eq!(series("x", &[]).times(&series("umbra", &[])), None);
    }

    #[test]
    fn who_was_not_there_is_not_beaten() {
        let goal = Goal::Faster(1.0, "cds_lfht", &["cds_lfht"]);
        assert_eq!(goal.judge(&run(), "ns").verdict, Verdict::Unknown);
        assert_eq!(
            Goal::AtMost(1.0).judge(&[], "ns").verdict,
            Verdict::Unknown,
            "nor is Umbra"
        );
    }

    #[test]
    fn limits_hold_on_either_side() {
        assert_eq!(Goal::AtMost(10.0).judge(&run(), "ns").verdict, Verdict::Ok);
        assert_eq!(
            Goal::AtMost(9.9).judge(&run(), "ns").verdict,
            Verdict::Missed
        );
        assert_eq!(
            Goal::AtLeast(10.1).judge(&run(), "ns").verdict,
            Verdict::Missed
        );
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(-1234.0), "-1,234");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1.234), "1.23");
    }
}
