//! The state callbacks that were proposed for Linux in January 2025.
//!
//! Whether a callback of a state runs is asked of the list of patches each
//! time: it does if no other patch in the list has the state. While a patch
//! replaces others, it and they are all in the list. From this one question
//! come the defects that D1 and D6 name, and a plan that costs the number of
//! patches times that of states (R9).

use super::{c_states, check_enabled, check_name, drop_hooks, exchange_hooks, leaving, replaces};
use crate::installed::Installed;
use crate::patch::{Patch, State};
use crate::plan::{Op, Plan, Who};
use crate::refusal::{OldRule, Refusal};

/// Whether another patch of the list than `patch` has the state.
fn in_other(installed: &Installed, patch: &Patch, state: &State) -> bool {
    let other = |p: &&Patch| p.name != patch.name;
    let mut others = installed.patches.iter().filter(other);
    others.any(|p| c_states(p).any(|(_, s)| s.id == state.id))
}

pub(crate) fn enable(installed: &Installed, patch: &Patch) -> Result<Plan, Refusal> {
    check_name(installed, patch)?;
    let has = |id| c_states(patch).any(|(_, s)| s.id == id);
    let mut plan = Plan::empty();
    plan.incoming = true;
    if replaces(patch) {
        plan.leaving = 0..installed.patches.len();
    }
    for (_, old) in leaving(installed, &plan) {
        for (_, state) in c_states(old) {
            if state.block_disable && !has(state.id) {
                return Err(Refusal::Blocked {
                    state: state.id,
                    name: state.name,
                    by: old.name,
                    replacement: Some(patch.name),
                });
            }
        }
    }
    for (index, state) in c_states(patch) {
        let op = match in_other(installed, patch, state) {
            false => Op::PrePatch,
            true if replaces(patch) => Op::Inherit,
            true => Op::Share,
        };
        plan.step(op, Who::Incoming, index, state)?;
    }
    for at in plan.leaving.clone() {
        let Some(old) = installed.patches.get(at) else {
            continue;
        };
        for (index, state) in c_states(old) {
            let used = has(state.id) || in_other(installed, old, state);
            let op = if used { Op::Unshare } else { Op::PreUnpatch };
            plan.step(op, Who::Installed(at as u32), index, state)?;
        }
    }
    exchange_hooks(installed, patch, &mut plan)?;
    plan.finish(installed, Some(patch))?;
    Ok(plan)
}

pub(crate) fn disable(installed: &Installed, name: &str) -> Result<Plan, Refusal> {
    let at = check_enabled(installed, name)?;
    let mut plan = Plan::empty();
    plan.leaving = at..at + 1;
    if let Some(patch) = installed.patches.get(at) {
        if let Some(rule) = blocked(patch) {
            return Err(Refusal::OldRules {
                patch: patch.name,
                rule,
            });
        }
        for (index, state) in c_states(patch) {
            let used = in_other(installed, patch, state);
            let op = if used { Op::Unshare } else { Op::PreUnpatch };
            plan.step(op, Who::Installed(at as u32), index, state)?;
        }
    }
    drop_hooks(installed, &mut plan)?;
    plan.finish(installed, None)?;
    Ok(plan)
}

/// Why this patch is never disabled: any blocked state will do (D5, D6).
pub(crate) fn blocked(patch: &Patch) -> Option<OldRule> {
    c_states(patch)
        .find(|(_, state)| state.block_disable)
        .map(|(_, state)| OldRule::Blocked {
            state: state.id,
            name: state.name,
        })
}
