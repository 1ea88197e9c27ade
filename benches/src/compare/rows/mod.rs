//! Running the rows that are asked for.
//!
//! | module | rows |
//! |---|---|
//! | `catalogue` | which there are |
//! | `goals` | at which sizes, and what is to be reached in them |
//! | `lookups` | `get-*`, `dep-*`, `scattered-*`, `guard-*`: one thread, filled tables |
//! | `threads` | `threads-*`, `mixed-*`: two threads, filled tables |
//! | `growth` | `grow-*` |
//! | `free_all` | `free-all-*`, `free-map-*` |
//! | `memory` | `memory-*` |
//! | `states` | `gate-*`, `plan-*`: no table at all |
//!
//! `lines-*` are counted elsewhere, in [`lines`](super::lines).

mod catalogue;
mod free_all;
mod goals;
mod growth;
mod lookups;
mod memory;
mod states;
mod threads;

pub use catalogue::{Options, Process, Spec, chosen, size_text};

use super::machine::Pages;
use super::model::Row;
use super::peer::{Filled, Operation, Peer, roster};
use super::targets::{BOUNDS, LARGE_PAGES, Series, UMBRA};
use crate::keys::Keys;
use catalogue::{K, Kind, M};

/// Above so many entries a quick run has only these contestants: filling the
/// others takes longer than everything else.
const LARGE: usize = 4 * M;
const IN_LARGE: &[&str] = &[UMBRA, "papaya-sized", "dashmap", "scc-hashindex"];

/// A contestant with its table.
struct Contestant {
    peer: Peer,
    table: Box<dyn Filled>,
}

fn peers(options: &Options, size: usize) -> Vec<Peer> {
    let mut peers = roster();
    peers.retain(|p| {
        let asked = options.peers.is_empty()
            || p.name == UMBRA
            || options.peers.iter().any(|name| name == p.name);
        let short = IN_LARGE.contains(&p.name) || BOUNDS.contains(&p.name);
        asked && (short || !options.quick || size <= LARGE) && size <= p.most
    });
    peers
}

/// The places of so many contestants in the order of a round: each round begins with
/// another one, for who is first may find the caches or the allocator as nobody else does.
fn turns(contestants: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..contestants).map(move |turn| (turn + round) % contestants)
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

/// Runs the rows among `specs` that belong into this `process`, and hands each
/// to `done` as it is finished. `say` is told what is going on.
pub fn run(options: &Options, process: Process, say: &dyn Fn(&str), done: &mut dyn FnMut(Row)) {
    let mut specs = chosen(options);
    specs.retain(|spec| spec.process() == process && spec.traced().is_none());
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
    let mut peers = peers(options, size);
    if specs.iter().any(|s| s.process() == Process::Mimalloc) {
        // liburcu allocates in C, and a bound allocates nothing while it is timed.
        peers.retain(|p| p.name != "cds_lfht" && !BOUNDS.contains(&p.name));
    }
    let rounds = |usual: usize| match options.quick {
        true => usual.div_ceil(3),
        false => usual,
    };
    let of_states = |s: &Spec| matches!(s.kind, Kind::GateHeld | Kind::GateById | Kind::Plan);
    let (states, mut specs): (Vec<_>, _) = specs.into_iter().partition(of_states);
    states::rows(&states, rounds(15), done);
    if specs.is_empty() {
        return;
    }
    let keys = Keys::new(size);
    let mut pick = |test: fn(Kind) -> bool| -> Vec<Spec> {
        let (picked, rest) = specs.drain(..).partition(|s| test(s.kind));
        specs = rest;
        picked
    };

    // Before the filled tables take the caches' and the allocator's room.
    for spec in pick(|k| k == Kind::Memory) {
        done(memory::row(&spec, &peers, &keys));
    }
    let grow = pick(|k| matches!(k, Kind::GrowLongest | Kind::GrowTotal));
    growth::rows(&grow, &peers, &keys, rounds(5), say, done);
    let freeing = pick(|k| {
        matches!(
            k,
            Kind::FreeInvisible(_) | Kind::FreeReclaimed | Kind::FreeReader(_)
        )
    });
    free_all::rows(&freeing, &peers, &keys, rounds(9), say, done);
    let scattered = pick(|k| matches!(k, Kind::Scattered(_)));
    if !scattered.is_empty() {
        // No bounds: they know where an object lies among its neighbours.
        let mut peers = peers.clone();
        peers.retain(|p| !BOUNDS.contains(&p.name));
        let keys = Keys::scattered(size);
        filled(&scattered, &[], peers, &keys, &rounds, say, done);
    }
    // Last of those that share filled tables, for it changes what is in them.
    let mixed = pick(|k| matches!(k, Kind::Mixed(_)));
    filled(&specs, &mixed, peers, &keys, &rounds, say, done);
}

