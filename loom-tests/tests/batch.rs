//! Models of lookups of several objects at once, whose steps others come between, and
//! of lookups in a segment that was not split as often as others.

use loom::thread;
use umbra_loom::{
    Payload, Rcu, Tracked, ensure, explore, finish, free, free_all, objects, quick, spawn,
    with_table,
};
use umbra_shadow::{Platform, Table};

const A: usize = 0x1000;
const B: usize = 0x2000;
const C: usize = 0x3000;
const D: usize = 0x4000;

/// Puts two objects, with the values 1 and 2, of which the second gives the table its first
/// segment: before that a batch does no steps of its own.
fn in_a_segment<P: Platform>(table: &Table<P>, objs: [usize; 2]) {
    assert!(Payload::put(table, objs[0], 1) && Payload::put(table, objs[1], 2));
    assert!(table.stats().lines > 1, "past the root");
}

/// G1, G8: what a batch has found, and reads at its end, is not destroyed meanwhile.
#[test]
fn g1_get_many_against_free() {
    explore("get_many | free", None, || {
        with_table(|table| {
            in_a_segment(table, [A, B]);
            let frees = spawn(table, |t| assert!(free(t, A)));
            let [a, b] = Payload::look_many(table, [A, B]);
            assert!(matches!(a, None | Some(1)));
            assert_eq!(b, Some(2), "always there");
            frees.join().unwrap();
            assert_eq!(Payload::look_many(table, [A, B]), [None, Some(2)]);
        });
    });
}

/// R34: what the constructor stored is visible to a batch that finds the variable.
#[test]
fn r34_get_many_against_alloc() {
    explore("get_many | alloc", Some(3), || {
        with_table(|table| {
            in_a_segment(table, [B, C]);
            let put = spawn(table, |t| assert!(Payload::put(t, A, 1)));
            let [a, d] = Payload::look_many(table, [A, D]);
            assert!(matches!(a, None | Some(1)));
            assert_eq!(d, None, "never there");
            put.join().unwrap();
            assert_eq!(Payload::look_many(table, [D, A]), [None, Some(1)]);
        });
    });
}

/// G3: an object's second life, with another's beside it.
#[test]
fn g3_get_many_against_free_and_alloc() {
    explore("get_many | free, get_or_alloc", quick(3), || {
        with_table(|table| {
            in_a_segment(table, [A, B]);
            let anew = spawn(table, |t| {
                assert!(free(t, A));
                assert_eq!(ensure(t, A, 3), 3);
            });
            let [a, b] = Payload::look_many(table, [A, B]);
            assert!(matches!(a, None | Some(1 | 3)));
            assert_eq!(b, Some(2), "always there");
            anew.join().unwrap();
            assert_eq!(Payload::look_many(table, [A, B]), [Some(3), Some(2)]);
        });
    });
}

/// G6: each step of a batch may be in another segment's time.
#[test]
fn g6_get_many_against_growth() {
    explore("get_many | alloc with growth", Some(3), || {
        with_table(|table| {
            for obj in 1..3 {
                assert!(Payload::put(table, obj * 0x40, obj as u64));
            }
            let put = spawn(table, |t| {
                let before = t.stats().splits;
                for obj in 3..5 {
                    assert!(Payload::put(t, obj * 0x40, obj as u64));
                }
                assert!(t.stats().splits > before, "a segment is split");
            });
            let [one, four, two] = Payload::look_many(table, [0x40, 0x100, 0x80]);
            assert_eq!((one, two), (Some(1), Some(2)), "always there");
            assert!(matches!(four, None | Some(4)));
            put.join().unwrap();
        });
    });
}

/// G7: of a batch too, nothing that was there before a free_all is seen after it.
#[test]
fn g7_get_many_against_free_all() {
    explore("get_many | free_all", None, || {
        with_table(|table| {
            in_a_segment(table, [A, B]);
            let all = spawn(table, free_all);
            let [a, b] = Payload::look_many(table, [A, B]);
            assert!(matches!(a, None | Some(1)) && matches!(b, None | Some(2)));
            assert_eq!(a.is_some(), b.is_some(), "a batch has one body");
            all.join().unwrap();
            assert_eq!(Payload::look_many(table, [A, B]), [None, None]);
        });
    });
}

