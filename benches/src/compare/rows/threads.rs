//! Rows of two threads.
//!
//! Each thread keeps to a processor and its time is its own CPU time: what they
//! do to each other through caches and retries counts, what other processes do
//! to them does not. A lock that sleeps gains from that.

use super::super::clock::{each, stay_on, timed};
use super::super::peer::{Filled, Mixed, Operation, mixed_op};
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
/// each one's CPU time of the work with what came of it, and the wall time of the longer.
fn both<R: Send>(
    prepare: impl Fn(usize) + Sync,
    work: impl Fn(usize) -> R + Sync,
) -> ([(Duration, R); THREADS], Duration) {
    let barrier = Barrier::new(THREADS);
    let run = |thread: usize| {
        stay_on(thread);
        prepare(thread);
        barrier.wait();
        let begin = Instant::now();
        let done = timed(|| work(thread));
        (done, begin.elapsed())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        let first = scope.spawn(|| run(0));
        let results = [first, other].map(|thread| thread.join().expect("no lookup panics"));
        let wall = results[0].1.max(results[1].1);
        (results.map(|(done, _)| done), wall)
    })
}

/// How many times one thread's lookups two threads do.
///
/// Whoever is timed has just been through another window of the keys, untimed,
/// and no window is timed twice in a round: caches are as full alone as
/// together.
///
/// # Panics
/// If the contestant read something else than the keys say.
pub(super) fn speedup(
    operation: Operation,
    contestants: &[Contestant],
    keys: &Keys,
    rounds: usize,
) -> Vec<Series> {
    const WINDOWS: usize = 8;
    let list = operation.keys(keys);
    let begin = |at: usize| at % WINDOWS * (keys.len() / WINDOWS);
    let window = |at: usize, count: usize| &list[begin(at)..begin(at) + count];
    // A hit reads the next object of the ring.
    let sum = |at: usize, count: usize| match operation {
        Operation::Miss => 0,
        _ => (begin(at) + 1..=begin(at) + count).fold(0u64, |sum, next| {
            sum.wrapping_add(list[next % list.len()] as u64)
        }),
    };
    run_with(contestants, rounds, |contestant, round| {
        let fewer = (contestant.peer.fewer)(keys.len());
        let count = ((keys.len() / WINDOWS).min(LOOKUPS) / fewer).max(1);
        let passes = (LOOKUPS / 2 / fewer / count).clamp(1, 1000);
        let warm = |at| contestant.table.run(operation, window(at, count));
        warm(round)?;
        let run = |at| {
            (0..passes).fold(0u64, |sum, _| {
                let read = contestant.table.run(operation, window(at, count));
                sum.wrapping_add(read.unwrap_or(0))
            })
        };
        let alone = timed(|| run(round + 1));
        let ([first, second], _) = both(
            |thread| {
                warm(round + 2 + 3 * thread);
            },
            |thread| run(round + 3 + 3 * thread),
        );
        // Only now: a look at the keys would be in the caches' favour.
        for ((_, read), at) in [(alone, 1), (first, 3), (second, 6)] {
            let expected = sum(round + at, count).wrapping_mul(passes as u64);
            assert_eq!(read, expected, "{} read it wrong", contestant.peer.name);
        }
        let times = |together: Duration| alone.0.as_secs_f64() / together.as_secs_f64();
        Some(times(first.0) + times(second.0))
    })
}

