//! A plan under way: what each step does, and how it is taken back.
//!
//! The engine ([`transition`](crate::transition)) chooses the step and its
//! direction; here it is done, on the counts and gates of the states and by the
//! host. How far a step got is a
//! [`Stage`], so that who goes on after a panic does nothing twice.

use crate::event::{Direction, Errno, Event, Reason};
use crate::host::{Host, Progress, Switch};
use crate::installed::{Installed, Slot};
use crate::name::Name;
use crate::patch::{Callback, Patch, State};
use crate::plan::{Op, Part, Plan, Step, Who};
use crate::refcount::{Acquire, RefCount, Release, WrongPhase};
use crate::rules::Rules;
use crate::stage::{Inside, Stage, tell_object};
use crate::transition::{Cause, Status};

/// A plan under way.
///
/// # Invariants
/// Steps before `next` are done and those from it on are not; the one at the
/// border may be begun (`inside`): `next` going forward, the one before it going
/// back. `switching` says that the host was asked for the switch and has not
/// come to its end in either direction.
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
    /// The switch is to be ended by force, in the direction that it goes now.
    pub(crate) force: bool,
    /// It was, so clean-ups that follow it wait.
    pub(crate) forced: bool,
    /// How far the step at the border got.
    pub(crate) inside: Inside,
    /// The incoming patch was registered at this place, and is again if it is
    /// taken back.
    pub(crate) registered: Option<usize>,
    pub(crate) rules: Rules,
    /// Everything is done and only remains to be told, the patches that were
    /// pinned from this one on.
    pub(crate) ended: Option<usize>,
}

impl Transition {
    pub(crate) fn patch<'a>(&'a self, installed: &'a Installed, who: Who) -> Option<&'a Patch> {
        patch(installed, self.incoming.as_ref(), who)
    }

    /// The patch that is being enabled or disabled.
    pub(crate) fn subject<'a>(&'a self, installed: &'a Installed) -> Option<&'a Patch> {
        self.incoming
            .as_ref()
            .or_else(|| installed.patches.get(self.plan.leaving.start))
    }

