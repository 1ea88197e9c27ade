//! Two records side by side: what moved, what is new, what is gone, and whether
//! the two may be compared at all.

use crate::limits::Renames;
use crate::record::{Functions, Measure, Provenance, Record, Source, Unit, Value};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

/// Something in which two records differ that makes counts incomparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// The compiler.
    Rustc,
    /// The target triple.
    Target,
    /// The processor: its model, and its numbers where both records have them.
    Cpu,
    /// The version of valgrind.
    Valgrind,
    /// The version of iai-callgrind's summaries.
    IaiCallgrind,
    /// The virtual machine's kernel, with the compiler that built it.
    VmKernel,
    /// The virtual machine.
    VmMachine,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustc => "rustc",
            Self::Target => "target",
            Self::Cpu => "cpu",
            Self::Valgrind => "valgrind",
            Self::IaiCallgrind => "iai-callgrind",
            Self::VmKernel => "vm-kernel",
            Self::VmMachine => "vm-machine",
        })
    }
}

/// One such difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// In what they differ.
    pub aspect: Aspect,
    /// The old record's.
    pub old: Option<String>,
    /// The new record's.
    pub new: Option<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |side: &Option<String>| side.clone().unwrap_or_else(|| "unknown".to_owned());
        write!(
            f,
            "{}: {} before, {} now",
            self.aspect,
            name(&self.old),
            name(&self.new)
        )
    }
}

/// In what two records were made otherwise, so that counts cannot be compared.
///
/// valgrind plays a part only where iai-callgrind measured something, and a virtual
/// machine only where both have figures of one.
#[must_use]
pub fn mismatches(old: &Record, new: &Record) -> Vec<Mismatch> {
    let mut all = aspects(old, new);
    all.retain(|aspect| aspect.old != aspect.new);
    all
}

/// Whether the processors agree in their numbers, too: records that were made
/// before there were any have only the name.
pub(crate) fn same_numbers(old: &Record, new: &Record) -> bool {
    old.provenance.cpu_id == new.provenance.cpu_id
}

/// What matters to counts and neither of two records knows: it may differ.
#[must_use]
pub fn unknown(old: &Record, new: &Record) -> Vec<Mismatch> {
    let mut all = aspects(old, new);
    all.retain(|aspect| aspect.old.is_none() && aspect.new.is_none());
    all
}

/// Both records' provenance, aspect by aspect, as far as it matters to counts.
fn aspects(old: &Record, new: &Record) -> Vec<Mismatch> {
    let (before, now) = (&old.provenance, &new.provenance);
    let of = |aspect, field: fn(&Provenance) -> Option<String>| Mismatch {
        aspect,
        old: field(before),
        new: field(now),
    };
    // A record made before there were numbers is known by the name alone.
    let numbers = before.cpu_id.is_some() && now.cpu_id.is_some();
    let mut all = vec![
        of(Aspect::Rustc, |p| p.rustc.clone()),
        of(Aspect::Target, |p| p.target.clone()),
        if numbers {
            of(Aspect::Cpu, Provenance::processor)
        } else {
            of(Aspect::Cpu, |p| p.cpu.clone())
        },
    ];
    if before.iai_callgrind_summary.is_some() || now.iai_callgrind_summary.is_some() {
        all.push(of(Aspect::Valgrind, |p| p.valgrind.clone()));
        let summary = |p: &Provenance| p.iai_callgrind_summary.clone();
        all.push(of(Aspect::IaiCallgrind, summary));
    }
    if old.has(Source::Vm) && new.has(Source::Vm) {
        all.push(of(Aspect::VmKernel, |p| p.vm_kernel.clone()));
        all.push(of(Aspect::VmMachine, |p| p.vm_machine.clone()));
    }
    all
}

/// One metric of one benchmark in both records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The benchmark, by its id in the new record.
    pub id: String,
    /// Who measured it.
    pub source: Source,
    /// The metric.
    pub metric: String,
    /// What it counts.
    pub unit: Unit,
    /// The old value.
    pub old: Value,
    /// The new value.
    pub new: Value,
    /// The change in percent of the old value. `None` if that is 0 and the new
    /// one is not: no percentage says how much worse that is.
    pub percent: Option<f64>,
    /// For estimates: whether their intervals overlap, so that the change may
    /// be noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<bool>,
}

