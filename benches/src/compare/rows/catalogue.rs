//! What can be measured, and which rows are asked for.

use super::super::lines::{Count, Single};
use super::super::model::{Figure, Row, Tail};
use super::super::peer::Operation;
use super::super::stats::Spread;
use super::super::targets::{Goal, Series, UMBRA};
use super::goals::TARGETS;

pub(super) const K: usize = 1_000;
pub(super) const M: usize = 1_000_000;

/// What is measured in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Lookup(Operation),
    /// The same, of objects whose slabs lie scattered.
    Scattered(Operation),
    /// What protecting each lookup adds to one under a guard that is held.
    Protection(Operation),
    /// Lookups a second of two threads, as a multiple of one thread's.
    Speedup(Operation),
    /// Two threads; the share of writes in percent.
    Mixed(usize),
    GrowLongest,
    GrowTotal,
    FreeInvisible(Quarter),
    FreeReclaimed,
    FreeReader(Quarter),
    Memory,
    /// Asking a gate by a reference that is held.
    GateHeld,
    /// Finding it by its state's id first.
    GateById,
    Plan,
    /// Cache lines that the operation and another thread's need.
    Lines(Single, Count),
}

/// What a quarter of all entries is, that is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quarter {
    /// An id of Umbra's; of the others' one table, some entries.
    OfOne,
    /// A table of its own, of everybody.
    Apart,
}

/// Something that can be measured, at any size.
struct Measure {
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    kind: Kind,
}

const fn measure(id: &'static str, title: &'static str, unit: &'static str, kind: Kind) -> Measure {
    Measure {
        id,
        title,
        unit,
        kind,
    }
}

const MEASURES: &[Measure] = &[
    measure(
        "get-hit",
        "get, hit, independent keys",
        "ns",
        Kind::Lookup(Operation::Hit),
    ),
    measure(
        "get-dep",
        "get, hit, dependent keys",
        "ns",
        Kind::Lookup(Operation::HitDependent),
    ),
    measure(
        "get-miss",
        "get, miss, independent keys",
        "ns",
        Kind::Lookup(Operation::Miss),
    ),
    // Not get-miss-..: rows and pictures are found by how a name begins.
    measure(
        "dep-miss",
        "get, miss, dependent keys",
        "ns",
        Kind::Lookup(Operation::MissDependent),
    ),
    measure(
        "get-many",
        "get_many(32), hit",
        "ns",
        Kind::Lookup(Operation::Many),
    ),
    measure(
        "scattered-hit",
        "get, hit, objects in scattered slabs",
        "ns",
        Kind::Scattered(Operation::Hit),
    ),
    measure(
        "scattered-miss",
        "get, miss, objects in scattered slabs",
        "ns",
        Kind::Scattered(Operation::Miss),
    ),
    measure(
        "scattered-many",
        "get_many(32), hit, objects in scattered slabs",
        "ns",
        Kind::Scattered(Operation::Many),
    ),
    measure(
        "guard-call",
        "added to a lookup by a guard of its own",
        "ns",
        Kind::Protection(Operation::HitGuarded),
    ),
    measure(
        "guard-session",
        "added to a lookup by a session",
        "ns",
        Kind::Protection(Operation::HitInSession),
    ),
    measure(
        "threads",
        "two threads' lookups, as a multiple of one's",
        "×",
        Kind::Speedup(Operation::Hit),
    ),
    measure(
        "threads-miss",
        "two threads' misses, as a multiple of one's",
        "×",
        Kind::Speedup(Operation::Miss),
    ),
    measure(
        "grow-longest",
        "longest single insertion while growing from nothing",
        "µs",
        Kind::GrowLongest,
    ),
    measure(
        "grow-total",
        "growing from nothing, in all",
        "ms",
        Kind::GrowTotal,
    ),
    measure(
        "mixed-5",
        "95 % lookups, 5 % writes, two threads",
        "ns",
        Kind::Mixed(5),
    ),
    measure(
        "mixed-50",
        "50 % lookups, 50 % writes, two threads",
        "ns",
        Kind::Mixed(50),
    ),
    measure(
        "free-all-invisible",
        "freeing a quarter, Umbra an id at once, others one by one: until no lookup finds one",
        "µs",
        Kind::FreeInvisible(Quarter::OfOne),
    ),
    measure(
        "free-all-reclaimed",
        "freeing a quarter: until its memory is given back",
        "ms",
        Kind::FreeReclaimed,
    ),
    measure(
        "free-all-reader",
        "a reader's p99.9 while a quarter is freed, by others one by one",
        "µs",
        Kind::FreeReader(Quarter::OfOne),
    ),
    measure(
        "free-map-invisible",
        "freeing a quarter that is a map of its own: until no lookup finds one",
        "µs",
        Kind::FreeInvisible(Quarter::Apart),
    ),
    measure(
        "free-map-reader",
        "a reader's p99.9 while a map that is a quarter is emptied",
        "µs",
        Kind::FreeReader(Quarter::Apart),
    ),
    measure(
        "memory",
        "memory an entry of 48 bytes",
        "bytes",
        Kind::Memory,
    ),
    measure(
        "gate-held",
        "a gate of so many states, asked",
        "ns",
        Kind::GateHeld,
    ),
    measure(
        "gate-by-id",
        "a gate of so many states, found and asked",
        "ns",
        Kind::GateById,
    ),
    measure(
        "plan",
        "a plan to replace patches with so many states",
        "ms",
        Kind::Plan,
    ),
    lines("lines-hit", "a hit", Single::Hit),
    lines("lines-miss", "a miss", Single::Miss),
    lines("lines-many", "32 hits at once", Single::Many),
    lines("lines-session", "a hit in a session", Single::Session),
    lines("lines-guard", "a guard", Single::Guard),
    lines("lines-alloc", "an insertion", Single::Insert),
    lines("lines-free", "a removal", Single::Free),
    lines("lines-free-all", "freeing all at once", Single::FreeAll),
    measure(
        "meet-hit",
        "two hits of different objects",
        "lines that both write",
        Kind::Lines(Single::Hit, Count::Met),
    ),
    measure(
        "meet-alloc",
        "two insertions of different objects",
        "lines that both write",
        Kind::Lines(Single::Insert, Count::Met),
    ),
    measure(
        "hot-hit",
        "hits that write the line that most hits write",
        "% of all",
        Kind::Lines(Single::Hit, Count::Hottest),
    ),
    measure(
        "hot-alloc",
        "insertions that write the line that most insertions write",
        "% of all",
        Kind::Lines(Single::Insert, Count::Hottest),
    ),
    measure(
        "cold-hit",
        "a hit",
        "lines of its own object",
        Kind::Lines(Single::Hit, Count::Cold),
    ),
    measure(
        "cold-miss",
        "a miss",
        "lines of its own object",
        Kind::Lines(Single::Miss, Count::Cold),
    ),
];

