//! `umbra simulate`: plays a series through on real shadow tables, with
//! failures and reversals where they are asked for.

use crate::problem::Problem;
use crate::series::{Move, Series};
use crate::timeline::{Timeline, TimelineEvent};
use std::io::Write;
use std::str::FromStr;
use umbra_shadow::{AllocFlags, Epoch, ShadowTable, Smr};
use umbra_state::{
    Callback, Direction, Engine, Errno, Event, Host, Patch, Progress, Reason, Rules, Shadows,
    State, Status, Switch,
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
    /// Which `pre_patch` fails, each time it is called.
    pub fail: Vec<Failure>,
    /// The number, from 1, of the step whose switch stalls and is reversed.
    pub reverse_at: Option<usize>,
}

/// Plays `series` through, prints what happens, and gives its timeline.
///
/// # Errors
/// [`Problem::Refused`] at the first refused step, [`Problem::Option`] for an
/// option that fits nothing in the file, [`Problem::Leak`] if shadow variables
/// are left whose state is in no patch.
pub fn simulate(
    series: &Series,
    options: &Options,
    out: &mut dyn Write,
) -> Result<Timeline, Problem> {
    fits(series, options)?;
    let mut engine = Engine::new(0, Rules::Umbra);
    let mut world = World {
        series,
        options,
        shadows: ShadowTable::new(Epoch),
        step: String::new(),
        stalls: false,
        events: Vec::new(),
        lines: Vec::new(),
        out_of_memory: false,
    };
    let mut timeline = Timeline::new("Simulated series");
    for (index, step) in series.steps().enumerate() {
        let number = index + 1;
        world.step = format!("{number}. {}", series.title(step));
        writeln!(out, "{}", world.step)?;
        timeline.step(&world.step);
        let begun = match step {
            Move::Enable(at) => engine.enable(series.make(at)?, &mut world),
            Move::Disable(at) => engine.disable(series.patch(at).name.as_str(), &mut world),
        };
        begun.map_err(|refusal| series.refused(index, refusal))?;
        world.stalls = options.reverse_at == Some(number);
        let mut status = engine.run(&mut world);
        while status == Status::Stalled {
            // It stalls once, and only to be reversed.
            let _ = engine.reverse(&mut world);
            status = engine.run(&mut world);
        }
        for line in world.lines.drain(..) {
            writeln!(out, "     {line}")?;
        }
        for event in world.events.drain(..) {
            timeline.event(event);
        }
        if world.out_of_memory {
            return Err(Problem::OutOfMemory);
        }
        if let Status::Undone(cause) = status {
            writeln!(out, "     taken back: {cause}")?;
        }
        let mut live = Vec::new();
        for state in states(&engine) {
            let count = world.shadows.live(state.0);
            timeline.live(state.0, count);
            if state.1 == 0 && count > 0 {
                return Err(Problem::Leak {
                    state: state.0,
                    count,
                });
            }
            let users = counted(state.1 as usize, "user");
            live.push(format!(
                "state {}: {users}, {}",
                state.0,
                counted(count, "shadow")
            ));
        }
        writeln!(out, "     {}", live.join("; "))?;
    }
    Ok(timeline)
}

/// "1 user", "2 users".
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Ids and users, by id.
fn states(engine: &Engine) -> Vec<(u64, u32)> {
    let states = engine
        .installed()
        .states()
        .map(|state| (state.id, state.word.users()));
    let mut states: Vec<_> = states.collect();
    states.sort_unstable();
    states
}

/// Whether the options name things that the file has.
fn fits(series: &Series, options: &Options) -> Result<(), Problem> {
    let steps = series.steps().len();
    if let Some(at) = options.reverse_at
        && !(1..=steps).contains(&at)
    {
        return Err(Problem::Option {
            what: format!("there is no step {at} to reverse"),
            help: format!("the steps are numbered from 1 to {steps}"),
        });
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
    stalls: bool,
    events: Vec<TimelineEvent>,
    lines: Vec<String>,
    out_of_memory: bool,
}

impl World<'_> {
    fn fails(&self, patch: &Patch, state: &State) -> bool {
        self.options.fail.iter().any(|failure| {
            let named = failure.patch.as_deref();
            failure.state == state.id && named.is_none_or(|name| name == patch.name.as_str())
        })
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
        if callback != Callback::PrePatch {
            return Ok(());
        }
        // Objects are made-up addresses, one cache line apart.
        for object in 1..=self.series.attaches(patch, state) {
            let flags = AllocFlags::default();
            let made = self
                .shadows
                .get_or_alloc(object << 6, state.id, 8, flags, |_| Ok::<(), ()>(()));
            self.out_of_memory |= made.is_err();
        }
        // After attaching: what a failing one leaves behind must go too.
        if self.fails(patch, state) {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    fn switch(&mut self, _: &Switch<'_>) -> Result<Progress, Errno> {
        if std::mem::take(&mut self.stalls) {
            return Ok(Progress::Pending);
        }
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, state: &State) {
        Shadows::free_all(&self.shadows, state.id, state.shadow_dtor);
    }

    fn barrier(&mut self) {
        Epoch.barrier();
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Called {
                patch,
                state,
                callback,
                reason,
                result,
            } => {
                let failed = result
                    .err()
                    .map_or(String::new(), |errno| format!(" = {errno}"));
                self.lines.push(format!(
                    "{}.{}.{callback} [{reason}]{failed}",
                    patch.name, state.id
                ));
                self.events.push(TimelineEvent {
                    step: self.step.clone(),
                    patch: patch.name.to_string(),
                    state: state.id,
                    callback: callback.to_string(),
                    result: result.err().map_or(0, |errno| errno.0),
                    t_us: 0,
                });
            }
            Event::Freed(_, state) => {
                self.lines.push(format!("free the shadows of {}", state.id));
            }
            Event::Stalled(_) => self.lines.push(String::from("-- switch stalls --")),
            Event::Reversed(_) => self.lines.push(String::from("-- reversed --")),
            Event::Switched(Direction::Forward) => self.lines.push(String::from("-- switch --")),
            Event::Switched(Direction::Back) => self.lines.push(String::from("-- switch back --")),
            _ => {}
        }
    }
}
