//! Figures of a kernel, as rows of the report.
//!
//! A guest counts the instructions of each operation (`kmod/tests/bench_main.c`,
//! in a virtual machine whose clock counts them) and says them in messages.
//! `cargo xtask bench` writes these as a list of JSON objects, `name`,
//! `n`, `value` and `unit`; here each becomes a contestant's figure in a row.

use super::Error;
use crate::compare::model::{Figure, Row, Target, Verdict};
use crate::compare::stats::Spread;
use crate::compare::targets::{Goal, Series, UMBRA, number};
use serde::Deserialize;

/// The kernel's own shadow variables.
const STOCK: &str = "klp_shadow";

/// A figure as the guest says it.
#[derive(Clone, Debug, Deserialize)]
pub struct Said {
    /// What was measured.
    pub name: String,
    /// At how many variables.
    pub n: u64,
    /// The value.
    pub value: f64,
    /// Of what; `insn` is instructions.
    pub unit: String,
}

/// A row that is made of two of the guest's figures, or of one.
struct Pair {
    id: &'static str,
    title: &'static str,
    ours: &'static str,
    stock: Option<&'static str>,
    most: Option<f64>,
}

const fn pair(
    id: &'static str,
    title: &'static str,
    ours: &'static str,
    stock: Option<&'static str>,
    most: Option<f64>,
) -> Pair {
    Pair {
        id,
        title,
        ours,
        stock,
        most,
    }
}

const PAIRS: &[Pair] = &[
    pair(
        "kernel-get-hit",
        "in the kernel: get, hit, typed handle",
        "umbra_get hit",
        Some("klp_shadow_get hit"),
        Some(40.0),
    ),
    pair(
        "kernel-get-miss",
        "in the kernel: get, miss, typed handle",
        "umbra_get miss",
        Some("klp_shadow_get miss"),
        Some(25.0),
    ),
    pair(
        "kernel-shadow-get-hit",
        "in the kernel: get, hit, by object and id",
        "umbra_shadow_get hit",
        Some("klp_shadow_get hit"),
        Some(55.0),
    ),
    pair(
        "kernel-shadow-get-miss",
        "in the kernel: get, miss, by object and id",
        "umbra_shadow_get miss",
        Some("klp_shadow_get miss"),
        Some(40.0),
    ),
    pair(
        "kernel-alloc",
        "in the kernel: alloc of 8 bytes",
        "umbra_alloc",
        Some("klp_shadow_alloc"),
        Some(450.0),
    ),
    pair(
        "kernel-free-all",
        "in the kernel: free_all until nobody finds one, each",
        "umbra_free_all until invisible, each",
        Some("klp_shadow_free_all, each"),
        None,
    ),
    pair(
        "kernel-hook-closed",
        "in the kernel: added to a call by a hook, gate closed",
        "hook, closed",
        None,
        Some(8.0),
    ),
    pair(
        "kernel-hook-miss",
        "in the kernel: added to a call by a hook, open, miss",
        "hook, open, miss",
        None,
        Some(45.0),
    ),
    pair(
        "kernel-hook-hit",
        "in the kernel: added to a call by a hook, open, hit and diverted",
        "hook, open, hit and diverted",
        None,
        Some(60.0),
    ),
];

const UNIT: &str = "instructions";

/// How much a lookup may cost more in a large table than in a small one.
const FLAT: f64 = 1.1;

/// The rows of what a guest said.
///
/// # Errors
/// [`Error::Guest`] for a list in which nothing is known, or for a figure that
/// is no number.
pub fn rows(said: &[Said]) -> Result<Vec<Row>, Error> {
    let value = |name: &str, n: u64| {
        let same = |s: &&Said| s.name == name && s.n == n && s.unit == "insn";
        said.iter().find(same).map(|s| s.value)
    };
    if let Some(bad) = said.iter().find(|s| !s.value.is_finite()) {
        return Err(Error::Guest(format!("{:?} is not a number", bad.name)));
    }
    let mut rows = Vec::new();
    for pair in PAIRS {
        let mut sizes: Vec<_> = said
            .iter()
            .filter(|s| s.name == pair.ours)
            .map(|s| s.n)
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        let first = sizes.first().and_then(|&n| value(pair.ours, n));
        for &n in &sizes {
            let Some(ours) = value(pair.ours, n) else {
                continue;
            };
            let stock = pair.stock.and_then(|name| value(name, n));
            let mut row = pair.row(n, ours, stock);
            if pair.id.contains("get") && Some(&n) != sizes.first() {
                row.targets.extend(first.map(|small| flat(small, ours)));
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Err(Error::Guest("no figure in it is known".into()));
    }
    Ok(rows)
}

/// The target that size does not matter.
fn flat(small: f64, large: f64) -> Target {
    let ratio = large / small;
    Target {
        text: format!("≤ {FLAT} × the smallest table's"),
        reached: number(ratio),
        figures: format!("{} against {} {UNIT}", number(large), number(small)),
        verdict: if ratio <= FLAT {
            Verdict::Ok
        } else {
            Verdict::Missed
        },
    }
}

impl Pair {
    fn row(&self, n: u64, ours: f64, stock: Option<f64>) -> Row {
        let size = usize::try_from(n).unwrap_or(usize::MAX);
        let mut series = vec![Series {
            peer: UMBRA,
            samples: vec![ours],
        }];
        series.extend(stock.map(|value| Series {
            peer: STOCK,
            samples: vec![value],
        }));
        let goal = self.most.map(Goal::AtMost);
        Row {
            id: format!(
                "{}-{}",
                self.id,
                crate::compare::rows::size_text(size).to_lowercase()
            ),
            title: self.title.into(),
            size,
            unit: UNIT.into(),
            figures: series
                .iter()
                .map(|s| Figure {
                    peer: s.peer.into(),
                    spread: Spread::of(&s.samples),
                    times: None,
                })
                .collect(),
            targets: goal.iter().map(|g| g.judge(&series, UNIT)).collect(),
            ..Row::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, n: u64, value: f64) -> Said {
        Said {
            name: name.into(),
            n,
            value,
            unit: "insn".into(),
        }
    }

    #[test]
    fn figures_become_rows_with_targets_and_the_kernels_own_beside_them() {
        let list = [
            said("umbra_get hit", 1000, 30.0),
            said("klp_shadow_get hit", 1000, 44.0),
            said("umbra_get hit", 100_000, 41.0),
            said("hook, closed", 1000, 7.0),
            said("something new", 1000, 1.0),
        ];
        let rows = rows(&list).expect("rows");
        let ids: Vec<_> = rows.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "kernel-get-hit-1k",
                "kernel-get-hit-100k",
                "kernel-hook-closed-1k"
            ]
        );
        assert_eq!(rows[0].figures[1].peer, STOCK);
        let verdicts = |row: &Row| row.targets.iter().map(|t| t.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(&rows[0]), [Verdict::Ok]);
        let missed = [Verdict::Missed, Verdict::Missed];
        assert_eq!(verdicts(&rows[1]), missed, "too many, and 1.37 times");
        assert_eq!(rows[1].figures.len(), 1, "klp was not said at that size");
    }

    #[test]
    fn what_is_no_guests_list_is_refused() {
        let told = |list: &[Said]| rows(list).expect_err("refused").to_string();
        assert!(told(&[]).contains("no figure"));
        assert!(told(&[said("else", 1, 1.0)]).contains("no figure"));
        assert!(told(&[said("umbra_alloc", 1, f64::NAN)]).contains("umbra_alloc"));
    }
}