/// Nanoseconds of one operation of mixed work: `percent` writes, half of them
/// insertions, over twice as many objects as the table has entries at the
/// start and on average. With the wall time of each contestant as a note.
///
/// What two threads read while both write cannot be foretold; what they leave can be
/// looked over.
///
/// # Panics
/// If there is something in a table afterwards that nobody put there.
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
        let ([(first, _), (second, _)], wall) =
            both(|_| (), |thread| contestant.table.mixed(part(thread)));
        let name = contestant.peer.name;
        match walls.iter_mut().find(|(peer, _)| *peer == name) {
            Some((_, samples)) => samples.push(each(wall, count)),
            None => walls.push((name, vec![each(wall, count)])),
        }
        Some((each(first, count) + each(second, count)) / THREADS as f64)
    });
    for contestant in contestants {
        // The bounds are as they were, and the chase finds nothing by a key.
        if contestant.table.mixed(&[]).is_some() {
            let looks = LOOKUPS / (contestant.peer.fewer)(keys.len());
            look_over(&*contestant.table, contestant.peer.name, keys, looks);
        }
    }
    let walls: Vec<_> = walls
        .iter()
        .map(|(peer, samples)| format!("{peer} {}", number(Spread::of(samples).median)))
        .collect();
    let note = format!("by the wall clock, ns: {}", walls.join(", "));
    (series, vec![note])
}

/// Looks for as many objects of each kind: one has the word that it was filled with, or
/// the one that an insertion of mixed work gives it, or is not there.
fn look_over(table: &dyn Filled, name: &str, keys: &Keys, looks: usize) {
    let ring = keys.present();
    for (at, &key) in ring.iter().enumerate().take(looks) {
        let next = ring[(at + 1) % ring.len()] as u64;
        let word = table.get_guarded(key).unwrap_or(next);
        assert!(word == next || word == key as u64, "{name} has {word:x}");
    }
    for &key in keys.absent().iter().take(looks) {
        let word = table.get_guarded(key).unwrap_or(key as u64);
        assert_eq!(word, key as u64, "{name} has it wrong");
    }
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
    use super::super::super::peer::roster;
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// A table that is right but for one object.
    struct Liar(Box<dyn Filled>, usize);

    impl Filled for Liar {
        fn run(&self, operation: Operation, part: &[usize]) -> Option<u64> {
            let read = self.0.run(operation, part)?;
            Some(read.wrapping_add(u64::from(part.contains(&self.1))))
        }

        fn mixed(&self, operations: &[usize]) -> Option<u64> {
            self.0.mixed(operations)
        }

        fn get_guarded(&self, key: usize) -> Option<u64> {
            let word = self.0.get_guarded(key);
            if key == self.1 { Some(7) } else { word }
        }

        fn free_part(&self, part: &[usize]) -> u64 {
            self.0.free_part(part)
        }
    }

    fn contestants(keys: &Keys, lie: Option<usize>) -> Vec<Contestant> {
        let peer = roster()[0];
        let table = (peer.filled)(keys);
        let table: Box<dyn Filled> = match lie {
            Some(key) => Box::new(Liar(table, key)),
            None => table,
        };
        vec![Contestant { peer, table }]
    }

    /// Whether a run of `work` over a table that may lie about `lie` is stopped.
    fn stopped(keys: &Keys, lie: Option<usize>, work: impl Fn(&[Contestant])) -> bool {
        let contestants = contestants(keys, lie);
        catch_unwind(AssertUnwindSafe(|| work(&contestants))).is_err()
    }

    #[test]
    fn two_threads_lookups_are_checked() {
        let keys = Keys::new(8 * 100);
        for (operation, lies) in [
            (Operation::Hit, keys.present()[150]),
            (Operation::Miss, keys.absent()[150]),
        ] {
            // Eight rounds, so that each window is timed.
            let work = |table: &[Contestant]| {
                let series = speedup(operation, table, &keys, 8);
                assert_eq!(series[0].samples.len(), 8);
            };
            assert!(!stopped(&keys, None, work), "{operation:?}");
            assert!(stopped(&keys, Some(lies), work), "{operation:?}");
        }
    }

    #[test]
    fn what_mixed_work_leaves_is_looked_over() {
        let keys = Keys::new(1000);
        let work = |table: &[Contestant]| _ = mixed(50, table, &keys, 1);
        assert!(!stopped(&keys, None, work));
        assert!(stopped(&keys, Some(keys.present()[999]), work));
        assert!(stopped(&keys, Some(keys.absent()[999]), work));
    }

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
