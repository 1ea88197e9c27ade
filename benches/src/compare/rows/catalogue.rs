//! The table of speeds: what can be measured, at which sizes there is something
//! to reach, and which rows are asked for.

use super::super::lines::play::OBJECTS;
use super::super::lines::{Count, Single};
use super::super::model::{Figure, Row, Tail};
use super::super::peer::Operation;
use super::super::stats::Spread;
use super::super::targets::{Goal, Series, UMBRA};

/// What is measured in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Lookup(Operation),
    /// The same, of objects whose slabs lie scattered.
    Scattered(Operation),
    /// What protecting each lookup adds to one under a guard that is held.
    Protection(Operation),
    /// Lookups a second of two threads, as a multiple of one thread's.
    Speedup,
    /// Two threads; the share of writes in percent.
    Mixed(usize),
    GrowLongest,
    GrowTotal,
    FreeInvisible,
    FreeReclaimed,
    FreeReader,
    Memory,
    /// Asking a gate by a reference that is held.
    GateHeld,
    /// Finding it by its state's id first.
    GateById,
    Plan,
    /// Cache lines that the operation and another thread's need.
    Lines(Single, Count),
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
        Kind::Speedup,
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
        "freeing a quarter: until no lookup finds one",
        "µs",
        Kind::FreeInvisible,
    ),
    measure(
        "free-all-reclaimed",
        "freeing a quarter: until its memory is given back",
        "ms",
        Kind::FreeReclaimed,
    ),
    measure(
        "free-all-reader",
        "a reader's p99.9 while a quarter is freed",
        "µs",
        Kind::FreeReader,
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

const PAPAYA: &[&str] = &["papaya-sized", "papaya", "papaya-blocking"];
pub(super) const K: usize = 1_000;
pub(super) const M: usize = 1_000_000;

const HIT_1M: &[Goal] = &[
    Goal::Within(1.35, "bound-p32"),
    Goal::Faster(1.35, "papaya", PAPAYA),
    Goal::Faster(2.0, "dashmap", &["dashmap"]),
    Goal::Faster(3.5, "cds_lfht", &["cds_lfht"]),
    Goal::Faster(400.0, "klp", &["klp"]),
];
const MISS_1M: &[Goal] = &[
    Goal::Within(0.6, "bound-p64"),
    Goal::Faster(1.4, "papaya", PAPAYA),
];
const MANY_1M: &[Goal] = &[
    Goal::Within(1.0, "bound-p64"),
    Goal::Faster(2.7, "papaya", PAPAYA),
];
const NO_LINE: &[Goal] = &[Goal::AtMost(0.0)];

const SMALL: bool = false;
const HUGE: bool = true;

/// Where there is something to reach: the measure, its size, whether everybody
/// has 2 MiB pages, and what.
const TARGETS: &[(&str, usize, bool, &[Goal])] = &[
    (
        "get-hit",
        K,
        SMALL,
        &[
            Goal::Within(2.3, "bound-p64"),
            Goal::Faster(1.8, "papaya", PAPAYA),
            Goal::Faster(3.0, "dashmap", &["dashmap"]),
            Goal::Faster(2.0, "klp", &["klp"]),
        ],
    ),
    ("get-hit", M, SMALL, HIT_1M),
    ("get-hit", M, HUGE, HIT_1M),
    ("get-dep", M, SMALL, &[Goal::Within(1.45, "bound-chase")]),
    ("get-dep", 10 * M, HUGE, &[Goal::Within(1.6, "bound-chase")]),
    ("get-miss", M, SMALL, MISS_1M),
    ("get-miss", M, HUGE, MISS_1M),
    ("get-many", M, SMALL, MANY_1M),
    ("get-many", M, HUGE, MANY_1M),
    ("scattered-hit", M, SMALL, &[]),
    ("scattered-miss", M, SMALL, &[]),
    ("scattered-many", M, SMALL, &[]),
    ("guard-call", K, SMALL, &[]),
    ("guard-session", K, SMALL, &[Goal::AtMost(1.5)]),
    ("threads", M, SMALL, &[Goal::AtLeast(1.95)]),
    ("grow-longest", M, SMALL, &[Goal::AtMost(100.0)]),
    (
        "grow-total",
        M,
        SMALL,
        &[Goal::Faster(1.0, "papaya", &["papaya"])],
    ),
    ("mixed-5", M, SMALL, &[Goal::AheadOfAll]),
    ("mixed-50", M, SMALL, &[Goal::AheadOfAll]),
    ("free-all-invisible", M, SMALL, &[Goal::AtMost(10.0)]),
    ("free-all-reclaimed", M, SMALL, &[Goal::AtMost(10.0)]),
    ("free-all-reader", M, SMALL, &[Goal::AtMost(1.0)]),
    ("memory", M, SMALL, &[Goal::AtMost(75.0)]),
    ("gate-held", K, SMALL, &[]),
    ("gate-by-id", K, SMALL, &[]),
    ("plan", K, SMALL, &[]),
    ("lines-hit", OBJECTS, SMALL, NO_LINE),
    ("lines-miss", OBJECTS, SMALL, NO_LINE),
    ("lines-many", OBJECTS, SMALL, NO_LINE),
    ("lines-session", OBJECTS, SMALL, &[]),
    ("lines-guard", OBJECTS, SMALL, &[]),
    ("lines-alloc", OBJECTS, SMALL, &[]),
    ("lines-free", OBJECTS, SMALL, &[]),
    ("lines-free-all", OBJECTS, SMALL, &[]),
    ("meet-hit", OBJECTS, SMALL, &[]),
    ("meet-alloc", OBJECTS, SMALL, &[]),
    ("hot-hit", OBJECTS, SMALL, &[]),
    ("hot-alloc", OBJECTS, SMALL, &[]),
    ("cold-hit", OBJECTS, SMALL, &[]),
    ("cold-miss", OBJECTS, SMALL, &[]),
];

/// A row: a measure at a size.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    pub(super) kind: Kind,
    pub(super) size: usize,
    huge: bool,
    goals: &'static [Goal],
}

