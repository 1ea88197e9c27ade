//! Transitions that are ended by force, and what has to wait for it.
//!
//! A transition that stalls forever can be forced: the switch counts as done
//! although someone still runs the other code. From then on nothing of the
//! patches that went away can be known to be unused, so under
//! [`Rules::Umbra`](crate::Rules::Umbra) (S5, D8):
//!
//! - their code is *pinned* ([`Installed::pinned`](crate::Installed::pinned)):
//!   no [`Event::Removed`] says that it may be unloaded (R92);
//! - the states whose last user went are in *quarantine*: neither `post_unpatch`
//!   nor their shadows' destructors run, for both take for granted that nobody
//!   runs the code. The gates are closed, so no new user comes;
//! - a patch that names such a state is refused until it is clean.
//!
//! [`Engine::settle`] asks the host which pinned patches are quiescent, and
//! makes up for what they owe. A host that cannot tell keeps them for good,
//! which leaks and is safe.

use crate::event::{Direction, Event, Reason};
use crate::host::Host;
use crate::patch::{Callback, Patch};
use crate::plan::{Op, Part, Who};
use crate::refcount::Phase;
use crate::rules;
use crate::steps::Transition;
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
    /// direction it goes; [`Engine::run`] then goes on.
    ///
    /// # Errors
    /// [`NotForceable`]; nothing changed.
    pub fn force<H: Host>(&mut self, host: &mut H) -> Result<Direction, NotForceable> {
        let direction = self.direction().ok_or(NotForceable::Idle)?;
        let transition = self.transition.as_mut().ok_or(NotForceable::Idle)?;
        if !transition.switching {
            return Err(NotForceable::NotStalled);
        }
        transition.forced = true;
        host.event(&Event::Forced(direction));
        Ok(direction)
    }

    /// Cleans up after every pinned patch that the host calls quiescent, and
    /// lets it go. Says how many that were. Does nothing during a transition,
    /// and nothing under the old rules, which pin for good. May sleep.
    pub fn settle<H: Host>(&mut self, host: &mut H) -> usize {
        if self.transition.is_some() || !self.rules.ours() {
            return 0;
        }
        let mut settled = 0;
        // One that was begun and not ended, for its callback panicked, was
        // quiescent then, and nobody can have come since.
        if let Some(at) = self.settling {
            self.let_go(at, host);
            settled += 1;
        }
        let mut at = 0;
        while let Some(patch) = self.installed.pinned.get(at) {
            if host.quiescent(patch) {
                self.let_go(at, host);
                settled += 1;
            } else {
                at += 1;
            }
        }
        settled
    }

    fn let_go<H: Host>(&mut self, at: usize, host: &mut H) {
        self.clean_up(at, host);
        host.barrier();
        if at < self.installed.pinned.len() {
            let patch = self.installed.pinned.remove(at);
            host.event(&Event::Removed(&patch));
        }
    }

    /// Makes up for all that the pinned patch at `at` owes.
    fn clean_up<H: Host>(&mut self, at: usize, host: &mut H) {
        while let Some(patch) = self.installed.pinned.get_mut(at) {
            let Some(&state) = patch.states.last() else {
                break;
            };
            let (callback, reason) = (Callback::PostUnpatch, Reason::Forced);
            let panicked = self.settling.replace(at).is_some();
            if state.callbacks.contains(callback) && !panicked {
                let result = host.call(patch, &state, callback, reason);
                host.event(&Event::Called {
                    patch,
                    state: &state,
                    callback,
                    reason,
                    result,
                });
            }
            if state.is_shadow {
                host.free_shadows(patch, &state);
                host.event(&Event::Freed(patch, &state));
            }
            patch.states.pop();
            self.settling = None;
            if let Some(slot) = self.installed.slots.get(&state.id) {
                let ended = match slot.count.load().phase() {
                    Phase::Enabling => slot.count.abort(),
                    _ => slot.count.retire(),
                };
                debug_assert!(ended.is_ok(), "{ended:?}");
            }
        }
    }
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

    /// Turns round a transition that goes forward.
    pub(crate) fn take_back(&mut self, cause: Cause) -> Result<(), NotReversible> {
        self.may_turn_back()?;
        self.turn_back(cause);
        // A switch that has begun is a step to be undone.
        self.next += usize::from(self.switching);
        Ok(())
    }

    /// Leaves a patch that is pinned the states whose clean-up it owes, the
    /// next one last. In place: there may be no memory.
    pub(crate) fn keep_owed(&self, patch: &mut Patch, who: Who) {
        let op = match (self.rules.ours(), who) {
            (false, _) => return patch.states.clear(),
            (_, Who::Incoming) => Op::PrePatch,
            (_, Who::Installed(_)) => Op::PostUnpatch,
        };
        // Steps of one patch and one kind come in the order of its states.
        let mut owed = self
            .plan
            .steps
            .iter()
            .filter(|step| step.op == op && step.who == who)
            .filter_map(|step| match step.part {
                Part::State(index) => Some(index),
                Part::Object(_) => None,
            })
            .peekable();
        let mut index = 0..;
        patch.states.retain(|_| {
            index
                .next()
                .is_some_and(|at| owed.next_if_eq(&at).is_some())
        });
        // An enable is undone from its end, a disable done from its front.
        if op == Op::PostUnpatch {
            patch.states.reverse();
        }
    }
}
