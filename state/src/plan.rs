//! What a request would do, before anything is done.
//!
//! [`plan`] is a pure function: the same patches, request and rules give the
//! same [`Plan`] or the same [`Refusal`] (S2). The kernel module, the command
//! line and the tests all ask this one function, so what `umbra check` prints
//! is what the kernel does.
//!
//! # The rule
//! A state is reference-counted by the patches that have it. A replacing patch
//! takes its share first, then those it replaces give theirs back. So an id in
//! both never reaches zero and none of its callbacks runs, whoever came first;
//! an id in exactly one of them is an edge of the count, and its callbacks run.
//! That is the XOR rule (R66), and it holds for any number of replaced patches.
//!
//! The last user to give a state back runs *its own* unpatch callbacks, which
//! is how the duty to clean up is handed along (R10).
//!
//! # The order (R95)
//! ```text
//! new.pre_patch, old.pre_unpatch | switch | old.post_unpatch (+ free), new.post_patch
//!        may still be taken back          |         will be carried out
//! ```
//! Within one of the four, states come in the order in which their patch lists
//! them, and patches in the order in which they were enabled. Taking back runs
//! the steps done so far in the opposite order, each as its opposite.
//!
//! Cost: linear in the states and hooks of the patches that come or go.

use crate::force::NotForceable;
use crate::installed::Installed;
use crate::mem::{OutOfMemory, push};
use crate::name::Name;
use crate::patch::{Callback, Difference, Hook, Object, Patch, State};
use crate::refusal::Refusal;
use crate::rules::{self, Rules};
use crate::transition::NotReversible;
use alloc::vec::Vec;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// Enable this patch; its own `replace` says what becomes of the others.
    Enable(&'a Patch),
    /// Disable the enabled patch of this name.
    Disable(&'a str),
    /// Forget the patch of this name, which is registered and not enabled.
    Unregister(&'a str),
    /// Turn the running transition round. Only
    /// [`Engine::plan`](crate::Engine::plan) knows of one.
    Reverse,
    /// End the switch that the running transition waits for; as above.
    Force,
}

/// Whose state a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The patch that is being enabled.
    Incoming,
    /// The enabled patch at this position.
    Installed(u32),
}

/// What a step does to its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// 0 to 1: `pre_patch`, which may fail.
    /// Taken back: `post_unpatch`, its shadows freed.
    PrePatch,
    /// One more user beside others that stay. Taken back: one fewer.
    Share,
    /// One more user, in place of others that go: the duty to clean up comes
    /// with it. Taken back: one fewer.
    Inherit,
    /// One user fewer of several. Taken back: one more.
    Unshare,
    /// 1 to 0: the gate closes, `pre_unpatch`.
    /// Taken back: `post_patch`, the gate opens.
    PreUnpatch,
    /// Running code changes over; the hooks change. Of no state.
    Switch,
    /// The clean-up of 1 to 0: `post_unpatch`, its shadows freed.
    PostUnpatch,
    /// The end of 0 to 1: `post_patch`, the gate opens.
    PostPatch,
    /// The functions of one object are redirected, which may fail. Under
    /// [`Rules::Mainline`] only; elsewhere that is the switch's work.
    PatchObject,
}

/// What of a patch a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The state at this position of its list.
    State(u32),
    /// The object at this position of its list; [`Rules::Mainline`] only.
    Object(u32),
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happens.
    pub op: Op,
    /// To whose state.
    pub who: Who,
    /// Which of that patch's states or objects.
    pub part: Part,
    /// The state's id; 0 for a switch and for an object.
    pub state: u64,
    /// The callback, if the patch brings it.
    pub call: Option<Callback>,
    /// The step frees the shadow variables of the state.
    pub frees: bool,
    /// The step's clean-up has to wait: a patch that was forced out may still
    /// use the state. It then calls and frees nothing.
    pub waits: bool,
    /// Shadow variables belong to the state.
    pub is_shadow: bool,
}

/// One function whose hook changes in the switch, by positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HookMove {
    pub(crate) function: usize,
    pub(crate) from: Option<(Who, u32)>,
    pub(crate) to: Option<(Who, u32)>,
}

/// A state that the incoming patch describes differently from an enabled one,
/// which is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disagreement {
    /// Which of the incoming patch's states.
    pub(crate) index: u32,
    pub(crate) state: u64,
    /// The latest enabled patch that has it.
    pub(crate) other: Name,
    pub(crate) what: Difference,
}

/// What a request does, step by step. Valid for the [`Installed`] it was made
/// for, until a transition changes that.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) hooks: Vec<HookMove>,
    pub(crate) switch_at: usize,
    pub(crate) incoming: bool,
    pub(crate) leaving: core::ops::Range<usize>,
    pub(crate) disagreements: Vec<Disagreement>,
}