/// Which process a row is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// This one, with the pages that each allocator gets for itself.
    Plain,
    /// One whose C library asks for 2 MiB pages too.
    HugePages,
    /// One under valgrind, which lists all accesses to memory.
    Traced,
}

impl Spec {
    fn of(measure: &Measure, size: usize, huge: bool) -> Self {
        let target = TARGETS
            .iter()
            .find(|t| (t.0, t.1, t.2) == (measure.id, size, huge));
        Self {
            id: measure.id,
            title: measure.title,
            unit: measure.unit,
            kind: measure.kind,
            size,
            huge,
            goals: target.map_or(&[], |t| t.3),
        }
    }

    /// Where the row is measured.
    #[must_use]
    pub const fn process(&self) -> Process {
        match self.kind {
            Kind::Lines(..) => Process::Traced,
            _ if self.huge => Process::HugePages,
            _ => Process::Plain,
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

    /// The row's name with its size and pages, as `get-hit-1k`.
    #[must_use]
    pub fn full_id(&self) -> String {
        let pages = if self.huge { "-2mib" } else { "" };
        format!("{}-{}{pages}", self.id, size_text(self.size).to_lowercase())
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
            huge_pages: self.huge,
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
    /// Rows whose identifier begins with one of these; all if empty.
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
        for &&(_, size, huge, _) in &targets {
            let own = [size];
            let sizes = if fixed { &own } else { &options.sizes[..] };
            for &size in sizes {
                let spec = Spec::of(measure, size, huge);
                if !specs.iter().any(|s| s.full_id() == spec.full_id()) {
                    specs.push(spec);
                }
            }
        }
    }
    let asked = |spec: &Spec| options.rows.iter().any(|r| spec.full_id().starts_with(r));
    specs.retain(|spec| options.rows.is_empty() || asked(spec));
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
