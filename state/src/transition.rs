//! The engine: carries a [`Plan`] out, step by step, or takes it back.
//!
//! The engine owns what is installed and decides the order of everything; a
//! [`Host`] does it. The kernel module, the simulator and the tests each bring
//! a host, and run the same engine.
//!
//! # A transition
//! ```text
//!                    step                     step: the switch is done
//!   idle --begin--> [pre steps] --> [switch] ------> [post steps] --> completed
//!                       |  ^           |  ^
//!      a step failed,   |  |   reverse |  | reverse
//!      or reverse       v  |           v  |
//!   idle <------------ [undo steps] <- [switch back]            --> undone
//! ```
//! [`Engine::step`] does one step and returns, so a host can let a transition
//! stall, reverse it, or look at it in between; [`Engine::run`] goes on until
//! the end or a stall. Until the switch is done a transition may be reversed,
//! whatever its patch says of `block_disable`: `post_patch` has not run, so
//! there is nothing yet that could not be undone (T5). Afterwards it only
//! completes: no step after the switch can fail.
//!
//! # What holds
//! - A request that is refused, fails or is reversed leaves the patches, their
//!   states and the gates as they were (S3); only the generation of a state
//!   whose `pre_patch` was called has moved on, for its shadows were freed.
//! - All memory is had before the first step.
//! - After a panic of the host (userspace) the engine is where it was: step on,
//!   or reverse, or cancel.
//! - A callback is not called unless its counterpart was, or was left out.
//! - Undoing goes in the opposite order of doing (T1, T3, T4).
//!
//! # Context
//! The engine is one value that the host guards with its own lock and takes by
//! `&mut`. Its methods may sleep, because callbacks may. Callbacks run under
//! that lock, so they must not ask for another transition.

use crate::event::{Direction, Errno, Event, Reason};
use crate::force::Settling;
use crate::host::Host;
use crate::installed::Installed;
use crate::name::Name;
use crate::patch::{Patch, Replace};
use crate::plan::{Plan, Request, plan};
use crate::refusal::{Refusal, Which};
use crate::rules::{Rules, Strictness};
use crate::stage::Inside;
use crate::steps::{Transition, back, forward};
use core::fmt;

/// Why a transition was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A `pre_patch` refused.
    PrePatch {
        /// The patch whose callback it was.
        patch: Name,
        /// The state's id.
        state: u64,
        /// The state's name.
        name: Name,
        /// What it returned.
        errno: Errno,
    },
    /// The host could not switch.
    Switch {
        /// The patch that the transition was about.
        patch: Name,
        /// What the host returned.
        errno: Errno,
    },
    /// An object's `pre_patch` refused, or its functions could not be
    /// redirected. [`Rules::Mainline`] only.
    Object {
        /// The patch whose object it was.
        patch: Name,
        /// The object.
        object: Name,
        /// What was returned.
        errno: Errno,
    },
    /// Someone called [`Engine::reverse`].
    Reversed,
    /// Someone called [`Engine::cancel`].
    Cancelled,
}

impl Cause {
    /// The error number for the one who asked; `ECANCELED` for one who turned it round.
    pub const fn errno(&self) -> Errno {
        match *self {
            Self::PrePatch { errno, .. }
            | Self::Switch { errno, .. }
            | Self::Object { errno, .. } => errno,
            Self::Reversed | Self::Cancelled => Errno(-125),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrePatch {
                patch,
                state,
                name,
                errno,
            } => write!(
                f,
                "pre_patch of {} of patch {patch} failed with {errno}; \
                 everything is as before",
                Which(*state, *name)
            ),
            Self::Switch { patch, errno } => write!(
                f,
                "the hooks of patch {patch} could not be changed: {errno}; everything is as before"
            ),
            Self::Object {
                patch,
                object,
                errno,
            } => write!(
                f,
                "object {object} of patch {patch} failed with {errno}; it was not enabled"
            ),
            Self::Reversed => f.write_str("reversed on request; everything is as before"),
            Self::Cancelled => f.write_str("cancelled on request; everything is as before"),
        }
    }
}

impl core::error::Error for Cause {}

