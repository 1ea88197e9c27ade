//! R62: what would hang without a word panics in a debug build, and says what to do.
#![cfg(debug_assertions)]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use common::{FLAGS, look, object, put};
use umbra_shadow::{Epoch, ShadowMap, Smr, Table};

/// What the panic of `f` says.
fn said(f: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("it would hang");
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

#[test]
fn r62_a_ctor_that_asks_for_its_own_variable() {
    let table = Table::new(Epoch, 1).unwrap();
    let said = said(|| {
        let _ = table.alloc(object(1), 8, FLAGS, |_| {
            // Other objects and other types are fair.
            assert!(put(&table, object(2), 2));
            assert!(put(&Table::new(Epoch, 1).unwrap(), object(1), 3));
            table
                .get_or_alloc(object(1), 8, FLAGS, |_| Ok::<(), ()>(()))
                .map(|_| ())
        });
    });
    assert!(said.contains("use the data it was given"), "{said}");
    assert_eq!(look(&table, object(1)), None, "it left no trace");
    assert!(put(&table, object(1), 1), "and this thread may try again");
}

#[test]
fn r62_a_ctor_that_waits_for_reclamation() {
    let table = Table::new(Epoch, 1).unwrap();
    let said = said(|| {
        let _ = table.alloc(object(1), 8, FLAGS, |_| {
            Epoch.barrier();
            Ok::<(), ()>(())
        });
    });
    assert!(said.contains("barrier() in a constructor"), "{said}");
    Epoch.barrier();
}

#[test]
fn r62_a_dtor_that_waits_for_reclamation() {
    static SAID: Mutex<String> = Mutex::new(String::new());
    struct Waits;
    impl Drop for Waits {
        fn drop(&mut self) {
            *SAID.lock().unwrap() = said(|| Epoch.barrier());
        }
    }
    let map = ShadowMap::<Waits>::new().unwrap();
    let guard = Epoch.pin();
    assert!(map.get_or_insert_with(object(1), &guard, || Waits).is_ok());
    drop(guard);
    assert!(map.remove(object(1)));
    Epoch.barrier();
    let said = SAID.lock().unwrap().clone();
    assert!(said.contains("barrier() in a destructor"), "{said}");
}

#[test]
fn r62_a_barrier_under_a_guard() {
    let guard = Epoch.pin();
    let said = said(|| Epoch.barrier());
    assert!(said.contains("drop the guard first"), "{said}");
    drop(guard);
}
