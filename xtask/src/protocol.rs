//! What the guest tells the host, line by line on the serial console.
//!
//! A line may carry `@umbra {json}` anywhere; everything else is the boot log.
//! KTAP result lines, of the kernel or of a script, count as tests too. A line
//! that says `@umbra` but does not parse is an error of the guest, never
//! skipped: a silently lost result would look like a pass.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The mark before a message.
const MARK: &str = "@umbra";

/// One message of the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Message {
    /// How far the guest is with something long.
    Progress {
        /// What it does.
        msg: String,
        /// How much of it is done.
        #[serde(default)]
        done: u64,
        /// How much there is; 0 if unknown.
        #[serde(default)]
        total: u64,
    },
    /// The next part of a series begins.
    Step {
        /// Its name.
        name: String,
    },
    /// A callback of a state ran.
    Event {
        /// Microseconds since boot.
        t_us: u64,
        /// The patch whose callback it is.
        patch: String,
        /// The state's id.
        state: u64,
        /// Which callback.
        callback: String,
        /// What it returned; 0 for those that return nothing.
        #[serde(default)]
        result: i64,
    },
    /// Live shadows by id, after a step.
    Live {
        /// The step.
        after: String,
        /// Count by shadow id.
        shadows: BTreeMap<String, u64>,
    },
    /// A measured value.
    Figure {
        /// What was measured.
        name: String,
        /// At how many variables.
        #[serde(default)]
        n: u64,
        /// The value.
        value: f64,
        /// Its unit.
        unit: String,
    },
    /// A counted value.
    Count {
        /// What was counted.
        name: String,
        /// How many.
        value: i64,
    },
    /// A test's verdict.
    Test {
        /// Its name.
        name: String,
        /// Whether it passed.
        ok: bool,
        /// Why not.
        #[serde(default)]
        detail: Option<String>,
    },
    /// A line of the module's JSON document, or its end.
    Document {
        /// Of which moment, for people.
        name: String,
        /// The line; none at the end.
        #[serde(default)]
        line: Option<String>,
    },
    /// One complaint of the kernel with this text is wanted.
    Expect {
        /// Part of one of its lines.
        text: String,
    },
    /// The guest script ended; sent by our init, not by the script.
    Exit {
        /// Its exit code.
        code: i32,
    },
    /// The guest is done; without this line a run has failed.
    Done {
        /// Whether all went well.
        ok: bool,
    },
}

/// What a line of the console is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    /// A message.
    Message(Message),
    /// It has the mark, and is no message.
    Bad(String),
    /// Of the boot log.
    Log,
}

/// Reads one line of the console.
pub(crate) fn parse(line: &str) -> Line {
    let Some(at) = line.find(MARK) else {
        return Line::Log;
    };
    let rest = line[at + MARK.len()..].trim();
    // The word alone, in prose or in a path, is no message.
    if !line[at + MARK.len()..].starts_with([' ', '{']) || !rest.starts_with('{') {
        return Line::Log;
    }
    // What follows the object (another writer's bytes) is an error too.
    match serde_json::from_str(rest) {
        Ok(message) => Line::Message(message),
        Err(e) => Line::Bad(e.to_string()),
    }
}

/// The text of a console line without printk's time and our relay's mark.
///
/// The second value says whether a guest script wrote it, not the kernel.
pub(crate) fn text(line: &str) -> (&str, bool) {
    let mut rest = line;
    // "[    1.234567] " and, on kernels with PRINTK_CALLER, "[    T1] ".
    while let Some((head, tail)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        let stamp = head.trim();
        let is_stamp = !stamp.is_empty()
            && stamp
                .trim_start_matches(['T', 'C'])
                .chars()
                .all(|c| c.is_ascii_digit() || c == '.');
        if !is_stamp {
            break;
        }
        rest = tail.strip_prefix(' ').unwrap_or(tail);
    }
    match rest.strip_prefix("guest: ") {
        Some(script) => (script, true),
        None => (rest, false),
    }
}

/// KTAP: test results with nested plans.
#[derive(Debug, Default)]
pub(crate) struct Ktap {
    /// Open plans, outermost first: indentation, how many were announced, how
    /// many came.
    plans: Vec<(usize, u64, u64)>,
}

/// What a KTAP line says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KtapLine {
    /// A verdict.
    Test {
        /// Its name.
        name: String,
        /// Whether it passed or was skipped.
        ok: bool,
        /// "SKIP …", "TODO …".
        directive: Option<String>,
    },
    /// A plan that ended with too few or too many results.
    Broken(String),
}

impl Ktap {
    /// Reads one line, without printk's time.
    pub(crate) fn line(&mut self, text: &str) -> Vec<KtapLine> {
        let indent = text.len() - text.trim_start().len();
        let body = text.trim();
        if let Some(count) = body.strip_prefix("1..").and_then(|n| n.parse::<u64>().ok()) {
            let mut broken = self.close(|plan| plan >= indent);
            broken.retain(|b| matches!(b, KtapLine::Broken(_)));
            self.plans.push((indent, count, 0));
            return broken;
        }
        let (ok, rest) = if let Some(rest) = body.strip_prefix("not ok ") {
            (false, rest)
        } else if let Some(rest) = body.strip_prefix("ok ") {
            (true, rest)
        } else {
            return Vec::new();
        };
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if number.parse::<u64>().is_err() {
            return Vec::new();
        }
        let mut out = self.close(|plan| plan > indent);
        if let Some((_, _, seen)) = self.plans.last_mut().filter(|(at, _, _)| *at == indent) {
            *seen += 1;
        }
        let rest = rest.trim_start_matches("- ").trim();
        let (name, directive) = match rest.split_once('#') {
            Some((name, directive)) => (name.trim(), Some(directive.trim().to_owned())),
            None => (rest, None),
        };
        let name = if name.is_empty() {
            format!("test {number}")
        } else {
            name.to_owned()
        };
        out.push(KtapLine::Test {
            name,
            ok,
            directive,
        });
        out
    }