/// Where the engine is after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No transition is running.
    Idle,
    /// There is more to do at once.
    Working,
    /// The switch waits for running code: try again later, or reverse.
    Stalled,
    /// The request was carried out. No transition is running.
    Completed,
    /// The request was taken back. No transition is running.
    Undone(Cause),
}

/// Why a transition cannot be reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReversible {
    /// None is running.
    Idle,
    /// It has switched, and completes.
    TooLate,
    /// It is being taken back and has gone too far to turn round, or is so
    /// because a step failed or someone cancelled it.
    Undoing,
    /// The rules `v1` do not take back a patch with this blocked state (D5).
    Blocked {
        /// The state's id.
        state: u64,
    },
}

impl fmt::Display for NotReversible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Blocked { state } = self {
            return write!(
                f,
                "state {state} is marked block_disable, so it can only be forced"
            );
        }
        f.write_str(match self {
            Self::Blocked { .. } => "",
            Self::Idle => "no transition is running, so there is nothing to reverse",
            Self::TooLate => {
                "all code has switched and the transition completes; \
                 disable the patch, or replace it, once it has"
            }
            Self::Undoing => "the transition is being taken back already; ask again when it is",
        })
    }
}

impl core::error::Error for NotReversible {}

/// The patches, their states, and the one transition that may be running.
#[derive(Debug)]
pub struct Engine {
    pub(crate) installed: Installed,
    pub(crate) transition: Option<Transition>,
    pub(crate) rules: Rules,
    /// The clean-up that a pinned patch owed and that a panic ended.
    pub(crate) settling: Settling,
}

impl Engine {
    /// Nothing installed. `seed` is for hashing: random where patches come from
    /// strangers, fixed where runs are compared.
    pub const fn new(seed: u64, rules: Rules) -> Self {
        Self {
            installed: Installed::new(seed),
            transition: None,
            rules,
            settling: Settling::NONE,
        }
    }

    /// Chooses what becomes of descriptors that differ; the default is
    /// [`Strictness::Compat`]. Of no consequence for what is enabled already.
    #[must_use]
    pub const fn with_strictness(mut self, strictness: Strictness) -> Self {
        self.installed.strictness = strictness;
        self
    }

    /// The rules that it follows.
    pub const fn rules(&self) -> Rules {
        self.rules
    }

    /// What is enabled now. During a transition: what was, before it.
    pub const fn installed(&self) -> &Installed {
        &self.installed
    }

    /// The direction of the running transition.
    pub fn direction(&self) -> Option<Direction> {
        let transition = self.transition.as_ref()?;
        Some(if transition.cause.is_none() {
            Direction::Forward
        } else {
            Direction::Back
        })
    }

    /// Begins to enable `patch`: plans it and takes all the memory it needs.
    /// Calls nothing yet but [`Host::event`]; [`Engine::run`] does the rest.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing changed, and the patch is dropped.
    pub fn enable<H: Host>(&mut self, patch: Patch, host: &mut H) -> Result<(), Refusal> {
        let planned = self.planned(&patch);
        self.begin_enable(planned, patch, None, host)
    }

    /// Plans to enable, and takes all memory that it will need.
    pub(crate) fn planned(&mut self, patch: &Patch) -> Result<Plan, Refusal> {
        let plan = plan(&self.installed, Request::Enable(patch), self.rules)?;
        self.installed.make_room(patch, plan.leaving().len())?;
        Ok(plan)
    }

    pub(crate) fn begin_enable<H: Host>(
        &mut self,
        planned: Result<Plan, Refusal>,
        patch: Patch,
        registered: Option<usize>,
        host: &mut H,
    ) -> Result<(), Refusal> {
        let reason = match patch.replace {
            Replace::Nothing => Reason::Enable,
            Replace::All | Replace::Set(_) => Reason::Replace,
        };
        self.begin(planned, Some(patch), reason, registered, host)
    }

    /// Begins to disable the patch of this name, as [`Engine::enable`] begins.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing changed.
    pub fn disable<H: Host>(&mut self, name: &str, host: &mut H) -> Result<(), Refusal> {
        let planned = plan(&self.installed, Request::Disable(name), self.rules);
        let planned = planned.and_then(|plan| {
            self.installed.room_to_leave(1)?;
            Ok(plan)
        });
        self.begin(planned, None, Reason::Disable, None, host)
    }

