//! A plan under way: what each step does, and how it is taken back.
//!
//! The engine ([`transition`](crate::transition)) chooses the step and its
//! direction; here it is done, on the counts and gates of the states and by the
//! host.

use crate::event::{Direction, Errno, Event, Reason};
use crate::host::{Host, ObjectCall, Progress, Switch};
use crate::installed::{Installed, Slot};
use crate::name::Name;
use crate::patch::{Callback, Object, Patch, State};
use crate::plan::{Op, Part, Plan, Step, Who};
use crate::refcount::{Acquire, RefCount, Release, WrongPhase};
use crate::rules::Rules;
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
    /// The switch was ended by force, so clean-ups that follow it wait.
    pub(crate) forced: bool,
    /// A step is being done. Still set when the next one begins: the callback
    /// of this one panicked.
    pub(crate) inside: bool,
    /// The incoming patch was registered, and is again if it is taken back.
    pub(crate) registered: bool,
    pub(crate) rules: Rules,
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
            Some(Cause::Reversed | Cause::Cancelled) => Reason::Reverse,
            Some(Cause::PrePatch { .. } | Cause::Switch { .. } | Cause::Object { .. }) => {
                Reason::Failed
            }
        }
    }

    /// Goes back from here on.
    pub(crate) fn turn_back(&mut self, cause: Cause) {
        self.cause = Some(cause);
        if !self.rules.ours() {
            self.plan.undo_forward(self.next);
        }
    }

    /// The clean-up of a state may not run yet (S5): someone may still run code
    /// that uses it. The old rules do not care (D8).
    fn puts_off(&self) -> bool {
        self.forced && self.rules.ours()
    }
}

/// A step's state, with its patch and its slot.
#[derive(Clone, Copy)]
struct At<'a> {
    patch: &'a Patch,
    state: &'a State,
    slot: &'a Slot,
    /// The rules count and gate states.
    ours: bool,
}

