//! The rows of the table of speeds, and running those that are asked for.
//!
//! | module | rows |
//! |---|---|
//! | `lookups` | `get-*`, `guard-*`: one thread, filled tables |
//! | `threads` | `threads-*`, `mixed-*`: two threads, filled tables |
//! | `growth` | `grow-*` |
//! | `free_all` | `free-all-*` |
//! | `memory` | `memory-*` |

mod free_all;
mod growth;
mod lookups;
mod memory;
mod threads;

use super::machine;
use super::model::{Figure, Row, Tail};
use super::peer::{Filled, Operation, Peer, roster};
use super::stats::Spread;
use super::targets::{Goal, Series};
use crate::keys::Keys;

/// What is measured in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Lookup(Operation),
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
}

/// A row as it stands in the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    id: &'static str,
    title: &'static str,
    kind: Kind,
    unit: &'static str,
    /// The size and the pages that the targets are for; others may be asked for.
    size: usize,
    huge: bool,
    goals: &'static [Goal],
}

const PAPAYA: &[&str] = &["papaya-sized", "papaya", "papaya-blocking"];
const K: usize = 1_000;
const M: usize = 1_000_000;

/// The table of speeds.
const CATALOGUE: &[Spec] = &[
    Spec {
        id: "get-hit",
        title: "get, hit, independent keys",
        kind: Kind::Lookup(Operation::Hit),
        unit: "ns",
        size: K,
        huge: false,
        goals: &[
            Goal::Within(2.3, "bound-p64"),
            Goal::Faster(1.8, "papaya", PAPAYA),
            Goal::Faster(3.0, "dashmap", &["dashmap"]),
            Goal::Faster(2.0, "klp", &["klp"]),
        ],
    },
    Spec {
        id: "get-hit",
        title: "get, hit, independent keys",
        kind: Kind::Lookup(Operation::Hit),
        unit: "ns",
        size: M,
        huge: false,
        goals: &[
            Goal::Within(1.35, "bound-p32"),
            Goal::Faster(1.35, "papaya", PAPAYA),
            Goal::Faster(2.0, "dashmap", &["dashmap"]),
            Goal::Faster(3.5, "cds_lfht", &["cds_lfht"]),
            Goal::Faster(400.0, "klp", &["klp"]),
        ],
    },
    Spec {
        id: "get-dep",
        title: "get, hit, dependent keys",
        kind: Kind::Lookup(Operation::HitDependent),
        unit: "ns",
        size: M,
        huge: false,
        goals: &[Goal::Within(1.45, "bound-chase")],
    },
    Spec {
        id: "get-dep",
        title: "get, hit, dependent keys",
        kind: Kind::Lookup(Operation::HitDependent),
        unit: "ns",
        size: 10 * M,
        huge: true,
        goals: &[Goal::Within(1.6, "bound-chase")],
    },
    Spec {
        id: "get-miss",
        title: "get, miss, independent keys",
        kind: Kind::Lookup(Operation::Miss),
        unit: "ns",
        size: M,
        huge: false,
        goals: &[
            Goal::Within(0.6, "bound-p64"),
            Goal::Faster(1.4, "papaya", PAPAYA),
        ],
    },
    Spec {
        id: "get-many",
        title: "get_many(32), hit",
        kind: Kind::Lookup(Operation::Many),
        unit: "ns",
        size: M,
        huge: false,
        goals: &[
            Goal::Within(1.0, "bound-p64"),
            Goal::Faster(2.7, "papaya", PAPAYA),
        ],
    },
    Spec {
        id: "get-many",
        title: "get_many(32), hit",
        kind: Kind::Lookup(Operation::Many),
        unit: "ns",
        size: M,
        huge: true,
        goals: &[
            Goal::Within(1.0, "bound-p64"),
            Goal::Faster(2.7, "papaya", PAPAYA),
        ],
    },
    Spec {
        id: "guard-call",
        title: "added to a lookup by a guard of its own",
        kind: Kind::Protection(Operation::HitGuarded),
        unit: "ns",
        size: K,
        huge: false,
        goals: &[],
    },
    Spec {
        id: "guard-session",
        title: "added to a lookup by a session",
        kind: Kind::Protection(Operation::HitInSession),
        unit: "ns",
        size: K,
        huge: false,
        goals: &[Goal::AtMost(1.5)],
    },
    Spec {
        id: "threads",
        title: "two threads' lookups, as a multiple of one's",
        kind: Kind::Speedup,
        unit: "×",
        size: M,
        huge: false,
        goals: &[Goal::AtLeast(1.95)],
    },
    Spec {
        id: "grow-longest",
        title: "longest single insertion while growing from nothing",
        kind: Kind::GrowLongest,
        unit: "µs",
        size: M,
        huge: false,
        goals: &[Goal::AtMost(100.0)],
    },
    Spec {
        id: "grow-total",
        title: "growing from nothing, in all",
        kind: Kind::GrowTotal,
        unit: "ms",
        size: M,
        huge: false,
        goals: &[Goal::Faster(1.0, "papaya", &["papaya"])],
    },
    Spec {
        id: "mixed-5",
        title: "95 % lookups, 5 % writes, two threads",
        kind: Kind::Mixed(5),
        unit: "ns",
        size: M,
        huge: false,
        goals: &[Goal::AheadOfAll],
    },
    Spec {
        id: "mixed-50",
        title: "50 % lookups, 50 % writes, two threads",
        kind: Kind::Mixed(50),
        unit: "ns",
        size: M,
        huge: false,
        goals: &[Goal::AheadOfAll],
    },
    Spec {
        id: "free-all-invisible",
        title: "freeing a quarter: until no lookup finds one",
        kind: Kind::FreeInvisible,
        unit: "µs",
        size: M,
        huge: false,
        goals: &[Goal::AtMost(10.0)],
    },
    Spec {
        id: "free-all-reclaimed",
        title: "freeing a quarter: until its memory is given back",
        kind: Kind::FreeReclaimed,
        unit: "ms",
        size: M,
        huge: false,
        goals: &[Goal::AtMost(10.0)],
    },
    Spec {
        id: "free-all-reader",
        title: "a reader's p99.9 while a quarter is freed",
        kind: Kind::FreeReader,
        unit: "µs",
        size: M,
        huge: false,
        goals: &[Goal::AtMost(1.0)],
    },
    Spec {
        id: "memory",
        title: "memory an entry of 48 bytes",
        kind: Kind::Memory,
        unit: "bytes",
        size: M,
        huge: false,
        goals: &[Goal::AtMost(75.0)],
    },
];

