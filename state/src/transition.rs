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
//! - A callback is not called unless its counterpart was, or was left out.
//! - Undoing goes in the opposite order of doing (T1, T3, T4).
//!
//! # Context
//! The engine is one value that the host guards with its own lock and takes by
//! `&mut`. Its methods may sleep, because callbacks may. Callbacks run under
//! that lock, so they must not ask for another transition.

use crate::event::{Direction, Errno, Event, Reason};
use crate::gate::Gate;
use crate::installed::{Installed, Slot};
use crate::name::Name;
use crate::patch::{Callback, Hook, Patch, Replace, State};
use crate::plan::{Op, Plan, Request, Rules, Step, Who, plan};
use crate::refcount::{Acquire, Release};
use crate::refusal::Refusal;
use core::fmt;

/// What the engine asks of the place it runs in.
///
/// All methods may sleep. None may call back into the engine.
pub trait Host {
    /// Calls one callback of a state. Only called for a callback that the
    /// state's `callbacks` contain.
    ///
    /// # Errors
    /// Of a `pre_patch` only: the transition is taken back. An error of another
    /// callback is reported and otherwise ignored.
    fn call(
        &mut self,
        patch: &Patch,
        state: &State,
        callback: Callback,
        reason: Reason,
    ) -> Result<(), Errno>;

    /// Moves running code over, and the hooks with it: all of
    /// [`Switch::changes`] take effect. Called again after a stall, until it is
    /// done or fails, or in the other direction if the transition was reversed.
    ///
    /// A hook that is taken away must be out of use when this returns `Done`:
    /// no trampoline may still look at its gate on behalf of that patch.
    ///
    /// # Errors
    /// Forward: the transition is taken back; the host has undone its own part.
    /// Back: it must get there, so an error counts as a stall.
    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno>;

    /// Makes all shadow variables of the state's id invisible and hands them to
    /// reclamation, with this state's `shadow_dtor`. Need not wait.
    fn free_shadows(&mut self, patch: &Patch, state: &State);

    /// Returns when every destructor of earlier `free_shadows` has run: after
    /// the transition the patch's code may be unloaded.
    fn barrier(&mut self);

    /// Something happened. Does nothing unless a host wants to know.
    fn event(&mut self, event: &Event<'_>) {
        let _ = event;
    }
}

/// How far a switch got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All running code is over.
    Done,
    /// Something still runs the other code: ask again later.
    Pending,
}

/// What a switch changes, as the host sees it: [`Direction::Back`] is a switch
/// like any other, from the new patch to the old ones.
#[derive(Clone, Copy)]
pub struct Switch<'a> {
    installed: &'a Installed,
    transition: &'a Transition,
    direction: Direction,
}

/// One end of a hook's change.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The patch whose hook it is.
    pub patch: &'a Patch,
    /// The hook.
    pub hook: &'a Hook,
    /// The gate of the hook's state; its address is good as long as the engine.
    pub gate: &'a Gate,
}

/// One function whose hook changes: added (no `from`), exchanged, or removed
/// (no `to`).
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The hook to take away.
    pub from: Option<Target<'a>>,
    /// The hook to put there.
    pub to: Option<Target<'a>>,
}

impl<'a> Switch<'a> {
    /// Towards the request, or back from it.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The patch that the transition is about.
    pub fn patch(&self) -> Option<&'a Patch> {
        self.transition.subject(self.installed)
    }

    /// The functions whose hooks change. In the direction of this switch.
    pub fn changes(&self) -> impl Iterator<Item = Change<'a>> + use<'a> {
        let Self {
            installed,
            transition,
            direction,
        } = *self;
        transition.plan.hooks.iter().map(move |moved| {
            let target = |(who, index): (Who, u32)| {
                let patch = transition.patch(installed, who)?;
                let hook = patch.hooks.get(index as usize)?;
                Some(Target {
                    patch,
                    hook,
                    gate: installed.gate(hook.state)?,
                })
            };
            let (from, to) = (moved.from.and_then(target), moved.to.and_then(target));
            match direction {
                Direction::Forward => Change { from, to },
                Direction::Back => Change { from: to, to: from },
            }
        })
    }
}

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
    /// Someone called [`Engine::reverse`].
    Reversed,
}

