//! Tracks the performance of a crate from commit to commit.
//!
//! `umbra-perf` has no way of measuring of its own: iai-callgrind and criterion do
//! that, and a virtual machine may. It reads what they left behind, keeps it as one
//! small JSON file that can be committed, and says what changed; [`measure`] and
//! [`ab`] run a crate's benchmarks at other commits. It knows nothing of Umbra and
//! works on any crate that has such benchmarks.
//!
//! ```text
//!  target/iai/**/summary.json        record          compare A B   what moved
//!  target/criterion/**/estimates.json  ->  record -> gate          may it be merged?
//!  a VM's log (@umbra lines)             (one JSON)  report        for people and machines
//! ```
//!
//! # What can be trusted
//! Instruction counts repeat exactly on one machine with one compiler, so they
//! gate: [`gate`]. Wall time does not, so it is recorded and shown with its
//! confidence interval, and decides nothing unless [`ab`] is asked to block.
//!
//! A comparison across compilers, targets, processors or versions of valgrind
//! says more about those than about the code. Every record carries its
//! [`provenance`](record::Provenance), and one that does not match is not
//! compared: the tool says so and what to do instead.
//!
//! # The record's format
//! A JSON object, described type by type in [`record`], with a version in
//! front. A reader refuses versions it does not know. Records of one run are
//! byte for byte the same but for the time in their provenance: benchmarks and
//! metrics are sorted by name.
//!
//! # Exit codes
//! | code | meaning |
//! |---|---|
//! | 0 | fine: nothing got worse than its limit (improvements are announced) |
//! | 2 | cannot compare, or the input is bad: a sentence says what to do |
//! | 3 | regressed: a benchmark got worse than its limit |
//! | 130 | interrupted: what was started has ended, temporary folders are gone |
//!
//! # Files
//! Everything is read and checked before anything is written, and a file is
//! written beside its place and renamed into it: an error leaves what was there.

pub mod ab;
pub mod bisect;
pub mod compare;
pub mod ending;
pub mod error;
pub mod gate;
pub mod git;
pub mod history;
pub mod html;
pub mod limits;
mod markdown;
pub mod measure;
pub mod plot;
pub mod program;
pub mod provenance;
pub mod read;
pub mod record;
pub mod report;
pub mod stats;
pub mod store;
