//! Every sequence of up to four patches over three states, with every failure
//! and every reversal on the way.
//!
//! A patch is one of the eight sets of states, beside the others or in their
//! place: sixteen. After each sequence, each of the sixteen is enabled with
//! each of its failures (each `pre_patch`, the switch) and each of its reversals
//! (after every step, stalled or not), and each enabled patch is disabled with
//! each of its own; then the patch is let in, once as it is and once by force.
//!
//! # Reductions, and why they are sound
//! - What failed or was reversed is not gone on from: that everything is as
//!   before is checked each time, and equal pictures have equal futures, for the
//!   planner sees nothing else (S2).
//! - What was forced and settled is not gone on from, for the same reason: its
//!   picture is compared with that of the sequence that was not forced.
//! - Of sequences that differ by a permutation of the three ids one is taken
//!   (r67 proves that ids are names).
//! - States come in ascending order within a patch: their order decides only the
//!   order of callbacks, which the golden traces hold.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

use umbra_state::plan::{Op, Step};
use umbra_state::{
    Callback, Direction, Engine, Errno, Host, Name, Patch, Plan, Progress, Reason, Replace,
    Request, Rules, State, Status, Switch, plan,
};

const IDS: usize = 3;
const LENGTH: usize = 4;

/// A host made of flags, so that a million transitions take seconds.
#[derive(Default)]
struct Flags {
    /// pre_patch ran and post_unpatch did not; post_patch and pre_unpatch.
    made: [bool; IDS],
    on: [bool; IDS],
    shadows: [bool; IDS],
    fails: Option<u64>,
    switch_fails: bool,
    stalls: usize,
    quiescent: bool,
    calls: Vec<(u64, Callback)>,
}

impl Host for Flags {
    fn call(&mut self, _: &Patch, state: &State, call: Callback, _: Reason) -> Result<(), Errno> {
        let at = state.id as usize - 1;
        self.calls.push((state.id, call));
        match call {
            Callback::PrePatch => {
                assert!(!self.made[at] && !self.on[at] && !self.shadows[at]);
                self.shadows[at] = true;
                if self.fails == Some(state.id) {
                    return Err(Errno::ENOMEM);
                }
                self.made[at] = true;
            }
            Callback::PostPatch => {
                assert!(self.made[at] && !self.on[at]);
                self.on[at] = true;
            }
            Callback::PreUnpatch => {
                assert!(self.made[at] && self.on[at]);
                self.on[at] = false;
            }
            Callback::PostUnpatch => {
                assert!(self.made[at] && !self.on[at]);
                self.made[at] = false;
            }
        }
        Ok(())
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno> {
        if switch.direction() == Direction::Forward && self.switch_fails {
            return Err(Errno::EBUSY);
        }
        if self.stalls > 0 && !switch.forced() {
            self.stalls -= 1;
            return Ok(Progress::Pending);
        }
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, state: &State) {
        self.shadows[state.id as usize - 1] = false;
    }

    fn barrier(&mut self) {}

    fn quiescent(&mut self, _: &Patch) -> bool {
        self.quiescent
    }
}

/// One of the sixteen: its low bits are the states, the next one replace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Kind(u8);

impl Kind {
    const COUNT: u8 = 1 << (IDS + 1);

    fn has(self, at: usize) -> bool {
        self.0 & 1 << at != 0
    }

    fn replaces(self) -> bool {
        self.0 & 1 << IDS != 0
    }

    fn patch(self, number: usize) -> Patch {
        let mut patch = Patch::new(Name::cut(["P0", "P1", "P2", "P3"][number]));
        patch.replace = Replace::from_flag(self.replaces());
        for at in (0..IDS).filter(|&at| self.has(at)) {
            let mut state = State::new(at as u64 + 1, Name::EMPTY);
            state.is_shadow = true;
            patch.push_state(state).unwrap();
        }
        patch
    }

