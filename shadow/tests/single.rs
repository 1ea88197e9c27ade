//! What one caller sees: cookies, the variable of NULL, batches, sessions, objects
//! whose hashes collide, and what freeing costs.

mod common;

use std::alloc::Layout;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use common::{
    COUNT, Counting, FLAGS, Section, counter, in_section, interrupt, look, object, put, put_counter,
};
use umbra_shadow::{
    AllocError, AllocFlags, Dtor, Epoch, Link, Lookup, Memory, OutOfMemory, Platform, Progress,
    ShadowMap, ShadowTable, Smr, Table,
};

const MANY: usize = if cfg!(miri) { 40 } else { 20_000 };

fn table() -> (Counting, Table<Counting>) {
    let platform = Counting::default();
    let table = Table::new(platform.clone(), 1).unwrap();
    (platform, table)
}

#[test]
fn g10_a_cookie_that_does_not_match_is_stale() {
    let (platform, table) = table();
    let made = table.alloc_with_cookie(object(1), 7, 8, FLAGS, |_| Ok::<(), ()>(()));
    assert!(put(&table, object(2), 2));
    let guard = platform.pin();
    let data = made.unwrap();
    assert_eq!(
        table.get_with_cookie(object(1), 7, &guard),
        Lookup::Live(data)
    );
    assert_eq!(table.get(object(1), &guard), Some(data), "who does not ask");
    for (obj, cookie, answer) in [
        (object(1), 8, Lookup::Stale),
        (object(1), 0, Lookup::Stale),
        (object(2), 7, Lookup::Stale),
        (object(3), 7, Lookup::Absent),
    ] {
        assert_eq!(table.get_with_cookie(obj, cookie, &guard), answer);
    }
    assert!(matches!(
        table.get_with_cookie(object(2), 0, &guard),
        Lookup::Live(_)
    ));
    assert_eq!(
        [1, 2, 3].map(|n| table.cookie(object(n), &guard)),
        [Some(7), Some(0), None]
    );
    drop(guard);
    // The next object at the address: the old variable goes, the new one is its own.
    assert!(table.free(object(1)));
    let made = table.alloc_with_cookie(object(1), 8, 8, FLAGS, |_| Ok::<(), ()>(()));
    assert_eq!(
        table.get_with_cookie(object(1), 8, &platform.pin()),
        Lookup::Live(made.unwrap())
    );
    let before = table.stats().generation;
    table.free_all(None);
    assert_eq!(table.stats().generation, before + 1);
}

#[test]
fn g11_null_has_a_slot_of_its_own() {
    let (platform, table) = table();
    let n = counter();
    put_counter(&table, 0, n);
    assert!(!put(&table, 0, 9), "one variable");
    assert!(look(&table, 0).is_some());
    let stats = table.stats();
    assert_eq!((stats.live, stats.splits, stats.attic), (1, 0, 0));
    let mut seen = Vec::new();
    table.for_each(|obj, _| seen.push(obj));
    assert_eq!(seen, [0]);
    assert!(table.free_with(0, COUNT).unwrap());
    assert!(!table.free_with(0, COUNT).unwrap());
    assert_eq!(look(&table, 0), None);
    put_counter(&table, 0, n);
    table.free_all(Some(COUNT));
    platform.barrier();
    assert_eq!(n.load(SeqCst), 2);
    drop(table);
    platform.barrier();
    assert_eq!(platform.blocks(), 0);
}

#[test]
fn get_many_answers_as_get_does() {
    let (platform, table) = table();
    (0..MANY)
        .step_by(2)
        .for_each(|i| assert!(put(&table, object(i), i as u64)));
    assert!(put(&table, 0, 1));
    let mut objects: Vec<usize> = (0..MANY).map(object).collect();
    objects[17] = 0;
    let guard = platform.pin();
    for len in [0, 1, 31, 32, 33, MANY] {
        let objects = &objects[..len];
        let mut found = vec![Some(NonNull::dangling()); len];
        table.get_many(objects, &mut found, &guard);
        for (&obj, &found) in objects.iter().zip(&found) {
            assert_eq!(found, table.get(obj, &guard), "{obj:#x}");
        }
    }
}

#[test]
#[should_panic(expected = "a place for each object")]
fn get_many_wants_a_place_for_each_object() {
    let (platform, table) = table();
    table.get_many(&[1, 2], &mut [None], &platform.pin());
}

