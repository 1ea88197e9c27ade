//! Where a run was made, as the machine tells it.
//!
//! Nothing here fails: what a machine does not know stays `None`, and a
//! comparison that needs it says so. No host name, user or path is kept, since
//! records are committed.

use crate::record::Provenance;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// Asks the tools that `project` uses. `target` names the triple if the
/// benchmarks were cross-compiled; otherwise it is the compiler's host.
#[must_use]
pub fn here(project: &Path, target: Option<&str>) -> Provenance {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // Run in the project: rustup picks the toolchain by the folder.
    let rustc = output(project, &rustc, &["-vV"]).unwrap_or_default();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let (cpu, cpu_id) = cpu();
    let git = |args: &[&str]| output(project, OsStr::new("git"), args);
    Provenance {
        rustc: rustc
            .lines()
            .next()
            .filter(|line| !line.is_empty())
            .map(str::to_owned),
        target: target.or(host).map(str::to_owned),
        valgrind: output(project, OsStr::new("valgrind"), &["--version"]),
        iai_callgrind_summary: None,
        cpu,
        cpu_id,
        vm_kernel: None,
        vm_machine: None,
        commit: git(&["rev-parse", "HEAD"]),
        dirty: git(&["status", "--porcelain", "--untracked-files=no"])
            .is_some_and(|changes| !changes.is_empty()),
        recorded_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs()),
    }
}

/// What a command prints, trimmed; `None` if it cannot be run or fails.
fn output(folder: &Path, program: &OsStr, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The processor's name, and the numbers that tell it from others of that name.
pub(crate) fn cpu() -> (Option<String>, Option<String>) {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    (cpu_model(&info), cpu_id(&info))
}

fn field(info: &str, wanted: &str) -> Option<String> {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.trim() == wanted)?;
    Some(value.trim().to_owned())
}

/// The model's name; on ARM, which has none, the numbers that stand for it.
fn cpu_model(info: &str) -> Option<String> {
    field(info, "model name").or_else(|| {
        let implementer = field(info, "CPU implementer")?;
        let (part, variant) = (field(info, "CPU part")?, field(info, "CPU variant")?);
        Some(format!("ARM {implementer} part {part} variant {variant}"))
    })
}

/// x86's numbers; ARM's are the name already.
fn cpu_id(info: &str) -> Option<String> {
    let family = field(info, "cpu family")?;
    let (model, stepping) = (field(info, "model")?, field(info, "stepping")?);
    Some(format!("family {family} model {model} stepping {stepping}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_named_by_its_model() {
        let info = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.0GHz\n\
                    stepping\t: 7\n\nprocessor\t: 1\ncpu family\t: 7\n";
        assert_eq!(cpu_model(info).as_deref(), Some("Some CPU @ 2.0GHz"));
        let id = cpu_id(info);
        assert_eq!(id.as_deref(), Some("family 6 model 85 stepping 7"));
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\n\
                   CPU variant\t: 0x3\nCPU part\t: 0xd0c\n";
        assert_eq!(
            cpu_model(arm).as_deref(),
            Some("ARM 0x41 part 0xd0c variant 0x3")
        );
        assert_eq!(cpu_id(arm), None);
        assert_eq!(cpu_model("processor : 0\n"), None);
    }

    #[test]
    fn a_missing_tool_is_unknown() {
        assert_eq!(
            output(Path::new("."), OsStr::new("/no/such/tool"), &[]),
            None
        );
    }

    #[test]
    fn the_compiler_and_its_target_are_known_here() {
        let here = here(Path::new(env!("CARGO_MANIFEST_DIR")), None);
        assert!(here.rustc.is_some_and(|v| v.starts_with("rustc ")));
        assert!(here.target.is_some_and(|t| t.contains('-')));
        assert_eq!(
            super::here(Path::new("."), Some("a-b-c")).target.as_deref(),
            Some("a-b-c")
        );
    }
}