impl Plan {
    /// Every step, in order. There is exactly one switch.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The steps that call something, in order.
    pub fn callbacks(&self) -> impl Iterator<Item = (Who, u64, Callback)> {
        self.steps
            .iter()
            .filter_map(|step| Some((step.who, step.state, step.call?)))
    }

    /// The states whose life begins.
    pub fn introduced(&self) -> impl Iterator<Item = u64> {
        self.states(Op::PrePatch)
    }

    /// The states that the incoming patch shares with patches that stay.
    pub fn shared(&self) -> impl Iterator<Item = u64> {
        self.states(Op::Share)
    }

    /// The states that the incoming patch takes over from those it replaces.
    pub fn inherited(&self) -> impl Iterator<Item = u64> {
        self.states(Op::Inherit)
    }

    /// The states whose life ends.
    pub fn removed(&self) -> impl Iterator<Item = u64> {
        self.states(Op::PreUnpatch)
    }

    /// The states whose shadow variables are freed.
    pub fn freed(&self) -> impl Iterator<Item = u64> {
        self.steps.iter().filter(|s| s.frees).map(|s| s.state)
    }

    /// The states whose shadow variables stay although a user comes or goes; one
    /// for each such user.
    pub fn kept(&self) -> impl Iterator<Item = u64> {
        let shared = |op| matches!(op, Op::Share | Op::Inherit | Op::Unshare);
        self.steps
            .iter()
            .filter(move |s| s.is_shadow && shared(s.op))
            .map(|s| s.state)
    }

    /// The states whose clean-up has to wait in quarantine.
    pub fn quarantined(&self) -> impl Iterator<Item = u64> {
        self.steps.iter().filter(|s| s.waits).map(|s| s.state)
    }

    /// The functions that get a hook.
    pub fn hooked(&self) -> impl Iterator<Item = usize> {
        self.functions(false, true)
    }

    /// The functions whose hook goes from one patch to another.
    pub fn exchanged(&self) -> impl Iterator<Item = usize> {
        self.functions(true, true)
    }

    /// The functions that lose their hook.
    pub fn unhooked(&self) -> impl Iterator<Item = usize> {
        self.functions(true, false)
    }

    fn functions(&self, from: bool, to: bool) -> impl Iterator<Item = usize> {
        let same = move |h: &&HookMove| h.from.is_some() == from && h.to.is_some() == to;
        // What went with its module before the plan was made has no hook to change.
        let there = self.hooks.iter().filter(|h| h.function != Hook::GONE);
        there.filter(same).map(|h| h.function)
    }

    /// The patches that are no longer enabled afterwards, as positions.
    pub fn leaving(&self) -> core::ops::Range<usize> {
        self.leaving.clone()
    }

    /// How many functions get a hook, change theirs, and lose it.
    pub fn hook_counts(&self) -> (usize, usize, usize) {
        let count = |from, to| self.functions(from, to).count();
        (count(false, true), count(true, true), count(true, false))
    }

    fn states(&self, op: Op) -> impl Iterator<Item = u64> {
        self.steps
            .iter()
            .filter(move |step| step.op == op && matches!(step.part, Part::State(_)))
            .map(|step| step.state)
    }

    pub(crate) const fn empty() -> Self {
        Self {
            steps: Vec::new(),
            hooks: Vec::new(),
            switch_at: 0,
            incoming: false,
            leaving: 0..0,
            disagreements: Vec::new(),
        }
    }

    /// Adds a step of a state.
    pub(crate) fn step(
        &mut self,
        op: Op,
        who: Who,
        index: usize,
        state: &State,
    ) -> Result<(), OutOfMemory> {
        let step = Step {
            op,
            who,
            part: Part::State(index as u32),
            state: state.id,
            call: op.callback().filter(|&c| state.callbacks.contains(c)),
            frees: op == Op::PostUnpatch && state.is_shadow,
            waits: false,
            is_shadow: state.is_shadow,
        };
        push(&mut self.steps, step)
    }

    /// Adds a step of an object.
    pub(crate) fn object(
        &mut self,
        op: Op,
        who: Who,
        index: usize,
        object: &Object,
    ) -> Result<(), OutOfMemory> {
        let step = Step {
            op,
            who,
            part: Part::Object(index as u32),
            state: 0,
            call: op.callback().filter(|&c| object.callbacks.contains(c)),
            frees: false,
            waits: false,
            is_shadow: false,
        };
        push(&mut self.steps, step)
    }

