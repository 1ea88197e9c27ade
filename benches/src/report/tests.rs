//! The report of a made-up run, and of the one that is committed.

use super::*;
use crate::compare::model::{Machine, SCHEMA, Tail};
use crate::compare::stats::{Distribution, Spread};

fn figure(peer: &str, median: f64) -> Figure {
    Figure {
        peer: peer.into(),
        spread: Spread {
            median,
            q1: median * 0.99,
            q3: median * 1.01,
            rounds: 3,
        },
        times: None,
    }
}

fn row(id: &str, size: usize, unit: &str, figures: &[(&str, f64)]) -> Row {
    Row {
        id: id.into(),
        title: "made up".into(),
        size,
        unit: unit.into(),
        figures: figures.iter().map(|&(p, m)| figure(p, m)).collect(),
        ..Row::default()
    }
}

fn report(rows: Vec<Row>) -> Report {
    Report {
        schema: SCHEMA,
        machine: Machine::default(),
        rows,
    }
}

#[test]
fn losses_are_said_whichever_way_better_is() {
    let lost = losses(&report(vec![
        row(
            "a",
            1,
            "ns",
            &[("umbra", 10.0), ("papaya", 8.0), ("klp", 7.0)],
        ),
        row(
            "b",
            1,
            "ns",
            &[("umbra", 10.0), ("papaya", 12.0), ("bound-p64", 1.0)],
        ),
        row("c", 1, "×", &[("umbra", 1.5), ("papaya", 2.0)]),
        row("d", 1, "ns", &[("umbra", 10.0), ("papaya", 9.9)]),
    ]));
    let told: Vec<_> = lost
        .iter()
        .map(|l| (l.peer.as_str(), l.figures, l.sure()))
        .collect();
    assert_eq!(
        told,
        [
            ("klp", (10.0, 7.0), "clear"),
            ("papaya", (1.5, 2.0), "clear"),
            ("papaya", (10.0, 9.9), "within the spread"),
        ],
        "and no bound"
    );
}

#[test]
fn a_later_run_replaces_a_row_and_adds_others() {
    let first = report(vec![row("a", 1, "ns", &[("umbra", 1.0)])]);
    let second = report(vec![
        row("a", 1, "ns", &[("umbra", 2.0)]),
        row("b", 1, "ns", &[("umbra", 3.0)]),
    ]);
    let all = merge(vec![("1".into(), first), ("2".into(), second)]).expect("both are whole");
    let medians: Vec<_> = all
        .rows
        .iter()
        .map(|r| r.figures[0].spread.median)
        .collect();
    assert_eq!(medians, [2.0, 3.0]);
}

#[test]
fn a_row_of_another_commit_says_so_and_one_of_another_machine_is_refused() {
    let of = |id: &str, commit: &str| {
        let mut report = report(vec![row(id, 1, "ns", &[("umbra", 1.0)])]);
        report.machine.commit = commit.into();
        report.machine.date = "2026-11-30".into();
        (format!("{id}.json"), report)
    };
    let all = merge(vec![
        of("a", "1111111"),
        of("b", "2222222+"),
        of("c", "1111111"),
    ]);
    let all = all.expect("one machine");
    let marked = |r: &Row| title(r).ends_with(", of commit 2222222+, 2026-11-30");
    assert_eq!(
        all.rows.iter().map(marked).collect::<Vec<_>>(),
        [false, true, false]
    );
    for text in [markdown::tables(&all), page::html(&all).expect("a page")] {
        assert!(text.contains("commit 1111111; 2026-11-30; rows of another commit"));
        assert!(text.contains("of commit 2222222+, 2026-11-30"));
    }
    // Under the other commit's line it is the others that say so.
    let all = merge(vec![of("d", "2222222+"), ("all".into(), all)]).expect("one machine");
    let told: Vec<_> = all.rows.iter().map(|r| r.measured.is_some()).collect();
    assert_eq!(told, [false, true, false, true], "d, a, b, c");

    for (what, change) in [
        (
            "processor",
            (|m| m.cpu = "another".into()) as fn(&mut Machine),
        ),
        ("number of processors", |m| m.cpus = 64),
        ("caches", |m| m.caches = "L1d 1K".into()),
        ("memory in GiB", |m| m.memory_gib = 1.5),
        ("kernel", |m| m.kernel = "7.0".into()),
        ("compiler", |m| m.rustc = "rustc 2".into()),
        ("build", |m| m.build = "debug".into()),
    ] {
        let (mut there, here) = (of("b", "1111111"), of("a", "1111111"));
        change(&mut there.1.machine);
        let told = merge(vec![here, there]).expect_err("refused").to_string();
        let begin = format!("b.json: measured elsewhere than a.json: the {what} is");
        assert!(told.starts_with(&begin), "{told}");
    }
}

