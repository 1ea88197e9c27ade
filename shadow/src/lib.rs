//! Shadow variables: data attached to objects from outside, found by
//! `(object address, id)`.
//!
//! A live patch that needs a field the running structures lack keeps it here. The
//! table is built for what a live patch does: lookups at the entry of hot
//! functions, mostly of objects that have no variable.
//!
//! | form | for |
//! |---|---|
//! | [`ShadowMap<T>`](ShadowMap) | safe and typed, userspace |
//! | [`Table`] | one id, raw data, any [`Platform`] |
//! | [`ShadowTable`] | many ids, as `klp_shadow_*` |
//!
//! # Guarantees
//! Lookups are loads only and never wait (G1); everything else is lock-free, save
//! that callers racing for the same object wait for its running constructor (G2);
//! a variable never moves (G4); its constructor runs once, with no lock held
//! (G5); freeing all of an id is one pointer swap (G7); destructors run once,
//! after the grace period (G8). DESIGN.md in the repository has the whole list
//! and what each rests on.
//!
//! # Bad input
//! Any address is a legal object, 0 and `usize::MAX` included; any id is legal;
//! a size of 0 is legal and gives a unique address. A size that overflows the
//! entry, or an alignment above [`MAX_ALIGN`], is [`AllocError::Layout`].
#![cfg_attr(not(any(feature = "std", loom)), no_std)]

/// Tables are tiny under the model checkers, and in stress runs with
/// `--cfg umbra_tiny`: a handful of entries then crosses lines, segments and
/// pages, and heads wear out.
pub(crate) const TINY: bool = cfg!(any(loom, umbra_shuttle, miri, umbra_tiny));

mod context;
mod error;
mod platform;
mod raw;
mod registry;
mod session;
#[doc(hidden)]
pub mod sync;
mod table;

#[cfg(any(feature = "std", loom))]
#[doc(hidden)]
pub mod deferred;
#[cfg(all(feature = "std", not(loom)))]
mod epoch;
#[cfg(all(feature = "std", not(loom)))]
mod map;
#[cfg(all(feature = "std", not(loom)))]
mod memory;

#[cfg(all(feature = "std", not(loom)))]
pub use epoch::{Epoch, EpochGuard};
pub use error::{AllocError, OutOfMemory};
#[cfg(all(feature = "std", not(loom)))]
pub use map::ShadowMap;
pub use platform::{AllocFlags, Link, Memory, Platform, Progress, Smr};
pub use raw::{Dtor, MAX_ALIGN, Stats};
pub use registry::ShadowTable;
pub use session::Session;
pub use table::{Lookup, Table};
