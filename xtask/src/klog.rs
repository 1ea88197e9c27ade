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
}

impl Scanner {
    /// The next line of the kernel, without its time.
    pub(crate) fn line(&mut self, text: &str) {
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
}