/// Above so many entries a quick run has only these contestants: filling the
/// others takes longer than everything else.
const LARGE: usize = 4 * M;
const IN_LARGE: &[&str] = &[
    "umbra",
    "papaya-sized",
    "dashmap",
    "scc-hashindex",
    "bound-p64",
    "bound-p32",
    "bound-chase",
];

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

/// The row's name with its size and pages, as `get-hit-1k`.
fn full_id(spec: &Spec) -> String {
    let pages = if spec.huge { "-2mib" } else { "" };
    format!("{}-{}{pages}", spec.id, size_text(spec.size).to_lowercase())
}

/// The rows that the options choose, in the order of the catalogue, each with
/// its full name.
#[must_use]
pub fn chosen(options: &Options) -> Vec<(String, Spec)> {
    let mut specs = CATALOGUE.to_vec();
    if !options.sizes.is_empty() {
        specs = Vec::new();
        for spec in CATALOGUE {
            for &size in &options.sizes {
                // A size of its own has the targets that are for it, or none.
                let same = |s: &&Spec| s.id == spec.id && s.huge == spec.huge && s.size == size;
                let found = CATALOGUE.iter().find(same).copied();
                let made = found.unwrap_or(Spec {
                    size,
                    goals: &[],
                    ..*spec
                });
                let known = |s: &Spec| full_id(s) == full_id(&made);
                if !specs.iter().any(known) {
                    specs.push(made);
                }
            }
        }
    }
    let named: Vec<_> = specs.into_iter().map(|s| (full_id(&s), s)).collect();
    let wanted =
        |id: &str| options.rows.is_empty() || options.rows.iter().any(|r| id.starts_with(r));
    named.into_iter().filter(|(id, _)| wanted(id)).collect()
}

