//! One test body for every contestant: it finds what is there, and nothing else.

use super::*;
use crate::{Lookup, workload};

/// Large enough that tables grow and klp's chains collide.
const N: usize = if cfg!(miri) { 200 } else { 20_000 };

fn finds_exactly_what_is_there<L: Lookup>() {
    let keys = Keys::new(N);
    let table = L::filled(&keys);
    let guard = table.guard();
    for (key, word) in keys.pairs() {
        assert_eq!(
            table.get(key, &guard),
            Some(word),
            "{}: a present object",
            L::NAME
        );
    }
    for &key in keys.absent() {
        assert_eq!(
            table.get(key, &guard),
            None,
            "{}: an absent object",
            L::NAME
        );
    }
    let sum = keys
        .pairs()
        .fold(0u64, |sum, (_, word)| sum.wrapping_add(word));
    assert_eq!(
        workload::hit_independent(&table, &guard, keys.present()),
        sum
    );
    let start = keys.present()[0];
    assert_eq!(
        workload::hit_dependent(&table, &guard, start, N),
        start as u64
    );
    assert_eq!(workload::miss_independent(&table, &guard, keys.absent()), 0);
    assert_eq!(workload::miss_dependent(&table, &guard, keys.absent()), 0);
}

fn writes_take_effect_once<M: Map>() {
    let keys = Keys::new(N);
    let table = M::new(0);
    let guard = table.guard();
    let (a, b) = (keys.present()[0], keys.present()[1]);

    assert!(!table.free(a, &guard), "{}: nothing to free yet", M::NAME);
    assert_eq!(table.get_or_alloc(a, 7, &guard), 7);
    assert_eq!(
        table.get_or_alloc(a, 8, &guard),
        7,
        "{}: the first one stays",
        M::NAME
    );
    assert_eq!(table.get(b, &guard), None);
    assert!(table.free(a, &guard));
    assert!(!table.free(a, &guard), "{}: freed once", M::NAME);
    assert_eq!(table.get(a, &guard), None);

    let present: u64 = workload::insert_all(&table, &guard, &keys);
    assert_eq!(
        present,
        keys.pairs()
            .fold(0u64, |sum, (_, word)| sum.wrapping_add(word))
    );
    assert_eq!(workload::churn(&table, &guard, keys.absent()), N as u64);
    assert_eq!(workload::miss_independent(&table, &guard, keys.absent()), 0);
    let half = &keys.present()[..N / 2];
    assert_eq!(
        workload::free_all_one_by_one(&table, &guard, half),
        half.len() as u64
    );
    assert_eq!(workload::miss_independent(&table, &guard, half), 0);
    for &key in &keys.present()[N / 2..] {
        assert!(
            table.get(key, &guard).is_some(),
            "{}: the other half stays",
            M::NAME
        );
    }
    drop(guard);

    // All but cds_lfht have an operation for all entries.
    let at_once = table.free_everything();
    assert_eq!(at_once, M::NAME != "cds_lfht", "{}", M::NAME);
    if at_once {
        let guard = table.guard();
        let found = |key: &&usize| table.get(**key, &guard).is_some();
        let left = keys.present().iter().filter(found).count();
        assert_eq!(left, 0, "{}: one operation frees all", M::NAME);
        assert_eq!(table.get_or_alloc(a, 9, &guard), 9, "and it goes on");
    }

    let growth = workload::growth::<M>(&keys);
    assert!(growth.longest <= growth.total);
}

macro_rules! same_body {
    ($($name:ident: $peer:ty => $($body:ident),+;)+) => {$(
        #[test]
        fn $name() {
            $($body::<$peer>();)+
        }
    )+};
}

same_body! {
    umbra: Umbra => finds_exactly_what_is_there, writes_take_effect_once;
    papaya_sized: PapayaSized => finds_exactly_what_is_there, writes_take_effect_once;
    papaya_default: PapayaDefault => finds_exactly_what_is_there, writes_take_effect_once;
    papaya_blocking: PapayaBlocking => finds_exactly_what_is_there, writes_take_effect_once;
    scc_hashmap: SccMap => finds_exactly_what_is_there, writes_take_effect_once;
    scc_hashindex: SccIndex => finds_exactly_what_is_there, writes_take_effect_once;
    flurry: Flurry => finds_exactly_what_is_there, writes_take_effect_once;
    dashmap: Dash => finds_exactly_what_is_there, writes_take_effect_once;
    sharded_rwlock: Sharded => finds_exactly_what_is_there, writes_take_effect_once;
    klp: Klp => finds_exactly_what_is_there, writes_take_effect_once;
    bound_p64: P64<false> => finds_exactly_what_is_there;
    bound_p64_2mib: P64<true> => finds_exactly_what_is_there;
    bound_p32: P32<false> => finds_exactly_what_is_there;
    bound_p32_2mib: P32<true> => finds_exactly_what_is_there;
}

#[cfg(have_lfht)]
same_body! {
    cds_lfht: Lfht => finds_exactly_what_is_there, writes_take_effect_once;
}

#[test]
fn the_chase_visits_every_line_before_it_is_back() {
    let keys = Keys::new(N);
    for chase in [false, true].map(|large| Chase::new(&keys, large)) {
        assert_eq!(chase.walk(0, N), 0);
        for steps in 1..100 {
            assert_ne!(chase.walk(0, steps), 0);
        }
    }
}