    fn permuted(self, order: [usize; IDS]) -> Self {
        let bits = (0..IDS).filter(|&at| self.has(at)).map(|at| 1 << order[at]);
        Self(bits.sum::<u8>() | self.0 & 1 << IDS)
    }
}

/// Whether no permutation of the ids gives a smaller sequence.
fn is_first(sequence: &[Kind]) -> bool {
    const ORDERS: [[usize; IDS]; 5] = [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    ORDERS.iter().all(|&order| {
        let other = sequence.iter().map(|kind| kind.permuted(order));
        sequence.iter().copied().le(other)
    })
}

/// All that a request that came to nothing must leave alone.
type Picture = (Vec<Name>, Vec<(u64, u32, bool)>, [[bool; IDS]; 3]);

fn picture(engine: &Engine, host: &Flags) -> Picture {
    let installed = engine.installed();
    let mut states: Vec<_> = installed
        .states()
        .map(|s| (s.id, s.word.users(), s.open))
        .filter(|s| s.1 > 0 || s.2)
        .collect();
    states.sort_unstable();
    let names = installed.patches().iter().map(|p| p.name).collect();
    (names, states, [host.made, host.on, host.shadows])
}

/// What must hold between transitions: a state is made, on, open and has its
/// shadows exactly if a scan finds it, and is counted as often.
fn audit(engine: &Engine, host: &Flags) {
    let installed = engine.installed();
    for at in 0..IDS {
        let id = at as u64 + 1;
        let scan = installed.patches().iter().filter(|p| p.state(id).is_some());
        let users = scan.count();
        let word = installed.state(id).map_or(0, |s| s.word.users());
        assert_eq!(word as usize, users);
        let open = installed.gate(id).is_some_and(|gate| gate.is_open());
        let all = [host.made[at], host.on[at], host.shadows[at], open];
        assert_eq!(all, [users > 0; 4], "state {id}");
    }
}

#[derive(Default, Debug)]
struct Tally {
    sequences: usize,
    completed: usize,
    failures: usize,
    reversals: usize,
    forced: usize,
}

struct Explorer {
    tally: Tally,
}

impl Explorer {
    /// The engine after a sequence.
    fn replay(sequence: &[Kind]) -> (Engine, Flags) {
        let (mut engine, mut host) = (Engine::new(0, Rules::Umbra), Flags::default());
        for (number, kind) in sequence.iter().enumerate() {
            engine.enable(kind.patch(number), &mut host).unwrap();
            assert_eq!(engine.run(&mut host), Status::Completed);
        }
        (engine, host)
    }

    /// A request with each of its failures and reversals, none of which may
    /// leave a trace.
    fn undo_everywhere(&mut self, engine: &mut Engine, host: &mut Flags, request: Request<'_>) {
        let before = picture(engine, host);
        let planned = plan(engine.installed(), request, Rules::Umbra).unwrap();
        let begin = |engine: &mut Engine, host: &mut Flags| match request {
            Request::Enable(patch) => engine.enable(copy(patch), host).unwrap(),
            Request::Disable(name) => engine.disable(name, host).unwrap(),
            _ => unreachable!(),
        };
        let undone = |engine: &mut Engine, host: &mut Flags| {
            let status = loop {
                match engine.run(host) {
                    Status::Stalled => {}
                    status => break status,
                }
            };
            assert!(matches!(status, Status::Undone(_)), "{status:?}");
            assert_eq!(picture(engine, host), before);
            audit(engine, host);
        };

        for id in planned.introduced() {
            host.fails = Some(id);
            begin(engine, host);
            undone(engine, host);
            self.tally.failures += 1;
        }
        host.fails = None;
        host.switch_fails = true;
        begin(engine, host);
        undone(engine, host);
        host.switch_fails = false;
        self.tally.failures += 1;

        let switch = |step: &Step| step.op == Op::Switch;
        let steps = planned.steps().iter().position(switch).unwrap();
        for done in 0..=steps {
            begin(engine, host);
            for _ in 0..done {
                assert_eq!(engine.step(host), Status::Working);
            }
            let outlook = calls(&engine.plan(Request::Reverse).unwrap());
            host.calls.clear();
            engine.reverse(host).unwrap();
            undone(engine, host);
            assert_eq!(host.calls, outlook);
            self.tally.reversals += 1;
        }
        // In the switch: it stalls, and then once more on its way back; and the
        // reversal is itself reversed, and reversed again.
        for stalls in 1..=3 {
            host.stalls = stalls;
            begin(engine, host);
            assert_eq!(engine.run(host), Status::Stalled);
            assert_eq!(engine.reverse(host), Ok(Direction::Back));
            if stalls == 3 {
                assert_eq!(engine.run(host), Status::Stalled);
                assert_eq!(engine.reverse(host), Ok(Direction::Forward));
                assert_eq!(engine.run(host), Status::Stalled);
                assert_eq!(engine.reverse(host), Ok(Direction::Back));
            }
            undone(engine, host);
            self.tally.reversals += 1;
        }
    }

    /// The same request to its end, once as it is and once by force.
    fn go_through(&mut self, sequence: &[Kind], begin: &dyn Fn(&mut Engine, &mut Flags)) {
        let (mut engine, mut host) = Self::replay(sequence);
        begin(&mut engine, &mut host);
        assert_eq!(engine.run(&mut host), Status::Completed);
        audit(&engine, &host);
        self.tally.completed += 1;

        let (mut other, mut flags) = Self::replay(sequence);
        flags.stalls = 1;
        begin(&mut other, &mut flags);
        assert_eq!(other.run(&mut flags), Status::Stalled);
        let shadows = flags.shadows;
        let outlook = calls(&other.plan(Request::Force).unwrap());
        flags.calls.clear();
        other.force(&mut flags).unwrap();
        assert_eq!(other.run(&mut flags), Status::Completed);
        assert_eq!(flags.calls, outlook);
        assert_eq!(flags.shadows, shadows, "S5: nothing was freed");
        assert_eq!(other.settle(&mut flags), 0);
        flags.quiescent = true;
        other.settle(&mut flags);
        assert!(other.installed().pinned().is_empty());
        assert_eq!(picture(&other, &flags), picture(&engine, &host));
        audit(&other, &flags);
        self.tally.forced += 1;
    }

    fn explore(&mut self, sequence: &mut Vec<Kind>) {
        self.tally.sequences += 1;
        let (mut engine, mut host) = Self::replay(sequence);
        let names: Vec<_> = engine
            .installed()
            .patches()
            .iter()
            .map(|p| p.name)
            .collect();
        for name in &names {
            let name = name.as_str();
            self.undo_everywhere(&mut engine, &mut host, Request::Disable(name));
            self.go_through(sequence, &|engine, host| {
                engine.disable(name, host).unwrap()
            });
        }
        if sequence.len() == LENGTH {
            return;
        }
        for kind in (0..Kind::COUNT).map(Kind) {
            sequence.push(kind);
            if is_first(sequence) {
                let number = sequence.len() - 1;
                let patch = kind.patch(number);
                self.undo_everywhere(&mut engine, &mut host, Request::Enable(&patch));
                self.go_through(&sequence[..number], &|engine, host| {
                    engine.enable(kind.patch(number), host).unwrap();
                });
                self.explore(sequence);
            }
            sequence.pop();
        }
    }
}

/// The callbacks of a plan.
fn calls(plan: &Plan) -> Vec<(u64, Callback)> {
    plan.callbacks().map(|(_, id, call)| (id, call)).collect()
}

fn copy(patch: &Patch) -> Patch {
    let mut copy = Patch::new(patch.name);
    copy.replace = patch.replace;
    for state in &patch.states {
        copy.push_state(*state).unwrap();
    }
    copy
}

#[test]
fn r9_r23_r24_r28_r29_r54_every_sequence_of_four_patches_over_three_states() {
    let mut explorer = Explorer {
        tally: Tally::default(),
    };
    explorer.explore(&mut Vec::new());
    let Tally {
        sequences,
        completed,
        failures,
        reversals,
        forced,
    } = explorer.tally;
    println!(
        "{sequences} sequences: {completed} transitions completed, {failures} failed, \
         {reversals} reversed, {forced} forced"
    );
    // All sequences up to renaming, by Burnside's count over the six orders.
    assert_eq!(sequences, burnside());
}

/// How many sequences there are up to renaming the ids.
fn burnside() -> usize {
    // Sets that an order leaves alone: 8 for the identity, 4 for each of three
    // swaps, 2 for each of two rotations; twice that with `replace`.
    let fixed =
        |length: u32| 16_usize.pow(length) + 3 * 8_usize.pow(length) + 2 * 4_usize.pow(length);
    (0..=LENGTH as u32).map(|length| fixed(length) / 6).sum()
}