impl Spec {
    /// Whether the row wants 2 MiB pages.
    #[must_use]
    pub const fn huge(&self) -> bool {
        self.huge
    }

    fn row(&self, series: &[Series], tails: Vec<Tail>, notes: Vec<String>) -> Row {
        Row {
            id: full_id(self),
            title: self.title.into(),
            size: self.size,
            huge_pages: self.huge,
            unit: self.unit.into(),
            figures: series
                .iter()
                .map(|s| Figure {
                    peer: s.peer.into(),
                    spread: Spread::of(&s.samples),
                })
                .collect(),
            targets: self
                .goals
                .iter()
                .map(|goal| goal.judge(series, self.unit))
                .collect(),
            tails,
            notes,
        }
    }
}

/// A contestant with its table.
struct Contestant {
    peer: Peer,
    table: Box<dyn Filled>,
}

fn peers(options: &Options, size: usize) -> Vec<Peer> {
    let mut peers = roster();
    peers.retain(|p| {
        let asked = options.peers.is_empty()
            || p.name == super::targets::UMBRA
            || options.peers.iter().any(|name| name == p.name);
        let short = !options.quick || size <= LARGE || IN_LARGE.contains(&p.name);
        asked && short && size <= p.most
    });
    peers
}

/// Empty series, one for each of `peers`.
fn series(peers: &[Peer]) -> Vec<Series> {
    peers
        .iter()
        .map(|p| Series {
            peer: p.name,
            samples: Vec::new(),
        })
        .collect()
}

/// Runs the chosen rows whose pages are `huge`, and hands each to `done` as it
/// is finished. `say` is told what is going on.
pub fn run(options: &Options, huge: bool, say: &dyn Fn(&str), done: &mut dyn FnMut(Row)) {
    let mut specs: Vec<Spec> = chosen(options)
        .into_iter()
        .map(|(_, spec)| spec)
        .filter(|spec| spec.huge == huge)
        .collect();
    let mut sizes: Vec<_> = specs.iter().map(|s| s.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let (here, rest) = specs.into_iter().partition(|s| s.size == size);
        specs = rest;
        run_size(options, size, here, say, done);
    }
}

