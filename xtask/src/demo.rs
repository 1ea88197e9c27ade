//! `cargo xtask demo`: the whole of Umbra in one boot, shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::paths::{self, Paths};
use crate::protocol::Message;
use crate::report::{live, table, thousands};
use crate::session::Outcome;
use crate::vm::{self, Machine, Run};
use crate::{kernel, modules, timeline, ui};

/// How many variables the figures must have been taken at.
const SIZES: [u64; 2] = [1_000, 100_000];

/// Boots the demo and shows what it told; fails when anything did. Gives back
/// how many of the demo's own checks passed.
pub(crate) fn run(paths: &Paths, series: &str) -> Result<usize> {
    let started = Instant::now();
    let kernel = kernel::get(paths, series, false)?;
    let modules = modules::build(paths, &kernel)?;
    let run = vm::boot(paths, &kernel, &modules, &Machine::usual("demo"))?;
    let picture = draw(paths, &run.outcome)?;
    write_json(paths, &run)?;

    println!("\n{}", show(&run.outcome));
    if let Some(picture) = picture {
        println!("callback timeline: {}", paths::short(&picture));
    }
    println!(
        "boot log: {} ({} lines)",
        paths::short(&run.log),
        run.outcome.lines
    );
    println!("kernel warnings in it: {}", run.outcome.kernel_warnings);
    println!(
        "guest {}, in all {}",
        ui::seconds(run.time),
        ui::seconds(started.elapsed())
    );
    run.verdict("demo")?;
    complete(&run.outcome)?;
    Ok(run.outcome.passed)
}

/// What a demo has to have told; a guest that says `done` and nothing else has
/// shown nothing.
fn complete(outcome: &Outcome) -> Result<()> {
    let mut lacks = Vec::new();
    let has = |f: &dyn Fn(&Message) -> bool| outcome.messages.iter().any(f);
    if !has(&|m| matches!(m, Message::Event { .. })) {
        lacks.push("a callback".to_owned());
    }
    if !has(&|m| matches!(m, Message::Count { .. })) {
        lacks.push("a count".to_owned());
    }
    for size in SIZES {
        if !has(&|m| matches!(m, Message::Figure { n, .. } if *n == size)) {
            lacks.push(format!(
                "a figure at {} variables",
                thousands(size.cast_signed())
            ));
        }
    }
    match leaks(outcome) {
        None => lacks.push("the live shadows".to_owned()),
        Some(0) => {}
        Some(n) => {
            return Err(Error::Refused {
                what: format!("{n} shadows are left at the end of the demo"),
                help: "the boot log has the leak audit of umbra's unload".into(),
            });
        }
    }
    if lacks.is_empty() {
        return Ok(());
    }
    Err(Error::Refused {
        what: format!(
            "the demo reported everything well, but never {}",
            lacks.join(", nor ")
        ),
        help: "kmod/tests/guest/demo.sh has to tell it".into(),
    })
}

/// Shadows that live after the last step; nothing if it was never told.
fn leaks(outcome: &Outcome) -> Option<u64> {
    outcome.messages.iter().rev().find_map(|m| match m {
        Message::Live { shadows, .. } => Some(shadows.values().sum()),
        _ => None,
    })
}

fn draw(paths: &Paths, outcome: &Outcome) -> Result<Option<PathBuf>> {
    let Some(svg) = timeline::svg(&outcome.messages) else {
        return Ok(None);
    };
    let file = paths.dir("demo")?.join("timeline.svg");
    fs::write(&file, svg).map_err(Error::io("write", &file))?;
    Ok(Some(file))
}

fn write_json(paths: &Paths, run: &Run) -> Result<()> {
    let file = paths.dir("demo")?.join("demo.json");
    let text = serde_json::to_string_pretty(&run.outcome).unwrap_or_default();
    fs::write(&file, text).map_err(Error::io("write", &file))
}

