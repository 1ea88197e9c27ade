//! What the `umbra` command does, as a library: read a series of patches from
//! a file, say what each step would call, and play it through.
//!
//! The planner and the engine are the kernel module's own (`umbra-state`), so
//! what is printed here is what happens there.
//!
//! - [`series`]: the file, and the patches in it.
//! - [`check`], [`matrix`], [`simulate`], [`compare`]: the commands; [`lint`]:
//!   what `check` warns of.
//! - [`timeline`]: callbacks as a picture, from a simulation or a kernel's log.
//! - [`problem`]: everything that can be wrong, with its place in the file.
#![allow(
    clippy::result_large_err,
    reason = "an error carries its place and ends the program, so its size is no matter"
)]

pub mod check;
pub mod compare;
pub mod lint;
pub mod matrix;
pub mod problem;
pub mod series;
pub mod simulate;
pub mod timeline;

pub use problem::Problem;
pub use series::Series;
