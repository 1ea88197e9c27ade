//! What waits for its grace period is pushed on. In a process of its own and one
//! test at a time, for any guard anywhere in it holds the epoch.

mod common;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{COUNT, Counting, counter, object, put, put_counter};
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
