//! Models of guests, entries whose line is full and that stand in another line of
//! its group, and of the variable of the address 0. A line has two lanes under
//! loom, a group two lines.

use umbra_loom::{
    Payload, Tracked, deep, ensure, explore, finish, free, free_all, objects, quick, spawn,
};
use umbra_shadow::Table;

/// A segment whose first line is full (with the first two objects) and cannot be
/// replaced while the table is cramped.
fn with_full_line(f: impl Fn(&Tracked, &Table<Tracked>, &[usize])) {
    with_objects(|hash| hash >> 63 == 0, f);
}

/// The same with the first four objects whose hash is as wanted.
fn with_objects(wanted: fn(u64) -> bool, f: impl Fn(&Tracked, &Table<Tracked>, &[usize])) {
    let objects: Vec<usize> = objects(wanted).take(4).collect();
    let platform = Tracked::new();
    let table = platform.table();
    for &obj in &objects[..2] {
        assert!(Payload::put(&table, obj, 1));
    }
    platform.cramp(true);
    assert_eq!(table.stats().lines, 2, "past the root");
    f(&platform, &table, &objects);
    finish(&platform, table);
}

#[test]
fn r34_get_against_alloc_of_a_guest() {
    explore("get | alloc, guest", None, || {
        with_full_line(|_, table, objects| {
            let guest = objects[2];
            let put = spawn(table, move |t| assert!(Payload::put(t, guest, 3)));
            assert!(matches!(Payload::look(table, guest), None | Some(3)));
            put.join().unwrap();
            assert_eq!(Payload::look(table, guest), Some(3));
            assert_eq!(table.stats().attic, 0, "it stands in the other line");
        });
    });
}

#[test]
fn g1_get_against_free_of_a_guest() {
    explore("get | free, guest", None, || {
        with_full_line(|_, table, objects| {
            let guest = objects[2];
            assert!(Payload::put(table, guest, 3));
            let frees = spawn(table, move |t| {
                assert!(free(t, guest));
            });
            assert!(matches!(Payload::look(table, guest), None | Some(3)));
            frees.join().unwrap();
            assert_eq!(Payload::look(table, guest), None);
        });
    });
}

#[test]
fn r44_two_inserts_of_one_guest() {
    explore("get_or_alloc | get_or_alloc, guest", deep(2, 3), || {
        with_full_line(|_, table, objects| {
            let guest = objects[2];
            let other = spawn(table, move |t| ensure(t, guest, 3));
            let mine = ensure(table, guest, 4);
            assert_eq!(other.join().unwrap(), mine, "one variable");
            assert_eq!(table.stats().live, 3);
        });
    });
}

/// The same in a line whose guests were known before, so that its bits stay as they are.
#[test]
fn r44_two_inserts_of_one_guest_after_another() {
    explore(
        "get_or_alloc | get_or_alloc, a guest once more",
        deep(2, 3),
        || {
            with_full_line(|_, table, objects| {
                let guest = objects[2];
                assert!(Payload::put(table, guest, 2) && free(table, guest));
                let other = spawn(table, move |t| ensure(t, guest, 3));
                let mine = ensure(table, guest, 4);
                assert_eq!(other.join().unwrap(), mine, "one variable");
                assert_eq!(table.stats().live, 3);
            });
        },
    );
}

/// One finds its line full and looks for a seat elsewhere, the other finds a lane
/// that was freed.
#[test]
fn r44_one_object_at_home_and_as_a_guest() {
    explore("free, get_or_alloc | get_or_alloc, guest", Some(2), || {
        with_full_line(|_, table, objects| {
            let (first, guest) = (objects[0], objects[2]);
            let other = spawn(table, move |t| {
                assert!(free(t, first));
                ensure(t, guest, 3)
            });
            let mine = ensure(table, guest, 4);
            assert_eq!(other.join().unwrap(), mine, "one variable");
            assert_eq!(table.stats().live, 2);
        });
    });
}

