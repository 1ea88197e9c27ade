//! Lookups of one thread in tables that are filled.

use super::super::clock::{each, timed};
use super::super::peer::Operation;
use super::super::targets::Series;
use super::{Contestant, series, turns};
use crate::keys::{Keys, SplitMix};
use std::hint::black_box;

/// Lookups that are timed together: far more than a clock costs, few enough
/// that a round over all contestants is short; fewer where it is only tested.
const WINDOW: usize = if cfg!(debug_assertions) {
    10_000
} else {
    200_000
};

/// What a table of some size is looked up with, and in which order.
///
/// A small table's keys would come again and again in one order, which a
/// processor learns: a chain of nodes is then as fast as an array. So they are
/// drawn at random there, with repetitions. Dependent lookups follow the
/// payloads' ring in any case; nothing can be learnt from addresses. As many are drawn
/// again for the run before: what is timed has not just been rehearsed.
pub(super) struct Course<'a> {
    keys: &'a Keys,
    drawn: Option<Drawn>,
}

struct Drawn {
    /// Those of the run before, then those that are timed.
    present: [Vec<usize>; 2],
    absent: [Vec<usize>; 2],
    /// The places in the ring of those that are timed.
    places: Vec<usize>,
}

/// What a round's lookups are.
struct Part<'a> {
    /// Looked up first, untimed: it brings the caches into the state that a
    /// contestant alone would have them in.
    before: &'a [usize],
    timed: &'a [usize],
    /// What [`Filled::run`](super::Filled::run) has to answer.
    expected: Option<u64>,
}

impl<'a> Course<'a> {
    pub(super) fn new(keys: &'a Keys) -> Self {
        let draw = || {
            let mut rng = SplitMix::new(0x636f_7572_7365);
            let mut places = || -> Vec<_> { (0..WINDOW).map(|_| rng.below(keys.len())).collect() };
            let both = [places(), places()];
            let of = |list: &[usize]| {
                let objects = |places: &Vec<usize>| places.iter().map(|&at| list[at]).collect();
                both.each_ref().map(objects)
            };
            let (present, absent) = (of(keys.present()), of(keys.absent()));
            let [_, places] = both;
            Drawn {
                present,
                absent,
                places,
            }
        };
        Self {
            keys,
            drawn: (keys.len() < WINDOW).then(draw),
        }
    }

    /// The part of a round for a contestant that is given `fewer` lookups.
    /// Rounds go through all keys.
    fn part(&self, operation: Operation, round: usize, fewer: usize) -> Part<'_> {
        let ring = self.keys.present();
        let word = |place: usize| ring[(place + 1) % ring.len()] as u64;
        let sum = |places: &mut dyn Iterator<Item = usize>| {
            places.fold(0, |sum: u64, place| sum.wrapping_add(word(place)))
        };
        let answer = |last: usize, places: &mut dyn Iterator<Item = usize>| match operation {
            Operation::Miss | Operation::MissDependent => Some(0),
            Operation::HitDependent => Some(word(last)),
            Operation::Guard => None,
            _ => Some(sum(places)),
        };
        let dependent = operation == Operation::HitDependent;
        if let Some(drawn) = self.drawn.as_ref().filter(|_| !dependent) {
            let [before, timed] = match operation {
                Operation::Miss | Operation::MissDependent => &drawn.absent,
                _ => &drawn.present,
            };
            let len = (timed.len() / fewer).max(1);
            return Part {
                before: &before[..len],
                timed: &timed[..len],
                expected: answer(0, &mut drawn.places[..len].iter().copied()),
            };
        }
        let list = operation.keys(self.keys);
        let window = list.len().min(WINDOW);
        let begin = round % (list.len() / window) * window;
        let len = (window / fewer).max(1);
        let before = (begin + list.len() - len) % list.len();
        Part {
            before: &list[before..(before + len).min(list.len())],
            timed: &list[begin..begin + len],
            expected: answer(begin + len - 1, &mut (begin..begin + len)),
        }
    }
}

