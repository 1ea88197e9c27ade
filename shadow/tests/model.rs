//! The table against a sequential model: any order of operations answers as a
//! plain map would (R47), and the memory balances.

mod common;

use std::collections::HashMap;

use common::{Counting, FLAGS, look, put};
use proptest::prelude::*;
use umbra_shadow::{AllocError, ShadowTable, Smr};

#[derive(Clone, Debug)]
enum Op {
    Get(usize, u64),
    Alloc(usize, u64, u64),
    GetOrAlloc(usize, u64, u64),
    FailingCtor(usize, u64),
    Free(usize, u64),
    FreeNow(usize, u64),
    FreeAll(u64),
    DropType(u64),
    List(u64),
    Barrier,
}

fn op() -> impl Strategy<Value = Op> {
    // Few objects and ids, the odd ones among them, so that they meet.
    let obj = prop_oneof![
        Just(0),
        Just(usize::MAX),
        (0..40usize).prop_map(common::object)
    ];
    let id = prop_oneof![Just(0u64), Just(1), Just(u64::MAX)];
    prop_oneof![
        4 => (obj.clone(), id.clone()).prop_map(|(o, i)| Op::Get(o, i)),
        6 => (obj.clone(), id.clone(), any::<u64>()).prop_map(|(o, i, v)| Op::Alloc(o, i, v)),
        4 => (obj.clone(), id.clone(), any::<u64>()).prop_map(|(o, i, v)| Op::GetOrAlloc(o, i, v)),
        1 => (obj.clone(), id.clone()).prop_map(|(o, i)| Op::FailingCtor(o, i)),
        4 => (obj.clone(), id.clone()).prop_map(|(o, i)| Op::Free(o, i)),
        2 => (obj, id.clone()).prop_map(|(o, i)| Op::FreeNow(o, i)),
        1 => id.clone().prop_map(Op::FreeAll),
        1 => id.clone().prop_map(Op::DropType),
        1 => id.prop_map(Op::List),
        1 => Just(Op::Barrier),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]
    #[test]
    fn r47_answers_as_a_sequential_map(ops in prop::collection::vec(op(), 0..400)) {
        let platform = Counting::default();
        let table = ShadowTable::new(platform.clone());
        let mut model: HashMap<(usize, u64), u64> = HashMap::new();
        for op in ops {
            match op {
                Op::Get(obj, id) => {
                    let guard = table.pin();
                    // SAFETY: each variable was made with eight bytes.
                    let got = table.get(obj, id, &guard).map(|d| unsafe { d.cast::<u64>().read() });
                    prop_assert_eq!(got, model.get(&(obj, id)).copied());
                }
                Op::Alloc(obj, id, value) => {
                    let t = table.table(id, FLAGS).unwrap();
                    prop_assert_eq!(put(&t, obj, value), !model.contains_key(&(obj, id)));
                    model.entry((obj, id)).or_insert(value);
                }
                Op::GetOrAlloc(obj, id, value) => {
                    let got = table.get_or_alloc(obj, id, 8, FLAGS, |data| {
                        // SAFETY: eight bytes were asked for, and are zero.
                        unsafe {
                            assert_eq!(data.cast::<u64>().read(), 0, "R45");
                            data.cast::<u64>().write(value);
                        }
                        Ok::<(), ()>(())
                    });
                    // SAFETY: nobody else frees it.
                    let got = unsafe { got.unwrap().cast::<u64>().read() };
                    prop_assert_eq!(got, *model.entry((obj, id)).or_insert(value));
                }
                Op::FailingCtor(obj, id) => {
                    match table.alloc(obj, id, 8, FLAGS, |_| Err(7)) {
                        Err(AllocError::Ctor(7)) => prop_assert!(!model.contains_key(&(obj, id))),
                        Err(AllocError::Exists(_)) => prop_assert!(model.contains_key(&(obj, id))),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Op::Free(obj, id) => {
                    let there = model.remove(&(obj, id)).is_some();
                    prop_assert_eq!(table.free(obj, id), there);
                }
                Op::FreeNow(obj, id) => {
                    let mut seen = None;
                    let freed = table.free_now(obj, id, |data| {
                        // SAFETY: the variable's eight bytes.
                        seen = Some(unsafe { data.cast::<u64>().read() });
                    });
                    prop_assert_eq!(seen, model.remove(&(obj, id)));
                    prop_assert_eq!(freed, seen.is_some());
                }
                Op::FreeAll(id) => {
                    table.free_all(id, None);
                    model.retain(|&(_, of), _| of != id);
                }
                Op::DropType(id) => {
                    table.drop_type(id, FLAGS).unwrap();
                    model.retain(|&(_, of), _| of != id);
                }
                Op::List(id) => {
                    let mut listed = HashMap::new();
                    if let Some(t) = table.find(id, &table.pin()) {
                        t.for_each(|obj, data| {
                            // SAFETY: under the table's guard.
                            let value = unsafe { data.cast::<u64>().read() };
                            assert!(listed.insert((obj, id), value).is_none(), "seen twice");
                        });
                        prop_assert_eq!(t.stats().live, listed.len());
                    }
                    model.iter().filter(|((_, of), _)| *of == id).for_each(|(k, v)| {
                        assert_eq!(listed.remove(k), Some(*v));
                    });
                    prop_assert!(listed.is_empty());
                }
                Op::Barrier => platform.barrier(),
            }
        }
        drop(table);
        platform.barrier();
        prop_assert_eq!(platform.blocks(), 0, "every block was given back");
    }
}

/// Growth far past one segment and one page keeps every variable.
#[test]
fn g6_growth_loses_nothing() {
    let platform = Counting::default();
    let table = umbra_shadow::Table::new(platform.clone(), 1).unwrap();
    let n = if cfg!(any(miri, umbra_tiny)) {
        200
    } else {
        600_000
    };
    for i in 0..n {
        assert!(put(&table, common::object(i), i as u64));
    }
    let stats = table.stats();
    assert_eq!(stats.live, n);
    assert!(stats.splits > 6, "{stats:?}");
    if !cfg!(any(miri, umbra_tiny)) {
        assert!(
            stats.lines * 2 < n && stats.lines * 7 > n,
            "half full at least: {stats:?}"
        );
        assert!(stats.attic * 20 < n, "few find no lane: {stats:?}");
    }
    for i in 0..n {
        assert_eq!(look(&table, common::object(i)), Some(i as u64));
        assert_eq!(look(&table, common::object(n + i)), None);
    }
    table.free_all(None);
    assert_eq!(look(&table, common::object(0)), None);
    assert_eq!(table.stats().live, 0);
    platform.barrier();
    assert_eq!(table.stats().pending, 0);
    drop(table);
    platform.barrier();
    assert_eq!(platform.blocks(), 0);
}

/// A lane that is given back is used again: churn stays in the lines.
#[test]
fn g9_churn_does_not_grow_the_table() {
    let platform = Counting::default();
    let table = umbra_shadow::Table::new(platform.clone(), 1).unwrap();
    for i in 0..4 {
        assert!(put(&table, common::object(i), 0));
    }
    let before = table.stats().lines;
    for round in 0..if cfg!(miri) { 40 } else { 20_000 } {
        assert!(table.free(common::object(round % 4)));
        assert!(put(&table, common::object(round % 4), 0));
    }
    let stats = table.stats();
    assert_eq!((stats.live, stats.attic), (4, 0), "{stats:?}");
    // Heads wear out and are renewed, once from the root to a segment.
    assert!(stats.lines <= before.max(255), "{stats:?}");
    platform.barrier();
    assert_eq!(table.stats().pending, 0);
}
