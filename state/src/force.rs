//! Transitions that are ended by force, and what has to wait for it.
//!
//! A transition that stalls forever can be forced: the switch counts as done
//! although someone still runs the other code. From then on nothing of the
//! patches that went away can be known to be unused, so under
//! [`Rules::Umbra`](crate::Rules::Umbra) (S5, D8):
//!
//! - their code is *pinned* ([`Installed::pinned`](crate::Installed::pinned)):
//!   no [`Event::Removed`] says that it may be unloaded (R92);
//! - a pinned patch that may run has all of its states in use, not only those
//!   that it was the last user of. A state whose last enabled user goes while a
//!   pinned one has it is in *quarantine*, in whichever transition that is:
//!   neither `post_unpatch` nor its shadows' destructors run, for both take for
//!   granted that nobody runs the code. Its gate is closed;
//! - the patch that owes the clean-up is pinned until it has run, for it is its
//!   `post_unpatch` and its destructor;
//! - a patch that names a state in quarantine is refused until it is clean.
//!
//! ```text
//!   A{1} --forced replace--> B{1} --disable--> (none)        A left --settle-->
//!   A pinned, 1 active by B  |  A, B pinned, 1 in quarantine  |  B's clean-up,
//!   A uses 1                 |  A uses 1, B owes it           |  both gone
//! ```
//! [`Engine::settle`] asks the host which pinned patches are quiescent, and
//! makes up for what is owed and no longer used. A host that cannot tell keeps
//! them for good, which leaks and is safe.

use crate::event::{Direction, Event, Reason};
use crate::host::Host;
use crate::installed::{Installed, Pinned, Slots};
use crate::patch::Callback;
use crate::plan::Op;
use crate::refcount::Phase;
use crate::rules;
use crate::stage::Inside;
use crate::steps::{Transition, forward};
use crate::transition::{Cause, Engine, NotReversible};
use core::fmt;

/// Why a transition cannot be forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForceable {
    /// None is running.
    Idle,
    /// It does not wait for running code.
    NotStalled,
}

impl fmt::Display for NotForceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "no transition is running, so there is nothing to force",
            Self::NotStalled => "the transition does not wait for anything; let it run",
        })
    }
}

impl core::error::Error for NotForceable {}

impl Engine {
    /// Ends the switch that the running transition waits for, in whichever
    /// direction it goes; [`Engine::run`] then goes on. Forgotten if the
    /// transition is turned round before.
    ///
    /// # Errors
    /// [`NotForceable`]; nothing changed.
    pub fn force<H: Host>(&mut self, host: &mut H) -> Result<Direction, NotForceable> {
        let direction = self.direction().ok_or(NotForceable::Idle)?;
        let transition = self.transition.as_mut().ok_or(NotForceable::Idle)?;
        if !transition.switching {
            return Err(NotForceable::NotStalled);
        }
        transition.force = true;
        host.event(&Event::Forced(direction));
        Ok(direction)
    }

    /// Asks the host which pinned patches are quiescent, runs the clean-ups that
    /// waited for them, and lets go of the patches that are needed no more. Says
    /// how many those were. Does nothing during a transition, and nothing under
    /// the old rules, which pin for good. May sleep.
    pub fn settle<H: Host>(&mut self, host: &mut H) -> usize {
        if self.transition.is_some() || !self.rules.ours() {
            return 0;
        }
        let Installed { pinned, slots, .. } = &mut self.installed;
        let settling = &mut self.settling;
        // One that was begun and not ended, for the host panicked, comes first.
        if settling.inside.is_begun()
            && let Some(one) = pinned.iter_mut().find(|p| p.ticket == settling.ticket)
        {
            clean_up(one, settling.index, slots, settling, host);
        }
        for one in pinned.iter_mut().filter(|p| p.may_run) {
            if host.quiescent(&one.patch) {
                one.may_run = false;
                for state in &one.patch.states {
                    if let Some(slot) = slots.get_mut(&state.id) {
                        slot.pins = slot.pins.saturating_sub(1);
                    }
                }
            }
        }
        for one in pinned.iter_mut().filter(|p| p.owes > 0) {
            let count = one.patch.states.len();
            for at in 0..count {
                // An enable is undone from its end, a disable done from its front.
                let at = if one.undone { count - 1 - at } else { at };
                clean_up(one, at, slots, settling, host);
            }
        }
        // Also where no patch goes yet: the states that are clean may begin anew.
        if settling.freed || pinned.iter().any(Pinned::is_free) {
            host.barrier();
            settling.freed = false;
        }
        let mut settled = 0;
        while let Some(at) = pinned.iter().position(Pinned::is_free) {
            let gone = pinned.remove(at);
            settled += 1;
            host.event(&Event::Removed(&gone.patch));
        }
        settled
    }
}

