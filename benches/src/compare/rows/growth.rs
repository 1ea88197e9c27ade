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
use super::{Kind, Spec, series, turns};
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
                for round in 0..rounds {
                    for (i, writes) in writers(peers, keys, round) {
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

/// Those that can grow so far in reasonable time, with their places, in the order of a
/// round.
fn writers(
    peers: &[Peer],
    keys: &Keys,
    round: usize,
) -> impl Iterator<Item = (usize, Writes)> + use<> {
    let n = keys.len();
    let able = |(i, peer): (usize, &Peer)| {
        let writes = peer.writes.filter(|w| w.grows && n <= w.most)?;
        Some((i, writes))
    };
    let able: Vec<_> = peers.iter().enumerate().filter_map(able).collect();
    turns(able.len(), round).map(move |at| able[at])
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
    for round in 0..rounds {
        for (i, writes) in writers(peers, keys, round) {
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

#[cfg(test)]
mod tests {
    use super::super::super::peer::roster;
    use super::super::catalogue::{Options, chosen};
    use super::*;
    use std::cell::RefCell;
    use std::time::Duration;

    thread_local! {
        /// Who grew, one after the other.
        static ORDER: RefCell<String> = const { RefCell::new(String::new()) };
    }

    fn grew(who: char) -> Duration {
        ORDER.with_borrow_mut(|order| order.push(who));
        Duration::from_millis(1)
    }

    #[test]
    fn nobody_always_grows_first() {
        let writes = roster()[0].writes.expect("Umbra is written");
        let mut peers = roster()[..3].to_vec();
        peers[0].writes = Some(Writes {
            grow: |_| grew('a'),
            grow_each: |_| vec![grew('a').as_millis() as u32],
            ..writes
        });
        peers[1].writes = None;
        peers[2].writes = Some(Writes {
            grow: |_| grew('b'),
            grow_each: |_| vec![grew('b').as_millis() as u32],
            ..writes
        });
        let options = Options {
            rows: vec!["grow-total-1m".into(), "grow-longest-1m".into()],
            ..Options::default()
        };
        let specs = chosen(&options);
        rows(&specs, &peers, &Keys::new(10), 3, &|_| (), &mut |row| {
            assert_eq!(row.figures.len(), 2, "{}", row.id);
        });
        assert_eq!(ORDER.take(), "abbaababbaab");
    }
}