impl Row {
    /// Whether the value changed at all.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.percent != Some(0.0)
    }
}

/// What one function cost by itself in one benchmark of both records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The benchmark, by its id in the new record.
    pub id: String,
    /// The function.
    pub function: String,
    /// The source file of these instructions: another one than the function's
    /// for what was inlined into it.
    pub file: String,
    /// Instructions before; 0 if there were none, or hardly any.
    pub old: u64,
    /// Instructions now.
    pub new: u64,
}

impl Moved {
    /// Instructions more than before.
    #[must_use]
    pub const fn change(&self) -> i128 {
        // Two counts of a file that somebody wrote may be further apart than 2^63.
        self.new as i128 - self.old as i128
    }
}

/// What moved from one list of functions to another, the most first. Nothing is
/// said if one of them is empty: then nobody looked.
fn moved(id: &str, old: &Functions, new: &Functions) -> Vec<Moved> {
    if old.is_empty() || new.is_empty() {
        return Vec::new();
    }
    let places = |functions: &Functions| -> BTreeSet<(String, String)> {
        let files = functions.iter();
        files
            .flat_map(|(function, files)| files.keys().map(|f| (function.clone(), f.clone())))
            .collect()
    };
    let cost = |functions: &Functions, (function, file): &(String, String)| {
        let files = functions.get(function);
        files
            .and_then(|files| files.get(file))
            .copied()
            .unwrap_or(0)
    };
    let all: BTreeSet<_> = places(old).union(&places(new)).cloned().collect();
    let mut moved: Vec<_> = all
        .into_iter()
        .map(|place| Moved {
            id: id.to_owned(),
            old: cost(old, &place),
            new: cost(new, &place),
            function: place.0,
            file: place.1,
        })
        .filter(|moved| moved.change() != 0)
        .collect();
    moved.sort_by_key(|moved| Reverse(moved.change().unsigned_abs()));
    moved
}

/// Two records side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What the old one was measured by.
    pub old: Provenance,
    /// What the new one was measured by.
    pub new: Provenance,
    /// Why they cannot be compared, if so. The rows are there all the same.
    pub mismatches: Vec<Mismatch>,
    /// Every metric that both have in one unit, by benchmark and metric.
    pub rows: Vec<Row>,
    /// The functions that moved, by benchmark and the most first.
    pub functions: Vec<Moved>,
    /// Benchmarks that only the new record has.
    pub added: Vec<String>,
    /// Benchmarks that only the old record has, or whose present name is another's
    /// of the old record; of those that both have, counts of
    /// instructions that the new one lacks, or that one of them has in another unit.
    pub gone: Vec<String>,
}

/// The change from `old` to `new` in percent of `old`; see [`Row::percent`].
pub(crate) fn percent(old: Value, new: Value) -> Option<f64> {
    let (old, new) = (old.as_f64(), new.as_f64());
    if old == new {
        Some(0.0)
    } else if old == 0.0 {
        None
    } else {
        Some((new - old) / old.abs() * 100.0)
    }
}

