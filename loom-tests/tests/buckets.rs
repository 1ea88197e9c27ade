//! Models of the attic's list with more than one entry, and of its buckets, which
//! are doubled and linked while others search.

use umbra_loom::{Payload, Tracked, explore, finish, free, objects, quick, spawn, walk};
use umbra_shadow::Table;

const A: usize = 0x1000;
const B: usize = 0x2000;

/// A table whose only line is full and cannot be replaced, with `n` entries in the
/// attic, and an object more that is to go there. (Four at most, or the line's head
/// is worn out.) All are of one bucket, which the search after the second links.
fn with_attic(n: usize, f: impl Fn(&Table<Tracked>, &[usize], usize)) {
    let platform = Tracked::new();
    let table = platform.table();
    assert!(Payload::put(&table, A, 1));
    platform.cramp(true);
    assert!(Payload::put(&table, B, 1));
    let objects: Vec<usize> = objects(|hash| hash & 1 == 1)
        .filter(|&obj| obj > B)
        .take(n + 1)
        .collect();
    let (there, new) = objects.split_at(n);
    for &obj in there {
        assert!(Payload::put(&table, obj, 1));
    }
    assert_eq!(table.stats().attic, n);
    f(&table, there, new[0]);
    finish(&platform, table);
}

/// R34: an entry that is linked behind another one is seen whole, whichever of the
/// two the order of the list puts first.
#[test]
fn r34_get_against_alloc_behind_another() {
    for n in 1..3 {
        explore(&format!("get | alloc, attic of {n}"), None, move || {
            with_attic(n, |table, _, new| {
                let put = spawn(table, move |t| assert!(Payload::put(t, new, 3)));
                assert!(matches!(Payload::look(table, new), None | Some(3)));
                put.join().unwrap();
                assert_eq!(Payload::look(table, new), Some(3));
            });
        });
    }
}

/// G6: a bucket is linked under lookups of what it has.
#[test]
fn g6_get_against_a_new_bucket() {
    for n in 1..3 {
        explore(
            &format!("get all | alloc, attic of {n}"),
            quick(2),
            move || {
                with_attic(n, |table, there, new| {
                    let put = spawn(table, move |t| assert!(Payload::put(t, new, 3)));
                    for &obj in there {
                        assert_eq!(Payload::look(table, obj), Some(1), "always there");
                    }
                    put.join().unwrap();
                });
            },
        );
    }
}

/// G8: neighbours leave the list at once, while a bucket may come between them.
#[test]
fn g8_frees_of_neighbours_in_the_attic() {
    for n in 2..4 {
        explore(&format!("free | free, attic of {n}"), Some(2), move || {
            with_attic(n, |table, there, _| {
                let (first, second) = (there[0], there[1]);
                let other = spawn(table, move |t| assert!(free(t, first)));
                assert!(free(table, second));
                other.join().unwrap();
                for (i, &obj) in there.iter().enumerate() {
                    assert_eq!(Payload::look(table, obj), (i > 1).then_some(1));
                }
            });
        });
    }
}

/// G12: the longest run is counted, and a walk made, while an entry comes.
#[test]
fn g12_stats_against_alloc_in_the_attic() {
    for n in 1..3 {
        explore(
            &format!("stats, iterate | alloc, attic of {n}"),
            Some(2),
            move || {
                with_attic(n, |table, _, new| {
                    let put = spawn(table, move |t| assert!(Payload::put(t, new, 3)));
                    let longest = table.stats().longest;
                    assert!(longest == n || longest == n + 1, "{longest}");
                    assert!(walk(table).len() >= n + 2, "always there");
                    put.join().unwrap();
                });
            },
        );
    }
}
