//! Two segments that are nearly empty become one, while others use them.
//!
//! Three objects are in two segments; when two of them have been freed, the round that
//! destroys the second one merges.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use loom::thread;
use umbra_loom::{
    Bound, FLAGS, INSERTIONS, Payload, Rcu, Tracked, deep, explore, finish, free, free_all,
    objects, spawn, walk, with_table,
};
use umbra_shadow::{Platform, Smr, Table};

/// Objects of the lower segment (of the hash's low bit 0), and of the upper one.
fn lower(n: usize) -> usize {
    objects(|hash| hash & 1 == 0).nth(n).unwrap()
}

fn upper(n: usize) -> usize {
    objects(|hash| hash & 1 == 1).nth(n).unwrap()
}

/// Objects by the two low bits of the hash: of one of four segments.
fn of(low: u64, n: usize) -> usize {
    objects(move |hash| hash & 3 == low).nth(n).unwrap()
}

/// A table of two segments with the variables `left` (1) and `goes` (2): when that is freed,
/// the segments are merged.
fn about_to_merge<P: Platform>(table: &Table<P>, left: usize, goes: usize) {
    let third = lower(7);
    assert!(Payload::put(table, left, 1) && Payload::put(table, goes, 2));
    assert!(Payload::put(table, third, 3));
    assert_eq!(table.stats().lines, 4, "two segments");
    assert!(free(table, third));
    table.platform().barrier();
    table.let_merge();
}

/// `other` runs while the last step to a merge is made, and the merge. (By the model's own
/// thread, for it is the one to be interrupted.)
fn while_merged<T: 'static>(
    table: &Table<Tracked>,
    goes: usize,
    other: impl FnOnce(&Table<Tracked>) -> T + 'static,
) -> T {
    let other = spawn(table, other);
    assert!(free(table, goes));
    other.join().unwrap()
}

/// Each of the two may be left in either half.
fn each_half(
    name: &str,
    bound: impl Into<Bound> + Copy,
    f: impl Fn(&Table<Tracked>, usize, usize) + Copy + Send + Sync + 'static,
) {
    for (half, left, goes) in [("lower", lower(0), upper(0)), ("upper", upper(0), lower(0))] {
        explore(&format!("{name}, {half} left"), bound, move || {
            with_table(|table| {
                about_to_merge(table, left, goes);
                f(table, left, goes);
            });
        });
    }
}

/// G6, G9: what stays is found at any time, and what goes is not found afterwards.
#[test]
fn g9_merge_against_get() {
    each_half("merge | get", Some(3), |table, left, goes| {
        let seen = while_merged(table, goes, move |t| Payload::look(t, left));
        assert_eq!(seen, Some(1), "always there");
        assert_eq!(Payload::look(table, left), Some(1));
        assert_eq!(Payload::look(table, goes), None);
        assert_eq!(table.stats().merges, 1);
        assert_eq!(table.stats().lines, 2, "one segment");
    });
}

/// The same of a batch.
#[test]
fn g9_merge_against_get_many() {
    each_half("merge | get_many", Some(3), |table, left, goes| {
        let seen = while_merged(table, goes, move |t| Payload::look_many(t, [left, goes]));
        assert_eq!(seen[0], Some(1), "always there");
        assert!(matches!(seen[1], None | Some(2)));
    });
}

/// G3: an insertion helps, into the half that it finds merged or not.
#[test]
fn g9_merge_against_alloc() {
    for (half, new, (name, insert)) in [
        ("lower", lower(1), INSERTIONS[0]),
        ("upper", upper(1), INSERTIONS[1]),
    ] {
        each_half(
            &format!("merge | {name}, {half}"),
            deep(1, 2),
            move |table, left, goes| {
                while_merged(table, goes, move |t| insert(t, new, 3));
                assert_eq!(Payload::look(table, new), Some(3));
                assert_eq!(Payload::look(table, left), Some(1));
                assert_eq!(Payload::look(table, goes), None);
                assert_eq!(walk(table).len(), 2);
            },
        );
    }
}

