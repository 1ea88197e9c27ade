//! Another project uses the tool as the README tells it to.
//!
//! `tests/sample` is a small crate that knows nothing of Umbra. Here it gets a
//! repository of its own, a few commits, and everything that the tool can do:
//! real cargo, real callgrind, real criterion. One test, for they share a folder
//! of built dependencies.

mod common;

use common::{Run, Scratch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const DIGITS: &str = "counts::all::digits::large";

/// The words of the README's commands.
const BENCH: &str = "cargo bench --bench counts -- --save-summary=json";
const RECORD: &str = "umbra-perf record --iai target/iai --out baselines/ours.json";
const GATE: &str = "umbra-perf gate --iai target/iai --baselines baselines";
const PAGE: &str =
    "umbra-perf report new.json --since old.json --history baselines --format html --out page.html";

struct Sample {
    scratch: Scratch,
    /// Dependencies, built once for all runs.
    built: PathBuf,
}

impl Sample {
    fn new() -> Self {
        let scratch = Scratch::new();
        let crate_ = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample");
        common::copy(&crate_, &scratch.path("."));
        scratch.write(".gitignore", "/target\n");
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sample");
        let sample = Self { scratch, built };
        sample.sh("git init --quiet --initial-branch=main");
        fs::create_dir(sample.scratch.path("baselines")).expect("to make the folder");
        sample
    }

    /// Runs a line of the README in the project.
    #[track_caller]
    fn sh(&self, line: &str) {
        let status = common::clean_command("sh")
            .args(["-c", line])
            .current_dir(self.scratch.path("."))
            .env("CARGO_TARGET_DIR", self.scratch.path("target"))
            .stdout(Stdio::null())
            .status()
            .expect("a shell");
        assert!(status.success(), "{line}");
    }

    fn bench(&self) {
        // The dependencies' builds, but the output where the README has it.
        let target = self.built.join("umbra-perf");
        let line = format!(
            "CARGO_TARGET_DIR={} {BENCH} && rm -rf target && mkdir target && mv {}/iai target/",
            target.display(),
            target.display()
        );
        self.sh(&line);
    }

    fn perf(&self, line: &str) -> Run {
        let words: Vec<_> = line.split(' ').skip(1).collect();
        self.scratch.run(&words)
    }

    /// Changes what the digits cost, and commits.
    fn commit(&self, inner: &str, subject: &str) {
        let text = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample/src/lib.rs"),
        );
        let text = text.expect("the sample's source");
        let (before, after) = text
            .split_once("        sum += n % 10;\n")
            .expect("the loop");
        self.scratch
            .write("src/lib.rs", &format!("{before}{inner}{after}"));
        self.sh("git add --all");
        self.sh(&format!(
            "git -c user.name=t -c user.email=t@example.com commit --quiet -m '{subject}'"
        ));
    }
}

const PLAIN: &str = "        sum += n % 10;\n";
const COMMENT: &str = "        // The last digit.\n        sum += n % 10;\n";
const COSTLY: &str = "        sum += std::hint::black_box(n % 10);\n";
const SLOW: &str = "        for _ in 0..20 { std::hint::black_box(n); }\n        sum += n % 10;\n";

#[test]
fn another_project_records_gates_bisects_times_and_reports() {
    let sample = Sample::new();
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let readme = readme.expect("the README");
    for line in [BENCH, RECORD, GATE, PAGE] {
        assert!(readme.contains(line), "the README does not have `{line}`");
    }

    // A baseline, committed; then a comment; then a cost.
    sample.commit(PLAIN, "start");
    sample.bench();
    sample.perf(RECORD).says(0, &["3 benchmarks recorded"]);
    sample
        .perf("x record --iai target/iai --out old.json")
        .says(0, &[]);
    sample.commit(COMMENT, "say what it does");
    sample.bench();
    sample.perf(GATE).says(0, &["Gate: fine", "3 as before"]);
    sample.commit(COSTLY, "the culprit");
    sample.bench();
    let run = sample.perf(GATE);
    run.says(
        3,
        &[
            "| REGRESSED",
            DIGITS,
            "| `sample::digit_sum` | src/lib.rs |",
        ],
    );
    assert!(
        !run.stdout.contains("counts::all::primes::large"),
        "{}",
        run.stdout
    );
    sample
        .perf("x record --iai target/iai --out new.json")
        .says(0, &[]);

    // The page names the benchmark and the function.
    sample.perf(PAGE).says(0, &[]);
    let page = sample.scratch.read("page.html");
    assert!(page.contains("sample::digit_sum") && page.contains(DIGITS));

    // A file of callgrind's that was cut off is named; the record stays.
    let out = "target/iai/sample/counts/all/digits.large/callgrind.digits.large.out";
    let text = sample.scratch.read(out);
    sample.scratch.write(out, &text[..text.len() / 2]);
    let before = sample.scratch.read("new.json");
    sample
        .perf("x record --iai target/iai --out new.json")
        .says(2, &["callgrind.digits.large.out: line ", "it was cut off"]);
    assert_eq!(sample.scratch.read("new.json"), before);

    // Which commit was it? Later ones keep the cost.
    sample.commit(COSTLY, "later");
    sample.commit(SLOW, "much slower");
    let built = sample.built.to_str().expect("a path in UTF-8").to_owned();
    let with = |args: &[&str], command: &str| {
        let command = command.split(' ').filter(|word| !word.is_empty());
        let built = ["--target-dir", &built];
        sample.scratch.run(
            &args
                .iter()
                .copied()
                .chain(built)
                .chain(command)
                .collect::<Vec<_>>(),
        )
    };
    let bench = format!("-- {BENCH}");
    with(
        &[
            "bisect",
            "--good",
            "HEAD~4",
            "--bad",
            "HEAD~1",
            "--benchmark",
            DIGITS,
        ],
        &bench,
    )
    .says(
        0,
        &[
            "First past the limit",
            " the culprit",
            "`sample::digit_sum`",
        ],
    );

    // A pull request without a baseline of this machine.
    with(&["gate", "--against", "HEAD~4", "--keep", "kept"], &bench).says(3, &[DIGITS]);

    // Wall time is reported; what it comes to is the machine's business.
    let ab = [
        "ab",
        "--old",
        "HEAD~4",
        "--bench",
        "times",
        "--pairs",
        "6",
        "--seconds",
        "0.2",
    ];
    with(&ab, "").says(0, &["`digits/large`", "s | ", "6 pairs of processes"]);
    with(&ab, "--filter nothing-of-that-name").says(2, &["no benchmark output found"]);

    // Without `--save-summary=json` the runner leaves the summaries of before.
    let built = sample.built.join("umbra-perf");
    let built = built.display();
    sample.sh(&format!(
        "rm -rf {built}/iai && mv target/iai {built}/ && \
         CARGO_TARGET_DIR={built} cargo bench --bench counts && mv {built}/iai target/"
    ));
    sample.perf(GATE).says(
        2,
        &["digits.large/summary.json: it says", "are of two runs"],
    );
}
