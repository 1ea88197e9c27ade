//! The contestants. Each file says how one of them does the two traits'
//! operations and which of its settings was chosen.
//!
//! One test body runs over all of them (`tests.rs`): a contestant that loses or
//! invents an entry cannot win.

mod array;
mod bounds;
mod dash;
mod flurry;
mod klp;
#[cfg(have_lfht)]
mod lfht;
mod papaya;
mod scc_index;
mod scc_map;
mod sharded;
mod umbra;

pub use bounds::{Chase, P32, P64};
pub use dash::Dash;
pub use flurry::Flurry;
pub use klp::Klp;
#[cfg(have_lfht)]
pub use lfht::Lfht;
pub use papaya::{PapayaBlocking, PapayaDefault, PapayaSized};
pub use scc_index::SccIndex;
pub use scc_map::SccMap;
pub use sharded::Sharded;
pub use umbra::Umbra;

use crate::Map;
use crate::keys::Keys;
use foldhash::fast::FixedState;

crate::no_session!(
    Dash,
    Flurry,
    Klp,
    P32<false>,
    P32<true>,
    P64<false>,
    P64<true>,
    PapayaBlocking,
    PapayaDefault,
    PapayaSized,
    SccIndex,
    SccMap,
    Sharded,
);
#[cfg(have_lfht)]
crate::no_session!(Lfht);

/// The hash that all hashing peers share (see the crate's essay).
fn hasher() -> FixedState {
    FixedState::with_seed(0x5eed)
}

/// Fills a table by its own insertion, in the keys' order of insertion.
///
/// With a guard for each insertion: under one that is held all the time, what a
/// table retires while it grows would stay, and with it what is slow about
/// having it.
fn fill<M: Map>(keys: &Keys) -> M {
    let table = M::new(keys.len());
    for (key, word) in keys.pairs() {
        table.get_or_alloc(key, word, &table.guard());
    }
    table
}

#[cfg(test)]
mod tests;
