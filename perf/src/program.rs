//! Running other programs: what they print, and why they failed.

use crate::ending;
use crate::error::{Error, Result};
use std::process::{Command, Output};

/// Lines of a failed program's output that an error repeats.
const TAIL: usize = 20;

/// What a program prints on standard output.
///
/// # Errors
/// [`Error::Command`] if it cannot be started or fails, with the end of what it
/// printed.
pub fn output(command: &mut Command, help: &str) -> Result<String> {
    let failed = |command: &Command, problem: String| Error::Command {
        command: shown(command),
        problem,
        help: help.to_owned(),
    };
    let ran = ending::output(command);
    let Output {
        status,
        stdout,
        stderr,
    } = ran.map_err(|error| failed(command, format!("could not be run: {error}")))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    // cargo and git complain on one, test runners on the other.
    let said = if stderr.trim_ascii().is_empty() {
        &stdout
    } else {
        &stderr
    };
    let said = String::from_utf8_lossy(said);
    let lines: Vec<_> = said.trim_end().lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    Err(failed(command, format!("failed ({status}):\n{tail}")))
}

/// The command as one would type it, near enough to read.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Result<String> {
        output(Command::new("sh").args(["-c", script]), "mend it")
    }

    #[test]
    fn a_failure_repeats_the_end_of_what_was_said() {
        assert_eq!(sh("echo fine; echo noise >&2").expect("to work"), "fine\n");
        let error = sh("seq 100 >&2; exit 7").expect_err("exit 7").to_string();
        assert!(error.contains("exit status: 7"), "{error}");
        assert!(error.ends_with("99\n100"), "{error}");
        assert!(!error.contains("\n80\n"), "{error}");
        let error = sh("echo only here; exit 1").expect_err("exit 1");
        assert!(error.to_string().contains("only here"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = output(&mut Command::new("/no/such/program"), "").expect_err("none");
        assert!(
            error
                .to_string()
                .starts_with("`/no/such/program` could not be run"),
            "{error}"
        );
    }
}
