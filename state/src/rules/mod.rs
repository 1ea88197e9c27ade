//! Three sets of rules for the same requests.
//!
//! [`Rules::Umbra`] is what we ship. The other two say in running code what
//! exists, its defects included, so that a difference can be shown instead of
//! claimed; `umbra compare` prints it.
//!
//! | | `umbra` | `v1` | `mainline` |
//! |---|---|---|---|
//! | callbacks belong to | the state | the state | the patched object |
//! | a state is in use by | its count | whoever a scan of the list finds | nobody: it is a version number |
//! | a replaced patch | unpatches what the new one drops | the same, unless two of them share it (D1) | is not called at all (R93) |
//! | a failing `pre_patch` is undone | backwards, its shadows too | forwards, its shadows stay (D4) | forwards |
//! | duplicate ids | refused | run twice (D7) | the first one counts |
//! | `block_disable` | holds for the last user | forbids more (D5, D6) | is not known |
//! | after a forced transition | clean-up waits in quarantine | cleans up at once (D8) | cleans up at once |
//! | shadows of a state | freed with it | freed with it | the author's own affair |
//!
//! `v1` is the unmerged series of January 2025, `mainline` is Linux 6.1 to 7.x.
//! Both read a patch's states up to the first one with the id 0, as their C does,
//! and check nothing of what `umbra` refuses in a descriptor. What they say of a
//! patch that targets a module which comes in the middle of a transition is not
//! modelled.

pub(crate) mod mainline;
pub(crate) mod umbra;
pub(crate) mod v1;

use crate::installed::Installed;
use crate::mem::push;
use crate::name::Name;
use crate::patch::{Patch, Replace, State};
use crate::plan::{HookMove, Plan, Who};
use crate::refusal::Refusal;
use core::fmt;

/// Which rules to plan by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rules {
    /// Those of the requirements.
    #[default]
    Umbra,
    /// Those of the state callbacks that were proposed in January 2025.
    V1,
    /// Those of Linux as it is: per-object callbacks, versions of states.
    Mainline,
}

impl Rules {
    /// All of them, ours first.
    pub const ALL: [Self; 3] = [Self::Umbra, Self::V1, Self::Mainline];

    /// The name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Umbra => "umbra",
            Self::V1 => "v1",
            Self::Mainline => "mainline",
        }
    }

    /// Whether states are counted, gated and quarantined.
    pub(crate) const fn ours(self) -> bool {
        matches!(self, Self::Umbra)
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What becomes of descriptors of one state that differ in what both may have
/// meant (see [`Fingerprint`](crate::patch::Fingerprint)), and of a patch that
/// is disabled while a later one is enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// They are reported, and allowed.
    #[default]
    Compat,
    /// They are refused.
    Strict,
}

/// Nothing that is there has the patch's name.
pub(crate) fn check_name(installed: &Installed, patch: &Patch) -> Result<(), Refusal> {
    if installed.place(patch.name).is_some() {
        return Err(Refusal::AlreadyEnabled { patch: patch.name });
    }
    if installed.is_pinned(patch.name) {
        return Err(Refusal::Pinned { patch: patch.name });
    }
    Ok(())
}

/// Where the enabled patch of this name is.
pub(crate) fn check_enabled(installed: &Installed, name: &str) -> Result<usize, Refusal> {
    installed.position(name).ok_or_else(|| Refusal::NotEnabled {
        patch: Name::cut(name),
    })
}

/// Nothing happens but that the patch is forgotten.
pub(crate) fn unregister(installed: &Installed, name: &str) -> Result<Plan, Refusal> {
    let patch = Name::cut(name);
    if installed.position(name).is_some() {
        return Err(Refusal::StillEnabled { patch });
    }
    if Name::new(name).is_ok_and(|name| installed.is_pinned(name)) {
        return Err(Refusal::Pinned { patch });
    }
    if installed.registered_at(name).is_none() {
        return Err(Refusal::NotRegistered { patch });
    }
    Ok(Plan::empty())
}

/// The states of a patch as a loop in C finds them: up to the first id 0.
pub(crate) fn c_states(patch: &Patch) -> impl Iterator<Item = (usize, &State)> {
    patch
        .states
        .iter()
        .enumerate()
        .take_while(|(_, state)| state.id != 0)
}

/// Any patch of the old rules replaces all or none.
pub(crate) fn replaces(patch: &Patch) -> bool {
    patch.replace != Replace::Nothing
}

/// All hooks of the patches that leave are dropped.
pub(crate) fn drop_hooks(installed: &Installed, plan: &mut Plan) -> Result<(), Refusal> {
    for (at, gone) in leaving(installed, plan) {
        for (index, hook) in gone.hooks.iter().enumerate() {
            let moved = HookMove {
                function: hook.function,
                from: Some((Who::Installed(at), index as u32)),
                to: None,
            };
            push(&mut plan.hooks, moved)?;
        }
    }
    Ok(())
}

/// All hooks of `patch` are added; those that it replaces are dropped. In the
/// old rules a function may have any number of them, and the last one counts.
pub(crate) fn exchange_hooks(
    installed: &Installed,
    patch: &Patch,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    drop_hooks(installed, plan)?;
    for (index, hook) in patch.hooks.iter().enumerate() {
        let moved = HookMove {
            function: hook.function,
            from: None,
            to: Some((Who::Incoming, index as u32)),
        };
        push(&mut plan.hooks, moved)?;
    }
    Ok(())
}

/// The patches that the plan takes away, with their positions.
pub(crate) fn leaving<'a>(
    installed: &'a Installed,
    plan: &Plan,
) -> impl Iterator<Item = (u32, &'a Patch)> + use<'a> {
    let range = plan.leaving.clone();
    let patches = installed.patches.get(range.clone()).unwrap_or(&[]);
    (range.start as u32..).zip(patches)
}
