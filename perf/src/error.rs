//! What can go wrong, with the place and the way out.
//!
//! Every variant names the file; a file that was read but not understood shows
//! the line. None of them leaves anything half-written behind.

use miette::{Diagnostic, NamedSource, SourceSpan};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Why a command did not do what it was asked.
#[derive(Debug, Error, Diagnostic)]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check that it exists and that you may read it"))]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A file could not be written; what was there before still is.
    #[error("cannot write {}; nothing was changed", path.display())]
    #[diagnostic(help(
        "check that the folder exists, that you may write to it, and its free space"
    ))]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A file is not what it should be.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong with it.
        problem: String,
        /// The file's text, for the excerpt.
        #[source_code]
        text: Source,
        /// Where in it.
        #[label("here")]
        at: SourceSpan,
        /// What to do.
        #[help]
        help: String,
    },

    /// A file is well-formed, and its content makes no sense.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        #[help]
        help: String,
    },

    /// Two files measure a benchmark of the same id.
    #[error("benchmark `{id}` occurs twice: in {} and in {}", first.display(), second.display())]
    #[diagnostic(help(
        "one of them is probably left over from an older run: delete the output folder and run \
         the benchmarks again"
    ))]
    Duplicate {
        /// The benchmark.
        id: String,
        /// Where it was found first.
        first: PathBuf,
        /// Where it was found again.
        second: PathBuf,
    },

    /// There is no output of any benchmark where it was looked for.
    #[error("no benchmark output found in {places}")]
    #[diagnostic(help(
        "run the benchmarks first (`cargo bench`; iai-callgrind's with \
         `-- --save-summary=json`), or name the folders with --iai, --criterion or --vm"
    ))]
    NoOutput {
        /// Where it was looked for.
        places: String,
    },

    /// A program could not be run, or failed.
    #[error("`{command}` {problem}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// How it ended, and the last lines that it printed.
        problem: String,
        /// What to do.
        #[help]
        help: String,
    },

    /// There is nothing to compare with, or it is not comparable.
    #[error("cannot compare: {reason}")]
    Incomparable {
        /// Why.
        reason: String,
        /// What to do.
        #[help]
        help: String,
    },
}

/// The text of a file, shared so that an error stays small.
type Source = Arc<NamedSource<String>>;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A parse error of JSON, with its place found in `text`.
    #[must_use]
    pub fn json(path: &Path, text: &str, error: &serde_json::Error, what: &str) -> Self {
        // serde_json says where only in prose and by line and column.
        let message = error.to_string();
        let reason = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(head, _)| head);
        let (problem, help) = match error.classify() {
            serde_json::error::Category::Eof => (
                "the file ends in the middle".to_owned(),
                format!("it was cut off while it was written: make {what} again"),
            ),
            serde_json::error::Category::Data if no_number(reason) => (
                format!("a number is missing where {what} has one"),
                "`null` is what JSON makes of NaN or an infinity: the benchmark measured nothing; \
                 run it again"
                    .to_owned(),
            ),
            serde_json::error::Category::Data => (
                format!("not {what}: {reason}"),
                format!("name a file that is {what}"),
            ),
            _ => (
                format!("not JSON: {reason}"),
                format!("the file is corrupt or of another kind; it should be {what}"),
            ),
        };
        let (line, column) = (error.line().max(1), error.column().max(1));
        let (offset, len) = locate(text, line, column);
        let (text, at) = excerpt(path, text, offset, len);
        Self::Parse {
            path: path.to_owned(),
            line,
            column,
            problem,
            text,
            at,
            help,
        }
    }

    /// A parse error of TOML.
    #[must_use]
    pub fn toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let range = error.span().unwrap_or(0..0);
        let before = text.get(..range.start).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        let (text, at) = excerpt(path, text, before.len(), range.len());
        Self::Parse {
            path: path.to_owned(),
            line,
            column,
            problem: error.message().to_owned(),
            text,
            at,
            help: "a file of limits holds `version`, `removed`, `[default]`, `[[benchmark]]` and \
                   `[renamed]`, with `soft_percent`, `hard_percent`, `ignore_below` and `max`"
                .to_owned(),
        }
    }
}

/// Whether serde missed a number where it found something else. An untagged
/// enum ([`crate::record::Value`]) has only its own name to say so.
fn no_number(reason: &str) -> bool {
    reason.contains("invalid type: null") || reason.contains("any variant of untagged enum Value")
}

/// The text with the byte at `offset`, for an excerpt.
///
/// Machines write their JSON in one line of any length, and nobody wants to see
/// all of it: of a long line the surroundings of the place are kept.
fn excerpt(path: &Path, text: &str, offset: usize, len: usize) -> (Source, SourceSpan) {
    /// What fits a terminal beside the line number.
    const AROUND: usize = 40;
    let path = path.display();
    let line = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[offset..]
        .find('\n')
        .map_or(text.len(), |newline| offset + newline);
    if end - line <= 3 * AROUND {
        let whole = NamedSource::new(path.to_string(), text.to_owned());
        return (Arc::new(whole), (offset, len).into());
    }
    let from = text.floor_char_boundary(offset.saturating_sub(AROUND).max(line));
    let to = text.ceil_char_boundary((offset + AROUND).min(end));
    let part = text[from..to].to_owned();
    let at = (offset - from, len.min(to - offset));
    (
        Arc::new(NamedSource::new(format!("excerpt of {path}"), part)),
        at.into(),
    )
}

/// The byte at a line and column (both from 1), and its length; the text's last
/// one if they lie beyond it.
fn locate(text: &str, line: usize, column: usize) -> (usize, usize) {
    let start: usize = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum();
    let last = text.len().saturating_sub(1);
    let offset = text.floor_char_boundary((start + column - 1).min(last));
    (
        offset,
        text[offset..].chars().next().map_or(0, char::len_utf8),
    )
}
