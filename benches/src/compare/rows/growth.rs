//! Growing from nothing: how long in all, and the longest that one insertion
//! takes.
//!
//! Total and single insertions are timed in runs of their own, for the clock
//! costs as much as an insertion. A guard is taken for each: nobody who cares
//! about pauses would hold reclamation off for the whole of a growth.

use super::super::clock::thread_time;
use super::super::model::{Row, Tail};
use super::super::peer::{Peer, Writes};
use super::super::stats::Distribution;
use super::super::targets::number;
use super::{Kind, Spec, series};
use crate::keys::Keys;

/// Runs the growth rows among `specs`.
pub(super) fn rows(
    specs: &[Spec],
    peers: &[Peer],
    keys: &Keys,
    rounds: usize,
    say: &dyn Fn(&str),
    done: &mut dyn FnMut(Row),
) {
    for spec in specs {
        say(&spec.full_id());
        done(match spec.kind {
            Kind::GrowTotal => {
                let mut series = series(peers);
                for _ in 0..rounds {
                    for (i, writes) in writers(peers, keys) {
                        let total = (writes.grow)(keys).as_secs_f64() * 1e3;
                        series[i].samples.push(total);
                    }
                }
                series.retain(|s| !s.samples.is_empty());
                spec.row(&series, Vec::new(), left_out(peers, keys))
            }
            _ => longest(spec, peers, keys, rounds),
        });
    }
}

/// Those that can grow so far in reasonable time, with their places.
fn writers<'a>(peers: &'a [Peer], keys: &Keys) -> impl Iterator<Item = (usize, Writes)> + 'a {
    let n = keys.len();
    let able =
        move |(i, peer): (usize, &Peer)| Some((i, peer.writes.filter(|w| w.grows && n <= w.most)?));
    peers.iter().enumerate().filter_map(able)
}

fn left_out(peers: &[Peer], keys: &Keys) -> Vec<String> {
    let out: Vec<_> = peers
        .iter()
        .filter(|p| p.writes.is_some_and(|w| keys.len() > w.most))
        .map(|p| p.name)
        .collect();
    match out.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "left out, for it takes too long: {}",
            out.join(", ")
        )],
    }
}

fn longest(spec: &Spec, peers: &[Peer], keys: &Keys, rounds: usize) -> Row {
    let mut series = series(peers);
    let mut nanos = vec![Vec::new(); peers.len()];
    for _ in 0..rounds {
        for (i, writes) in writers(peers, keys) {
            let run = (writes.grow_each)(keys);
            let longest = run.iter().max().copied().unwrap_or(0);
            series[i].samples.push(f64::from(longest) / 1e3);
            nanos[i].extend(run);
        }
    }
    series.retain(|s| !s.samples.is_empty());
    let tails = peers
        .iter()
        .zip(nanos)
        .filter(|(_, nanos)| !nanos.is_empty())
        .map(|(peer, nanos)| Tail {
            peer: peer.name.into(),
            what: "insertion".into(),
            distribution: Distribution::of(nanos),
        })
        .collect();
    let mut notes = left_out(peers, keys);
    notes.push(format!(
        "each insertion includes reading the clock, {} ns",
        number(clock_cost())
    ));
    spec.row(&series, tails, notes)
}

/// What reading the clock costs, in nanoseconds.
fn clock_cost() -> f64 {
    const READS: usize = 10_000;
    let begin = thread_time();
    for _ in 1..READS {
        std::hint::black_box(thread_time());
    }
    (thread_time() - begin).as_nanos() as f64 / READS as f64
}
