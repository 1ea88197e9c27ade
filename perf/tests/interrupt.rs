//! Who is interrupted leaves nothing behind: no program that it started, and no
//! clone.

#![cfg(unix)]

mod common;

use common::Project;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A benchmark that never ends, with a program of its own that does not either.
const ENDLESS: &str =
    "sleep 100 & echo $! > \"$PIDS\"; echo $$ >> \"$PIDS\"; mv \"$PIDS\" \"$PIDS.all\"; wait\n";

/// Waits for something to become so.
#[track_caller]
fn until(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs; one that has ended and that nobody waits for does not.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.starts_with('Z'));
    state == Some(false)
}

/// Runs the tool until its benchmark runs, and interrupts it.
fn interrupted(project: &Project, args: &[&str], signal: Signal) {
    let temporary = project.0.path("temporary");
    std::fs::create_dir_all(&temporary).expect("a folder");
    let pids = project.0.path("pids");
    let child = Command::new(env!("CARGO_BIN_EXE_umbra-perf"))
        .args(args)
        .current_dir(project.0.path("."))
        .env("TMPDIR", &temporary)
        .env("PIDS", &pids)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("to run it");
    let all = project.0.path("pids.all");
    until("no benchmark ran", || all.exists());
    let started: Vec<i32> = project
        .0
        .read("pids.all")
        .lines()
        .map(|pid| pid.parse().expect("a number"))
        .collect();
    std::fs::remove_file(&all).expect("to remove it");
    let entries = || std::fs::read_dir(&temporary).expect("the folder").count();
    assert!(entries() > 0 && started.iter().all(|&pid| runs(pid)));
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("to interrupt it");
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("interrupted"), "{said}");
    assert_eq!(entries(), 0, "a clone is left");
    until("a program is left", || {
        !started.iter().any(|&pid| runs(pid))
    });
}

#[test]
fn bisect_and_the_gate_leave_nothing_behind() {
    let project = Project::new();
    let script = project.0.read("bench.sh");
    project
        .0
        .write("bench.sh", &script.replacen("set -e\n", ENDLESS, 1));
    let good = project.costs(1000, "start");
    project.costs(1000, "then");
    let gate = [&["gate", "--against", "HEAD^"], &Project::COMMAND[..]].concat();
    let ends = ["bisect", "--good", &good, "--benchmark", Project::BENCHMARK];
    let bisect = [&ends[..], &Project::COMMAND[..]].concat();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        interrupted(&project, &gate, signal);
        interrupted(&project, &bisect, signal);
    }
}

#[test]
fn ab_leaves_nothing_behind() {
    let project = Project::new();
    let manifest = "[package]\nname = \"timed\"\nedition = \"2024\"\n\n[lib]\nbench = false\n\n\
        [[bench]]\nname = \"wall\"\nharness = false\n\n[workspace]\n";
    project.0.write("Cargo.toml", manifest);
    project.0.write("src/lib.rs", "");
    project.0.write("endless.sh", ENDLESS);
    let bench = "fn main() { \
        std::process::Command::new(\"sh\").arg(\"endless.sh\").status().unwrap(); }";
    project.0.write("benches/wall.rs", bench);
    project.commit("start");
    let ab = ["ab", "--old", "HEAD", "--bench", "wall"];
    interrupted(&project, &ab, Signal::SIGTERM);
}