    /// Adds the switch, and after it the second halves of the edges whose first
    /// halves the plan has so far: clean-ups first.
    pub(crate) fn finish(
        &mut self,
        installed: &Installed,
        patch: Option<&Patch>,
    ) -> Result<(), OutOfMemory> {
        self.switch_at = self.steps.len();
        push(
            &mut self.steps,
            Step {
                op: Op::Switch,
                who: Who::Incoming,
                part: Part::State(0),
                state: 0,
                call: None,
                frees: false,
                waits: false,
                is_shadow: false,
            },
        )?;
        for (first, second) in [
            (Op::PreUnpatch, Op::PostUnpatch),
            (Op::PrePatch, Op::PostPatch),
        ] {
            for at in 0..self.switch_at {
                let Some(&Step { op, who, part, .. }) = self.steps.get(at) else {
                    continue;
                };
                if op != first {
                    continue;
                }
                let of = match who {
                    Who::Incoming => patch,
                    Who::Installed(at) => installed.patches.get(at as usize),
                };
                let Some(of) = of else { continue };
                match part {
                    Part::State(index) => {
                        if let Some(state) = of.states.get(index as usize) {
                            self.step(second, who, index as usize, state)?;
                        }
                    }
                    Part::Object(index) => {
                        if let Some(object) = of.objects.get(index as usize) {
                            self.object(second, who, index as usize, object)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets the clean-ups wait whose states a pinned patch may still use.
    pub(crate) fn hold_back(&mut self, installed: &Installed) {
        if installed.pinned.is_empty() {
            return;
        }
        for step in &mut self.steps {
            let slot = installed.slots.get(&step.state);
            if step.op == Op::PostUnpatch && slot.is_some_and(|slot| slot.pins > 0) {
                step.wait();
            }
        }
    }

    /// Puts the first `done` steps into the order in which [`Rules::V1`] and
    /// [`Rules::Mainline`] undo: each list from its front, what was being
    /// disabled before what was being enabled. (The engine undoes from the
    /// end.) Does nothing when it was done before.
    pub(crate) fn undo_forward(&mut self, done: usize) {
        let done = done.min(self.switch_at);
        let place = |step: &Step| {
            let (Part::State(index) | Part::Object(index)) = step.part;
            let who = match step.who {
                Who::Installed(at) => at,
                Who::Incoming => u32::MAX,
            };
            (who, index)
        };
        if let Some(steps) = self.steps.get_mut(..done) {
            // In place, and stable enough: two steps with one key are one
            // object's pre_patch and its patching, of which only one undoes.
            steps.sort_unstable_by_key(|step| {
                (step.op == Op::PreUnpatch, core::cmp::Reverse(place(step)))
            });
        }
    }
}

impl Step {
    /// Makes its clean-up wait.
    pub(crate) const fn wait(&mut self) {
        self.call = None;
        self.frees = false;
        self.waits = true;
    }
}

impl Op {
    /// The callback that the step calls where there is one.
    pub const fn callback(self) -> Option<Callback> {
        match self {
            Self::PrePatch => Some(Callback::PrePatch),
            Self::PreUnpatch => Some(Callback::PreUnpatch),
            Self::PostUnpatch => Some(Callback::PostUnpatch),
            Self::PostPatch => Some(Callback::PostPatch),
            Self::Share | Self::Inherit | Self::Unshare | Self::Switch | Self::PatchObject => None,
        }
    }
}

/// Plans `request` for what is `installed`. Changes nothing, calls nothing.
///
/// # Errors
/// A [`Refusal`] with the rule that forbids it and the way out.
pub fn plan(installed: &Installed, request: Request<'_>, rules: Rules) -> Result<Plan, Refusal> {
    match (request, installed.running) {
        (Request::Reverse, None) => return Err(Refusal::NotReversible(NotReversible::Idle)),
        (Request::Force, None) => return Err(Refusal::NotForceable(NotForceable::Idle)),
        (_, Some(patch)) => return Err(Refusal::TransitionRunning { patch }),
        _ => {}
    }
    // The registered patch itself may be planned: that is how it is enabled.
    if let Request::Enable(patch) = request
        && let Some(known) = installed.registered.iter().find(|p| p.name == patch.name)
        && !core::ptr::eq(known, patch)
    {
        return Err(Refusal::AlreadyRegistered { patch: patch.name });
    }
    match (request, rules) {
        (Request::Enable(patch), Rules::Umbra) => rules::umbra::enable(installed, patch),
        (Request::Disable(name), Rules::Umbra) => rules::umbra::disable(installed, name),
        (Request::Enable(patch), Rules::V1) => rules::v1::enable(installed, patch),
        (Request::Disable(name), Rules::V1) => rules::v1::disable(installed, name),
        (Request::Enable(patch), Rules::Mainline) => rules::mainline::enable(installed, patch),
        (Request::Disable(name), Rules::Mainline) => rules::mainline::disable(installed, name),
        (Request::Unregister(name), _) => rules::unregister(installed, name),
        (Request::Reverse | Request::Force, _) => Ok(Plan::empty()),
    }
}