/// G9: a batch in a type that gives its lines back.
#[test]
fn g9_get_many_against_shrink() {
    explore("get_many | shrink", None, || {
        with_table(|table| {
            in_a_segment(table, [A, B]);
            assert!(free(table, A) && table.stats().lines > 1);
            let freeing = spawn(table, |t| assert!(free(t, B)));
            let [a, b] = Payload::look_many(table, [A, B]);
            assert!(a.is_none() && matches!(b, None | Some(2)));
            freeing.join().unwrap();
        });
    });
}

/// G8: the work item runs at any time, between the steps of a batch too.
#[test]
fn g8_rcu_get_many_against_free_and_the_work_item() {
    explore("rcu: get_many | free | reclaim", None, || {
        let rcu = Rcu::new();
        let table = rcu.table();
        in_a_segment(&table, [A, B]);
        let frees = spawn(&table, |t| assert!(free(t, A)));
        let worker = {
            let rcu = rcu.clone();
            thread::spawn(move || rcu.work())
        };
        let [a, c] = Payload::look_many(&table, [A, C]);
        assert!(matches!(a, None | Some(1)) && c.is_none());
        frees.join().unwrap();
        worker.join().unwrap();
        finish(&rcu, table);
    });
}

/// A segment of one bit of the hash, where others have two or three (`behind` it): slot 2, or
/// slots 6 and 2, are null. In it stand the two objects, of such a slot and of slot 0.
fn with_a_segment_behind(behind: u32, f: impl Fn(&Table<Tracked>, usize, usize)) {
    let ones = (1 << behind) - 1;
    let lines = 4 + 2 * behind as usize;
    with_table(|table| {
        let others = objects(|hash| hash & ones == ones);
        for obj in others.take_while(|_| table.stats().lines < lines) {
            assert!(Payload::put(table, obj, 1));
        }
        let low = move |bits: u64| move |hash: u64| hash & (ones << 1 | 1) == bits;
        let above = objects(low(ones << 1)).next().unwrap();
        let zero = objects(low(0)).next().unwrap();
        assert!(Payload::put(table, above, 2) && Payload::put(table, zero, 3));
        assert_eq!(
            table.stats().lines,
            lines,
            "one segment for each bit, and one"
        );
        f(table, above, zero);
    });
}

/// Splits the segment that is behind, once.
fn split_it(table: &Table<Tracked>) {
    let mut others = objects(|hash| hash & 7 == 0).skip(1);
    let before = table.stats().splits;
    while table.stats().splits == before {
        assert!(Payload::put(table, others.next().unwrap(), 4));
    }
}

/// G6: a lookup by a null slot and its parent's, while the parent is split: what it finds
/// in the parent's slot may be the first heir, where the object is not.
#[test]
fn g6_get_in_a_segment_behind_against_its_split() {
    for behind in 1..=2 {
        let name = format!("get {behind} behind | alloc with growth");
        explore(&name, Some(3), move || {
            with_a_segment_behind(behind, |table, above, zero| {
                let put = spawn(table, split_it);
                assert_eq!(Payload::look(table, above), Some(2), "always there");
                put.join().unwrap();
                assert_eq!(Payload::look(table, above), Some(2));
                assert_eq!(Payload::look(table, zero), Some(3));
            });
        });
    }
}

/// The same for what comes and goes, as a batch.
#[test]
fn g6_get_many_in_a_segment_behind_against_its_split() {
    explore("get_many behind | alloc with growth", Some(3), || {
        with_a_segment_behind(1, |table, above, zero| {
            let put = spawn(table, move |t| {
                split_it(t);
                assert!(free(t, zero));
            });
            let [two, three] = Payload::look_many(table, [above, zero]);
            assert_eq!(two, Some(2), "always there");
            assert!(matches!(three, None | Some(3)));
            put.join().unwrap();
        });
    });
}

/// G3: what is seen in a segment that is behind is true at some moment of the call: what
/// came is there from then on.
#[test]
fn g3_get_in_a_segment_behind_against_free_and_alloc() {
    explore("get behind, twice | free, alloc", Some(3), || {
        with_a_segment_behind(1, |table, above, _| {
            let anew = spawn(table, move |t| {
                assert!(free(t, above));
                assert!(Payload::put(t, above, 5));
            });
            let (first, second) = (Payload::look(table, above), Payload::look(table, above));
            match first {
                Some(2) => assert!(matches!(second, None | Some(2 | 5))),
                None => assert!(matches!(second, None | Some(5))),
                _ => assert_eq!((first, second), (Some(5), Some(5))),
            }
            anew.join().unwrap();
            assert_eq!(Payload::look(table, above), Some(5));
        });
    });
}