/// Nanoseconds of one operation in one round; `None` if the contestant has no
/// such operation.
///
/// # Panics
/// If the contestant read something else than the keys say.
pub(super) fn sample(
    operation: Operation,
    contestant: &Contestant,
    course: &Course<'_>,
    round: usize,
) -> Option<f64> {
    let fewer = (contestant.peer.fewer)(course.keys.len());
    let part = course.part(operation, round, fewer);
    let warm = contestant.table.run(operation, part.before);
    if warm.is_none() && part.expected.is_some() {
        return None;
    }
    let (time, read) = timed(|| black_box(contestant.table.run(operation, black_box(part.timed))));
    let name = contestant.peer.name;
    assert_eq!(read, part.expected, "{name} read it wrong");
    Some(each(time, part.timed.len()))
}

/// A series for each contestant. In each round they take turns, and each round
/// begins with another one.
pub(super) fn run(
    operation: Operation,
    contestants: &[Contestant],
    course: &Course<'_>,
    rounds: usize,
) -> Vec<Series> {
    run_with(contestants, rounds, |contestant, round| {
        sample(operation, contestant, course, round)
    })
}

/// As [`run`], with what `operation` adds to a lookup under a held guard.
pub(super) fn added(
    operation: Operation,
    contestants: &[Contestant],
    course: &Course<'_>,
    rounds: usize,
) -> Vec<Series> {
    run_with(contestants, rounds, |contestant, round| {
        let held = sample(Operation::Hit, contestant, course, round)?;
        Some(sample(operation, contestant, course, round)? - held)
    })
}

/// Lets every contestant give a sample in every round.
pub(super) fn run_with(
    contestants: &[Contestant],
    rounds: usize,
    mut sample: impl FnMut(&Contestant, usize) -> Option<f64>,
) -> Vec<Series> {
    let peers: Vec<_> = contestants.iter().map(|c| c.peer).collect();
    let mut series = series(&peers);
    for round in 0..rounds {
        for at in turns(contestants.len(), round) {
            if let Some(nanos) = sample(&contestants[at], round) {
                series[at].samples.push(nanos);
            }
        }
    }
    series.retain(|s| !s.samples.is_empty());
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_go_through_all_keys_and_know_what_is_read() {
        let keys = Keys::new(2 * WINDOW);
        let course = Course::new(&keys);
        let (one, other) = keys.present().split_at(WINDOW);
        let part = |round| course.part(Operation::Hit, round, 1);
        assert_eq!((part(0).before, part(0).timed), (other, one));
        assert_eq!((part(1).before, part(1).timed), (one, other));
        assert_eq!(part(2).timed, one);
        let words = other[1..].iter().chain(&one[..1]);
        let sum = words.fold(0u64, |sum, &word| sum.wrapping_add(word as u64));
        assert_eq!(part(1).expected, Some(sum));
        let fewer = course.part(Operation::HitDependent, 1, 100);
        assert_eq!(fewer.timed, &other[..WINDOW / 100]);
        assert_eq!(fewer.expected, Some(other[WINDOW / 100] as u64));
    }

    #[test]
    fn a_small_tables_keys_come_in_no_order_that_repeats() {
        let keys = Keys::new(1000);
        let course = Course::new(&keys);
        for operation in [Operation::Hit, Operation::Miss, Operation::MissDependent] {
            let part = course.part(operation, 0, 1);
            assert_eq!(part.timed.len(), WINDOW);
            assert_ne!(part.timed[..1000], part.timed[1000..2000]);
            assert_eq!(part.before.len(), WINDOW);
            assert_ne!(part.before, part.timed, "what is timed was not rehearsed");
            let list = operation.keys(&keys);
            assert!(part.before.iter().all(|key| list.contains(key)));
        }
        let ring = course.part(Operation::HitDependent, 0, 1);
        assert_eq!(ring.timed, keys.present(), "a walk follows the ring");
    }
}
