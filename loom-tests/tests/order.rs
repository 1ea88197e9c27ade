//! What happens before what, as a user sees it: a free happens before the insertion
//! that takes the variable's place, wherever that stands. (The kernel's own table
//! had a lock, and its users may rely on that.)

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use umbra_loom::{Bound, FLAGS, Payload, Tracked, deep, explore, finish, free, objects, spawn};
use umbra_shadow::{AllocError, Table};

/// What a thread owns while it has the variable.
struct Owned(UnsafeCell<u64>);

// SAFETY: that is what the models prove.
unsafe impl Sync for Owned {}
// SAFETY: as above.
unsafe impl Send for Owned {}

/// Takes the variable if nobody has it, works, gives it back.
fn turn(table: &Table<Tracked>, obj: usize, owned: &Owned) -> bool {
    let took = Payload::put(table, obj, 1);
    if took {
        // SAFETY: the variable is ours.
        owned.0.with_mut(|n| unsafe { *n += 1 });
        assert!(free(table, obj));
    }
    took
}

/// Two threads take turns with one variable, in a table that `fill` has prepared.
fn turns(name: &str, bound: impl Into<Bound>, obj: usize, fill: fn(&Tracked, &Table<Tracked>)) {
    explore(name, bound, move || {
        let platform = Tracked::new();
        let table = platform.table();
        fill(&platform, &table);
        let owned = Arc::new(Owned(UnsafeCell::new(0)));
        let other = {
            let owned = Arc::clone(&owned);
            spawn(&table, move |t| turn(t, obj, &owned))
        };
        let mine = turn(&table, obj, &owned);
        let theirs = other.join().unwrap();
        // SAFETY: both are done.
        let n = owned.0.with(|n| unsafe { *n });
        assert_eq!(n, u64::from(mine) + u64::from(theirs));
        finish(&platform, table);
    });
}

#[test]
fn g3_a_free_comes_before_the_alloc_in_its_place() {
    turns("turns, lane", deep(1, 2), 0x1000, |_, _| ());
}

#[test]
fn g3_a_free_comes_before_the_alloc_in_its_place_null() {
    turns("turns, NULL", Some(2), 0, |_, table| {
        // The body is there: making it is another model's.
        assert!(Payload::put(table, 0x1000, 1));
    });
}

/// An insertion into the attic searches the list before it links: the search acquires
/// what was unlinked there, and the commit fails if something was since.
#[test]
fn g3_a_free_comes_before_the_alloc_in_its_place_attic() {
    turns("turns, attic", Some(2), 0x3000, |platform, table| {
        assert!(Payload::put(table, 0x1000, 1));
        platform.cramp(true);
        assert!(Payload::put(table, 0x2000, 1));
    });
}

#[test]
fn g3_a_free_comes_before_the_alloc_in_its_place_guest() {
    let guest = objects(|hash| hash >> 63 == 0).nth(2).unwrap();
    turns("turns, guest", Some(2), guest, |platform, table| {
        for obj in objects(|hash| hash >> 63 == 0).take(2) {
            assert!(Payload::put(table, obj, 1));
        }
        platform.cramp(true);
    });
}

/// G5: constructors of one object run one after another; who comes because one has
/// failed sees what that one did.
#[test]
fn g5_a_failed_ctor_comes_before_the_next() {
    fn fails(table: &Table<Tracked>, owned: &Owned) {
        let made = table.alloc(0x1000, 8, FLAGS, |_| {
            // SAFETY: one constructor of an object runs at a time.
            owned.0.with_mut(|n| unsafe { *n += 1 });
            Err(())
        });
        assert_eq!(made.err(), Some(AllocError::Ctor(())));
    }
    explore("failing ctor | failing ctor", Some(2), || {
        let platform = Tracked::new();
        let table = platform.table();
        let owned = Arc::new(Owned(UnsafeCell::new(0)));
        let other = {
            let owned = Arc::clone(&owned);
            spawn(&table, move |t| fails(t, &owned))
        };
        fails(&table, &owned);
        other.join().unwrap();
        // SAFETY: both are done.
        assert_eq!(owned.0.with(|n| unsafe { *n }), 2);
        finish(&platform, table);
    });
}

/// G8: who frees a variable and destroys it himself, at once, does so after its
/// constructor, though the entry could be found before that was done.
#[test]
fn g8_free_now_comes_after_the_ctor() {
    for obj in [0x1000, 0] {
        explore(&format!("alloc | free_now of {obj:#x}"), None, move || {
            let platform = Tracked::new();
            let table = platform.table();
            let puts = spawn(&table, move |t| assert!(Payload::put(t, obj, 1)));
            let freed = table.free_now(obj, |data| {
                // SAFETY: the table gives it to us alone.
                unsafe { Payload::destroy(std::ptr::null_mut(), data.as_ptr().cast()) }
            });
            puts.join().unwrap();
            assert_eq!(Payload::look(&table, obj).is_none(), freed);
            finish(&platform, table);
        });
    }
}