impl Cause {
    /// The error number for the one who asked; for a reversal, `ECANCELED`.
    pub const fn errno(&self) -> Errno {
        match *self {
            Self::PrePatch { errno, .. } | Self::Switch { errno, .. } => errno,
            Self::Reversed => Errno(-125),
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
                "pre_patch of state {state} ({name}) of patch {patch} failed with {errno}; \
                 everything is as before"
            ),
            Self::Switch { patch, errno } => write!(
                f,
                "the hooks of patch {patch} could not be changed: {errno}; everything is as before"
            ),
            Self::Reversed => f.write_str("reversed on request; everything is as before"),
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
    /// because a step failed.
    Undoing,
}

impl fmt::Display for NotReversible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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

/// A plan under way.
///
/// # Invariants
/// Steps before `next` are done and the others are not. `switching` says that
/// the host has begun the switch and not come to its end in either direction.
#[derive(Debug)]
struct Transition {
    plan: Plan,
    incoming: Option<Patch>,
    reason: Reason,
    next: usize,
    switching: bool,
    /// Set once it goes back.
    cause: Option<Cause>,
    /// Shadows were freed, so the end waits for their destructors.
    freed: bool,
}

impl Transition {
    fn patch<'a>(&'a self, installed: &'a Installed, who: Who) -> Option<&'a Patch> {
        match who {
            Who::Incoming => self.incoming.as_ref(),
            Who::Installed(at) => installed.patches.get(at as usize),
        }
    }

    /// The patch that is being enabled or disabled.
    fn subject<'a>(&'a self, installed: &'a Installed) -> Option<&'a Patch> {
        self.incoming
            .as_ref()
            .or_else(|| installed.patches.get(self.plan.leaving.start))
    }

    /// What callbacks are told now.
    fn reason(&self) -> Reason {
        match self.cause {
            None => self.reason,
            Some(Cause::Reversed) => Reason::Reverse,
            Some(Cause::PrePatch { .. } | Cause::Switch { .. }) => Reason::Failed,
        }
    }
}

/// The patches, their states, and the one transition that may be running.
#[derive(Debug)]
pub struct Engine {
    installed: Installed,
    transition: Option<Transition>,
    rules: Rules,
}

impl Engine {
    /// Nothing installed. `seed` is for hashing: random where patches come from
    /// strangers, fixed where runs are compared.
    pub const fn new(seed: u64, rules: Rules) -> Self {
        Self {
            installed: Installed::new(seed),
            transition: None,
            rules,
        }
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
        let reason = match patch.replace {
            Replace::Nothing => Reason::Enable,
            Replace::All => Reason::Replace,
        };
        let planned = plan(&self.installed, Request::Enable(&patch), self.rules);
        let planned = planned.and_then(|plan| {
            self.installed.make_room(&patch)?;
            Ok(plan)
        });
        self.begin(planned, Some(patch), reason, host)
    }

    /// Begins to disable the patch of this name, as [`Engine::enable`] begins.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing changed.
    pub fn disable<H: Host>(&mut self, name: &str, host: &mut H) -> Result<(), Refusal> {
        let planned = plan(&self.installed, Request::Disable(name), self.rules);
        self.begin(planned, None, Reason::Disable, host)
    }

    fn begin<H: Host>(
        &mut self,
        planned: Result<Plan, Refusal>,
        incoming: Option<Patch>,
        reason: Reason,
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
        };
        if let Some(patch) = transition.subject(&self.installed) {
            host.event(&Event::Begun(patch, reason));
        }
        self.installed.running = transition.subject(&self.installed).map(|patch| patch.name);
        self.transition = Some(transition);
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
        let switch_at = transition.plan.switch_at;
        let direction = match transition.cause {
            None if transition.next > switch_at => return Err(NotReversible::TooLate),
            None => {
                transition.cause = Some(Cause::Reversed);
                // A switch that has begun is a step to be undone.
                transition.next += usize::from(transition.switching);
                Direction::Back
            }
            Some(Cause::Reversed) if transition.switching => {
                transition.cause = None;
                transition.next = switch_at;
                Direction::Forward
            }
            Some(_) => return Err(NotReversible::Undoing),
        };
        host.event(&Event::Reversed(direction));
        Ok(direction)
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
        let Some(cause) = transition.cause else {
            return match transition.plan.steps.get(transition.next).copied() {
                Some(step) => forward(&self.installed, transition, step, host),
                None => self.complete(host),
            };
        };
        match transition.next.checked_sub(1) {
            Some(last) => match transition.plan.steps.get(last).copied() {
                Some(step) => back(&self.installed, transition, step, host),
                None => Status::Working,
            },
            None => self.taken_back(cause, host),
        }
    }

