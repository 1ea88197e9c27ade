//! `umbra simulate`: plays a series through on real shadow tables, with
//! failures, reversals and force where they are asked for.

use crate::problem::Problem;
use crate::series::{Move, Series};
use crate::timeline::{Timeline, TimelineEvent};
use std::collections::BTreeSet;
use std::io::Write;
use std::str::FromStr;
use umbra_shadow::{AllocFlags, Epoch, ShadowTable, Smr};
use umbra_state::{
    Callback, Direction, Engine, Errno, Event, Host, ObjectCall, Patch, Phase, Progress, Reason,
    Request, Rules, Shadows, State, Status, Switch,
};

/// A `pre_patch` that is to fail: `[PATCH.]STATE.pre_patch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The patch, or any.
    pub patch: Option<String>,
    /// The state's id.
    pub state: u64,
}

impl FromStr for Failure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "expected STATE.pre_patch or PATCH.STATE.pre_patch, as in 2.pre_patch";
        let (rest, callback) = text.rsplit_once('.').ok_or(form)?;
        if callback != Callback::PrePatch.as_str() {
            return Err(
                match Callback::ALL.iter().find(|c| c.as_str() == callback) {
                    Some(other) => format!("{other} cannot fail: only pre_patch may refuse"),
                    None => form.to_owned(),
                },
            );
        }
        let (patch, state) = match rest.rsplit_once('.') {
            Some((patch, state)) => (Some(patch.to_owned()), state),
            None => (None, rest),
        };
        let state = state
            .parse()
            .map_err(|_| format!("{state:?} is no state id; {form}"))?;
        Ok(Self { patch, state })
    }
}

/// What a simulation is asked to do besides the series.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// By which rules.
    pub rules: Rules,
    /// Which `pre_patch` fails, each time it is called.
    pub fail: Vec<Failure>,
    /// The number, from 1, of the step whose switch stalls and is reversed.
    pub reverse_at: Option<usize>,
    /// The number, from 1, of the step whose switch stalls and is forced; back,
    /// if it is reversed. A task is then inside what went away until the end.
    pub force_at: Option<usize>,
}

/// Plays `series` through, prints what happens, and draws it into `timeline`, as far
/// as it comes.
///
/// # Errors
/// [`Problem::Refused`] at the first refused step, [`Problem::Option`] for an
/// option that fits nothing in the file. Under our own rules [`Problem::Leak`]
/// if shadow variables are left whose state is in no patch, and
/// [`Problem::EarlyFree`] if some were freed under a task; under those that
/// exist such things are to be expected, and are printed.
pub fn simulate(
    series: &Series,
    options: &Options,
    timeline: &mut Timeline,
    out: &mut dyn Write,
) -> Result<(), Problem> {
    fits(series, options)?;
    let mut engine = Engine::new(0, options.rules);
    let mut world = World {
        series,
        options,
        shadows: ShadowTable::new(Epoch),
        step: String::new(),
        stalls: 0,
        inside: BTreeSet::new(),
        left: false,
        early: None,
        events: Vec::new(),
        lines: Vec::new(),
        out_of_memory: false,
    };
    for (index, step) in series.steps().enumerate() {
        let number = index + 1;
        world.step = format!("{number}. {}", series.title(step));
        writeln!(out, "{}", world.step)?;
        timeline.step(&world.step);
        let [reverse, force] = [options.reverse_at, options.force_at].map(|at| at == Some(number));
        let goes = going(&engine, series, step, reverse)?;
        let begun = match step {
            Move::Enable(at) => engine.enable(series.make_for(at, options.rules)?, &mut world),
            Move::Disable(at) => engine.disable(series.patch(at).name.as_str(), &mut world),
        };
        begun.map_err(|refusal| series.refused(index, refusal))?;
        world.stalls = usize::from(reverse) + usize::from(force);
        let mut status = engine.run(&mut world);
        let mut reversing = reverse;
        let mut forced = false;
        while status == Status::Stalled {
            if std::mem::take(&mut reversing) {
                if let Err(why) = engine.reverse(&mut world) {
                    world.lines.push(format!("not reversed: {why}"));
                }
            } else if force && engine.force(&mut world).is_ok() {
                forced = true;
                world.inside.extend(&goes);
            }
            status = engine.run(&mut world);
        }
        if let Status::Undone(cause) = status {
            world.lines.push(if forced {
                String::from("taken back by force: code of it may still run")
            } else {
                format!("taken back: {cause}")
            });
        }
        account(&engine, &mut world, timeline, out)?;
    }
    if options.force_at.is_some() {
        world.step = String::from("All tasks leave");
        writeln!(out, "{}", world.step)?;
        timeline.step(&world.step);
        world.inside.clear();
        world.left = true;
        engine.settle(&mut world);
        account(&engine, &mut world, timeline, out)?;
    }
    Ok(())
}

