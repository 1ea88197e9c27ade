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

use crate::installed::Installed;
use crate::mem::{OutOfMemory, push};
use crate::name::Name;
use crate::patch::{Callback, Patch, Replace, STATE_ID_MAX, State};
use crate::refcount::USERS_MAX;
use crate::refusal::Refusal;
use alloc::vec::Vec;
use hashbrown::HashMap;

/// Which rules to plan by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rules {
    /// Those of the requirements.
    #[default]
    Umbra,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// Enable this patch; its own `replace` says what becomes of the others.
    Enable(&'a Patch),
    /// Disable the enabled patch of this name.
    Disable(&'a str),
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
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happens.
    pub op: Op,
    /// To whose state.
    pub who: Who,
    /// Where the state is in that patch's list.
    pub index: u32,
    /// The state's id; 0 for a switch.
    pub state: u64,
    /// The callback, if the patch brings it.
    pub call: Option<Callback>,
    /// The step frees the shadow variables of the state.
    pub frees: bool,
}

/// One function whose hook changes in the switch, by positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HookMove {
    pub(crate) from: Option<(Who, u32)>,
    pub(crate) to: Option<(Who, u32)>,
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

    /// The patches that are no longer enabled afterwards, as positions.
    pub fn leaving(&self) -> core::ops::Range<usize> {
        self.leaving.clone()
    }

    /// How many functions get a hook, change theirs, and lose it.
    pub fn hook_counts(&self) -> (usize, usize, usize) {
        let count = |from, to| {
            let same = |h: &&HookMove| h.from.is_some() == from && h.to.is_some() == to;
            self.hooks.iter().filter(same).count()
        };
        (count(false, true), count(true, true), count(true, false))
    }

    fn states(&self, op: Op) -> impl Iterator<Item = u64> {
        self.steps
            .iter()
            .filter(move |step| step.op == op)
            .map(|step| step.state)
    }

    const fn empty() -> Self {
        Self {
            steps: Vec::new(),
            hooks: Vec::new(),
            switch_at: 0,
            incoming: false,
            leaving: 0..0,
        }
    }

    fn step(&mut self, op: Op, who: Who, index: usize, state: &State) -> Result<(), OutOfMemory> {
        let callback = match op {
            Op::PrePatch => Some(Callback::PrePatch),
            Op::PreUnpatch => Some(Callback::PreUnpatch),
            Op::PostUnpatch => Some(Callback::PostUnpatch),
            Op::PostPatch => Some(Callback::PostPatch),
            Op::Share | Op::Inherit | Op::Unshare | Op::Switch => None,
        };
        let step = Step {
            op,
            who,
            index: index as u32,
            state: state.id,
            call: callback.filter(|&callback| state.callbacks.contains(callback)),
            frees: op == Op::PostUnpatch && state.is_shadow,
        };
        push(&mut self.steps, step)
    }

    /// Adds the switch, and after it the second halves of the edges whose first
    /// halves the plan has so far: clean-ups first.
    fn finish(&mut self, installed: &Installed, patch: Option<&Patch>) -> Result<(), OutOfMemory> {
        self.switch_at = self.steps.len();
        push(
            &mut self.steps,
            Step {
                op: Op::Switch,
                who: Who::Incoming,
                index: 0,
                state: 0,
                call: None,
                frees: false,
            },
        )?;
        for (first, second) in [
            (Op::PreUnpatch, Op::PostUnpatch),
            (Op::PrePatch, Op::PostPatch),
        ] {
            for at in 0..self.switch_at {
                let Some(&Step { op, who, index, .. }) = self.steps.get(at) else {
                    continue;
                };
                if op != first {
                    continue;
                }
                let of = match who {
                    Who::Incoming => patch,
                    Who::Installed(at) => installed.patches.get(at as usize),
                };
                if let Some(state) = of.and_then(|patch| patch.states.get(index as usize)) {
                    self.step(second, who, index as usize, state)?;
                }
            }
        }
        Ok(())
    }
}

