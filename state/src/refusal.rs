//! Why a request cannot be carried out, and what can be done about it.
//!
//! A refusal is decided before anything happens, so it changes nothing (S3). It
//! names the state, both patches and the rule, and its sentence ends with the
//! way out.

use crate::event::Errno;
use crate::force::NotForceable;
use crate::mem::OutOfMemory;
use crate::name::Name;
use crate::patch::{Difference, STATE_ID_MAX};
use crate::transition::NotReversible;
use core::fmt;

/// A request that was refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A state has the id 0.
    ZeroId {
        /// The patch that has it.
        patch: Name,
        /// The name of the state.
        name: Name,
        /// Which of its states, from 0.
        index: usize,
    },
    /// A state's id does not fit into 32 bits.
    IdTooLarge {
        /// The patch that has it.
        patch: Name,
        /// The id.
        state: u64,
    },
    /// A patch names one id twice.
    DuplicateId {
        /// The patch that does.
        patch: Name,
        /// The id.
        state: u64,
        /// The names under which it does, in order.
        names: [Name; 2],
    },
    /// Two patches call one state differently, so they mean different ones.
    NamesDisagree {
        /// The id.
        state: u64,
        /// The patch asked for, and what it calls the state.
        patch: (Name, Name),
        /// A patch that is enabled, and what it calls the state.
        other: (Name, Name),
    },
    /// Two patches disagree on whether shadow variables belong to the state.
    ShadowsDisagree {
        /// The id.
        state: u64,
        /// The state's name.
        name: Name,
        /// The patch asked for, and whether its `is_shadow` is set.
        patch: (Name, bool),
        /// A patch that is enabled; its `is_shadow` is the opposite.
        other: Name,
    },
    /// A state has a destructor for shadow variables that do not belong to it.
    DtorWithoutShadow {
        /// The patch that has it.
        patch: Name,
        /// The id.
        state: u64,
        /// The state's name.
        name: Name,
    },
    /// A hook names a state that its patch does not have.
    HookWithoutState {
        /// The patch that has it.
        patch: Name,
        /// The function to hook.
        function: Name,
        /// The id it names.
        state: u64,
    },
    /// A hook has no function: its address is null.
    NullFunction {
        /// The patch that has it.
        patch: Name,
        /// What the hook is called.
        function: Name,
        /// Which of its hooks, from 0.
        index: usize,
    },
    /// A function is hooked already.
    FunctionTaken {
        /// The patch asked for.
        patch: Name,
        /// The function.
        function: Name,
        /// Who hooked it: another patch, or the same one by an earlier hook.
        other: Name,
    },
    /// A patch of this name is enabled.
    AlreadyEnabled {
        /// The name.
        patch: Name,
    },
    /// No patch of this name is enabled.
    NotEnabled {
        /// The name, cut if it was too long for one.
        patch: Name,
    },
    /// A state that cannot be undone would lose its last user.
    Blocked {
        /// The id.
        state: u64,
        /// The state's name.
        name: Name,
        /// The enabled patch whose `block_disable` forbids it.
        by: Name,
        /// The patch that would replace it without supporting the state; none
        /// when it was asked to be disabled.
        replacement: Option<Name>,
    },
    /// As many patches use the state as can be counted.
    TooManyUsers {
        /// The id.
        state: u64,
        /// The patch asked for.
        patch: Name,
    },
    /// Another transition is running.
    TransitionRunning {
        /// The patch that is being enabled or disabled.
        patch: Name,
    },
    /// Two patches describe one state differently, and that is to be refused.
    DescriptorsDisagree {
        /// The id.
        state: u64,
        /// The state's name.
        name: Name,
        /// The patch asked for.
        patch: Name,
        /// A patch that is enabled.
        other: Name,
        /// In what they differ.
        what: Difference,
    },
    /// Two patches of different sets have a state in common.
    SetsOverlap {
        /// The id.
        state: u64,
        /// The state's name.
        name: Name,
        /// The patch asked for, and its set.
        patch: (Name, u32),
        /// A patch that is enabled, and its set.
        other: (Name, u32),
    },
    /// A state's clean-up waits since a forced transition.
    Quarantined {
        /// The patch asked for.
        patch: Name,
        /// The id.
        state: u64,
        /// The state's name.
        name: Name,
        /// The patch whose code may still run.
        by: Name,
    },
    /// A patch of this name is gone and still needed since a forced transition:
    /// its code may still run, or it owes a clean-up that waits.
    Pinned {
        /// The name.
        patch: Name,
    },
    /// A patch of this name is registered.
    AlreadyRegistered {
        /// The name.
        patch: Name,
    },
    /// No patch of this name is registered.
    NotRegistered {
        /// The name, cut if it was too long for one.
        patch: Name,
    },
    /// An enabled patch cannot be unregistered.
    StillEnabled {
        /// The name.
        patch: Name,
    },
    /// A later patch is enabled, and order is to be kept.
    NotOnTop {
        /// The patch to be disabled.
        patch: Name,
        /// The latest one.
        top: Name,
    },
    /// The rules of `v1` or `mainline` forbid it.
    OldRules {
        /// The patch asked for.
        patch: Name,
        /// Which of them.
        rule: OldRule,
    },
    /// The running transition, if there is one, cannot be turned round.
    NotReversible(NotReversible),
    /// The running transition, if there is one, cannot be forced.
    NotForceable(NotForceable),
    /// There is no memory for the plan.
    OutOfMemory,
}

