//! The callbacks of the demo in the order in which they ran, as text and as a
//! picture.

use std::collections::{BTreeMap, BTreeSet};

use umbra_cli::timeline::{Timeline, TimelineEvent};

use crate::protocol::Message;

/// A step of the patch series.
#[derive(Debug, Default)]
struct Step {
    name: String,
    events: Vec<TimelineEvent>,
    live: Option<BTreeMap<u64, usize>>,
}

impl Step {
    /// A step without callbacks and without a count of its own (making files,
    /// taking figures) is no part of the series.
    fn counts(&self) -> bool {
        !self.events.is_empty() || self.live.is_some()
    }
}

fn steps(messages: &[Message]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for message in messages {
        match message {
            Message::Step { name } => {
                steps.push(Step {
                    name: name.clone(),
                    ..Step::default()
                });
            }
            Message::Event {
                t_us,
                patch,
                state,
                callback,
                result,
            } => {
                if steps.is_empty() {
                    steps.push(Step {
                        name: "before any step".into(),
                        ..Step::default()
                    });
                }
                if let Some(step) = steps.last_mut() {
                    step.events.push(TimelineEvent {
                        step: step.name.clone(),
                        patch: patch.clone(),
                        state: *state,
                        callback: callback.clone(),
                        // An errno; anything larger is as much of a failure.
                        result: i32::try_from(*result).unwrap_or(i32::MIN),
                        t_us: *t_us,
                    });
                }
            }
            Message::Live { after, shadows } => {
                if let Some(step) = steps.last_mut().filter(|s| s.name == *after) {
                    let numbered = |(id, n): (&String, &u64)| {
                        Some((id.parse().ok()?, usize::try_from(*n).unwrap_or(usize::MAX)))
                    };
                    step.live = Some(shadows.iter().filter_map(numbered).collect());
                }
            }
            _ => {}
        }
    }
    steps.retain(Step::counts);
    steps
}

/// A line for each step: its callbacks, in order. Empty if there were none.
pub(crate) fn text(messages: &[Message]) -> String {
    let steps = steps(messages);
    if steps.iter().all(|step| step.events.is_empty()) {
        return String::new();
    }
    let name = |event: &TimelineEvent| {
        let failed = if event.result == 0 {
            String::new()
        } else {
            format!("!{}", event.result)
        };
        format!("{}.{}.{}{failed}", event.patch, event.state, event.callback)
    };
    steps
        .iter()
        .map(|step| match step.events.as_slice() {
            [] => format!("  {}: none\n", step.name),
            some => {
                let names: Vec<String> = some.iter().map(name).collect();
                format!("  {}: {}\n", step.name, names.join(", "))
            }
        })
        .collect()
}

/// The same as a picture; nothing if there were no callbacks.
pub(crate) fn svg(messages: &[Message]) -> Option<String> {
    let steps = steps(messages);
    if steps.iter().all(|step| step.events.is_empty()) {
        return None;
    }
    let mut timeline =
        Timeline::new("Umbra demo: callbacks and live shadows, from the kernel's log");
    let mut known = BTreeSet::new();
    for step in steps {
        timeline.step(&step.name);
        for event in step.events {
            known.insert(event.state);
            timeline.event(event);
        }
        if let Some(live) = step.live {
            // The guest tells of those that have shadows; the others have none.
            for state in &known {
                timeline.live(*state, live.get(state).copied().unwrap_or(0));
            }
        }
    }
    Some(timeline.svg())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str) -> Message {
        Message::Step { name: name.into() }
    }

    fn event(state: u64, callback: &str, result: i64) -> Message {
        Message::Event {
            t_us: 1,
            patch: "P3".into(),
            state,
            callback: callback.into(),
            result,
        }
    }

    fn live(after: &str, shadows: &[(&str, u64)]) -> Message {
        let shadows = shadows.iter().map(|(id, n)| ((*id).into(), *n)).collect();
        Message::Live {
            after: after.into(),
            shadows,
        }
    }

    #[test]
    fn callbacks_are_listed_by_step() {
        assert_eq!(text(&[step("build")]), "");
        assert_eq!(
            text(&[
                step("making files"),
                step("P2"),
                live("P2", &[]),
                step("P3"),
                event(2, "pre_patch", 0),
                event(2, "post_patch", -12),
            ]),
            "  P2: none\n  P3: P3.2.pre_patch, P3.2.post_patch!-12\n"
        );
    }

    #[test]
    fn the_picture_has_the_steps_of_the_series_only() {
        assert_eq!(svg(&[step("making files")]), None);
        let picture = svg(&[
            step("making files"),
            step("P3"),
            event(2, "pre_patch", 0),
            live("P3", &[("2", 25_000)]),
            step("figures"),
            live("the end", &[]),
        ])
        .expect("a picture");
        assert!(
            picture.starts_with("<svg") && picture.contains("P3"),
            "{picture}"
        );
        assert!(
            !picture.contains("making files") && !picture.contains("figures"),
            "{picture}"
        );
    }
}
