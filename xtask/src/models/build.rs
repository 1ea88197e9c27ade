//! Building the models and listing them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::proc;
use crate::suite::cargo;
use crate::ui::Task;

/// Test programs of `loom-tests/` that check the tools and hold no model.
const NO_MODELS: &[&str] = &["explore", "matrix"];

/// One model: a test function of one of the test programs.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// The file it is in, without its ending: `table`.
    pub(crate) file: String,
    /// The test program.
    pub(crate) exe: PathBuf,
    /// The test function.
    pub(crate) name: String,
    /// It explores something; the others test the tools.
    pub(crate) explores: bool,
}

impl Model {
    /// `table::g1_get_against_free`.
    pub(crate) fn id(&self) -> String {
        format!("{}::{}", self.file, self.name)
    }

    /// The program that runs this model alone, in the folder of its sources.
    pub(crate) fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.exe);
        command
            .current_dir(dir)
            .args(["--exact", &self.name, "--nocapture", "--test-threads=1"])
            .env("RUST_BACKTRACE", "0")
            .env("NO_COLOR", "1");
        // What is set around us must not decide what is explored.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("LOOM_") || name.starts_with("UMBRA_") {
                command.env_remove(&key);
            }
        }
        command
    }
}

/// The part of cargo's messages that tells of a test program.
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the models of a `loom-tests` folder. What they depend on is compiled
/// once for all such folders.
pub(crate) fn build(paths: &Paths, dir: &Path, log: &str) -> Result<Vec<Model>> {
    let log = paths.log(log)?;
    let arguments = [
        "test",
        "--tests",
        "--no-run",
        "--message-format=json-render-diagnostics",
        "--target-dir",
    ];
    // In its folder, for its own .cargo/config.toml, which brings loom's cfg.
    let mut command = cargo(dir, &arguments);
    command.arg(paths.dir("models")?);
    // Either would take the place of the flags in that file.
    command
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // The same for all folders, or everything is built for each.
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
            paths.root().join(".ci/cc"),
        );
    let task = Task::new("building the models");
    let finished = proc::run(command, &task, Some(&log))?;
    let help = format!("the whole output is in {}", log.display());
    let lines = finished.ok_or_help(Some(help))?;
    task.done("");

    let mut models = Vec::new();
    for (file, exe) in programs(&lines) {
        let mut list = Command::new(&exe);
        list.args(["--list", "--format", "terse"]);
        for line in proc::output(list)? {
            if let Some(name) = line.strip_suffix(": test") {
                models.push(Model {
                    explores: !NO_MODELS.contains(&file.as_str()),
                    file: file.clone(),
                    exe: exe.clone(),
                    name: name.to_owned(),
                });
            }
        }
    }
    if !models.iter().any(|m| m.explores) {
        return Err(Error::NoModels {
            dir: dir.to_path_buf(),
        });
    }
    models.sort_by_key(Model::id);
    Ok(models)
}

/// The integration tests among what cargo built.
fn programs(lines: &[String]) -> Vec<(String, PathBuf)> {
    lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|m| m.reason == "compiler-artifact")
        .filter(|m| m.profile.as_ref().is_some_and(|p| p.test))
        .filter_map(|m| Some((m.target?, m.executable?)))
        .filter(|(target, _)| target.kind.iter().any(|k| k == "test"))
        .map(|(target, exe)| (target.name, exe))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_integration_tests_are_programs_of_models() {
        let line = |kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"table","kind":["{kind}"]}},"profile":{{"test":{test}}},"executable":"/t/table-1"}}"#
            )
        };
        let lines = [
            "   Compiling x".to_owned(),
            line("test", true),
            line("lib", true),
            line("bin", false),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        assert_eq!(
            programs(&lines),
            [("table".to_owned(), PathBuf::from("/t/table-1"))]
        );
    }
}