/// Plans `request` for what is `installed`. Changes nothing, calls nothing.
///
/// # Errors
/// A [`Refusal`] with the rule that forbids it and the way out.
pub fn plan(installed: &Installed, request: Request<'_>, rules: Rules) -> Result<Plan, Refusal> {
    let Rules::Umbra = rules;
    if let Some(patch) = installed.running {
        return Err(Refusal::TransitionRunning { patch });
    }
    match request {
        Request::Enable(patch) => enable(installed, patch),
        Request::Disable(name) => disable(installed, name),
    }
}

type ById = HashMap<u64, u32, crate::mem::Seed>;
type ByFunction = HashMap<usize, (Who, u32), crate::mem::Seed>;

fn enable(installed: &Installed, patch: &Patch) -> Result<Plan, Refusal> {
    if installed.position(patch.name.as_str()).is_some() {
        return Err(Refusal::AlreadyEnabled { patch: patch.name });
    }
    let ids = check_states(installed, patch)?;
    for state in &patch.states {
        check_against(installed, patch, state)?;
    }
    let replaces = match patch.replace {
        Replace::Nothing => false,
        Replace::All => true,
    };

    let mut plan = Plan::empty();
    plan.incoming = true;
    for (index, state) in patch.states.iter().enumerate() {
        let op = match installed.users(state.id) {
            0 => Op::PrePatch,
            _ if replaces => Op::Inherit,
            _ => Op::Share,
        };
        plan.step(op, Who::Incoming, index, state)?;
    }
    if replaces {
        plan.leaving = 0..installed.patches.len();
        leave_all(installed, patch, &ids, &mut plan)?;
    }
    plan_hooks(installed, patch, &ids, &mut plan)?;
    plan.finish(installed, Some(patch))?;
    Ok(plan)
}

/// All installed patches give their shares back, and `patch` has taken its own.
fn leave_all(
    installed: &Installed,
    patch: &Patch,
    ids: &ById,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    // How many users of a state that goes are still to be met. Who meets it at
    // one is the last, however many share it (T2).
    let mut left = ById::with_hasher(installed.seed);
    for (at, old) in installed.patches.iter().enumerate() {
        left.try_reserve(old.states.len())
            .map_err(OutOfMemory::from)?;
        for (index, state) in old.states.iter().enumerate() {
            let who = Who::Installed(at as u32);
            if ids.contains_key(&state.id) {
                plan.step(Op::Unshare, who, index, state)?;
                continue;
            }
            if state.block_disable {
                return Err(Refusal::Blocked {
                    state: state.id,
                    name: state.name,
                    by: old.name,
                    replacement: Some(patch.name),
                });
            }
            let left = left
                .entry(state.id)
                .or_insert_with(|| installed.users(state.id));
            let op = if *left <= 1 {
                Op::PreUnpatch
            } else {
                Op::Unshare
            };
            *left = left.saturating_sub(1);
            plan.step(op, who, index, state)?;
        }
    }
    Ok(())
}

fn disable(installed: &Installed, name: &str) -> Result<Plan, Refusal> {
    let Some(at) = installed.position(name) else {
        return Err(Refusal::NotEnabled {
            patch: Name::cut(name),
        });
    };
    let mut plan = Plan::empty();
    plan.leaving = at..at + 1;
    let who = Who::Installed(at as u32);
    if let Some(patch) = installed.patches.get(at) {
        for (index, state) in patch.states.iter().enumerate() {
            if installed.users(state.id) > 1 {
                plan.step(Op::Unshare, who, index, state)?;
            } else if state.block_disable {
                return Err(Refusal::Blocked {
                    state: state.id,
                    name: state.name,
                    by: patch.name,
                    replacement: None,
                });
            } else {
                plan.step(Op::PreUnpatch, who, index, state)?;
            }
        }
        for index in 0..patch.hooks.len() {
            push(
                &mut plan.hooks,
                HookMove {
                    from: Some((who, index as u32)),
                    to: None,
                },
            )?;
        }
    }
    plan.finish(installed, None)?;
    Ok(plan)
}

