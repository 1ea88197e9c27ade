//! One run of a guest, as the host sees it: lines in, verdict out.
//!
//! The state machine knows nothing of QEMU, so that every way a guest can go
//! wrong is tested with a few lines of text.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::document;
use crate::klog::Scanner;
use crate::protocol::{self, Ktap, KtapLine, Line, Message};
use crate::ui;

/// How many log lines are kept for a message about silence.
const LAST: usize = 15;

/// Something that makes a run a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub(crate) enum Problem {
    /// The final line never came.
    NeverDone {
        /// The last lines that did.
        last: Vec<String>,
    },
    /// The guest itself says that it failed.
    SaysFailed,
    /// The guest script's exit code.
    Exit {
        /// The code.
        code: i32,
    },
    /// Nothing was heard for too long.
    Silent {
        /// For how long, in seconds.
        seconds: u64,
        /// The last lines.
        last: Vec<String>,
    },
    /// It went on for too long.
    TooLong {
        /// For how long, in seconds.
        seconds: u64,
        /// The last lines.
        last: Vec<String>,
    },
    /// It went on after the kernel's complaint, and was ended.
    Ill {
        /// For how long, in seconds.
        seconds: u64,
    },
    /// A test failed.
    Test {
        /// Its name.
        name: String,
        /// Why.
        detail: String,
    },
    /// A message that does not parse, or a KTAP plan that is not met.
    Protocol {
        /// The line's number in the log.
        line: usize,
        /// The line.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The kernel complained.
    Kernel {
        /// What it said.
        excerpt: Vec<String>,
    },
    /// A complaint that a test provokes never came.
    NotSeen {
        /// The text that was announced.
        text: String,
    },
    /// The console lost lines, so results may be missing.
    Lost {
        /// The kernel's line about it.
        text: String,
    },
    /// QEMU ended badly.
    Qemu {
        /// How.
        status: String,
        /// The last lines.
        last: Vec<String>,
    },
}

impl Problem {
    /// The problem for people, several lines.
    pub(crate) fn show(&self) -> String {
        let indent = |lines: &[String]| {
            lines.iter().fold(String::new(), |mut text, line| {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n    | {line}");
                text
            })
        };
        match self {
            Self::NeverDone { last } => {
                format!(
                    "the guest ended without its final `done` line{}",
                    indent(last)
                )
            }
            Self::SaysFailed => "the guest reports a failure (done, ok: false)".into(),
            Self::Exit { code } => format!("the guest script ended with code {code}"),
            Self::Silent { seconds, last } => {
                format!(
                    "nothing was heard of the guest for {seconds} s{}",
                    indent(last)
                )
            }
            Self::TooLong { seconds, last } => {
                format!("the guest was not done after {seconds} s{}", indent(last))
            }
            Self::Ill { seconds } => {
                format!("the guest was ended {seconds} s after the kernel's first complaint")
            }
            Self::Test { name, detail } if detail.is_empty() => format!("test {name} failed"),
            Self::Test { name, detail } => format!("test {name} failed: {detail}"),
            Self::Protocol { line, text, why } => {
                format!(
                    "line {line} of the log: {why}\n    | {}",
                    ui::clip(text, 200)
                )
            }
            Self::Kernel { excerpt } => format!("the kernel complained{}", indent(excerpt)),
            Self::NotSeen { text } => {
                format!("the kernel was to complain of \"{text}\" and did not")
            }
            Self::Lost { text } => {
                format!("the console lost lines, results may be missing\n    | {text}")
            }
            Self::Qemu { status, last } => format!("QEMU failed ({status}){}", indent(last)),
        }
    }
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// QEMU ended by itself, well.
    Off,
    /// The watchdog: no line for so long.
    Silent(Duration),
    /// The watchdog: so long in all.
    TooLong(Duration),
    /// Ended so long after the kernel's first complaint.
    Ill(Duration),
}

/// A run while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Session {
    messages: Vec<Message>,
    /// Texts of complaints that tests provoke.
    expected: Vec<String>,
    /// The lines of the module's document that have come.
    document: String,
    passed: usize,
    problems: Vec<Problem>,
    scanner: Scanner,
    ktap: Ktap,
    last: Vec<String>,
    lines: usize,
    done: bool,
}

impl Session {
    /// The next line of the console; a message in it is given back.
    pub(crate) fn line(&mut self, raw: &str) -> Option<Message> {
        self.lines += 1;
        if self.last.len() == LAST {
            self.last.remove(0);
        }
        self.last.push(raw.to_owned());
        match protocol::parse(raw) {
            Line::Message(message) => {
                self.message(&message);
                self.messages.push(message.clone());
                return Some(message);
            }
            Line::Bad(why) => {
                self.problems.push(Problem::Protocol {
                    line: self.lines,
                    text: raw.to_owned(),
                    why,
                });
                return None;
            }
            Line::Log => {}
        }
        let (text, by_script) = protocol::text(raw);
        for found in self.ktap.line(text) {
            self.ktap_line(raw, found);
        }
        if !by_script {
            if text.contains("printk messages dropped") {
                self.problems.push(Problem::Lost {
                    text: text.to_owned(),
                });
            }
            self.scanner.line(text);
        }
        None
    }