/// The objects that a hash of few bits would put together, and those that share
/// all but a few bits of ours: everything is found, and what is long is visible.
#[test]
fn g12_d10_colliding_objects_are_found_and_visible() {
    // The inverse of the hash's multiplier, by Newton's iteration.
    let k = 0xD6E8_FEB8_6659_FD93_u64;
    let mut inverse = k;
    (0..6).for_each(|_| inverse = inverse.wrapping_mul(2u64.wrapping_sub(k.wrapping_mul(inverse))));
    assert_eq!(k.wrapping_mul(inverse), 1);
    let seed = 0x9E37_79B9_0000_0000_u64;
    let collide = |i: u64| ((0x0123_4567 + (i << 46)).wrapping_mul(inverse) ^ seed) as usize;
    let (platform, table) = table();
    let n = if cfg!(miri) { 40 } else { 600 };
    (0..n).for_each(|i| assert!(put(&table, collide(i), i)));
    (0..n).for_each(|i| assert_eq!(look(&table, collide(i)), Some(i)));
    let stats = table.stats();
    assert!(stats.attic > 0 && stats.longest > 0, "{stats:?}");
    if !cfg!(miri) {
        assert!(stats.lines < 64 * 252, "no endless splitting: {stats:?}");
    }
    (0..n).for_each(|i| assert!(table.free(collide(i))));
    platform.barrier();
    assert_eq!((table.stats().live, table.stats().pending), (0, 0));
}

/// D10: as many objects of a slab as there may be, and as many variables of NULL.
#[test]
fn d10_no_chain_grows_with_the_table() {
    let (_, one) = table();
    (0..MANY).for_each(|i| assert!(put(&one, object(i), 1)));
    assert!(one.stats().longest <= 16, "{:?}", one.stats());
    let shadows = ShadowTable::new(Epoch);
    for id in 0..100 {
        let made = shadows.alloc(0, id, 8, FLAGS, |_| Ok::<(), ()>(()));
        made.unwrap();
    }
    shadows.for_each_type(|table| {
        let stats = table.stats();
        assert_eq!((stats.live, stats.longest), (1, 0));
    });
}

/// R46: what the safe map hands out is shared; who changes it must exclude others,
/// and cannot forget it (the compile-fail examples of [`ShadowMap`]).
#[test]
fn r46_callers_exclude_each_other_over_the_data() {
    let map = ShadowMap::<Mutex<u64>>::new().unwrap();
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                for _ in 0..if cfg!(miri) { 10 } else { 1_000 } {
                    let guard = Epoch.pin();
                    let value = map.get_or_insert_with(object(1), &guard, Mutex::default);
                    *value.unwrap().lock().unwrap() += 1;
                }
            });
        }
    });
    let guard = Epoch.pin();
    let total = *map.get(object(1), &guard).unwrap().lock().unwrap();
    assert_eq!(total, if cfg!(miri) { 20 } else { 2_000 });
}

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// Reclaims at once, for nobody else is there, and counts the steps: each is a
/// bounded piece of work.
#[derive(Clone)]
struct Stepping;

// SAFETY: used by one thread that holds no guard while it frees.
unsafe impl Smr for Stepping {
    type Guard = ();
    fn pin(&self) {}
    unsafe fn retire(&self, link: NonNull<Link>) {
        loop {
            STEPS.set(STEPS.get() + 1);
            // SAFETY: retired once, and nobody holds a guard.
            if unsafe { Link::reclaim(link) } == Progress::Done {
                return;
            }
        }
    }
    fn assist(&self) {}
    fn barrier(&self) {}
}

// SAFETY: `Epoch`'s memory.
unsafe impl Memory for Stepping {
    fn alloc_zeroed(&self, layout: Layout, flags: AllocFlags) -> Option<NonNull<u8>> {
        Epoch.alloc_zeroed(layout, flags)
    }
    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { Epoch.dealloc(ptr, layout) }
    }
}

impl Platform for Stepping {
    fn relax(&self, flags: AllocFlags, round: u32) -> bool {
        Epoch.relax(flags, round)
    }
}

/// R57: the kernel walks the whole table for it.
#[test]
fn r57_freeing_an_id_costs_its_own_entries() {
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    let cost = |others: usize| {
        let shadows = ShadowTable::new(Stepping);
        let add = |id, n: usize| {
            for i in 0..n {
                shadows
                    .alloc(object(i), id, 8, FLAGS, |_| Ok::<(), ()>(()))
                    .unwrap();
            }
        };
        add(1, 10);
        add(2, others);
        STEPS.set(0);
        shadows.free_all(1, None);
        let steps = STEPS.get();
        shadows.for_each_type(|table| LEFT.store(table.stats().live, SeqCst));
        assert_eq!(LEFT.load(SeqCst), others, "the others stay");
        steps
    };
    assert_eq!(cost(10), cost(MANY));
}

