//! `umbra check`: what each step of a series would call.

use crate::lint::{self, Warning};
use crate::problem::Problem;
use crate::series::{Move, Series};
use std::io::Write;
use umbra_state::plan::{Op, Part, Who};
use umbra_state::{Engine, Installed, Patch, Plan, Request, Rules, Strictness, plan};

/// Prints the steps of `series` under `rules`, each with its callbacks in order,
/// and what [`lint`] has to say.
///
/// # Errors
/// [`Problem::Refused`] at the first step that is refused, after printing those
/// before it and the warnings up to it; or the output cannot be written.
pub fn check(
    series: &Series,
    rules: Rules,
    strictness: Strictness,
    out: &mut dyn Write,
) -> Result<(), Problem> {
    let mut warnings: Vec<_> = (0..series.len())
        .flat_map(|at| lint::patch(series, at))
        .collect();
    let outcome = steps(series, rules, strictness, &mut warnings, out);
    // Also after a refusal: what looks wrong may be why.
    if !warnings.is_empty() {
        writeln!(out)?;
    }
    for warning in warnings {
        writeln!(out, "{warning}")?;
    }
    outcome
}

/// Prints the steps up to the first one that is refused, and collects what is odd
/// about each, that one included.
fn steps(
    series: &Series,
    rules: Rules,
    strictness: Strictness,
    warnings: &mut Vec<Warning>,
    out: &mut dyn Write,
) -> Result<(), Problem> {
    let mut engine = Engine::new(0, rules).with_strictness(strictness);
    for (index, step) in series.steps().enumerate() {
        let enabled = engine.installed().patches().iter();
        let enabled: Vec<_> = enabled.map(|patch| patch.cookie).collect();
        for mut warning in lint::step(series, &enabled, step) {
            warning.text = format!("step {}: {}", index + 1, warning.text);
            warnings.push(warning);
        }
        let incoming = match step {
            Move::Enable(at) => Some(series.make_for(at, rules)?),
            Move::Disable(_) => None,
        };
        let request = match (&incoming, step) {
            (Some(patch), _) => Request::Enable(patch),
            (None, Move::Enable(at) | Move::Disable(at)) => {
                Request::Disable(series.patch(at).name.as_str())
            }
        };
        let planned = plan(engine.installed(), request, rules)
            .map_err(|refusal| series.refused(index, refusal))?;
        writeln!(
            out,
            "{}. {}: {}",
            index + 1,
            series.title(step),
            summary(&planned)
        )?;
        for line in lines(engine.installed(), incoming.as_ref(), &planned) {
            writeln!(out, "     {line}")?;
        }
        let begun = match (incoming, step) {
            (Some(patch), _) => engine.enable(patch, &mut ()),
            (None, Move::Enable(at) | Move::Disable(at)) => {
                engine.disable(series.patch(at).name.as_str(), &mut ())
            }
        };
        begun.map_err(|refusal| series.refused(index, refusal))?;
        engine.run(&mut ());
    }
    Ok(())
}

/// Which states begin, stay and end.
pub(crate) fn summary(plan: &Plan) -> String {
    let mut parts = Vec::new();
    let mut part = |what: &str, ids: Vec<u64>| {
        if !ids.is_empty() {
            let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
            parts.push(format!("{what} {}", ids.join(", ")));
        }
    };
    part("begins", plan.introduced().collect());
    part("shares", plan.shared().collect());
    part("takes over", plan.inherited().collect());
    part("ends", plan.removed().collect());
    if parts.is_empty() {
        String::from("no state changes")
    } else {
        parts.join("; ")
    }
}

/// The callbacks, frees and the switch of a plan, one a line.
pub(crate) fn lines(installed: &Installed, incoming: Option<&Patch>, plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for step in plan.steps() {
        let patch = match step.who {
            Who::Incoming => incoming,
            Who::Installed(at) => installed.patches().get(at as usize),
        };
        let object = |at: u32| patch.and_then(|patch| patch.objects.get(at as usize));
        if let Some(callback) = step.call {
            // An object stands for the state of its number.
            let of = match step.part {
                Part::State(_) => step.state,
                Part::Object(at) => object(at).map_or(0, |object| object.cookie as u64),
            };
            let name = patch.map_or("", |patch| patch.name.as_str());
            lines.push(format!("{name}.{of}.{callback}"));
        }
        if step.frees {
            lines.push(format!("free the shadows of {}", step.state));
        }
        if step.op == Op::Switch {
            let hooks = match plan.hook_counts() {
                (0, 0, 0) => String::new(),
                (added, changed, removed) => {
                    format!(" (hooks: {added} added, {changed} exchanged, {removed} removed)")
                }
            };
            lines.push(format!("-- switch --{hooks}"));
        }
    }
    lines
}

/// An engine with `patch` enabled in it, if it can be.
pub(crate) fn with(patch: Patch) -> Result<Engine, umbra_state::Refusal> {
    let mut engine = Engine::new(0, Rules::Umbra);
    engine.enable(patch, &mut ())?;
    engine.run(&mut ());
    Ok(engine)
}
