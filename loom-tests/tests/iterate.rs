//! Walks over a whole table against everything that changes it, and the
//! emptyings against one another. Only the public operations.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use umbra_loom::{INSERTIONS, Payload, explore, free, free_all, quick, spawn, walk, with_table};

const A: usize = 0x1000;
const B: usize = 0x2000;

/// A walk sees what was there all the time, and of what comes all or nothing.
#[test]
fn g1_iterate_against_alloc() {
    for (name, insert) in INSERTIONS {
        explore(&format!("iterate | {name}"), Some(3), move || {
            with_table(|table| {
                assert!(Payload::put(table, A, 1));
                let put = spawn(table, move |t| insert(t, B, 2));
                let seen = walk(table);
                assert!(seen == [(A, 1)] || seen == [(A, 1), (B, 2)], "{seen:?}");
                put.join().unwrap();
                assert_eq!(walk(table), [(A, 1), (B, 2)]);
            });
        });
    }
}

/// G8: what a walk looks at is not taken apart under it.
#[test]
fn g8_iterate_against_free() {
    explore("iterate | free", None, || {
        with_table(|table| {
            assert!(Payload::put(table, A, 1) && Payload::put(table, B, 2));
            let frees = spawn(table, |t| assert!(free(t, A)));
            let seen = walk(table);
            assert!(seen == [(B, 2)] || seen == [(A, 1), (B, 2)], "{seen:?}");
            frees.join().unwrap();
            assert_eq!(walk(table), [(B, 2)]);
        });
    });
}

/// G7, G8: the whole table goes under a walk.
#[test]
fn g7_iterate_against_free_all() {
    explore("iterate | free_all", None, || {
        with_table(|table| {
            assert!(Payload::put(table, A, 1) && Payload::put(table, B, 2));
            let all = spawn(table, free_all);
            for pair in walk(table) {
                assert!(pair == (A, 1) || pair == (B, 2), "{pair:?}");
            }
            all.join().unwrap();
            assert_eq!(walk(table), []);
        });
    });
}

/// G6: what was there before growth began is seen, whichever half it goes to.
#[test]
fn g6_iterate_against_growth() {
    explore("iterate | alloc with growth", Some(3), || {
        with_table(|table| {
            for obj in 1..4 {
                assert!(Payload::put(table, obj * 0x40, obj as u64));
            }
            let put = spawn(table, |t| {
                for obj in 4..6 {
                    assert!(Payload::put(t, obj * 0x40, obj as u64));
                }
            });
            let seen = walk(table);
            for obj in 1..4 {
                let pair = (obj * 0x40, obj as u64);
                assert!(seen.contains(&pair), "{pair:?} is missing in {seen:?}");
            }
            put.join().unwrap();
            assert_eq!(walk(table).len(), 5);
        });
    });
}

/// G6, G8: who frees what he walks over in slices frees all that was there, each once,
/// whichever half it goes to meanwhile.
#[test]
fn g6_walk_to_free_against_growth() {
    static GREW: AtomicBool = AtomicBool::new(false);
    let ended = explore("free each | alloc with growth", Some(1), || {
        with_table(|table| {
            assert!(Payload::put(table, 0x40, 1) && Payload::put(table, 0x80, 2));
            let before = table.stats().splits;
            let put = spawn(table, |t| assert!(Payload::put(t, 0xc0, 3)));
            let mut freed = Vec::new();
            table.for_each_to_free(|obj, _| {
                if freed.len() == 1 && table.stats().splits > before {
                    GREW.store(true, Relaxed);
                }
                assert!(free(table, obj), "given once");
                freed.push(obj);
            });
            assert!(freed.contains(&0x40) && freed.contains(&0x80), "{freed:?}");
            put.join().unwrap();
            assert_eq!(table.live(), 3 - freed.len());
        });
    });
    assert!(!ended || GREW.load(Relaxed), "between two slices, too");
}

/// G7: a walk that a free_all overtakes does not go on with what comes after it: it sees
/// variables of before or of after, not of both, and no object twice.
#[test]
fn g7_walk_against_free_all_and_alloc() {
    explore("iterate | free_all, alloc", Some(2), || {
        with_table(|table| {
            for obj in 1..4 {
                assert!(Payload::put(table, obj * 0x40, obj as u64));
            }
            let again = spawn(table, |t| {
                free_all(t);
                for obj in 1..4 {
                    assert!(Payload::put(t, obj * 0x40, 10 + obj as u64));
                }
            });
            let seen = walk(table);
            let twice = seen.windows(2).find(|pair| pair[0].0 == pair[1].0);
            assert!(twice.is_none(), "{seen:?}");
            let after = seen.iter().filter(|&&(_, value)| value > 10).count();
            assert!(after == 0 || after == seen.len(), "of both: {seen:?}");
            again.join().unwrap();
        });
    });
}

/// G7, G8: of two emptyings at once one gets each variable.
#[test]
fn g7_free_all_against_free_all() {
    explore("free_all | free_all", None, || {
        with_table(|table| {
            assert!(Payload::put(table, A, 1));
            let all = spawn(table, free_all);
            free_all(table);
            assert_eq!(Payload::look(table, A), None);
            all.join().unwrap();
        });
    });
}

/// G6, G7: a table that is emptied while it grows keeps nothing of before.
#[test]
fn g7_free_all_against_growth() {
    explore("free_all | alloc with growth", quick(4), || {
        with_table(|table| {
            for obj in 1..4 {
                assert!(Payload::put(table, obj * 0x40, obj as u64));
            }
            let put = spawn(table, |t| {
                for obj in 4..6 {
                    assert!(Payload::put(t, obj * 0x40, obj as u64));
                }
            });
            free_all(table);
            put.join().unwrap();
            for (obj, _) in walk(table) {
                assert!(obj > 3 * 0x40, "{obj:#x} was there before");
            }
        });
    });
}
