//! Two segments that are nearly empty become one, while others use them.
//!
//! Three objects are in two segments; when two of them have been freed, the round that
//! destroys the second one merges.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use umbra_loom::{
    Bound, INSERTIONS, Payload, Rcu, Tracked, deep, explore, finish, free, free_all, objects,
    spawn, walk, with_table,
};
use umbra_shadow::{Platform, Table};

/// Objects of the lower segment (of the hash's low bit 0), and of the upper one.
fn lower(n: usize) -> usize {
    objects(|hash| hash & 1 == 0).nth(n).unwrap()
}

fn upper(n: usize) -> usize {
    objects(|hash| hash & 1 == 1).nth(n).unwrap()
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
    for (name, of) in [("lower", lower as fn(usize) -> usize), ("upper", upper)] {
        let name = format!("merge | alloc with a split, {name}");
        ended &= explore(&name, deep(1, 2), move || {
            with_table(|table| {
                about_to_merge(table, lower(0), upper(0));
                let new = [of(1), of(2), of(3)];
                let before = table.stats().splits;
                while_merged(table, upper(0), move |t| {
                    for obj in new {
                        assert!(Payload::put(t, obj, 3));
                    }
                });
                for obj in new {
                    assert_eq!(Payload::look(table, obj), Some(3));
                }
                assert_eq!(Payload::look(table, lower(0)), Some(1));
                assert_eq!(walk(table).len(), 4);
                // (A split, and the renewal of the one that was joined.)
                match (table.stats().merges, table.stats().splits - before) {
                    (1, _) => TOGETHER.store(true, Relaxed),
                    (0, 2) => APART.store(true, Relaxed),
                    _ => {}
                }
            });
        });
    }
    let both = TOGETHER.load(Relaxed) && APART.load(Relaxed);
    assert!(!ended || both, "some are merged before, and some are not");
}

/// The two have more entries than one segment has lanes by the time they are frozen: each is
/// renewed.
#[test]
fn g9_merge_that_does_not_fit() {
    static APART: AtomicBool = AtomicBool::new(false);
    let ended = explore("merge | allocs that do not fit", deep(1, 2), || {
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

/// G6: a segment of which four slots lead to one is split, and its heir too: each has the
/// aliases that are its own.
#[test]
fn g6_get_against_splits_of_what_was_merged() {
    explore("get | alloc with splits of the merged", Some(2), || {
        with_table(|table| {
            let of = |low: u64, n: usize| objects(move |hash| hash & 3 == low).nth(n).unwrap();
            for low in 0..4 {
                for n in 0..2 {
                    assert!(Payload::put(table, of(low, n), low));
                }
            }
            assert!(table.stats().lines >= 6, "three segments or four");
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
