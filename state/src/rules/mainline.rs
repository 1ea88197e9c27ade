//! Linux as it is: callbacks of objects, versions of states.
//!
//! A state is an id and a version. It decides which patch may come, and a
//! callback may ask for it (`klp_get_state()`, `klp_get_prev_state()`); nothing
//! is called or freed on its behalf. The callbacks are those of the objects
//! (the kernel itself, or a module) that the patch being enabled or disabled
//! changes. Those of a patch that is replaced are not called (R93), so what it
//! made stays unless the new one undoes it (R94).

use super::{c_states, check_enabled, check_name, drop_hooks, exchange_hooks, replaces};
use crate::installed::Installed;
use crate::patch::{Object, Patch};
use crate::plan::{Op, Plan, Who};
use crate::refusal::{OldRule, Refusal};

fn loaded(patch: &Patch) -> impl Iterator<Item = (usize, &Object)> {
    patch.objects.iter().enumerate().filter(|(_, o)| o.loaded)
}

pub(crate) fn enable(installed: &Installed, patch: &Patch) -> Result<Plan, Refusal> {
    check_name(installed, patch)?;
    compatible(installed, patch)?;
    let mut plan = Plan::empty();
    plan.incoming = true;
    if replaces(patch) {
        plan.leaving = 0..installed.patches.len();
    }
    for (index, object) in loaded(patch) {
        plan.object(Op::PrePatch, Who::Incoming, index, object)?;
        plan.object(Op::PatchObject, Who::Incoming, index, object)?;
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
        for (index, object) in loaded(patch) {
            plan.object(Op::PreUnpatch, Who::Installed(at as u32), index, object)?;
        }
    }
    drop_hooks(installed, &mut plan)?;
    plan.finish(installed, None)?;
    Ok(plan)
}

/// `klp_is_patch_compatible()`: a replacing patch has every state that is there,
/// and no patch has one in an older version than that which is there.
fn compatible(installed: &Installed, patch: &Patch) -> Result<(), Refusal> {
    for old in &installed.patches {
        for (_, theirs) in c_states(old) {
            let ours = c_states(patch).find(|(_, state)| state.id == theirs.id);
            let rule = match ours {
                None if replaces(patch) => OldRule::Misses {
                    state: theirs.id,
                    name: theirs.name,
                    by: old.name,
                },
                Some((_, ours)) if ours.version < theirs.version => OldRule::Older {
                    state: theirs.id,
                    name: theirs.name,
                    by: old.name,
                    versions: (ours.version, theirs.version),
                },
                _ => continue,
            };
            return Err(Refusal::OldRules {
                patch: patch.name,
                rule,
            });
        }
    }
    Ok(())
}
