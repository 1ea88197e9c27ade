//! The table's models. The bound stands with each.

use loom::thread;
use umbra_loom::{
    FLAGS, INSERTIONS, Payload, Tracked, deep, ensure, explore, free, free_all, get_or_put, quick,
    spawn, with_table,
};
use umbra_shadow::{AllocError, Smr, Table};

/// Objects that a model uses; distinct, otherwise arbitrary.
const A: usize = 0x1000;
const B: usize = 0x2000;
const C: usize = 0x3000;

/// G1, G8: a lookup sees the variable whole, or not at all; never its ruins.
#[test]
fn g1_get_against_free() {
    explore("get | free", None, || {
        with_table(|table| {
            assert!(Payload::put(table, A, 7));
            let frees = spawn(table, |t| assert!(free(t, A)));
            assert!(matches!(Payload::look(table, A), None | Some(7)));
            frees.join().unwrap();
            assert_eq!(Payload::look(table, A), None);
        });
    });
}

/// R34: what the constructor stored is visible to whoever finds the variable.
#[test]
fn r34_get_against_alloc() {
    for (name, insert) in INSERTIONS {
        explore(&format!("get | {name}"), None, move || {
            with_table(|table| {
                let put = spawn(table, move |t| insert(t, A, 7));
                assert!(matches!(Payload::look(table, A), None | Some(7)));
                put.join().unwrap();
                assert_eq!(Payload::look(table, A), Some(7));
            });
        });
    }
}

/// R44, G5: one of two racing callers constructs, the other gets its data.
#[test]
fn r44_two_inserts_of_one_object() {
    explore("get_or_alloc | get_or_alloc, one object", Some(3), || {
        with_table(|table| {
            let insert = |t: &Table<Tracked>, value| {
                let (ran, data) = get_or_put(t, A, value);
                // SAFETY: nobody frees it in this model.
                let seen = unsafe { Payload::read(data) };
                assert!(!ran || seen == value, "whoever constructs gets its own");
                seen
            };
            let other = {
                let table = table.clone();
                thread::spawn(move || insert(&table, 1))
            };
            let mine = insert(table, 2);
            assert_eq!(other.join().unwrap(), mine, "one variable");
            assert_eq!(table.stats().live, 1);
        });
    });
}

/// R44: where one caller insists on a new variable and the other takes what is there,
/// there is one, and only who constructed it may have been refused nothing.
#[test]
fn r44_alloc_against_get_or_alloc() {
    explore("alloc | get_or_alloc, one object", deep(2, 3), || {
        with_table(|table| {
            let other = spawn(table, |t| Payload::put(t, A, 1));
            let seen = ensure(table, A, 2);
            let made = other.join().unwrap();
            assert_eq!(
                seen,
                if made { 1 } else { 2 },
                "one constructor, whose data stays"
            );
            assert_eq!(table.stats().live, 1);
        });
    });
}

/// The same key's slot again: a second life is a new variable.
#[test]
fn g3_insert_against_free_of_one_object() {
    explore("alloc | free, one object", Some(4), || {
        with_table(|table| {
            assert!(Payload::put(table, A, 1));
            let frees = spawn(table, |t| assert!(free(t, A)));
            let again = Payload::put(table, A, 2);
            frees.join().unwrap();
            assert_eq!(Payload::look(table, A), again.then_some(2));
        });
    });
}

/// G8: of two callers that free one variable, one does.
#[test]
fn g8_two_frees_of_one_variable() {
    explore("free | free", None, || {
        with_table(|table| {
            assert!(Payload::put(table, A, 1));
            let other = {
                let table = table.clone();
                thread::spawn(move || free(&table, A))
            };
            let mine = free(table, A);
            assert!(mine != other.join().unwrap(), "exactly one");
        });
    });
}

/// G8: one thread destroys what another one has read and freed.
#[test]
fn g8_get_and_free_against_free_of_another() {
    explore("get, free | free, of another line", Some(3), || {
        with_table(|table| {
            // Lines of their own, so that their heads order nothing.
            assert!(Payload::put(table, 0x40, 1) && Payload::put(table, 0xc0, 2));
            let other = spawn(table, |t| {
                assert_eq!(Payload::look(t, 0x40), Some(1));
                assert!(free(t, 0x40));
            });
            assert!(free(table, 0xc0));
            other.join().unwrap();
        });
    });
}

/// Neighbours in the list come and go at the same time.
#[test]
fn g3_frees_of_neighbours() {
    explore("free | free, neighbours", Some(3), || {
        with_table(|table| {
            for (obj, value) in [(A, 1), (B, 2), (C, 3)] {
                assert!(Payload::put(table, obj, value));
            }
            let frees = spawn(table, |t| assert!(free(t, A)));
            assert!(free(table, B));
            frees.join().unwrap();
            assert_eq!(Payload::look(table, A), None);
            assert_eq!(Payload::look(table, B), None);
            assert_eq!(Payload::look(table, C), Some(3));
        });
    });
}

