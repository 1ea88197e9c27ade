//! Every sequence of requests over two states in which any transition may be
//! forced, either way, and in which tasks leave what was forced out at any time.
//!
//! The oracle knows no pins and no quarantine: a task is inside a patch from the
//! moment at which that one is forced out until it leaves, and while it is, no
//! state of the patch may be cleaned up (S5). When all have left, nothing waits
//! any more, and when all patches are disabled, nothing is there.
//!
//! What was reached before is not gone on from: the planner and `settle` see
//! nothing but the enabled patches, the pinned ones and the counts (S2), and
//! these are compared. Names serve only to tell patches apart.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

use std::collections::{HashMap, HashSet, VecDeque};
use umbra_state::{
    Callback, Direction, Engine, Errno, Host, Name, Patch, Phase, Progress, Reason, Refusal,
    Replace, Rules, State, Status, Switch,
};

const IDS: u64 = 2;
/// How many requests a sequence has: one more takes half a minute.
const LENGTH: usize = 5;

/// A host that knows which states the tasks may still use.
#[derive(Default)]
struct Tasks {
    inside: HashMap<Name, Vec<u64>>,
    made: [bool; IDS as usize],
    shadows: [bool; IDS as usize],
    stalls: usize,
}

impl Tasks {
    fn unused(&self, id: u64) {
        let by = self.inside.iter().find(|(_, ids)| ids.contains(&id));
        assert!(by.is_none(), "S5: state {id} goes under {by:?}");
    }
}

