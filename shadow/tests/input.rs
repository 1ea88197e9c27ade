//! Bad input, and the odd kind: each row is defined, and nothing is left of a refusal.

mod common;

use common::{Counting, FLAGS, look, object, put};
use umbra_shadow::{AllocError, MAX_ALIGN, ShadowTable, Smr, Table};

const ODD: [usize; 9] = [
    0,
    1,
    3,
    63,
    usize::MAX / 2,
    usize::MAX / 2 + 1,
    usize::MAX - 1,
    usize::MAX,
    0xffff_8880_0000_1001,
];

/// A size that overflows an entry, with and without what stands before its header.
#[test]
fn sizes_that_no_entry_can_hold_are_refused() {
    let platform = Counting::default();
    let table = Table::new(platform.clone(), 1).unwrap();
    assert!(put(&table, object(9), 9), "the type has its body");
    let (before, blocks) = (table.stats(), platform.blocks());
    let u32s = u32::MAX as usize;
    for size in [usize::MAX, usize::MAX - 64, isize::MAX as usize, u32s + 1] {
        for cookie in [0, 7] {
            let refused = table.alloc_with_cookie(1, cookie, size, FLAGS, |_| Ok::<(), ()>(()));
            assert_eq!(refused, Err(AllocError::Layout), "{size:#x}");
            let refused = table.get_or_alloc(1, size, FLAGS, |_| Ok::<(), ()>(()));
            assert_eq!(refused, Err(AllocError::Layout), "{size:#x}");
        }
    }
    assert_eq!((table.stats(), platform.blocks()), (before, blocks));
    assert!(put(&table, 1, 5), "and none of them is remembered");
}

/// A size of 0: a variable like any other, at an address of its own.
#[test]
fn a_size_of_zero_gives_a_unique_address() {
    let platform = Counting::default();
    let table = Table::new(platform.clone(), 1).unwrap();
    let made = [1, 2, 3].map(|obj| table.alloc(obj, 0, FLAGS, |_| Ok::<(), ()>(())).unwrap());
    assert!(made[0] != made[1] && made[1] != made[2] && made[0] != made[2]);
    let guard = platform.pin();
    assert_eq!([1, 2, 3].map(|obj| table.get(obj, &guard).unwrap()), made);
    drop(guard);
    assert_eq!((table.stats().live, table.stats().bytes), (3, 0));
    assert!(table.free(2) && !table.free(2));
    drop(table);
    platform.barrier();
    assert_eq!(platform.blocks(), 0);
}

/// The alignment is the same for every size, cookie or not; what wants more is told
/// when it compiles ([`umbra_shadow::ShadowMap`]).
#[test]
fn data_is_aligned_whatever_its_size() {
    let table = Table::new(Counting::default(), 1).unwrap();
    for (i, size) in [0, 1, 2, 7, 8, 15, 16, 17, 48, 4096]
        .into_iter()
        .enumerate()
    {
        for (cookie, obj) in [(0, object(i)), (9, object(100 + i))] {
            let ctor = |_| Ok::<(), ()>(());
            let data = table
                .alloc_with_cookie(obj, cookie, size, FLAGS, ctor)
                .unwrap();
            assert_eq!(data.addr().get() % MAX_ALIGN, 0, "{size} bytes");
        }
    }
}

/// G12: ids 0 and `u64::MAX`, and any address, aligned or not.
#[test]
fn g12_any_id_and_any_address_are_legal() {
    let platform = Counting::default();
    let shadows = ShadowTable::new(platform.clone());
    let ids = [0, 1, u64::MAX - 1, u64::MAX];
    let value = |obj: usize, id: u64| (obj as u64).rotate_left(7) ^ id;
    for id in ids {
        let table = shadows.table(id, FLAGS).unwrap();
        for obj in ODD {
            assert!(put(&table, obj, value(obj, id)), "{obj:#x}, {id}");
            assert!(!put(&table, obj, 1), "one variable");
        }
    }
    for id in ids {
        let table = shadows.table(id, FLAGS).unwrap();
        for obj in ODD {
            assert_eq!(look(&table, obj), Some(value(obj, id)), "{obj:#x}, {id}");
        }
        let mut seen = Vec::new();
        table.for_each(|obj, _| seen.push(obj));
        seen.sort_unstable();
        let mut wanted = ODD;
        wanted.sort_unstable();
        assert_eq!(seen, wanted);
        for obj in ODD {
            assert!(shadows.free(obj, id) && !shadows.free(obj, id));
        }
        assert_eq!(shadows.drop_type(id, FLAGS), Ok(true));
    }
    drop(shadows);
    platform.barrier();
    assert_eq!(platform.blocks(), 0);
}
