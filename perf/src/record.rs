//! The record: what one run of the benchmarks measured, and where.
//!
//! This is version 1 of the format. Fields may be added to it; taking one away
//! or changing what one means makes a version 2, which this reader refuses.
//!
//! ```json
//! {
//!   "format": "umbra-perf",
//!   "version": 1,
//!   "provenance": { "rustc": "rustc 1.95.0 (…)", "target": "x86_64-…", … },
//!   "benchmarks": {
//!     "insn_get::get::umbra_hit::n1k": {
//!       "source": "iai-callgrind",
//!       "metrics": { "Ir": { "value": 40211, "unit": "instructions" }, … },
//!       "functions": { "umbra_shadow::…::get": { "shadow/src/raw/line.rs": 9120, … }, … }
//!     }
//!   }
//! }
//! ```

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The value of `format` in every record.
pub const FORMAT: &str = "umbra-perf";

/// The version of the format that this build reads and writes.
pub const VERSION: u32 = 1;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Always [`FORMAT`].
    pub format: String,
    /// Always [`VERSION`].
    pub version: u32,
    /// Where and by what the run was made.
    pub provenance: Provenance,
    /// What was measured, by the benchmark's id.
    #[serde(deserialize_with = "each_once")]
    pub benchmarks: BTreeMap<String, Benchmark>,
}

impl Record {
    /// A record of this version.
    #[must_use]
    pub fn new(provenance: Provenance, benchmarks: BTreeMap<String, Benchmark>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            provenance,
            benchmarks,
        }
    }

    /// Whether any benchmark is of this source.
    #[must_use]
    pub fn has(&self, source: Source) -> bool {
        self.benchmarks.values().any(|b| b.source == source)
    }

    /// Whether any benchmark has a metric that gates.
    #[must_use]
    pub fn has_instructions(&self) -> bool {
        self.benchmarks
            .values()
            .any(|b| b.metrics.values().any(|m| m.unit == Unit::Instructions))
    }
}

/// The benchmarks of a record. One that is there twice, as a merge leaves it, is
/// an error; a map would keep the last and say nothing.
fn each_once<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Benchmark>, D::Error> {
    from.deserialize_map(EachOnce::of("benchmark"))
}

/// The metrics of a benchmark, likewise.
pub(crate) fn metrics<'de, T, D>(from: D) -> Result<BTreeMap<String, T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_map(EachOnce::of("metric"))
}

/// Reads a map whose keys must differ.
struct EachOnce<T> {
    /// What a key names.
    what: &'static str,
    value: PhantomData<T>,
}

impl<T> EachOnce<T> {
    const fn of(what: &'static str) -> Self {
        let value = PhantomData;
        Self { what, value }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for EachOnce<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s by their names", self.what)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut all = BTreeMap::new();
        while let Some(name) = from.next_key::<String>()? {
            if all.contains_key(&name) {
                let what = self.what;
                return Err(A::Error::custom(format!("{what} `{name}` is there twice")));
            }
            all.insert(name, from.next_value()?);
        }
        Ok(all)
    }
}

/// Where a record comes from. A field is `None` where it could not be learned
/// or plays no part (no valgrind without iai-callgrind's output, say).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The first line of `rustc -vV`, with the compiler's commit.
    pub rustc: Option<String>,
    /// The target triple that the benchmarks were built for.
    pub target: Option<String>,
    /// `valgrind --version`.
    pub valgrind: Option<String>,
    /// The version of iai-callgrind's summary format.
    pub iai_callgrind_summary: Option<String>,
    /// The processor's model name.
    pub cpu: Option<String>,
    /// Its family, model and stepping: a hypervisor gives several generations one
    /// name. Records made before this field have none, and are of the processor
    /// that they name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_id: Option<String>,
    /// The kernel of the virtual machine and what built it, if one measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_kernel: Option<String>,
    /// The virtual machine as its firmware names it, and its processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_machine: Option<String>,
    /// The commit that was measured.
    pub commit: Option<String>,
    /// Whether tracked files differed from that commit.
    pub dirty: bool,
    /// When the record was made, in seconds of Unix time.
    pub recorded_at: u64,
}

