//! The history of every benchmark: its values from run to run.
//!
//! ```text
//! baselines/x.json, each committed version ─┐
//! a folder of records, by their time        ├─> runs, oldest first -> series
//! the record at hand                        ┘
//! ```
//!
//! git already keeps the baselines, so their history is the project's: there is
//! no other file to maintain. Runs of every kind of machine are in one list, in
//! whatever order they were recorded; each kind has a series of its own. Where the
//! compiler changed a series is broken: the step says nothing of the code.

use crate::compare;
use crate::compare::Aspect;
use crate::error::{Error, Result};
use crate::git::{self, Repository};
use crate::limits::Renames;
use crate::record::{Record, Source, Unit, Value};
use crate::store;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One run and where its record was found.
#[derive(Clone, Debug)]
pub struct Run {
    /// The file, with its commit if it is an older version.
    pub origin: String,
    /// The record.
    pub record: Record,
}

impl Run {
    /// What a plot writes below it: the commit that was measured.
    #[must_use]
    pub fn label(&self) -> String {
        let provenance = &self.record.provenance;
        let commit = provenance.commit.as_deref().map_or("?", git::short);
        format!("{commit}{}", if provenance.dirty { "+" } else { "" })
    }
}

/// Runs, oldest first, each once.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The runs.
    pub runs: Vec<Run>,
    /// Versions that could not be read, and why: what is committed stays.
    pub unreadable: Vec<String>,
}

/// One metric of one benchmark over the runs of one kind of machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The benchmark's latest id.
    pub id: String,
    /// Who measured it.
    pub source: Source,
    /// The metric.
    pub metric: String,
    /// What it counts.
    pub unit: Unit,
    /// The processor, as the latest of the runs knows it.
    pub processor: Option<String>,
    /// Its values.
    pub points: Vec<Point>,
}

/// One value of a series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The run's place in the history, from 0.
    pub run: usize,
    /// The commit, shortened.
    pub label: String,
    /// The value.
    pub value: Value,
    /// Made as the point before was, so that the step between them means
    /// something.
    pub comparable: bool,
}

impl Series {
    /// The last comparable step that is not nothing: the point after it, and the
    /// change in percent.
    #[must_use]
    pub fn last_step(&self) -> Option<(&Point, f64)> {
        let mut steps = self
            .points
            .windows(2)
            .rev()
            .filter(|pair| pair[1].comparable);
        steps.find_map(|pair| {
            let change = compare::percent(pair[0].value, pair[1].value);
            let change = change.unwrap_or(f64::INFINITY);
            (change != 0.0).then_some((&pair[1], change))
        })
    }
}

impl History {
    /// Adds every record in a folder, or one file.
    ///
    /// # Errors
    /// As [`store::load_all`].
    pub fn add_records(&mut self, place: &Path) -> Result<()> {
        for (path, record) in store::load_all(place)? {
            let origin = path.display().to_string();
            self.add(origin, record);
        }
        Ok(())
    }

    /// Adds every committed version of the baselines in a folder, or of one.
    ///
    /// # Errors
    /// [`Error::Command`] outside of a repository, [`Error::Read`].
    pub fn add_committed(&mut self, place: &Path) -> Result<()> {
        let place = place.canonicalize().map_err(|source| Error::Read {
            path: place.to_owned(),
            source,
        })?;
        let folder = match place.parent() {
            Some(parent) if place.is_file() => parent,
            _ => &*place,
        };
        let repository = Repository::around(folder)?;
        let files = if place.is_file() {
            vec![place.clone()]
        } else {
            store::json_files(&place)?
        };
        for file in files {
            for (commit, path, text) in repository.versions(&file)? {
                let origin = format!("{}:{path}", commit.short());
                match store::parse(Path::new(&origin), &text) {
                    Ok(record) => self.add(origin, record),
                    Err(error) => self.unreadable.push(error.to_string()),
                }
            }
        }
        Ok(())
    }

    /// Adds a run in its place; one that is there already is not added again.
    pub fn add(&mut self, origin: String, record: Record) {
        let time = |run: &Run| run.record.provenance.recorded_at;
        if self.runs.iter().any(|run| run.record == record) {
            return;
        }
        let run = Run { origin, record };
        let at = self.runs.partition_point(|other| time(other) <= time(&run));
        self.runs.insert(at, run);
    }