    /// The end of the log: what is still open is complete or broken.
    pub(crate) fn finish(&mut self) -> Vec<KtapLine> {
        self.close(|_| true)
    }

    fn close(&mut self, which: impl Fn(usize) -> bool) -> Vec<KtapLine> {
        let mut broken = Vec::new();
        while let Some(&(indent, planned, seen)) = self.plans.last()
            && which(indent)
        {
            self.plans.pop();
            if planned != seen {
                broken.push(KtapLine::Broken(format!(
                    "{planned} tests announced, {seen} came"
                )));
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_anywhere_in_a_line() {
        let line = r#"[    3.5] umbra: @umbra {"kind":"event","t_us":9,"patch":"P1","state":1,"callback":"pre_patch","result":-12}"#;
        let Line::Message(Message::Event {
            t_us,
            patch,
            state,
            callback,
            result,
        }) = parse(line)
        else {
            panic!("no event")
        };
        assert_eq!((t_us, patch.as_str(), state), (9, "P1", 1));
        assert_eq!((callback.as_str(), result), ("pre_patch", -12));
        assert_eq!(
            parse(r#"@umbra {"kind":"done","ok":true}"#),
            Line::Message(Message::Done { ok: true })
        );
    }

    #[test]
    fn every_kind_of_the_contract_is_read() {
        for json in [
            r#"{"kind":"progress","msg":"files","done":5,"total":10}"#,
            r#"{"kind":"progress","msg":"files"}"#,
            r#"{"kind":"step","name":"P1"}"#,
            r#"{"kind":"live","after":"P1","shadows":{"1":25000,"2":0}}"#,
            r#"{"kind":"figure","name":"get hit","n":1000,"value":12.3,"unit":"insn"}"#,
            r#"{"kind":"figure","name":"get hit","n":1000,"value":12,"unit":"insn"}"#,
            r#"{"kind":"count","name":"hits","value":7}"#,
            r#"{"kind":"test","name":"a","ok":true}"#,
            r#"{"kind":"test","name":"a","ok":false,"detail":"why"}"#,
            r#"{"kind":"expect","text":"a warning"}"#,
            r#"{"kind":"document","name":"a","line":"{\"x\":1}"}"#,
            r#"{"kind":"document","name":"a"}"#,
            r#"{"kind":"exit","code":0}"#,
        ] {
            assert!(
                matches!(parse(&format!("@umbra {json}")), Line::Message(_)),
                "{json}"
            );
        }
    }

    #[test]
    fn a_torn_or_unknown_message_is_bad_not_skipped() {
        for json in [
            r#"{"kind":"test","name":"a","#,
            r#"{"kind":"nonsense"}"#,
            r#"{"kind":"done"}"#,
            r#"{"kind":"done","ok":"yes"}"#,
            r#"{"kind":"done","ok":true}[    1.0] another line"#,
            "{",
        ] {
            assert!(
                matches!(parse(&format!("@umbra {json}")), Line::Bad(_)),
                "{json}"
            );
        }
        assert_eq!(parse("mail to user@umbra-project.example"), Line::Log);
        assert_eq!(parse("[    0.1] Linux version 6.1"), Line::Log);
    }

    #[test]
    fn the_time_of_printk_is_stripped() {
        assert_eq!(
            text("[    1.234567] umbra: loaded"),
            ("umbra: loaded", false)
        );
        assert_eq!(text("[    1.234567][    T1] umbra: x"), ("umbra: x", false));
        assert_eq!(
            text("[    2.0] guest: WARNING: mine"),
            ("WARNING: mine", true)
        );
        assert_eq!(text("[drm] text"), ("[drm] text", false));
        assert_eq!(text("plain"), ("plain", false));
        assert_eq!(text("[unclosed"), ("[unclosed", false));
    }

    fn feed(lines: &[&str]) -> Vec<KtapLine> {
        let mut ktap = Ktap::default();
        let mut out: Vec<_> = lines.iter().flat_map(|l| ktap.line(l)).collect();
        out.extend(ktap.finish());
        out
    }

    fn test(name: &str, ok: bool) -> KtapLine {
        KtapLine::Test {
            name: name.into(),
            ok,
            directive: None,
        }
    }

    #[test]
    fn ktap_results_are_tests() {
        let out = feed(&[
            "KTAP version 1",
            "1..2",
            "    KTAP version 1",
            "    1..2",
            "    ok 1 first",
            "    # diagnostic",
            "    not ok 2 - second",
            "not ok 1 suite",
            "ok 2 other # SKIP no hardware",
            "ok then, some prose",
        ]);
        assert_eq!(
            out,
            [
                test("first", true),
                test("second", false),
                test("suite", false),
                KtapLine::Test {
                    name: "other".into(),
                    ok: true,
                    directive: Some("SKIP no hardware".into())
                },
            ]
        );
    }

    #[test]
    fn a_ktap_plan_that_is_not_met_is_broken() {
        let out = feed(&["1..3", "ok 1 a"]);
        assert_eq!(out[1], KtapLine::Broken("3 tests announced, 1 came".into()));
        let nested = feed(&["1..1", "  1..2", "  ok 1 a", "ok 1 suite"]);
        assert!(nested.contains(&KtapLine::Broken("2 tests announced, 1 came".into())));
    }
}