/// A reason to refuse that [`Rules::Umbra`](crate::Rules::Umbra) does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OldRule {
    /// `v1`: a patch with any blocked state cannot be disabled.
    Blocked {
        /// The id.
        state: u64,
        /// The state's name.
        name: Name,
    },
    /// `mainline`: a replacing patch must have every state that is there.
    Misses {
        /// The id.
        state: u64,
        /// The state's name.
        name: Name,
        /// The enabled patch that has it.
        by: Name,
    },
    /// `mainline`: a state's version must not be older than that which is there.
    Older {
        /// The id.
        state: u64,
        /// The state's name.
        name: Name,
        /// The enabled patch that has it.
        by: Name,
        /// The version of the patch asked for, and that which is there.
        versions: (u32, u32),
    },
}

impl OldRule {
    const fn state(&self) -> u64 {
        match *self {
            Self::Blocked { state, .. }
            | Self::Misses { state, .. }
            | Self::Older { state, .. } => state,
        }
    }
}

impl fmt::Display for OldRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Blocked { state, name } => write!(
                f,
                "{} is marked block_disable, so it can only be forced",
                Which(state, name)
            ),
            Self::Misses { state, name, by } => write!(
                f,
                "it replaces patch {by} and does not have its {}; add the state",
                Which(state, name)
            ),
            Self::Older {
                state,
                name,
                by,
                versions: (ours, theirs),
            } => write!(
                f,
                "its {} has version {ours} and that of patch {by} has {theirs}; \
                 build it with a version of at least {theirs}",
                Which(state, name)
            ),
        }
    }
}