fn show(outcome: &Outcome) -> String {
    let mut parts = Vec::new();
    let counts: Vec<Vec<String>> = outcome
        .messages
        .iter()
        .filter_map(|m| match m {
            Message::Count { name, value } => Some(vec![name.clone(), thousands(*value)]),
            _ => None,
        })
        .collect();
    if !counts.is_empty() {
        parts.push(table(&["counted in the guest", ""], &counts));
    }
    parts.extend(figures(&outcome.messages));
    let series: Vec<Vec<String>> = outcome
        .messages
        .iter()
        .filter_map(|m| match m {
            Message::Live { after, shadows } => Some(vec![after.clone(), live(shadows)]),
            _ => None,
        })
        .collect();
    if !series.is_empty() {
        parts.push(table(&["after step", "live shadows"], &series));
    }
    let callbacks = timeline::text(&outcome.messages);
    if !callbacks.is_empty() {
        parts.push(format!("callbacks, in order\n{callbacks}"));
    }
    parts.push(match leaks(outcome) {
        None => "leaks: not told\n".to_owned(),
        Some(0) => "leaks: none\n".to_owned(),
        Some(n) => format!("leaks: {n} shadows\n"),
    });
    parts.join("\n")
}

/// One table a unit: a row for each figure, a column for each size.
fn figures(messages: &[Message]) -> Vec<String> {
    let mut units: Vec<&str> = Vec::new();
    for message in messages {
        if let Message::Figure { unit, .. } = message
            && !units.contains(&unit.as_str())
        {
            units.push(unit);
        }
    }
    units
        .into_iter()
        .map(|unit| figures_in(messages, unit))
        .collect()
}

fn figures_in(messages: &[Message], wanted: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut cells: BTreeMap<(&str, u64), f64> = BTreeMap::new();
    let mut sizes: Vec<u64> = Vec::new();
    for message in messages {
        if let Message::Figure {
            name,
            n,
            value,
            unit,
        } = message
            && unit == wanted
        {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
            if !sizes.contains(n) {
                sizes.push(*n);
            }
            cells.insert((name, *n), *value);
        }
    }
    sizes.sort_unstable();
    let label = match wanted {
        "insn" => "instructions a call, same boot",
        other => other,
    };
    let mut head = vec![label.to_owned()];
    head.extend(sizes.iter().map(|n| match n {
        0 => String::new(),
        n => format!("at {}", thousands(n.cast_signed())),
    }));
    let rows: Vec<Vec<String>> = names
        .iter()
        .map(|name| {
            let mut row = vec![(*name).to_owned()];
            row.extend(sizes.iter().map(|n| {
                cells
                    .get(&(*name, *n))
                    .map_or_else(String::new, |v| format!("{v:.1}"))
            }));
            row
        })
        .collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{End, Session};

    fn outcome(lines: &[&str]) -> Outcome {
        let mut session = Session::default();
        for line in lines {
            session.line(&format!("@umbra {line}"));
        }
        session.finish(End::Off, None)
    }

    const GOOD: [&str; 7] = [
        r#"{"kind":"event","t_us":1,"patch":"P1","state":1,"callback":"pre_patch","result":0}"#,
        r#"{"kind":"live","after":"P1","shadows":{"1":25000}}"#,
        r#"{"kind":"count","name":"diverted calls","value":25000}"#,
        r#"{"kind":"figure","name":"umbra get hit","n":1000,"value":31.5,"unit":"insn"}"#,
        r#"{"kind":"figure","name":"umbra get hit","n":100000,"value":31.5,"unit":"insn"}"#,
        r#"{"kind":"live","after":"the end","shadows":{}}"#,
        r#"{"kind":"done","ok":true}"#,
    ];

    #[test]
    fn a_whole_demo_is_shown() {
        let outcome = outcome(&GOOD);
        assert!(complete(&outcome).is_ok());
        let text = show(&outcome);
        for part in [
            "25,000",
            "at 100,000",
            "31.5",
            "25,000 of id 1",
            "leaks: none",
        ] {
            assert!(text.contains(part), "{part} not in\n{text}");
        }
    }

    #[test]
    fn a_demo_that_shows_nothing_fails() {
        let error = complete(&outcome(&[r#"{"kind":"done","ok":true}"#])).expect_err("empty");
        let text = error.to_string();
        for part in ["a callback", "a count", "1,000", "100,000", "live shadows"] {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }

    #[test]
    fn a_leak_fails() {
        let mut lines = GOOD;
        lines[5] = r#"{"kind":"live","after":"the end","shadows":{"2":3}}"#;
        let text = complete(&outcome(&lines)).expect_err("leaks").to_string();
        assert!(text.contains("3 shadows"), "{text}");
    }
}
