//! Long scenarios over a table whose segments are tiny: growth with churn.

use std::ptr::NonNull;

use shuttle::thread;
use umbra_shadow::{AllocFlags, Smr, Table};
use umbra_shuttle::{Watched, explore};

const FLAGS: AllocFlags = AllocFlags(0);
/// Objects that each thread has for itself.
const OWN: usize = 8;

fn obj(thread: usize, i: usize) -> usize {
    (1 + thread * OWN + i) * 0x40
}

fn read(data: NonNull<u8>) -> u64 {
    // SAFETY: a live variable's, of eight aligned bytes; threads take turns here.
    unsafe { data.cast::<u64>().read() }
}

fn put(table: &Table<Watched>, obj: usize, value: u64) -> bool {
    let made = table.alloc(obj, 8, FLAGS, |data| {
        // SAFETY: fresh data of this size.
        unsafe { data.cast::<u64>().write(value) };
        // Others meet the variable unfinished.
        thread::yield_now();
        Ok::<(), ()>(())
    });
    made.is_ok()
}

fn look(table: &Table<Watched>, obj: usize) -> Option<u64> {
    let guard = table.platform().pin();
    table.get(obj, &guard).map(read)
}

/// Runs threads on one table, then checks that it is what is expected, and that
/// nothing is left of it.
fn scenario(threads: Vec<fn(&Table<Watched>, usize)>, end: fn(&Table<Watched>)) {
    let platform = Watched::default();
    let table = Table::new(platform.clone(), 1).unwrap();
    let threads: Vec<_> = threads
        .into_iter()
        .enumerate()
        .map(|(i, f)| {
            let table = table.clone();
            thread::spawn(move || f(&table, i))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    end(&table);
    table.free_all(None);
    drop(table);
    platform.barrier();
    assert_eq!(platform.blocks(), 0, "blocks are left");
}

/// Fills its objects, frees every other one, puts it back: nobody else touches them.
fn churn(table: &Table<Watched>, me: usize) {
    for i in 0..OWN {
        assert!(put(table, obj(me, i), i as u64));
        assert_eq!(look(table, obj(me, i)), Some(i as u64));
    }
    for i in (0..OWN).step_by(2) {
        assert!(table.free_now(obj(me, i), |data| assert_eq!(read(data), i as u64)));
        assert_eq!(look(table, obj(me, i)), None);
        assert!(put(table, obj(me, i), 100 + i as u64));
    }
    for i in 0..OWN {
        let value = if i % 2 == 0 { 100 + i } else { i };
        assert_eq!(
            look(table, obj(me, i)),
            Some(value as u64),
            "nothing is lost"
        );
    }
}

/// Walks while others change: what it sees has a value that was put there, once.
fn walks(table: &Table<Watched>, _: usize) {
    for _ in 0..4 {
        let mut seen = Vec::new();
        table.for_each(|obj, data| {
            assert!(read(data) < 100 + OWN as u64);
            seen.push(obj);
        });
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all, "each is seen once");
    }
}

#[test]
fn g6_growth_with_churn() {
    explore("growth | growth | walks", || {
        scenario(vec![churn, churn, walks], |table| {
            assert_eq!(table.live(), 2 * OWN);
            assert!(table.stats().splits > 2, "it has grown");
        });
    });
}

/// Empties the table again and again.
fn empties(table: &Table<Watched>, _: usize) {
    for _ in 0..3 {
        table.free_all(None);
        thread::yield_now();
    }
}

/// Fills its objects whatever becomes of them.
fn fills(table: &Table<Watched>, me: usize) {
    for round in 0..2 {
        for i in 0..OWN {
            put(table, obj(me, i), round);
            assert!(matches!(look(table, obj(me, i)), None | Some(0 | 1)));
        }
    }
}

#[test]
fn g7_emptied_while_it_grows() {
    explore("fills | fills | free_all", || {
        scenario(vec![fills, fills, empties], |table| {
            assert!(table.live() <= 2 * OWN);
        });
    });
}

/// All threads want the same objects.
fn contends(table: &Table<Watched>, me: usize) {
    for i in 0..OWN {
        let mine = put(table, obj(0, i), me as u64);
        let there = look(table, obj(0, i));
        if mine && me == 0 {
            // Only this thread frees, so what it made is there.
            assert_eq!(there, Some(0));
            assert!(table.free_now(obj(0, i), |data| assert_eq!(read(data), 0)));
        }
    }
}

#[test]
fn r44_the_same_objects_from_three_threads() {
    explore("contends | contends | contends", || {
        scenario(vec![contends, contends, contends], |table| {
            assert!(table.live() <= OWN);
            assert_eq!(table.stats().pending, 0, "nobody holds a guard");
        });
    });
}