#[test]
fn multiples_are_those_of_the_rounds_and_others_are_marked() {
    let mut list = row(
        "a",
        1,
        "ns",
        &[("umbra", 10.0), ("papaya", 30.0), ("klp", 50.0)],
    );
    // Not 3.0: the machine was slow in different rounds of the two.
    list.figures[1].times = Some(Spread::of(&[2.5]));
    let one = report(vec![list.clone()]);
    let said = "umbra 10.0 (1.00×), papaya 30.0 (2.50×), klp 50.0 (~5.00×)";
    let text = markdown::tables(&one);
    assert!(
        text.contains(said) && text.contains("with ~ it is of the medians"),
        "{text}"
    );
    let html = page::html(&one).expect("a page");
    assert!(html.contains(">2.50<") && html.contains(">~5.00<"));
    // Counted once, there is but one multiple.
    list.figures.iter_mut().for_each(|f| f.spread.rounds = 1);
    let text = markdown::tables(&report(vec![list]));
    assert!(
        text.contains("klp 50.0 (5.00×)") && !text.contains('~'),
        "{text}"
    );
}

#[test]
fn what_is_no_comparison_is_named() {
    let mut other = report(Vec::new());
    other.schema = SCHEMA + 1;
    let told = |reports| merge(reports).expect_err("refused").to_string();
    assert!(told(vec![("old.json".into(), other)]).starts_with("old.json: format"));
    let bad = report(vec![row("a", 1, "ns", &[("umbra", f64::NAN)])]);
    assert_eq!(
        told(vec![("bad.json".into(), bad)]),
        "bad.json: row a: the figure of umbra is not a number"
    );
    assert!(told(Vec::new()).starts_with("no comparison"));
}

#[test]
fn the_page_stands_alone_and_shows_every_line() {
    let mut tail = row("grow", 1000, "µs", &[("umbra", 90.0), ("flurry", 900.0)]);
    tail.tails = ["umbra", "flurry"]
        .iter()
        .map(|peer| Tail {
            peer: (*peer).into(),
            what: "insertion".into(),
            distribution: Distribution::of((1..2000).collect()),
        })
        .collect();
    let sizes = [1_000, 1_000_000].map(|n| {
        let id = format!("get-hit-{n}");
        row(
            &id,
            n,
            "ns",
            &[("umbra", 5.0), ("papaya", 6.0), ("bound-p64", 2.0)],
        )
    });
    let mut rows = sizes.to_vec();
    rows.push(tail);
    let html = page::html(&report(rows)).expect("a page");
    assert_eq!(
        html.matches("<svg role=").count(),
        2,
        "size and distribution"
    );
    for name in ["umbra, 5.00", "papaya, 6.00", "bound-p64, 2.00", "flurry"] {
        assert!(html.contains(name), "{name}");
    }
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("default-src &#x27;none&#x27;") || html.contains("default-src 'none'"));
}

#[test]
fn what_a_file_says_is_text_in_a_picture_and_on_the_page() {
    let mut evil = row("grow", 1000, "ns", &[("umbra", 90.0), ("<b>", 9.0)]);
    evil.title = "\"><script>alert(1)</script>".into();
    evil.notes = vec!["<i>".into()];
    evil.tails = vec![Tail {
        peer: "<u>".into(),
        what: "insertion\" onload=\"x".into(),
        distribution: Distribution::of((1..2000).collect()),
    }];
    let html = page::html(&report(vec![evil])).expect("a page");
    assert_eq!(html.matches("<svg role=").count(), 1);
    for markup in ["<script", "<b>", "<i>", "<u>", "onload=\""] {
        assert!(!html.contains(markup), "{markup}");
    }
}

#[test]
fn every_contestant_has_a_colour_of_its_own() {
    let grey = charts::colour("nobody");
    let names: Vec<_> = crate::compare::peer::roster()
        .iter()
        .map(|p| p.name)
        .collect();
    let mut seen = Vec::new();
    for name in names.iter().filter(|name| !BOUNDS.contains(name)) {
        let colour = charts::colour(name);
        assert!(colour != grey && !seen.contains(&colour), "{name}");
        seen.push(colour);
    }
}

#[test]
fn marks_that_are_missing_are_named() {
    let text = "no marks";
    let error = markdown::replace(text, &report(Vec::new())).expect_err("refused");
    assert!(error.to_string().contains(markdown::BEGIN));
}

/// What is committed belongs together: after measuring, `report --markdown` is
/// run, and nobody edits a figure by hand.
#[test]
fn the_tables_of_benchmarks_md_are_those_of_the_committed_run() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(here.join(file)).expect(file);
    let run: Report = serde_json::from_str(&read("results/comparison.json")).expect("a comparison");
    let run = merge(vec![("results/comparison.json".into(), run)]).expect("whole");
    let text = read("../BENCHMARKS.md");
    let made = markdown::replace(&text, &run).expect("marks");
    assert!(
        made == text,
        "BENCHMARKS.md is not what results/comparison.json says: run the command at its top"
    );
}
