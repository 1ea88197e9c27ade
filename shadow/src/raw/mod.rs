//! The lock-free heart: one type's variables as a split-ordered list.
//!
//! # Structure
//! All entries of a type stand in one singly linked list, sorted by the bit
//! reversal of their hash (Shalev and Shavit, *Split-Ordered Lists*, JACM 2006).
//! A bucket is a sentinel node inside that list, and the table of buckets only
//! holds shortcuts into it:
//!
//! ```text
//!  Core ── body ──> Body   level = 2                (null: the type is empty)
//!                    │ head ┐   pages ─> page ─> segment [.. b2, b1, b3 ..]
//!                    v      v                             │   │   │
//!  list:            b0 ──> e ──> e ──> b2 ──> e ──> b1 ──> e ──> b3 ──> e ──> null
//! ```
//! Doubling the number of buckets moves nothing: bucket `b` of level `l` splits
//! where the sentinel of bucket `b + 2^l` is put into the middle of its run. A
//! bucket whose sentinel or whose segment is missing is served from its parent
//! (the index without its top bit), so growth is a matter of speed only and may
//! fail, be late or be helped by anybody.
//!
//! # Synchronization
//! * Readers only load: the body, the level, the bucket, the list. Every link is
//!   published by a release CAS and followed by an acquire load (G1, no lock).
//! * An entry's `state` word decides whether it exists: `RESERVED -> LIVE -> DEAD`
//!   or `RESERVED -> DEAD`. The mark in its `next` pointer (Harris, DISC 2001)
//!   is structure only: it pins the pointer so that the node can be unlinked.
//! * Entries never move (G4). An entry is retired by the one caller that took it
//!   to `DEAD`, after it is unlinked.
//! * `free_all` swaps the body out (G7). Callers that had loaded it before finish
//!   on it, which is as if they had run just before the swap. The body is taken
//!   apart once no such caller and no constructor of it is left: see [`Body`].
//!
//! # What this first table does not do
//! It counts variables in one shared word a type, never shrinks its bucket array
//! while it is in use, and a miss costs as many lines as its run has nodes.

mod body;
mod entry;
mod list;
mod type_core;

pub use self::entry::{Dtor, MAX_ALIGN};
pub(crate) use self::type_core::Core;
pub use self::type_core::Stats;
