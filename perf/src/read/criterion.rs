//! criterion: `new/estimates.json` and `new/benchmark.json` of each benchmark
//! below `target/criterion`.
//!
//! criterion keeps the run before beside it (`base`) and the difference
//! (`change`); only `new` is a measurement of this run. The id is criterion's
//! full id, `group/function/parameter`.

use super::{Harvest, files};
use crate::error::{Error, Result};
use crate::record::{Benchmark, Functions, Measure, Source, Unit, Value};
use crate::store;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

#[derive(Deserialize)]
struct Estimates {
    mean: Estimate,
    median: Estimate,
    slope: Option<Estimate>,
}

#[derive(Deserialize)]
struct Estimate {
    confidence_interval: Interval,
    point_estimate: f64,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

#[derive(Deserialize)]
struct Id {
    full_id: String,
    throughput: Option<Throughput>,
}

#[derive(Deserialize)]
enum Throughput {
    Elements(u64),
    #[serde(untagged)]
    Other(serde::de::IgnoredAny),
}

impl Estimate {
    /// In nanoseconds, of one `share`-th of an iteration.
    fn measure(&self, share: f64) -> Measure {
        let Interval {
            lower_bound,
            upper_bound,
        } = self.confidence_interval;
        Measure {
            value: Value::Real(self.point_estimate / share),
            unit: Unit::Nanoseconds,
            interval: Some([lower_bound / share, upper_bound / share]),
        }
    }
}

/// Reads every estimate below `root`.
///
/// Times are of one iteration; where the benchmark says how many elements an
/// iteration handles, `median_per_element` is of one of them.
///
/// # Errors
/// [`Error::Read`] and [`Error::Parse`] for the first file that is not
/// criterion's; [`Error::Duplicate`].
pub fn read(root: &Path, harvest: &mut Harvest) -> Result<()> {
    for path in files(root, "estimates.json")? {
        let Some(folder) = path
            .parent()
            .filter(|p| p.file_name() == Some(OsStr::new("new")))
        else {
            continue;
        };
        let text = store::text(&path)?;
        let estimates: Estimates = serde_json::from_str(&text)
            .map_err(|error| Error::json(&path, &text, &error, "criterion's estimates"))?;
        let id_path = folder.join("benchmark.json");
        let text = store::text(&id_path)?;
        let id: Id = serde_json::from_str(&text).map_err(|error| {
            Error::json(
                &id_path,
                &text,
                &error,
                "criterion's description of a benchmark",
            )
        })?;
        harvest.add(id.full_id.clone(), benchmark(&estimates, &id), &path)?;
    }
    Ok(())
}

fn benchmark(estimates: &Estimates, id: &Id) -> Benchmark {
    let mut metrics = BTreeMap::from([
        ("mean".to_owned(), estimates.mean.measure(1.0)),
        ("median".to_owned(), estimates.median.measure(1.0)),
    ]);
    if let Some(slope) = &estimates.slope {
        metrics.insert("slope".to_owned(), slope.measure(1.0));
    }
    if let Some(Throughput::Elements(n @ 1..)) = id.throughput {
        metrics.insert(
            "median_per_element".to_owned(),
            estimates.median.measure(n as f64),
        );
    }
    Benchmark {
        source: Source::Criterion,
        metrics,
        functions: Functions::new(),
    }
}
