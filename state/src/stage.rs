//! How far a step got, for the case that the host panicked in it.
//!
//! In userspace any method of a host may panic. So a step is a row of stages,
//! and each is entered before what belongs to it is done:
//!
//! ```text
//! Fresh -> Counted -> Gated -> Called -> Told -> Freed -> FreeTold
//!          count,     event    callback  event   shadows  event
//!          gate
//! ```
//! Who goes on after a panic does not call a callback or tell an event a second
//! time. What has to have happened before the next stage (a free, and outside of
//! a step a switch or a barrier) is asked for again.

use crate::event::{Errno, Event, Reason};
use crate::host::{Host, ObjectCall};
use crate::patch::{Callback, Object, Patch, State};

/// What happens within a step, in this order. Each is at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing yet.
    Fresh,
    /// The count and the gate were changed.
    Counted,
    /// The host was told of the gate.
    Gated,
    /// The callback was called; it has returned if there is a result.
    Called,
    /// The host was told so.
    Told,
    /// The shadows were freed.
    Freed,
    /// The host was told so.
    FreeTold,
}

/// How far a step got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside {
    stage: Stage,
    result: Option<Result<(), Errno>>,
}

impl Inside {
    /// Nothing of it was begun.
    pub(crate) const FRESH: Self = Self {
        stage: Stage::Fresh,
        result: None,
    };

    /// Goes on to `stage`; whether that is news.
    pub(crate) fn enter(&mut self, stage: Stage) -> bool {
        let news = self.stage < stage;
        if news {
            self.stage = stage;
        }
        news
    }

    /// The step was begun and did not end.
    pub(crate) fn is_begun(&self) -> bool {
        self.stage != Stage::Fresh
    }

    /// What the callback returned, or that it panicked.
    pub(crate) fn result(&self) -> Result<(), Errno> {
        self.result.unwrap_or(Err(Errno::PANICKED))
    }

    /// Calls what may be called only once.
    pub(crate) fn once(&mut self, call: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        if self.enter(Stage::Called) {
            self.result = Some(call());
        }
        self.result()
    }

    /// Calls a callback of a state if there is one, once, and tells what it said.
    pub(crate) fn call<H: Host>(
        &mut self,
        (patch, state): (&Patch, &State),
        callback: Callback,
        reason: Reason,
        host: &mut H,
    ) -> Result<(), Errno> {
        if !state.callbacks.contains(callback) {
            return Ok(());
        }
        let result = self.once(|| host.call(patch, state, callback, reason));
        if self.enter(Stage::Told) {
            host.event(&Event::Called {
                patch,
                state,
                callback,
                reason,
                result,
            });
        }
        result
    }

    /// Frees the state's shadows, if it has any. Says whether it has.
    pub(crate) fn free<H: Host>(&mut self, patch: &Patch, state: &State, host: &mut H) -> bool {
        if state.is_shadow {
            // To be free is what counts, so one that panicked is asked again.
            if self.stage < Stage::Freed {
                host.free_shadows(patch, state);
                self.enter(Stage::Freed);
            }
            if self.enter(Stage::FreeTold) {
                host.event(&Event::Freed(patch, state));
            }
        }
        state.is_shadow
    }
}

/// Calls a callback of an object if there is one, and reports what it said.
pub(crate) fn tell_object<H: Host>(
    (patch, object): (&Patch, &Object),
    callback: Callback,
    reason: Reason,
    before: &[Patch],
    inside: &mut Inside,
    host: &mut H,
) -> Result<(), Errno> {
    if !object.callbacks.contains(callback) {
        return Ok(());
    }
    let call = ObjectCall {
        patch,
        object,
        callback,
        reason,
        before,
    };
    let result = inside.once(|| host.call_object(&call));
    if inside.enter(Stage::Told) {
        host.event(&Event::ObjectCalled {
            patch,
            object,
            callback,
            reason,
            result,
        });
    }
    result
}