    /// The runs, if there are any.
    ///
    /// # Errors
    /// [`Error::Incomparable`] if the history is empty, with what could not be
    /// read.
    pub fn checked(self, places: &str) -> Result<Self> {
        if !self.runs.is_empty() {
            return Ok(self);
        }
        let unreadable: String = self.unreadable.iter().map(|e| format!("\n  {e}")).collect();
        Err(Error::Incomparable {
            reason: format!("the history of {places} is empty{unreadable}"),
            help: "commit a baseline (`umbra-perf record --out …`), or name a folder of records \
                   with --records"
                .to_owned(),
        })
    }

    /// The series of the metrics that `wanted` names, by source and name.
    #[must_use]
    pub fn series(&self, wanted: impl Fn(Source, &str) -> bool, renames: &Renames) -> Vec<Series> {
        let mut all: BTreeMap<(Source, String, String), Vec<Series>> = BTreeMap::new();
        for (index, run) in self.runs.iter().enumerate() {
            for (id, benchmark) in &run.record.benchmarks {
                let id = self.present_name(id, &run.record, renames);
                let metrics = benchmark.metrics.iter();
                for (metric, measure) in metrics.filter(|(m, _)| wanted(benchmark.source, m)) {
                    let key = (benchmark.source, id.clone(), metric.clone());
                    let lines = all.entry(key).or_default();
                    let (at, comparable) = self.line(lines, &run.record).unwrap_or_else(|| {
                        lines.push(Series {
                            id: id.clone(),
                            source: benchmark.source,
                            metric: metric.clone(),
                            unit: measure.unit,
                            processor: None,
                            points: Vec::new(),
                        });
                        (lines.len() - 1, false)
                    });
                    lines[at].processor = run.record.provenance.processor();
                    lines[at].points.push(Point {
                        run: index,
                        label: run.label(),
                        value: measure.value,
                        comparable,
                    });
                }
            }
        }
        all.into_values().flatten().collect()
    }

    /// Which of a metric's series a run goes on with, if any, and whether its point
    /// is comparable with the last one there.
    fn line(&self, lines: &[Series], record: &Record) -> Option<(usize, bool)> {
        let of_machine = lines.iter().enumerate().filter_map(|(at, series)| {
            let last = series.points.last()?.run;
            let differences = compare::mismatches(&self.runs[last].record, record);
            let machine = |aspect| matches!(aspect, Aspect::Cpu | Aspect::Target);
            let other = differences.iter().any(|m| machine(m.aspect));
            (!other).then_some((differences.is_empty(), last, at))
        });
        let (comparable, _, at) = of_machine.max()?;
        Some((at, comparable))
    }

    /// What a benchmark of a run is called in the latest one. That the run itself
    /// has, beside it, is another.
    fn present_name(&self, id: &str, run: &Record, renames: &Renames) -> String {
        let latest = self.runs.last().map(|run| &run.record.benchmarks);
        let there = |id: &str| latest.is_some_and(|all| all.contains_key(id));
        let name = renames.present(id, there);
        if run.benchmarks.contains_key(&name) {
            id.to_owned()
        } else {
            name
        }
    }
}

