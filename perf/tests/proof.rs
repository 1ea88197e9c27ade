//! The gate sees what it is there for, on Umbra itself: a few instructions more
//! in `get` close it and are named, a comment does not.
//!
//! In a clone of the repository the real benchmarks are built and counted, by the
//! committed limits. Every round inserts another cost and another comment, so that
//! each says more than the one before. `UMBRA_PERF_ROUNDS` is how many: two unless it
//! is set, in CI too, for each builds twice.

mod common;

use common::{Run, Scratch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Where the cost goes: the method that every lookup of the benchmarks calls.
const FILE: &str = "shadow/src/table.rs";
const GET: &str = "pub fn get(&self, obj: usize, guard: &P::Guard) -> Option<NonNull<u8>> {\n";

struct Clone {
    scratch: Scratch,
    target: PathBuf,
    source: String,
}

impl Clone {
    fn new() -> Self {
        let scratch = Scratch::new();
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let status = common::clean_command("git")
            .args(["clone", "--quiet", "--shared"])
            .arg(&ours)
            .arg(scratch.path("umbra"))
            .status();
        assert!(status.expect("git").success());
        // cargo builds a package's programs before its benches, every time.
        let programs = scratch.path("umbra/benches/src/bin");
        if programs.exists() {
            fs::remove_dir_all(programs).expect("to remove the programs");
        }
        let source = scratch.read(&format!("umbra/{FILE}"));
        assert_eq!(
            source.matches(GET).count(),
            1,
            "{FILE} has another `get` now: tell this test"
        );
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("proof");
        Self {
            scratch,
            target,
            source,
        }
    }

    /// Counts the lookups with this at the start of `get`.
    fn count(&self, inserted: &str) {
        let source = self.source.replace(GET, &format!("{GET}{inserted}"));
        self.scratch.write(&format!("umbra/{FILE}"), &source);
        let counts = self.target.join("iai");
        if counts.exists() {
            fs::remove_dir_all(&counts).expect("to remove the older counts");
        }
        let status = common::clean_command("cargo")
            .args([
                "bench",
                "--quiet",
                "--package",
                "umbra-benches",
                "--bench",
                "insn_get",
            ])
            .args(["--", "--save-summary=json"])
            .current_dir(self.scratch.path("umbra"))
            .env("CARGO_TARGET_DIR", &self.target)
            // Each count builds anew. Without optimisation across crates that is
            // one crate or two, and it is the gate that is proven, not the code: these
            // counts are compared with each other and never with the baselines.
            .env("CARGO_PROFILE_BENCH_LTO", "off")
            .env("CARGO_PROFILE_BENCH_DEBUG", "line-tables-only")
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("cargo").success(), "with {inserted:?}");
    }

    fn perf(&self, args: &[&str]) -> Run {
        let iai = self.target.join("iai");
        let from = ["--iai", iai.to_str().expect("UTF-8"), "--project", "umbra"];
        self.scratch.run(&[args, &from].concat())
    }

    fn gate(&self) -> Run {
        self.perf(&[
            "gate",
            "--baselines",
            "base.json",
            "--limits",
            "umbra/perf/limits.toml",
        ])
    }
}

#[test]
fn a_few_instructions_in_get_close_the_gate_and_a_comment_does_not() {
    let rounds = std::env::var("UMBRA_PERF_ROUNDS").unwrap_or_else(|_| "2".to_owned());
    let rounds: usize = rounds.parse().expect("UMBRA_PERF_ROUNDS is a number");
    assert!(rounds > 0, "no round proves nothing");
    let clone = Clone::new();
    clone.count("");
    clone
        .perf(&["record", "--out", "base.json"])
        .says(0, &["benchmarks recorded"]);
    for round in 1..=rounds {
        let cost = "        let obj = core::hint::black_box(obj);\n".repeat(1 + round % 3);
        clone.count(&cost);
        let run = clone.gate();
        run.says(3, &["Gate: regressed"]);
        let named: Vec<_> = run
            .stdout
            .lines()
            .filter(|l| l.starts_with("| REGRESSED"))
            .collect();
        for benchmark in [
            "umbra_hit::n1k",
            "umbra_miss::n1k",
            "umbra_hit::n100k",
            "umbra_miss::n100k",
        ] {
            let id = format!("`insn_get::get::{benchmark}`");
            assert!(
                named.iter().any(|line| line.contains(&id)),
                "round {round}: {id} in {named:#?}"
            );
        }
        assert!(
            named.iter().all(|line| line.contains("::umbra_")),
            "round {round}: {named:#?}"
        );
        println!("round {round}: exit 3, {}", named[0]);

        clone.count(&format!("        // Round {round}: a comment.\n").repeat(round));
        let run = clone.gate();
        run.says(
            0,
            &[
                "Gate: fine",
                " 0 regressed, 0 worse within the limit, 0 improved",
            ],
        );
        println!(
            "round {round}: exit 0, {}",
            run.stdout.lines().next().unwrap_or_default()
        );
    }
}
