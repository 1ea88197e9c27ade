//! The lock-free heart: where the variables of one type stand and are found.
//!
//! # Structure
//! ```text
//!  Core -- body --> Body                                  (null: the type is empty)
//!            depth = 2, directory: slot 00 -> segment     segment: 252 lines, each a
//!                                  slot 01 -> segment     head and seven slots; the
//!                                  slot 10 -> segment     heads together
//!                                  slot 11    (null: as slot 01)
//!            attic: what found no lane
//! ```
//! The hash's low bits choose the segment, its top bits the line, seven more are the
//! fingerprint. A line's head has the fingerprints of its seven lanes, so a lookup
//! that misses reads the head, which shares a cache line with seven others, and one
//! that hits reads the slot and the entry besides (G1). A line that is full says so
//! (`GUESTS`, `ATTIC`), and then the lookup goes to its neighbours and the attic too:
//! [`find`], [`attic`].
//!
//! # Growth
//! A segment that is full enough is split: two heirs are allocated, the old lines
//! frozen, the heirs' filled with what the frozen lines have for them, a few groups a
//! step, and the heirs put into the directory: [`segment`], [`seats`], [`body`]. Whoever meets
//! a frozen line helps, and every step is one CAS from a value that never comes
//! back, so helpers may be late. Entries never move (G4), only references to them.
//! Without memory nothing is split, and the attic takes what does not fit. A type that
//! has been emptied gives its lines back: [`shrink`]. Of one that is nearly so, two segments
//! become one, if it is told to: [`merge`].
//!
//! # One variable an object
//! Two insertions of one object meet in the head of its line: each looks through
//! the line (its guests and the attic, if it says so), puts its entry into a free lane or into
//! the attic, and commits by one CAS of the head it had looked at, which counts
//! insertions in its version. A head whose version is used up is replaced with its
//! segment, so a version never comes back while anybody remembers it.
//!
//! # Synchronization
//! * Readers only load. An entry's `state` decides whether it exists:
//!   `RESERVED -> LIVE -> DEAD` or `RESERVED -> DEAD`; see [`entry`].
//! * An entry is retired by the one caller that took it to `DEAD`, after its
//!   lane or its place in the attic is empty.
//! * `free_all` swaps the body out (G7). Callers that had loaded it before finish
//!   on it, as if they had run just before the swap: [`body`] has its end.

mod attic;
mod batch;
mod blocks;
mod body;
mod change;
mod entry;
mod find;
mod growth;
mod insert;
mod limbo;
mod line;
mod list;
mod merge;
mod seats;
mod segment;
mod shrink;
mod sizes;
mod stripes;
mod tidy;
mod type_core;
mod walk;

pub(crate) use self::batch::BATCH;
pub use self::entry::{Dtor, MAX_ALIGN};
pub(crate) use self::type_core::Core;
pub use self::type_core::Stats;
