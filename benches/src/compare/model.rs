//! What a comparison found, as the JSON that the report and BENCHMARKS.md are
//! made of. [`SCHEMA`] changes with its meaning.

use super::stats::{Distribution, Spread};
use serde::{Deserialize, Serialize};

/// The version of the format.
pub const SCHEMA: u32 = 1;

/// One run of the comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where it ran.
    pub machine: Machine,
    /// The rows, in the order of the table.
    pub rows: Vec<Row>,
}

/// The machine and the build.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many there are.
    pub cpus: usize,
    /// The caches, as the system lists them.
    pub caches: String,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// The kernel's release.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
    /// The profile and the link-time optimisation of the build.
    pub build: String,
    /// The commit, with "+" if the tree had changes.
    pub commit: String,
    /// The day, in UTC.
    pub date: String,
}

impl Machine {
    /// The first thing in which two machines, or what was built on them, differ:
    /// what it is, here and there. Commits and days are not among it.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let list = |m: &Self| {
            [
                ("processor", m.cpu.clone()),
                ("number of processors", m.cpus.to_string()),
                ("caches", m.caches.clone()),
                ("memory in GiB", m.memory_gib.to_string()),
                ("kernel", m.kernel.clone()),
                ("compiler", m.rustc.clone()),
                ("build", m.build.clone()),
            ]
        };
        let both = list(self).into_iter().zip(list(other));
        let mut apart = both.filter(|((_, here), (_, there))| here != there);
        apart
            .next()
            .map(|((what, here), (_, there))| (what, here, there))
    }

    /// What was measured, and when.
    #[must_use]
    pub fn measured(&self) -> Measured {
        Measured {
            commit: self.commit.clone(),
            date: self.date.clone(),
        }
    }
}

/// What was measured, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The commit, with "+" if the tree had changes.
    pub commit: String,
    /// The day, in UTC.
    pub date: String,
}

/// One row: what was measured, of whom, and what Umbra had to reach.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// A short name, as `--rows` takes it.
    pub id: String,
    /// For people.
    pub title: String,
    /// Entries in the table.
    pub size: usize,
    /// Whether the process had 2 MiB pages.
    pub huge_pages: bool,
    /// Whether everybody allocated from mimalloc.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mimalloc: bool,
    /// What the figures count, such as `ns`.
    pub unit: String,
    /// One for each contestant, in the order of the roster.
    pub figures: Vec<Figure>,
    /// What Umbra had to reach, and whether it did.
    pub targets: Vec<Target>,
    /// Distributions, where the row is about a tail.
    #[serde(default)]
    pub tails: Vec<Tail>,
    /// What a reader has to know of this run.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Of what and when, if it is not what the report's machine says: a row of another
    /// comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// One contestant's figure in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The contestant.
    pub peer: String,
    /// The figure.
    #[serde(flatten)]
    pub spread: Spread,
    /// It as a multiple of Umbra's, round by round. Not of Umbra itself, and not where
    /// there were no rounds together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Spread>,
}

/// A distribution of single operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// The contestant.
    pub peer: String,
    /// Of what.
    pub what: String,
    /// How long they took.
    pub distribution: Distribution,
}

/// One thing that Umbra had to reach in a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// As the table of speeds says it, such as `≤ 1.35 × P32`.
    pub text: String,
    /// What was reached, in the unit of `text`.
    pub reached: String,
    /// The figures behind it, such as `12.3 ns / 8.1 ns`.
    pub figures: String,
    /// Whether that is enough.
    pub verdict: Verdict,
}

/// How a target came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Reached.
    Ok,
    /// Not reached.
    Missed,
    /// The contestant that it names was not in this run.
    Unknown,
}

impl Verdict {
    /// For the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missed => "MISSED",
            Self::Unknown => "not measured",
        }
    }
}
