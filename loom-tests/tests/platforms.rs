//! The table over what it runs on: the kernel's RCU as it is documented, and
//! crossbeam-epoch itself. Tier two: few threads, only the public operations.

use loom::thread::{self, JoinHandle};
use umbra_loom::{
    Bound, Payload, Rcu, RealEpoch, deep, ensure, explore, finish, free, free_all, spawn, walk,
};
use umbra_shadow::{Dtor, Platform, Table};

const A: usize = 0x1000;
const B: usize = 0x2000;

/// A thread that frees an object's variable, and has it taken apart as early as may be,
/// perhaps under another's eyes.
fn goes<P: Platform>(table: &Table<P>, obj: usize) -> JoinHandle<()> {
    spawn(table, move |t| {
        assert!(free(t, obj));
        t.platform().barrier();
    })
}

fn get_and_free<P: Platform>(platform: &P, table: Table<P>) {
    assert!(Payload::put(&table, A, 7));
    let frees = goes(&table, A);
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

/// One of two racing callers constructs.
fn get_or_alloc_twice<P: Platform>(platform: &P, table: Table<P>) {
    let other = spawn(&table, |t| ensure(t, A, 1));
    let mine = ensure(&table, A, 2);
    assert_eq!(other.join().unwrap(), mine, "one variable");
    assert_eq!(table.live(), 1);
    finish(platform, table);
}

/// An object's second life while its first one ends.
fn alloc_and_free<P: Platform>(platform: &P, table: Table<P>) {
    assert!(Payload::put(&table, A, 1));
    let frees = goes(&table, A);
    let again = Payload::put(&table, A, 2);
    frees.join().unwrap();
    assert_eq!(Payload::look(&table, A), again.then_some(2));
    finish(platform, table);
}

/// Two free one variable, and destroy what both left behind.
fn free_twice<P: Platform>(platform: &P, table: Table<P>) {
    assert!(Payload::put(&table, A, 1));
    let other = spawn(&table, |t| {
        let freed = free(t, A);
        t.platform().barrier();
        freed
    });
    let mine = free(&table, A);
    assert!(mine != other.join().unwrap(), "exactly one");
    finish(platform, table);
}

/// What a batch found is read at its end.
fn get_many_and_free<P: Platform>(platform: &P, table: Table<P>) {
    assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
    assert!(table.stats().lines > 1, "past the root");
    let frees = goes(&table, A);
    let [a, b] = Payload::look_many(&table, [A, B]);
    assert!(matches!(a, None | Some(1)));
    assert_eq!(b, Some(2), "always there");
    frees.join().unwrap();
    finish(platform, table);
}

fn iterate_and_free<P: Platform>(platform: &P, table: Table<P>) {
    assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
    let frees = goes(&table, A);
    let seen = walk(&table);
    assert!(seen == [(B, 2)] || seen == [(A, 1), (B, 2)], "{seen:?}");
    frees.join().unwrap();
    finish(platform, table);
}

/// The line that is split is retired under the reader.
fn split_and_get<P: Platform>(platform: &P, table: Table<P>) {
    assert!(Payload::put(&table, A, 1));
    let grows = spawn(&table, |t| {
        assert!(Payload::put(t, B, 2));
        assert!(t.stats().lines > 1, "past the root");
        t.platform().barrier();
    });
    assert_eq!(Payload::look(&table, A), Some(1), "always there");
    grows.join().unwrap();
    assert_eq!(Payload::look(&table, A), Some(1));
    assert_eq!(Payload::look(&table, B), Some(2));
    finish(platform, table);
}

/// The last variable goes, and its type's lines with it; of a type that `f` uses.
fn while_emptied<P: Platform>(table: &Table<P>, f: impl FnOnce()) {
    assert!(Payload::put(table, A, 1) && Payload::put(table, B, 2));
    assert!(free(table, A) && table.stats().lines > 1);
    let frees = goes(table, B);
    f();
    frees.join().unwrap();
    assert_eq!(Payload::look(table, B), None);
}

fn shrink_and_get<P: Platform>(platform: &P, table: Table<P>) {
    while_emptied(&table, || {
        assert!(matches!(Payload::look(&table, B), None | Some(2)));
    });
    finish(platform, table);
}

fn shrink_and_alloc<P: Platform>(platform: &P, table: Table<P>) {
    while_emptied(&table, || assert!(Payload::put(&table, A, 3)));
    assert_eq!(Payload::look(&table, A), Some(3));
    finish(platform, table);
}

fn rcu(name: &str, bound: impl Into<Bound>, f: fn(&Rcu, Table<Rcu>)) {
    explore(name, bound, move || {
        let rcu = Rcu::new();
        let table = rcu.table();
        f(&rcu, table);
    });
}

/// The model's threads do not end where crossbeam would notice, so each says
/// that it leaves.
fn epoch(name: &str, bound: impl Into<Bound>, f: fn(&RealEpoch, Table<RealEpoch>)) {
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

#[test]
fn r44_rcu_get_or_alloc_against_get_or_alloc() {
    rcu(
        "rcu: get_or_alloc | get_or_alloc",
        Some(2),
        get_or_alloc_twice,
    );
}

#[test]
fn g3_rcu_alloc_against_free() {
    rcu("rcu: alloc | free, one object", Some(3), alloc_and_free);
}

#[test]
fn g8_rcu_free_against_free() {
    rcu("rcu: free | free", Some(3), free_twice);
}

#[test]
fn g8_rcu_get_many_against_free() {
    rcu("rcu: get_many | free", Some(3), get_many_and_free);
}

#[test]
fn g8_rcu_iterate_against_free() {
    rcu("rcu: iterate | free", Some(3), iterate_and_free);
}

#[test]
fn g6_rcu_get_against_growth() {
    rcu("rcu: get | alloc with growth", Some(3), split_and_get);
}

#[test]
fn g9_rcu_shrink_against_get() {
    rcu("rcu: shrink | get", Some(3), shrink_and_get);
}

#[test]
fn g9_rcu_shrink_against_alloc() {
    rcu("rcu: shrink | alloc", Some(3), shrink_and_alloc);
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

#[test]
fn r44_epoch_get_or_alloc_against_get_or_alloc() {
    epoch(
        "epoch: get_or_alloc | get_or_alloc",
        deep(1, 2),
        get_or_alloc_twice,
    );
}

#[test]
fn g3_epoch_alloc_against_free() {
    epoch("epoch: alloc | free, one object", Some(3), alloc_and_free);
}

#[test]
fn g8_epoch_free_against_free() {
    epoch("epoch: free | free", deep(1, 2), free_twice);
}

#[test]
fn g8_epoch_get_many_against_free() {
    epoch("epoch: get_many | free", Some(3), get_many_and_free);
}

#[test]
fn g8_epoch_iterate_against_free() {
    epoch("epoch: iterate | free", Some(3), iterate_and_free);
}

#[test]
fn g6_epoch_get_against_growth() {
    epoch("epoch: get | alloc with growth", Some(3), split_and_get);
}

#[test]
fn g9_epoch_shrink_against_get() {
    epoch("epoch: shrink | get", Some(3), shrink_and_get);
}

#[test]
fn g9_epoch_shrink_against_alloc() {
    epoch("epoch: shrink | alloc", Some(2), shrink_and_alloc);
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
