//! What must not compile, with what the compiler says of it. After a change of
//! either: `TRYBUILD=overwrite cargo test --test compile_fail`, and a look at the
//! difference.
#![cfg(not(any(miri, umbra_tiny)))]

use umbra_shadow::{Epoch, ShadowMap, ShadowTable, Table};

fn refused(files: &str) {
    trybuild::TestCases::new().compile_fail(format!("tests/compile_fail/{files}.rs"));
}

/// D12: upstream hands a pointer out after the read-side section that kept it.
#[test]
fn d12_what_is_found_is_used_under_the_guard() {
    refused("d12_*");
}

#[test]
fn r46_values_are_not_handed_out_exclusively() {
    refused("r46_*");
}

#[test]
fn guards_and_sessions_stay_on_their_thread_and_in_their_scope() {
    refused("guard_*");
    refused("session_*");
}

#[test]
fn values_may_be_shared_and_dropped_by_any_thread() {
    refused("value_*");
}

#[test]
fn a_destructor_is_made_by_unsafe_code() {
    refused("dtor_*");
}

/// And what must: tables go everywhere.
#[test]
fn tables_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Table<Epoch>>();
    shared::<ShadowTable<Epoch>>();
    shared::<ShadowMap<u32>>();
}