impl Provenance {
    /// The processor as it is shown.
    #[must_use]
    pub fn processor(&self) -> Option<String> {
        let name = self.cpu.as_ref()?;
        let id = self.cpu_id.as_ref();
        Some(id.map_or_else(|| name.clone(), |id| format!("{name} ({id})")))
    }
}

/// Who measured a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// iai-callgrind: counts of a simulated processor.
    IaiCallgrind,
    /// criterion: wall time.
    Criterion,
    /// A guest in a virtual machine, by its deterministic counter.
    Vm,
}

/// What one benchmark measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benchmark {
    /// Who measured it.
    pub source: Source,
    /// The values, by the name that the source gives them.
    #[serde(deserialize_with = "metrics")]
    pub metrics: BTreeMap<String, Measure>,
    /// What each function cost by itself, if the source knows.
    #[serde(default, skip_serializing_if = "Functions::is_empty")]
    pub functions: Functions,
}

impl Benchmark {
    /// What makes it unfit to compare, if anything does.
    ///
    /// A VM's figure is net of an empty loop and may lie a little below zero; no
    /// other source can have measured that. What callgrind watched took at least
    /// an instruction: a count of 0 is of a function that was never entered.
    #[must_use]
    pub fn flaw(&self) -> Option<String> {
        if self.metrics.is_empty() {
            return Some("it has no metric".to_owned());
        }
        let least = match self.source {
            Source::IaiCallgrind | Source::Criterion => 0.0,
            Source::Vm => f64::MIN,
        };
        self.metrics.iter().find_map(|(name, measure)| {
            let value = measure.value.as_f64();
            let [low, high] = measure.interval.unwrap_or([value; 2]);
            if ![value, low, high].iter().all(|x| x.is_finite()) {
                Some(format!("its `{name}` is not a finite number"))
            } else if value < least {
                Some(format!("its `{name}` is below zero"))
            } else if value == 0.0
                && measure.unit == Unit::Instructions
                && self.source == Source::IaiCallgrind
            {
                Some(format!("its `{name}` is 0"))
            } else {
                None
            }
        })
    }
}

/// Instructions by function and, as others are inlined into it, by source file.
/// What costs less than a thousandth of its benchmark is left out.
pub type Functions = BTreeMap<String, BTreeMap<String, u64>>;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The value, or the best estimate of it.
    pub value: Value,
    /// What it counts.
    pub unit: Unit,
    /// For an estimate: the interval that holds the true value with the
    /// confidence that the source used (criterion: 95 %).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// A count stays a whole number, so that a record reads as it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A count.
    Count(u64),
    /// Anything else; always finite in a record that was read.
    Real(f64),
}

impl Value {
    /// As a float. Counts beyond 2^53 lose their last bits, which no ratio of
    /// two of them shows.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Count(n) => n as f64,
            Self::Real(x) => x,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => {
                let digits = n.to_string();
                for (i, digit) in digits.chars().enumerate() {
                    if i > 0 && (digits.len() - i).is_multiple_of(3) {
                        f.write_str(",")?;
                    }
                    write!(f, "{digit}")?;
                }
                Ok(())
            }
            Self::Real(x) => write!(f, "{x:.2}"),
        }
    }
}

/// What a value counts. Only [`Unit::Instructions`] gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Instructions executed.
    Instructions,
    /// Any other event of the simulated processor (accesses, misses …).
    Events,
    /// Cycles, estimated from such events.
    Cycles,
    /// A rate in percent.
    Percent,
    /// Nanoseconds of wall time.
    Nanoseconds,
}

impl Unit {
    /// Whether more of it is worse. Hit rates and hits are the exceptions, and
    /// nobody is told that those regressed.
    #[must_use]
    pub const fn less_is_better(self) -> bool {
        matches!(self, Self::Instructions | Self::Cycles | Self::Nanoseconds)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instructions => "instructions",
            Self::Events => "events",
            Self::Cycles => "cycles",
            Self::Percent => "%",
            Self::Nanoseconds => "ns",
        })
    }
}
