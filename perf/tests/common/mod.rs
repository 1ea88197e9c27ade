//! What the end-to-end tests share: the binary, a scratch folder, and real
//! benchmark output.
//!
//! `fixtures/run` is what iai-callgrind 0.16.1 and criterion 0.8 wrote in a run of
//! benches/, with the machine's own paths replaced by `/project`.

#![allow(dead_code, reason = "each test crate uses its part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The captured output, a target folder with `iai` and `criterion` in it.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/run")
}

/// What a run of the tool came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Asserts on the exit code, and on words of what was printed.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        let all = format!("{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(all.contains(word), "no `{word}` in {all}");
        }
    }
}

/// A folder of its own for one test.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a scratch folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the tool in the scratch folder.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_umbra-perf"))
            .args(args)
            .current_dir(self.0.path())
            .env_remove("CARGO_TARGET_DIR")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .expect("to run umbra-perf");
        Run {
            code: output.status.code().expect("an exit code"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("to make the folder");
        fs::write(&path, text).expect("to write the file");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("to read the file")
    }

    /// A copy of the captured output, to be damaged.
    pub(crate) fn copy_fixtures(&self) {
        copy(&fixtures(), &self.path("target"));
    }

    /// Changes one file of the scratch folder by a text replacement that must
    /// apply.
    #[track_caller]
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "`{from}` is not in {name}");
        fs::write(self.path(name), text.replacen(from, to, 1)).expect("to write the file");
    }

    /// Records the captured output, as a baseline and as a run to judge.
    pub(crate) fn record_baseline_and_run(&self) {
        fs::create_dir(self.path("baselines")).expect("to make the folder");
        let target = fixtures();
        let target = target.to_str().expect("a path in UTF-8");
        for out in ["baselines/here.json", "run.json"] {
            self.run(&["record", "--target-dir", target, "--out", out])
                .says(0, &["5 benchmarks"]);
        }
    }
}

/// A command without what cargo tells a test of its own package.
pub(crate) fn clean_command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&key);
        }
    }
    command
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("to make the folder");
    for entry in fs::read_dir(from).expect("to list the folder") {
        let entry = entry.expect("to list the folder");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("to copy the file");
        }
    }
}

/// A git repository in a scratch folder, whose benchmark's count is in a file: a
/// commit is one number, and measuring it takes no time.
pub(crate) struct Project(pub(crate) Scratch);

impl Project {
    /// The id of its benchmark.
    pub(crate) const BENCHMARK: &str = "insn_get::get::klp_hit::n1k";

    /// What runs its benchmark: writes the summary that iai-callgrind would.
    pub(crate) const COMMAND: [&str; 3] = ["--", "sh", "bench.sh"];

    pub(crate) fn new() -> Self {
        let project = Self(Scratch::new());
        let scratch = &project.0;
        let summary = "iai/umbra-benches/insn_get/get/klp_hit.n1k/summary.json";
        let text = fs::read_to_string(fixtures().join(summary)).expect("the summary");
        let (before, after) = text.split_once("\"Int\":24504").expect("its count");
        assert!(
            after.contains("\"Int\":24504"),
            "once for a part, once for the total"
        );
        scratch.write("head", &format!("{before}\"Int\":"));
        scratch.write("tail", &after.replace("\"Int\":24504", "\"Int\":@"));
        scratch.write(
            "bench.sh",
            "set -e\n\
             test ! -e broken || { echo 'does not build' >&2; exit 101; }\n\
             ir=$(cat cost)\n\
             out=$CARGO_TARGET_DIR/iai/p; mkdir -p $out\n\
             { cat head; printf %s $ir; sed s/@/$ir/g tail; } > $out/summary.json\n\
             test ! -e renamed || sed -i s/klp_hit/klp_found/g $out/summary.json\n",
        );
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        project
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(args)
            .current_dir(self.0.path("."))
            .output()
            .expect("to run git");
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8(output.stdout)
            .expect("UTF-8")
            .trim()
            .to_owned()
    }

    /// Commits everything; the commit's id.
    pub(crate) fn commit(&self, subject: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A commit at which the benchmark costs so many instructions.
    pub(crate) fn costs(&self, instructions: u64, subject: &str) -> String {
        self.0.write("cost", &format!("{instructions}\n"));
        self.commit(subject)
    }
}
