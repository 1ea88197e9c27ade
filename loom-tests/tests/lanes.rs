//! The lists of userspace between a retirement and its destructor: what a thread
//! frees another one destroys, and a barrier has seen all of it.

use std::ffi::c_void;
use std::sync::Arc as StdArc;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use umbra_loom::{FLAGS, Lists, Payload, explore, finish, free, spawn};
use umbra_shadow::{Dtor, Smr, Table};

const A: usize = 0x1000;
const B: usize = 0x2000;

fn table(platform: &Lists) -> Table<Lists> {
    Table::with_dtor(platform.clone(), 1, Some(Payload::DESTROY), FLAGS).unwrap()
}

/// G8: who destroys a variable sees all that was done to it before it was freed.
#[test]
fn g8_a_free_against_who_destroys_it() {
    explore("alloc, free | assist", None, || {
        let platform = Lists::default();
        let table = table(&platform);
        let assists = spawn(&table, |t| t.platform().assist());
        assert!(Payload::put(&table, A, 1));
        assert!(free(&table, A));
        assists.join().unwrap();
        finish(&platform, table);
    });
}

/// G8: each of two threads may destroy what the other one freed, once.
#[test]
fn g8_two_frees_and_who_destroys_them() {
    explore("free | free, by the lists", Some(3), || {
        let platform = Lists::default();
        let table = table(&platform);
        assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
        let frees = spawn(&table, |t| assert!(free(t, A)));
        assert!(free(&table, B));
        frees.join().unwrap();
        finish(&platform, table);
    });
}

/// G8: what was freed before a barrier is destroyed when it returns, whoever did that,
/// and what the destructor did is seen.
#[test]
fn g8_a_barrier_against_who_destroys() {
    unsafe extern "C" fn mark(_obj: *mut c_void, data: *mut c_void) {
        let data = data.cast::<*const UnsafeCell<u64>>();
        // SAFETY: the models's variables are such pointers, which outlive them.
        unsafe { (**data).with_mut(|v| *v = 1) }
    }
    // SAFETY: as above.
    let dtor = unsafe { Dtor::new(mark) };
    explore("free, barrier | assist", None, move || {
        let platform = Lists::default();
        let table = Table::new(platform.clone(), 1).unwrap();
        let marked = StdArc::new(UnsafeCell::new(0));
        let at = StdArc::as_ptr(&marked);
        let made = table.alloc(A, size_of_val(&at), FLAGS, |data| {
            // SAFETY: fresh data of this size.
            unsafe { data.cast().write(at) };
            Ok::<(), ()>(())
        });
        made.unwrap();
        let assists = spawn(&table, |t| t.platform().assist());
        assert_eq!(table.free_with(A, dtor), Ok(true));
        platform.barrier();
        // SAFETY: the destructor has run.
        assert_eq!(marked.with(|v| unsafe { *v }), 1);
        assists.join().unwrap();
        drop(table);
        platform.barrier();
    });
}

/// G8: a barrier has waited for the guards that were there before it, and sees what
/// was done under them, though another thread was the one who found them gone.
#[test]
fn g8_a_barrier_against_a_guard() {
    explore("barrier | guard", None, || {
        let platform = Lists::default();
        let pinned = Arc::new(AtomicUsize::new(0));
        let cell = StdArc::new(UnsafeCell::new(0));
        let reads = {
            let (platform, pinned) = (platform.clone(), Arc::clone(&pinned));
            let cell = StdArc::clone(&cell);
            thread::spawn(move || {
                let guard = platform.pin();
                pinned.store(1, Ordering::Release);
                // SAFETY: the other one looks after its barrier only.
                cell.with_mut(|v| unsafe { *v = 1 });
                drop(guard);
            })
        };
        let before = pinned.load(Ordering::Acquire) == 1;
        platform.barrier();
        if before {
            // SAFETY: the guard is gone.
            assert_eq!(cell.with(|v| unsafe { *v }), 1);
        }
        reads.join().unwrap();
    });
}