    /// Every step is done: the patches that leave leave, the new one is in.
    fn complete<H: Host>(&mut self, host: &mut H) -> Status {
        let Some(transition) = self.transition.take() else {
            return Status::Idle;
        };
        if transition.freed {
            host.barrier();
        }
        self.installed.running = None;
        let mut last = None;
        for gone in self.installed.patches.drain(transition.plan.leaving) {
            for hook in &gone.hooks {
                self.installed.functions.remove(&hook.function);
            }
            host.event(&Event::Removed(&gone));
            last = Some(gone);
        }
        if let Some(patch) = transition.incoming {
            // Both had room made for them before the first step.
            self.installed
                .functions
                .extend(patch.hooks.iter().map(|hook| hook.function));
            host.event(&Event::Ended(&patch, true));
            self.installed.patches.push(patch);
        } else if let Some(patch) = last {
            host.event(&Event::Ended(&patch, true));
        }
        Status::Completed
    }

    /// Every step is undone.
    fn taken_back<H: Host>(&mut self, cause: Cause, host: &mut H) -> Status {
        let Some(transition) = self.transition.take() else {
            return Status::Idle;
        };
        if transition.freed {
            host.barrier();
        }
        self.installed.running = None;
        if let Some(patch) = transition.subject(&self.installed) {
            host.event(&Event::Ended(patch, false));
        }
        Status::Undone(cause)
    }
}

/// A step's state, with its patch and its slot.
#[derive(Clone, Copy)]
struct At<'a> {
    patch: &'a Patch,
    state: &'a State,
    slot: &'a Slot,
}

impl<'a> At<'a> {
    fn find(installed: &'a Installed, transition: &'a Transition, step: Step) -> Option<Self> {
        let patch = transition.patch(installed, step.who)?;
        let state = patch.states.get(step.index as usize)?;
        Some(Self {
            patch,
            state,
            slot: installed.slots.get(&state.id)?,
        })
    }

    /// Calls the callback if there is one, and reports what it said.
    fn call<H: Host>(self, callback: Callback, reason: Reason, host: &mut H) -> Result<(), Errno> {
        let Self { patch, state, .. } = self;
        if !state.callbacks.contains(callback) {
            return Ok(());
        }
        let result = host.call(patch, state, callback, reason);
        host.event(&Event::Called {
            patch,
            state,
            callback,
            reason,
            result,
        });
        result
    }

    /// Calls one that cannot refuse: its error was reported, and that is all.
    fn tell<H: Host>(self, callback: Callback, reason: Reason, host: &mut H) {
        let _ = self.call(callback, reason, host);
    }

    /// Frees the state's shadows, if it has any. Says whether it did.
    fn free<H: Host>(self, host: &mut H) -> bool {
        let Self { patch, state, .. } = self;
        if state.is_shadow {
            host.free_shadows(patch, state);
            host.event(&Event::Freed(patch, state));
        }
        state.is_shadow
    }

    fn open<H: Host>(self, host: &mut H) {
        self.slot.gate.open();
        host.event(&Event::Gate(self.state, true));
    }

    fn close<H: Host>(self, host: &mut H) {
        self.slot.gate.close();
        host.event(&Event::Gate(self.state, false));
    }

    // The engine is the only writer of the counts and follows its plan, so each
    // answer below is the one that was planned for.

    fn first(self) {
        let answer = self.slot.count.acquire();
        debug_assert_eq!(answer, Acquire::First);
    }

    fn share(self) {
        let answer = self.slot.count.acquire();
        debug_assert!(matches!(answer, Acquire::Shared(_)), "{answer:?}");
    }

    fn unshare(self) {
        let answer = self.slot.count.release();
        debug_assert!(matches!(answer, Release::Shared(_)), "{answer:?}");
    }

