//! Where a comparison ran, read from the system.

use super::model::Machine;
use std::fs;
use std::process::Command;

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim().to_string();
    output.status.success().then_some(line)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn caches() -> String {
    let read = |index: usize, what: &str| {
        let file = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
        fs::read_to_string(file).ok().map(|s| s.trim().to_string())
    };
    let cache = |index| {
        let kind = match read(index, "type")?.as_str() {
            "Data" => "d",
            "Instruction" => return Some(None),
            _ => "",
        };
        Some(Some(format!(
            "L{}{kind} {}",
            read(index, "level")?,
            read(index, "size")?
        )))
    };
    let all: Vec<_> = (0..8).map_while(cache).flatten().collect();
    all.join(", ")
}

/// This process's memory, and how much of it is in 2 MiB pages, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pages {
    huge: f64,
    all: f64,
}

impl Pages {
    pub(super) fn now() -> Self {
        let kib = |name| {
            let value = field("/proc/self/smaps_rollup", name)?;
            value.split_whitespace().next()?.parse::<f64>().ok()
        };
        Self {
            huge: kib("AnonHugePages").unwrap_or(0.0),
            all: kib("Anonymous").unwrap_or(0.0),
        }
    }

    /// The share of 2 MiB pages in what was added since; `None` if nothing was.
    pub(super) fn huge_since(self, before: Self) -> Option<f64> {
        let added = self.all - before.all;
        (added > 0.0).then(|| ((self.huge - before.huge) / added).clamp(0.0, 1.0))
    }

    /// Which contestants' memory is in such pages, as a note.
    pub(super) fn note(shares: &[(&str, f64)]) -> Vec<String> {
        let some: Vec<_> = shares
            .iter()
            .filter(|(_, share)| *share > 0.01)
            .map(|(name, share)| format!("{name} {:.0} %", share * 100.0))
            .collect();
        let whose = if some.is_empty() {
            "nobody's".into()
        } else {
            some.join(", ")
        };
        vec![format!("memory in 2 MiB pages: {whose}")]
    }
}

impl Machine {
    /// This machine and this build. What cannot be found out is left empty.
    #[must_use]
    pub fn this() -> Self {
        let kib = field("/proc/meminfo", "MemTotal")
            .and_then(|s| s.split_whitespace().next()?.parse::<f64>().ok());
        let commit = first_line("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
        let changed = first_line(
            "git",
            &[
                "status",
                "--porcelain",
                "--untracked-files=no",
                "--",
                "shadow",
                "benches",
            ],
        );
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            caches: caches(),
            memory_gib: (kib.unwrap_or(0.0) / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            // The version; how its builder names it is nobody's concern.
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map(|s| s.split(['-', '\n']).next().unwrap_or_default().to_string())
                .unwrap_or_default(),
            rustc: first_line("rustc", &["--version"]).unwrap_or_default(),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "optimised"
            }
            .into(),
            commit: if changed.is_some() {
                format!("{commit}+")
            } else {
                commit
            },
            date: first_line("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_from_one_moment_to_the_next() {
        let (huge, all) = (4096.0, 8192.0);
        let before = Pages { huge, all };
        let after = Pages {
            huge: huge * 2.0,
            all: all * 2.0,
        };
        assert_eq!(after.huge_since(before), Some(0.5));
        assert_eq!(before.huge_since(before), None, "nothing was added");
        assert_eq!(before.huge_since(after), None, "and what went is no share");
        let note = Pages::note(&[("a", 0.5), ("b", 0.0)]);
        assert_eq!(note, ["memory in 2 MiB pages: a 50 %"]);
        assert!(Pages::now().all > 0.0);
    }
}
