//! A type that is emptied gives its lines back, while others use it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use loom::thread;
use umbra_loom::{INSERTIONS, Payload, Tracked, explore};
use umbra_shadow::{Smr, Table};

const A: usize = 0x1000;
const B: usize = 0x2000;
const C: usize = 0x3000;
const D: usize = 0x4000;

/// Whether the table has no lines, or those of a body that was never grown.
fn given_back(table: &Table<Tracked>) -> bool {
    table.stats().lines <= 1
}

/// A table with a segment, and one variable of `B` in it.
fn grown(platform: &Tracked) -> Table<Tracked> {
    let table = platform.table();
    assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
    assert!(table.free(A));
    assert!(table.stats().lines > 1 && table.live() == 1);
    table
}

/// The last variable goes while `other` runs; what it leaves is checked by `after`.
fn while_emptied(
    name: &str,
    bound: Option<usize>,
    other: impl Fn(&Table<Tracked>) + Send + Sync + 'static,
    after: fn(&Table<Tracked>),
) {
    explore(name, bound, move || {
        let platform = Tracked::new();
        let table = grown(&platform);
        let freeing = {
            let table = table.clone();
            thread::spawn(move || assert!(table.free(B)))
        };
        other(&table);
        freeing.join().unwrap();
        after(&table);
        drop(table);
        platform.barrier();
    });
}

/// An insertion is not lost with a body that is given up, and opens one that is only
/// closing.
#[test]
fn g9_shrink_against_alloc() {
    for (name, insert) in INSERTIONS {
        while_emptied(
            &format!("shrink | {name}"),
            Some(3),
            move |table| insert(table, C, 3),
            |table| {
                assert_eq!(Payload::look(table, C), Some(3));
                assert_eq!(Payload::look(table, B), None);
            },
        );
    }
}

/// The same for the object that is being freed.
#[test]
fn g9_shrink_against_alloc_of_what_goes() {
    while_emptied(
        "shrink | alloc of what goes",
        Some(3),
        |table| {
            Payload::put(table, B, 3);
        },
        |table| {
            let there = Payload::look(table, B);
            assert!(matches!(there, None | Some(3)));
            assert!(there.is_some() || given_back(table), "looked at again");
        },
    );
}

/// A type that was never looked at before: its last entry is one that was made and not
/// needed, and either the look finds it off the count, or its owner finds the look declined.
///
/// One free alone: the change of the count by a second one would bring with it what the
/// first one's round did, if there is any release between the two.
#[test]
fn g9_first_shrink_against_an_entry_not_needed() {
    explore(
        "free with the first look | alloc of what goes",
        Some(3),
        || {
            let platform = Tracked::new();
            let table = platform.table();
            assert!(Payload::put(&table, B, 2));
            while table.stats().lines <= 1 {
                assert!(table.free(B) && Payload::put(&table, B, 2));
            }
            let freeing = {
                let table = table.clone();
                thread::spawn(move || assert!(table.free(B)))
            };
            let put = Payload::put(&table, B, 3);
            freeing.join().unwrap();
            assert!(put || given_back(&table), "looked at again");
            drop(table);
            platform.barrier();
        },
    );
}

/// A look that met an insertion's growth is made up for when that is done.
#[test]
fn g9_shrink_against_growth() {
    while_emptied(
        "shrink | growth",
        Some(2),
        |table| assert!(Payload::put(table, C, 3) && Payload::put(table, D, 4)),
        |table| {
            assert!(table.free(C) && table.free(D));
            assert!(given_back(table), "looked at again");
        },
    );
    explore("shrink | growth of what goes", Some(2), || {
        let platform = Tracked::new();
        let table = grown(&platform);
        let other = {
            let table = table.clone();
            thread::spawn(move || assert!(Payload::put(&table, C, 3)))
        };
        assert!(table.free(B));
        let gone = table.free(C);
        other.join().unwrap();
        assert!(!gone || given_back(&table), "looked at again");
        drop(table);
        platform.barrier();
    });
}

/// Nobody who looks is misled.
#[test]
fn g9_shrink_against_get() {
    while_emptied(
        "shrink | get",
        None,
        |table| assert!(matches!(Payload::look(table, B), None | Some(2))),
        |table| {
            assert_eq!(Payload::look(table, B), None);
            assert!(given_back(table));
        },
    );
}

/// The body is given back once, whoever takes it out: who frees its last variable, or who
/// frees all.
#[test]
fn g9_shrink_against_free_all() {
    static FIRST: AtomicBool = AtomicBool::new(false);
    static LAST: AtomicBool = AtomicBool::new(false);
    let ended = explore("shrink | free_all", Some(3), || {
        let platform = Tracked::new();
        let table = grown(&platform);
        let freeing = {
            let table = table.clone();
            thread::spawn(move || {
                let freed = table.free(B);
                LAST.fetch_or(freed && !given_back(&table), Relaxed);
            })
        };
        FIRST.fetch_or(given_back(&table), Relaxed);
        table.free_all(None);
        freeing.join().unwrap();
        assert!(table.live() == 0 && given_back(&table));
        assert!(Payload::put(&table, C, 3), "the type is as good as new");
        assert_eq!(Payload::look(&table, C), Some(3));
        assert!(table.free(C));
        drop(table);
        platform.barrier();
    });
    let both = FIRST.load(Relaxed) && LAST.load(Relaxed);
    assert!(
        !ended || both,
        "the shrink is over, or still to come, when all is freed"
    );
}

/// Two insertions meet a body that closes; both are found afterwards.
#[test]
fn g9_shrink_against_two_allocs() {
    explore("shrink | alloc | alloc", Some(2), || {
        let platform = Tracked::new();
        let table = grown(&platform);
        let others = [A, C].map(|object| {
            let table = table.clone();
            thread::spawn(move || assert!(Payload::put(&table, object, 7)))
        });
        assert!(table.free(B));
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(Payload::look(&table, A), Some(7));
        assert_eq!(Payload::look(&table, C), Some(7));
        drop(table);
        platform.barrier();
    });
}
