//! The exploration itself: what would be a green run of nothing is an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use umbra_loom::{deep, explore, quick};

/// Two threads that add to one counter; enough to have a choice.
fn two_threads() {
    let counter = Arc::new(AtomicUsize::new(0));
    let other = Arc::clone(&counter);
    let thread = loom::thread::spawn(move || other.fetch_add(1, Ordering::Relaxed));
    counter.fetch_add(1, Ordering::Relaxed);
    thread.join().unwrap();
    assert_eq!(counter.load(Ordering::Relaxed), 2);
}

#[test]
fn a_model_with_a_single_execution_is_an_error() {
    let nothing = catch_unwind(AssertUnwindSafe(|| explore("nothing", None, || ())));
    let why = *nothing
        .expect_err("it explored one")
        .downcast::<String>()
        .unwrap();
    assert!(why.contains("single execution"), "{why}");
    explore("two threads", None, two_threads);
}

/// The model that the tests below start as a program of its own.
#[test]
fn two_threads_explored() {
    explore("two threads, explored", Some(1), two_threads);
}

/// The same with a bound for the quick run alone.
#[test]
fn two_threads_explored_quickly() {
    explore("two threads, quickly", quick(1), two_threads);
}

/// One that does not end in a second without its bound.
fn many_steps() {
    let counter = Arc::new(AtomicUsize::new(0));
    let add = |counter: Arc<AtomicUsize>| {
        for _ in 0..8 {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    };
    let threads = [(); 2].map(|()| {
        let counter = Arc::clone(&counter);
        loom::thread::spawn(move || add(counter))
    });
    add(Arc::clone(&counter));
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn many_steps_explored() {
    explore("many steps", Some(1), many_steps);
}

/// The same with a bound for the quick run, and one for all else.
#[test]
fn many_steps_explored_deeply() {
    explore("many steps, deeply", deep(1, 2), many_steps);
}

/// A value whose end fails too: the program is ended in the midst of unwinding.
struct Wreck;

impl Drop for Wreck {
    fn drop(&mut self) {
        assert!(!std::thread::panicking(), "and once more");
    }
}

#[test]
#[should_panic(expected = "in the second")]
fn a_failure_explored() {
    let executions = std::sync::atomic::AtomicUsize::new(0);
    explore("no failure", None, two_threads);
    explore("a failure", None, move || {
        two_threads();
        // Relaxed: one operating system thread runs all of a model.
        let before = executions.fetch_add(1, Ordering::Relaxed);
        let wreck = std::env::var_os("UMBRA_TEST_WRECK").map(|_| Wreck);
        assert_eq!(before, 0, "in the second");
        drop(wreck);
    });
}

#[test]
fn a_failure_is_counted_even_if_the_program_is_ended_by_it() {
    for (wreck, passes) in [(None, true), (Some(("UMBRA_TEST_WRECK", "1")), false)] {
        let environment: Vec<(&str, &str)> = wreck.into_iter().collect();
        let (passed, said) = run_model("a_failure_explored", &environment);
        assert_eq!(passed, passes, "{said}");
        assert!(said.contains("a failure: failed in execution 2"), "{said}");
    }
}

/// Runs the first of them with an environment; whether it passed, and what it said.
fn run(environment: &[(&str, &str)]) -> (bool, String) {
    run_model("two_threads_explored", environment)
}

fn run_model(model: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", model, "--nocapture"])
        .env_remove("UMBRA_LOOM_FULL")
        .env_remove("UMBRA_LOOM_UNBOUNDED")
        .env_remove("UMBRA_LOOM_DEEP")
        .env_remove("UMBRA_LOOM_PART")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Models that are compiled without loom would pass, and check nothing.
#[test]
fn a_build_without_the_cfgs_is_an_error() {
    let said = |flags: &[&str]| {
        let output = Command::new("rustc")
            .args(["--edition=2024", "--crate-type=lib", "--emit=metadata"])
            .args([
                "-o",
                "/dev/null",
                concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs"),
            ])
            .args(flags)
            .output()
            .expect("rustc is there");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (ours, theirs) = (
        "its configuration brings --cfg loom",
        "crossbeam-epoch is not under loom",
    );
    let none = said(&[]);
    assert!(none.contains(ours) && none.contains(theirs), "{none}");
    let half = said(&["--cfg", "loom"]);
    assert!(!half.contains(ours) && half.contains(theirs), "{half}");
    // It fails for its dependencies only, which are not given here.
    let both = said(&["--cfg", "loom", "--cfg", "crossbeam_loom"]);
    assert!(!both.contains(ours) && !both.contains(theirs), "{both}");
}

#[test]
fn an_environment_that_cuts_a_model_short_is_an_error() {
    for limit in ["LOOM_MAX_PERMUTATIONS", "LOOM_MAX_DURATION"] {
        let (passed, said) = run(&[(limit, "1")]);
        assert!(!passed && said.contains("unset them"), "{said}");
    }
}

#[test]
fn a_bound_is_loosened_as_told() {
    let (full, unbounded) = ("UMBRA_LOOM_FULL", "UMBRA_LOOM_UNBOUNDED");
    for (told, extent) in [
        (&[][..], "(at most 1 preemption)"),
        (&[(full, "60")], "(at most 2 preemptions)"),
        (&[(unbounded, "60")], "(exhaustive)"),
    ] {
        let (passed, said) = run(told);
        assert!(passed && said.contains(extent), "{told:?}: {said}");
    }
    let (passed, said) = run_model("many_steps_explored", &[(unbounded, "1")]);
    let extent = "(exhaustive, stopped at its time)";
    assert!(passed && said.contains(extent), "{said}");
    for (told, extent) in [
        (
            &[][..],
            "(at most 1 preemption; mutate, --full: exhaustive)",
        ),
        (&[(full, "60")], "(exhaustive)"),
        (&[(unbounded, "60")], "(exhaustive)"),
    ] {
        let (passed, said) = run_model("two_threads_explored_quickly", told);
        assert!(passed && said.contains(extent), "{told:?}: {said}");
    }
    let mut counts = Vec::new();
    for (told, extent) in [
        (&[][..], "(at most 1 preemption; mutate, --full: at most 2)"),
        (&[("UMBRA_LOOM_DEEP", "1")], "(at most 2 preemptions)"),
        (&[(full, "60")], "(at most 2 preemptions)"),
        (&[(unbounded, "1")], "(exhaustive, stopped at its time)"),
    ] {
        let (passed, said) = run_model("many_steps_explored_deeply", told);
        assert!(passed && said.contains(extent), "{told:?}: {said}");
        let (_, count) = said.split_once("deeply: ").expect("its count");
        let (count, _) = count.split_once(' ').expect("a word");
        counts.push(count.parse::<u64>().expect("a number"));
    }
    assert!(
        counts[0] < counts[1] && counts[1] == counts[2],
        "{counts:?}"
    );
    for (told, why) in [
        (&[(full, "60"), (unbounded, "60")][..], "unset one"),
        (&[(full, "a minute")], "whole number of seconds"),
        (&[(unbounded, "0")], "whole number of seconds"),
    ] {
        let (passed, said) = run(told);
        assert!(!passed && said.contains(why), "{told:?}: {said}");
    }
}

/// Where a checkpoint is written, and removed when this goes.
struct Checkpoint(PathBuf);

impl Checkpoint {
    fn new(name: &str) -> Self {
        let name = format!("umbra-checkpoint-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn note(&self) -> PathBuf {
        self.0.with_added_extension("build")
    }

    /// What a model is told that saves its place before every second execution.
    fn environment(&self) -> [(&str, &str); 2] {
        [
            ("LOOM_CHECKPOINT_FILE", self.0.to_str().unwrap()),
            ("LOOM_CHECKPOINT_INTERVAL", "2"),
        ]
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(self.note());
    }
}

#[test]
fn a_checkpoint_of_another_build_bound_or_mutant_is_an_error() {
    let checkpoint = Checkpoint::new("other");
    let environment = checkpoint.environment();
    let (passed, said) = run(&environment);
    assert!(passed && checkpoint.0.exists(), "{said}");
    let (passed, said) = run(&environment);
    assert!(passed, "its own checkpoint is taken up: {said}");
    for other in [("UMBRA_MUTANT", "7"), ("LOOM_MAX_PREEMPTIONS", "0")] {
        let (passed, said) = run(&[&environment[..], &[other]].concat());
        assert!(
            !passed && said.contains("another build"),
            "{other:?}: {said}"
        );
    }
    std::fs::write(
        checkpoint.note(),
        "0000000000000000 bound 1, two threads, explored\n",
    )
    .unwrap();
    let (passed, said) = run(&environment);
    assert!(!passed && said.contains("another build"), "{said}");
}

#[test]
fn a_part_of_a_model_is_gone_to_and_repeated_alone() {
    let checkpoint = Checkpoint::new("part");
    let environment = checkpoint.environment();
    let of_part = [&environment[..], &[("UMBRA_LOOM_PART", "a failure")]].concat();
    // The second begins at the place that the first has saved; a program counts anew.
    for _ in 0..2 {
        let (passed, said) = run_model("a_failure_explored", &of_part);
        assert!(passed && !said.contains("no failure: "), "{said}");
        assert!(said.contains("a failure: failed in execution 2"), "{said}");
        assert!(checkpoint.0.exists());
    }
    let part = [("UMBRA_LOOM_PART", "a failure")];
    let (_, said) = run_model("two_threads_explored", &part);
    assert!(said.contains("leaves parts of a model out"), "{said}");
}