/// G8: who takes an entry out from under the heir, by an alias, finishes the merge before
/// it retires the entry: a walk that begins later does not meet the old segment.
#[test]
fn g8_merge_against_free_and_walk() {
    each_half("merge | free, iterate", deep(1, 2), |table, left, goes| {
        let seen = while_merged(table, goes, move |t| {
            assert!(free(t, left));
            walk(t)
        });
        assert!(seen.iter().all(|&(obj, _)| obj != left), "freed before");
        assert_eq!(table.live(), 0);
    });
}

/// A walk sees what stays once, whatever becomes of its segment under it.
#[test]
fn g9_merge_against_iterate() {
    each_half("merge | iterate", Some(2), |table, left, goes| {
        let seen = while_merged(table, goes, walk);
        let ones = seen
            .iter()
            .filter(|&&(obj, value)| (obj, value) == (left, 1));
        assert_eq!(ones.count(), 1, "{seen:?}");
        assert!(seen.len() <= 2, "{seen:?}");
        assert_eq!(walk(table), [(left, 1)]);
    });
}

/// G7: a body that is swapped out while it merges is whole, and goes as a whole.
#[test]
fn g7_merge_against_free_all() {
    each_half("merge | free_all", Some(2), |table, left, goes| {
        let all = spawn(table, free_all);
        // (Or it has gone with all.)
        let _ = free(table, goes);
        all.join().unwrap();
        assert_eq!(Payload::look(table, left), None);
        assert_eq!(table.live(), 0);
        assert!(Payload::put(table, left, 4), "the type is as good as new");
    });
}

/// The kernel's work item merges, beside a reader.
#[test]
fn g9_rcu_merge_against_get() {
    explore("rcu: reclaim, merge | get", Some(3), || {
        let rcu = Rcu::new();
        let table = rcu.table();
        about_to_merge(&table, upper(0), lower(0));
        assert!(free(&table, lower(0)));
        let looks = spawn(&table, |t| Payload::look(t, upper(0)));
        while table.stats().merges == 0 {
            assert!(rcu.work(), "there is a round to come");
        }
        assert_eq!(looks.join().unwrap(), Some(1), "always there");
        finish(&rcu, table);
    });
}

/// The upper segment is to be split when the merge comes to it, or the heir is split while
/// somebody is late with the merge.
#[test]
fn g9_merge_against_splits() {
    static TOGETHER: AtomicBool = AtomicBool::new(false);
    static APART: AtomicBool = AtomicBool::new(false);
    let mut ended = true;
    // (Those of the upper one fall into both of its halves: it is split once.)
    for (name, new) in [
        ("lower", [lower(1), lower(2), lower(3)]),
        ("upper", [of(1, 0), of(3, 1), of(1, 1)]),
    ] {
        let in_upper = name == "upper";
        let name = format!("merge | alloc with a split, {name}");
        ended &= explore(&name, Some(1), move || {
            with_table(|table| {
                let goes = of(3, 0);
                about_to_merge(table, lower(0), goes);
                let before = table.stats().splits;
                while_merged(table, goes, move |t| {
                    for obj in new {
                        assert!(Payload::put(t, obj, 3));
                    }
                });
                for obj in new {
                    assert_eq!(Payload::look(table, obj), Some(3));
                }
                assert_eq!(Payload::look(table, lower(0)), Some(1));
                assert_eq!(walk(table).len(), 4);
                let stats = table.stats();
                if stats.merges == 1 {
                    TOGETHER.store(true, Relaxed);
                } else if in_upper && stats.splits == before + 2 {
                    // The lower one was renewed besides: without a proposal there is no reason.
                    APART.store(true, Relaxed);
                } else if in_upper {
                    assert_eq!(stats.splits, before + 1, "no merge was proposed");
                }
            });
        });
    }
    let both = TOGETHER.load(Relaxed) && APART.load(Relaxed);
    assert!(
        !ended || both,
        "some merge, and some find the upper one split"
    );
}

