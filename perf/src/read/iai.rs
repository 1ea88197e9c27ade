//! iai-callgrind: the `summary.json` of each benchmark, format version 6.
//!
//! iai-callgrind 0.15 and 0.16 write them below `target/iai` when they are asked
//! to with `--save-summary=json`. Only what is needed is described here, and
//! unknown fields are passed over: the format promises to change its version
//! whenever it breaks a reader.
//!
//! Without that option a run leaves the summary of the run before, and writes the
//! tools' own output anew. So a summary must agree with the output beside it.
//!
//! A benchmark's id is its module path and, if it has one, the id of its case:
//! `insn_get::get::umbra_hit::n1k`.

use super::{Harvest, callgrind, files};
use crate::error::{Error, Result};
use crate::record::{Benchmark, Functions, Measure, Source, Unit, Value, metrics};
use crate::store;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The version of the format that is understood.
const VERSION: &str = "6";

#[derive(Deserialize)]
struct Head {
    version: String,
}

#[derive(Deserialize)]
struct Summary {
    project_root: PathBuf,
    module_path: String,
    id: Option<String>,
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    tool: String,
    #[serde(default)]
    out_paths: Vec<PathBuf>,
    summaries: Data,
}

#[derive(Deserialize)]
struct Data {
    total: Total,
}

#[derive(Deserialize)]
struct Total {
    summary: Metrics,
}

