//! The GitHub workflow: its scripts run here as they would there, on a small
//! repository.

mod common;

use common::Project;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use yaml_rust2::{Yaml, YamlLoader};

fn workflow() -> Yaml {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows/perf.yml");
    let text = std::fs::read_to_string(path).expect("the workflow");
    YamlLoader::load_from_str(&text).expect("YAML").remove(0)
}

/// The script of each step that has one, by name.
fn scripts(workflow: &Yaml) -> BTreeMap<String, String> {
    let steps = workflow["jobs"]["gate"]["steps"].as_vec().expect("steps");
    let script = |step: &Yaml| {
        let run = step["run"].as_str()?;
        Some((
            step["name"].as_str().expect("a name").to_owned(),
            run.to_owned(),
        ))
    };
    steps.iter().filter_map(script).collect()
}

/// Runs a script as the runner does, and gives its exit status.
fn run(project: &Project, script: &str, variables: &[(&str, &str)]) -> i32 {
    let tool = Path::new(env!("CARGO_BIN_EXE_umbra-perf"));
    let path = std::env::var("PATH").expect("a path");
    let folder = tool.parent().expect("its folder").display();
    let output = Command::new("bash")
        .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
        .current_dir(project.0.path("."))
        .env("PATH", format!("{folder}:{path}"))
        .env("GITHUB_OUTPUT", project.0.path("output"))
        .env("GITHUB_STEP_SUMMARY", project.0.path("summary"))
        .env("BENCHMARKS", "sh bench.sh")
        .env("LIMITS", "limits.toml")
        .envs(variables.iter().copied())
        .output()
        .expect("bash");
    println!("{}", String::from_utf8_lossy(&output.stderr));
    output.status.code().expect("an exit status")
}

/// A merge into a branch whose benchmark costs 1000; on the side it costs `cost`.
fn merge(cost: u64) -> Project {
    let project = Project::new();
    project.0.write("limits.toml", "version = 1\n");
    project.costs(1000, "start");
    project.git(&["checkout", "--quiet", "-b", "side"]);
    project.costs(cost, "the change");
    project.git(&["checkout", "--quiet", "main"]);
    project.0.write("other", "");
    project.commit("meanwhile");
    let merge = ["merge", "--quiet", "--no-ff", "-m", "merge", "side"];
    project.git(&merge);
    project
}

/// Judges and makes the page; the exit status of the last step.
fn job(project: &Project) -> i32 {
    let scripts = scripts(&workflow());
    assert_eq!(run(project, &scripts["Count and judge"], &[]), 0);
    if project.0.path("perf-report/new.json").exists() {
        assert_eq!(run(project, &scripts["Page"], &[]), 0);
    }
    let output = project.0.read("output");
    let code = output
        .trim()
        .strip_prefix("code=")
        .expect("the gate's exit status");
    run(project, &scripts["Verdict"], &[("CODE", code)])
}

#[test]
fn a_harmless_change_passes_and_has_its_page() {
    let project = merge(1000);
    assert_eq!(job(&project), 0);
    assert!(project.0.read("summary").contains("Gate: fine"));
    assert!(
        project
            .0
            .read("perf-report/index.html")
            .contains("<!doctype html>")
    );
}

#[test]
fn a_regression_fails_and_the_comment_names_it() {
    let project = merge(1100);
    assert_eq!(job(&project), 3);
    let comment = project.0.read("verdict.md");
    assert!(
        comment.contains("| REGRESSED") && comment.contains(Project::BENCHMARK),
        "{comment}"
    );
    assert_eq!(project.0.read("summary"), comment);
}

#[test]
fn what_cannot_be_measured_fails_and_says_so() {
    let project = merge(1000);
    project.0.write("broken", "");
    project.commit("does not build");
    assert_eq!(job(&project), 2);
    assert!(
        project
            .0
            .read("summary")
            .contains("could not compare (exit status 2)")
    );
}

#[test]
fn the_workflow_may_do_no_more_than_it_needs() {
    let workflow = workflow();
    let permissions = workflow["permissions"].as_hash().expect("permissions");
    let granted: Vec<_> = permissions
        .iter()
        .map(|(what, how)| (what.as_str().unwrap_or(""), how.as_str().unwrap_or("")))
        .collect();
    assert_eq!(granted, [("contents", "read"), ("pull-requests", "write")]);
    // What somebody else wrote (a title, a branch) is never part of a script.
    for (name, script) in scripts(&workflow) {
        assert!(!script.contains("${{"), "{name}: {script}");
    }
    // With write access to comments, code of a fork must not run.
    assert!(workflow["on"]["pull_request_target"].is_badvalue());
    // The benchmarks that it runs are there, and so is the file of limits.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let benches = std::fs::read_to_string(root.join("benches/Cargo.toml")).expect("benches");
    let command = workflow["env"]["BENCHMARKS"].as_str().expect("a command");
    let named: Vec<_> = command.split("--bench ").skip(1).collect();
    assert!(!named.is_empty());
    for bench in named {
        let name = bench.split(' ').next().expect("a name");
        let pattern = umbra_perf::limits::pattern(name).expect("a pattern of cargo's");
        let mut there = benches.lines().filter_map(|l| l.strip_prefix("name = \""));
        let is_there = there.any(|name| pattern.is_match(name.trim_end_matches('"')));
        assert!(is_there, "{name}");
    }
    assert!(
        root.join(workflow["env"]["LIMITS"].as_str().expect("a file"))
            .exists()
    );
}