/// The two have more entries than one segment has lanes by the time they are frozen: each is
/// renewed.
#[test]
fn g9_merge_that_does_not_fit() {
    static APART: AtomicBool = AtomicBool::new(false);
    let ended = explore("merge | allocs that do not fit", Some(1), || {
        with_table(|table| {
            about_to_merge(table, lower(0), lower(1));
            let before = table.stats().splits;
            let new = [upper(0), upper(1), lower(2), lower(3)];
            while_merged(table, lower(1), move |t| {
                for obj in new {
                    assert!(Payload::put(t, obj, 3));
                }
            });
            for obj in new {
                assert_eq!(Payload::look(table, obj), Some(3));
            }
            assert_eq!(Payload::look(table, lower(0)), Some(1));
            let stats = table.stats();
            if stats.merges == 0 && stats.splits >= before + 2 {
                APART.store(true, Relaxed);
            }
        });
    });
    assert!(!ended || APART.load(Relaxed), "both are renewed");
}

/// A table of four segments with two variables in each, of the value of their low bits.
fn of_four_segments<P: Platform>(table: &Table<P>) {
    for low in 0..4 {
        for n in 0..2 {
            assert!(Payload::put(table, of(low, n), low));
        }
    }
    assert_eq!(table.stats().lines, 8, "four segments");
}

/// Frees what [`of_four_segments`] made, but for what is to be left; all of it waits for one
/// guard, so that no round looks for merges before all has gone.
fn free_but<P: Platform>(table: &Table<P>, left: &[usize]) {
    let _guard = table.platform().pin();
    for obj in (0..4).flat_map(|low| [of(low, 0), of(low, 1)]) {
        assert!(left.contains(&obj) || free(table, obj));
    }
}

/// A table of two segments that two slots have each, with the variables `left` and `goes`, of
/// low bits that differ in the first: when that is freed, all four lead to one.
fn about_to_merge_four<P: Platform>(table: &Table<P>, left: usize, goes: usize) {
    of_four_segments(table);
    table.let_merge();
    free_but(table, &[left, goes]);
    table.platform().barrier();
    let stats = table.stats();
    assert_eq!((stats.lines, stats.merges), (4, 2), "two segments of four");
}

/// Frees what is between four slots and one segment. (Its round comes when the guard goes: what
/// is before it is not explored.)
fn while_four_merge(
    table: &Table<Tracked>,
    goes: usize,
    other: impl FnOnce(&Table<Tracked>) + 'static,
) {
    let guard = table.platform().pin();
    assert!(free(table, goes));
    let other = spawn(table, other);
    drop(guard);
    other.join().unwrap();
}

/// G8, G9: who is late with a merge, between its aliases and its own slot, while another one
/// comes to the heir by an alias, splits it and splits what it left: that one ends the merge
/// first, or who is late would seat entries in segments that are gone. The alias was an
/// alias of the upper one.
#[test]
fn g9_late_merge_against_splits_by_its_aliases() {
    let name = "merge of four slots | allocs with splits by the fourth";
    explore(name, deep(1, 2), || {
        with_table(|table| {
            let (left, goes) = (of(3, 0), of(2, 0));
            let new = [of(3, 1), of(3, 2), of(3, 3)];
            about_to_merge_four(table, left, goes);
            while_four_merge(table, goes, move |t| {
                // (What it finds in the slot is explored, and the rest is one step: with all that
                // its loads may read there are ten times as many executions.)
                let _ = Payload::look(t, new[0]);
                loom::stop_exploring();
                for obj in new {
                    assert!(Payload::put(t, obj, 4));
                }
                loom::explore();
            });
            for obj in new {
                assert_eq!(Payload::look(table, obj), Some(4));
            }
            assert_eq!(Payload::look(table, left), Some(3));
            assert_eq!(walk(table).len(), 4);
        });
    });
}