/// G6: an insertion that doubles the buckets and one that uses them.
#[test]
fn g6_insert_against_growth() {
    explore("alloc | alloc with growth", deep(1, 2), || {
        with_table(|table| {
            assert!(Payload::put(table, A, 1));
            let put = spawn(table, |t| assert!(Payload::put(t, B, 2)));
            assert!(Payload::put(table, C, 3));
            put.join().unwrap();
            for (obj, value) in [(A, 1), (B, 2), (C, 3)] {
                assert_eq!(Payload::look(table, obj), Some(value), "nothing is lost");
            }
        });
    });
}

/// G6: lookups through buckets that are being linked.
#[test]
fn g6_get_against_growth() {
    explore("get | alloc with growth", Some(3), || {
        with_table(|table| {
            for obj in 1..4 {
                assert!(Payload::put(table, obj * 0x40, obj as u64));
            }
            let put = spawn(table, |t| {
                for obj in 4..6 {
                    assert!(Payload::put(t, obj * 0x40, obj as u64));
                }
            });
            for obj in 1..4 {
                assert_eq!(
                    Payload::look(table, obj * 0x40),
                    Some(obj as u64),
                    "always there"
                );
            }
            put.join().unwrap();
            for obj in 1..6 {
                assert_eq!(Payload::look(table, obj * 0x40), Some(obj as u64));
            }
        });
    });
}

/// G6: a lookup that knows nothing of two growths reads a mask, a page and a slot, each
/// as old as may be: the page is there before the mask that needs it.
#[test]
fn g6_get_against_two_growths() {
    explore("get | alloc with two growths", Some(2), || {
        with_table(|table| {
            assert!(Payload::put(table, 0x40, 1));
            let put = spawn(table, |t| {
                let before = t.stats().splits;
                for obj in 2..4 {
                    assert!(Payload::put(t, obj * 0x40, obj as u64));
                }
                assert!(t.stats().splits >= before + 2, "the root, then a segment");
            });
            assert_eq!(Payload::look(table, 0x40), Some(1), "always there");
            assert!(matches!(Payload::look(table, 0xc0), None | Some(3)));
            put.join().unwrap();
        });
    });
}

/// G7: nothing that was there before a free_all is seen after it.
#[test]
fn g7_free_all_against_get() {
    explore("free_all | get", None, || {
        with_table(|table| {
            assert!(Payload::put(table, A, 1));
            let all = spawn(table, free_all);
            assert!(matches!(Payload::look(table, A), None | Some(1)));
            all.join().unwrap();
            assert_eq!(Payload::look(table, A), None);
        });
    });
}

/// G7: an insertion that a free_all overtakes is before it or after it, whole.
#[test]
fn g7_free_all_against_insert() {
    for (name, insert) in INSERTIONS {
        explore(&format!("free_all | {name}"), None, move || {
            with_table(|table| {
                let all = spawn(table, free_all);
                insert(table, A, 1);
                all.join().unwrap();
                assert!(matches!(Payload::look(table, A), None | Some(1)));
            });
        });
    }
}

/// G7, G8: the variable goes by one of the two, once.
#[test]
fn g7_free_all_against_free() {
    explore("free_all | free", quick(4), || {
        with_table(|table| {
            assert!(Payload::put(table, A, 1));
            let all = spawn(table, free_all);
            let _ = free(table, A);
            all.join().unwrap();
            assert_eq!(table.stats().live, 0);
        });
    });
}

/// G5: the waiter of a constructor that fails tries for itself.
#[test]
fn g5_failing_ctor_with_a_waiter() {
    explore("failing ctor | alloc", deep(2, 3), || {
        with_table(|table| {
            let fail = spawn(table, |t| {
                match t.alloc(A, size_of::<Payload>(), FLAGS, |_| Err(12)) {
                    Err(AllocError::Ctor(12) | AllocError::Exists(_)) => {}
                    other => panic!("{other:?}"),
                }
            });
            assert!(Payload::put(table, A, 5), "the failing one is no obstacle");
            fail.join().unwrap();
            assert_eq!(Payload::look(table, A), Some(5));
        });
    });
}

/// G5, G7: a constructor that fails in a body that is already detached.
#[test]
fn g7_failing_ctor_against_free_all() {
    explore("failing ctor | free_all", quick(4), || {
        with_table(|table| {
            let fail = spawn(table, |t| {
                let failed = t.alloc(A, size_of::<Payload>(), FLAGS, |_| Err(()));
                assert_eq!(failed, Err(AllocError::Ctor(())));
            });
            free_all(table);
            fail.join().unwrap();
            assert_eq!(Payload::look(table, A), None);
        });
    });
}