/// What can be wrong with a patch on its own. The answer finds its states by id.
fn check_states(installed: &Installed, patch: &Patch) -> Result<ById, Refusal> {
    let mut ids = ById::with_hasher(installed.seed);
    ids.try_reserve(patch.states.len())
        .map_err(OutOfMemory::from)?;
    for (index, state) in patch.states.iter().enumerate() {
        if state.id == 0 {
            return Err(Refusal::ZeroId {
                patch: patch.name,
                name: state.name,
                index,
            });
        }
        if state.id > STATE_ID_MAX {
            return Err(Refusal::IdTooLarge {
                patch: patch.name,
                state: state.id,
            });
        }
        if let Some(first) = ids.insert(state.id, index as u32) {
            let first = patch
                .states
                .get(first as usize)
                .map_or(Name::EMPTY, |s| s.name);
            return Err(Refusal::DuplicateId {
                patch: patch.name,
                state: state.id,
                names: [first, state.name],
            });
        }
        if state.shadow_dtor.is_some() && !state.is_shadow {
            return Err(Refusal::DtorWithoutShadow {
                patch: patch.name,
                state: state.id,
                name: state.name,
            });
        }
    }
    Ok(ids)
}

/// What can be wrong between a patch and those that are enabled. All users of a
/// state agree, for each was checked when it came, so the slot speaks for them.
fn check_against(installed: &Installed, patch: &Patch, state: &State) -> Result<(), Refusal> {
    let Some(slot) = installed.slots.get(&state.id) else {
        return Ok(());
    };
    let users = slot.count.load().users();
    if users == 0 {
        return Ok(());
    }
    if slot.name != state.name {
        return Err(Refusal::NamesDisagree {
            state: state.id,
            patch: (patch.name, state.name),
            other: (installed.user_of(state.id), slot.name),
        });
    }
    if slot.is_shadow != state.is_shadow {
        return Err(Refusal::ShadowsDisagree {
            state: state.id,
            name: state.name,
            patch: (patch.name, state.is_shadow),
            other: installed.user_of(state.id),
        });
    }
    // One below the count that sticks.
    if users >= USERS_MAX - 1 {
        return Err(Refusal::TooManyUsers {
            state: state.id,
            patch: patch.name,
        });
    }
    Ok(())
}

/// Which functions get, change or lose their hook when `patch` comes.
fn plan_hooks(
    installed: &Installed,
    patch: &Patch,
    ids: &ById,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    let mut old = ByFunction::with_hasher(installed.seed);
    for (at, gone) in leaving(installed, plan) {
        old.try_reserve(gone.hooks.len())
            .map_err(OutOfMemory::from)?;
        for (index, hook) in gone.hooks.iter().enumerate() {
            old.insert(hook.function, (Who::Installed(at), index as u32));
        }
    }
    let mut new = ByFunction::with_hasher(installed.seed);
    new.try_reserve(patch.hooks.len())
        .map_err(OutOfMemory::from)?;
    for (index, hook) in patch.hooks.iter().enumerate() {
        let taken = |other| {
            Err(Refusal::FunctionTaken {
                patch: patch.name,
                function: hook.label,
                other,
            })
        };
        if !ids.contains_key(&hook.state) {
            return Err(Refusal::HookWithoutState {
                patch: patch.name,
                function: hook.label,
                state: hook.state,
            });
        }
        let to = (Who::Incoming, index as u32);
        if new.insert(hook.function, to).is_some() {
            return taken(patch.name);
        }
        let from = old.get(&hook.function).copied();
        if from.is_none() && installed.functions.contains(&hook.function) {
            return taken(installed.hooker_of(hook.function));
        }
        push(&mut plan.hooks, HookMove { from, to: Some(to) })?;
    }
    for (at, gone) in leaving(installed, plan) {
        for (index, hook) in gone.hooks.iter().enumerate() {
            if !new.contains_key(&hook.function) {
                let from = Some((Who::Installed(at), index as u32));
                push(&mut plan.hooks, HookMove { from, to: None })?;
            }
        }
    }
    Ok(())
}

/// The patches that the plan takes away, with their positions.
fn leaving<'a>(
    installed: &'a Installed,
    plan: &Plan,
) -> impl Iterator<Item = (u32, &'a Patch)> + use<'a> {
    let range = plan.leaving.clone();
    let patches = installed.patches.get(range.clone()).unwrap_or(&[]);
    (range.start as u32..).zip(patches)
}
