//! Reclaiming beside everything that makes work for it: the kernel's work item as
//! a thread of its own ([`Rcu`]), and the early frees that only long schedules
//! show, from states that make them short.

use loom::thread::{self, JoinHandle};
use umbra_loom::{
    Payload, Rcu, Tracked, deep, ensure, explore, finish, free, free_all, objects, spawn, walk,
};
use umbra_shadow::{Smr, Table};

const A: usize = 0x1000;
const B: usize = 0x2000;
const C: usize = 0x3000;
const D: usize = 0x4000;

/// A table over RCU with `A`, and with `B` freed, which waits for the work item.
fn with_work(f: impl Fn(&Rcu, &Table<Rcu>)) {
    let rcu = Rcu::new();
    let table = rcu.table();
    assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
    assert!(free(&table, B));
    f(&rcu, &table);
    finish(&rcu, table);
}

/// The work item, once.
fn worker(rcu: &Rcu) -> JoinHandle<bool> {
    let rcu = rcu.clone();
    thread::spawn(move || rcu.work())
}

/// G8: what the work item takes apart is not what an insertion puts in its place.
#[test]
fn g8_rcu_alloc_against_the_work_item() {
    explore("rcu: alloc | reclaim", None, || {
        with_work(|rcu, table| {
            let worker = worker(rcu);
            assert!(Payload::put(table, B, 3), "freed before");
            assert!(worker.join().unwrap(), "the first B was on the list");
            assert_eq!(Payload::look(table, B), Some(3));
        });
    });
}

/// G5, G8: the same for a caller that takes what is there.
#[test]
fn g8_rcu_get_or_alloc_against_the_work_item() {
    explore("rcu: get_or_alloc | free, reclaim", None, || {
        with_work(|rcu, table| {
            let rcu = rcu.clone();
            let worker = spawn(table, move |t| {
                assert!(free(t, A));
                assert!(rcu.work(), "at least the first B was on the list");
            });
            assert_eq!(ensure(table, B, 3), 3, "freed before");
            worker.join().unwrap();
            assert_eq!(Payload::look(table, B), Some(3));
        });
    });
}

/// G7, G8: a table is emptied while what was freed before is destroyed, and both
/// are once.
#[test]
fn g7_rcu_free_all_against_the_work_item() {
    explore("rcu: free_all | reclaim", None, || {
        with_work(|rcu, table| {
            let worker = worker(rcu);
            free_all(table);
            assert!(worker.join().unwrap());
            assert!(Payload::put(table, A, 3));
            assert_eq!(walk(table), [(A, 3)], "the new body's own");
        });
    });
}

/// G7: the work item takes a body whose last constructor still runs: it waits for
/// that, and does not take the body apart under it.
#[test]
fn g7_rcu_alloc_into_what_the_work_item_takes() {
    // After the insertion of the address 0 no guard is taken: the count of running
    // constructors alone says what comes before the end.
    for late in [B, 0] {
        explore(
            &format!("rcu: alloc {late:#x} | free_all, reclaim"),
            Some(3),
            move || {
                alloc_into_what_goes(late);
            },
        );
    }
}

fn alloc_into_what_goes(late: usize) {
    let rcu = Rcu::new();
    let table = rcu.table();
    assert!(Payload::put(&table, A, 1));
    let all = {
        let rcu = rcu.clone();
        spawn(&table, move |t| {
            free_all(t);
            // Until nothing waits: it is here that the body is taken apart.
            rcu.barrier();
        })
    };
    assert!(Payload::put(&table, late, 2), "before or after, whole");
    all.join().unwrap();
    assert_eq!(Payload::look(&table, A), None);
    assert!(matches!(Payload::look(&table, late), None | Some(2)));
    finish(&rcu, table);
}

/// G6, G8: a segment that was split is given back while a lookup may be in it.
#[test]
fn g6_rcu_split_against_the_work_item() {
    explore("rcu: get | alloc with a split, reclaim", None, || {
        let rcu = Rcu::new();
        let table = rcu.table();
        assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
        let put = {
            let rcu = rcu.clone();
            spawn(&table, move |t| {
                let before = t.stats().splits;
                assert!(Payload::put(t, C, 3));
                assert_eq!(t.stats().splits, before + 1, "it splits");
                assert!(rcu.work(), "the old segment is on the list");
            })
        };
        assert_eq!(Payload::look(&table, A), Some(1), "always there");
        put.join().unwrap();
        for (obj, value) in [(A, 1), (B, 2), (C, 3)] {
            assert_eq!(Payload::look(&table, obj), Some(value));
        }
        finish(&rcu, table);
    });
}

