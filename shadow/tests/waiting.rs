//! What waits for its grace period is pushed on. In a process of its own and one
//! test at a time, for any guard anywhere in it holds the epoch.

mod common;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{COUNT, Counting, FLAGS, counter, object, put, put_counter};
use umbra_shadow::{Smr, Table};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn table() -> (Counting, Table<Counting>) {
    let platform = Counting::default();
    let table = Table::new(platform.clone(), 1).unwrap();
    (platform, table)
}

#[test]
fn a_session_finds_and_lets_reclamation_go_on() {
    let _alone = alone();
    let (platform, table) = table();
    let n = counter();
    (0..100).for_each(|i| put_counter(&table, object(i), n));
    let mut session = table.session();
    for i in 0..100 {
        assert!(session.get(object(i)).is_some());
        assert!(table.free_with(object(i), COUNT).unwrap());
        for _ in 0..200 {
            assert!(session.get(object(i)).is_none());
        }
    }
    // Its own guard was renewed all along, so most have been destroyed by now.
    #[cfg(not(miri))]
    assert!(n.load(SeqCst) > 0, "nothing reclaimed under a session");
    session.rest();
    platform.barrier();
    assert_eq!(n.load(SeqCst), 100);
}

/// G9: writers push on what waits, whichever way they made it.
#[test]
fn g9_free_all_and_growth_alone_do_not_pile_up() {
    let _alone = alone();
    let (platform, table) = table();
    let rounds = if cfg!(miri) { 5 } else { 500 };
    for _ in 0..rounds {
        (0..100).for_each(|i| assert!(put(&table, object(i), 1)));
        table.free_all(None);
    }
    if !cfg!(miri) {
        let held = platform.blocks();
        assert!(held < rounds * 100 / 2, "{held} blocks of {}", rounds * 100);
    }
    platform.barrier();
    assert_eq!(table.stats().pending, 0);
}

/// Until what is freed has gone, while others write.
fn until_gone(table: &Table<Counting>, left: usize) {
    let other = Table::new(table.platform().clone(), 2).unwrap();
    let mut rounds = 0;
    while table.stats().pending > left {
        assert!(put(&other, object(0), 0) && other.free(object(0)));
        rounds += 1;
        assert!(rounds < 1_000_000, "{:?}", table.stats());
    }
}

/// G9: variables that were freed at once, and wait for a constructor among them, only
/// put off that the type gives its lines back.
#[test]
fn g9_lines_are_given_back_after_a_detached_table_has_gone() {
    let _alone = alone();
    let (platform, table) = table();
    let many = if cfg!(miri) { 20 } else { 3_000 };
    let made = table.alloc(object(many), 8, FLAGS, |_| {
        table.free_all(None);
        (0..many).for_each(|i| assert!(put(&table, object(i), 1)));
        assert!(table.stats().lines > 252 || cfg!(any(miri, umbra_tiny)));
        (0..many).for_each(|i| assert!(table.free(object(i))));
        until_gone(&table, 1);
        assert!(table.stats().lines > 0, "the look was declined");
        Ok::<(), ()>(())
    });
    assert!(made.is_ok());
    until_gone(&table, 0);
    platform.barrier();
    assert_eq!(table.stats().lines, 0, "{:?}", table.stats());
}
