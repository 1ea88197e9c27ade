//! The end of a transition: who is enabled now, who is pinned, who is gone.
//!
//! All of it changes at once and without the host, and is told afterwards: a
//! host that panics while it listens misses what it was told, and nothing else.
//!
//! ```text
//!  leaving patch --+-- forced out, or owes a clean-up that waits --> pinned
//!                  +-- otherwise ---------------------------------> gone
//!  new patch ------+-- carried out --------------------------------> enabled
//!                  +-- taken back by force ------------------------> pinned
//!                  +-- taken back --------------> registered, or dropped
//! ```

use crate::event::Event;
use crate::host::Host;
use crate::installed::{Installed, Pinned};
use crate::patch::{Patch, Replace};
use crate::plan::{Op, Who};
use crate::steps::Transition;
use crate::transition::{Engine, Status};

impl Engine {
    /// Ends the transition as `status` says, every step being done or undone.
    pub(crate) fn end<H: Host>(&mut self, status: Status, host: &mut H) -> Status {
        let Self {
            installed,
            transition: running,
            ..
        } = self;
        let Some(transition) = running.as_mut() else {
            return Status::Idle;
        };
        // A barrier that panicked has not waited, so it is asked for again.
        if transition.freed {
            host.barrier();
            transition.freed = false;
        }
        let first = installed.pinned.len();
        let told = match transition.ended {
            Some(told) => told,
            None if status == Status::Completed => {
                installed.carry_out(transition);
                first
            }
            None => {
                installed.take_back(transition);
                first
            }
        };
        transition.ended = Some(told);
        while let Some(gone) = installed.gone.pop_front() {
            host.event(&Event::Removed(&gone));
        }
        for at in told..installed.pinned.len() {
            transition.ended = Some(at + 1);
            if let Some(pinned) = installed.pinned.get(at) {
                host.event(&Event::Pinned(&pinned.patch));
            }
        }
        let name = installed.running.take().unwrap_or_default();
        *running = None;
        host.event(&Event::Ended(name, status == Status::Completed));
        status
    }
}

impl Installed {
    /// The patches that leave leave, the new one is in.
    fn carry_out(&mut self, transition: &mut Transition) {
        if let Some(patch) = &transition.incoming {
            self.forget_registered(patch.replace);
        }
        let leaving = transition.plan.leaving.clone();
        let first = self.tickets + 1;
        self.note_debts(transition, Op::PostUnpatch, |who| match who {
            Who::Installed(at) => first + (at as usize - leaving.start) as u64,
            Who::Incoming => 0,
        });
        let mut recount = false;
        // `drain` would keep hold of the patches.
        let mut rest = core::mem::take(&mut self.patches);
        for patch in rest.drain(leaving) {
            for hook in &patch.hooks {
                self.functions.remove(&hook.function);
            }
            recount |= self.leave(&patch);
            self.pin_or_drop(patch, transition.forced, transition.rules.ours(), false);
        }
        self.patches = rest;
        if recount {
            self.recount();
        }
        if let Some(patch) = transition.incoming.take() {
            self.arrive(patch);
        }
    }

    /// The new patch was not let in.
    fn take_back(&mut self, transition: &mut Transition) {
        let Some(patch) = transition.incoming.take() else {
            return;
        };
        if transition.forced {
            let ticket = self.tickets + 1;
            self.note_debts(transition, Op::PrePatch, |_| ticket);
            self.pin_or_drop(patch, true, transition.rules.ours(), true);
        } else if let Some(at) = transition.registered {
            // Into the room that it left: nobody registers meanwhile.
            self.registered.insert(at.min(self.registered.len()), patch);
        }
    }

    /// Each clean-up that `op` had to put off is owed by the pinned patch with
    /// the ticket that `by` says.
    fn note_debts(&mut self, transition: &Transition, op: Op, by: impl Fn(Who) -> u64) {
        if !transition.rules.ours() {
            return;
        }
        let steps = transition.plan.steps.iter();
        for step in steps.filter(|s| s.op == op && (s.waits || transition.forced)) {
            if let Some(slot) = self.slots.get_mut(&step.state) {
                slot.owed = by(step.who);
            }
        }
    }

    /// Pins the patch if it was forced out or owes a clean-up. Each takes a
    /// ticket, so that those of a transition are known before.
    fn pin_or_drop(&mut self, patch: Patch, forced: bool, ours: bool, undone: bool) {
        self.tickets += 1;
        let ticket = self.tickets;
        let mut owes = 0;
        for state in patch.states.iter().filter(|_| ours) {
            if let Some(slot) = self.slots.get_mut(&state.id) {
                owes += usize::from(slot.owed == ticket);
                slot.pins += u32::from(forced);
            }
        }
        // Room for either was made before the first step.
        if forced || owes > 0 {
            self.pinned.push(Pinned {
                patch,
                may_run: forced,
                owes,
                ticket,
                undone,
            });
        } else {
            self.gone.push_back(patch);
        }
    }

    /// The patches that a new one replaces go, registered ones too (R87).
    fn forget_registered(&mut self, replace: Replace) {
        let stays = |patch: &Patch| match replace {
            Replace::Nothing => true,
            Replace::All => false,
            Replace::Set(_) => patch.replace != replace,
        };
        // Room for them was made before the first step.
        let gone = self.registered.extract_if(.., |patch| !stays(patch));
        self.gone.extend(gone);
    }

    /// What the slots of a patch say once it is enabled.
    fn arrive(&mut self, patch: Patch) {
        for state in &patch.states {
            if let Some(slot) = self.slots.get_mut(&state.id) {
                let print = state.fingerprint();
                let shared = slot.count.load().users() > 1;
                slot.mixed = shared && (slot.mixed || slot.print != print);
                slot.print = print;
                if let Replace::Set(set) = patch.replace {
                    slot.set = Some(set);
                }
            }
        }
        // Both had room made for them before the first step.
        let hooks = patch.hooks.iter();
        self.functions.extend(hooks.map(|hook| hook.function));
        self.patches.push(patch);
    }

    /// What the slots of a patch say once it has gone. Whether one of them may
    /// still speak for it.
    fn leave(&mut self, patch: &Patch) -> bool {
        let mut stale = false;
        for state in &patch.states {
            if let Some(slot) = self.slots.get_mut(&state.id) {
                if matches!(patch.replace, Replace::Set(_)) {
                    slot.set = None;
                }
                stale |= slot.mixed;
            }
        }
        stale
    }

    /// Makes the slots whose users differ speak for the latest that is enabled.
    /// Walks all of them, which only a disagreement among users costs.
    fn recount(&mut self) {
        let Self { patches, slots, .. } = self;
        for state in patches.iter().flat_map(|patch| &patch.states) {
            if let Some(slot) = slots.get_mut(&state.id)
                && slot.mixed
            {
                slot.print = state.fingerprint();
            }
        }
    }
}