/// G8: what stands in the own slot of lines may be younger than they are: the second heir of a
/// split that is not finished, if they were merged and the merged split since. Who has just
/// taken an entry out of them then finishes that split first, and does not help its heir. (The
/// merge is one step, and so are two insertions: what is about it is other models'.)
#[test]
fn g8_free_before_a_merge_and_an_unfinished_split() {
    explore(
        "free | merge of four slots, alloc with a split",
        Some(2),
        || {
            with_table(|table| {
                let (left, goes) = (of(3, 0), of(2, 0));
                let new = [of(3, 1), of(3, 2), of(3, 3)];
                about_to_merge_four(table, left, goes);
                // The round that merges is not held back by the one who is late.
                let guard = table.platform().pin();
                assert!(free(table, goes));
                let frees = spawn(table, move |t| assert!(free(t, left)));
                thread::yield_now();
                loom::stop_exploring();
                drop(guard);
                assert!(Payload::put(table, new[0], 4) && Payload::put(table, new[1], 4));
                let last = table.alloc(new[2], size_of::<Payload>(), FLAGS, |data| {
                    loom::explore();
                    // SAFETY: fresh data of this size.
                    unsafe { Payload::construct(data, 4) };
                    Ok::<(), ()>(())
                });
                assert!(last.is_ok());
                frees.join().unwrap();
                assert_eq!(Payload::look(table, left), None);
                assert_eq!(walk(table).len(), 3);
            });
        },
    );
}

/// G9: two threads at the end of a merge, where both of the segments had an alias: no slot is
/// left to what is gone, whichever of the two comes to it.
#[test]
fn g9_two_helpers_of_a_merge_with_aliases() {
    for (name, low) in [("third", 2), ("fourth", 3)] {
        let name = format!("merge of four slots | help by the {name}");
        explore(&name, Some(1), move || {
            with_table(|table| {
                let (left, goes) = (of(low, 0), of(low ^ 1, 0));
                about_to_merge_four(table, left, goes);
                while_four_merge(table, goes, move |t| t.help(left));
                let stats = table.stats();
                assert_eq!((stats.lines, stats.merges), (2, 3), "one segment");
                for obj in (0..4).map(|low| of(low, 1)) {
                    assert_eq!(Payload::look(table, obj), None);
                }
                assert_eq!(walk(table), [(left, low)]);
            });
        });
    }
}

/// G9: a type with more to merge than a round does has it done by further ones, though nobody
/// writes; what stays is found all the time.
#[test]
fn g9_merging_in_several_rounds_against_get() {
    explore("rcu: reclaim, merges in rounds | get", Some(1), || {
        let rcu = Rcu::new();
        let table = rcu.table();
        let left = of(2, 1);
        assert!(Payload::put(&table, left, 1));
        let goes: Vec<usize> = (0..4)
            .flat_map(|low| (2..5).map(move |n| of(low, n)))
            .collect();
        for &obj in &goes {
            assert!(Payload::put(&table, obj, 2));
        }
        assert!(
            table.stats().lines >= 10,
            "five segments or more, and a round merges three times"
        );
        for &obj in &goes {
            assert!(free(&table, obj));
        }
        rcu.barrier();
        // The last one to go begins the round.
        assert!(Payload::put(&table, goes[0], 2));
        table.let_merge();
        assert!(free(&table, goes[0]));
        let looks = spawn(&table, move |t| Payload::look(t, left));
        while rcu.work() {}
        assert_eq!(looks.join().unwrap(), Some(1), "always there");
        assert_eq!(table.stats().lines, 2, "one segment is left");
        finish(&rcu, table);
    });
}

/// G6: a segment of which four slots lead to one is split, and its heir too: each has the
/// aliases that are its own.
#[test]
fn g6_get_against_splits_of_what_was_merged() {
    explore("get | alloc with splits of the merged", Some(2), || {
        with_table(|table| {
            of_four_segments(table);
            table.let_merge();
            for (low, n) in (0..4).flat_map(|low| [(low, 0), (low, 1)]) {
                assert!((low, n) == (3, 0) || free(table, of(low, n)));
            }
            assert_eq!(table.stats().lines, 2, "one segment is left");
            let looks = spawn(table, move |t| Payload::look(t, of(3, 0)));
            for n in 1..4 {
                assert!(Payload::put(table, of(3, n), 4));
            }
            assert_eq!(looks.join().unwrap(), Some(3), "always there");
            for n in 1..4 {
                assert_eq!(Payload::look(table, of(3, n)), Some(4));
            }
            assert_eq!(Payload::look(table, of(3, 0)), Some(3));
            assert_eq!(walk(table).len(), 4);
        });
    });
}
