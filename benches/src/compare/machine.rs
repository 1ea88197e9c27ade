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

/// How much of this process's memory is in 2 MiB pages now, for a note.
pub(super) fn huge_pages() -> String {
    let kib = |name| {
        let value = field("/proc/self/smaps_rollup", name)?;
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    match (kib("AnonHugePages"), kib("Anonymous")) {
        (Some(huge), Some(all)) if all > 0.0 => {
            format!(
                "{:.0} % of all memory is in 2 MiB pages",
                huge / all * 100.0
            )
        }
        _ => "how much of the memory is in 2 MiB pages is not known".into(),
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
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map(|s| s.trim().to_string())
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
