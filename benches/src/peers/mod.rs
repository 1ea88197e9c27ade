//! The contestants. Each file says how one of them does the two traits'
//! operations and which of its settings was chosen.
//!
//! One test body runs over all of them (`tests.rs`): a contestant that loses or
//! invents an entry cannot win.

mod bounds;
mod dash;
mod klp;
mod papaya;
mod sharded;
mod umbra;

pub use bounds::{Chase, P32, P64};
pub use dash::Dash;
pub use klp::Klp;
pub use papaya::{PapayaDefault, PapayaSized};
pub use sharded::Sharded;
pub use umbra::Umbra;

use crate::keys::Keys;
use crate::{Map, workload};
use foldhash::fast::FixedState;

/// The hash that all hashing peers share (see the crate's essay).
fn hasher() -> FixedState {
    FixedState::with_seed(0x5eed)
}

/// Fills a table by its own insertion, in the keys' order of insertion.
fn fill<M: Map>(keys: &Keys) -> M {
    let table = M::new(keys.len());
    workload::insert_all(&table, &table.guard(), keys);
    table
}

#[cfg(test)]
mod tests;