const fn lines(id: &'static str, title: &'static str, what: Single) -> Measure {
    let kind = Kind::Lines(what, Count::Written);
    measure(id, title, "shared lines written", kind)
}

/// A row: a measure at a size.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    pub(super) kind: Kind,
    pub(super) size: usize,
    setting: Setting,
    goals: &'static [Goal],
}

/// Where everybody's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// Each has its own, as it would: Umbra mimalloc's, the others the C library's.
    Usual,
    /// The same, and the C library asks for 2 MiB pages too.
    HugePages,
    /// All of it is mimalloc's.
    Mimalloc,
}

impl Setting {
    /// The end of a row's name.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::HugePages => "-2mib",
            Self::Mimalloc => "-mimalloc",
        }
    }
}

/// Which process a row is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// This one, with the pages that each allocator gets for itself.
    Plain,
    /// One whose C library asks for 2 MiB pages too.
    HugePages,
    /// One in which everybody allocates from mimalloc.
    Mimalloc,
    /// One under valgrind, which lists all accesses to memory.
    Traced,
}

impl Spec {
    fn of(measure: &Measure, size: usize, setting: Setting) -> Self {
        let target = TARGETS
            .iter()
            .find(|t| (t.0, t.1, t.2) == (measure.id, size, setting));
        Self {
            id: measure.id,
            title: measure.title,
            unit: measure.unit,
            kind: measure.kind,
            size,
            setting,
            goals: target.map_or(&[], |t| t.3),
        }
    }

    /// Where the row is measured.
    #[must_use]
    pub const fn process(&self) -> Process {
        match self.kind {
            Kind::Lines(..) => Process::Traced,
            _ => match self.setting {
                Setting::Usual => Process::Plain,
                Setting::HugePages => Process::HugePages,
                Setting::Mimalloc => Process::Mimalloc,
            },
        }
    }

    /// The operation whose lines are counted, and which, if the row is about that.
    #[must_use]
    pub const fn traced(&self) -> Option<(Single, Count)> {
        match self.kind {
            Kind::Lines(what, count) => Some((what, count)),
            _ => None,
        }
    }

    /// The row's name with its size and where memory comes from, as `get-hit-1k`.
    #[must_use]
    pub fn full_id(&self) -> String {
        let size = size_text(self.size).to_lowercase();
        format!("{}-{size}{}", self.id, self.setting.suffix())
    }

