//! The slots of a merged segment, while it is replaced: in which order, and who is between.

use loom::thread;
use umbra_loom::{Payload, Rcu, explore, finish, free, objects, spawn};
use umbra_shadow::Smr;

/// Steps of the last merge before the one that publishes.
const STEPS: usize = 5;

/// Objects by the low two bits of the hash.
fn of(low: u64, n: usize) -> usize {
    objects(move |hash| hash & 3 == low).nth(n).unwrap()
}

/// G3: what was inserted into a heir by one of its aliases is found by all others. The
/// insertion knows an older directory, in which the last alias is not, and no grace period
/// lies between: the segments were split, emptied and merged in the course of one round,
/// of which only the publication of the last merge is explored.
#[test]
fn g3_alloc_by_an_older_mask_against_a_merge() {
    explore("rcu: reclaim, merges | alloc, get", Some(2), || {
        let rcu = Rcu::new();
        let table = rcu.table();
        // Two segments, of which the round makes one.
        let first = [of(0, 0), of(1, 0), of(2, 0)];
        for obj in first {
            assert!(Payload::put(&table, obj, 1));
        }
        assert!(free(&table, first[1]));
        rcu.barrier();
        table.let_merge();
        assert!(free(&table, first[2]));
        let mut run = rcu.begin().unwrap();
        while table.stats().merges == 0 {
            assert!(run.step(), "there are two segments to merge");
        }
        let new = of(3, 5);
        let puts = spawn(&table, move |t| {
            assert!(Payload::put(t, new, 2));
            // What comes now is as it comes.
            loom::skip_branch();
            assert_eq!(Payload::look(t, new), Some(2), "by whichever slot");
        });
        thread::yield_now();
        loom::stop_exploring();
        // Three of them, of which it makes two, and then one.
        let second = [of(1, 0), of(3, 0), of(1, 1)];
        for obj in second {
            assert!(Payload::put(&table, obj, 3));
        }
        for obj in second {
            assert!(free(&table, obj));
        }
        while table.stats().merges == 1 && run.step() {}
        for _ in 0..STEPS {
            run.step();
        }
        loom::explore();
        run.step();
        loom::stop_exploring();
        while run.step() {}
        puts.join().unwrap();
        finish(&rcu, table);
    });
}