const DTORS: usize = if cfg!(miri) { 5 } else { 20 };
static RAN: [AtomicUsize; DTORS] = [const { AtomicUsize::new(0) }; DTORS];

/// As many destructors as wanted, each for the variables that were freed with it.
fn nth(n: usize) -> Dtor {
    unsafe extern "C" fn run<const N: usize>(_obj: *mut c_void, data: *mut c_void) {
        // SAFETY: the variables of these tests are `put`'s.
        assert_eq!(unsafe { data.cast::<u64>().read() }, N as u64);
        RAN[N].fetch_add(1, SeqCst);
    }
    macro_rules! all {
        ($($n:literal)*) => { [$(run::<$n> as unsafe extern "C" fn(_, _)),*] };
    }
    let all = all!(0 1 2 3 4);
    #[cfg(not(miri))]
    let all = [
        all.as_slice(),
        &all!(5 6 7 8 9 10 11 12 13 14 15 16 17 18 19),
    ]
    .concat();
    // SAFETY: as said there.
    unsafe { Dtor::new(all[n]) }
}

/// G8: any number of different destructors, one after the other and all at once;
/// what they needed of the type is not more than it was, or goes with it.
#[test]
fn g8_a_type_has_any_number_of_destructors() {
    let (platform, table) = table();
    let before = platform.blocks();
    for n in 0..DTORS {
        assert!(put(&table, object(n), n as u64));
        assert_eq!(table.free_with(object(n), nth(n)), Ok(true));
        assert_eq!(table.free_with(object(n), nth(n)), Ok(false), "freed once");
        platform.barrier();
    }
    let ran = || RAN.each_ref().map(|n| n.load(SeqCst));
    assert_eq!(ran(), [1; DTORS]);
    // The body's own block came with the first variable.
    assert_eq!(platform.blocks(), before + 1, "places are given back");

    let guard = platform.pin();
    for n in 0..DTORS {
        assert!(put(&table, object(n), n as u64));
        assert_eq!(table.free_with(object(n), nth(n)), Ok(true));
    }
    assert_eq!(ran(), [1; DTORS], "all of them wait for the guard");
    drop(guard);
    platform.barrier();
    assert_eq!(ran(), [2; DTORS]);

    // No memory for further places: refused, and nothing is changed.
    let (platform, table) = self::table();
    (0..DTORS).for_each(|n| assert!(put(&table, object(n), n as u64)));
    let guard = platform.pin();
    platform.0.fail_from.store(1, SeqCst);
    let freed: Vec<_> = (0..DTORS)
        .map(|n| table.free_with(object(n), nth(n)))
        .collect();
    let first = freed.iter().take_while(|freed| **freed == Ok(true)).count();
    assert!(first > 0 && first < DTORS, "{freed:?}");
    assert!(
        freed[first..]
            .iter()
            .all(|freed| *freed == Err(OutOfMemory))
    );
    (0..DTORS).for_each(|n| assert_eq!(look(&table, object(n)).is_some(), n >= first));
    drop(guard);
    platform.barrier();
    for n in first..DTORS {
        assert_eq!(
            table.free_with(object(n), nth(n)),
            Ok(true),
            "there is room again"
        );
        platform.barrier();
    }
    assert_eq!(ran(), [3; DTORS]);
}

#[test]
fn g9_an_emptied_table_gives_its_lines_back() {
    let (platform, table) = table();
    let before = platform.blocks();
    for round in 0..3 {
        for i in 0..5000 {
            assert!(put(&table, object(i), i as u64));
        }
        let full = table.stats().lines;
        assert!(full > 1000, "{full} lines");
        for i in 1..5000 {
            assert!(table.free(object(i)));
        }
        platform.barrier();
        let left = table.stats().lines;
        assert!(left != 0 && left * 4 < full, "one variable is left");
        assert_eq!(look(&table, object(0)), Some(0), "round {round}");
        assert!(table.free(object(0)));
        platform.barrier();
        assert_eq!(table.stats().lines, 0, "round {round}");
        assert_eq!(platform.blocks(), before, "round {round}");
    }
}

