//! What turning a running transition round, or forcing it, would do.

use crate::force::NotForceable;
use crate::installed::Installed;
use crate::mem::{OutOfMemory, push};
use crate::plan::{Op, Part, Plan, Request, Step, plan};
use crate::refusal::Refusal;
use crate::steps::Transition;
use crate::transition::{Cause, Engine, NotReversible};

impl Engine {
    /// Plans any request for what is now, a running transition included. The
    /// plan of [`Request::Reverse`] or [`Request::Force`] has the steps that
    /// would still be done; no hooks, for the switch's are those it had.
    ///
    /// # Errors
    /// A [`Refusal`], as the request itself would end.
    pub fn plan(&self, request: Request<'_>) -> Result<Plan, Refusal> {
        let transition = self.transition.as_ref();
        match (request, transition) {
            (Request::Reverse, Some(transition)) => reversed(&self.installed, transition),
            (Request::Force, Some(transition)) => forced(&self.installed, transition),
            _ => plan(&self.installed, request, self.rules),
        }
    }
}

fn reversed(installed: &Installed, transition: &Transition) -> Result<Plan, Refusal> {
    match transition.cause {
        None => {
            transition.may_turn_back().map_err(Refusal::NotReversible)?;
            let done = transition.next + usize::from(transition.switching);
            let begun = transition.plan.steps.get(done);
            let begun = begun.filter(|s| s.op != Op::Switch && transition.inside.is_begun());
            let result = transition.inside.result();
            match begun {
                None => undo(installed, transition, done, false),
                Some(step) if step.op == Op::PrePatch && result.is_err() => {
                    let mut plan = Plan::empty();
                    // Its callback panicked, so only its shadows are to be freed.
                    let failed = Step {
                        op: Op::PostUnpatch,
                        call: None,
                        frees: step.is_shadow && transition.rules.ours(),
                        ..*step
                    };
                    push(&mut plan.steps, failed)?;
                    for &step in undo(installed, transition, done, false)?.steps() {
                        push(&mut plan.steps, step)?;
                    }
                    Ok(plan)
                }
                Some(_) => undo(installed, transition, done + 1, false),
            }
        }
        Some(Cause::Reversed) if transition.switching => {
            rest(transition, transition.plan.switch_at, false)
        }
        Some(_) => Err(Refusal::NotReversible(NotReversible::Undoing)),
    }
}

fn forced(installed: &Installed, transition: &Transition) -> Result<Plan, Refusal> {
    if !transition.switching {
        return Err(Refusal::NotForceable(NotForceable::NotStalled));
    }
    match transition.cause {
        None => rest(transition, transition.plan.switch_at, true),
        Some(_) => undo(installed, transition, transition.next, true),
    }
}

/// The steps from `at` on, as they would be done.
fn rest(transition: &Transition, at: usize, forced: bool) -> Result<Plan, Refusal> {
    let mut plan = Plan::empty();
    let steps = transition.plan.steps.get(at..).unwrap_or(&[]);
    for &step in steps {
        push(&mut plan.steps, waits(transition, step, forced))?;
    }
    Ok(plan)
}

/// The first `done` steps, as they would be undone.
fn undo(
    installed: &Installed,
    transition: &Transition,
    done: usize,
    forced: bool,
) -> Result<Plan, Refusal> {
    let mut copy = Plan::empty();
    let steps = transition.plan.steps.get(..done).unwrap_or(&[]);
    copy.steps
        .try_reserve(steps.len())
        .map_err(OutOfMemory::from)?;
    copy.steps.extend_from_slice(steps);
    copy.switch_at = transition.plan.switch_at;
    if !transition.rules.ours() {
        copy.undo_forward(done);
    }
    copy.steps.reverse();
    copy.switch_at = 0;
    copy.steps.retain_mut(|step| {
        let Some(op) = opposite(step.op) else {
            return false;
        };
        let patch = transition.patch(installed, step.who);
        let brought = patch.and_then(|patch| match step.part {
            Part::State(index) => patch.states.get(index as usize).map(|s| s.callbacks),
            Part::Object(index) => patch.objects.get(index as usize).map(|o| o.callbacks),
        });
        let has = |callback| brought.is_some_and(|set| set.contains(callback));
        *step = Step {
            op,
            call: op.callback().filter(|&callback| has(callback)),
            frees: op == Op::PostUnpatch && step.is_shadow,
            ..*step
        };
        *step = waits(transition, *step, forced);
        true
    });
    Ok(copy)
}

/// The step, or what is left of it where its clean-up has to wait (S5).
fn waits(transition: &Transition, mut step: Step, forced: bool) -> Step {
    if forced && transition.rules.ours() && step.op == Op::PostUnpatch {
        step.wait();
    }
    step
}

/// What undoes a step; nothing undoes what only the switch can follow.
const fn opposite(op: Op) -> Option<Op> {
    match op {
        Op::PrePatch => Some(Op::PostUnpatch),
        Op::PreUnpatch => Some(Op::PostPatch),
        Op::Share | Op::Inherit => Some(Op::Unshare),
        Op::Unshare => Some(Op::Share),
        Op::Switch => Some(Op::Switch),
        Op::PostUnpatch | Op::PostPatch | Op::PatchObject => None,
    }
}