impl<'a> At<'a> {
    fn find(installed: &'a Installed, transition: &'a Transition, step: Step) -> Option<Self> {
        let patch = transition.patch(installed, step.who)?;
        let Part::State(index) = step.part else {
            return None;
        };
        let state = patch.states.get(index as usize)?;
        Some(Self {
            patch,
            state,
            slot: installed.slots.get(&state.id)?,
            ours: transition.rules.ours(),
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
        if self.ours {
            self.slot.gate.open();
            host.event(&Event::Gate(self.state, true));
        }
    }

    fn close<H: Host>(self, host: &mut H) {
        if self.ours {
            self.slot.gate.close();
            host.event(&Event::Gate(self.state, false));
        }
    }

    // The engine is the only writer of the counts and follows its plan, so each
    // answer below is the one that was planned for. The old rules do not count.

    fn first(self) {
        if self.ours {
            let answer = self.slot.count.acquire();
            debug_assert_eq!(answer, Acquire::First);
        }
    }

    fn share(self) {
        if self.ours {
            let answer = self.slot.count.acquire();
            debug_assert!(matches!(answer, Acquire::Shared(_)), "{answer:?}");
        }
    }

    fn unshare(self) {
        if self.ours {
            let answer = self.slot.count.release();
            debug_assert!(matches!(answer, Release::Shared(_)), "{answer:?}");
        }
    }

    fn last(self) {
        if self.ours {
            let answer = self.slot.count.release();
            debug_assert_eq!(answer, Release::Last);
        }
    }

    fn end(self, end: impl Fn(&RefCount) -> Result<(), WrongPhase>) {
        if self.ours {
            let ended = end(&self.slot.count);
            debug_assert!(ended.is_ok(), "{ended:?}");
        }
    }
}

/// Does one step. If the one before was begun and not ended, its callback
/// panicked: then it is that step, and the callback is not called again.
pub(crate) fn forward<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    step: Step,
    host: &mut H,
) -> Status {
    if step.op == Op::Switch {
        return switch_forward(installed, transition, host);
    }
    let panicked = core::mem::replace(&mut transition.inside, true);
    let reason = transition.reason;
    let mut freed = false;
    let mut cause = None;
    if let Part::Object(index) = step.part {
        cause = object_forward(installed, transition, step, index, panicked, host);
    } else if let Some(at) = At::find(installed, transition, step) {
        match step.op {
            Op::PrePatch => {
                let result = if panicked {
                    Err(Errno::PANICKED)
                } else {
                    at.first();
                    at.call(Callback::PrePatch, reason, host)
                };
                if let Err(errno) = result {
                    // It undid its own doing (R31), all but its shadows, which
                    // it may not even know of: D4. Not its post_unpatch: R30.
                    freed = at.ours && at.free(host);
                    at.end(RefCount::abort);
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
                if !panicked {
                    at.close(host);
                    at.last();
                    at.tell(Callback::PreUnpatch, reason, host);
                }
            }
            Op::PostUnpatch if transition.puts_off() => {
                host.event(&Event::Quarantined(at.patch, at.state));
            }
            Op::PostUnpatch => {
                if !panicked {
                    at.tell(Callback::PostUnpatch, reason, host);
                }
                freed = at.free(host);
                at.end(RefCount::retire);
            }
            Op::PostPatch => {
                if !panicked {
                    at.tell(Callback::PostPatch, reason, host);
                }
                at.end(RefCount::commit);
                at.open(host);
            }
            Op::Switch | Op::PatchObject => {}
        }
    }
    transition.inside = false;
    transition.freed |= freed;
    // A step that failed has cleaned up after itself: it is not done.
    match cause {
        Some(cause) => transition.turn_back(cause),
        None => transition.next += 1,
    }
    Status::Working
}

/// Undoes one step; as [`forward`].
pub(crate) fn back<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    step: Step,
    host: &mut H,
) -> Status {
    if step.op == Op::Switch {
        return switch_back(installed, transition, host);
    }
    let panicked = core::mem::replace(&mut transition.inside, true);
    let reason = transition.reason();
    let mut freed = false;
    if let Part::Object(index) = step.part {
        let callback = match step.op {
            Op::PrePatch => Some(Callback::PostUnpatch),
            Op::PreUnpatch => Some(Callback::PostPatch),
            _ => None,
        };
        if let (Some(callback), false) = (callback, panicked) {
            let _ = call_object(installed, transition, step.who, index, callback, host);
        }
    } else if let Some(at) = At::find(installed, transition, step) {
        match step.op {
            Op::PrePatch if transition.puts_off() => {
                host.event(&Event::Quarantined(at.patch, at.state));
            }
            Op::PrePatch => {
                if !panicked {
                    at.tell(Callback::PostUnpatch, reason, host);
                }
                freed = at.free(host);
                at.end(RefCount::abort);
            }
            Op::Share | Op::Inherit => at.unshare(),
            Op::Unshare => at.share(),
            Op::PreUnpatch => {
                if !panicked {
                    at.tell(Callback::PostPatch, reason, host);
                }
                at.end(RefCount::restore);
                at.open(host);
            }
            // After the switch nothing is taken back.
            Op::Switch | Op::PostUnpatch | Op::PostPatch | Op::PatchObject => {}
        }
    }
    transition.inside = false;
    transition.freed |= freed;
    transition.next -= 1;
    Status::Working
}

/// A step of an object, and why it failed if it did.
fn object_forward<H: Host>(
    installed: &Installed,
    transition: &Transition,
    step: Step,
    index: u32,
    panicked: bool,
    host: &mut H,
) -> Option<Cause> {
    let patch = transition.patch(installed, step.who)?;
    let object = patch.objects.get(index as usize)?;
    let result = match (step.op, step.op.callback()) {
        _ if panicked => Err(Errno::PANICKED),
        (Op::PatchObject, _) => host.patch_object(patch, object),
        (_, Some(callback)) => call_object(installed, transition, step.who, index, callback, host),
        (_, None) => Ok(()),
    };
    let fails = matches!(step.op, Op::PrePatch | Op::PatchObject);
    result.err().filter(|_| fails).map(|errno| Cause::Object {
        patch: patch.name,
        object: object.name,
        errno,
    })
}

fn call_object<H: Host>(
    installed: &Installed,
    transition: &Transition,
    who: Who,
    index: u32,
    callback: Callback,
    host: &mut H,
) -> Result<(), Errno> {
    let found = transition
        .patch(installed, who)
        .and_then(|patch| Some((patch, patch.objects.get(index as usize)?)));
    let Some((patch, object)) = found else {
        return Ok(());
    };
    let before = match who {
        Who::Incoming => installed.patches.as_slice(),
        Who::Installed(at) => installed.patches.get(..at as usize).unwrap_or(&[]),
    };
    let reason = transition.reason();
    tell_object(patch, object, callback, reason, before, host)
}

/// Calls a callback of an object if there is one, and reports what it said.
pub(crate) fn tell_object<H: Host>(
    patch: &Patch,
    object: &Object,
    callback: Callback,
    reason: Reason,
    before: &[Patch],
    host: &mut H,
) -> Result<(), Errno> {
    if !object.callbacks.contains(callback) {
        return Ok(());
    }
    let result = host.call_object(&ObjectCall {
        patch,
        object,
        callback,
        reason,
        before,
    });
    host.event(&Event::ObjectCalled {
        patch,
        object,
        callback,
        reason,
        result,
    });
    result
}

/// Asks the host once. By force the switch is over whatever it answers.
fn switch<H: Host>(
    installed: &Installed,
    transition: &Transition,
    direction: Direction,
    host: &mut H,
) -> Result<Progress, Errno> {
    let forced = transition.forced;
    let answer = host.switch(&Switch {
        installed,
        transition,
        direction,
        forced,
    });
    if forced { Ok(Progress::Done) } else { answer }
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
    match switch(installed, transition, direction, host) {
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
            transition.turn_back(Cause::Switch { patch, errno });
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
    match switch(installed, transition, direction, host) {
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
