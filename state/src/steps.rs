//! A plan under way: what each step does, and how it is taken back.
//!
//! The engine ([`transition`](crate::transition)) chooses the step and its
//! direction; here it is done, on the counts and gates of the states and by the
//! host.

use crate::event::{Direction, Errno, Event, Reason};
use crate::host::{Host, Progress, Switch};
use crate::installed::{Installed, Slot};
use crate::name::Name;
use crate::patch::{Callback, Patch, State};
use crate::plan::{Op, Plan, Step, Who};
use crate::refcount::{Acquire, Release};
use crate::transition::{Cause, Status};

/// A plan under way.
///
/// # Invariants
/// Steps before `next` are done and the others are not. `switching` says that
/// the host has begun the switch and not come to its end in either direction.
#[derive(Debug)]
pub(crate) struct Transition {
    pub(crate) plan: Plan,
    pub(crate) incoming: Option<Patch>,
    pub(crate) reason: Reason,
    pub(crate) next: usize,
    pub(crate) switching: bool,
    /// Set once it goes back.
    pub(crate) cause: Option<Cause>,
    /// Shadows were freed, so the end waits for their destructors.
    pub(crate) freed: bool,
}

impl Transition {
    pub(crate) fn patch<'a>(&'a self, installed: &'a Installed, who: Who) -> Option<&'a Patch> {
        match who {
            Who::Incoming => self.incoming.as_ref(),
            Who::Installed(at) => installed.patches.get(at as usize),
        }
    }

    /// The patch that is being enabled or disabled.
    pub(crate) fn subject<'a>(&'a self, installed: &'a Installed) -> Option<&'a Patch> {
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

pub(crate) fn forward<H: Host>(
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

pub(crate) fn back<H: Host>(
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
