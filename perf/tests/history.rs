//! The history of committed baselines, and the page that shows it.

mod common;

use common::{Project, Scratch};
use serde_json::Value;

const BASELINE: &str = "baselines/here.json";

/// Commits a baseline of so many instructions, recorded at a time.
fn baseline(project: &Project, time: u64, instructions: u64, change: impl Fn(&mut Value)) {
    let out = project.0.path("record.json");
    let out = out.to_str().expect("a path in UTF-8");
    let target = project.0.path("target");
    project.0.write("cost", &format!("{instructions}\n"));
    let made = std::process::Command::new("sh")
        .arg("bench.sh")
        .current_dir(project.0.path("."))
        .env("CARGO_TARGET_DIR", &target)
        .status();
    assert!(made.expect("sh").success());
    let target = target.to_str().expect("a path in UTF-8");
    project
        .0
        .run(&["record", "--target-dir", target, "--out", out])
        .says(0, &["1 benchmarks"]);
    let mut record: Value = serde_json::from_str(&project.0.read("record.json")).expect("JSON");
    record["provenance"]["recorded_at"] = time.into();
    record["provenance"]["commit"] = format!("{time:040}").into();
    change(&mut record);
    project.0.write(BASELINE, &record.to_string());
    project.commit(&format!("baseline of {instructions}"));
}

fn project() -> Project {
    let project = Project::new();
    baseline(&project, 1, 1000, |_| {});
    baseline(&project, 2, 1100, |_| {});
    baseline(&project, 3, 1100, |_| {});
    project
}

const HISTORY: [&str; 3] = ["history", "--history", "baselines"];

#[test]
fn every_committed_version_is_a_run() {
    let project = project();
    project.0.run(&HISTORY).says(
        0,
        &[
            "3 runs",
            Project::BENCHMARK,
            "| 1,000 | 1,100 |",
            "▁██",
            "+10.00 % at 0000000000",
        ],
    );
    // So it is from another folder, and of one file.
    let file = project.0.path(BASELINE);
    let elsewhere = Scratch::new();
    elsewhere
        .run(&["history", "--history", file.to_str().expect("UTF-8")])
        .says(0, &["3 runs"]);
    let json = project
        .0
        .run(&[&HISTORY[..], &["--format", "json"]].concat());
    let series: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let ir = series
        .as_array()
        .expect("a list")
        .iter()
        .find(|s| s["metric"] == "Ir");
    assert_eq!(ir.expect("Ir")["points"][1]["value"], 1100);
}

#[test]
fn a_renamed_file_and_a_renamed_benchmark_keep_their_history() {
    let project = project();
    project.git(&["mv", BASELINE, "baselines/there.json"]);
    project.commit("move it");
    project.0.run(&HISTORY).says(0, &["3 runs"]);
    project.git(&["mv", "baselines/there.json", BASELINE]);
    project.commit("move it back");
    project.0.write("renamed", "");
    baseline(&project, 4, 1100, |_| {});
    let rows = |run: &common::Run| run.stdout.matches("| Ir |").count();
    assert_eq!(rows(&project.0.run(&HISTORY)), 2);
    let limits = "version = 1\n[renamed]\n\"insn_get::get::klp_hit::n1k\" = \"insn_get::get::klp_found::n1k\"\n";
    project.0.write("limits.toml", limits);
    let run = project
        .0
        .run(&[&HISTORY[..], &["--limits", "limits.toml"]].concat());
    assert_eq!(rows(&run), 1);
    run.says(0, &["klp_found::n1k", "▁███"]);
}

#[test]
fn a_name_that_git_would_quote_has_a_history() {
    let project = project();
    project.git(&["mv", BASELINE, "baselines/\u{fc}ber \"alles\".json"]);
    project.commit("move it");
    baseline(&project, 4, 1200, |_| {});
    project.0.run(&HISTORY).says(0, &["4 runs", "\u{2581}"]);
    let folder = "h\u{e4}user/lange stra\u{df}e";
    std::fs::create_dir_all(project.0.path(folder)).expect("the folder");
    project.git(&["mv", "baselines", folder]);
    project.commit("and its folder");
    let args = ["history", "--history", &format!("{folder}/baselines")];
    project.0.run(&args).says(0, &["4 runs"]);
}

#[test]
fn only_the_benchmarks_asked_for_are_listed() {
    let project = project();
    let only = |pattern| {
        project
            .0
            .run(&[&HISTORY[..], &["--benchmark", pattern]].concat())
    };
    only("*::klp_hit::*").says(0, &[Project::BENCHMARK]);
    only("nothing").says(2, &["no benchmark of the history has such a name"]);
    only("[").says(2, &["`[` is not a pattern"]);
}

