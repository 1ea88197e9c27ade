//! What a transition reports while it runs: tracepoints, timelines, tests.
//!
//! An event has no time, for the engine has no clock: whoever listens is called
//! at that moment and has one (the kernel's log, the timeline's `t_us`).

use crate::name::Name;
use crate::patch::{Callback, Difference, Object, Patch, State};
use crate::refusal::Refusal;
use core::fmt;

/// An error number of the host: negative, as the kernel's functions return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Not permitted.
    pub const EPERM: Self = Self(-1);
    /// No such thing.
    pub const ENOENT: Self = Self(-2);
    /// No memory.
    pub const ENOMEM: Self = Self(-12);
    /// A callback panicked.
    pub const PANICKED: Self = Self(-130);
    /// In use by someone else.
    pub const EBUSY: Self = Self(-16);
    /// There already.
    pub const EEXIST: Self = Self(-17);
    /// Does not make sense.
    pub const EINVAL: Self = Self(-22);
    /// Too many of them.
    pub const EOVERFLOW: Self = Self(-75);
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::EPERM => "EPERM",
            Self::ENOENT => "ENOENT",
            Self::ENOMEM => "ENOMEM",
            Self::PANICKED => "EOWNERDEAD",
            Self::EBUSY => "EBUSY",
            Self::EEXIST => "EEXIST",
            Self::EINVAL => "EINVAL",
            Self::EOVERFLOW => "EOVERFLOW",
            Self(other) => return write!(f, "{other}"),
        };
        write!(f, "{} ({name})", self.0)
    }
}

/// Why a callback is called, which it may want to know: undoing an enable that
/// failed is not the same as taking down what ran for a year (R83).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// A patch is being enabled beside those that are there.
    Enable = 0,
    /// A patch is being disabled.
    Disable = 1,
    /// A patch is being enabled in place of those that are there.
    Replace = 2,
    /// A transition is being taken back because someone asked.
    Reverse = 3,
    /// A transition is being taken back because a step of it failed.
    Failed = 4,
    /// The clean-up that a forced transition had to put off is made up for.
    Forced = 5,
}

impl Reason {
    /// One lower-case word, for reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Replace => "replace",
            Self::Reverse => "reverse",
            Self::Failed => "failed",
            Self::Forced => "forced",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which way a transition is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards what was asked for.
    Forward,
    /// Back to what was before.
    Back,
}

/// Something that happened. Borrowed: a host that keeps it copies what it needs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request was refused; nothing else happened.
    Refused(&'a Refusal),
    /// A transition began for this patch.
    Begun(&'a Patch, Reason),
    /// A callback returned.
    Called {
        /// Whose callback.
        patch: &'a Patch,
        /// The state it belongs to.
        state: &'a State,
        /// Which one.
        callback: Callback,
        /// Why.
        reason: Reason,
        /// What it returned; only a `pre_patch` can fail.
        result: Result<(), Errno>,
    },
    /// A callback of an object returned; [`Rules::Mainline`](crate::Rules) only.
    ObjectCalled {
        /// Whose callback.
        patch: &'a Patch,
        /// The object it belongs to.
        object: &'a Object,
        /// Which one.
        callback: Callback,
        /// Why.
        reason: Reason,
        /// What it returned; only a `pre_patch` can fail.
        result: Result<(), Errno>,
    },
    /// A patch that is being enabled describes a state of it differently from
    /// the enabled patch of this name; that is allowed.
    Disagrees {
        /// The patch.
        patch: &'a Patch,
        /// Its state.
        state: &'a State,
        /// The patch that has it too.
        other: Name,
        /// In what they differ.
        what: Difference,
    },
    /// The patch took or gave back a share of a state that others have too; so
    /// many use it now. Nothing is called for that.
    Users(&'a Patch, &'a State, u32),
    /// The gate of this state opened (true) or closed.
    Gate(&'a State, bool),
    /// The shadow variables of this state were handed to reclamation.
    Freed(&'a Patch, &'a State),
    /// The switch of running code began, in this direction.
    Switching(Direction),
    /// The switch waits for someone who still runs the other code.
    Stalled(Direction),
    /// The switch is complete.
    Switched(Direction),
    /// The switch failed and was undone by the host.
    SwitchFailed(Errno),
    /// The switch was ended by force while running code was not over.
    Forced(Direction),
    /// The state's clean-up, which this patch owes, waits until nothing can run
    /// code that uses the state.
    Quarantined(&'a Patch, &'a State),
    /// This patch is no longer enabled, but its code may still run, or it owes a
    /// clean-up that waits for another one's.
    Pinned(&'a Patch),
    /// The transition changed its direction at someone's request.
    Reversed(Direction),
    /// This patch is no longer installed, and nothing of it is called again.
    Removed(&'a Patch),
    /// The transition is over: the request was carried out (true), or all of it
    /// was taken back. With the name of the patch it was about.
    Ended(Name, bool),
}
