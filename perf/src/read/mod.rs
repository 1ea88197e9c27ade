//! Readers of what benchmark tools leave behind.
//!
//! Each reader turns files into benchmarks and adds them to a [`Harvest`],
//! which refuses an id that it already has: a sum over stale and fresh output
//! must not pass for a measurement.

pub mod callgrind;
pub mod criterion;
pub mod iai;
pub mod vm;

use crate::error::{Error, Result};
use crate::record::Benchmark;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use walkdir::WalkDir;

/// Everything that was found so far.
#[derive(Debug, Default)]
pub struct Harvest {
    found: BTreeMap<String, (Benchmark, PathBuf)>,
    iai_version: Option<String>,
}

impl Harvest {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many benchmarks were found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// The version of iai-callgrind's summaries, if there were any.
    #[must_use]
    pub fn iai_version(&self) -> Option<&str> {
        self.iai_version.as_deref()
    }

    /// The benchmarks by id.
    #[must_use]
    pub fn into_benchmarks(self) -> BTreeMap<String, Benchmark> {
        self.found
            .into_iter()
            .map(|(id, (benchmark, _))| (id, benchmark))
            .collect()
    }

    /// The files that were written long before the newest one: probably left
    /// over from benchmarks that no longer exist.
    #[must_use]
    pub fn stale(&self, limit: Duration) -> Vec<&Path> {
        let time = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
        let files = || self.found.values().map(|(_, path)| path.as_path());
        let newest = files()
            .filter_map(time)
            .max()
            .unwrap_or(SystemTime::UNIX_EPOCH);
        files()
            .filter(|path| {
                time(path).is_some_and(|t| newest.duration_since(t).is_ok_and(|age| age > limit))
            })
            .collect()
    }

    fn add(&mut self, id: String, benchmark: Benchmark, path: &Path) -> Result<()> {
        if let Some(flaw) = benchmark.flaw() {
            return Err(Error::Content {
                path: path.to_owned(),
                problem: format!("benchmark `{id}`: {flaw}"),
                help: "the benchmark measured nothing; run it again".to_owned(),
            });
        }
        if let Some((_, first)) = self.found.get(&id) {
            let (first, second) = (first.clone(), path.to_owned());
            return Err(Error::Duplicate { id, first, second });
        }
        self.found.insert(id, (benchmark, path.to_owned()));
        Ok(())
    }
}

/// All files called `name` below `root`, in name order.
fn files(root: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = entry.map_err(|error| Error::Read {
            path: error.path().unwrap_or(root).to_owned(),
            source: error.into(),
        })?;
        if entry.file_name() != OsStr::new(name) {
            continue;
        }
        // Passed over, its benchmark would be missing and nobody would know why.
        if !entry.path().is_file() {
            return Err(Error::Content {
                path: entry.into_path(),
                problem: "not a file".to_owned(),
                help: "a benchmark tool writes a file of this name: delete what is in its place \
                       and run the benchmarks again"
                    .to_owned(),
            });
        }
        files.push(entry.into_path());
    }
    Ok(files)
}
