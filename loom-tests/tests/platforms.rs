//! The table over what it runs on: the kernel's RCU as it is documented, and
//! crossbeam-epoch itself. Tier two: few threads, only the public operations.

use loom::thread;
use umbra_loom::{Payload, Rcu, RealEpoch, explore, finish, free, free_all, spawn};
use umbra_shadow::{Dtor, Platform, Table};

const A: usize = 0x1000;
const B: usize = 0x2000;

fn get_and_free<P: Platform>(platform: &P, table: Table<P>) {
    assert!(Payload::put(&table, A, 7));
    let frees = spawn(&table, |t| {
        assert!(free(t, A));
        // So that it is taken apart as early as may be, perhaps under the get.
        t.platform().barrier();
    });
    assert!(matches!(Payload::look(&table, A), None | Some(7)));
    frees.join().unwrap();
    assert_eq!(Payload::look(&table, A), None);
    finish(platform, table);
}

fn get_and_alloc<P: Platform>(platform: &P, table: Table<P>) {
    let put = spawn(&table, |t| assert!(Payload::put(t, A, 7)));
    assert!(matches!(Payload::look(&table, A), None | Some(7)));
    put.join().unwrap();
    assert_eq!(Payload::look(&table, A), Some(7));
    finish(platform, table);
}

fn free_all_and_get<P: Platform>(platform: &P, table: Table<P>) {
    assert!(Payload::put(&table, A, 1));
    let all = spawn(&table, |t| {
        free_all(t);
        t.platform().barrier();
    });
    assert!(matches!(Payload::look(&table, A), None | Some(1)));
    all.join().unwrap();
    assert_eq!(Payload::look(&table, A), None);
    finish(platform, table);
}

fn free_all_and_alloc<P: Platform>(platform: &P, table: Table<P>) {
    assert!(Payload::put(&table, B, 2));
    let all = spawn(&table, free_all);
    assert!(Payload::put(&table, A, 1));
    all.join().unwrap();
    assert!(matches!(Payload::look(&table, A), None | Some(1)));
    assert_eq!(Payload::look(&table, B), None);
    finish(platform, table);
}

fn rcu(name: &str, bound: Option<usize>, f: fn(&Rcu, Table<Rcu>)) {
    explore(name, bound, move || {
        let rcu = Rcu::new();
        let table = rcu.table();
        f(&rcu, table);
    });
}

/// The model's threads do not end where crossbeam would notice, so each says
/// that it leaves.
fn epoch(name: &str, bound: Option<usize>, f: fn(&RealEpoch, Table<RealEpoch>)) {
    explore(name, bound, move || {
        let epoch = RealEpoch::new();
        let table = epoch.table();
        f(&epoch, table);
        epoch.depart();
    });
}

#[test]
fn g8_rcu_get_against_free() {
    rcu("rcu: get | free", None, get_and_free);
}

#[test]
fn r34_rcu_get_against_alloc() {
    rcu("rcu: get | alloc", None, get_and_alloc);
}

#[test]
fn g7_rcu_free_all_against_get() {
    rcu("rcu: free_all | get", None, free_all_and_get);
}

#[test]
fn g7_rcu_free_all_against_alloc() {
    rcu("rcu: free_all | alloc", None, free_all_and_alloc);
}

/// G8: the work item runs at any time, beside the reader and the writer.
#[test]
fn g8_rcu_get_against_free_and_the_work_item() {
    explore("rcu: get | free | reclaim", None, || {
        let rcu = Rcu::new();
        let table = rcu.table();
        assert!(Payload::put(&table, A, 7));
        let frees = spawn(&table, |t| assert!(free(t, A)));
        let worker = {
            let rcu = rcu.clone();
            thread::spawn(move || rcu.work())
        };
        assert!(matches!(Payload::look(&table, A), None | Some(7)));
        frees.join().unwrap();
        worker.join().unwrap();
        finish(&rcu, table);
    });
}

/// G8: the work item takes its list while another free pushes onto it.
#[test]
fn g8_rcu_frees_against_the_work_item() {
    explore("rcu: free | reclaim", None, || {
        let rcu = Rcu::new();
        let table = rcu.table();
        assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
        assert!(free(&table, B));
        let worker = {
            let rcu = rcu.clone();
            thread::spawn(move || rcu.work())
        };
        assert!(free(&table, A));
        assert!(worker.join().unwrap(), "B was on the list");
        finish(&rcu, table);
    });
}

#[test]
fn g8_epoch_get_against_free() {
    epoch("epoch: get | free", None, get_and_free);
}

#[test]
fn r34_epoch_get_against_alloc() {
    epoch("epoch: get | alloc", None, get_and_alloc);
}

#[test]
fn g7_epoch_free_all_against_get() {
    epoch("epoch: free_all | get", None, free_all_and_get);
}

#[test]
fn g7_epoch_free_all_against_alloc() {
    epoch("epoch: free_all | alloc", None, free_all_and_alloc);
}

static DESTROYED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// [`Payload::destroy`], noted for the first object.
unsafe extern "C" fn noting(obj: *mut std::ffi::c_void, data: *mut std::ffi::c_void) {
    if obj.addr() == 0x1000 {
        DESTROYED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    // SAFETY: the table's own call.
    unsafe { Payload::destroy(obj, data) }
}

/// A free that returned is behind a barrier, though another thread's free is about
/// to retire the type's link for both.
#[test]
fn g8_rcu_barrier_after_free() {
    use std::sync::atomic::Ordering::SeqCst;
    explore("free, barrier | free, rcu", Some(2), || {
        DESTROYED.store(0, SeqCst);
        // SAFETY: both variables are payloads.
        let noted = unsafe { Dtor::new(noting) };
        let platform = Rcu::new();
        let table = platform.table();
        assert!(Payload::put(&table, 0x1000, 1));
        assert!(Payload::put(&table, 0x2000, 1));
        let other = {
            let table = table.clone();
            loom::thread::spawn(move || assert!(table.free_with(0x2000, noted).unwrap()))
        };
        assert!(table.free_with(0x1000, noted).unwrap());
        umbra_shadow::Smr::barrier(&platform);
        assert_eq!(DESTROYED.load(SeqCst), 1, "freed, and a barrier since");
        other.join().unwrap();
        drop(table);
        umbra_shadow::Smr::barrier(&platform);
    });
}