/// The states of what a forced step takes away, or that it takes back.
fn going(
    engine: &Engine,
    series: &Series,
    step: Move,
    back: bool,
) -> Result<BTreeSet<u64>, Problem> {
    let ids = |patch: &Patch| patch.states.iter().map(|s| s.id).collect::<Vec<_>>();
    let new = match step {
        Move::Enable(at) => Some(series.make_for(at, engine.rules())?),
        Move::Disable(_) => None,
    };
    let request = match (&new, step) {
        (Some(new), _) if back => return Ok(ids(new).into_iter().collect()),
        (Some(new), _) => Request::Enable(new),
        (None, _) if back => return Ok(BTreeSet::new()),
        (None, Move::Enable(at) | Move::Disable(at)) => {
            Request::Disable(series.patch(at).name.as_str())
        }
    };
    // One that is refused is so again when it begins.
    let Ok(planned) = engine.plan(request) else {
        return Ok(BTreeSet::new());
    };
    let leaving = engine.installed().patches().get(planned.leaving());
    Ok(leaving.unwrap_or(&[]).iter().flat_map(ids).collect())
}

/// Prints what happened in a step and what there is after it.
fn account(
    engine: &Engine,
    world: &mut World<'_>,
    timeline: &mut Timeline,
    out: &mut dyn Write,
) -> Result<(), Problem> {
    for line in world.lines.drain(..) {
        writeln!(out, "     {line}")?;
    }
    for event in world.events.drain(..) {
        timeline.event(event);
    }
    if world.out_of_memory {
        return Err(Problem::OutOfMemory);
    }
    let ours = engine.rules() == Rules::Umbra;
    if let (Some(state), true) = (world.early, ours) {
        return Err(Problem::EarlyFree { state });
    }
    let installed = engine.installed();
    let mut states: Vec<_> = installed.states().collect();
    states.sort_unstable_by_key(|state| state.id);
    let mut live = Vec::new();
    for state in states {
        let count = world.shadows.live(state.id);
        timeline.live(state.id, count);
        let scan = installed.patches().iter();
        let users = scan.filter(|p| p.state(state.id).is_some()).count();
        let waits = matches!(state.word.phase(), Phase::Enabling | Phase::Disabling);
        let leaks = users == 0 && count > 0 && state.is_shadow && !waits;
        if leaks && ours {
            return Err(Problem::Leak {
                state: state.id,
                count,
            });
        }
        live.push(format!(
            "state {}: {}, {}{}{}",
            state.id,
            counted(users, "user"),
            counted(count, "shadow"),
            if waits { " in quarantine" } else { "" },
            if leaks { " (LEAK)" } else { "" }
        ));
    }
    writeln!(out, "     {}", live.join("; "))?;
    Ok(())
}

/// "1 user", "2 users".
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Whether the options name things that the file has.
fn fits(series: &Series, options: &Options) -> Result<(), Problem> {
    let steps = series.steps().len();
    for (at, what) in [(options.reverse_at, "reverse"), (options.force_at, "force")] {
        if let Some(at) = at.filter(|at| !(1..=steps).contains(at)) {
            return Err(Problem::Option {
                what: format!("there is no step {at} to {what}"),
                help: format!("the steps are numbered from 1 to {steps}"),
            });
        }
    }
    for failure in &options.fail {
        let matches = |patch: &&Patch| {
            failure
                .patch
                .as_deref()
                .is_none_or(|name| name == patch.name.as_str())
        };
        let patches = (0..series.len()).map(|at| series.patch(at));
        let mut states = patches.filter(matches).flat_map(|patch| &patch.states);
        if !states.any(|s| s.id == failure.state && s.callbacks.contains(Callback::PrePatch)) {
            let of = failure
                .patch
                .as_ref()
                .map_or(String::new(), |name| format!(" of patch {name}"));
            return Err(Problem::Option {
                what: format!(
                    "state {}{of} has no pre_patch that could fail",
                    failure.state
                ),
                help: String::from(
                    "name a state that the file has, and whose callbacks include it",
                ),
            });
        }
    }
    Ok(())
}