    fn message(&mut self, message: &Message) {
        match message {
            Message::Test { ok: true, .. } => self.passed += 1,
            Message::Test {
                name,
                ok: false,
                detail,
            } => self.problems.push(Problem::Test {
                name: name.clone(),
                detail: detail.clone().unwrap_or_default(),
            }),
            Message::Expect { text } => self.expected.push(text.clone()),
            Message::Document {
                line: Some(line), ..
            } => {
                self.document.push_str(line);
                self.document.push('\n');
            }
            Message::Document { name, line: None } => {
                match document::judge(&std::mem::take(&mut self.document)) {
                    Ok(()) => self.passed += 1,
                    Err(why) => self.problems.push(Problem::Test {
                        name: format!("the JSON document, {name}"),
                        detail: why,
                    }),
                }
            }
            Message::Exit { code } if *code != 0 => {
                self.problems.push(Problem::Exit { code: *code });
            }
            Message::Done { ok } => {
                self.done = true;
                if !ok {
                    self.problems.push(Problem::SaysFailed);
                }
            }
            _ => {}
        }
    }

    fn ktap_line(&mut self, raw: &str, found: KtapLine) {
        match found {
            // What is expected to fail (TODO) is neither a pass nor a failure.
            KtapLine::Test {
                name,
                ok,
                directive,
            } => {
                if ok {
                    self.passed += 1;
                } else if !directive.as_ref().is_some_and(|d| d.starts_with("TODO")) {
                    self.problems.push(Problem::Test {
                        name,
                        detail: directive.unwrap_or_default(),
                    });
                }
            }
            KtapLine::Broken(why) => self.problems.push(Problem::Protocol {
                line: self.lines,
                text: raw.to_owned(),
                why,
            }),
        }
    }

    /// How much the tests have said: messages, and verdicts of the modules' own tests.
    pub(crate) fn told(&self) -> usize {
        self.messages.len() + self.passed + self.problems.len()
    }

    /// Whether the kernel has complained of something that no test provoked.
    pub(crate) fn is_ill(&self) -> bool {
        !self.complaints().0.is_empty()
    }

    /// The complaints that no test provoked, and the texts of those that were
    /// announced and did not come. An announcement stands for one complaint.
    fn complaints(&self) -> (Vec<&Vec<String>>, Vec<&String>) {
        let mut left: Vec<&String> = self.expected.iter().collect();
        let unexpected = |excerpt: &&Vec<String>| {
            let said = |text: &&String| excerpt.iter().any(|line| line.contains(*text));
            match left.iter().position(said) {
                Some(at) => {
                    left.remove(at);
                    false
                }
                None => true,
            }
        };
        let found = self.scanner.excerpts().iter().filter(unexpected).collect();
        (found, left)
    }

    /// The run is over: gives the verdict. `qemu` is its status if it was bad.
    pub(crate) fn finish(mut self, end: End, qemu: Option<String>) -> Outcome {
        for found in self.ktap.finish() {
            self.ktap_line("end of the log", found);
        }
        let (complaints, missed) = self.complaints();
        let kernel_warnings = complaints.len();
        let complaints = complaints.into_iter().map(|excerpt| Problem::Kernel {
            excerpt: excerpt.clone(),
        });
        let missed = missed
            .into_iter()
            .map(|text| Problem::NotSeen { text: text.clone() });
        let found: Vec<Problem> = complaints.chain(missed).collect();
        self.problems.extend(found);
        let last = self.last;
        match (end, qemu) {
            (End::Silent(time), _) => {
                self.problems.push(Problem::Silent {
                    seconds: time.as_secs(),
                    last,
                });
            }
            (End::TooLong(time), _) => {
                self.problems.push(Problem::TooLong {
                    seconds: time.as_secs(),
                    last,
                });
            }
            (End::Ill(time), _) => {
                self.problems.push(Problem::Ill {
                    seconds: time.as_secs(),
                });
            }
            (End::Off, Some(status)) => self.problems.push(Problem::Qemu { status, last }),
            (End::Off, None) if !self.done => self.problems.push(Problem::NeverDone { last }),
            (End::Off, None) => {}
        }
        Outcome {
            kernel_warnings,
            stale_code: self.scanner.ran_stale_code(),
            messages: self.messages,
            passed: self.passed,
            problems: self.problems,
            lines: self.lines,
        }
    }
}