    /// The row of these samples.
    pub(in super::super) fn row(
        &self,
        series: &[Series],
        tails: Vec<Tail>,
        notes: Vec<String>,
    ) -> Row {
        let ours = series.iter().find(|s| s.peer == UMBRA);
        let figure = |s: &Series| Figure {
            peer: s.peer.into(),
            spread: Spread::of(&s.samples),
            times: ours.filter(|o| o.peer != s.peer).and_then(|o| s.times(o)),
        };
        let judge = |goal: &Goal| goal.judge(series, self.unit);
        Row {
            id: self.full_id(),
            title: self.title.into(),
            size: self.size,
            huge_pages: self.setting == Setting::HugePages,
            mimalloc: self.setting == Setting::Mimalloc,
            unit: self.unit.into(),
            figures: series.iter().map(figure).collect(),
            targets: self.goals.iter().map(judge).collect(),
            tails,
            notes,
            measured: None,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Rows whose names begin with one of these, or the one whose whole name it is; all
    /// if empty.
    pub rows: Vec<String>,
    /// Sizes instead of those that the targets are for.
    pub sizes: Vec<usize>,
    /// Contestants; all if empty. Umbra is always there.
    pub peers: Vec<String>,
    /// A third of the rounds, and fewer contestants in large tables.
    pub quick: bool,
}

/// Sizes as people write them: 1k, 4M, 250000.
#[must_use]
pub fn size_text(n: usize) -> String {
    match n {
        _ if n >= M && n.is_multiple_of(M) => format!("{}M", n / M),
        _ if n >= K && n.is_multiple_of(K) => format!("{}k", n / K),
        _ => n.to_string(),
    }
}

/// The rows that the options choose, in the order of the catalogue.
///
/// A size of its own has the targets that are for it, or none. Shared lines are
/// counted at one size: how many there are does not depend on it.
#[must_use]
pub fn chosen(options: &Options) -> Vec<Spec> {
    let mut specs: Vec<Spec> = Vec::new();
    for measure in MEASURES {
        let mut targets: Vec<_> = TARGETS.iter().filter(|t| t.0 == measure.id).collect();
        let fixed = options.sizes.is_empty() || matches!(measure.kind, Kind::Lines(..));
        if !fixed {
            targets.dedup_by_key(|t| t.2);
        }
        for &&(_, size, setting, _) in &targets {
            let own = [size];
            let sizes = if fixed { &own } else { &options.sizes[..] };
            for &size in sizes {
                let spec = Spec::of(measure, size, setting);
                if !specs.iter().any(|s| s.full_id() == spec.full_id()) {
                    specs.push(spec);
                }
            }
        }
    }
    let ids: Vec<_> = specs.iter().map(Spec::full_id).collect();
    let asked = |id: &str| {
        let named = |row: &String| match ids.contains(row) {
            true => id == row,
            false => id.starts_with(row.as_str()),
        };
        options.rows.iter().any(named)
    };
    specs.retain(|spec| options.rows.is_empty() || asked(&spec.full_id()));
    specs
}

#[cfg(test)]
mod tests {
    use super::super::super::peer::roster;
    use super::*;

    fn ids(options: &Options) -> Vec<String> {
        chosen(options).iter().map(Spec::full_id).collect()
    }

    #[test]
    fn rows_are_chosen_by_the_beginning_of_their_names() {
        let options = Options {
            rows: vec!["get-hit".into(), "memory".into()],
            ..Options::default()
        };
        let expected = ["get-hit-1k", "get-hit-1m", "get-hit-1m-2mib", "memory-1m"];
        assert_eq!(ids(&options), expected);
    }

    #[test]
    fn a_whole_name_is_one_row() {
        let options = Options {
            rows: vec!["get-hit-1m".into(), "grow".into()],
            ..Options::default()
        };
        let expected = [
            "get-hit-1m",
            "grow-longest-1m",
            "grow-longest-1m-mimalloc",
            "grow-total-1m",
            "grow-total-1m-mimalloc",
        ];
        assert_eq!(ids(&options), expected);
    }

    #[test]
    fn a_size_of_its_own_has_no_target_and_a_known_one_keeps_it() {
        let options = Options {
            rows: vec!["get-dep".into()],
            sizes: vec![K, M, 10 * M],
            ..Options::default()
        };
        let goals: Vec<_> = chosen(&options)
            .iter()
            .map(|spec| (spec.full_id(), spec.goals.len()))
            .collect();
        let expected = [
            ("get-dep-1k", 0),
            ("get-dep-1m", 1),
            ("get-dep-10m", 0),
            ("get-dep-1k-2mib", 0),
            ("get-dep-1m-2mib", 0),
            ("get-dep-10m-2mib", 1),
        ];
        assert_eq!(goals, expected.map(|(id, n)| (id.to_string(), n)));
    }

    #[test]
    fn every_target_is_of_a_measure_and_names_contestants_that_exist() {
        // cds_lfht is there where its library is.
        let names: Vec<_> = roster().iter().map(|p| p.name).collect();
        let known = |name: &&str| names.contains(name) || *name == "cds_lfht";
        for (id, _, _, goals) in TARGETS {
            assert_eq!(MEASURES.iter().filter(|m| m.id == *id).count(), 1, "{id}");
            for goal in *goals {
                match goal {
                    Goal::Within(_, bound) => assert!(known(bound), "{bound}"),
                    Goal::Faster(_, _, of) => assert!(of.iter().all(known), "{of:?}"),
                    _ => {}
                }
            }
        }
        for measure in MEASURES {
            assert!(
                TARGETS.iter().any(|t| t.0 == measure.id),
                "{}: nobody would measure it",
                measure.id
            );
        }
    }
}
