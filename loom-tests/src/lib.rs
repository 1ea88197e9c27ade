//! Model checking of the lock-free code: every interleaving, every value that
//! the orderings allow, for small cases.
//!
//! [`Tracked`] is the table's platform under loom. Its grace periods are as
//! short as the contract permits (a link is reclaimed as soon as no older guard
//! is left), so that a node freed too early is touched by somebody; its memory
//! is tracked by loom, so that a leak and a double free are reports; and the
//! data that models attach is an `UnsafeCell`, so that an unordered access is
//! one too.
//!
//! [`Lists`] is the same with the lists of userspace between a retirement and its
//! destructor.
//!
//! Beside it, for fewer models and with bounds: [`RealEpoch`] is crossbeam-epoch
//! itself, explored with the table; [`Rcu`] is what the kernel promises, with
//! the module's way of using it (a list, one grace period for all of it).
//!
//! Run with `cargo xtask loom`, which also shows the schedule of a model that
//! fails, or with `cargo test` in this folder (its `.cargo/config.toml` brings
//! `--cfg loom`).

#[cfg(not(loom))]
compile_error!("run cargo inside loom-tests/: its configuration brings --cfg loom");
#[cfg(not(crossbeam_loom))]
compile_error!(
    "crossbeam-epoch is not under loom: run without RUSTFLAGS, or add --cfg crossbeam_loom"
);

mod blocks;
mod epoch;
mod explore;
mod lists;
mod payload;
mod platform;
mod rcu;
mod scene;

pub use epoch::RealEpoch;
pub use explore::{Bound, deep, explore, quick};
pub use lists::Lists;
pub use payload::{FLAGS, Payload};
pub use platform::Tracked;
pub use rcu::{Rcu, Run};
pub use scene::{
    INSERTIONS, Insertion, ensure, finish, free, free_all, get_or_put, objects, spawn, walk,
    with_table,
};
