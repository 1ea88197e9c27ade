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
    merge_of(|project| drop(project.costs(cost, "the change")))
}

/// A merge of a side on which something is done.
fn merge_of(does: impl Fn(&Project)) -> Project {
    let project = Project::new();
    project.0.write("limits.toml", "version = 1\n");
    project.costs(1000, "start");
    project.git(&["checkout", "--quiet", "-b", "side"]);
    does(&project);
    project.git(&["checkout", "--quiet", "main"]);
    project.0.write("other", "");
    project.commit("meanwhile");
    let merge = ["merge", "--quiet", "--no-ff", "-m", "merge", "side"];
    project.git(&merge);
    project
}

/// Judges and makes the page; the exit status of the last step.
fn job(project: &Project) -> i32 {
    job_with(project, &[])
}

fn job_with(project: &Project, variables: &[(&str, &str)]) -> i32 {
    let scripts = scripts(&workflow());
    assert_eq!(run(project, &scripts["Count and judge"], variables), 0);
    if project.0.path("perf-report/new.json").exists() {
        assert_eq!(run(project, &scripts["Page"], variables), 0);
    }
    let output = project.0.read("output");
    let code = output.lines().last().and_then(|l| l.strip_prefix("code="));
    let code = code.expect("the gate's exit status");
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

/// A compiler whose version the commit chooses.
const RUSTC: &str = "#!/bin/sh\necho \"rustc $(cat rust-toolchain.toml)\"\necho 'host: a-b-c'\n";

#[test]
fn a_change_of_the_compiler_is_judged_with_what_it_costs() {
    for (cost, code) in [(1005, 0), (1100, 3)] {
        let project = Project::new();
        let rustc = project.0.write("rustc", RUSTC);
        project.0.write("limits.toml", "version = 1\n");
        project.0.write("rust-toolchain.toml", "1\n");
        project.costs(1000, "start");
        project.0.write("rust-toolchain.toml", "2\n");
        project.costs(cost, "a new compiler");
        project.git(&["update-index", "--chmod=+x", "rustc"]);
        let script = rustc.to_str().expect("UTF-8");
        let made = Command::new("chmod").args(["+x", script]).status();
        assert!(made.is_ok_and(|status| status.success()), "chmod");
        assert_eq!(job_with(&project, &[("RUSTC", script)]), code);
        let comment = project.0.read("verdict.md");
        let difference = "rustc: rustc 1 before, rustc 2 now";
        assert!(comment.contains(difference), "{comment}");
    }
}

#[test]
fn a_benchmark_that_was_removed_on_purpose_passes_if_it_is_declared() {
    let removed = format!("version = 1\nremoved = [\"{}\"]\n", Project::BENCHMARK);
    for (limits, code) in [("version = 1\n", 2), (&removed, 0)] {
        let project = merge_of(|project| {
            project.0.write("limits.toml", limits);
            project.0.write("renamed", "");
            project.costs(1000, "another instead");
        });
        assert_eq!(job(&project), code);
        let comment = project.0.read("verdict.md");
        let gone = comment.contains("into their `removed`; one that");
        assert_eq!(gone, code == 2, "{comment}");
        assert_eq!(comment.contains("Removed on purpose"), code == 0);
        // There is no baseline here that could be recorded.
        assert!(!comment.contains("baseline;"), "{comment}");
        assert!(!comment.contains("ecord a new baseline"), "{comment}");
    }
}

#[test]
fn a_loss_that_is_worth_it_passes_with_a_limit_of_its_own() {
    let project = merge(1100);
    assert_eq!(job(&project), 3);
    let comment = project.0.read("verdict.md");
    assert!(comment.contains("a higher `hard_percent`"), "{comment}");
    assert!(!comment.contains("record a new baseline"), "{comment}");
    let limits = format!(
        "version = 1\n[[benchmark]]\nid = \"{}\"\nhard_percent = 10\n",
        Project::BENCHMARK
    );
    project.0.write("limits.toml", &limits);
    assert_eq!(job(&project), 0);
}

#[test]
fn the_first_benchmarks_pass_and_have_their_page() {
    // The command leaves nothing, or is cargo's and says why.
    let message = "error: no bench target matches pattern `insn_*` in default-run packages";
    for (words, code) in [("", 0), (message, 0), ("error: could not compile `x`", 2)] {
        let first = "set -e\ntest -e first || { echo \"$WORDS\" >&2; test -z \"$WORDS\"; exit; }\n";
        let project = Project::new();
        let bench = project.0.read("bench.sh").replacen("set -e\n", first, 1);
        project.0.write("bench.sh", &bench);
        project.0.write("limits.toml", "version = 1\n");
        project.commit("start");
        project.0.write("first", "");
        project.costs(1000, "the first benchmark");
        // Of a run before.
        project.0.write("perf-report/old.json", "{");
        assert_eq!(job_with(&project, &[("WORDS", words)]), code, "{words}");
        let comment = project.0.read("verdict.md");
        let passed = comment.contains("which has no such benchmarks")
            && comment.contains(&format!("- `{}`", Project::BENCHMARK));
        assert_eq!(passed, code == 0, "{comment}");
        assert_eq!(project.0.path("perf-report/index.html").exists(), code == 0);
    }
}

#[test]
fn a_comment_is_made_once_and_edited_from_then_on() {
    let script = &scripts(&workflow())["Comment"];
    for (ids, call) in [
        ("", "pr comment 7 --body-file comment.md"),
        (
            "11\n12\n",
            "api --method PATCH repos/o/r/issues/comments/11 -F body=@comment.md",
        ),
    ] {
        let project = Project::new();
        project.0.write("verdict.md", "Gate: fine.\n");
        // Says what GitHub would, and writes down what it was asked.
        let gh = "#!/bin/sh\necho \"$@\" >> calls\ncase $2 in --paginate) printf \"$IDS\";; esac\n";
        let gh = project.0.write("bin/gh", gh);
        let made = Command::new("chmod").arg("+x").arg(&gh).status();
        assert!(made.is_ok_and(|status| status.success()), "chmod");
        let path = format!("{}:/usr/bin:/bin", project.0.path("bin").display());
        let variables = [
            ("NUMBER", "7"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("IDS", ids),
            ("PATH", &path),
        ];
        assert_eq!(run(&project, script, &variables), 0);
        let calls = project.0.read("calls");
        assert!(calls.starts_with("api --paginate repos/o/r/issues/7/comments --jq"));
        assert!(calls.contains("startswith(\"<!-- umbra-perf -->\")"));
        assert_eq!(calls.lines().last(), Some(call), "{calls}");
        let comment = project.0.read("comment.md");
        assert_eq!(comment, "<!-- umbra-perf -->\nGate: fine.\n");
    }
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
