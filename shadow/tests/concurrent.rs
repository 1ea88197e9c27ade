//! What threads may do to each other: the constructor's and the destructor's
//! exactly-once, pointers under guards, no leak under churn.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use common::{COUNT, Counting, FLAGS, counter, look, object, put, put_counter};
use umbra_shadow::{AllocError, Smr, Table};

fn table() -> (Counting, Table<Counting>) {
    let platform = Counting::default();
    let table = Table::new(platform.clone(), 1).unwrap();
    (platform, table)
}

const RACERS: usize = if cfg!(miri) { 4 } else { 64 };

#[test]
fn r44_the_ctor_runs_once_for_64_racing_callers() {
    let (_, table) = table();
    for round in 0..if cfg!(miri) { 2 } else { 50 } {
        let ran = AtomicUsize::new(0);
        let start = Barrier::new(RACERS);
        thread::scope(|s| {
            let racers: Vec<_> = (0..RACERS)
                .map(|_| {
                    s.spawn(|| {
                        start.wait();
                        let data = table.get_or_alloc(object(round), 8, FLAGS, |data| {
                            ran.fetch_add(1, SeqCst);
                            thread::yield_now();
                            // SAFETY: eight bytes were asked for.
                            unsafe { data.cast::<u64>().write(7) };
                            Ok::<(), ()>(())
                        });
                        let data = data.unwrap();
                        // SAFETY: nobody frees it.
                        assert_eq!(unsafe { data.cast::<u64>().read() }, 7, "constructed");
                        data.as_ptr() as usize
                    })
                })
                .collect();
            let addresses: Vec<_> = racers.into_iter().map(|r| r.join().unwrap()).collect();
            assert!(
                addresses.iter().all(|a| *a == addresses[0]),
                "one variable for all"
            );
        });
        assert_eq!(ran.load(SeqCst), 1);
    }
}

#[test]
fn r44_a_failing_ctor_leaves_nothing_and_a_retry_works() {
    let (platform, table) = table();
    let before = platform.blocks();
    assert_eq!(
        table.alloc(1, 8, FLAGS, |_| Err(-12)),
        Err(AllocError::Ctor(-12))
    );
    assert_eq!(look(&table, 1), None);
    assert_eq!(table.stats().live, 0);
    assert!(put(&table, 1, 5));
    assert_eq!(look(&table, 1), Some(5));
    table.free_all(None);
    platform.barrier();
    assert_eq!(platform.blocks(), before);
}

#[test]
fn r44_a_waiter_tries_for_itself_when_the_ctor_fails() {
    let (_, table) = table();
    let running = Barrier::new(2);
    thread::scope(|s| {
        s.spawn(|| {
            let failed = table.alloc(1, 8, FLAGS, |_| {
                running.wait();
                thread::yield_now();
                Err(())
            });
            assert_eq!(failed, Err(AllocError::Ctor(())));
        });
        running.wait();
        assert!(put(&table, 1, 9), "waited, then made its own");
    });
    assert_eq!(look(&table, 1), Some(9));
}

#[test]
fn g5_a_panicking_ctor_leaves_nothing() {
    let (platform, table) = table();
    let before = platform.blocks();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _ = table.alloc(1, 8, FLAGS, |_| -> Result<(), ()> { panic!("in the ctor") });
    }));
    std::panic::set_hook(hook);
    assert!(panicked.is_err());
    assert_eq!(look(&table, 1), None);
    assert!(put(&table, 1, 5));
    table.free_all(None);
    platform.barrier();
    assert_eq!(platform.blocks(), before);
}

/// D11: upstream runs it under the one lock of the table.
#[test]
fn d11_the_ctor_may_use_the_table() {
    let (_, table) = table();
    let outer = table.alloc(object(0), 8, FLAGS, |_| {
        for i in 1..50 {
            assert!(put(&table, object(i), i as u64));
        }
        assert!(table.free(object(7)));
        assert_eq!(
            look(&table, object(0)),
            None,
            "not there before its ctor returns"
        );
        table.free_all(None);
        Ok::<(), ()>(())
    });
    assert!(outer.is_ok());
    assert_eq!(table.stats().live, 0, "as if made just before the free_all");
}

#[test]
fn r45_recycled_memory_reads_zero() {
    let (platform, table) = table();
    for _ in 0..if cfg!(miri) { 10 } else { 200 } {
        let made = table.alloc(1, 64, FLAGS, |data| {
            // SAFETY: 64 bytes were asked for.
            let bytes = unsafe { NonNull::slice_from_raw_parts(data, 64).as_mut() };
            assert!(bytes.iter().all(|b| *b == 0));
            bytes.fill(0xAA);
            Ok::<(), ()>(())
        });
        assert!(made.is_ok());
        table.free(1);
        platform.barrier();
    }
}