#[test]
fn a_version_that_is_no_record_is_named_and_left_out() {
    let project = project();
    project
        .0
        .write(BASELINE, "{\"format\": \"umbra-perf\", \"version\": 1, ");
    let broken = project.commit("cut off");
    baseline(&project, 9, 1200, |_| {});
    let place = format!("{}:{BASELINE}:1:", &broken[..10]);
    project.0.run(&HISTORY).says(
        0,
        &[
            "4 runs",
            "warning: left out of the history",
            &place,
            "ends in the middle",
        ],
    );
}

#[test]
fn an_empty_history_is_an_error_and_overwrites_nothing() {
    let project = Project::new();
    std::fs::create_dir(project.0.path("baselines")).expect("to make the folder");
    project.commit("start");
    project.0.write("out.md", "precious");
    let args = [&HISTORY[..], &["--out", "out.md"]].concat();
    project.0.run(&args).says(
        2,
        &["the history of baselines is empty", "commit a baseline"],
    );
    // Records of no commit are no history either.
    project.0.write(BASELINE, "{}");
    project.commit("no record");
    project
        .0
        .run(&args)
        .says(2, &["is empty", "baselines/here.json:1:"]);
    assert_eq!(project.0.read("out.md"), "precious");
    let scratch = Scratch::new();
    scratch
        .run(&["history", "--records", "nowhere"])
        .says(2, &["nowhere"]);
    scratch
        .run(&["history", "--history", "nowhere"])
        .says(2, &["cannot read nowhere"]);
}

#[test]
fn a_folder_outside_of_git_is_an_error_that_says_so() {
    let scratch = Scratch::new();
    scratch.record_baseline_and_run();
    scratch.run(&HISTORY).says(2, &["not a git repository"]);
    // As records it has a history.
    scratch
        .run(&["history", "--records", "baselines"])
        .says(0, &["1 runs"]);
}

#[test]
fn the_page_is_one_file_that_loads_nothing_and_escapes_names() {
    let project = project();
    baseline(&project, 5, 1200, |record| {
        let benchmarks = record["benchmarks"].as_object_mut().expect("an object");
        let (_, benchmark) = benchmarks.iter().next().expect("one");
        let mut benchmark = benchmark.clone();
        benchmark["functions"] = serde_json::json!({ "<f>": { "a.rs": 5 } });
        benchmarks.insert("<img src=x onerror=alert(1)>".to_owned(), benchmark);
    });
    // Before, its count and its function's were others: so it moved.
    let mut before: Value = serde_json::from_str(&project.0.read(BASELINE)).expect("JSON");
    let hostile = &mut before["benchmarks"]["<img src=x onerror=alert(1)>"];
    hostile["metrics"]["Ir"]["value"] = 1.into();
    hostile["functions"]["<f>"]["a.rs"] = 1.into();
    project.0.write("since.json", &before.to_string());
    let report = [
        "report",
        BASELINE,
        "--since",
        "since.json",
        "--history",
        "baselines",
        "--format",
        "html",
        "--out",
        "page.html",
    ];
    project.0.run(&report).says(0, &[]);
    let page = project.0.read("page.html");
    for part in [
        "<!doctype html>",
        "class=\"dots\"",
        "id=\"machine\"",
        "prefers-color-scheme",
        "last moved",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    assert!(page.contains("&#60;img src=x") || page.contains("&lt;img src=x"));
    assert!(page.contains("id=\"moved\"") && page.contains("id=\"functions\""));
    assert!(
        !page.contains("<img") && !page.contains("<f>"),
        "an element out of a name"
    );
    // SVG's name is an address, and nobody goes there.
    let rest = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!rest.contains("http:") && !rest.contains("https:"));
    assert!(!page.contains("src=\"") && !page.contains("url(") && !page.contains("@import"));
}

#[test]
fn a_page_that_cannot_be_made_leaves_the_old_one() {
    let project = project();
    project.0.write("page.html", "precious");
    let report = |record: &str| {
        project.0.run(&[
            "report",
            record,
            "--history",
            "baselines",
            "--format",
            "html",
            "--out",
            "page.html",
        ])
    };
    project.0.write("bad.json", "{\"format\": \"umbra-perf\"");
    report("bad.json").says(2, &["bad.json:1:"]);
    report("absent.json").says(2, &["cannot read absent.json"]);
    assert_eq!(project.0.read("page.html"), "precious");
}