impl Host for Tasks {
    fn call(&mut self, _: &Patch, state: &State, call: Callback, _: Reason) -> Result<(), Errno> {
        let at = state.id as usize - 1;
        match call {
            Callback::PrePatch => {
                assert!(!self.made[at] && !self.shadows[at], "R24: made twice");
                (self.made[at], self.shadows[at]) = (true, true);
            }
            Callback::PostUnpatch => {
                assert!(self.made[at], "R24: unmade twice");
                self.unused(state.id);
                self.made[at] = false;
            }
            Callback::PostPatch | Callback::PreUnpatch => assert!(self.made[at]),
        }
        Ok(())
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno> {
        if switch.forced() || self.stalls == 0 {
            return Ok(Progress::Done);
        }
        self.stalls -= 1;
        Ok(Progress::Pending)
    }

    fn free_shadows(&mut self, _: &Patch, state: &State) {
        self.unused(state.id);
        self.shadows[state.id as usize - 1] = false;
    }

    fn barrier(&mut self) {}

    fn quiescent(&mut self, patch: &Patch) -> bool {
        !self.inside.contains_key(&patch.name)
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A patch with these states (as bits) comes, in place of the others or not.
    On(u64, bool, How),
    /// The enabled patch at this place goes.
    Off(usize, How),
    /// The tasks leave the pinned patch at this place.
    Leave(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Plain,
    /// The switch stalls and is forced.
    Forced,
    /// The switch stalls, is reversed, stalls, and is forced back.
    ForcedBack,
}

const HOWS: [How; 3] = [How::Plain, How::Forced, How::ForcedBack];

fn ids(patch: &Patch) -> Vec<u64> {
    patch.states.iter().map(|state| state.id).collect()
}

/// What the next requests depend on.
type Seen = (
    Vec<Vec<u64>>,
    Vec<(Vec<u64>, bool, Vec<u64>)>,
    Vec<(u64, Phase, u32)>,
);

struct World {
    engine: Engine,
    tasks: Tasks,
}

impl World {
    fn after(acts: &[Act]) -> Self {
        let mut world = Self {
            engine: Engine::new(0, Rules::Umbra),
            tasks: Tasks::default(),
        };
        for (number, &act) in acts.iter().enumerate() {
            assert!(world.act(number, act).is_ok(), "{acts:?}");
        }
        world
    }

    fn act(&mut self, number: usize, act: Act) -> Result<(), Refusal> {
        let (engine, tasks) = (&mut self.engine, &mut self.tasks);
        let how = match act {
            Act::On(bits, replace, how) => {
                let mut patch = Patch::new(Name::cut(&format!("P{number}")));
                patch.replace = Replace::from_flag(replace);
                for id in (1..=IDS).filter(|id| bits & 1 << (id - 1) != 0) {
                    let mut state = State::new(id, Name::EMPTY);
                    state.is_shadow = true;
                    patch.push_state(state).unwrap();
                }
                engine.enable(patch, tasks)?;
                how
            }
            Act::Off(at, how) => {
                let name = engine.installed().patches()[at].name;
                engine.disable(name.as_str(), tasks)?;
                how
            }
            Act::Leave(at) => {
                let name = engine.installed().pinned()[at].patch().name;
                tasks.inside.remove(&name);
                engine.settle(tasks);
                return Ok(());
            }
        };
        self.end(act, how, &format!("P{number}"));
        Ok(())
    }

    /// Brings the transition to its end; who was forced out is still inside.
    fn end(&mut self, act: Act, how: How, name: &str) {
        let (engine, tasks) = (&mut self.engine, &mut self.tasks);
        tasks.stalls = match how {
            How::Plain => 0,
            How::Forced => 1,
            How::ForcedBack => 2,
        };
        let enabled = || engine.installed().patches().iter();
        let out: Vec<(Name, Vec<u64>)> = match (act, how) {
            (Act::On(_, true, _), How::Forced) => enabled().map(|p| (p.name, ids(p))).collect(),
            (Act::Off(at, _), How::Forced) => {
                let one = enabled().nth(at).unwrap();
                vec![(one.name, ids(one))]
            }
            (Act::On(bits, ..), How::ForcedBack) => {
                let bits = (1..=IDS).filter(|id| bits & 1 << (id - 1) != 0);
                vec![(Name::cut(name), bits.collect())]
            }
            _ => Vec::new(),
        };
        let mut status = engine.run(tasks);
        if how == How::ForcedBack {
            assert_eq!(engine.reverse(tasks), Ok(Direction::Back));
            status = engine.run(tasks);
        }
        if how != How::Plain {
            assert_eq!(status, Status::Stalled);
            engine.force(tasks).unwrap();
            tasks.inside.extend(out);
            status = engine.run(tasks);
        }
        let back = how == How::ForcedBack;
        assert_eq!(matches!(status, Status::Undone(_)), back, "{status:?}");
    }

    fn seen(&self) -> Seen {
        let installed = self.engine.installed();
        let pinned = installed.pinned().iter().map(|p| {
            let owed = installed.owed(p).map(|s| s.id).collect();
            (ids(p.patch()), p.may_run(), owed)
        });
        let mut states: Vec<_> = installed
            .states()
            .map(|s| (s.id, s.word.phase(), s.word.users()))
            .filter(|s| s.1 != Phase::Dormant)
            .collect();
        states.sort_unstable_by_key(|s| s.0);
        let patches = installed.patches().iter().map(ids).collect();
        (patches, pinned.collect(), states)
    }

    /// What holds between requests: a state is there exactly if an enabled patch
    /// has it, or if it went under a patch that somebody was inside of.
    fn audit(&self, acts: &[Act]) {
        let installed = self.engine.installed();
        for id in 1..=IDS {
            let users = installed.patches().iter().filter(|p| p.state(id).is_some());
            let phase = installed
                .state(id)
                .map_or(Phase::Dormant, |s| s.word.phase());
            let open = installed.gate(id).is_some_and(|gate| gate.is_open());
            let used = users.count() > 0;
            assert_eq!((open, phase == Phase::Active), (used, used), "{acts:?}");
            let there = phase != Phase::Dormant;
            let at = id as usize - 1;
            let have = (self.tasks.made[at], self.tasks.shadows[at]);
            assert_eq!(have, (there, there), "{acts:?}");
            let inside = self.tasks.inside.values().any(|ids| ids.contains(&id));
            assert!(!there || used || inside, "nothing holds {id}: {acts:?}");
        }
    }

    /// Everybody leaves and everything is disabled: nothing may be left.
    fn come_apart(mut self, acts: &[Act]) {
        self.tasks.inside.clear();
        self.engine.settle(&mut self.tasks);
        assert!(self.engine.installed().pinned().is_empty(), "{acts:?}");
        self.audit(acts);
        while let Some(patch) = self.engine.installed().patches().first() {
            let name = patch.name;
            self.engine.disable(name.as_str(), &mut self.tasks).unwrap();
            assert_eq!(self.engine.run(&mut self.tasks), Status::Completed);
        }
        self.audit(acts);
        assert_eq!(self.tasks.shadows, [false; IDS as usize]);
    }
}

#[test]
fn d8_every_sequence_with_force_frees_nothing_under_a_task() {
    let mut seen = HashSet::new();
    let mut open = VecDeque::from([Vec::new()]);
    let (mut tried, mut refused) = (0, 0);
    while let Some(acts) = open.pop_front() {
        let here = World::after(&acts);
        here.audit(&acts);
        let installed = here.engine.installed();
        let mut next = Vec::new();
        for how in HOWS {
            let kinds = (0..1 << IDS).flat_map(|bits| [false, true].map(|r| (bits, r)));
            next.extend(kinds.map(|(bits, replace)| Act::On(bits, replace, how)));
            next.extend((0..installed.patches().len()).map(|at| Act::Off(at, how)));
        }
        let pinned = installed.pinned().iter().enumerate();
        next.extend(pinned.filter(|(_, p)| p.may_run()).map(|p| Act::Leave(p.0)));
        here.come_apart(&acts);
        for act in next {
            tried += 1;
            let mut world = World::after(&acts);
            let before = world.seen();
            match world.act(acts.len(), act) {
                Ok(()) => {
                    let mut more = acts.clone();
                    more.push(act);
                    world.audit(&more);
                    if seen.insert(world.seen()) && more.len() < LENGTH {
                        open.push_back(more);
                    }
                }
                Err(refusal) => {
                    assert!(
                        matches!(refusal, Refusal::Quarantined { .. }),
                        "{refusal} after {acts:?}"
                    );
                    assert_eq!(world.seen(), before);
                    refused += 1;
                }
            }
        }
    }
    println!(
        "{tried} requests in {} situations, {refused} refused",
        seen.len()
    );
    assert!(
        seen.len() > 1000 && refused > 1000,
        "{} {refused}",
        seen.len()
    );
}
