//! Where a comparison ran, read from the system.

use super::model::Machine;
use std::fs;
use std::path::Path;
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

/// The commit of the tree that `folder` is in, with "+" if anything in the whole
/// tree differs from it: the compiler, the dependencies and the workloads decide
/// about a figure as the table does. Empty, if there is no such tree.
fn commit(folder: &Path) -> String {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        // Not the folder that the program was called from.
        git.arg("-C").arg(folder).args(arguments);
        let output = git.output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return String::new();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => commit + "+",
    }
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
            // Who built this program an hour ago says of what: the tree may have gone on.
            commit: std::env::var("UMBRA_BENCHES_COMMIT")
                .unwrap_or_else(|_| commit(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))),
            date: first_line("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_anywhere_in_the_tree_is_told_wherever_one_stands() {
        let tree = tempfile::tempdir().expect("a folder");
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.arg("-C").arg(tree.path()).args(arguments);
            assert!(git.output().expect("git").status.success(), "{arguments:?}");
        };
        let (inner, file) = (tree.path().join("benches"), tree.path().join("Cargo.toml"));
        fs::create_dir(&inner).expect("a folder");
        fs::write(&file, "one").expect("a file");
        git(&["init", "--quiet"]);
        git(&["add", "."]);
        let who = [
            "-c",
            "user.name=nobody",
            "-c",
            "user.email=nobody@localhost",
        ];
        git(&[&who[..], &["commit", "--quiet", "--message", "one"]].concat());
        let clean = commit(&inner);
        assert!(clean.len() >= 4 && !clean.ends_with('+'), "{clean:?}");
        fs::write(&file, "two").expect("a file");
        assert_eq!(commit(&inner), clean + "+");
        assert_eq!(commit(Path::new("/")), "", "no tree");
    }

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