/// The rows of filled tables.
fn filled(
    specs: &[Spec],
    mixed: &[Spec],
    peers: Vec<Peer>,
    keys: &Keys,
    rounds: &dyn Fn(usize) -> usize,
    say: &dyn Fn(&str),
    done: &mut dyn FnMut(Row),
) {
    if specs.is_empty() && mixed.is_empty() {
        return;
    }
    let process = specs.iter().chain(mixed).next().map(Spec::process);
    let dependent = Kind::Lookup(Operation::HitDependent);
    let chased = specs.iter().any(|s| s.kind == dependent);
    let mut pages = Vec::new();
    let mut contestants = Vec::new();
    for peer in peers {
        // A bound in 2 MiB pages is there where Umbra has them and the C library
        // has not.
        let like_ours = pages
            .iter()
            .any(|(name, share)| *name == UMBRA && *share > 0.5)
            && process == Some(Process::Plain);
        if peer.name.starts_with("bound-chase") && !chased
            || peer.name.ends_with(LARGE_PAGES) && !like_ours
        {
            continue;
        }
        say(&format!("{}: filling {}", size_text(keys.len()), peer.name));
        let before = Pages::now();
        let table = (peer.filled)(keys);
        if let Some(share) = Pages::now().huge_since(before) {
            pages.push((peer.name, share));
        }
        contestants.push(Contestant { peer, table });
    }
    let course = lookups::Course::new(keys);
    for spec in specs {
        say(&spec.full_id());
        let (series, notes) = match spec.kind {
            Kind::Lookup(operation) | Kind::Scattered(operation) => {
                let usual = if keys.len() > 100 * K { 21 } else { 51 };
                let series = lookups::run(operation, &contestants, &course, rounds(usual));
                (series, Pages::note(&pages))
            }
            Kind::Protection(operation) => {
                let series = lookups::added(operation, &contestants, &course, rounds(51));
                (series, Vec::new())
            }
            Kind::Speedup(operation) => {
                let series = threads::speedup(operation, &contestants, keys, rounds(15));
                (series, Vec::new())
            }
            _ => continue,
        };
        done(spec.row(&series, Vec::new(), notes));
    }
    for spec in mixed {
        if let Kind::Mixed(percent) = spec.kind {
            say(&spec.full_id());
            let (series, notes) = threads::mixed(percent, &contestants, keys, rounds(15));
            done(spec.row(&series, Vec::new(), notes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_contestant() {
        let orders: Vec<Vec<_>> = (0..4).map(|round| turns(3, round).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
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
        run(&options, Process::Plain, &|_| (), &mut |row| rows.push(row));
        let here = |s: &&Spec| s.process() == Process::Plain;
        assert_eq!(rows.len(), chosen(&options).iter().filter(here).count());
        for row in &rows {
            let umbra = row.figures.iter().find(|f| f.peer == UMBRA);
            assert!(
                umbra.is_some_and(|f| f.spread.rounds > 0),
                "{}: {:?}",
                row.id,
                row.figures
            );
        }
    }
}