#[derive(Deserialize)]
enum Metrics {
    None,
    ErrorTool(IgnoredAny),
    Dhat(IgnoredAny),
    Callgrind(#[serde(deserialize_with = "metrics")] BTreeMap<String, Event>),
    Cachegrind(#[serde(deserialize_with = "metrics")] BTreeMap<String, Event>),
}

#[derive(Deserialize)]
struct Event {
    metrics: NewAndOld,
}

/// The value of this run and that of the run before, where there was one.
#[derive(Deserialize)]
enum NewAndOld {
    Both(Metric, IgnoredAny),
    Left(Metric),
    Right(IgnoredAny),
}

#[derive(Clone, Copy, Deserialize)]
enum Metric {
    Int(u64),
    Float(f64),
}

/// Reads every summary below `root`.
///
/// # Errors
/// [`Error::Read`], [`Error::Parse`] and [`Error::Content`] for the first file
/// that is not a summary of a known version with counted events, or of another run
/// than the tools' output beside it; [`Error::Duplicate`].
pub fn read(root: &Path, harvest: &mut Harvest) -> Result<()> {
    for path in files(root, "summary.json")? {
        let (id, benchmark) = parse(&path, &store::text(&path)?)?;
        harvest.add(id, benchmark, &path)?;
        harvest.iai_version = Some(VERSION.to_owned());
    }
    Ok(())
}

fn parse(path: &Path, text: &str) -> Result<(String, Benchmark)> {
    let what = "iai-callgrind's summary of a benchmark";
    let json = |error: serde_json::Error| Error::json(path, text, &error, what);
    let content = |problem: String, help: &str| Error::Content {
        path: path.to_owned(),
        problem,
        help: help.to_owned(),
    };
    let head: Head = serde_json::from_str(text).map_err(json)?;
    if head.version != VERSION {
        return Err(content(
            format!(
                "a summary of version {}; this build reads {VERSION}",
                head.version
            ),
            "use iai-callgrind and iai-callgrind-runner 0.16.1",
        ));
    }
    let summary: Summary = serde_json::from_str(text).map_err(json)?;
    let id = match summary.id {
        Some(case) => format!("{}::{case}", summary.module_path),
        None => summary.module_path,
    };
    let functions = functions(path, &summary.profiles, &summary.project_root)?;
    let events = summary
        .profiles
        .into_iter()
        .find_map(|p| match p.summaries.total.summary {
            Metrics::Callgrind(events) | Metrics::Cachegrind(events) => Some(events),
            Metrics::None | Metrics::ErrorTool(_) | Metrics::Dhat(_) => None,
        });
    let Some(events) = events else {
        return Err(content(
            format!("benchmark `{id}` was run without callgrind and cachegrind"),
            "let one of them be among the benchmark's tools",
        ));
    };
    let metrics: BTreeMap<_, _> = events
        .into_iter()
        .filter(|(name, _)| !is_derived(name))
        .filter_map(|(name, event)| {
            let (NewAndOld::Both(new, _) | NewAndOld::Left(new)) = event.metrics else {
                return None;
            };
            let value = match new {
                Metric::Int(n) => Value::Count(n),
                Metric::Float(x) => Value::Real(x),
            };
            let unit = unit(&name);
            Some((
                name,
                Measure {
                    value,
                    unit,
                    interval: None,
                },
            ))
        })
        .collect();
    if metrics.is_empty() {
        return Err(content(
            format!("benchmark `{id}` has no counts of this run, only of the one before"),
            "run the benchmarks again",
        ));
    }
    Ok((
        id,
        Benchmark {
            source: Source::IaiCallgrind,
            metrics,
            functions,
        },
    ))
}

impl Profile {
    /// The instructions of this run, by the summary.
    fn instructions(&self) -> Option<u64> {
        let (Metrics::Callgrind(events) | Metrics::Cachegrind(events)) =
            &self.summaries.total.summary
        else {
            return None;
        };
        match events.get("Ir")?.metrics {
            NewAndOld::Both(Metric::Int(n), _) | NewAndOld::Left(Metric::Int(n)) => Some(n),
            _ => None,
        }
    }
}

/// What the functions cost, from callgrind's output beside the summary. The
/// summary names it by its path on the machine that made it; the folder may have
/// been copied since, and without the output there is just less to tell.
///
/// # Errors
/// [`Error::Content`] if the summary is of another run than the output.
fn functions(summary: &Path, profiles: &[Profile], root: &Path) -> Result<Functions> {
    let two_runs = |problem: String| Error::Content {
        path: summary.to_owned(),
        problem,
        help: "the benchmark ran again and wrote no summary: delete the folder and run it with \
               `-- --save-summary=json`"
            .to_owned(),
    };
    let mut functions = Functions::new();
    let mut known = Vec::new();
    for profile in profiles {
        let names = profile.out_paths.iter().filter_map(|path| path.file_name());
        let outputs = names.map(|name| summary.with_file_name(name));
        let outputs: Vec<_> = outputs.filter(|path| path.exists()).collect();
        let mut sum: u64 = 0;
        for path in &outputs {
            let total = match &*profile.tool {
                "Callgrind" => callgrind::read(path, "Ir", root, &mut functions)?,
                "Cachegrind" => callgrind::summary(path, "Ir")?,
                _ => continue,
            };
            sum = sum.saturating_add(total);
        }
        let said = profile.instructions().filter(|_| !outputs.is_empty());
        if let Some(said) = said.filter(|&said| said != sum) {
            return Err(two_runs(format!(
                "it says {said} instructions, the output beside it {sum}: they are of two runs"
            )));
        }
        known.extend(outputs);
    }
    // Another number of threads, say, has output of other names.
    let newer = unknown_and_newer(summary, &known).map_err(|source| Error::Read {
        path: summary.to_owned(),
        source,
    })?;
    match newer {
        Some(name) => Err(two_runs(format!("{name} is of a later run"))),
        None => Ok(functions),
    }
}

/// Output of valgrind's beside a summary that is newer and not its own.
fn unknown_and_newer(summary: &Path, own: &[PathBuf]) -> io::Result<Option<String>> {
    let written = summary.metadata()?.modified()?;
    for entry in summary.parent().unwrap_or(Path::new(".")).read_dir()? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let tool = ["callgrind.", "cachegrind."];
        if tool.iter().any(|tool| name.starts_with(tool))
            && name.ends_with(".out")
            && !own.contains(&path)
            && path.metadata()?.modified()? > written
        {
            return Ok(Some(name.into_owned()));
        }
    }
    Ok(None)
}

/// Whether an event is computed from others that are recorded: a committed
/// record should change in as few lines as what it measures. The estimated
/// cycles stay, being the one figure that weighs all others.
fn is_derived(event: &str) -> bool {
    event.ends_with("Rate") || matches!(event, "L1hits" | "LLhits" | "RamHits" | "TotalRW")
}

fn unit(event: &str) -> Unit {
    match event {
        "Ir" => Unit::Instructions,
        "EstimatedCycles" => Unit::Cycles,
        _ => Unit::Events,
    }
}
