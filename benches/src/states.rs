//! Patches with many states, for what is measured of `umbra-state`.
//!
//! ```text
//! installed   P0 {1..10}  P1 {11..20}  ..   n / 10 patches, none of which shares a state
//! request     enable  big {n/2+1 .. n+n/2}  in place of all of them
//! ```
//! Half of the states of the new patch are in use, so every kind of step is in
//! its plan: states that begin, that go on, and that end.

use umbra_state::{Engine, Name, Patch, Plan, Replace, Request, Rules, State, Status, plan};

/// States in each patch of the stack.
const EACH: usize = 10;

/// What is installed, and what is asked for.
#[derive(Debug)]
pub struct Stack {
    engine: Engine,
    new: Patch,
}

fn patch(name: &str, ids: std::ops::Range<usize>) -> Patch {
    let mut patch = Patch::new(Name::new(name).expect("a short name"));
    for id in ids {
        let state = State::new(id as u64, Name::EMPTY);
        patch.push_state(state).expect("memory for a state");
    }
    patch
}

impl Stack {
    /// A stack with `states` states; at least ten, and whole patches.
    #[must_use]
    pub fn new(states: usize) -> Self {
        let patches = (states / EACH).max(1);
        let mut engine = Engine::new(7, Rules::Umbra);
        for at in 0..patches {
            let first = at * EACH + 1;
            let one = patch(&format!("P{at}"), first..first + EACH);
            engine.enable(one, &mut ()).expect("no conflict");
            assert_eq!(engine.run(&mut ()), Status::Completed);
        }
        let half = patches * EACH / 2;
        let mut new = patch("big", half + 1..half + 1 + patches * EACH);
        new.replace = Replace::All;
        Self { engine, new }
    }

    /// The ids of all states that are in use.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        let count = (1..).take_while(|&id| self.is_open(id)).count();
        (1..=count as u64).collect()
    }

    /// Finds a state's gate, and asks it.
    #[must_use]
    pub fn is_open(&self, id: u64) -> bool {
        let gate = self.engine.installed().gate(id);
        gate.is_some_and(|gate| gate.is_open())
    }

    /// Asks the gates of `ids` by references that are held: `ask` is given
    /// them, so that finding them is not in its time.
    pub fn held<'a, T>(
        &'a self,
        ids: &[u64],
        ask: impl FnOnce(&[&'a umbra_state::Gate]) -> T,
    ) -> T {
        let find = |&id| self.engine.installed().gate(id);
        let gates: Vec<_> = ids.iter().filter_map(find).collect();
        ask(&gates)
    }

    /// Plans to put the new patch in place of all that is there; `None` if the
    /// rules refuse that.
    #[must_use]
    pub fn plan(&self, rules: Rules) -> Option<Plan> {
        plan(self.engine.installed(), Request::Enable(&self.new), rules).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_planned_is_in_use() {
        let stack = Stack::new(100);
        assert_eq!(stack.ids().len(), 100);
        assert!(stack.is_open(100) && !stack.is_open(101));
        let open = stack.held(&stack.ids(), |gates| {
            gates.iter().filter(|gate| gate.is_open()).count()
        });
        assert_eq!(open, 100);
        let ours = stack.plan(Rules::Umbra).expect("a plan");
        let theirs = stack.plan(Rules::V1).expect("a plan");
        // 50 begin, 50 go on, 50 end: the same for both rules.
        assert_eq!(ours.steps().len(), theirs.steps().len());
    }
}
