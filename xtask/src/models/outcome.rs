//! What a run of a model says about itself.

use std::time::Duration;

use serde::Serialize;

use crate::pool::Ended;

/// How a model's run is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Explored, and nothing was found.
    Green,
    /// Some execution failed.
    Red,
    /// Ended for its time.
    Late,
    /// Nothing failed, but it was not explored to its end: its time was up.
    Cut,
}

impl Verdict {
    /// One word, for tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Green => "ok",
            Self::Red => "FAILED",
            Self::Late => "TIMEOUT",
            Self::Cut => "not ended",
        }
    }
}

/// One model's run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    /// `file::function`.
    pub(crate) model: String,
    /// How it is judged.
    pub(crate) verdict: Verdict,
    /// Executions explored, in all its parts; none if it does not say.
    pub(crate) executions: Option<u64>,
    /// The bounds of its parts, as it prints them.
    pub(crate) extent: String,
    /// Its time.
    pub(crate) seconds: f64,
    /// In which execution it failed.
    pub(crate) failed_in: Option<u64>,
    /// And of which of its parts.
    pub(crate) failed_part: Option<String>,
    /// What it said when it failed.
    pub(crate) why: String,
}

impl Outcome {
    /// Reads it from a program's output.
    pub(crate) fn of(model: String, ended: &Ended) -> Self {
        let mut executions = None;
        let mut extents: Vec<String> = Vec::new();
        let mut cut = false;
        let mut failed_in = None;
        let mut failed_part = None;
        for line in &ended.lines {
            if let Some((count, extent)) = explored(line) {
                *executions.get_or_insert(0) += count;
                let extent = match extent.strip_suffix(", stopped at its time") {
                    Some(extent) => {
                        cut = true;
                        extent.replace("exhaustive", "no bound")
                    }
                    None => extent.to_owned(),
                };
                if !extents.contains(&extent) {
                    extents.push(extent);
                }
            }
            if let Some((part, count)) = line.rsplit_once(": failed in execution ") {
                failed_in = count.parse().ok();
                failed_part = Some(part.to_owned());
            }
        }
        // A model that has to fail did: `#[should_panic]`.
        if let (Some(n), true, None) = (failed_in, ended.ok(), executions) {
            executions = Some(n);
            extents.push("to its failure, which has to come".into());
        }
        let verdict = match ended.status {
            None => Verdict::Late,
            Some(status) if !status.success() => Verdict::Red,
            Some(_) if cut => Verdict::Cut,
            Some(_) => Verdict::Green,
        };
        Self {
            model,
            verdict,
            executions,
            extent: extents.join("; "),
            seconds: ended.time.as_secs_f64(),
            failed_in,
            failed_part,
            why: why(&ended.lines),
        }
    }

    /// Its time.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// The count and the extent of an `explore` line: "NAME: 12 executions
/// (exhaustive), 0.1 s".
fn explored(line: &str) -> Option<(u64, &str)> {
    let (left, right) = line.split_once(" executions (")?;
    let count = left.rsplit_once(": ")?.1.parse().ok()?;
    Some((count, right.rsplit_once("), ")?.0))
}

/// The panic's message: what stands between its first line and the backtrace.
fn why(lines: &[String]) -> String {
    let Some(at) = lines.iter().position(|l| l.contains("panicked at ")) else {
        return String::new();
    };
    let message: Vec<&str> = lines[at + 1..]
        .iter()
        .map(|l| l.trim_end())
        .take_while(|l| {
            !l.starts_with("note: ")
                && !l.starts_with("stack backtrace:")
                && !l.starts_with("test ")
                && !l.contains(": failed in execution ")
                && !l.contains("panicked at ")
        })
        .filter(|l| !l.is_empty())
        .take(12)
        .collect();
    message.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn ended(lines: &[&str], code: i32) -> Ended {
        Ended {
            status: Some(ExitStatus::from_raw(code << 8)),
            lines: lines.iter().map(|&l| l.to_owned()).collect(),
            time: Duration::from_secs(1),
        }
    }

    #[test]
    fn parts_of_a_model_are_added_up() {
        let lines = [
            "running 1 test",
            "get all of 4 | split: 770 executions (at most 2 preemptions), 0.3 s",
            "get all of 5 | split: 30 executions (at most 2 preemptions), 0.3 s",
        ];
        let outcome = Outcome::of("m".into(), &ended(&lines, 0));
        assert_eq!(outcome.verdict, Verdict::Green);
        assert_eq!(outcome.executions, Some(800));
        assert_eq!(outcome.extent, "at most 2 preemptions");
    }

    #[test]
    fn a_model_that_was_stopped_is_not_green() {
        for (said, extent) in [
            ("at most 3 preemptions", "at most 3 preemptions"),
            ("exhaustive", "no bound"),
        ] {
            let line = format!("a: 5 executions ({said}, stopped at its time), 9.0 s");
            let outcome = Outcome::of("m".into(), &ended(&[&line], 0));
            assert_eq!(outcome.verdict, Verdict::Cut);
            assert_eq!(outcome.extent, extent);
        }
    }

    #[test]
    fn a_model_that_has_to_fail_counts_up_to_its_failure() {
        let lines = [
            "no gate: failed in execution 3",
            "test x - should panic ... ok",
        ];
        let outcome = Outcome::of("m".into(), &ended(&lines, 0));
        assert_eq!(outcome.verdict, Verdict::Green);
        assert_eq!(outcome.executions, Some(3));
    }

    #[test]
    fn a_failure_keeps_its_execution_and_its_reason() {
        let lines = [
            "thread 'x' (1) panicked at loom/src/rt/location.rs:115:9:",
            "",
            "Causality violation: Concurrent read and write accesses.",
            "    created: tests/state.rs:253:29",
            "",
            "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            "get | free: failed in execution 17",
        ];
        let outcome = Outcome::of("m".into(), &ended(&lines, 101));
        assert_eq!(outcome.verdict, Verdict::Red);
        assert_eq!(outcome.failed_in, Some(17));
        assert!(outcome.why.starts_with("Causality violation"));
        assert!(outcome.why.ends_with("253:29"));
    }
}