/// G6: no guard is held for all of a split, which is in steps: in the kernel a guard is
/// a section with preemption off.
#[test]
fn g6_a_split_has_a_guard_for_each_of_its_steps() {
    let (platform, table) = table();
    let mut splits = 0;
    // One for the first look, three for what is decided; and the freezing, the filling,
    // and the look that finds nothing more to do.
    let steps = if cfg!(any(miri, umbra_tiny)) { 3 } else { 18 };
    for i in 0..MANY {
        let (before, pins) = (table.stats().splits, platform.0.pins.load(SeqCst));
        assert!(put(&table, object(i), 0));
        let pins = platform.0.pins.load(SeqCst) - pins;
        if table.stats().splits != before {
            assert!(pins >= 4 + steps, "{pins} guards");
            splits += 1;
        }
    }
    assert!(splits > 2);
}

/// Who frees what he walks over is given all of it: in slices, and then what is left.
#[test]
fn g7_a_walk_in_slices_is_given_everything() {
    let platform = Counting::default();
    let table = Table::new(platform.clone(), 1).unwrap();
    let objects = if cfg!(miri) { 100 } else { 10_000 };
    (0..objects).for_each(|i| assert!(put(&table, object(i), 1)));
    assert!(put(&table, 0, 1));
    let mut seen = std::collections::BTreeMap::<usize, usize>::new();
    table.for_each_to_free(|obj, _| *seen.entry(obj).or_default() += 1);
    assert_eq!(seen.len(), objects + 1);
    let twice = seen.values().filter(|times| **times == 2).count();
    // What has no lane is not in a slice: NULL, and the attic's.
    assert_eq!(twice, objects - table.stats().attic);

    let (mut freed, mut between, mut most, mut pins) = (0, 0, 0, 0);
    table.for_each_to_free(|obj, _| {
        // The walk's own guard, if it is not that of the free before.
        let now = platform.0.pins.load(SeqCst);
        between = if now == pins { between + 1 } else { 1 };
        most = most.max(between);
        assert!(table.free(obj), "given once");
        freed += 1;
        pins = platform.0.pins.load(SeqCst);
    });
    assert_eq!((freed, table.live()), (objects + 1, 0));
    assert!(cfg!(miri) || objects > 20 * 15 * 7, "more than a slice");
    assert!(most <= 15 * 7, "{most} under one guard");
}

/// Attaches in a section with `around` at its ends, where the constructor returns `made`.
fn put_within(
    table: &Table<Counting>,
    obj: usize,
    made: Result<(), ()>,
    around: &dyn Fn(),
) -> bool {
    let ctor = |_| {
        assert!(in_section(), "constructed within");
        made
    };
    let data = table.alloc_within(obj, 0, 8, FLAGS, || Section::enter(around), ctor);
    assert!(!in_section(), "left, whatever became of it");
    data.is_ok()
}

/// A section of the caller's is around all of what an interrupt may not meet, while
/// memory is had and tables grow outside of it.
#[test]
fn r44_an_interrupt_outside_of_the_section_meets_nothing_half_made() {
    let platform = Counting::default();
    let table = Table::new(platform.clone(), 1).unwrap();
    let objects = if cfg!(miri) { 40 } else { 3_000 };
    for i in 0..objects {
        for (obj, made) in [(object(i), Ok(())), (object(i + objects), Err(()))] {
            let around = || {
                let met = interrupt(|| table.alloc(obj, 8, FLAGS, |_| Err(())));
                // One that is being made would be waited for, in vain.
                assert_ne!(met, Err(AllocError::Busy));
            };
            assert_eq!(put_within(&table, obj, made, &around), made.is_ok());
            assert!(
                !put_within(&table, obj, Err(()), &around),
                "there, or failed"
            );
            assert_eq!(look(&table, obj).is_some(), made.is_ok());
        }
    }
    assert!(table.stats().splits > 0);
    table.free_all(None);
    drop(table);
    platform.barrier();
    assert_eq!(platform.blocks(), 0);
}

/// Who waits for another's constructor does so outside, and is in its own afterwards.
#[test]
fn r44_others_are_waited_for_outside_of_a_section() {
    let platform = Counting::default();
    let table = Table::new(platform.clone(), 1).unwrap();
    for made in [Ok(()), Err(())] {
        let waits = platform.0.waits.load(SeqCst);
        std::thread::scope(|scope| {
            let ctor = |_| {
                scope.spawn(|| {
                    let mine = put_within(&table, object(1), Ok(()), &|| ());
                    assert_eq!(mine, made.is_err());
                });
                while platform.0.waits.load(SeqCst) == waits {
                    std::thread::yield_now();
                }
                made
            };
            let mine = table.alloc(object(1), 8, FLAGS, ctor);
            assert_eq!(mine.is_ok(), made.is_ok());
        });
        assert!(table.free(object(1)));
    }
}