/// G6: the lines of a guest are replaced under a lookup, and under a free.
#[test]
fn g6_a_guest_against_a_split() {
    for freed in [false, true] {
        explore(
            &format!(
                "{} a guest | alloc with a split",
                if freed { "free" } else { "get" }
            ),
            Some(2),
            move || {
                with_full_line(|platform, table, objects| {
                    let guest = objects[2];
                    assert!(Payload::put(table, guest, 3));
                    platform.cramp(false);
                    let last = objects[3];
                    let put = spawn(table, move |t| assert!(Payload::put(t, last, 4)));
                    if freed {
                        assert!(free(table, guest));
                    } else {
                        assert_eq!(Payload::look(table, guest), Some(3), "always there");
                    }
                    put.join().unwrap();
                    assert_eq!(Payload::look(table, guest), (!freed).then_some(3));
                    assert_eq!(Payload::look(table, last), Some(4));
                });
            },
        );
    }
}

/// G6: a guest that is one in the heir too is found there.
#[test]
fn g6_a_guest_inherited_as_a_guest() {
    explore(
        "get a guest | alloc with a split, guest again",
        quick(2),
        || {
            // One line, one heir.
            let one = |hash: u64| hash >> 63 == 0 && hash & 1 == 0;
            with_objects(one, |platform, table, objects| {
                let guest = objects[2];
                assert!(Payload::put(table, guest, 3));
                platform.cramp(false);
                let last = objects[3];
                let put = spawn(table, move |t| assert!(Payload::put(t, last, 4)));
                assert_eq!(Payload::look(table, guest), Some(3), "always there");
                put.join().unwrap();
                for (&obj, value) in objects.iter().zip([1, 1, 3, 4]) {
                    assert_eq!(Payload::look(table, obj), Some(value));
                }
            });
        },
    );
}

/// G6: an insertion that is about to seat a guest meets the split of its segment.
#[test]
fn g6_alloc_of_a_guest_against_a_split() {
    explore("alloc a guest | alloc with a split", deep(1, 2), || {
        with_full_line(|platform, table, objects| {
            let (third, fourth) = (objects[2], objects[3]);
            platform.cramp(false);
            let put = spawn(table, move |t| assert!(Payload::put(t, third, 3)));
            assert!(Payload::put(table, fourth, 4));
            put.join().unwrap();
            for (&obj, value) in objects.iter().zip([1, 1, 3, 4]) {
                assert_eq!(Payload::look(table, obj), Some(value));
            }
        });
    });
}

/// G11: the address 0 has a slot of its own, with the same promises.
#[test]
fn g11_two_inserts_of_null_and_a_free() {
    explore("get_or_alloc | get_or_alloc, NULL", Some(2), || {
        let platform = Tracked::new();
        let table = platform.table();
        let other = spawn(&table, |t| ensure(t, 0, 3));
        let mine = ensure(&table, 0, 4);
        assert_eq!(other.join().unwrap(), mine, "one variable");
        drop(table);
        umbra_shadow::Smr::barrier(&platform);
    });
    explore("free, alloc | get, NULL", Some(2), || {
        let platform = Tracked::new();
        let table = platform.table();
        assert!(Payload::put(&table, 0, 1));
        let other = spawn(&table, |t| {
            assert!(free(t, 0));
            assert!(Payload::put(t, 0, 2));
        });
        assert!(matches!(Payload::look(&table, 0), None | Some(1 | 2)));
        other.join().unwrap();
        assert_eq!(Payload::look(&table, 0), Some(2));
        free_all(&table);
        drop(table);
        umbra_shadow::Smr::barrier(&platform);
    });
}

/// A guest that is not committed stands in front of the one that is: who frees
/// the live one is not misled.
#[test]
fn r44_free_of_a_guest_behind_one_that_is_not_committed() {
    explore("alloc, free | alloc, guest", Some(2), || {
        with_full_line(|_, table, objects| {
            let guest = objects[2];
            let other = spawn(table, move |t| {
                let _ = Payload::put(t, guest, 3);
            });
            if Payload::put(table, guest, 4) {
                assert_eq!(Payload::look(table, guest), Some(4));
                let freed = free(table, guest);
                assert!(freed, "live, and ours alone to free");
            }
            other.join().unwrap();
        });
    });
}
