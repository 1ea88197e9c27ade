//! Measuring commits: bisection, and the gate by another commit.

mod common;

use common::Project;

/// Asks which commit moved the benchmark, and leaves the repository alone.
fn bisect(project: &Project, args: &[&str]) -> common::Run {
    let before = project.git(&["for-each-ref"]) + &project.git(&["worktree", "list"]);
    let args = [
        &["bisect", "--benchmark", Project::BENCHMARK],
        args,
        &Project::COMMAND,
    ]
    .concat();
    let run = project.0.run(&args);
    let after = project.git(&["for-each-ref"]) + &project.git(&["worktree", "list"]);
    assert_eq!(before, after);
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    run
}

#[test]
fn the_commit_that_moved_it_is_found_with_its_evidence() {
    let project = Project::new();
    let good = project.costs(1000, "start");
    for i in 1..6 {
        project.costs(1000 + i, &format!("noise {i}"));
    }
    let culprit = project.costs(1100, "the culprit");
    for i in 1..6 {
        project.costs(1100 + i, &format!("later {i}"));
    }
    let run = bisect(&project, &["--good", &good]);
    run.says(
        0,
        &[
            &format!("First past the limit: {} the culprit", &culprit[..10]),
            "1,005 before it, 1,100 with it",
            "+10.00 %",
        ],
    );
    // Halving eleven commits and both ends, not one by one.
    let measured = run.stdout.matches("| good |").count() + run.stdout.matches("| bad |").count();
    assert!((4..=7).contains(&measured), "{measured}: {}", run.stdout);
}

#[test]
fn a_subject_calls_nobody_and_hides_nothing() {
    let project = Project::new();
    let good = project.costs(1000, "start");
    let culprit = project.costs(1100, "for @all | <!-- `x`");
    let name = format!("{} `` for @all \\| <!-- `x` ``", &culprit[..10]);
    let first = format!("First past the limit: {name}");
    let row = format!("| {name} | 1,100 |");
    bisect(&project, &["--good", &good]).says(0, &[&first, &row]);
}

/// A history in which halving meets the fourth of seven commits first. That one
/// does not build, and its build writes into a tracked file before it fails; the
/// numbers say what the file held in each. The culprit's subject and the answer.
fn a_build_that_writes_and_fails(file: &str, held: [u64; 7]) -> (String, common::Run) {
    let project = Project::new();
    let script = project.0.read("bench.sh");
    let writes = format!("set -e\ntest ! -e broken || echo 999999 > {file}\n");
    let script = script.replacen("set -e\n", &writes, 1);
    project.0.write("bench.sh", &script);
    let costs = [1000, 1001, 1001, 1001, 1001, 1100, 1100];
    let mut commits = Vec::new();
    for (i, (cost, held)) in costs.into_iter().zip(held).enumerate() {
        project.0.write("other", &format!("{i}\n"));
        project.0.write(file, &format!("{held}\n"));
        let broken = project.0.path("broken");
        if i == 3 {
            project.0.write("broken", "");
        } else if broken.exists() {
            std::fs::remove_file(broken).expect("to remove it");
        }
        commits.push(project.costs(cost, &format!("commit {i}")));
    }
    let line = format!("First past the limit: {} commit 5", &commits[5][..10]);
    (line, bisect(&project, &["--good", &commits[0]]))
}

#[test]
fn what_a_failed_build_wrote_is_not_measured_with_the_next_commit() {
    // The same in every commit, so git would carry the change along.
    let (line, run) = a_build_that_writes_and_fails("cost", [1001; 7]);
    run.says(0, &[&line, "1,001 before it, 1,100 with it"]);
    assert!(!run.stdout.contains("999,999"), "{}", run.stdout);
}

#[test]
fn what_a_failed_build_wrote_does_not_keep_git_from_the_next_commit() {
    // Another in every commit, so git would refuse to overwrite the change.
    let (line, run) = a_build_that_writes_and_fails("lock", [0, 1, 2, 3, 4, 5, 6]);
    run.says(0, &[&line]);
    assert_eq!(run.stdout.matches("| skipped").count(), 1, "{}", run.stdout);
}