/// The host of a simulation.
struct World<'a> {
    series: &'a Series,
    options: &'a Options,
    shadows: ShadowTable<Epoch>,
    step: String,
    /// How often the switch stalls before it is done.
    stalls: usize,
    /// The states that a task may use of what was forced out.
    inside: BTreeSet<u64>,
    /// Nobody is inside any more.
    left: bool,
    /// A state whose shadows went under a task.
    early: Option<u64>,
    events: Vec<TimelineEvent>,
    lines: Vec<String>,
    out_of_memory: bool,
}

impl World<'_> {
    fn fails(&self, patch: &Patch, id: u64) -> bool {
        self.options.fail.iter().any(|failure| {
            let named = failure.patch.as_deref();
            failure.state == id && named.is_none_or(|name| name == patch.name.as_str())
        })
    }

    /// What a `pre_patch` does: attaches the state's shadows. Says whether it
    /// fails, which it does after that: what it leaves behind must go too.
    fn attach(&mut self, patch: &Patch, state: &State) -> Result<(), Errno> {
        // Objects are made-up addresses, one cache line apart.
        for object in 1..=self.series.attaches(patch, state) {
            let flags = AllocFlags::default();
            let made = self
                .shadows
                .get_or_alloc(object << 6, state.id, 8, flags, |_| Ok::<(), ()>(()));
            self.out_of_memory |= made.is_err();
            if made.is_err() {
                break;
            }
        }
        if self.fails(patch, state.id) {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    fn free(&mut self, state: &State) {
        if self.inside.contains(&state.id) && self.shadows.live(state.id) > 0 {
            self.early = Some(state.id);
            self.lines.push(format!(
                "** state {}: freed while a task uses it **",
                state.id
            ));
        }
        Shadows::free_all(&self.shadows, state.id, state.shadow_dtor);
    }

    fn called(
        &mut self,
        patch: &Patch,
        state: u64,
        (callback, reason): (Callback, Reason),
        result: Result<(), Errno>,
    ) {
        let failed = result
            .err()
            .map_or(String::new(), |errno| format!(" = {errno}"));
        let name = patch.name;
        self.lines
            .push(format!("{name}.{state}.{callback} [{reason}]{failed}"));
        self.events.push(TimelineEvent {
            step: self.step.clone(),
            patch: name.to_string(),
            state,
            callback: callback.to_string(),
            result: result.err().map_or(0, |errno| errno.0),
            t_us: 0,
        });
    }
}

impl Host for World<'_> {
    fn call(
        &mut self,
        patch: &Patch,
        state: &State,
        callback: Callback,
        _: Reason,
    ) -> Result<(), Errno> {
        match callback {
            Callback::PrePatch => self.attach(patch, state),
            _ => Ok(()),
        }
    }

    /// As its author would write it: what an earlier patch has is taken over,
    /// and freed by who was first.
    fn call_object(&mut self, call: &ObjectCall<'_>) -> Result<(), Errno> {
        let id = call.object.cookie as u64;
        let (Some(&state), None) = (call.state(id), call.prev_state(id)) else {
            return Ok(());
        };
        match call.callback {
            Callback::PrePatch => self.attach(call.patch, &state),
            Callback::PostUnpatch if state.is_shadow => {
                self.lines.push(format!("free the shadows of {id} by hand"));
                self.free(&state);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno> {
        if self.stalls > 0 && !switch.forced() {
            self.stalls -= 1;
            return Ok(Progress::Pending);
        }
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, state: &State) {
        self.free(state);
    }

    fn barrier(&mut self) {
        Epoch.barrier();
    }

    fn quiescent(&mut self, _: &Patch) -> bool {
        self.left
    }

    fn event(&mut self, event: &Event<'_>) {
        let line = match event {
            Event::Called {
                patch,
                state,
                callback,
                reason,
                result,
            } => return self.called(patch, state.id, (*callback, *reason), *result),
            Event::ObjectCalled {
                patch,
                object,
                callback,
                reason,
                result,
            } => {
                let id = object.cookie as u64;
                return self.called(patch, id, (*callback, *reason), *result);
            }
            Event::Freed(_, state) => format!("free the shadows of {}", state.id),
            Event::Quarantined(patch, state) => {
                format!("{}.{} waits in quarantine", patch.name, state.id)
            }
            Event::Pinned(patch) => format!("{} is pinned", patch.name),
            Event::Stalled(_) => String::from("-- switch stalls --"),
            Event::Reversed(_) => String::from("-- reversed --"),
            Event::Forced(_) => String::from("-- forced --"),
            Event::Switched(Direction::Forward) => String::from("-- switch --"),
            Event::Switched(Direction::Back) => String::from("-- switch back --"),
            _ => return,
        };
        self.lines.push(line);
    }
}