/// Compares two records, each benchmark of the old one with that of its present
/// name.
#[must_use]
pub fn compare(old: &Record, new: &Record, renames: &Renames) -> Comparison {
    let mut comparison = Comparison {
        old: old.provenance.clone(),
        new: new.provenance.clone(),
        mismatches: mismatches(old, new),
        rows: Vec::new(),
        functions: Vec::new(),
        added: new.benchmarks.keys().cloned().collect(),
        gone: Vec::new(),
    };
    let mut taken = BTreeSet::new();
    for (old_id, before) in &old.benchmarks {
        let present = renames.present(old_id, |id| new.benchmarks.contains_key(id));
        let id = present.as_str();
        // Who still has the name is compared by it, and nobody else.
        let other = id != old_id && old.benchmarks.contains_key(id);
        let after = new.benchmarks.get(id).filter(|_| !other);
        let Some(after) = after.filter(|_| taken.insert(present.clone())) else {
            comparison.gone.push(old_id.clone());
            continue;
        };
        comparison.added.retain(|added| added != id);
        for (metric, was) in &before.metrics {
            let is = after.metrics.get(metric);
            let Some(is) = is.filter(|is| is.unit == was.unit) else {
                // A gated count that is no longer made, or not in the unit that
                // it was made in, is as gone as its benchmark.
                let gated = |measure: &&Measure| measure.unit == Unit::Instructions;
                if [Some(was), is].iter().flatten().any(gated) {
                    comparison.gone.push(format!("{id} ({metric})"));
                }
                continue;
            };
            let overlap = was.interval.zip(is.interval);
            comparison.rows.push(Row {
                id: id.to_owned(),
                source: after.source,
                metric: metric.clone(),
                unit: is.unit,
                old: was.value,
                new: is.value,
                percent: percent(was.value, is.value),
                overlap: overlap.map(|(a, b)| a[0] <= b[1] && b[0] <= a[1]),
            });
        }
        let functions = moved(id, &before.functions, &after.functions);
        comparison.functions.extend(functions);
    }
    comparison
        .rows
        .sort_by(|a, b| (&a.id, &a.metric).cmp(&(&b.id, &b.metric)));
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Benchmark;
    use std::collections::BTreeMap;

    fn record(benchmarks: &[(&str, u64)]) -> Record {
        let benchmark = |n| {
            let measure = Measure {
                value: Value::Count(n),
                unit: Unit::Instructions,
                interval: None,
            };
            let metrics = BTreeMap::from([("Ir".to_owned(), measure)]);
            Benchmark {
                source: Source::IaiCallgrind,
                metrics,
                functions: Functions::new(),
            }
        };
        let benchmarks = benchmarks
            .iter()
            .map(|&(id, n)| (id.to_owned(), benchmark(n)));
        Record::new(Provenance::default(), benchmarks.collect())
    }

    #[test]
    fn changes_are_relative_to_the_old_value() {
        let comparison = compare(
            &record(&[("a", 200), ("z", 0)]),
            &record(&[("a", 150), ("z", 1)]),
            &Renames::default(),
        );
        assert_eq!(comparison.rows[0].percent, Some(-25.0));
        assert_eq!(
            comparison.rows[1].percent, None,
            "nothing is no basis for a percentage"
        );
        assert!(comparison.rows[1].moved());
    }

    #[test]
    fn new_gone_and_renamed_benchmarks_are_told_apart() {
        let (old, new) = (
            record(&[("a", 1), ("b", 1)]),
            record(&[("b2", 1), ("c", 1)]),
        );
        let plain = compare(&old, &new, &Renames::default());
        assert_eq!(plain.gone, ["a", "b"]);
        assert_eq!(plain.added, ["b2", "c"]);
        let renamed = compare(&old, &new, &Renames::of(&[("b", "b2")]));
        assert_eq!(renamed.gone, ["a"]);
        assert_eq!(renamed.added, ["c"]);
        assert_eq!(renamed.rows.len(), 1);
    }

    #[test]
    fn a_rename_is_followed_and_one_of_a_name_in_use_is_not() {
        let chain = Renames::of(&[("a", "b"), ("b", "c")]);
        let ids = |comparison: &Comparison| -> Vec<_> {
            let rows = comparison.rows.iter();
            rows.map(|row| (row.id.clone(), row.old)).collect()
        };
        let row = |id: &str, old| (id.to_owned(), Value::Count(old));
        let followed = compare(&record(&[("a", 1)]), &record(&[("c", 1)]), &chain);
        assert_eq!(ids(&followed), [row("c", 1)]);
        // Another benchmark has the old name by now, and is judged by itself.
        let both = record(&[("a", 1), ("b", 2)]);
        let used = compare(&both, &both, &chain);
        assert_eq!(ids(&used), [row("a", 1), row("b", 2)]);
        assert_eq!((used.gone.len(), used.added.len()), (0, 0));
        // Two of the old ones cannot both be the new one: nobody knows which is.
        let one = compare(&both, &record(&[("c", 3)]), &chain);
        assert_eq!(one.gone, ["b"]);
        let one = compare(&both, &record(&[("b", 3)]), &chain);
        assert_eq!(
            (ids(&one), &*one.gone),
            (vec![row("b", 2)], &["a".to_owned()][..])
        );
    }

    #[test]
    fn a_count_in_another_unit_is_gone_and_not_compared() {
        let counted = record(&[("a", 10)]);
        let mut timed = counted.clone();
        let benchmark = timed.benchmarks.get_mut("a").expect("it");
        benchmark.metrics.get_mut("Ir").expect("it").unit = Unit::Events;
        for (old, new) in [(&counted, &timed), (&timed, &counted)] {
            let comparison = compare(old, new, &Renames::default());
            assert_eq!(comparison.gone, ["a (Ir)"]);
            assert_eq!(comparison.rows, []);
        }
    }

    #[test]
    fn functions_that_moved_are_listed_the_most_first() {
        let functions = |costs: &[(&str, &str, u64)]| {
            let mut functions = Functions::new();
            for &(function, file, n) in costs {
                let files = functions.entry(function.to_owned()).or_default();
                files.insert(file.to_owned(), n);
            }
            functions
        };
        let old = functions(&[("f", "a.rs", 10), ("f", "b.rs", 5), ("gone", "a.rs", 7)]);
        let new = functions(&[("f", "a.rs", 10), ("f", "b.rs", 9), ("new", "a.rs", 1)]);
        let list: Vec<_> = moved("x", &old, &new)
            .into_iter()
            .map(|m| (m.function.clone(), m.file.clone(), m.change()))
            .collect();
        let of = |function: &str, file: &str, n| (function.to_owned(), file.to_owned(), n);
        assert_eq!(
            list,
            [
                of("gone", "a.rs", -7),
                of("f", "b.rs", 4),
                of("new", "a.rs", 1)
            ]
        );
        let (least, most) = (
            functions(&[("f", "a.rs", 0)]),
            functions(&[("f", "a.rs", u64::MAX)]),
        );
        let changes = [(&least, &most), (&most, &least)].map(|(a, b)| moved("x", a, b)[0].change());
        assert_eq!(changes, [i128::from(u64::MAX), -i128::from(u64::MAX)]);
        assert_eq!(
            moved("x", &Functions::new(), &new),
            [],
            "nobody looked before"
        );
    }

    fn made(change: impl FnOnce(&mut Provenance)) -> Record {
        let mut record = record(&[("a", 1)]);
        change(&mut record.provenance);
        record
    }

    #[test]
    fn valgrind_matters_only_to_counts() {
        let with = |valgrind: &str, iai: Option<&str>| {
            made(|p| {
                p.valgrind = Some(valgrind.to_owned());
                p.iai_callgrind_summary = iai.map(str::to_owned);
            })
        };
        assert_eq!(mismatches(&with("1", None), &with("2", None)), []);
        let counted = mismatches(&with("1", Some("6")), &with("2", Some("6")));
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].to_string(), "valgrind: 1 before, 2 now");
    }

    #[test]
    fn a_processor_is_told_by_its_numbers_where_both_have_them() {
        let cpu = |name: &str, id: Option<&str>| {
            made(|p| {
                p.cpu = Some(name.to_owned());
                p.cpu_id = id.map(str::to_owned);
            })
        };
        let zen3 = cpu("AMD EPYC", Some("family 25"));
        let other = mismatches(&zen3, &cpu("AMD EPYC", Some("family 26")));
        assert_eq!(
            other[0].to_string(),
            "cpu: AMD EPYC (family 25) before, AMD EPYC (family 26) now"
        );
        // As the baselines are that were committed before.
        let older = cpu("AMD EPYC", None);
        assert_eq!(mismatches(&older, &zen3), []);
        assert_eq!(mismatches(&zen3, &older), []);
        assert_eq!(mismatches(&older, &cpu("Xeon", Some("family 6"))).len(), 1);
    }

    #[test]
    fn a_virtual_machine_matters_where_both_have_one() {
        let vm = |kernel: Option<&str>| {
            let mut record = made(|p| {
                p.vm_kernel = kernel.map(str::to_owned);
                p.vm_machine = Some("QEMU".to_owned());
            });
            for benchmark in record.benchmarks.values_mut() {
                benchmark.source = Source::Vm;
            }
            record
        };
        let six = vm(Some("6.1"));
        let other = mismatches(&six, &vm(Some("6.12")));
        assert_eq!(other.len(), 1);
        assert_eq!(other[0].to_string(), "vm-kernel: 6.1 before, 6.12 now");
        assert_eq!(mismatches(&vm(None), &six).len(), 1, "it may be another");
        assert_eq!(mismatches(&six, &record(&[("a", 1)])), []);
        let is_kernel = |m: &Mismatch| m.aspect == Aspect::VmKernel;
        assert!(unknown(&vm(None), &vm(None)).iter().any(is_kernel));
    }
}
