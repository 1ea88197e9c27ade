//! System states of live-patched software: who uses them, what enabling,
//! disabling and replacing a patch does to them, and in which order.
//!
//! A *state* is a change that a patch makes to the running system besides its
//! code: a table it filled, a knob it turned, shadow variables it attached. It
//! is known by an id, shared by all patches that name the id, made by the first
//! of them and cleaned up by the last.
//!
//! ```text
//!   Installed + Request --plan()--> Plan | Refusal      pure: [`mod@plan`]
//!   Plan + Host --Engine::step()--> callbacks, counts,
//!                                   gates, shadows      [`transition`]
//! ```
//!
//! - [`patch`]: what an author says of a patch.
//! - [`mod@plan`]: what a request would do; [`refusal`]: why it would not.
//! - [`transition`]: does it, or takes it back; [`host`]: with whose hands;
//!   [`event`]: and tells of it; [`force`]: by force, and what waits then.
//! - [`rules`]: ours, and in running code those that exist.
//! - [`tasks`]: how running code changes over, one task at a time.
//! - [`refcount`]: one word a state: phase, users, generation.
//! - [`gate`]: the one load by which patched code asks whether a state is on.
//! - [`snapshot`]: reports for other threads (`std`).
//!
//! # Guarantees
//! S1 each edge of a count runs its callbacks once, in the frozen order. S2 a
//! plan is a pure function. S3 what is refused, fails or is reversed changes
//! nothing. S4 a gate is open only between the return of `post_patch` and the
//! call of `pre_unpatch`. S5 shadows outlive every task that may still use them,
//! forced transitions included ([`force`]). S6 the [`rules`] that exist can be
//! run beside ours.
//!
//! # Features
//! Without `std` the crate is for a kernel: it allocates only in ways that can
//! be refused, and never panics. With it come [`snapshot`] and the userspace
//! shadow table.
//!
//! # Example
//! ```
//! use umbra_state::{Engine, Errno, Host, Name, Patch, Rules, State, Status};
//! # use umbra_state::{Callback, Progress, Reason, Switch};
//!
//! struct Print;
//! impl Host for Print {
//!     fn call(&mut self, p: &Patch, s: &State, c: Callback, _: Reason) -> Result<(), Errno> {
//!         println!("{}: {c} of state {}", p.name, s.id);
//!         Ok(())
//!     }
//!     fn switch(&mut self, _: &Switch<'_>) -> Result<Progress, Errno> {
//!         Ok(Progress::Done)
//!     }
//!     fn free_shadows(&mut self, _: &Patch, _: &State) {}
//!     fn barrier(&mut self) {}
//! }
//!
//! let mut engine = Engine::new(0, Rules::Umbra);
//! let mut patch = Patch::new(Name::new("fix-tcp")?);
//! patch.push_state(State::new(1, Name::new("challenge_ack")?))?;
//! engine.enable(patch, &mut Print)?;
//! assert_eq!(engine.run(&mut Print), Status::Completed);
//! assert!(engine.installed().gate(1).is_some_and(|gate| gate.is_open()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![allow(
    clippy::result_large_err,
    reason = "a refusal carries its names by value: it must not need memory, and is made once a request"
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod ending;
pub mod event;
pub mod force;
pub mod gate;
pub mod host;
pub mod installed;
pub mod mem;
pub mod name;
mod outlook;
pub mod patch;
pub mod plan;
pub mod refcount;
pub mod refusal;
mod register;
pub mod rules;
pub mod shadows;
#[cfg(feature = "std")]
pub mod snapshot;
mod stage;
mod steps;
mod target;
pub mod tasks;
pub mod transition;

pub use event::{Direction, Errno, Event, Reason};
pub use force::NotForceable;
pub use gate::Gate;
pub use host::{Change, Host, ObjectCall, Progress, Switch, Target};
pub use installed::{Installed, Pinned, StateInfo};
pub use mem::OutOfMemory;
pub use name::Name;
pub use patch::{Callback, Callbacks, Hook, Object, Patch, Replace, State};
pub use plan::{Plan, Request, plan};
pub use refcount::{Phase, RefCount};
pub use refusal::Refusal;
pub use rules::{Rules, Strictness};
pub use shadows::Shadows;
pub use transition::{Cause, Engine, NotReversible, Status};
