//! Rows of two threads.
//!
//! Each thread keeps to a processor and its time is its own CPU time: what they
//! do to each other through caches and retries counts, what other processes do
//! to them does not. A lock that sleeps gains from that.

use super::super::clock::{each, stay_on, timed};
use super::super::peer::{Mixed, Operation, mixed_op};
use super::super::stats::Spread;
use super::super::targets::{Series, number};
use super::Contestant;
use super::lookups::run_with;
use crate::keys::{Keys, SplitMix};
use std::sync::Barrier;
use std::time::{Duration, Instant};

const THREADS: usize = 2;

/// Lookups of each thread in a round; fewer where it is only tested.
const LOOKUPS: usize = if cfg!(debug_assertions) {
    10_000
} else {
    200_000
};

/// Runs `prepare`, then `work` in two threads at once, each told its number;
/// each one's CPU time of the work, and the wall time of the longer.
fn both(
    prepare: impl Fn(usize) + Sync,
    work: impl Fn(usize) + Sync,
) -> ([Duration; THREADS], Duration) {
    let barrier = Barrier::new(THREADS);
    let run = |thread: usize| {
        stay_on(thread);
        prepare(thread);
        barrier.wait();
        let begin = Instant::now();
        let (cpu, ()) = timed(|| work(thread));
        (cpu, begin.elapsed())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        let first = scope.spawn(|| run(0));
        let results = [first, other].map(|thread| thread.join().expect("no lookup panics"));
        (results.map(|(cpu, _)| cpu), results[0].1.max(results[1].1))
    })
}

/// How many times one thread's lookups two threads do.
///
/// Whoever is timed has just been through another window of the keys, untimed,
/// and no window is timed twice in a round: caches are as full alone as
/// together.
pub(super) fn speedup(contestants: &[Contestant], keys: &Keys, rounds: usize) -> Vec<Series> {
    const WINDOWS: usize = 8;
    let window = |at: usize, count: usize| {
        let begin = at % WINDOWS * (keys.len() / WINDOWS);
        &keys.present()[begin..begin + count]
    };
    run_with(contestants, rounds, |contestant, round| {
        let fewer = (contestant.peer.fewer)(keys.len());
        let count = ((keys.len() / WINDOWS).min(LOOKUPS) / fewer).max(1);
        let passes = (LOOKUPS / 2 / fewer / count).clamp(1, 1000);
        let warm = |at| contestant.table.run(Operation::Hit, window(at, count));
        warm(round)?;
        let run = |at| {
            for _ in 0..passes {
                contestant.table.run(Operation::Hit, window(at, count));
            }
        };
        let (alone, ()) = timed(|| run(round + 1));
        let ([first, second], _) = both(
            |thread| {
                warm(round + 2 + 3 * thread);
            },
            |thread| run(round + 3 + 3 * thread),
        );
        let times = |together: Duration| alone.as_secs_f64() / together.as_secs_f64();
        Some(times(first) + times(second))
    })
}

/// Nanoseconds of one operation of mixed work: `percent` writes, half of them
/// insertions, over twice as many objects as the table has entries at the
/// start and on average. With the wall time of each contestant as a note.
pub(super) fn mixed(
    percent: usize,
    contestants: &[Contestant],
    keys: &Keys,
    rounds: usize,
) -> (Vec<Series>, Vec<String>) {
    let lists: Vec<_> = (0..THREADS)
        .map(|thread| operations(percent, keys, LOOKUPS * 4, thread as u64))
        .collect();
    let mut walls: Vec<(&str, Vec<f64>)> = Vec::new();
    let series = run_with(contestants, rounds, |contestant, round| {
        let count = LOOKUPS / (contestant.peer.fewer)(keys.len());
        let begin = round % 4 * LOOKUPS;
        let part = |thread: usize| &lists[thread][begin..begin + count];
        contestant.table.mixed(&[])?;
        let work = |thread| {
            contestant.table.mixed(part(thread));
        };
        let (cpu, wall) = both(|_| (), work);
        let name = contestant.peer.name;
        match walls.iter_mut().find(|(peer, _)| *peer == name) {
            Some((_, samples)) => samples.push(each(wall, count)),
            None => walls.push((name, vec![each(wall, count)])),
        }
        Some(cpu.iter().map(|&time| each(time, count)).sum::<f64>() / THREADS as f64)
    });
    let walls: Vec<_> = walls
        .iter()
        .map(|(peer, samples)| format!("{peer} {}", number(Spread::of(samples).median)))
        .collect();
    let note = format!("by the wall clock, ns: {}", walls.join(", "));
    (series, vec![note])
}

/// Operations on objects drawn from all that there are.
fn operations(percent: usize, keys: &Keys, count: usize, seed: u64) -> Vec<usize> {
    let mut rng = SplitMix::new(seed ^ 0x6d69_7865_6400 ^ percent as u64);
    let lists = [keys.present(), keys.absent()];
    (0..count)
        .map(|_| {
            let list = lists[rng.below(2)];
            let key = list[rng.below(list.len())];
            let what = match (rng.below(100) < percent, rng.below(2)) {
                (false, _) => Mixed::Get,
                (true, 0) => Mixed::Insert,
                (true, _) => Mixed::Free,
            };
            mixed_op(key, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_work_has_the_share_of_writes_that_it_says() {
        let keys = Keys::new(1000);
        let list = operations(5, &keys, 100_000, 0);
        let kind = |k: usize| list.iter().filter(|&&op| op & 3 == k).count();
        assert!((94_500..95_500).contains(&kind(0)), "{}", kind(0));
        assert!((2_200..2_800).contains(&kind(1)), "{}", kind(1));
        assert!((2_200..2_800).contains(&kind(2)), "{}", kind(2));
        assert_ne!(
            list,
            operations(5, &keys, 100_000, 1),
            "each thread its own"
        );
    }
}
