//! Destructors that share a type: each variable gets the one that it was freed
//! with, whoever had its list before. Under loom a type has one list to lend, and a
//! further block has one too.

use std::ffi::c_void;

use loom::thread;
use umbra_loom::{Payload, Tracked, explore, quick};
use umbra_shadow::{Dtor, OutOfMemory, Smr};

const A: usize = 0x1000;
const B: usize = 0x2000;
const C: usize = 0x3000;

/// A destructor for variables of objects whose thousands are odd, or even.
fn only<const ODD: bool>() -> Dtor {
    unsafe extern "C" fn run<const ODD: bool>(obj: *mut c_void, data: *mut c_void) {
        assert_eq!(obj.addr() & 0x1000 != 0, ODD, "another one's destructor");
        // SAFETY: the table's own call.
        unsafe { Payload::destroy(obj, data) }
    }
    // SAFETY: the models' variables are payloads, and freed with their own.
    unsafe { Dtor::new(run::<ODD>) }
}

/// G8: a list is given back, lent to another destructor, and joined meanwhile by one
/// who knew it before.
#[test]
fn g8_frees_with_two_destructors() {
    explore("free | free, two destructors", Some(3), || {
        // One value each: the address of a function may differ from place to place.
        let (odd, even) = (only::<true>(), only::<false>());
        let platform = Tracked::new();
        let table = platform.table();
        assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
        assert!(Payload::put(&table, C, 3));
        // The list was lent before, and remembers to whom.
        assert_eq!(table.free_with(A, odd), Ok(true));
        let other = {
            let table = table.clone();
            thread::spawn(move || {
                assert_eq!(table.free_with(B, even), Ok(true));
            })
        };
        assert_eq!(table.free_with(C, odd), Ok(true));
        other.join().unwrap();
        drop(table);
        platform.barrier();
    });
}

/// The same without memory: whoever finds no list changes nothing, and the list
/// comes back.
#[test]
fn g8_frees_with_two_destructors_without_memory() {
    explore("free | free, two destructors, no memory", quick(3), || {
        // One value each: the address of a function may differ from place to place.
        let (odd, even) = (only::<true>(), only::<false>());
        let platform = Tracked::new();
        let table = platform.table();
        assert!(Payload::put(&table, A, 1) && Payload::put(&table, B, 2));
        platform.cramp(true);
        let other = {
            let table = table.clone();
            thread::spawn(move || table.free_with(A, odd))
        };
        let mine = table.free_with(B, even);
        let other = other.join().unwrap();
        for (obj, dtor, freed) in [(A, odd, other), (B, even, mine)] {
            let left = if freed == Ok(true) {
                None
            } else {
                Some(1 + (obj == B) as u64)
            };
            assert!(matches!(freed, Ok(true) | Err(OutOfMemory)), "{freed:?}");
            assert_eq!(Payload::look(&table, obj), left);
            if left.is_some() {
                assert_eq!(table.free_with(obj, dtor), Ok(true));
            }
        }
        drop(table);
        platform.barrier();
    });
}