impl Refusal {
    /// The error number for a caller that can take no more than that.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::ZeroId { .. }
            | Self::IdTooLarge { .. }
            | Self::DuplicateId { .. }
            | Self::NamesDisagree { .. }
            | Self::ShadowsDisagree { .. }
            | Self::DtorWithoutShadow { .. }
            | Self::HookWithoutState { .. }
            | Self::NullFunction { .. }
            | Self::DescriptorsDisagree { .. }
            | Self::SetsOverlap { .. }
            | Self::OldRules { .. } => Errno::EINVAL,
            Self::FunctionTaken { .. }
            | Self::TransitionRunning { .. }
            | Self::Quarantined { .. }
            | Self::Pinned { .. }
            | Self::StillEnabled { .. }
            | Self::NotOnTop { .. } => Errno::EBUSY,
            Self::NotReversible(NotReversible::Idle) | Self::NotForceable(NotForceable::Idle) => {
                Errno::ENOENT
            }
            Self::NotReversible(_) | Self::NotForceable(_) => Errno::EBUSY,
            Self::AlreadyEnabled { .. } | Self::AlreadyRegistered { .. } => Errno::EEXIST,
            Self::NotEnabled { .. } | Self::NotRegistered { .. } => Errno::ENOENT,
            Self::Blocked { .. } => Errno::EPERM,
            Self::TooManyUsers { .. } => Errno::EOVERFLOW,
            Self::OutOfMemory => Errno::ENOMEM,
        }
    }

    /// The state that it is about, where it is about one.
    pub const fn state(&self) -> Option<u64> {
        match *self {
            Self::ZeroId { .. } => Some(0),
            Self::IdTooLarge { state, .. }
            | Self::DuplicateId { state, .. }
            | Self::NamesDisagree { state, .. }
            | Self::ShadowsDisagree { state, .. }
            | Self::DtorWithoutShadow { state, .. }
            | Self::HookWithoutState { state, .. }
            | Self::Blocked { state, .. }
            | Self::DescriptorsDisagree { state, .. }
            | Self::SetsOverlap { state, .. }
            | Self::Quarantined { state, .. }
            | Self::TooManyUsers { state, .. } => Some(state),
            Self::OldRules { rule, .. } => Some(rule.state()),
            Self::NotReversible(NotReversible::Blocked { state }) => Some(state),
            Self::FunctionTaken { .. }
            | Self::NullFunction { .. }
            | Self::Pinned { .. }
            | Self::AlreadyRegistered { .. }
            | Self::NotRegistered { .. }
            | Self::StillEnabled { .. }
            | Self::NotOnTop { .. }
            | Self::NotReversible(_)
            | Self::NotForceable(_)
            | Self::AlreadyEnabled { .. }
            | Self::NotEnabled { .. }
            | Self::TransitionRunning { .. }
            | Self::OutOfMemory => None,
        }
    }
}

