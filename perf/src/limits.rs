//! The file of limits: how much worse a benchmark may get.
//!
//! ```toml
//! version = 1
//! removed = ["insn_get::get::old::*"]   # on purpose: they may be missing
//!
//! [default]
//! soft_percent = 0.1   # reported from here on
//! hard_percent = 1.0   # the gate closes above
//! ignore_below = 16    # instructions: smaller changes are none at all
//!
//! [[benchmark]]        # the last entry that matches decides, field by field
//! id = "insn_get::*_hit::*"
//! hard_percent = 0.5
//! max = 60_000         # instructions: a ceiling, whatever the baseline says
//!
//! [renamed]            # the baseline's name = the next name, which may have a next
//! "insn_get::get::old_name::n1k" = "insn_get::get::new_name::n1k"
//! ```
//!
//! Everything is optional but the version. In an id `*` stands for any text.

use crate::error::{Error, Result};
use crate::store;
use globset::{Glob, GlobMatcher};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the format.
const VERSION: u32 = 1;

/// What holds for one benchmark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// A change from this many percent on is reported.
    pub soft_percent: f64,
    /// A change for the worse above this many percent closes the gate.
    pub hard_percent: f64,
    /// Changes of fewer instructions are none at all.
    pub ignore_below: u64,
    /// More instructions than this close the gate, whatever they were before.
    pub max: Option<u64>,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            soft_percent: 0.1,
            hard_percent: 1.0,
            ignore_below: 0,
            max: None,
        }
    }
}

/// A pattern of benchmarks' names, in which `*` is any text; or what is wrong
/// with it.
///
/// # Errors
/// A sentence.
pub fn pattern(text: &str) -> std::result::Result<GlobMatcher, String> {
    let glob =
        Glob::new(text).map_err(|error| format!("`{text}` is not a pattern: {}", error.kind()))?;
    Ok(glob.compile_matcher())
}

/// A file of limits, checked.
#[derive(Debug, Default)]
pub struct Limits {
    default: Limit,
    entries: Vec<(GlobMatcher, Fields)>,
    removed: Vec<GlobMatcher>,
    renames: Renames,
}

/// The next name of each benchmark that was renamed.
#[derive(Debug, Default)]
pub struct Renames(BTreeMap<String, String>);

impl Renames {
    /// The name that a benchmark has now: the first of its names, from this one on,
    /// that is `there`; the last one if none is. A circle ends where it began.
    ///
    /// A name that is still in use was not given up, whatever the file says.
    #[must_use]
    pub fn present(&self, id: &str, there: impl Fn(&str) -> bool) -> String {
        let mut names = vec![id];
        while let Some(&name) = names.last()
            && !there(name)
            && let Some(next) = self.0.get(name)
            && !names.contains(&next.as_str())
        {
            names.push(next);
        }
        names
            .last()
            .map_or_else(String::new, |&name| name.to_owned())
    }

    #[cfg(test)]
    pub(crate) fn of(all: &[(&str, &str)]) -> Self {
        let owned = |&(old, new): &(&str, &str)| (old.to_owned(), new.to_owned());
        Self(all.iter().map(owned).collect())
    }

