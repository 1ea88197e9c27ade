//! The sizes that a type interns: an entry's memory goes by the layout that it came
//! with, whoever else's insertion of its size is refused.

use loom::thread;
use umbra_loom::{FLAGS, Tracked, explore};
use umbra_shadow::{Smr, Table};

const A: usize = 0x1000;
const B: usize = 0x2000;

/// An insertion of so many bytes, which its constructor may refuse.
fn alloc(table: &Table<Tracked>, obj: usize, size: usize, refused: bool) {
    let made = table.alloc(obj, size, FLAGS, |_| (!refused).then_some(()).ok_or(()));
    assert_eq!(made.is_err(), refused);
}

/// The memory of the model looks at each layout.
#[test]
fn g5_a_refused_insertion_of_a_size_in_use() {
    for second in [8, 24] {
        explore("refused alloc | alloc, sizes", Some(2), move || {
            let platform = Tracked::new();
            let table = Table::new(platform.clone(), 1).unwrap();
            let other = {
                let table = table.clone();
                thread::spawn(move || alloc(&table, A, 8, true))
            };
            alloc(&table, B, second, false);
            other.join().unwrap();
            assert!(table.free(B));
            // The places are free again for all of these sizes, save the one in use.
            (0..2).for_each(|i| alloc(&table, A, 40 + 8 * i, true));
            drop(table);
            platform.barrier();
        });
    }
}
