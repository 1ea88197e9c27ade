//! Builds the kernel modules out of the source tree, and takes no warning.
//!
//! Kbuild writes its objects beside the sources, so `kmod/` is mirrored as a
//! tree of symbolic links under `build/<release>/` and made there: sources stay
//! clean, and an edit is seen at once. The Rust part is linked as one folder and
//! has its own cargo target folder. A build that warned is thrown away, since
//! the next one would not recompile, and so not warn.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::paths::Paths;
use crate::proc;
use crate::ui::Task;

/// What Kbuild, cargo and editors leave behind; never part of the sources.
const OUTPUTS: &[&str] = &[
    "o",
    "ko",
    "cmd",
    "mod",
    "a",
    "d",
    "order",
    "symvers",
    "order.cmd",
    "mod.c",
    "swp",
    "tmp",
];

/// The modules that were built.
#[derive(Debug)]
pub(crate) struct Modules {
    /// Every `.ko`, sorted by name.
    pub(crate) files: Vec<PathBuf>,
    /// Other files that a guest script needs beside itself.
    pub(crate) extra: Vec<PathBuf>,
}

/// Where the modules for a kernel are made.
pub(crate) fn mirror(paths: &Paths, kernel: &Kernel) -> Result<PathBuf> {
    Ok(paths.dir("build")?.join(kernel.release()))
}

/// Brings the modules up to date for a kernel.
pub(crate) fn build(paths: &Paths, kernel: &Kernel) -> Result<Modules> {
    let source = paths.root().join("kmod");
    build_from(paths, kernel, &source)
}

fn build_from(paths: &Paths, kernel: &Kernel, source: &Path) -> Result<Modules> {
    let task = Task::new("modules");
    let mirror = mirror(paths, kernel)?;
    let command = prepare(paths, kernel, source, &mirror)?;
    let files = make(command, &mirror, &paths.log("modules")?, &task)?;
    task.done(&format!("{} up to date, no warnings", files.len()));
    Ok(Modules {
        files,
        extra: Vec::new(),
    })
}

/// Brings a mirror of the sources up to date, and gives the command that builds
/// there.
pub(crate) fn prepare(
    paths: &Paths,
    kernel: &Kernel,
    source: &Path,
    mirror: &Path,
) -> Result<Command> {
    if !source.join("Makefile").exists() {
        return Err(Error::NoModules {
            dir: source.to_path_buf(),
        });
    }
    if mirror.join(WARNED).exists() || (mirror.exists() && stale(mirror, source)?) {
        fs::remove_dir_all(mirror).map_err(Error::io("remove", mirror))?;
    }
    link_tree(source, mirror)?;

    let mut command = Command::new("make");
    command
        .arg("-C")
        .arg(mirror)
        .arg(format!(
            "-j{}",
            std::thread::available_parallelism().map_or(2, usize::from)
        ))
        .arg("--no-print-directory")
        .arg(format!("KDIR={}", kernel.headers().display()))
        .env("UMBRA_RUST", source.join("rust"))
        // The stock kernel's BTF needs pahole and a vmlinux; modules load without.
        .arg("CONFIG_DEBUG_INFO_BTF_MODULES=")
        .env("UMBRA_CARGO_TARGET_DIR", paths.cache().join("kmod-rust"));
    kernel.equip(&mut command);
    Ok(command)
}

/// Left in a folder whose build warned.
const WARNED: &str = ".warned";

/// Runs `make`, takes no warning, and gives the modules that are there then.
pub(crate) fn make(
    mut command: Command,
    dir: &Path,
    log: &Path,
    task: &Task,
) -> Result<Vec<PathBuf>> {
    command
        .env("LC_ALL", "C")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("MAKEFLAGS");
    for (key, _) in std::env::vars_os() {
        // What `cargo run` sets for us describes us, not the crate built there.
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&key);
        }
    }
    let finished = proc::run(command, task, Some(log))?;
    let help = format!("the whole output is in {}", log.display());
    let lines = finished.ok_or_help(Some(help))?;

    let warnings: Vec<String> = lines.iter().filter(|l| is_warning(l)).cloned().collect();
    if !warnings.is_empty() {
        let tainted = dir.join(WARNED);
        fs::write(&tainted, warnings.join("\n")).map_err(Error::io("write", &tainted))?;
        return Err(Error::Warnings {
            lines: warnings,
            log: log.to_path_buf(),
        });
    }
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort_by_key(|f| f.file_name().map(ToOwned::to_owned));
    if files.is_empty() {
        return Err(Error::NoModules {
            dir: dir.to_path_buf(),
        });
    }
    Ok(files)
}

/// Whether a line of the build is a warning of any tool in it.
///
/// Kbuild's remark that the compiler is another build of the same gcc than the
/// kernel's is not: Debian's own point releases cause it. Nor is that on pahole,
/// which nobody runs: there is no BTF.
fn is_warning(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let warned = lower.contains("warning:")
        || lower.contains("error:")
        || lower.contains("objtool:")
        || lower.starts_with("warning");
    warned
        && !lower.contains("the compiler differs from the one used to build the kernel")
        && !lower.contains("pahole version differs from the one used to build the kernel")
}