#[test]
fn a_clone_that_a_build_has_locked_is_an_error_and_not_measured() {
    let project = Project::new();
    let script = project.0.read("bench.sh");
    let locks = "set -e\ntest ! -e broken || touch \"$(git rev-parse --git-dir)/index.lock\"\n";
    let script = script.replacen("set -e\n", locks, 1);
    project.0.write("bench.sh", &script);
    let good = project.costs(1000, "start");
    project.costs(1001, "fine");
    project.0.write("broken", "");
    project.costs(1002, "does not build, and locks the index");
    std::fs::remove_file(project.0.path("broken")).expect("to remove it");
    project.costs(1003, "fine again");
    project.costs(1100, "the culprit");
    let run = bisect(&project, &["--good", &good]);
    run.says(2, &["index.lock", "does not build, and locks the index"]);
    assert_eq!(
        run.stderr.matches("locks the index").count(),
        1,
        "measured once: {}",
        run.stderr
    );
}

#[test]
fn an_improvement_is_a_move_too() {
    let project = Project::new();
    let good = project.costs(1000, "start");
    project.costs(1001, "noise");
    let faster = project.costs(900, "faster");
    project.costs(901, "noise");
    let line = format!("First past the limit: {} faster", &faster[..10]);
    bisect(&project, &["--good", &good]).says(0, &[&line, "-10.00 %"]);
}

#[test]
fn a_commit_that_does_not_build_is_gone_round() {
    let project = Project::new();
    let good = project.costs(1000, "start");
    project.costs(1001, "fine");
    project.0.write("broken", "");
    project.commit("does not build");
    std::fs::remove_file(project.0.path("broken")).expect("to remove it");
    project.costs(1002, "mended");
    let culprit = project.costs(1100, "the culprit");
    project.costs(1101, "later");
    let line = format!("First past the limit: {} the culprit", &culprit[..10]);
    bisect(&project, &["--good", &good]).says(0, &[&line]);
}

#[test]
fn commits_that_cannot_be_told_apart_are_all_named() {
    let project = Project::new();
    let good = project.costs(1000, "start");
    project.0.write("broken", "");
    let between = project.commit("does not build");
    std::fs::remove_file(project.0.path("broken")).expect("to remove it");
    let bad = project.costs(1100, "builds again");
    bisect(&project, &["--good", &good]).says(
        0,
        &[
            "One of these is the first past the limit",
            &between[..10],
            &bad[..10],
            "skipped: `` `sh bench.sh` failed",
        ],
    );
}

#[test]
fn a_last_step_that_leaves_only_skipped_commits_names_them_all() {
    // Halving meets a broken commit first and a good or a bad one last.
    for (place, last) in [("good", 1001), ("bad", 1101)] {
        let project = Project::new();
        let good = project.costs(1000, "start");
        let broken = |subject: &str| {
            project.0.write("broken", "");
            let id = project.commit(subject);
            std::fs::remove_file(project.0.path("broken")).expect("to remove it");
            id
        };
        let mut named = Vec::new();
        if place == "good" {
            project.costs(last, "measured last");
            named.push(broken("does not build"));
            named.push(project.costs(1100, "builds again"));
        } else {
            named.push(broken("does not build"));
            named.push(project.costs(last, "measured last"));
            project.costs(1102, "later");
        }
        let run = bisect(&project, &["--good", &good]);
        let named: Vec<_> = named.iter().map(|id| format!("- {}", &id[..10])).collect();
        let mut words = vec!["One of these is the first past the limit"];
        words.extend(named.iter().map(String::as_str));
        run.says(0, &words);
        let listed = run.stdout.lines().filter(|line| line.starts_with("- "));
        assert_eq!(listed.count(), named.len(), "{place}: {}", run.stdout);
        let measured = run
            .stdout
            .lines()
            .rfind(|line| line.starts_with("| ") && line.contains(" measured "));
        assert!(
            measured.is_some_and(|line| line.contains("measured last")),
            "{place}: {}",
            run.stdout
        );
    }
}

#[test]
fn what_did_not_move_or_is_not_there_is_no_question() {
    let project = Project::new();
    let good = project.costs(1000, "start");
    project.costs(1005, "half a percent");
    bisect(&project, &["--good", &good]).says(
        2,
        &[
            "did not move past 1 %",
            "1,000 at",
            "1,005 at",
            "smaller --limit",
        ],
    );
    bisect(&project, &["--good", &good, "--limit", "0.4"]).says(0, &["half a percent"]);
    bisect(&project, &["--good", &good, "--metric", "Xy"]).says(2, &["there is no `Xy`"]);
    bisect(&project, &["--good", "nonsense"]).says(2, &["`nonsense` is no commit here"]);
    bisect(&project, &["--good", "HEAD", "--bad", &good]).says(2, &["is no ancestor of"]);
    bisect(&project, &["--good", &good, "--limit", "NaN"]).says(2, &["must be above 0"]);
}