/// D9, D12: upstream runs the destructor while readers may hold the pointer.
#[test]
fn d9_the_dtor_waits_for_the_readers() {
    let (platform, table) = table();
    let destroyed = counter();
    put_counter(&table, 1, destroyed);
    let (held, freed) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|s| {
        s.spawn(|| {
            let guard = table.platform().pin();
            let data = table.get(1, &guard).unwrap();
            held.wait();
            freed.wait();
            for _ in 0..100 {
                thread::yield_now();
            }
            assert_eq!(destroyed.load(SeqCst), 0, "a reader holds it");
            // SAFETY: the guard is held; the memory would be poisoned.
            let there: &AtomicUsize = unsafe { data.cast::<&AtomicUsize>().read() };
            assert!(std::ptr::eq(there, destroyed));
        });
        held.wait();
        assert!(table.free_with(1, COUNT).unwrap());
        assert_eq!(look(&table, 1), None, "invisible at once");
        freed.wait();
        platform.barrier();
        assert_eq!(destroyed.load(SeqCst), 1);
    });
}

#[test]
fn g8_free_now_runs_the_dtor_before_it_returns() {
    let (_, table) = table();
    assert!(put(&table, 1, 3));
    let mut seen = 0;
    // SAFETY: the variable's eight bytes.
    assert!(table.free_now(1, |data| seen = unsafe { data.cast::<u64>().read() }));
    assert_eq!(seen, 3);
    assert!(!table.free_now(1, |_| unreachable!("freed once")));
}

/// Churn from all sides with every destructor counted: each variable that was
/// made is destroyed once, and the blocks balance.
#[test]
fn g8_churn_destroys_each_variable_once() {
    let (platform, table) = table();
    let made = AtomicUsize::new(0);
    let destroyed = counter();
    let stop = AtomicBool::new(false);
    let objects = if cfg!(miri) { 4 } else { 300 };
    let rounds = if cfg!(miri) { 30 } else { 60_000 };
    thread::scope(|s| {
        for seed in 0..3usize {
            let (table, made, stop) = (&table, &made, &stop);
            s.spawn(move || {
                let mut x = seed + 1;
                for _ in 0..rounds {
                    x = x
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    let obj = object((x >> 33) % objects);
                    match (x >> 20) % 64 {
                        0 => table.free_all(Some(COUNT)),
                        1..30 => {
                            table.free_with(obj, COUNT).unwrap();
                        }
                        _ => {
                            let new = table.alloc(obj, 8, FLAGS, |data| {
                                // SAFETY: eight bytes were asked for.
                                unsafe { data.cast::<&AtomicUsize>().write(destroyed) };
                                if x % 5 == 0 { Err(()) } else { Ok(()) }
                            });
                            if new.is_ok() {
                                made.fetch_add(1, SeqCst);
                            }
                        }
                    }
                }
                stop.store(true, SeqCst);
            });
        }
        s.spawn(|| {
            let mut i = 0;
            while !stop.load(SeqCst) {
                i += 1;
                let guard = table.platform().pin();
                if let Some(data) = table.get(object(i % objects), &guard) {
                    // SAFETY: under the guard.
                    let there: &AtomicUsize = unsafe { data.cast::<&AtomicUsize>().read() };
                    assert!(
                        std::ptr::eq(there, destroyed),
                        "constructed and not reclaimed"
                    );
                }
            }
        });
    });
    table.free_all(Some(COUNT));
    platform.barrier();
    assert_eq!(destroyed.load(SeqCst), made.load(SeqCst));
    assert_eq!(
        table.stats(),
        umbra_shadow::Stats {
            splits: table.stats().splits,
            merges: table.stats().merges,
            generation: table.stats().generation,
            ..Default::default()
        }
    );
    drop(table);
    platform.barrier();
    assert_eq!(platform.blocks(), 0);
}

/// G4: a pointer from before the growth is the variable's address after it.
#[test]
fn g4_entries_never_move() {
    let (_, table) = table();
    let first = table
        .alloc(object(0), 8, FLAGS, |_| Ok::<(), ()>(()))
        .unwrap();
    for i in 1..if cfg!(any(miri, umbra_tiny)) {
        100
    } else {
        50_000
    } {
        put(&table, object(i), 0);
    }
    let guard = table.platform().pin();
    assert_eq!(table.get(object(0), &guard), Some(first));
    assert_eq!(first.as_ptr() as usize % umbra_shadow::MAX_ALIGN, 0);
}