    /// The renames that are not applied, for the older name is `there`.
    pub fn idle(&self, there: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(move |name| there(name))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    removed: Vec<String>,
    #[serde(default)]
    default: Fields,
    #[serde(default)]
    benchmark: Vec<Entry>,
    #[serde(default)]
    renamed: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    soft_percent: Option<f64>,
    hard_percent: Option<f64>,
    ignore_below: Option<u64>,
    max: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    soft_percent: Option<f64>,
    hard_percent: Option<f64>,
    ignore_below: Option<u64>,
    max: Option<u64>,
}

impl Fields {
    fn over(self, base: Limit) -> Limit {
        Limit {
            soft_percent: self.soft_percent.unwrap_or(base.soft_percent),
            hard_percent: self.hard_percent.unwrap_or(base.hard_percent),
            ignore_below: self.ignore_below.unwrap_or(base.ignore_below),
            max: self.max.or(base.max),
        }
    }
}

impl Limits {
    /// Reads a file of limits.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Parse`] with the place for what is not TOML or
    /// not a known field; [`Error::Content`] for limits that cannot hold.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(path, &store::text(path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let content = |problem: String, help: &str| Error::Content {
            path: path.to_owned(),
            problem,
            help: help.to_owned(),
        };
        let file: File = toml::from_str(text).map_err(|e| Error::toml(path, text, &e))?;
        if file.version != VERSION {
            return Err(content(
                format!(
                    "limits of version {}; this build reads {VERSION}",
                    file.version
                ),
                "write `version = 1`",
            ));
        }
        let default = file.default.over(Limit::default());
        let mut limits = Self {
            default,
            entries: Vec::new(),
            removed: Vec::new(),
            renames: Renames::default(),
        };
        for id in file.removed {
            let glob = pattern(&id).map_err(|problem| content(problem, "`*` is any text"))?;
            limits.removed.push(glob);
        }
        let mut olds = BTreeMap::new();
        for (old, new) in &file.renamed {
            // One of the two would be judged by the other's counts.
            if let Some(first) = olds.insert(new, old) {
                return Err(content(
                    format!("[renamed]: both `{first}` and `{old}` became `{new}`"),
                    "take out the one that was removed, and name it in `removed`",
                ));
            }
        }
        limits.renames = Renames(file.renamed);
        let mut check = vec![("[default]".to_owned(), default)];
        for Entry {
            id,
            soft_percent,
            hard_percent,
            ignore_below,
            max,
        } in file.benchmark
        {
            let fields = Fields {
                soft_percent,
                hard_percent,
                ignore_below,
                max,
            };
            let glob = pattern(&id).map_err(|problem| content(problem, "`*` is any text"))?;
            check.push((format!("`{id}`"), fields.over(default)));
            limits.entries.push((glob, fields));
        }
        for (place, limit) in check {
            let Limit {
                soft_percent: soft,
                hard_percent: hard,
                ..
            } = limit;
            // NaN fails every comparison, so ask for what must hold.
            let sane = soft >= 0.0 && hard >= soft && hard.is_finite();
            if !sane {
                return Err(content(
                    format!("{place}: soft limit {soft} %, hard limit {hard} %"),
                    "0 ≤ soft_percent ≤ hard_percent must hold, both finite",
                ));
            }
        }
        Ok(limits)
    }

    /// What holds for a benchmark.
    #[must_use]
    pub fn of(&self, id: &str) -> Limit {
        let matching = self.entries.iter().filter(|(glob, _)| glob.is_match(id));
        matching.fold(self.default, |limit, (_, fields)| fields.over(limit))
    }

    /// The benchmarks that were renamed.
    #[must_use]
    pub fn renames(&self) -> &Renames {
        &self.renames
    }

    /// Whether a benchmark that is missing was removed on purpose. One that is there
    /// is judged all the same.
    #[must_use]
    pub fn is_removed(&self, id: &str) -> bool {
        self.removed.iter().any(|glob| glob.is_match(id))
    }

    /// The removals that match none of these benchmarks.
    pub fn idle_removals<'a>(&'a self, ids: &'a [String]) -> impl Iterator<Item = &'a str> {
        let idle = |glob: &&GlobMatcher| !ids.iter().any(|id| glob.is_match(id));
        self.removed
            .iter()
            .filter(idle)
            .map(|glob| glob.glob().glob())
    }

    /// The entries that match none of these benchmarks: they protect nothing.
    pub fn idle<'a>(&'a self, ids: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.entries
            .iter()
            .filter(|(glob, _)| !ids.iter().any(|id| glob.is_match(id)))
            .map(|(glob, _)| glob.glob().glob())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Limits> {
        Limits::parse(Path::new("limits.toml"), text)
    }

    #[test]
    fn the_last_match_decides_field_by_field() {
        let limits = parse(
            "version = 1\n[default]\nhard_percent = 2\n\
             [[benchmark]]\nid = \"get::*\"\nmax = 10\nhard_percent = 1.5\n\
             [[benchmark]]\nid = \"get::hit::*\"\nhard_percent = 0.5\n",
        )
        .expect("good limits");
        let hit = limits.of("get::hit::n1k");
        assert_eq!((hit.hard_percent, hit.max), (0.5, Some(10)));
        assert_eq!(limits.of("get::miss::n1k").hard_percent, 1.5);
        assert_eq!(limits.of("alloc").hard_percent, 2.0);
        assert_eq!(
            limits.idle(&["get::miss::n1k"]).collect::<Vec<_>>(),
            ["get::hit::*"]
        );
    }

    #[test]
    fn a_name_is_followed_to_the_one_that_is_there() {
        let text = "version = 1\n[renamed]\na = \"b\"\nb = \"c\"\nc = \"a\"\n";
        let limits = parse(text).expect("good limits");
        let present = |there: &'static str| limits.renames().present("a", |id| id == there);
        assert_eq!(["a", "b", "c"].map(present), ["a", "b", "c"]);
        assert_eq!(present("none"), "c", "and a circle ends");
        let idle: Vec<_> = limits.renames().idle(|id| id == "b").collect();
        assert_eq!(idle, ["b"]);
    }

    #[test]
    fn an_unknown_field_is_an_error_with_its_line() {
        let error = parse("version = 1\n[default]\nhard = 2\n").expect_err("no such field");
        assert!(
            error
                .to_string()
                .starts_with("limits.toml:3:1: unknown field `hard`"),
            "{error}"
        );
    }

    #[test]
    fn limits_that_cannot_hold_are_errors() {
        for bad in [
            "soft_percent = 2",
            "hard_percent = nan",
            "soft_percent = -1",
            "hard_percent = inf",
        ] {
            let error = parse(&format!("version = 1\n[default]\n{bad}\n")).expect_err(bad);
            assert!(matches!(error, Error::Content { .. }), "{bad}: {error}");
        }
        let twice = "version = 1\n[renamed]\na = \"c\"\nb = \"c\"\n";
        let error = parse(twice).expect_err("two of one name").to_string();
        assert!(error.contains("both `a` and `b` became `c`"), "{error}");
        assert!(parse("version = 2").is_err());
        assert!(parse("version = 1\nremoved = [\"[\"]\n").is_err());
        assert!(parse("version = 1\n[[benchmark]]\nid = \"[\"\n").is_err());
    }
}