/// What a run came to.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// All messages, in order.
    pub(crate) messages: Vec<Message>,
    /// How many tests passed.
    pub(crate) passed: usize,
    /// What was wrong; nothing, if it went well.
    pub(crate) problems: Vec<Problem>,
    /// How many of the problems are complaints of the kernel.
    pub(crate) kernel_warnings: usize,
    /// Whether the kernel died of a breakpoint that memory did not have any more.
    pub(crate) stale_code: bool,
    /// Lines of the boot log.
    pub(crate) lines: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[&str], end: End) -> Outcome {
        let mut session = Session::default();
        for line in lines {
            session.line(line);
        }
        session.finish(end, None)
    }

    const DONE: &str = r#"[    9.0] @umbra {"kind":"done","ok":true}"#;

    #[test]
    fn a_good_run_has_no_problems() {
        let outcome = run(
            &[
                "[    0.0] Linux version 6.1",
                r#"@umbra {"kind":"test","name":"a","ok":true}"#,
                "[    1.0] ok 1 kernel test",
                "[    1.0] guest: ok 2 script test",
                "[    1.0] guest: WARNING: is my word, not the kernel's",
                DONE,
            ],
            End::Off,
        );
        assert_eq!(outcome.problems, []);
        assert_eq!(outcome.passed, 3);
    }

    #[test]
    fn a_guest_that_never_reports_fails() {
        let outcome = run(
            &["[    0.0] Linux version 6.1", "[    3.0] reboot"],
            End::Off,
        );
        let [Problem::NeverDone { last }] = outcome.problems.as_slice() else {
            panic!("{:?}", outcome.problems)
        };
        assert_eq!(last.len(), 2);
    }

    #[test]
    fn a_guest_that_panics_fails_with_the_excerpt() {
        let outcome = run(
            &[
                "[    2.0] umbra: loaded",
                "[    2.1] BUG: kernel NULL pointer dereference, address: 0",
                "[    2.1] RIP: 0010:umbra_get+0x5/0x10 [umbra]",
                "[    2.1] Kernel panic - not syncing: Fatal exception",
                "[    2.1] ---[ end Kernel panic ]---",
            ],
            End::Off,
        );
        let shown: String = outcome.problems.iter().map(Problem::show).collect();
        assert!(
            shown.contains("umbra_get+0x5") && shown.contains("umbra: loaded"),
            "{shown}"
        );
        assert_eq!(outcome.kernel_warnings, 1);
        assert!(
            outcome
                .problems
                .iter()
                .any(|p| matches!(p, Problem::NeverDone { .. }))
        );
    }

    #[test]
    fn a_warning_after_done_still_fails() {
        let outcome = run(&[DONE, "[    9.1] WARNING: CPU: 0 PID: 1 at x"], End::Off);
        assert!(matches!(outcome.problems[..], [Problem::Kernel { .. }]));
    }

    #[test]
    fn a_complaint_that_is_announced_is_wanted_once() {
        const EXPECT: &str = r#"@umbra {"kind":"expect","text":"Duplicate"}"#;
        let warning = [
            "WARNING: CPU: 0 PID: 1 at x",
            "Duplicate <1, 2>",
            "---[ end ]---",
        ];
        let session = |parts: &[&[&str]]| run(&parts.concat(), End::Off).problems;
        assert_eq!(session(&[&[EXPECT], &warning, &[DONE]]), []);
        let none = session(&[&[EXPECT, DONE]]);
        assert!(matches!(none[..], [Problem::NotSeen { .. }]), "{none:?}");
        let twice = session(&[&[EXPECT], &warning, &warning, &[DONE]]);
        assert!(matches!(twice[..], [Problem::Kernel { .. }]), "{twice:?}");
        let other = session(&[&[EXPECT], &["BUG: another"], &[DONE]]);
        assert_eq!(other.len(), 2, "{other:?}");
    }

    #[test]
    fn each_way_to_fail_is_reported() {
        let bad = run(&[r#"@umbra {"kind":"test","na"#, DONE], End::Off);
        assert!(matches!(
            bad.problems[..],
            [Problem::Protocol { line: 1, .. }]
        ));
        let test = run(
            &[
                r#"@umbra {"kind":"test","name":"r44","ok":false,"detail":"two ctors"}"#,
                DONE,
            ],
            End::Off,
        );
        assert_eq!(test.problems[0].show(), "test r44 failed: two ctors");
        let ktap = run(&["[  1.0] not ok 1 dup", DONE], End::Off);
        assert!(matches!(ktap.problems[..], [Problem::Test { .. }]));
        let plan = run(&["1..2", "ok 1 a", DONE], End::Off);
        assert!(matches!(plan.problems[..], [Problem::Protocol { .. }]));
        let code = run(&[r#"@umbra {"kind":"exit","code":2}"#, DONE], End::Off);
        assert_eq!(code.problems, [Problem::Exit { code: 2 }]);
        let says = run(&[r#"@umbra {"kind":"done","ok":false}"#], End::Off);
        assert_eq!(says.problems, [Problem::SaysFailed]);
        let lost = run(&["** 12 printk messages dropped **", DONE], End::Off);
        assert!(matches!(lost.problems[..], [Problem::Lost { .. }]));
        // Even after `done`: a guest that does not power off hangs.
        let silent = run(&[DONE], End::Silent(Duration::from_secs(60)));
        assert!(silent.problems[0].show().contains("60 s"));
        let ill = run(&["BUG: soft lockup"], End::Ill(Duration::from_secs(60)));
        assert!(matches!(
            ill.problems[..],
            [Problem::Kernel { .. }, Problem::Ill { .. }]
        ));
        let qemu = Session::default().finish(End::Off, Some("signal: 9".into()));
        assert!(qemu.problems[0].show().contains("signal: 9"));
    }
}
