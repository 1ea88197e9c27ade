//! The rules that Umbra is for; [`mod@crate::plan`] says what they are.

use super::{Strictness, leaving};
use crate::installed::Installed;
use crate::mem::{OutOfMemory, push};
use crate::name::Name;
use crate::patch::{Difference, Patch, Replace, STATE_ID_MAX, State};
use crate::plan::{Disagreement, HookMove, Op, Plan, Who};
use crate::refcount::{Phase, USERS_MAX};
use crate::refusal::Refusal;
use core::ops::Range;
use hashbrown::HashMap;

/// A state of the patches that leave.
#[derive(Clone, Copy, Debug, Default)]
struct Going {
    /// How many of them are still to give their share back.
    users: u32,
    /// Others have it too, and stay.
    stay: bool,
}

pub(crate) type ById = HashMap<u64, u32, crate::mem::Seed>;
type Leaving = HashMap<u64, Going, crate::mem::Seed>;
pub(crate) type ByFunction = HashMap<usize, (Who, u32), crate::mem::Seed>;

pub(crate) fn enable(installed: &Installed, patch: &Patch) -> Result<Plan, Refusal> {
    super::check_name(installed, patch)?;
    let ids = check_states(installed, patch)?;
    let mut plan = Plan::empty();
    plan.incoming = true;
    plan.leaving = replaced(installed, patch);
    let gone = leaving_users(installed, &plan)?;
    // At most two steps a state, and the switch: asked for at once, for a plan
    // that grows is copied each time.
    let old: usize = leaving(installed, &plan).map(|(_, p)| p.states.len()).sum();
    plan.steps
        .try_reserve(2 * (patch.states.len() + old) + 1)
        .map_err(OutOfMemory::from)?;
    for (index, state) in patch.states.iter().enumerate() {
        if let Some(what) = check_against(installed, patch, state, &gone)? {
            let disagreement = Disagreement {
                index: index as u32,
                state: state.id,
                other: Name::EMPTY,
                what,
            };
            push(&mut plan.disagreements, disagreement)?;
        }
        let op = match (installed.users(state.id), gone.contains_key(&state.id)) {
            (0, _) => Op::PrePatch,
            (_, true) => Op::Inherit,
            (_, false) => Op::Share,
        };
        plan.step(op, Who::Incoming, index, state)?;
    }
    name_others(installed, &mut plan)?;
    leave(installed, patch, &ids, gone, &mut plan)?;
    plan_hooks(installed, patch, &ids, &mut plan)?;
    plan.finish(installed, Some(patch))?;
    plan.hold_back(installed);
    Ok(plan)
}

