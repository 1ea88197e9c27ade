//! Files: reading a record with all its checks, and writing one whole or not at
//! all.

use crate::compare::{compare, mismatches, same_numbers};
use crate::error::{Error, Result};
use crate::limits::Renames;
use crate::record::{FORMAT, Record, VERSION};
use serde::Deserialize;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The text of a file.
///
/// # Errors
/// [`Error::Read`]; a file that is not UTF-8 is one, too.
pub fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

/// Reads a record.
///
/// # Errors
/// Everything that makes it unfit to compare: it cannot be read, is no JSON, is
/// cut off, is not a record, is of another version, holds a number that is none,
/// or holds no benchmark.
pub fn load(path: &Path) -> Result<Record> {
    parse(path, &text(path)?)
}

/// Reads a record from a text; `path` is where it came from.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, text: &str) -> Result<Record> {
    /// What every version has.
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let content = |problem: String, help: &str| Error::Content {
        path: path.to_owned(),
        problem,
        help: help.to_owned(),
    };
    let what = "a record made by `umbra-perf record`";
    let head: Head =
        serde_json::from_str(text).map_err(|error| Error::json(path, text, &error, what))?;
    if head.format != FORMAT {
        return Err(content(
            format!("its format is `{}`, not `{FORMAT}`", head.format),
            "name a file made by `umbra-perf record`",
        ));
    }
    if head.version != VERSION {
        return Err(content(
            format!(
                "it is a record of version {}; this build reads {VERSION}",
                head.version
            ),
            "make the record again with this build, or use the build that made it",
        ));
    }
    let record: Record =
        serde_json::from_str(text).map_err(|error| Error::json(path, text, &error, what))?;
    if record.benchmarks.is_empty() {
        return Err(content(
            "the record holds no benchmark".to_owned(),
            "run the benchmarks and record them again",
        ));
    }
    for (id, benchmark) in &record.benchmarks {
        if let Some(flaw) = benchmark.flaw() {
            return Err(content(
                format!("benchmark `{id}`: {flaw}"),
                "the benchmark measured nothing; run and record it again",
            ));
        }
    }
    Ok(record)
}

/// Writes a record.
///
/// # Errors
/// [`Error::Write`], and the file that was there before is unchanged.
pub fn save(path: &Path, record: &Record) -> Result<()> {
    let mut json = serde_json::to_string_pretty(record).map_err(|error| Error::Write {
        path: path.to_owned(),
        source: io::Error::other(error),
    })?;
    json.push('\n');
    write(path, &json)
}

/// Where a record belongs in a folder of baselines: in the place of the one that
/// was made alike, or beside the others. Only if `prune` is set may it take the
/// place of one that has a benchmark or a count of instructions which it lacks:
/// those would be judged no longer.
///
/// # Errors
/// As [`load`], for a baseline there that cannot be read; [`Error::Content`]
/// naming what a baseline would lose.
pub fn place_in(folder: &Path, record: &Record, prune: bool) -> Result<PathBuf> {
    let mut alike = Vec::new();
    for path in json_files(folder)? {
        let older = load(&path)?;
        if mismatches(&older, record).is_empty() {
            alike.push((path, older));
        }
    }
    // One without the processor's numbers is replaced only if none has them.
    alike.sort_by_key(|(_, older)| !same_numbers(older, record));
    if let Some((path, older)) = alike.into_iter().next() {
        let lost = compare(&older, record, &Renames::default()).gone;
        if prune || lost.is_empty() {
            return Ok(path);
        }
        return Err(Error::Content {
            problem: format!("the baseline would lose {}", lost.join(", ")),
            help: format!(
                "run all benchmarks; if these are not wanted any more, pass `--prune`, or name \
                 the file itself (`--out {}`)",
                path.display()
            ),
            path,
        });
    }
    let provenance = &record.provenance;
    // `rustc 1.95.0 (59807616e 2026-04-14)`: the version is enough of a name.
    let rustc = provenance.rustc.as_deref().map(|version| {
        let words: Vec<_> = version.split(' ').take(2).collect();
        words.join("-")
    });
    let parts = [&provenance.target, &rustc, &provenance.cpu];
    let known: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
    let plain = known.join("-").to_lowercase();
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_');
    let name: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    // Another version of valgrind alone has the same name.
    let path = |n: usize| match n {
        0 => folder.join(format!("{}.json", name.join("-"))),
        n => folder.join(format!("{}-{n}.json", name.join("-"))),
    };
    let mut free = (0..).map(path).filter(|path| !path.exists());
    Ok(free.next().unwrap_or_else(|| path(0)))
}

/// The files in a folder that may be records, in name order.
///
/// # Errors
/// [`Error::Read`].
pub fn json_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = |source| Error::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Replaces a file's content in one step: a reader, or a machine that loses its
/// power, finds the old text or the new one.
///
/// A link is followed. What is no file, a pipe or a device, is written to: to
/// replace `/dev/null` would take it away from everybody.
///
/// # Errors
/// [`Error::Write`], and the file that was there before is unchanged.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let there = fs::metadata(path);
    if there.is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        let opened = fs::OpenOptions::new().write(true).open(path);
        return opened
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(failed);
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let attempt = || -> io::Result<()> {
        let parent = target.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".umbra-perf-")
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        make_readable(file.path())?;
        file.persist(&target).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(failed)
}

/// Temporary files are private to their owner; a report or a baseline is not.
#[cfg(unix)]
fn make_readable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The records in a folder (`*.json`), or the one file named, in name order.
///
/// # Errors
/// As [`load`], for the first file that fails; and [`Error::Incomparable`] if
/// there is none.
pub fn load_all(place: &Path) -> Result<Vec<(PathBuf, Record)>> {
    let read = |source| Error::Read {
        path: place.to_owned(),
        source,
    };
    let missing = || Error::Incomparable {
        reason: format!("there is no baseline in {}", place.display()),
        help: "record one on the commit to compare with (`umbra-perf record --out …`) and commit \
               it"
        .to_owned(),
    };
    let files = match fs::metadata(place) {
        Ok(meta) if meta.is_dir() => json_files(place)?,
        Ok(_) => vec![place.to_owned()],
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(read(error)),
    };
    if files.is_empty() {
        return Err(missing());
    }
    files
        .into_iter()
        .map(|path| load(&path).map(|record| (path, record)))
        .collect()
}
