//! `umbra compare`: the same requests under our rules and under those that
//! exist, in one table.
//!
//! The scenes are the golden traces and known defects of the requirements; a
//! file of patches can be compared as well. Everything runs on real shadow
//! tables, and what is left in them that no enabled patch has is a leak.
//!
//! Mainline has no callbacks of states, so each patch gets an object for each
//! of its states, with the same callbacks, as its author would write them: the
//! shadows are attached in `pre_patch` and freed in `post_unpatch`, unless an
//! earlier patch has the state. `mainline*` is the same without declared states,
//! so nobody can be asked. A `pre_patch` that fails has attached before.

use crate::problem::Problem;
use crate::series::{Move, Series, objects};
use std::collections::BTreeMap;
use std::io::Write;
use umbra_shadow::{AllocFlags, Epoch, ShadowTable, Smr};
use umbra_state::{
    Callback, Engine, Errno, Event, Host, Name, ObjectCall, OutOfMemory, Patch, Pinned, Progress,
    Reason, Replace, Rules, Shadows, State, Status, Switch,
};

/// One thing that happens in a scene.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A patch of this name, replacing or not, with these states is enabled.
    On(&'static str, bool, &'static [u64]),
    /// The same; its states are marked `block_disable`.
    Blocked(&'static str, bool, &'static [u64]),
    /// The patch of this name is disabled.
    Off(&'static str),
    /// The `pre_patch` of this state of this patch fails from now on.
    Fail(&'static str, u64),
    /// The next switch stalls.
    Stall,
    /// The stalled switch is reversed.
    Reverse,
    /// The stalled switch is forced.
    Force,
}

struct Scene {
    id: &'static str,
    title: &'static str,
    acts: &'static [Act],
}

const SCENES: &[Scene] = {
    use Act::*;
    &[
        Scene {
            id: "T1 D4",
            title: "the third of four pre_patch fails",
            acts: &[Fail("A", 3), On("A", false, &[1, 2, 3, 4])],
        },
        Scene {
            id: "T2 D1",
            title: "A and B share state 1, C replaces both without it",
            acts: &[
                On("A", false, &[1]),
                On("B", false, &[1]),
                On("C", true, &[]),
            ],
        },
        Scene {
            id: "T3",
            title: "A{1} -> B{2} stalls and is reversed",
            acts: &[On("A", true, &[1]), Stall, On("B", true, &[2]), Reverse],
        },
        Scene {
            id: "T4",
            title: "disabling A stalls and is reversed",
            acts: &[On("A", true, &[1]), Stall, Off("A"), Reverse],
        },
        Scene {
            id: "T5 D5",
            title: "a block_disable patch is stuck while it is enabled",
            acts: &[Stall, Blocked("A", false, &[1]), Reverse],
        },
        Scene {
            id: "T6 D6",
            title: "A and B share a blocked state, B is disabled",
            acts: &[
                Blocked("A", false, &[1]),
                Blocked("B", false, &[1]),
                Off("B"),
            ],
        },
        Scene {
            id: "T7 D7",
            title: "an id is listed twice",
            acts: &[On("A", false, &[1, 1]), Off("A")],
        },
        Scene {
            id: "T8",
            title: "P1{1} P2{1} P3{1,2} P4{1,3} P1{1}",
            acts: &[
                On("P1", true, &[1]),
                On("P2", true, &[1]),
                On("P3", true, &[1, 2]),
                On("P4", true, &[1, 3]),
                On("P1", true, &[1]),
            ],
        },
        Scene {
            id: "D8",
            title: "disabling A is forced while a task is in it",
            acts: &[On("A", false, &[1]), Stall, Off("A"), Force],
        },
    ]
};

/// A column of the comparison.
const COLUMNS: [(&str, Rules, bool); 4] = [
    ("umbra", Rules::Umbra, true),
    ("v1", Rules::V1, true),
    ("mainline", Rules::Mainline, true),
    ("mainline*", Rules::Mainline, false),
];

/// Prints every scene under every set of rules.
///
/// # Errors
/// The output cannot be written, or there is no memory.
pub fn scenes(out: &mut dyn Write) -> Result<(), Problem> {
    let mut defects = [0; COLUMNS.len()];
    for scene in SCENES {
        writeln!(out, "{}: {}", scene.id, scene.title)?;
        for (column, defects) in COLUMNS.iter().zip(&mut defects) {
            let mut world = World::new(*column);
            for act in scene.acts {
                world.act(*act)?;
            }
            world.report(out, defects)?;
        }
        writeln!(out)?;
    }
    legend(&defects, out)
}

/// Prints the steps of a file under every set of rules.
///
/// # Errors
/// As [`scenes`]. A refused step is an answer, and the next one follows.
pub fn file(series: &Series, out: &mut dyn Write) -> Result<(), Problem> {
    let mut defects = [0; COLUMNS.len()];
    let mut worlds = COLUMNS.map(World::new);
    for step in series.steps() {
        writeln!(out, "{}", series.title(step))?;
        for (world, defects) in worlds.iter_mut().zip(&mut defects) {
            match step {
                Move::Enable(at) => world.enable(series.make(at)?)?,
                Move::Disable(at) => world.disable(series.patch(at).name.as_str()),
            }
            world.report(out, defects)?;
        }
        writeln!(out)?;
    }
    legend(&defects, out)
}

fn legend(defects: &[usize], out: &mut dyn Write) -> Result<(), Problem> {
    let counts: Vec<_> = COLUMNS
        .iter()
        .zip(defects)
        .map(|(column, count)| format!("{} {count}", column.0))
        .collect();
    writeln!(out, "leaks and early frees: {}", counts.join(", "))?;
    writeln!(
        out,
        "|: the switch. mainline*: callbacks without declared states."
    )?;
    Ok(())
}

struct World {
    column: (&'static str, Rules, bool),
    engine: Engine,
    hands: Hands,
}

/// The host.
struct Hands {
    shadows: ShadowTable<Epoch>,
    trace: Vec<String>,
    fails: Vec<(&'static str, u64)>,
    stalls: bool,
    forced: bool,
    /// Which ids were ever attached, and were freed while a task used them.
    known: BTreeMap<u64, bool>,
    out_of_memory: bool,
}

impl World {
    fn new(column: (&'static str, Rules, bool)) -> Self {
        Self {
            column,
            engine: Engine::new(0, column.1),
            hands: Hands {
                shadows: ShadowTable::new(Epoch),
                trace: Vec::new(),
                fails: Vec::new(),
                stalls: false,
                forced: false,
                known: BTreeMap::new(),
                out_of_memory: false,
            },
        }
    }

    fn act(&mut self, act: Act) -> Result<(), Problem> {
        match act {
            Act::On(name, replace, ids) => self.enable(build(name, replace, ids, false)?)?,
            Act::Blocked(name, replace, ids) => self.enable(build(name, replace, ids, true)?)?,
            Act::Off(name) => self.disable(name),
            Act::Fail(patch, state) => self.hands.fails.push((patch, state)),
            Act::Stall => self.hands.stalls = true,
            Act::Reverse => match self.engine.reverse(&mut self.hands) {
                Ok(_) => self.run(),
                Err(why) => self.hands.trace.push(format!("not reversed: {why}")),
            },
            Act::Force => match self.engine.force(&mut self.hands) {
                Ok(_) => self.run(),
                Err(why) => self.hands.trace.push(format!("not forced: {why}")),
            },
        }
        Ok(())
    }

    fn enable(&mut self, mut patch: Patch) -> Result<(), Problem> {
        let (_, rules, states) = self.column;
        if rules == Rules::Mainline {
            objects(&mut patch)?;
            if !states {
                patch.states.clear();
                patch.hooks.clear();
            }
        }
        match self.engine.enable(patch, &mut self.hands) {
            Ok(()) => self.run(),
            Err(refusal) => self.hands.trace.push(format!("refused: {refusal}")),
        }
        Ok(())
    }

    fn disable(&mut self, name: &str) {
        match self.engine.disable(name, &mut self.hands) {
            Ok(()) => self.run(),
            Err(refusal) => self.hands.trace.push(format!("refused: {refusal}")),
        }
    }

    fn run(&mut self) {
        if let Status::Undone(cause) = self.engine.run(&mut self.hands) {
            let what = cause.to_string();
            let what = what.split(';').next().unwrap_or_default();
            self.hands.trace.push(format!("({what})"));
        }
    }

    fn report(&mut self, out: &mut dyn Write, defects: &mut usize) -> Result<(), Problem> {
        if self.hands.out_of_memory {
            return Err(Problem::OutOfMemory);
        }
        let trace = std::mem::take(&mut self.hands.trace);
        let mut line = trace.join(" ");
        for (&id, early) in &mut self.hands.known {
            let installed = self.engine.installed();
            let object = |p: &Patch| p.objects.iter().any(|o| o.cookie as u64 == id);
            let has = |p: &Patch| p.state(id).is_some() || object(p);
            let owes = |p: &Pinned| installed.owed(p).any(|s| s.id == id) || object(p.patch());
            let left = self.hands.shadows.live(id);
            if std::mem::take(early) {
                *defects += 1;
                line.push_str(&format!(" ** state {id} FREED WHILE A TASK USES IT **"));
            }
            let used = installed.patches().iter().any(has);
            if used && left == 0 && installed.running().is_none() {
                *defects += 1;
                line.push_str(&format!(" ** state {id} IS GONE UNDER ITS USERS **"));
            }
            let kept = used || installed.pinned().iter().any(owes);
            if left > 0 && !kept && installed.running().is_none() {
                *defects += 1;
                line.push_str(&format!(" ** state {id} LEAKS **"));
                // Told once.
                Shadows::free_all(&self.hands.shadows, id, None);
            }
        }
        writeln!(out, "  {:<10} {}", self.column.0, line.trim_start())?;
        Ok(())
    }
}

fn build(name: &str, replace: bool, ids: &[u64], blocked: bool) -> Result<Patch, OutOfMemory> {
    let mut patch = Patch::new(Name::cut(name));
    patch.replace = Replace::from_flag(replace);
    for &id in ids {
        let mut state = State::new(id, Name::cut(&format!("s{id}")));
        state.is_shadow = true;
        state.block_disable = blocked;
        patch.push_state(state)?;
    }
    Ok(patch)
}

impl Hands {
    fn called(&mut self, patch: &Patch, id: u64, callback: Callback) -> Result<(), Errno> {
        let failing = |f: &(&str, u64)| f.0 == patch.name.as_str() && f.1 == id;
        let fails = callback == Callback::PrePatch && self.fails.iter().any(failing);
        let mark = if fails { "!ERR" } else { "" };
        self.trace
            .push(format!("{}.{id}.{callback}{mark}", patch.name));
        if fails { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    fn attach(&mut self, id: u64) {
        self.known.entry(id).or_default();
        let flags = AllocFlags::default();
        let made = self
            .shadows
            .get_or_alloc(1 << 6, id, 8, flags, |_| Ok::<(), ()>(()));
        self.out_of_memory |= made.is_err();
    }

    fn free(&mut self, id: u64) {
        self.trace.push(format!("free({id})"));
        if self.forced && self.shadows.live(id) > 0 {
            self.known.insert(id, true);
        }
        Shadows::free_all(&self.shadows, id, None);
    }
}

impl Host for Hands {
    fn call(
        &mut self,
        patch: &Patch,
        state: &State,
        callback: Callback,
        _: Reason,
    ) -> Result<(), Errno> {
        if callback == Callback::PrePatch && state.is_shadow {
            self.attach(state.id);
        }
        self.called(patch, state.id, callback)
    }

    fn call_object(&mut self, call: &ObjectCall<'_>) -> Result<(), Errno> {
        let id = call.object.cookie as u64;
        if call.callback == Callback::PrePatch && call.prev_state(id).is_none() {
            self.attach(id);
        }
        let result = self.called(call.patch, id, call.callback);
        // Its author asks who else has the state, if it can be asked for.
        if call.callback == Callback::PostUnpatch && call.prev_state(id).is_none() {
            self.free(id);
        }
        result
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno> {
        if switch.forced() {
            self.forced = true;
            return Ok(Progress::Done);
        }
        if std::mem::take(&mut self.stalls) {
            return Ok(Progress::Pending);
        }
        self.trace.push(String::from("|"));
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, state: &State) {
        self.free(state.id);
    }

    fn barrier(&mut self) {
        Epoch.barrier();
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Reversed(_) => self.trace.push(String::from("REVERSE")),
            Event::Forced(_) => self.trace.push(String::from("FORCE")),
            Event::Quarantined(patch, state) => {
                let line = format!("quarantine({}.{})", patch.name, state.id);
                self.trace.push(line);
            }
            _ => {}
        }
    }
}
