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
use crate::record::{Benchmark, Provenance, Record, Source};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use walkdir::WalkDir;

/// Everything that was found so far.
#[derive(Debug, Default)]
pub struct Harvest {
    found: BTreeMap<String, (Benchmark, PathBuf)>,
    iai_version: Option<String>,
    /// The virtual machine's kernel, and the machine.
    vm: [Option<String>; 2],
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

    /// Everything as a record, with what the output itself says of its provenance.
    #[must_use]
    pub fn into_record(self, mut provenance: Provenance) -> Record {
        provenance
            .iai_callgrind_summary
            .clone_from(&self.iai_version);
        [provenance.vm_kernel, provenance.vm_machine] = self.vm.clone();
        Record::new(provenance, self.into_benchmarks())
    }

    /// The benchmarks by id.
    #[must_use]
    pub fn into_benchmarks(self) -> BTreeMap<String, Benchmark> {
        self.found
            .into_iter()
            .map(|(id, (benchmark, _))| (id, benchmark))
            .collect()
    }

    /// The files that are probably left over from another run, which was of other
    /// code. A run may take long, but it writes one file after the other.
    #[must_use]
    pub fn stale(&self, now: SystemTime) -> Vec<Stale> {
        let mut stale = Vec::new();
        for source in [Source::IaiCallgrind, Source::Criterion, Source::Vm] {
            let of_source = self.found.iter().filter(|(_, (b, _))| b.source == source);
            let mut files: Vec<_> = of_source
                .filter_map(|(id, (_, path))| {
                    let time = path.metadata().and_then(|m| m.modified()).ok()?;
                    Some((time, id, path))
                })
                .collect();
            // The newest first.
            files.sort_by(|a, b| b.cmp(a));
            let Some(&(newest, id, path)) = files.first() else {
                continue;
            };
            let file = |id: &String, path: &PathBuf, age, than| Stale {
                source,
                id: id.clone(),
                path: path.clone(),
                age,
                than,
            };
            let before = |new: SystemTime, old| new.duration_since(old).unwrap_or_default();
            let age = before(now, newest);
            if age > OLD {
                stale.push(file(id, path, age, Than::Now));
            }
            let gap = files.windows(2).position(|w| before(w[0].0, w[1].0) > GAP);
            for &(time, id, path) in gap.map_or(&[][..], |last| &files[last + 1..]) {
                stale.push(file(id, path, before(newest, time), Than::Newest));
            }
        }
        stale
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

/// Nothing that a run wrote is older: what code that was, nobody remembers.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// What no single benchmark takes: what was written before is of another run.
const GAP: Duration = Duration::from_secs(60 * 60);

/// A file that is probably left over from another run.
#[derive(Debug)]
pub struct Stale {
    /// Who measured it.
    pub source: Source,
    /// The benchmark.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    age: Duration,
    than: Than,
}

/// Than what it is older.
#[derive(Clone, Copy, Debug)]
enum Than {
    /// Now, and so is everything of its source.
    Now,
    /// The newest file of its source.
    Newest,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.strip_prefix(".").unwrap_or(&self.path);
        let hours = (self.age.as_secs_f64() / 3600.0).round();
        write!(f, "{} (`{}`) is {hours} hours ", path.display(), self.id)?;
        f.write_str(match self.than {
            Than::Now => "old, and nothing is newer",
            Than::Newest => "older than the newest output",
        })
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
