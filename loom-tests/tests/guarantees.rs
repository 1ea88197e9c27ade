//! Models of guarantees that no pair of operations stands for: nobody waits for another's
//! object (G2), data stays where it is (G4), another birth's variable is not shown (G10).

use std::cell::Cell;

use umbra_loom::{
    FLAGS, Payload, Tracked, deep, ensure, explore, finish, free, free_all, spawn, with_table,
};
use umbra_shadow::{Lookup, Smr, Table};

const A: usize = 0x1000;
const B: usize = 0x2000;
const C: usize = 0x3000;
/// Births of one address.
const FIRST: u64 = 11;
const SECOND: u64 = 22;

/// G2: whoever is stopped, the others get on. A loop that waits for another thread would
/// go on without end where that one is preempted for good, and waiting as for a constructor
/// is an error here.
#[test]
fn g2_nobody_waits_for_anothers_object() {
    type Op = fn(&Table<Tracked>);
    let alloc: Op = |t| assert!(Payload::put(t, B, 2));
    let get_or_alloc: Op = |t| assert_eq!(ensure(t, B, 2), 2);
    let free_other: Op = |t| assert!(free(t, A));
    let free_all_of_it: Op = |t| free_all(t);
    for (name, op) in [
        ("alloc", alloc),
        ("get_or_alloc", get_or_alloc),
        ("free", free_other),
        ("free_all", free_all_of_it),
    ] {
        // Three variables are more than the root holds.
        let grows = name.contains("alloc");
        explore(
            &format!("{name} | alloc, nobody waits"),
            deep(1, 2),
            move || {
                let platform = Tracked::new();
                let table = platform.table();
                assert!(Payload::put(&table, A, 1));
                platform.nobody_waits();
                let other = spawn(&table, |t| assert!(Payload::put(t, C, 3)));
                op(&table);
                other.join().unwrap();
                assert!(!grows || table.stats().splits > 0, "it grew meanwhile");
                finish(&platform, table);
            },
        );
    }
}

/// G4: what the constructor was given is what everybody finds, while the table grows and
/// after it.
#[test]
fn g4_data_stays_where_it_was_constructed() {
    explore("get, get | alloc with two growths", Some(3), || {
        with_table(|table| {
            let constructed = Cell::new(None);
            let made = table.alloc(A, size_of::<Payload>(), FLAGS, |data| {
                constructed.set(Some(data));
                // SAFETY: fresh data of this size.
                unsafe { Payload::construct(data, 1) };
                Ok::<(), ()>(())
            });
            assert_eq!(made.ok(), constructed.get());
            let before = table.stats().splits;
            let other = spawn(table, |t| {
                assert!(Payload::put(t, B, 2) && Payload::put(t, C, 3));
            });
            let there = || table.get(A, &table.platform().pin());
            assert_eq!(there(), constructed.get());
            assert_eq!(there(), constructed.get());
            other.join().unwrap();
            assert_eq!(there(), constructed.get());
            assert!(table.stats().splits >= before + 2, "it grew twice");
        });
    });
}

/// Attaches a payload to `A` for one of its births.
fn put_for(table: &Table<Tracked>, birth: u64) -> bool {
    let made = table.alloc_with_cookie(A, birth, size_of::<Payload>(), FLAGS, |data| {
        // SAFETY: fresh data of this size.
        unsafe { Payload::construct(data, birth) };
        Ok::<(), ()>(())
    });
    made.is_ok()
}

/// G10: who asks for one birth of an address is never shown another's variable.
#[test]
fn g10_get_with_cookie_against_another_birth() {
    explore(
        "get with cookie | free, alloc of another birth",
        Some(3),
        || {
            with_table(|table| {
                assert!(put_for(table, FIRST));
                let other = spawn(table, |t| assert!(free(t, A) && put_for(t, SECOND)));
                for birth in [FIRST, SECOND] {
                    let guard = table.platform().pin();
                    if let Lookup::Live(data) = table.get_with_cookie(A, birth, &guard) {
                        // SAFETY: under the guard.
                        assert_eq!(unsafe { Payload::read(data) }, birth);
                    }
                }
                other.join().unwrap();
                let guard = table.platform().pin();
                assert!(matches!(
                    table.get_with_cookie(A, FIRST, &guard),
                    Lookup::Stale
                ));
                assert!(matches!(
                    table.get_with_cookie(A, SECOND, &guard),
                    Lookup::Live(_)
                ));
            });
        },
    );
}
