//! Memory that runs out at every possible place.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use common::{Counting, FLAGS, look, object, put};
use umbra_shadow::{AllocError, ShadowTable, Smr, Table};

/// A run of every operation; true when each succeeded.
fn scenario(platform: &Counting) -> bool {
    let table = ShadowTable::new(platform.clone());
    let mut ok = true;
    for id in [3, 1, 2] {
        match table.table(id, FLAGS) {
            Ok(t) => {
                for i in 0..60 {
                    let fresh = look(&t, object(i)).is_none();
                    let made = put(&t, object(i), i as u64);
                    assert_eq!(
                        look(&t, object(i)),
                        made.then_some(i as u64),
                        "all or nothing"
                    );
                    ok &= made && fresh;
                }
            }
            Err(_) => ok = false,
        }
    }
    ok &= table.drop_type(1, FLAGS).is_ok();
    ok
}

#[test]
fn g6_every_nth_allocation_failing_loses_and_leaks_nothing() {
    let count = Counting::default();
    assert!(scenario(&count));
    count.barrier();
    let calls = count.0.calls.load(SeqCst);
    assert!(calls > 60, "{calls} allocations to fail");
    let mut failed = 0;
    for nth in 1..=calls {
        let platform = Counting::default();
        platform.0.fail_nth.store(nth, SeqCst);
        failed += usize::from(!scenario(&platform));
        platform.barrier();
        assert_eq!(platform.blocks(), 0, "call {nth} of {calls}");
    }
    assert!(
        failed > 60,
        "entries and types fail visibly, {failed} of {calls}"
    );
    assert!(
        failed < calls,
        "a growth that fails is put off, not an error"
    );
}

/// Only the entries' own memory is to be had: every insertion succeeds.
#[test]
fn g6_growth_without_memory_is_put_off() {
    #[derive(Clone)]
    struct Small(Counting, Arc<AtomicBool>);
    // SAFETY: all of it is the inner platform's.
    unsafe impl Smr for Small {
        type Guard = umbra_shadow::EpochGuard;
        fn pin(&self) -> Self::Guard {
            self.0.pin()
        }
        unsafe fn retire(&self, link: std::ptr::NonNull<umbra_shadow::Link>) {
            // SAFETY: the caller's contract.
            unsafe { self.0.retire(link) }
        }
        fn assist(&self) {
            self.0.assist();
        }

        fn barrier(&self) {
            self.0.barrier();
        }
    }
    // SAFETY: as above, or none.
    unsafe impl umbra_shadow::Memory for Small {
        fn alloc_zeroed(
            &self,
            layout: std::alloc::Layout,
            flags: umbra_shadow::AllocFlags,
        ) -> Option<std::ptr::NonNull<u8>> {
            // A segment is 16 KiB, a page of the directory 8, a body less.
            if layout.size() > 8192 && !self.1.load(SeqCst) {
                None
            } else {
                self.0.alloc_zeroed(layout, flags)
            }
        }
        unsafe fn dealloc(&self, ptr: std::ptr::NonNull<u8>, layout: std::alloc::Layout) {
            // SAFETY: the caller's contract.
            unsafe { self.0.dealloc(ptr, layout) }
        }
    }
    impl umbra_shadow::Platform for Small {
        fn relax(&self, flags: umbra_shadow::AllocFlags, _round: u32) -> bool {
            self.0.relax(flags, 0)
        }
    }
    let platform = Counting::default();
    let ample = Arc::new(AtomicBool::new(false));
    let table = Table::new(Small(platform.clone(), Arc::clone(&ample)), 1).unwrap();
    let (few, many) = if cfg!(miri) { (12, 30) } else { (500, 3_000) };
    for i in 0..few {
        assert!(put(&table, object(i), i as u64));
    }
    let found = |n: usize| (0..n).all(|i| look(&table, object(i)) == Some(i as u64));
    assert!(found(few));
    // There is memory again: the lines are replaced, and what stands behind them is
    // more than a helper looks at.
    ample.store(true, SeqCst);
    let waiting = table.stats();
    for i in few..many {
        assert!(put(&table, object(i), i as u64));
        assert!(found(few) || i % 100 != 0, "after {i}");
    }
    let grown = table.stats();
    let tiny = cfg!(any(miri, umbra_tiny));
    assert!(
        waiting.splits == 0 && (tiny || waiting.attic > 256),
        "{waiting:?}"
    );
    assert!(grown.splits > 0 && (tiny || grown.attic > 256), "{grown:?}");
    assert!(found(many));
    (0..many).for_each(|i| assert!(table.free(object(i))));
    assert_eq!(table.stats().live, 0);
    drop(table);
    platform.barrier();
    assert_eq!(platform.blocks(), 0);
}

/// An insertion that is refused, for whatever reason, leaves its size to nobody: later
/// entries are as small as if it had not been.
#[test]
fn sizes_of_refused_insertions_cost_later_ones_nothing() {
    let platform = Counting::default();
    let ledger = Arc::clone(&platform.0);
    let bytes = || ledger.bytes.load(SeqCst);
    let table = Table::new(platform.clone(), 1).unwrap();
    // The body; and an entry with a cookie has no interned size.
    let there = table.alloc_with_cookie(object(0), 8, 7, FLAGS, |_| Ok::<(), ()>(()));
    assert!(there.is_ok());
    for size in [100, 200, 300, 400] {
        let alloc =
            |i, ok: bool| table.alloc(object(i), size, FLAGS, |_| ok.then_some(()).ok_or(()));
        assert!(matches!(alloc(0, true), Err(AllocError::Exists(_))));
        assert!(matches!(alloc(1, false), Err(AllocError::Ctor(()))));
        ledger.fail_from.store(1, SeqCst);
        assert!(matches!(alloc(1, true), Err(AllocError::OutOfMemory)));
        ledger.fail_from.store(0, SeqCst);
        platform.barrier();
    }
    for size in [8, 16, 24] {
        let before = bytes();
        let made = table.alloc(object(size), size, FLAGS, |_| Ok::<(), ()>(()));
        assert!(made.is_ok());
        assert_eq!(bytes() - before, 16 + size, "a header and the data");
    }
    drop(table);
    platform.barrier();
    assert_eq!((bytes(), platform.blocks()), (0, 0));
}