    fn last(self) {
        let answer = self.slot.count.release();
        debug_assert_eq!(answer, Release::Last);
    }
}

fn forward<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    step: Step,
    host: &mut H,
) -> Status {
    if step.op == Op::Switch {
        return switch_forward(installed, transition, host);
    }
    let reason = transition.reason;
    let mut freed = false;
    let mut cause = None;
    if let Some(at) = At::find(installed, transition, step) {
        match step.op {
            Op::PrePatch => {
                at.first();
                if let Err(errno) = at.call(Callback::PrePatch, reason, host) {
                    // It undid its own doing (R31), all but its shadows, which
                    // it may not even know of: D4. Not its post_unpatch: R30.
                    freed = at.free(host);
                    let ended = at.slot.count.abort();
                    debug_assert!(ended.is_ok(), "{ended:?}");
                    cause = Some(Cause::PrePatch {
                        patch: at.patch.name,
                        state: at.state.id,
                        name: at.state.name,
                        errno,
                    });
                }
            }
            Op::Share | Op::Inherit => at.share(),
            Op::Unshare => at.unshare(),
            Op::PreUnpatch => {
                at.close(host);
                at.last();
                at.tell(Callback::PreUnpatch, reason, host);
            }
            Op::PostUnpatch => {
                at.tell(Callback::PostUnpatch, reason, host);
                freed = at.free(host);
                let ended = at.slot.count.retire();
                debug_assert!(ended.is_ok(), "{ended:?}");
            }
            Op::PostPatch => {
                at.tell(Callback::PostPatch, reason, host);
                let ended = at.slot.count.commit();
                debug_assert!(ended.is_ok(), "{ended:?}");
                at.open(host);
            }
            Op::Switch => {}
        }
    }
    transition.freed |= freed;
    transition.cause = cause;
    // A step that failed has cleaned up after itself: it is not done.
    transition.next += usize::from(cause.is_none());
    Status::Working
}

fn back<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    step: Step,
    host: &mut H,
) -> Status {
    if step.op == Op::Switch {
        return switch_back(installed, transition, host);
    }
    let reason = transition.reason();
    let mut freed = false;
    if let Some(at) = At::find(installed, transition, step) {
        match step.op {
            Op::PrePatch => {
                at.tell(Callback::PostUnpatch, reason, host);
                freed = at.free(host);
                let ended = at.slot.count.abort();
                debug_assert!(ended.is_ok(), "{ended:?}");
            }
            Op::Share | Op::Inherit => at.unshare(),
            Op::Unshare => at.share(),
            Op::PreUnpatch => {
                at.tell(Callback::PostPatch, reason, host);
                let ended = at.slot.count.restore();
                debug_assert!(ended.is_ok(), "{ended:?}");
                at.open(host);
            }
            // After the switch nothing is taken back.
            Op::Switch | Op::PostUnpatch | Op::PostPatch => {}
        }
    }
    transition.freed |= freed;
    transition.next -= 1;
    Status::Working
}

fn switch_forward<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    host: &mut H,
) -> Status {
    let direction = Direction::Forward;
    if !transition.switching {
        host.event(&Event::Switching(direction));
    }
    match host.switch(&Switch {
        installed,
        transition,
        direction,
    }) {
        Ok(Progress::Done) => {
            host.event(&Event::Switched(direction));
            transition.switching = false;
            transition.next += 1;
            Status::Working
        }
        Ok(Progress::Pending) => {
            host.event(&Event::Stalled(direction));
            transition.switching = true;
            Status::Stalled
        }
        Err(errno) => {
            host.event(&Event::SwitchFailed(errno));
            transition.switching = false;
            let patch = transition
                .subject(installed)
                .map_or(Name::EMPTY, |patch| patch.name);
            transition.cause = Some(Cause::Switch { patch, errno });
            Status::Working
        }
    }
}

fn switch_back<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    host: &mut H,
) -> Status {
    let direction = Direction::Back;
    match host.switch(&Switch {
        installed,
        transition,
        direction,
    }) {
        Ok(Progress::Done) => {
            host.event(&Event::Switched(direction));
            transition.switching = false;
            transition.next -= 1;
            Status::Working
        }
        Ok(Progress::Pending) | Err(_) => {
            host.event(&Event::Stalled(direction));
            Status::Stalled
        }
    }
}
