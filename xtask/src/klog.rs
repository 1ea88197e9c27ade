//! Finds in the kernel's log what no good run may contain.
//!
//! A warning, an oops, a stall or a hung task is a failure even if all tests
//! passed. The excerpt starts a little before the first bad line and ends with
//! the trace.

/// Beginnings or parts of lines that the kernel prints when something is wrong.
///
/// `tainting kernel` is not among them: every module built outside the tree
/// causes it.
const BAD: &[&str] = &[
    "WARNING: ",
    "BUG: ",
    "BUG ",
    "kernel BUG at",
    "Oops: ",
    "int3: 0000",
    "Call Trace:",
    "Kernel panic",
    "general protection fault",
    "unable to handle",
    "divide error:",
    "invalid opcode:",
    "stack segment:",
    "double fault:",
    "UBSAN: ",
    "refcount_t: ",
    "list_add corruption",
    "list_del corruption",
    "detected stall",
    "self-detected stall",
    "rcu_tasks detected",
    "INFO: rcu",
    "soft lockup",
    "hard LOCKUP",
    "scheduling while atomic",
    "sleeping function called from invalid context",
    "INFO: possible",
    "INFO: trying to register non-static key",
    "DEBUG_LOCKS_WARN_ON",
    "unreferenced object",
    "Out of memory:",
    "oom-kill:",
    "Modules linked in:",
    "Unknown symbol",
    "disagrees about version of symbol",
    "stack guard page",
];

/// How many lines an excerpt has at most.
const LENGTH: usize = 40;
/// How many lines before the bad one are shown.
const BEFORE: usize = 2;

/// Whether the kernel would only say this when something is wrong.
pub(crate) fn is_bad(text: &str) -> bool {
    let text = text.trim_start();
    BAD.iter().any(|bad| match *bad {
        // As words of a sentence these two are harmless.
        "BUG " | "WARNING: " => text.starts_with(bad),
        _ => text.contains(bad),
    }) || (text.contains("INFO: task ") && text.contains("blocked for more than"))
}

/// Collects excerpts while the log goes by.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    before: Vec<String>,
    /// Lines still to be taken into the last excerpt.
    open: usize,
    excerpts: Vec<Vec<String>>,
    /// The kernel died of a breakpoint, and its dump of the code is yet to come.
    trapped: bool,
    stale: bool,
}

impl Scanner {
    /// The next line of the kernel, without its time.
    pub(crate) fn line(&mut self, text: &str) {
        self.breakpoint(text);
        if self.open > 0 {
            if let Some(excerpt) = self.excerpts.last_mut() {
                excerpt.push(text.to_owned());
            }
            self.open -= 1;
            if text.contains("---[ end") {
                self.open = 0;
            }
            return;
        }
        if is_bad(text) {
            let mut excerpt = std::mem::take(&mut self.before);
            excerpt.push(text.to_owned());
            self.excerpts.push(excerpt);
            self.open = LENGTH;
            return;
        }
        self.before.push(text.to_owned());
        if self.before.len() > BEFORE {
            self.before.remove(0);
        }
    }

    /// Notices a processor that ran a breakpoint which memory does not have.
    fn breakpoint(&mut self, text: &str) {
        self.trapped |= text.contains("int3: 0000");
        if !self.trapped {
            return;
        }
        let Some((_, code)) = text.split_once("Code: ") else {
            return;
        };
        self.trapped = false;
        // The byte in brackets is the next to run, so the one before it has just been run.
        let bytes: Vec<&str> = code.split_whitespace().collect();
        let ran = bytes
            .windows(2)
            .find(|pair| pair[1].starts_with('<'))
            .map(|pair| pair[0]);
        self.stale |= ran.is_some_and(|byte| byte != "cc");
    }

    /// Whether the kernel died of a breakpoint that was no longer in memory: its processor
    /// ran code which had been changed before.
    pub(crate) fn ran_stale_code(&self) -> bool {
        self.stale
    }

    /// One excerpt for each thing that was wrong.
    pub(crate) fn excerpts(&self) -> &[Vec<String>] {
        &self.excerpts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_in_need_is_bad() {
        for line in [
            "WARNING: CPU: 0 PID: 1 at kernel/livepatch/shadow.c:1 x+0x1/0x2",
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "BUG kmalloc-64 (Tainted: G): Poison overwritten",
            "Kernel panic - not syncing: Attempted to kill init!",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "INFO: rcu_tasks detected stalls on tasks:",
            "INFO: task cat:77 blocked for more than 60 seconds.",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:9]",
            "umbra: Unknown symbol klp_shadow_get (err -2)",
            "traps: general protection fault in umbra",
        ] {
            assert!(is_bad(line), "{line}");
        }
    }

    #[test]
    fn what_every_boot_says_is_not() {
        for line in [
            "umbra: loading out-of-tree module taints kernel.",
            "umbra: module verification failed: signature and/or required key missing - tainting kernel",
            "Spectre V2 : WARNING is a word here",
            "ACPI: BUGGY tables are a word here",
            "rcu: Hierarchical RCU implementation.",
            "debug: INFO: nothing",
        ] {
            assert!(!is_bad(line), "{line}");
        }
    }

    #[test]
    fn an_excerpt_has_what_was_before_and_ends_with_the_trace() {
        let mut scanner = Scanner::default();
        for line in [
            "a",
            "b",
            "c",
            "WARNING: CPU: 0",
            "RIP: x",
            "---[ end trace ]---",
            "later",
        ] {
            scanner.line(line);
        }
        assert_eq!(
            scanner.excerpts(),
            [["b", "c", "WARNING: CPU: 0", "RIP: x", "---[ end trace ]---"].map(String::from)]
        );
    }
    fn dies(lines: &[&str]) -> bool {
        let mut scanner = Scanner::default();
        for line in lines {
            scanner.line(line);
        }
        assert!(!scanner.excerpts().is_empty());
        scanner.ran_stale_code()
    }

    #[test]
    fn a_breakpoint_that_memory_has_not_is_told_from_one_that_it_has() {
        const TRAP: &str = "Oops: int3: 0000 [#1] PREEMPT SMP NOPTI";
        const OLD_TRAP: &str = "int3: 0000 [#1] PREEMPT SMP NOPTI";
        const GONE: &str = "Code: 90 90 f3 0f 1e fa e8 <1b> 31 80 3f 48";
        const THERE: &str = "Code: 90 90 f3 0f 1e fa cc <1b> 31 80 3f 48";
        assert!(dies(&[TRAP, "RIP: 0010:target+0x5/0x20", GONE]));
        assert!(dies(&[OLD_TRAP, "CPU: 1", GONE]));
        assert!(!dies(&[TRAP, "RIP: 0010:target+0x5/0x20", THERE]));
        assert!(!dies(&["Oops: 0002 [#1] PREEMPT SMP NOPTI", GONE]));
        assert!(!dies(&[
            TRAP,
            "Code: Unable to access opcode bytes at 0x7."
        ]));
        assert!(!dies(&[TRAP, "Code: <1b> 31", "Code: e8 <1b>"]));
        // A later death's code says nothing about the breakpoint.
        assert!(!dies(&[TRAP, THERE, "Oops: 0002 [#2]", GONE]));
    }
}
