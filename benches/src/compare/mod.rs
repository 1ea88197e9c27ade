//! The comparison: every row of the table of speeds, measured in one process.
//!
//! ```text
//!  rows::run ──> sizes: fill every peer, then round by round, peer by peer
//!                  │      │
//!                  │      └─ peer: one contestant behind a trait object
//!                  └─ stats: a series a peer, a ratio for each round
//!  lines: shared lines that each operation writes, counted in a trace
//!  targets: what Umbra should reach ──> model: figures and verdicts, as JSON
//! ```
//!
//! # Method
//! * All contestants of a row are filled first and then take turns: a round
//!   lets each do the same lookups of the same keys once. What disturbs the
//!   machine for a while disturbs all of them.
//! * A figure is the median over the rounds, its spread the quartiles. A ratio
//!   is taken round by round, and its median reported.
//! * Work of one thread is timed by that thread's CPU time, so a process that
//!   takes the processor away does not count. Contestants whose locks sleep
//!   gain from that, not Umbra.
//! * Each result is checked: the words that lookups read are summed up and
//!   compared with what the keys say.

pub mod alloc;
pub mod clock;
pub mod lines;
mod machine;
pub mod model;
pub mod peer;
pub mod rows;
pub mod stats;
pub mod table;
pub mod targets;
