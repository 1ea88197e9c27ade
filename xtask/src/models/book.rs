//! What a run of the models showed, for the terminal and for `loom-tests/RESULTS.md`,
//! and what is taken from there: which models are long.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Model, Outcome, Reach, Verdict};
use crate::error::Result;
use crate::paths::Paths;
use crate::report::{table, thousands};
use crate::results;
use crate::ui;

const HEAD: [&str; 5] = ["model", "verdict", "executions", "time", "extent"];

/// The parts of the file.
const MODELS: &str = "models";
const UNBOUNDED: &str = "unbounded";

fn row(outcome: &Outcome) -> Vec<String> {
    // Of a failure, up to it.
    let executions = outcome.executions.or(outcome.failed_in);
    let executions = executions.map(u64::cast_signed).map(thousands);
    vec![
        outcome.model.clone(),
        outcome.verdict.word().into(),
        executions.unwrap_or_default(),
        ui::seconds(outcome.time()),
        outcome.extent.clone(),
    ]
}

/// A table of all outcomes.
pub(crate) fn all(outcomes: &[&Outcome]) -> String {
    let rows: Vec<Vec<String>> = outcomes.iter().map(|o| row(o)).collect();
    table(&HEAD, &rows)
}

/// How many models, how many executions, and what did not end.
pub(crate) fn summary(done: &[(Model, Outcome)]) -> String {
    let models = done.iter().filter(|(m, _)| m.explores).count();
    let of_models = done.iter().filter(|(m, _)| m.explores);
    let count: u64 = of_models.filter_map(|(_, o)| o.executions).sum();
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let mut text = format!("{models} model{}, ", plural(models));
    let tools = done.len() - models;
    if tools > 0 {
        text.push_str(&format!("{tools} check{} of the tools, ", plural(tools)));
    }
    text.push_str(&format!("{} executions", thousands(count.cast_signed())));
    let cut = done.iter().filter(|(_, o)| o.verdict == Verdict::Cut);
    match cut.count() {
        0 => text,
        cut => format!("{text}; {cut} not explored to their end"),
    }
}

/// Writes a run of all models, none of which failed, to its part of the results.
pub(crate) fn write(
    paths: &Paths,
    done: &[(Model, Outcome)],
    reach: Reach,
    budget: Duration,
) -> Result<()> {
    let models = done.iter().filter(|(m, _)| m.explores);
    let outcomes: Vec<&Outcome> = models.map(|(_, o)| o).collect();
    if reach == Reach::Unbounded {
        let text = unbounded(&outcomes, &written(paths)?, budget);
        return results::write(paths, UNBOUNDED, &text);
    }
    let rows: Vec<Vec<String>> = outcomes.iter().map(|o| row(o)).collect();
    let text = format!(
        "{}, none failed.\n\n{}",
        summary(done),
        results::markdown(&HEAD, &rows)
    );
    results::write(paths, MODELS, &text)
}

/// What became of the models that have a bound when they had none.
fn unbounded(outcomes: &[&Outcome], own: &BTreeMap<String, Row>, budget: Duration) -> String {
    let mut rows = Vec::new();
    let (mut ended, mut loose) = (0, Vec::new());
    for outcome in outcomes {
        let bound = own.get(&outcome.model).map_or("", |r| &r.extent);
        if !bound.is_empty() && !bound.contains("at most") {
            continue;
        }
        let end = outcome.verdict == Verdict::Green;
        ended += usize::from(end);
        if end && !bound.contains("--full") {
            loose.push(format!("`{}`", outcome.model));
        }
        let mut row = row(outcome);
        row[1] = bound.to_owned();
        row[4] = if end { "yes" } else { "no" }.to_owned();
        rows.push(row);
    }
    let head = [
        "model",
        "its bound",
        "executions without it",
        "time",
        "ended",
    ];
    let loose = match &loose[..] {
        [] => String::new(),
        some => format!(
            "\nThese can do without their bound, or with one for the quick run alone: {}.\n",
            some.join(", ")
        ),
    };
    format!(
        "{} models with a bound, each without it for at most {}: {ended} came to their end, none failed.\n\
         {loose}\n{}",
        rows.len(),
        ui::seconds(budget),
        results::markdown(&head, &rows)
    )
}

/// What was written of a model.
#[derive(Debug)]
struct Row {
    executions: u64,
    extent: String,
}

/// The models' part of the results, as it was written last.
fn written(paths: &Paths) -> Result<BTreeMap<String, Row>> {
    let rows = results::rows(paths, MODELS)?.into_iter();
    Ok(rows
        .filter_map(|row| {
            let [model, _, count, _, extent] = row.try_into().ok()?;
            let executions = count.replace(',', "").parse().ok()?;
            Some((model, Row { executions, extent }))
        })
        .collect())
}

/// What takes longest begins first, and what nobody knows before that: no processor
/// is to wait for one that began last.
pub(crate) fn longest_first<M: Borrow<Model>>(paths: &Paths, mut models: Vec<M>) -> Vec<M> {
    // Without the results they come in any order.
    let known = written(paths).unwrap_or_default();
    let long = |m: &M| {
        known
            .get(&m.borrow().id())
            .map_or(u64::MAX, |row| row.executions)
    };
    models.sort_by_key(|m| Reverse(long(m)));
    models
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(model: &str, verdict: Verdict) -> Outcome {
        Outcome {
            model: model.into(),
            verdict,
            executions: Some(7),
            extent: "exhaustive".into(),
            seconds: 1.0,
            failed_in: None,
            failed_part: None,
            why: String::new(),
        }
    }

    #[test]
    fn a_bound_that_is_not_needed_is_named() {
        let own = [
            ("a", "exhaustive"),
            ("b", "at most 2 preemptions"),
            ("c", "at most 3 preemptions"),
            ("d", "at most 1 preemption; mutate, --full: exhaustive"),
        ];
        let own = own.map(|(model, extent)| {
            let (executions, extent) = (1, extent.to_owned());
            (model.to_owned(), Row { executions, extent })
        });
        let outcomes = [
            outcome("a", Verdict::Green),
            outcome("b", Verdict::Green),
            outcome("c", Verdict::Cut),
            outcome("d", Verdict::Green),
        ];
        let outcomes: Vec<&Outcome> = outcomes.iter().collect();
        let text = unbounded(&outcomes, &own.into(), Duration::from_secs(120));
        assert!(text.starts_with("3 models with a bound"), "{text}");
        assert!(text.contains(": 2 came to their end"), "{text}");
        assert!(text.contains("alone: `b`.\n"), "{text}");
        assert!(
            text.contains("| c | at most 3 preemptions | 7 | 1.0 s | no |"),
            "{text}"
        );
    }

    #[test]
    fn what_is_long_or_unknown_begins_first() {
        let paths = Paths::new().expect("in the checkout");
        let model = |id: &str| {
            let (file, name) = id.split_once("::").expect("file::function");
            Model {
                file: file.into(),
                exe: "x".into(),
                name: name.into(),
                explores: true,
            }
        };
        let known = written(&paths).expect("the results are there");
        let long = known.iter().max_by_key(|(_, row)| row.executions);
        let (long, _) = long.expect("some models");
        let (short, _) = known
            .iter()
            .min_by_key(|(_, row)| row.executions)
            .expect("some");
        let models = vec![model(short), model(long), model("new::model")];
        let order: Vec<String> = longest_first(&paths, models)
            .iter()
            .map(Model::id)
            .collect();
        assert_eq!(order, ["new::model", long, short]);
    }
}