impl From<OutOfMemory> for Refusal {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// "state 3 (lru_lock)", or "state 3" if it has no name.
pub(crate) struct Which(pub(crate) u64, pub(crate) Name);

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id, name) = self;
        if *name == Name::EMPTY {
            write!(f, "state {id}")
        } else {
            write!(f, "state {id} ({name})")
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroId { patch, name, index } => {
                write!(f, "patch {patch}: state number {} ", index + 1)?;
                if *name != Name::EMPTY {
                    write!(f, "({name}) ")?;
                }
                write!(
                    f,
                    "has the id 0, which names no state; give it an id from 1 on"
                )
            }
            Self::IdTooLarge { patch, state } => write!(
                f,
                "patch {patch}: the state id {state:#x} needs more than 32 bits; \
                 choose one up to {STATE_ID_MAX:#x}"
            ),
            Self::DuplicateId {
                patch,
                state,
                names: [a, b],
            } if a == b => write!(
                f,
                "patch {patch}: {} is listed twice; remove one of the two",
                Which(*state, *a)
            ),
            Self::DuplicateId {
                patch,
                state,
                names: [a, b],
            } => write!(
                f,
                "patch {patch}: the id {state} is listed twice, as {a:?} and as {b:?}; \
                 give one of them an id of its own"
            ),
            Self::NamesDisagree {
                state,
                patch,
                other,
            } => write!(
                f,
                "state {state} is {:?} in patch {} and {:?} in the enabled patch {}; one id \
                 means one change, so give the new state an id of its own or the same name",
                patch.1, patch.0, other.1, other.0
            ),
            Self::ShadowsDisagree {
                state,
                name,
                patch,
                other,
            } => write!(
                f,
                "{}: is_shadow is {} in patch {} and {} in the enabled patch {other}; \
                 whoever ends the state must know whether to free, so make them agree",
                Which(*state, *name),
                patch.1,
                patch.0,
                !patch.1
            ),
            Self::DtorWithoutShadow { patch, state, name } => write!(
                f,
                "patch {patch}: {} has a shadow_dtor but is_shadow is not set, so nothing \
                 would ever call it; set is_shadow or drop the shadow_dtor",
                Which(*state, *name)
            ),
            Self::HookWithoutState {
                patch,
                function,
                state,
            } => write!(
                f,
                "patch {patch}: the hook on {function} is decided by state {state}, which the \
                 patch does not have; add the state or name one of its own"
            ),
            Self::NullFunction {
                patch,
                function,
                index,
            } => write!(
                f,
                "patch {patch}: hook number {} ({function}) has no function; resolve the address \
                 before the patch is enabled",
                index + 1
            ),
            Self::FunctionTaken {
                patch,
                function,
                other,
            } if patch == other => write!(
                f,
                "patch {patch}: it hooks {function} twice; a function has one hook, so merge them"
            ),
            Self::FunctionTaken {
                patch,
                function,
                other,
            } => write!(
                f,
                "patch {patch}: {function} is hooked by the enabled patch {other}; disable \
                 that one first, or let {patch} replace it"
            ),
            Self::AlreadyEnabled { patch } => {
                write!(
                    f,
                    "patch {patch} is enabled already; disable it first to enable it anew"
                )
            }
            Self::NotEnabled { patch } => {
                write!(
                    f,
                    "patch {patch} is not enabled, so there is nothing to disable"
                )
            }
            Self::Blocked {
                state,
                name,
                by,
                replacement: None,
            } => write!(
                f,
                "patch {by} cannot be disabled: its {} is marked block_disable and no other \
                 enabled patch has it; replace {by} by a patch that supports the state",
                Which(*state, *name)
            ),
            Self::Blocked {
                state,
                name,
                by,
                replacement: Some(patch),
            } => write!(
                f,
                "patch {patch} cannot replace patch {by}: {} of {by} is marked block_disable \
                 and {patch} does not support it; add the state to {patch}",
                Which(*state, *name)
            ),
            Self::TooManyUsers { state, patch } => write!(
                f,
                "patch {patch}: as many patches as can be counted use state {state}; disable \
                 some of them, or replace them by one"
            ),
            Self::TransitionRunning { patch } => write!(
                f,
                "the transition of patch {patch} is still running; wait until it has \
                 completed, or reverse it"
            ),
            Self::DescriptorsDisagree {
                state,
                name,
                patch,
                other,
                what,
            } => write!(
                f,
                "{}: {what} differs between patch {patch} and the enabled patch {other}; make \
                 them agree, give one state an id of its own, or allow it by not asking for \
                 strict checks (umbra check without --strict)",
                Which(*state, *name)
            ),
            Self::SetsOverlap {
                state,
                name,
                patch,
                other,
            } => write!(
                f,
                "{} is of patch {} in set {} and of the enabled patch {} in set {}; sets share \
                 no states, so put both patches into one set",
                Which(*state, *name),
                patch.0,
                patch.1,
                other.0,
                other.1
            ),
            Self::Quarantined {
                patch,
                state,
                name,
                by,
            } => write!(
                f,
                "patch {patch}: {} is in quarantine since patch {by} was taken away by force, \
                 and code of it may still run; wait until it does not",
                Which(*state, *name)
            ),
            Self::Pinned { patch } => write!(
                f,
                "patch {patch} is pinned since a transition was forced: its code may still run, \
                 or a clean-up of it waits; wait until that is over, or use another name"
            ),
            Self::AlreadyRegistered { patch } => write!(
                f,
                "patch {patch} is registered already; enable it, or unregister it first"
            ),
            Self::NotRegistered { patch } => write!(
                f,
                "patch {patch} is not registered, so there is nothing to forget or enable"
            ),
            Self::StillEnabled { patch } => write!(
                f,
                "patch {patch} is enabled and cannot be unregistered; disable it, which \
                 forgets it too"
            ),
            Self::NotOnTop { patch, top } => write!(
                f,
                "patch {patch} is not the latest: {top} was enabled after it; disable that \
                 one first, or allow it by not asking for \
                 strict checks (umbra check without --strict)"
            ),
            Self::OldRules { patch, rule } => write!(f, "patch {patch}: {rule}"),
            Self::NotReversible(why) => fmt::Display::fmt(why, f),
            Self::NotForceable(why) => fmt::Display::fmt(why, f),
            Self::OutOfMemory => f.write_str("out of memory for the plan; nothing was changed"),
        }
    }
}

impl core::error::Error for Refusal {}