/// Says with whom the patch disagrees: one walk, however many states that are.
fn name_others(installed: &Installed, plan: &mut Plan) -> Result<(), Refusal> {
    if plan.disagreements.is_empty() {
        return Ok(());
    }
    let mut open = ById::with_hasher(installed.seed);
    open.try_reserve(plan.disagreements.len())
        .map_err(OutOfMemory::from)?;
    open.extend((0..).zip(&plan.disagreements).map(|(at, d)| (d.state, at)));
    // The latest one is the one to name.
    for patch in installed.patches.iter().rev() {
        for state in &patch.states {
            let found = open.remove(&state.id);
            if let Some(one) = found.and_then(|at| plan.disagreements.get_mut(at as usize)) {
                one.other = patch.name;
            }
        }
        if open.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Which patches go when this one comes: none, all, or the one of its set,
/// which has at most one, for its next one replaced it.
pub(crate) fn replaced(installed: &Installed, patch: &Patch) -> Range<usize> {
    let all = installed.patches.len();
    match patch.replace {
        Replace::Nothing => 0..0,
        Replace::All => 0..all,
        Replace::Set(_) => {
            let same = |old: &Patch| old.replace == patch.replace;
            installed
                .patches
                .iter()
                .position(same)
                .map_or(0..0, |at| at..at + 1)
        }
    }
}

/// How many of the patches that leave use each state.
fn leaving_users(installed: &Installed, plan: &Plan) -> Result<Leaving, Refusal> {
    let mut users = Leaving::with_hasher(installed.seed);
    for (_, old) in leaving(installed, plan) {
        users
            .try_reserve(old.states.len())
            .map_err(OutOfMemory::from)?;
        for state in &old.states {
            users.entry(state.id).or_default().users += 1;
        }
    }
    for (id, going) in &mut users {
        going.stay = installed.users(*id) > going.users;
    }
    Ok(users)
}

/// The patches that leave give their shares back, after `patch` took its own.
/// `left` says how many of them use each state, and counts down: who meets a
/// state at one is the last of them, however many share it (T2).
fn leave(
    installed: &Installed,
    patch: &Patch,
    ids: &ById,
    mut left: Leaving,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    // The steps are added to the plan that is walked.
    let range = plan.leaving.clone();
    for at in range {
        let Some(old) = installed.patches.get(at) else {
            continue;
        };
        for (index, state) in old.states.iter().enumerate() {
            let who = Who::Installed(at as u32);
            let Some(left) = left.get_mut(&state.id) else {
                continue;
            };
            // Those of them that were met before gave their share back.
            let stays = ids.contains_key(&state.id) || left.stay;
            let last = !stays && left.users == 1;
            if !stays && state.block_disable {
                return Err(Refusal::Blocked {
                    state: state.id,
                    name: state.name,
                    by: old.name,
                    replacement: Some(patch.name),
                });
            }
            let op = if last { Op::PreUnpatch } else { Op::Unshare };
            plan.step(op, who, index, state)?;
            left.users = left.users.saturating_sub(1);
        }
    }
    Ok(())
}

pub(crate) fn disable(installed: &Installed, name: &str) -> Result<Plan, Refusal> {
    let at = super::check_enabled(installed, name)?;
    let mut plan = Plan::empty();
    plan.leaving = at..at + 1;
    let who = Who::Installed(at as u32);
    if let Some(patch) = installed.patches.get(at) {
        if let (Strictness::Strict, Some(top)) = (installed.strictness, installed.patches.last())
            && top.name != patch.name
        {
            return Err(Refusal::NotOnTop {
                patch: patch.name,
                top: top.name,
            });
        }
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
    }
    super::drop_hooks(installed, &mut plan)?;
    plan.finish(installed, None)?;
    plan.hold_back(installed);
    Ok(plan)
}

/// What can be wrong with a patch on its own. The answer finds its states by id.
pub(crate) fn check_states(installed: &Installed, patch: &Patch) -> Result<ById, Refusal> {
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
/// state agree, for each was checked when it came, so the slot speaks for them:
/// on what they must; the answer is in what else the patch differs from the
/// latest of them.
fn check_against(
    installed: &Installed,
    patch: &Patch,
    state: &State,
    gone: &Leaving,
) -> Result<Option<Difference>, Refusal> {
    let Some(slot) = installed.slots.get(&state.id) else {
        return Ok(None);
    };
    let word = slot.count.load();
    if matches!(word.phase(), Phase::Enabling | Phase::Disabling) {
        // No transition runs, so its clean-up waits.
        return Err(Refusal::Quarantined {
            patch: patch.name,
            state: state.id,
            name: state.name,
            by: installed.pinned_by(state.id),
        });
    }
    if word.users() == 0 {
        return Ok(None);
    }
    if slot.name != state.name {
        return Err(Refusal::NamesDisagree {
            state: state.id,
            patch: (patch.name, state.name),
            other: (installed.user_of(state.id), slot.name),
        });
    }
    let print = state.fingerprint();
    let difference = slot.print.difference(print);
    match difference {
        Some(Difference::IsShadow) => {
            return Err(Refusal::ShadowsDisagree {
                state: state.id,
                name: state.name,
                patch: (patch.name, state.is_shadow),
                other: installed.user_of(state.id),
            });
        }
        Some(what) if installed.strictness == Strictness::Strict => {
            return Err(Refusal::DescriptorsDisagree {
                state: state.id,
                name: state.name,
                patch: patch.name,
                other: installed.user_of(state.id),
                what,
            });
        }
        _ => {}
    }
    if let (Replace::Set(set), false) = (patch.replace, gone.contains_key(&state.id))
        && let Some(theirs) = slot.set
        && theirs != set
    {
        return Err(Refusal::SetsOverlap {
            state: state.id,
            name: state.name,
            patch: (patch.name, set),
            other: (installed.set_user_of(state.id), theirs),
        });
    }
    // One below the count that sticks.
    if word.users() >= USERS_MAX - 1 {
        return Err(Refusal::TooManyUsers {
            state: state.id,
            patch: patch.name,
        });
    }
    Ok(difference)
}

/// What can be wrong with a patch's hooks on their own. The answer finds them by
/// function.
pub(crate) fn check_hooks(
    installed: &Installed,
    patch: &Patch,
    ids: &ById,
) -> Result<ByFunction, Refusal> {
    let mut hooks = ByFunction::with_hasher(installed.seed);
    hooks
        .try_reserve(patch.hooks.len())
        .map_err(OutOfMemory::from)?;
    for (index, hook) in patch.hooks.iter().enumerate() {
        if hook.function == 0 {
            return Err(Refusal::NullFunction {
                patch: patch.name,
                function: hook.label,
                index,
            });
        }
        if !ids.contains_key(&hook.state) {
            return Err(Refusal::HookWithoutState {
                patch: patch.name,
                function: hook.label,
                state: hook.state,
            });
        }
        let to = (Who::Incoming, index as u32);
        if hooks.insert(hook.function, to).is_some() {
            return Err(Refusal::FunctionTaken {
                patch: patch.name,
                function: hook.label,
                other: patch.name,
            });
        }
    }
    Ok(hooks)
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
    let new = check_hooks(installed, patch, ids)?;
    for (index, hook) in patch.hooks.iter().enumerate() {
        let from = old.get(&hook.function).copied();
        if from.is_none() && installed.functions.contains(&hook.function) {
            return Err(Refusal::FunctionTaken {
                patch: patch.name,
                function: hook.label,
                other: installed.hooker_of(hook.function),
            });
        }
        let moved = HookMove {
            function: hook.function,
            from,
            to: Some((Who::Incoming, index as u32)),
        };
        push(&mut plan.hooks, moved)?;
    }
    for (at, gone) in leaving(installed, plan) {
        for (index, hook) in gone.hooks.iter().enumerate() {
            if !new.contains_key(&hook.function) {
                let moved = HookMove {
                    function: hook.function,
                    from: Some((Who::Installed(at), index as u32)),
                    to: None,
                };
                push(&mut plan.hooks, moved)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refcount::RefCount;

    #[test]
    fn a_count_is_refused_one_user_before_it_would_stick() {
        let mut patch = Patch::new(Name::cut("A"));
        patch.push_state(State::new(1, Name::cut("s"))).unwrap();
        let mut installed = Installed::new(0);
        installed.make_room(&patch, 0).unwrap();
        let mut with = |users| {
            if let Some(slot) = installed.slots.get_mut(&1) {
                slot.count = RefCount::from_parts(Phase::Active, users, 0);
            }
            enable(&installed, &patch)
        };
        assert!(with(USERS_MAX - 2).is_ok());
        for users in [USERS_MAX - 1, USERS_MAX] {
            let refusal = with(users).unwrap_err();
            let full = Refusal::TooManyUsers {
                state: 1,
                patch: patch.name,
            };
            assert_eq!(refusal, full);
            assert_eq!(refusal.errno(), crate::Errno::EOVERFLOW);
        }
    }
}
