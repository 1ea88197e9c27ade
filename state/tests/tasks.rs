//! Tasks that change over one at a time, and what they still use when something
//! is freed.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

use proptest::prelude::*;
use std::collections::BTreeSet;
use umbra_state::tasks::{Tasks, switch_tasks};
use umbra_state::{
    Callback, Direction, Engine, Errno, Host, Name, Patch, Progress, Reason, Replace, Rules, State,
    Status, Switch,
};

/// A task is inside the code of some patches (by their states' ids) until its
/// turn has come so often.
#[derive(Clone, Debug)]
struct Task {
    inside: BTreeSet<u64>,
    busy: usize,
    over: bool,
}

struct World {
    rules: Rules,
    tasks: Vec<Task>,
    alive: BTreeSet<u64>,
    /// Ids that were freed while a task was inside code that uses them.
    early: BTreeSet<u64>,
    polls: usize,
}

impl World {
    fn new(rules: Rules, busy: &[usize]) -> Self {
        let task = |&busy: &usize| Task {
            inside: BTreeSet::new(),
            busy,
            over: false,
        };
        Self {
            rules,
            tasks: busy.iter().map(task).collect(),
            alive: BTreeSet::new(),
            early: BTreeSet::new(),
            polls: 0,
        }
    }

    /// All tasks enter the code of all states there are.
    fn enter(&mut self) {
        for task in &mut self.tasks {
            task.inside = self.alive.clone();
            task.over = false;
        }
    }

    /// Time passes: everyone leaves what they were in.
    fn leave(&mut self) {
        self.tasks.iter_mut().for_each(|task| task.inside.clear());
    }
}

impl Tasks for World {
    fn count(&self) -> usize {
        self.tasks.len()
    }

    fn try_switch(&mut self, task: usize, _: Direction) -> bool {
        self.polls += 1;
        let task = &mut self.tasks[task];
        task.busy = task.busy.saturating_sub(1);
        if task.busy == 0 {
            task.inside.clear();
            task.over = true;
        }
        task.over
    }

    fn force(&mut self, task: usize, _: Direction) {
        // It is over for the engine, and still where it was.
        self.tasks[task].over = true;
    }
}

impl Host for World {
    fn call(&mut self, _: &Patch, state: &State, call: Callback, _: Reason) -> Result<(), Errno> {
        if call == Callback::PrePatch {
            self.alive.insert(state.id);
        }
        Ok(())
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno> {
        Ok(switch_tasks(self, switch.direction(), switch.forced()))
    }

    fn free_shadows(&mut self, _: &Patch, state: &State) {
        self.alive.remove(&state.id);
        if self.tasks.iter().any(|t| t.inside.contains(&state.id)) {
            self.early.insert(state.id);
        }
    }

    fn barrier(&mut self) {}

    fn quiescent(&mut self, _: &Patch) -> bool {
        self.tasks.iter().all(|task| task.inside.is_empty())
    }
}

fn patch(called: &str, ids: &[u64], replace: Replace) -> Patch {
    let mut patch = Patch::new(Name::cut(called));
    patch.replace = replace;
    for &id in ids {
        let mut state = State::new(id, Name::EMPTY);
        state.is_shadow = true;
        patch.push_state(state).unwrap();
    }
    patch
}

/// A{1,2} is replaced by B{2,3} while tasks are inside; after `patience` tries
/// it is forced.
fn replace(rules: Rules, busy: &[usize], patience: usize) -> (World, usize) {
    let mut world = World::new(rules, &vec![0; busy.len()]);
    let mut engine = Engine::new(0, rules);
    engine
        .enable(patch("A", &[1, 2], Replace::All), &mut world)
        .unwrap();
    assert_eq!(engine.run(&mut world), Status::Completed);
    for (task, &busy) in world.tasks.iter_mut().zip(busy) {
        task.busy = busy;
    }
    world.enter();
    engine
        .enable(patch("B", &[2, 3], Replace::All), &mut world)
        .unwrap();
    let mut tries = 1;
    while engine.run(&mut world) == Status::Stalled {
        if tries > patience {
            engine.force(&mut world).unwrap();
        }
        tries += 1;
    }
    // Nothing is settled while someone is inside, everything after.
    let inside = world.tasks.iter().any(|task| !task.inside.is_empty());
    let settled = engine.settle(&mut world);
    if rules == Rules::Umbra {
        assert!(!inside || settled == 0);
    }
    world.leave();
    engine.settle(&mut world);
    (world, tries)
}

#[test]
fn r88_the_switch_waits_for_the_slowest_task() {
    let (world, tries) = replace(Rules::Umbra, &[1, 4, 2], usize::MAX);
    assert_eq!(tries, 4);
    assert!(world.early.is_empty());
    assert!(world.polls >= 3 * 4);
    assert!(world.alive.iter().eq(&[2, 3]));
}

#[test]
fn d8_v1_frees_under_a_task_that_was_forced_and_umbra_does_not() {
    let (world, _) = replace(Rules::V1, &[1, 9], 2);
    assert!(world.early.iter().eq(&[1]), "the defect");
    let (world, _) = replace(Rules::Umbra, &[1, 9], 2);
    assert!(world.early.is_empty());
    assert!(world.alive.iter().eq(&[2, 3]), "and nothing is left behind");
    assert_eq!(world.rules, Rules::Umbra);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    /// S5, whatever the tasks do and whenever someone loses patience.
    #[test]
    fn d8_shadows_outlive_every_task_that_may_use_them(
        busy in proptest::collection::vec(0_usize..6, 0..5),
        patience in 0_usize..6,
    ) {
        let (world, _) = replace(Rules::Umbra, &busy, patience);
        prop_assert!(world.early.is_empty());
        prop_assert!(world.alive.iter().eq(&[2, 3]));
    }
}