/// The last handle goes while another thread still looks.
#[test]
fn handles_dropped_from_two_threads() {
    explore("drop | get, drop", None, || {
        let platform = Tracked::new();
        let table = platform.table();
        assert!(Payload::put(&table, A, 1));
        free_all(&table);
        let other = table.clone();
        let drops = thread::spawn(move || drop(other));
        assert_eq!(Payload::look(&table, A), None);
        drop(table);
        drops.join().unwrap();
        platform.barrier();
    });
}

/// The last owner of a type comes after a round that ran in a thread without a handle.
#[test]
fn handle_dropped_against_a_round() {
    explore("free, drop | a guard's end, which reclaims", None, || {
        let platform = Tracked::new();
        let table = platform.table();
        assert!(Payload::put(&table, A, 1));
        let reads = {
            let platform = platform.clone();
            thread::spawn(move || drop(platform.pin()))
        };
        assert!(free(&table, A));
        drop(table);
        reads.join().unwrap();
        platform.barrier();
    });
}

/// G1, G8 with three threads: a reader between two writers of one object.
#[test]
fn g3_get_insert_free() {
    explore("get | alloc | free", Some(2), || {
        with_table(|table| {
            assert!(Payload::put(table, A, 1));
            let frees = spawn(table, |t| {
                let _ = free(t, A);
            });
            let put = spawn(table, |t| {
                Payload::put(t, A, 2);
            });
            assert!(matches!(Payload::look(table, A), None | Some(1 | 2)));
            frees.join().unwrap();
            put.join().unwrap();
        });
    });
}

/// G3 with three threads: the node before a new one is unlinked at the same
/// time, so the reader gets there by the pointer that the unlinking wrote.
#[test]
fn g3_get_behind_an_unlinked_node() {
    explore("get B | alloc B | free A, A before B", Some(3), || {
        with_table(|table| {
            // One of the two stands before the other; which one, the hash says.
            let first = {
                assert!(Payload::put(table, A, 1) && Payload::put(table, B, 1));
                let mut first = None;
                table.for_each(|obj, _| {
                    first.get_or_insert(obj);
                });
                first.unwrap()
            };
            let second = if first == A { B } else { A };
            assert!(free(table, second));
            let frees = spawn(table, move |t| assert!(free(t, first)));
            let put = spawn(table, move |t| assert!(Payload::put(t, second, 2)));
            assert!(matches!(Payload::look(table, second), None | Some(2)));
            frees.join().unwrap();
            put.join().unwrap();
            assert_eq!(Payload::look(table, second), Some(2));
        });
    });
}

/// The registry: two first uses of one id agree on its table.
#[test]
fn two_first_uses_of_an_id() {
    explore("table(id) | table(id)", Some(2), || {
        let platform = Tracked::new();
        let table = std::sync::Arc::new(umbra_shadow::ShadowTable::new(platform.clone()));
        let other = {
            let table = std::sync::Arc::clone(&table);
            thread::spawn(move || assert!(Payload::put(&table.table(1, FLAGS).unwrap(), A, 1)))
        };
        assert!(Payload::put(&table.table(1, FLAGS).unwrap(), B, 2));
        other.join().unwrap();
        let of_id = table.table(1, FLAGS).unwrap();
        assert_eq!(Payload::look(&of_id, A), Some(1));
        assert_eq!(Payload::look(&of_id, B), Some(2));
        table.free_all(1, Some(Payload::DESTROY));
        drop((of_id, table));
        platform.barrier();
    });
}

/// The registry: an id dropped under a lookup.
#[test]
fn drop_type_against_get() {
    explore("drop_type | get", None, || {
        let platform = Tracked::new();
        let table = std::sync::Arc::new(umbra_shadow::ShadowTable::new(platform.clone()));
        let of_id = table.table(1, FLAGS).unwrap();
        assert!(Payload::put(&of_id, A, 1));
        let drops = {
            let table = std::sync::Arc::clone(&table);
            thread::spawn(move || {
                table.free_all(1, Some(Payload::DESTROY));
                assert_eq!(table.drop_type(1, FLAGS), Ok(true));
            })
        };
        drop(of_id);
        {
            let guard = table.pin();
            // SAFETY: under the guard.
            let seen = table
                .get(A, 1, &guard)
                .map(|data| unsafe { Payload::read(data) });
            assert!(matches!(seen, None | Some(1)));
        }
        drops.join().unwrap();
        drop(table);
        platform.barrier();
    });
}