fn run_size(
    options: &Options,
    size: usize,
    specs: Vec<Spec>,
    say: &dyn Fn(&str),
    done: &mut dyn FnMut(Row),
) {
    let keys = Keys::new(size);
    let peers = peers(options, size);
    let rounds = |usual: usize| {
        if options.quick {
            usual.div_ceil(3)
        } else {
            usual
        }
    };
    let pick = |test: &dyn Fn(Kind) -> bool| -> Vec<Spec> {
        specs.iter().filter(|s| test(s.kind)).copied().collect()
    };

    // Before the filled tables take the caches' and the allocator's room.
    for spec in pick(&|k| k == Kind::Memory) {
        done(memory::row(&spec, &peers, &keys));
    }
    let grow = pick(&|k| matches!(k, Kind::GrowLongest | Kind::GrowTotal));
    growth::rows(&grow, &peers, &keys, rounds(5), say, done);
    let freeing = pick(&|k| {
        matches!(
            k,
            Kind::FreeInvisible | Kind::FreeReclaimed | Kind::FreeReader
        )
    });
    free_all::rows(&freeing, &peers, &keys, rounds(9), say, done);

    let filled = pick(&|k| {
        matches!(
            k,
            Kind::Lookup(_) | Kind::Protection(_) | Kind::Speedup | Kind::Mixed(_)
        )
    });
    if filled.is_empty() {
        return;
    }
    let only_dependent = filled
        .iter()
        .all(|s| s.kind != Kind::Lookup(Operation::HitDependent));
    let contestants: Vec<_> = peers
        .into_iter()
        .filter(|p| !(only_dependent && p.name == "bound-chase"))
        .map(|peer| {
            say(&format!("{}: filling {}", size_text(size), peer.name));
            Contestant {
                table: (peer.filled)(&keys),
                peer,
            }
        })
        .collect();
    let course = lookups::Course::new(&keys);
    let pages: Vec<String> = match filled.iter().any(|s| s.huge) {
        true => vec![machine::huge_pages()],
        false => Vec::new(),
    };
    let mut mixed = Vec::new();
    for spec in &filled {
        say(&full_id(spec));
        match spec.kind {
            Kind::Lookup(operation) => {
                let usual = if size > 100 * K { 21 } else { 51 };
                let series = lookups::run(operation, &contestants, &course, rounds(usual));
                done(spec.row(&series, Vec::new(), pages.clone()));
            }
            Kind::Protection(operation) => {
                let series = lookups::added(operation, &contestants, &course, rounds(51));
                done(spec.row(&series, Vec::new(), Vec::new()));
            }
            Kind::Speedup => {
                let series = threads::speedup(&contestants, &keys, rounds(15));
                done(spec.row(&series, Vec::new(), Vec::new()));
            }
            // Last, for it changes what is in the tables.
            Kind::Mixed(_) => mixed.push(*spec),
            _ => {}
        }
    }
    for spec in mixed {
        if let Kind::Mixed(percent) = spec.kind {
            say(&full_id(&spec));
            let (series, notes) = threads::mixed(percent, &contestants, &keys, rounds(15));
            done(spec.row(&series, Vec::new(), notes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(options: &Options) -> Vec<String> {
        chosen(options).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn rows_are_chosen_by_the_beginning_of_their_names() {
        let options = Options {
            rows: vec!["get-hit".into(), "memory".into()],
            ..Options::default()
        };
        assert_eq!(ids(&options), ["get-hit-1k", "get-hit-1m", "memory-1m"]);
    }

    #[test]
    fn a_size_of_its_own_has_no_target_and_a_known_one_keeps_it() {
        let options = Options {
            rows: vec!["get-dep".into()],
            sizes: vec![K, M, 10 * M],
            ..Options::default()
        };
        let goals: Vec<_> = chosen(&options)
            .into_iter()
            .map(|(id, spec)| (id, spec.goals.len()))
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
    fn every_target_names_contestants_that_exist() {
        // cds_lfht is there where its library is.
        let names: Vec<_> = roster().iter().map(|p| p.name).collect();
        let known = |name: &&str| names.contains(name) || *name == "cds_lfht";
        for spec in CATALOGUE {
            for goal in spec.goals {
                match goal {
                    Goal::Within(_, bound) => assert!(known(bound), "{bound}"),
                    Goal::Faster(_, _, of) => assert!(of.iter().all(known), "{of:?}"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_small_run_gives_every_row_a_figure_of_umbra() {
        let options = Options {
            sizes: vec![4_000],
            peers: vec!["papaya".into(), "bound-chase".into()],
            quick: true,
            ..Options::default()
        };
        let mut rows = Vec::new();
        run(&options, false, &|_| (), &mut |row| rows.push(row));
        assert_eq!(
            rows.len(),
            chosen(&options).iter().filter(|(_, s)| !s.huge).count()
        );
        for row in &rows {
            let umbra = row.figures.iter().find(|f| f.peer == "umbra");
            assert!(
                umbra.is_some_and(|f| f.spread.rounds > 0),
                "{}: {:?}",
                row.id,
                row.figures
            );
        }
    }
}
