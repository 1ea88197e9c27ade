//! What the engine asks of the place it runs in: the kernel module, the
//! simulator and the tests each bring a [`Host`].

use crate::event::{Direction, Errno, Event, Reason};
use crate::gate::Gate;
use crate::installed::Installed;
use crate::patch::{Callback, Hook, Object, Patch, State};
use crate::plan::Who;
use crate::steps::Transition;

/// What the engine asks of the place it runs in.
///
/// All methods may sleep. None may call back into the engine.
///
/// # What a callback may do
/// | | |
/// |---|---|
/// | sleep, take locks, allocate | yes; nothing of ours is held but the host's own lock around the engine |
/// | use the shadow tables, those of its own state too | yes |
/// | fail | `pre_patch` only |
/// | enable, disable or reverse a patch | no: the engine is borrowed, so it does not compile; a host that hides the engine behind a lock refuses what comes from inside (the kernel module with `-EBUSY`) |
/// | panic, in userspace | yes: it counts as having returned [`Errno::PANICKED`], and is not called again |
///
/// # Panics
/// In userspace any method may panic, and the engine may be stepped on, reversed
/// or cancelled once that was caught. A switch that panicked has begun, and is
/// asked for again, or for the way back; so are a `free_shadows` and a `barrier`.
/// An event is not told twice. Exempt are
/// [`Engine::target_coming`](crate::Engine::target_coming) and
/// [`Engine::target_going`](crate::Engine::target_going), which call a host under
/// [`Rules::Mainline`](crate::Rules) only: they keep no place to go on from.
///
/// ```compile_fail
/// # use umbra_state::*;
/// struct Sly<'a>(&'a mut Engine);
/// # impl Host for Sly<'_> {
/// #     fn switch(&mut self, _: &Switch<'_>) -> Result<Progress, Errno> { Ok(Progress::Done) }
/// #     fn free_shadows(&mut self, _: &Patch, _: &State) {}
/// #     fn barrier(&mut self) {}
/// fn call(&mut self, _: &Patch, _: &State, _: Callback, _: Reason) -> Result<(), Errno> {
///     self.0.disable("another", self).map_err(|refusal| refusal.errno())
/// }
/// # }
/// ```
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
    /// no trampoline may still look at its gate on behalf of that patch. With
    /// [`Switch::forced`] nobody is waited for: `Pending` counts as `Done`.
    ///
    /// # Errors
    /// Forward: the transition is taken back; the host has undone its own part.
    /// Back: it must get there, so an error counts as a stall, or by force as
    /// done.
    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno>;

    /// Makes all shadow variables of the state's id invisible and hands them to
    /// reclamation, with this state's `shadow_dtor`. Need not wait.
    fn free_shadows(&mut self, patch: &Patch, state: &State);

    /// Returns when every destructor of earlier `free_shadows` has run: after
    /// the transition the patch's code may be unloaded.
    fn barrier(&mut self);

    /// Calls one callback of an object. [`Rules::Mainline`](crate::Rules) only.
    ///
    /// # Errors
    /// As of [`Host::call`].
    fn call_object(&mut self, call: &ObjectCall<'_>) -> Result<(), Errno> {
        let _ = call;
        Ok(())
    }

    /// Redirects the functions of one object. [`Rules::Mainline`](crate::Rules)
    /// only.
    ///
    /// # Errors
    /// The transition is taken back.
    fn patch_object(&mut self, patch: &Patch, object: &Object) -> Result<(), Errno> {
        let _ = (patch, object);
        Ok(())
    }

    /// Whether nothing can run code of this patch any more, nor use what it
    /// attached: every task has been seen outside since. Asked about patches
    /// that a forced transition took away; a host that cannot tell says no, and
    /// keeps them.
    fn quiescent(&mut self, patch: &Patch) -> bool {
        let _ = patch;
        false
    }

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
    pub(crate) forced: bool,
}

/// A callback of an object, with what mainline lets it ask for.
#[derive(Clone, Copy)]
pub struct ObjectCall<'a> {
    /// Whose callback.
    pub patch: &'a Patch,
    /// The object it belongs to.
    pub object: &'a Object,
    /// Which one.
    pub callback: Callback,
    /// Why, which mainline does not say.
    pub reason: Reason,
    pub(crate) before: &'a [Patch],
}

impl<'a> ObjectCall<'a> {
    /// `klp_get_state()`: the state of the callback's own patch.
    pub fn state(&self, id: u64) -> Option<&'a State> {
        self.patch.state(id)
    }

    /// `klp_get_prev_state()`: the same state of the latest patch before the
    /// one in transition.
    pub fn prev_state(&self, id: u64) -> Option<&'a State> {
        self.before.iter().rev().find_map(|patch| patch.state(id))
    }
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

    /// The switch is to be over when this call returns, whoever still runs the
    /// other code: someone forced it.
    pub fn forced(&self) -> bool {
        self.forced
    }

    /// The patch that the transition is about.
    pub fn patch(&self) -> Option<&'a Patch> {
        self.transition.subject(self.installed)
    }

    /// The functions whose hooks change, but for those that are gone
    /// ([`Hook::GONE`]). In the direction of this switch.
    pub fn changes(&self) -> impl Iterator<Item = Change<'a>> + use<'a> {
        let Self {
            installed,
            transition,
            direction,
            ..
        } = *self;
        transition.plan.hooks.iter().filter_map(move |moved| {
            let target = |(who, index): (Who, u32)| {
                let patch = transition.patch(installed, who)?;
                let hook = patch.hooks.get(index as usize)?;
                if hook.function == Hook::GONE {
                    return None;
                }
                Some(Target {
                    patch,
                    hook,
                    gate: installed.gate(hook.state)?,
                })
            };
            let (from, to) = (moved.from.and_then(target), moved.to.and_then(target));
            // Both may be gone with their function's module.
            from.or(to)?;
            Some(match direction {
                Direction::Forward => Change { from, to },
                Direction::Back => Change { from: to, to: from },
            })
        })
    }
}

/// A host for which everything works and nothing happens: for dry runs.
impl Host for () {
    fn call(&mut self, _: &Patch, _: &State, _: Callback, _: Reason) -> Result<(), Errno> {
        Ok(())
    }

    fn switch(&mut self, _: &Switch<'_>) -> Result<Progress, Errno> {
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, _: &State) {}

    fn barrier(&mut self) {}
}