    /// What callbacks are told now.
    const fn reason(&self) -> Reason {
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
    pub(crate) const fn puts_off(&self) -> bool {
        self.forced && self.rules.ours()
    }

    /// The step at the border is done, in the direction it went.
    fn passed(&mut self, direction: Direction) {
        self.inside = Inside::FRESH;
        match direction {
            Direction::Forward => self.next += 1,
            Direction::Back => self.next -= 1,
        }
    }
}

fn patch<'a>(installed: &'a Installed, incoming: Option<&'a Patch>, who: Who) -> Option<&'a Patch> {
    match who {
        Who::Incoming => incoming,
        Who::Installed(at) => installed.patches.get(at as usize),
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
    fn find(
        installed: &'a Installed,
        incoming: Option<&'a Patch>,
        rules: Rules,
        step: Step,
    ) -> Option<Self> {
        let patch = patch(installed, incoming, step.who)?;
        let Part::State(index) = step.part else {
            return None;
        };
        let state = patch.states.get(index as usize)?;
        Some(Self {
            patch,
            state,
            slot: installed.slots.get(&state.id)?,
            ours: rules.ours(),
        })
    }

    fn call<H: Host>(
        self,
        callback: Callback,
        reason: Reason,
        inside: &mut Inside,
        host: &mut H,
    ) -> Result<(), Errno> {
        inside.call((self.patch, self.state), callback, reason, host)
    }

    /// Calls one that cannot refuse: its error was reported, and that is all.
    fn tell<H: Host>(self, callback: Callback, reason: Reason, inside: &mut Inside, host: &mut H) {
        let _ = self.call(callback, reason, inside, host);
    }

    fn free<H: Host>(self, inside: &mut Inside, host: &mut H) -> bool {
        inside.free(self.patch, self.state, host)
    }

    fn put_off<H: Host>(self, inside: &mut Inside, host: &mut H) {
        if inside.enter(Stage::Told) {
            host.event(&Event::Quarantined(self.patch, self.state));
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

    /// The last user goes: the gate closes first.
    fn last(self) {
        if self.ours {
            self.slot.gate.close();
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

    /// Its callbacks have run, so the state may be relied on.
    fn live(self, end: impl Fn(&RefCount) -> Result<(), WrongPhase>) {
        self.end(end);
        if self.ours {
            self.slot.gate.open();
        }
    }

    fn users(self) -> u32 {
        self.slot.count.load().users()
    }
}

/// What is told of a step once it is done.
enum News {
    Nothing,
    Opened,
    Users,
}

impl News {
    fn tell<H: Host>(self, at: At<'_>, host: &mut H) {
        match self {
            Self::Opened if at.ours => host.event(&Event::Gate(at.state, true)),
            Self::Users if at.ours => {
                host.event(&Event::Users(at.patch, at.state, at.users()));
            }
            Self::Nothing | Self::Opened | Self::Users => {}
        }
    }
}

/// Does one step, or the rest of one that a panic ended.
pub(crate) fn forward<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    step: Step,
    host: &mut H,
) -> Status {
    if step.op == Op::Switch {
        return switch_forward(installed, transition, host);
    }
    let direction = Direction::Forward;
    if let Part::Object(index) = step.part {
        match object_forward(installed, transition, step, index, host) {
            Some(cause) => fail(transition, cause),
            None => transition.passed(direction),
        }
        return Status::Working;
    }
    let (reason, waits) = (transition.reason, step.waits || transition.puts_off());
    let incoming = transition.incoming.as_ref();
    let Some(at) = At::find(installed, incoming, transition.rules, step) else {
        transition.passed(direction);
        return Status::Working;
    };
    let inside = &mut transition.inside;
    let mut freed = false;
    let mut news = News::Nothing;
    let mut cause = None;
    match step.op {
        Op::PrePatch => {
            if inside.enter(Stage::Counted) {
                at.first();
            }
            if let Err(errno) = at.call(Callback::PrePatch, reason, inside, host) {
                // It undid its own doing (R31), all but its shadows, which it
                // may not even know of: D4. Not its post_unpatch: R30.
                freed = at.ours && at.free(inside, host);
                at.end(RefCount::abort);
                cause = Some(Cause::PrePatch {
                    patch: at.patch.name,
                    state: at.state.id,
                    name: at.state.name,
                    errno,
                });
            }
        }
        Op::Share | Op::Inherit => {
            at.share();
            news = News::Users;
        }
        Op::Unshare => {
            at.unshare();
            news = News::Users;
        }
        Op::PreUnpatch => {
            close(at, inside, host);
            at.tell(Callback::PreUnpatch, reason, inside, host);
        }
        Op::PostUnpatch if waits => at.put_off(inside, host),
        Op::PostUnpatch => {
            at.tell(Callback::PostUnpatch, reason, inside, host);
            freed = at.free(inside, host);
            at.end(RefCount::retire);
        }
        Op::PostPatch => {
            at.tell(Callback::PostPatch, reason, inside, host);
            at.live(RefCount::commit);
            news = News::Opened;
        }
        Op::Switch | Op::PatchObject => {}
    }
    transition.freed |= freed;
    // The step is done before it is told of: a panic must not do it again.
    match cause {
        // One that failed has cleaned up after itself: it is not done.
        Some(cause) => fail(transition, cause),
        None => {
            transition.inside = Inside::FRESH;
            transition.next += 1;
            news.tell(at, host);
        }
    }
    Status::Working
}

fn fail(transition: &mut Transition, cause: Cause) {
    transition.inside = Inside::FRESH;
    transition.turn_back(cause);
}

fn close<H: Host>(at: At<'_>, inside: &mut Inside, host: &mut H) {
    if inside.enter(Stage::Counted) {
        at.last();
    }
    if at.ours && inside.enter(Stage::Gated) {
        host.event(&Event::Gate(at.state, false));
    }
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
    let direction = Direction::Back;
    let (reason, waits) = (transition.reason(), transition.puts_off());
    if let Part::Object(index) = step.part {
        let callback = match step.op {
            Op::PrePatch => Some(Callback::PostUnpatch),
            Op::PreUnpatch => Some(Callback::PostPatch),
            _ => None,
        };
        if let Some(callback) = callback {
            let _ = call_object(installed, transition, step.who, index, callback, host);
        }
        transition.passed(direction);
        return Status::Working;
    }
    let incoming = transition.incoming.as_ref();
    let Some(at) = At::find(installed, incoming, transition.rules, step) else {
        transition.passed(direction);
        return Status::Working;
    };
    let inside = &mut transition.inside;
    let mut freed = false;
    let mut news = News::Nothing;
    match step.op {
        Op::PrePatch if waits => at.put_off(inside, host),
        Op::PrePatch => {
            at.tell(Callback::PostUnpatch, reason, inside, host);
            freed = at.free(inside, host);
            at.end(RefCount::abort);
        }
        Op::Share | Op::Inherit => {
            at.unshare();
            news = News::Users;
        }
        Op::Unshare => {
            at.share();
            news = News::Users;
        }
        Op::PreUnpatch => {
            at.tell(Callback::PostPatch, reason, inside, host);
            at.live(RefCount::restore);
            news = News::Opened;
        }
        // After the switch nothing is taken back.
        Op::Switch | Op::PostUnpatch | Op::PostPatch | Op::PatchObject => {}
    }
    transition.freed |= freed;
    transition.inside = Inside::FRESH;
    transition.next -= 1;
    news.tell(at, host);
    Status::Working
}

/// A step of an object, and why it failed if it did.
fn object_forward<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    step: Step,
    index: u32,
    host: &mut H,
) -> Option<Cause> {
    let result = match step.op.callback() {
        Some(callback) => call_object(installed, transition, step.who, index, callback, host),
        None => {
            let incoming = transition.incoming.as_ref();
            let patch = patch(installed, incoming, step.who)?;
            let object = patch.objects.get(index as usize)?;
            transition.inside.once(|| host.patch_object(patch, object))
        }
    };
    let patch = transition.patch(installed, step.who)?;
    let object = patch.objects.get(index as usize)?;
    let fails = matches!(step.op, Op::PrePatch | Op::PatchObject);
    result.err().filter(|_| fails).map(|errno| Cause::Object {
        patch: patch.name,
        object: object.name,
        errno,
    })
}

/// Calls a callback of an object if there is one, once, and tells what it said.
fn call_object<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    who: Who,
    index: u32,
    callback: Callback,
    host: &mut H,
) -> Result<(), Errno> {
    let reason = transition.reason();
    let found = patch(installed, transition.incoming.as_ref(), who)
        .and_then(|patch| Some((patch, patch.objects.get(index as usize)?)));
    let Some((patch, object)) = found else {
        return Ok(());
    };
    let before = match who {
        Who::Incoming => installed.patches.as_slice(),
        Who::Installed(at) => installed.patches.get(..at as usize).unwrap_or(&[]),
    };
    let inside = &mut transition.inside;
    tell_object((patch, object), callback, reason, before, inside, host)
}

/// Asks the host once. By force nobody is waited for; what fails forward has
/// failed all the same.
fn switch<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    direction: Direction,
    host: &mut H,
) -> Result<Progress, Errno> {
    let forced = transition.force;
    // Before the host is asked: one that panics has begun.
    transition.switching = true;
    let answer = host.switch(&Switch {
        installed,
        transition,
        direction,
        forced,
    });
    let answer = match answer {
        Err(_) if direction == Direction::Forward => answer,
        _ if forced => Ok(Progress::Done),
        _ => answer,
    };
    if answer == Ok(Progress::Done) {
        transition.switching = false;
        transition.force = false;
        transition.forced = forced;
        transition.passed(direction);
    }
    answer
}

fn switch_forward<H: Host>(
    installed: &Installed,
    transition: &mut Transition,
    host: &mut H,
) -> Status {
    let direction = Direction::Forward;
    if !transition.switching && transition.inside.enter(Stage::Told) {
        host.event(&Event::Switching(direction));
    }
    transition.inside = Inside::FRESH;
    match switch(installed, transition, direction, host) {
        Ok(Progress::Done) => {
            host.event(&Event::Switched(direction));
            Status::Working
        }
        Ok(Progress::Pending) => {
            host.event(&Event::Stalled(direction));
            Status::Stalled
        }
        Err(errno) => {
            transition.switching = false;
            transition.force = false;
            let patch = transition
                .subject(installed)
                .map_or(Name::EMPTY, |patch| patch.name);
            transition.turn_back(Cause::Switch { patch, errno });
            host.event(&Event::SwitchFailed(errno));
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
            Status::Working
        }
        Ok(Progress::Pending) | Err(_) => {
            host.event(&Event::Stalled(direction));
            Status::Stalled
        }
    }
}