#[test]
fn a_renamed_benchmark_is_said_to_be_missing_with_those_there_are() {
    let project = Project::new();
    let good = project.costs(1000, "start");
    project.0.write("renamed", "");
    project.costs(1100, "renamed it");
    bisect(&project, &["--good", &good]).says(
        2,
        &[
            "there is no `Ir` of a benchmark",
            "insn_get::get::klp_found::n1k",
        ],
    );
}

#[test]
fn an_end_that_does_not_build_shows_what_was_said() {
    let project = Project::new();
    let good = project.costs(1000, "start");
    project.0.write("broken", "");
    project.commit("does not build");
    bisect(&project, &["--good", &good]).says(2, &["exit status: 101", "does not build"]);
}

fn gate(project: &Project, args: &[&str]) -> common::Run {
    let args = [&["gate", "--against", "HEAD^"], args, &Project::COMMAND].concat();
    project.0.run(&args)
}

#[test]
fn the_gate_measures_both_commits_where_there_is_no_baseline() {
    let project = Project::new();
    project.costs(1000, "start");
    project.costs(1005, "half a percent");
    gate(&project, &[]).says(0, &["Gate: fine", "1 worse within the limit"]);
    project.costs(1100, "too much");
    let run = gate(&project, &["--keep", "kept"]);
    run.says(
        3,
        &["Gate: regressed", Project::BENCHMARK, "against commit"],
    );
    // What it kept are records like any other.
    let kept = ["report", "kept/new.json", "--since", "kept/old.json"];
    project.0.run(&kept).says(0, &["1,005", "1,100"]);
}

#[test]
fn a_loss_of_the_other_branch_meanwhile_is_no_allowance() {
    let project = Project::new();
    let base = project.costs(1000, "start");
    project.git(&["checkout", "--quiet", "-b", "side"]);
    project.costs(1100, "as much worse as main is by now");
    project.git(&["checkout", "--quiet", "main"]);
    project.costs(1100, "a loss that was accepted");
    project.git(&["checkout", "--quiet", "side"]);
    let args = [&["gate", "--against", "main"], &Project::COMMAND[..]].concat();
    let parted = format!("judging by {} start", &base[..10]);
    project.0.run(&args).says(3, &[&parted, "+10.00 % worse"]);
    // An ancestor is that commit itself, and nothing is said.
    let run = gate(&project, &[]);
    run.says(3, &["+10.00 % worse"]);
    assert!(!run.stderr.contains("has gone on"), "{}", run.stderr);
    project.git(&["checkout", "--quiet", "--orphan", "apart"]);
    project.commit("without a history");
    project
        .0
        .run(&args)
        .says(2, &["must have a common commit here"]);
}

#[test]
fn what_runs_the_benchmarks_has_to_be_named() {
    let project = Project::new();
    project.costs(1000, "start");
    for args in [
        &["gate", "--against", "HEAD"][..],
        &["bisect", "--good", "HEAD", "--benchmark", "x"],
    ] {
        project
            .0
            .run(args)
            .says(2, &["not provided", "-- <COMMAND>..."]);
    }
}

#[test]
fn the_gate_writes_nothing_if_one_of_them_cannot_be_measured() {
    let project = Project::new();
    project.costs(1000, "start");
    project.0.write("broken", "");
    project.commit("does not build");
    gate(&project, &["--keep", "kept"]).says(2, &["does not build"]);
    assert!(!project.0.path("kept").exists());
}

#[test]
fn changes_that_are_not_committed_are_left_alone_and_said_to_be() {
    let project = Project::new();
    project.costs(24_504, "as it was");
    let bad = project.costs(30_000, "slower");
    let args = |extra: &[&'static str]| {
        let mut args = vec!["bisect", "--good", "HEAD~1"];
        args.extend(["--benchmark", Project::BENCHMARK]);
        args.extend(extra);
        args.extend(Project::COMMAND);
        args
    };
    let warning = "what is changed here and not committed is not";
    let clean = project.0.run(&args(&[]));
    clean.says(0, &[&bad[..10]]);
    assert!(!clean.stderr.contains(warning), "{}", clean.stderr);

    project.0.write("cost", "99999\n");
    project.0.write("new", "untracked");
    let before = project.git(&["status", "--porcelain"]);
    project.0.run(&args(&[])).says(0, &[&bad[..10], warning]);
    assert_eq!(project.0.read("cost"), "99999\n");
    assert_eq!(project.git(&["status", "--porcelain"]), before);
}
