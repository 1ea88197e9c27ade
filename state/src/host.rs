//! What the engine asks of the place it runs in: the kernel module, the
//! simulator and the tests each bring a [`Host`].

use crate::event::{Direction, Errno, Event, Reason};
use crate::gate::Gate;
use crate::installed::Installed;
use crate::patch::{Callback, Hook, Patch, State};
use crate::plan::Who;
use crate::steps::Transition;

/// What the engine asks of the place it runs in.
///
/// All methods may sleep. None may call back into the engine.
pub trait Host {
    /// Calls one callback of a state. Only called for a callback that the
    /// state's `callbacks` contain.
    ///
    /// # Errors
    /// Of a `pre_patch` only: the transition is taken back. An error of another
    /// callback is reported and otherwise ignored.
    fn call(
        &mut self,
        patch: &Patch,
        state: &State,
        callback: Callback,
        reason: Reason,
    ) -> Result<(), Errno>;

    /// Moves running code over, and the hooks with it: all of
    /// [`Switch::changes`] take effect. Called again after a stall, until it is
    /// done or fails, or in the other direction if the transition was reversed.
    ///
    /// A hook that is taken away must be out of use when this returns `Done`:
    /// no trampoline may still look at its gate on behalf of that patch.
    ///
    /// # Errors
    /// Forward: the transition is taken back; the host has undone its own part.
    /// Back: it must get there, so an error counts as a stall.
    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno>;

    /// Makes all shadow variables of the state's id invisible and hands them to
    /// reclamation, with this state's `shadow_dtor`. Need not wait.
    fn free_shadows(&mut self, patch: &Patch, state: &State);

    /// Returns when every destructor of earlier `free_shadows` has run: after
    /// the transition the patch's code may be unloaded.
    fn barrier(&mut self);

    /// Something happened. Does nothing unless a host wants to know.
    fn event(&mut self, event: &Event<'_>) {
        let _ = event;
    }
}

/// How far a switch got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All running code is over.
    Done,
    /// Something still runs the other code: ask again later.
    Pending,
}

/// What a switch changes, as the host sees it: [`Direction::Back`] is a switch
/// like any other, from the new patch to the old ones.
#[derive(Clone, Copy)]
pub struct Switch<'a> {
    pub(crate) installed: &'a Installed,
    pub(crate) transition: &'a Transition,
    pub(crate) direction: Direction,
}

/// One end of a hook's change.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The patch whose hook it is.
    pub patch: &'a Patch,
    /// The hook.
    pub hook: &'a Hook,
    /// The gate of the hook's state; its address is good as long as the engine.
    pub gate: &'a Gate,
}

/// One function whose hook changes: added (no `from`), exchanged, or removed
/// (no `to`).
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The hook to take away.
    pub from: Option<Target<'a>>,
    /// The hook to put there.
    pub to: Option<Target<'a>>,
}

impl<'a> Switch<'a> {
    /// Towards the request, or back from it.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The patch that the transition is about.
    pub fn patch(&self) -> Option<&'a Patch> {
        self.transition.subject(self.installed)
    }

    /// The functions whose hooks change. In the direction of this switch.
    pub fn changes(&self) -> impl Iterator<Item = Change<'a>> + use<'a> {
        let Self {
            installed,
            transition,
            direction,
        } = *self;
        transition.plan.hooks.iter().map(move |moved| {
            let target = |(who, index): (Who, u32)| {
                let patch = transition.patch(installed, who)?;
                let hook = patch.hooks.get(index as usize)?;
                Some(Target {
                    patch,
                    hook,
                    gate: installed.gate(hook.state)?,
                })
            };
            let (from, to) = (moved.from.and_then(target), moved.to.and_then(target));
            match direction {
                Direction::Forward => Change { from, to },
                Direction::Back => Change { from: to, to: from },
            }
        })
    }
}