    fn begin<H: Host>(
        &mut self,
        planned: Result<Plan, Refusal>,
        incoming: Option<Patch>,
        reason: Reason,
        registered: Option<usize>,
        host: &mut H,
    ) -> Result<(), Refusal> {
        let plan = planned.inspect_err(|refusal| host.event(&Event::Refused(refusal)))?;
        let transition = Transition {
            plan,
            incoming,
            reason,
            next: 0,
            switching: false,
            cause: None,
            freed: false,
            force: false,
            forced: false,
            inside: Inside::FRESH,
            registered,
            rules: self.rules,
            ended: None,
        };
        self.installed.running = transition.subject(&self.installed).map(|patch| patch.name);
        // From here on it runs: a host that panics while it listens may go on,
        // or take it back.
        let transition = &*self.transition.insert(transition);
        if let Some(patch) = transition.subject(&self.installed) {
            host.event(&Event::Begun(patch, reason));
        }
        for found in &transition.plan.disagreements {
            let patch = transition.incoming.as_ref();
            let state = |p: &'_ Patch| p.states.get(found.index as usize).copied();
            if let Some((patch, state)) = patch.and_then(|p| Some((p, state(p)?))) {
                host.event(&Event::Disagrees {
                    patch,
                    state: &state,
                    other: found.other,
                    what: found.what,
                });
            }
        }
        Ok(())
    }

    /// Turns the running transition round.
    ///
    /// One that goes forward goes back, if its switch is not done. One that was
    /// reversed and has not come back from its switch goes forward again.
    ///
    /// # Errors
    /// [`NotReversible`]; nothing changed.
    pub fn reverse<H: Host>(&mut self, host: &mut H) -> Result<Direction, NotReversible> {
        let transition = self.transition.as_mut().ok_or(NotReversible::Idle)?;
        let direction = match transition.cause {
            None => {
                transition.take_back(Cause::Reversed, &self.installed, host)?;
                Direction::Back
            }
            Some(Cause::Reversed) if transition.switching => {
                transition.cause = None;
                transition.next = transition.plan.switch_at;
                transition.force = false;
                Direction::Forward
            }
            Some(_) => return Err(NotReversible::Undoing),
        };
        host.event(&Event::Reversed(direction));
        Ok(direction)
    }

    /// Takes the running transition back for good: as [`Engine::reverse`], but
    /// whichever way it is going, and it cannot be turned round again.
    ///
    /// # Errors
    /// [`NotReversible`]; nothing changed.
    pub fn cancel<H: Host>(&mut self, host: &mut H) -> Result<(), NotReversible> {
        let transition = self.transition.as_mut().ok_or(NotReversible::Idle)?;
        match transition.cause {
            None => transition.take_back(Cause::Cancelled, &self.installed, host)?,
            Some(Cause::Reversed) if transition.ended.is_none() => {
                transition.cause = Some(Cause::Cancelled);
                transition.force = false;
            }
            Some(_) => return Err(NotReversible::Undoing),
        }
        host.event(&Event::Reversed(Direction::Back));
        Ok(())
    }

    /// Goes on until the transition stalls or ends.
    pub fn run<H: Host>(&mut self, host: &mut H) -> Status {
        loop {
            let status = self.step(host);
            if status != Status::Working {
                return status;
            }
        }
    }

    /// Does one step, or undoes one.
    pub fn step<H: Host>(&mut self, host: &mut H) -> Status {
        let Some(transition) = self.transition.as_mut() else {
            return Status::Idle;
        };
        // A settling whose host panicked may have freed shadows and not waited.
        if self.settling.freed {
            host.barrier();
            self.settling.freed = false;
        }
        let Some(cause) = transition.cause else {
            return match transition.plan.steps.get(transition.next).copied() {
                Some(step) => forward(&self.installed, transition, step, host),
                None => self.end(Status::Completed, host),
            };
        };
        match transition.next.checked_sub(1) {
            Some(last) => match transition.plan.steps.get(last).copied() {
                Some(step) => back(&self.installed, transition, step, host),
                None => {
                    transition.next = last;
                    Status::Working
                }
            },
            None => self.end(Status::Undone(cause), host),
        }
    }
}