/// Links each source file into the mirror; the Rust workspace as one folder.
fn link_tree(source: &Path, mirror: &Path) -> Result<()> {
    fs::create_dir_all(mirror).map_err(Error::io("make", mirror))?;
    for entry in fs::read_dir(source).map_err(Error::io("read", source))? {
        let entry = entry.map_err(Error::io("read", source))?;
        let (from, to) = (entry.path(), mirror.join(entry.file_name()));
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || is_output(&name) {
            continue;
        }
        let is_dir = entry
            .file_type()
            .map_err(Error::io("read", &from))?
            .is_dir();
        if is_dir && !from.join("Cargo.toml").exists() {
            link_tree(&from, &to)?;
        } else if fs::read_link(&to).ok().as_deref() != Some(&from) {
            // Whatever stood there is not the link that belongs there.
            let _ = fs::remove_file(&to);
            symlink(&from, &to).map_err(Error::io("link", &to))?;
        }
    }
    Ok(())
}

fn is_output(name: &str) -> bool {
    name == "Module.symvers"
        || name.split_once('.').is_some_and(|(_, ext)| {
            OUTPUTS
                .iter()
                .any(|o| ext == *o || ext.ends_with(&format!(".{o}")))
        })
}

/// Whether the mirror has a source that is gone or another checkout's; then old
/// modules may be lying about.
fn stale(mirror: &Path, source: &Path) -> Result<bool> {
    for entry in fs::read_dir(mirror).map_err(Error::io("read", mirror))? {
        let entry = entry.map_err(Error::io("read", mirror))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io("read", &path))?;
        let astray = kind.is_symlink()
            && !(path.exists() && fs::read_link(&path).is_ok_and(|to| to.starts_with(source)));
        if astray || kind.is_dir() && stale(&path, source)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        let path = entry.path();
        // Links lead back into the sources, where nothing of ours is built.
        let kind = entry.file_type().map_err(Error::io("read", &path))?;
        if kind.is_dir() {
            collect(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "ko") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_every_tool_are_seen() {
        for line in [
            "/x/umbra.c:3:1: warning: unused variable 'x' [-Wunused-variable]",
            "/x/umbra.o: warning: objtool: foo() falls through to next function bar()",
            "WARNING: modpost: missing MODULE_LICENSE() in umbra.o",
            "ERROR: modpost: \"memcpy_x\" [umbra.ko] undefined!",
            "warning: unused import: `core::ptr`",
            "ld: warning: umbra.o: missing .note.GNU-stack section",
            "vmlinux.o: objtool: can't find starting instruction",
        ] {
            assert!(is_warning(line), "{line}");
        }
        for line in [
            "  CC [M]  /x/umbra.o",
            "warning: the compiler differs from the one used to build the kernel",
            "warning: pahole version differs from the one used to build the kernel",
            "  The kernel was built by: gcc-12 (Debian 12.2.0-14+deb12u2) 12.2.0",
            "Skipping BTF generation for /x/umbra.ko due to unavailability of vmlinux",
            "   Compiling umbra-shadow v0.1.0",
            "    Finished `release` profile [optimized] target(s) in 0.02s",
        ] {
            assert!(!is_warning(line), "{line}");
        }
    }

    #[test]
    fn outputs_are_told_from_sources() {
        for name in [
            "umbra.o",
            "umbra.ko",
            "umbra.mod",
            "umbra.mod.c",
            "Module.symvers",
            "modules.order",
        ] {
            assert!(is_output(name), "{name}");
        }
        for name in [
            "umbra.c",
            "Makefile",
            "Kbuild",
            "trampoline.S",
            "umbra.h",
            "module.lds",
        ] {
            assert!(!is_output(name), "{name}");
        }
    }

    #[test]
    fn the_mirror_follows_its_sources() {
        let dir = tempfile::tempdir().expect("a folder");
        let (source, mirror) = (dir.path().join("kmod"), dir.path().join("build"));
        fs::create_dir_all(source.join("src")).expect("makes");
        fs::create_dir_all(source.join("rust/src")).expect("makes");
        for file in ["Makefile", "src/a.c", "src/a.o", "rust/Cargo.toml"] {
            fs::write(source.join(file), file).expect("writes");
        }
        link_tree(&source, &mirror).expect("links");
        assert_eq!(
            fs::read_to_string(mirror.join("src/a.c")).expect("reads"),
            "src/a.c"
        );
        assert!(!mirror.join("src/a.o").exists(), "an output was linked");
        assert!(
            fs::symlink_metadata(mirror.join("rust"))
                .expect("there")
                .is_symlink()
        );
        fs::write(mirror.join("src/a.ko"), "").expect("writes");
        let mut files = Vec::new();
        collect(&mirror, &mut files).expect("collects");
        assert_eq!(files, [mirror.join("src/a.ko")]);
        assert!(!stale(&mirror, &source).expect("reads"));
        assert!(
            stale(&mirror, &dir.path().join("moved")).expect("reads"),
            "another checkout's"
        );
        fs::remove_file(source.join("src/a.c")).expect("removes");
        assert!(
            stale(&mirror, &source).expect("reads"),
            "a removed source leaves its module behind"
        );
    }
}