/// The clean-up that is being made up for, in case the host panics in it, and
/// whether its destructors are still to be waited for.
#[derive(Debug)]
pub(crate) struct Settling {
    ticket: u64,
    index: usize,
    inside: Inside,
    /// Shadows were freed, and no barrier has waited for their destructors yet.
    /// Outlives the clean-up: a state's next life begins after that barrier.
    pub(crate) freed: bool,
}

impl Settling {
    pub(crate) const NONE: Self = Self {
        ticket: 0,
        index: 0,
        inside: Inside::FRESH,
        freed: false,
    };
}

/// Makes up for the clean-up of one state, if the patch owes it and nobody uses
/// it any more.
fn clean_up<H: Host>(
    one: &mut Pinned,
    index: usize,
    slots: &mut Slots,
    settling: &mut Settling,
    host: &mut H,
) {
    let Some((state, slot)) = one
        .patch
        .states
        .get(index)
        .and_then(|state| Some((state, slots.get_mut(&state.id)?)))
    else {
        return;
    };
    if slot.owed != one.ticket || slot.pins > 0 {
        return;
    }
    settling.ticket = one.ticket;
    settling.index = index;
    let of = (&one.patch, state);
    let inside = &mut settling.inside;
    let _ = inside.call(of, Callback::PostUnpatch, Reason::Forced, host);
    // Before the call, which may panic after it has freed.
    settling.freed |= state.is_shadow;
    inside.free(&one.patch, state, host);
    let ended = match slot.count.load().phase() {
        Phase::Enabling => slot.count.abort(),
        _ => slot.count.retire(),
    };
    debug_assert!(ended.is_ok(), "{ended:?}");
    slot.owed = 0;
    one.owes = one.owes.saturating_sub(1);
    *settling = Settling {
        freed: settling.freed,
        ..Settling::NONE
    };
}

impl Transition {
    /// Whether a transition that goes forward may be turned round.
    pub(crate) fn may_turn_back(&self) -> Result<(), NotReversible> {
        if self.next > self.plan.switch_at {
            return Err(NotReversible::TooLate);
        }
        if let (rules::Rules::V1, Some(incoming)) = (self.rules, &self.incoming)
            && let Some(blocked) = incoming.states.iter().find(|state| state.block_disable)
        {
            return Err(NotReversible::Blocked { state: blocked.id });
        }
        Ok(())
    }

    /// Turns round a transition that goes forward. A step that a panic ended is
    /// brought to its end first, or its counterpart would be left out.
    pub(crate) fn take_back<H: Host>(
        &mut self,
        cause: Cause,
        installed: &Installed,
        host: &mut H,
    ) -> Result<(), NotReversible> {
        self.may_turn_back()?;
        self.force = false;
        let begun = self.plan.steps.get(self.next).copied();
        if let Some(step) = begun.filter(|step| step.op != Op::Switch)
            && self.inside.is_begun()
        {
            forward(installed, self, step, host);
        }
        self.inside = Inside::FRESH;
        // Unless that step has failed, and is why it goes back.
        if self.cause.is_none() {
            self.turn_back(cause);
        }
        // A switch that has begun is a step to be undone.
        self.next += usize::from(self.switching);
        Ok(())
    }
}