/// A table of these in one segment; the next insertion splits it.
fn with_split_due(objects: &[usize], f: impl Fn(&Table<Tracked>)) {
    let platform = Tracked::new();
    let table = platform.table();
    for (i, &obj) in objects.iter().enumerate() {
        platform.cramp(i > 1);
        assert!(Payload::put(&table, obj, 1));
    }
    platform.cramp(false);
    f(&table);
    finish(&platform, table);
}

/// G8: who takes an entry out from under a second heir finishes the split before
/// it retires the entry. Otherwise a walk that begins later meets the old segment,
/// and in it the entry, which the walk's guard is too young to keep.
#[test]
fn g8_walk_after_a_free_in_the_midst_of_a_split() {
    for doomed in 0..4 {
        explore(
            &format!("alloc with a split | free number {doomed}, iterate"),
            Some(2),
            move || {
                with_split_due(&[A, B, C, D], |table| {
                    let obj = [A, B, C, D][doomed];
                    let walks = spawn(table, move |t| {
                        assert!(free(t, obj));
                        assert!(walk(t).iter().all(|&(o, _)| o != obj), "freed before");
                    });
                    assert!(Payload::put(table, 0xF_F000, 1));
                    walks.join().unwrap();
                    assert_eq!(table.stats().live, 4);
                });
            },
        );
    }
}

/// G6: what was inserted into a second heir, before its split was finished, is there for a
/// walk that begins later: it comes to the split's own slot first, where the old segment is.
#[test]
fn g6_walk_after_an_alloc_in_the_midst_of_a_split() {
    explore("alloc with a split | alloc, iterate", Some(1), || {
        let first: Vec<usize> = objects(|hash| hash & 1 == 0).take(2).collect();
        let second: Vec<usize> = objects(|hash| hash & 1 == 1).take(2).collect();
        with_split_due(&[first[0], second[0]], |table| {
            let new = second[1];
            let walks = spawn(table, move |t| {
                assert!(Payload::put(t, new, 2));
                assert!(walk(t).contains(&(new, 2)), "inserted before");
            });
            assert!(Payload::put(table, first[1], 1));
            walks.join().unwrap();
            assert_eq!(table.stats().live, 4);
        });
    });
}

/// G8: the same for a second heir that is split in its turn: who helps with the
/// first split, because the first half is still frozen, would fill freed lines.
#[test]
fn g8_split_of_a_second_heir_in_the_midst_of_a_split() {
    explore(
        "alloc with a split | alloc with a split of an heir, alloc",
        deep(1, 2),
        || {
            let first: Vec<usize> = objects(|hash| hash & 1 == 0).take(3).collect();
            let second: Vec<usize> = objects(|hash| hash & 1 == 1).take(3).collect();
            with_split_due(&[first[0], second[0], second[1]], |table| {
                let (third, other) = (second[2], first[2]);
                let splits = spawn(table, move |t| {
                    assert!(Payload::put(t, third, 1));
                    assert!(Payload::put(t, other, 1));
                });
                assert!(Payload::put(table, first[1], 1));
                splits.join().unwrap();
                assert_eq!(table.stats().live, 6);
            });
        },
    );
}

/// G8: a spare entry that stood in a slot, though its insertion was not committed,
/// may have been met there by a walk that remembers an older head; it waits for a
/// grace period as a freed one does.
#[test]
fn g8_walk_over_an_insertion_that_loses() {
    explore("iterate (free B, alloc C | alloc C)", Some(2), || {
        let platform = Tracked::new();
        let table = platform.table();
        assert!(Payload::put(&table, A, 1));
        platform.cramp(true);
        assert!(Payload::put(&table, B, 2));
        let mut seen = None;
        table.for_each(|obj, _| {
            if obj != A {
                return;
            }
            // The walk has the head of the line, and goes on to the next slot. The
            // other thread begins only now: that saves a preemption.
            let other = spawn(&table, |t| {
                assert!(free(t, B));
                ensure(t, C, 3)
            });
            thread::yield_now();
            seen = Some((other, ensure(&table, C, 4)));
        });
        let (other, mine) = seen.unwrap();
        assert_eq!(other.join().unwrap(), mine, "one variable");
        finish(&platform, table);
    });
}