/// Bars for the values, the lowest to the highest; a gap where two neighbours
/// cannot be compared.
#[must_use]
pub fn sparkline(series: &Series) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values = series.points.iter().map(|p| p.value.as_f64());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    let mut line = String::new();
    for (i, point) in series.points.iter().enumerate() {
        if i > 0 && !point.comparable {
            line.push('·');
        }
        let height = match high - low {
            span if span > 0.0 => (point.value.as_f64() - low) / span * 7.0,
            _ => 3.0,
        };
        line.push(BARS[height.round() as usize]);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Benchmark, Functions, Measure, Provenance};

    fn record(time: u64, rustc: &str, benchmarks: &[(&str, u64)]) -> Record {
        let provenance = Provenance {
            rustc: Some(rustc.to_owned()),
            commit: Some(format!("{time:040}")),
            recorded_at: time,
            ..Provenance::default()
        };
        let benchmark = |n| Benchmark {
            source: Source::IaiCallgrind,
            metrics: BTreeMap::from([(
                "Ir".to_owned(),
                Measure {
                    value: Value::Count(n),
                    unit: Unit::Instructions,
                    interval: None,
                },
            )]),
            functions: Functions::new(),
        };
        let benchmarks = benchmarks
            .iter()
            .map(|&(id, n)| (id.to_owned(), benchmark(n)));
        Record::new(provenance, benchmarks.collect())
    }

    fn history(records: &[Record]) -> History {
        let mut history = History::default();
        for record in records {
            history.add("x.json".to_owned(), record.clone());
        }
        history
    }

    fn all(_: Source, _: &str) -> bool {
        true
    }

    #[test]
    fn runs_are_in_order_of_time_and_each_is_there_once() {
        let (a, b) = (record(1, "1", &[("x", 5)]), record(2, "1", &[("x", 6)]));
        let history = history(&[b.clone(), a, b]);
        let times: Vec<_> = history
            .runs
            .iter()
            .map(|r| r.record.provenance.recorded_at)
            .collect();
        assert_eq!(times, [1, 2]);
    }

    #[test]
    fn a_series_is_broken_where_the_compiler_changed() {
        let history = history(&[
            record(1, "1", &[("x", 100)]),
            record(2, "1", &[("x", 110)]),
            record(3, "2", &[("x", 90)]),
            record(4, "2", &[("x", 90)]),
        ]);
        let series = history.series(all, &Renames::default());
        let comparable: Vec<_> = series[0].points.iter().map(|p| p.comparable).collect();
        assert_eq!(comparable, [false, true, false, true]);
        assert_eq!(sparkline(&series[0]), "▅█·▁▁");
        let (point, change) = series[0].last_step().expect("a step");
        assert_eq!(
            (point.run, change),
            (1, 10.0),
            "not the step to the other compiler"
        );
    }

    #[test]
    fn a_renamed_benchmark_keeps_its_history() {
        let history = history(&[record(1, "1", &[("a", 1)]), record(2, "1", &[("c", 2)])]);
        assert_eq!(history.series(all, &Renames::default()).len(), 2);
        // A circle must not hang.
        for renames in [
            &[("a", "b"), ("b", "c")][..],
            &[("a", "b"), ("b", "c"), ("c", "a")],
        ] {
            let series = history.series(all, &Renames::of(renames));
            assert_eq!(
                (series.len(), &*series[0].id, series[0].points.len()),
                (1, "c", 2)
            );
        }
    }

    #[test]
    fn a_name_that_is_still_in_use_keeps_its_own_history() {
        let both = &[("a", 1), ("c", 2)];
        let runs = [record(1, "1", both), record(2, "1", both)];
        let then = [&runs[..], &[record(3, "1", &[("c", 2)])]].concat();
        for (runs, of_c) in [(&runs[..], 2), (&then, 3)] {
            let series = history(runs).series(all, &Renames::of(&[("a", "c")]));
            let ids: Vec<_> = series.iter().map(|s| (&*s.id, s.points.len())).collect();
            assert_eq!(ids, [("a", 2), ("c", of_c)]);
        }
    }

    #[test]
    fn each_machine_has_a_series_of_its_own_in_whatever_order_they_are_recorded() {
        let on = |cpu: &str, time, n| {
            let mut record = record(time, "1", &[("x", n)]);
            record.provenance.cpu = Some(cpu.to_owned());
            record
        };
        let history = history(&[
            on("A", 1, 100),
            on("B", 2, 200),
            on("A", 3, 110),
            on("B", 4, 200),
            on("A", 5, 110),
        ]);
        let series = history.series(all, &Renames::default());
        let [a, b] = &series[..] else {
            panic!("{series:?}")
        };
        let comparable = |s: &Series| s.points.iter().map(|p| p.comparable).collect::<Vec<_>>();
        assert_eq!(
            (a.processor.as_deref(), comparable(a)),
            (Some("A"), vec![false, true, true])
        );
        assert_eq!(
            (b.processor.as_deref(), comparable(b)),
            (Some("B"), vec![false, true])
        );
        assert_eq!(
            a.last_step().map(|(p, change)| (p.run, change)),
            Some((2, 10.0))
        );
        assert_eq!(b.last_step(), None);
    }

    #[test]
    fn an_empty_history_is_an_error_that_says_what_could_not_be_read() {
        let mut history = History::default();
        history
            .unreadable
            .push("abc:x.json:1:1: not JSON".to_owned());
        let error = history.checked("baselines").expect_err("empty").to_string();
        assert!(
            error.contains("the history of baselines is empty"),
            "{error}"
        );
        assert!(error.contains("abc:x.json:1:1"), "{error}");
    }
}
