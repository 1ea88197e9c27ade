//! What a distribution or a kernel engineer asks of the module's sources.
//!
//! | check | by |
//! |---|---|
//! | style | the kernel's own checkpatch.pl, `--strict` |
//! | types, contexts | sparse, over every file |
//! | no kernel, no cargo | `make` says what is missing and the way out |
//! | `make modules_install` | umbra.ko, and neither samples nor tests |
//! | dkms | `dkms build` of the tree that `make dkms-tree` lays out |
//!
//! Everything is made in the cache; nothing of the system's is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::modules;
use crate::paths::Paths;
use crate::proc;
use crate::stock;
use crate::ui::Task;

/// Remarks of checkpatch that are not ours to heed, and why.
const IGNORED: &[&str] = &[
    // A module outside of the tree has one source for all kernels: src/compat.h.
    "LINUX_VERSION_CODE",
    "CONSTANT_COMPARISON",
    // CHECK() in the tests returns from its function; KUnit's asserts do as much.
    "MACRO_WITH_FLOW_CONTROL",
    // tests/patch.h: initializers, whose arguments are constants.
    "MACRO_ARG_REUSE",
];

/// Runs all checks; counts those that passed.
pub(crate) fn check(paths: &Paths, kernel: &Kernel, passed: &mut usize) -> Result<()> {
    let checks: [fn(&Paths, &Kernel) -> Result<()>; 5] =
        [style, sparse, what_is_missing, install, dkms];
    for check in checks {
        check(paths, kernel)?;
        *passed += 1;
    }
    Ok(())
}

fn style(paths: &Paths, kernel: &Kernel) -> Result<()> {
    let script = stock::source(paths, kernel)?.join("scripts/checkpatch.pl");
    let task = Task::new("checkpatch --strict");
    let mut files = Vec::new();
    for folder in ["include", "src", "samples", "tests"] {
        sources(&paths.root().join("kmod").join(folder), &mut files)?;
    }
    let mut command = Command::new("perl");
    command
        .arg(script)
        .args([
            "--strict",
            "--no-tree",
            "--terse",
            "--no-summary",
            "--show-types",
        ])
        .args(["--ignore", &IGNORED.join(",")])
        .arg("-f")
        .args(&files);
    proc::run(command, &task, Some(&paths.log("checkpatch")?))?.ok()?;
    task.done(&format!("{} files", files.len()));
    Ok(())
}

/// Every C and assembler file below a folder.
fn sources(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let path = entry.map_err(Error::io("read", dir))?.path();
        let kind = path.extension().and_then(|e| e.to_str());
        // What Kbuild made there is none of ours.
        let made = path.to_string_lossy().ends_with(".mod.c");
        if path.is_dir() {
            sources(&path, files)?;
        } else if matches!(kind, Some("c" | "h" | "S")) && !made {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// A mirror of its own: sparse looks at every file, whether it has to be compiled
/// or not, and modules_install builds less than all.
fn mirror(paths: &Paths, kernel: &Kernel) -> Result<(PathBuf, Command)> {
    let mirror = paths
        .dir("build")?
        .join(format!("{}-package", kernel.release()));
    let command = modules::prepare(paths, kernel, &paths.root().join("kmod"), &mirror)?;
    Ok((mirror, command))
}

fn sparse(paths: &Paths, kernel: &Kernel) -> Result<()> {
    let task = Task::new("sparse");
    let (mirror, mut command) = mirror(paths, kernel)?;
    // make succeeds whatever sparse finds; its words are looked at instead.
    command.args(["C=2", "CHECK=sparse"]);
    let files = modules::make(command, &mirror, &paths.log("sparse")?, &task)?;
    task.done(&format!("{} modules", files.len()));
    Ok(())
}

fn what_is_missing(paths: &Paths, kernel: &Kernel) -> Result<()> {
    let task = Task::new("make without what it needs");
    let make = |argument: String| {
        let mut command = Command::new("make");
        command
            .arg("-C")
            .arg(paths.root().join("kmod"))
            .args(["--silent", "--no-print-directory", &argument])
            .arg(format!("KDIR={}", kernel.headers().display()))
            .env_remove("MAKEFLAGS")
            .env("LC_ALL", "C");
        command
    };
    let mut no_kernel = make("modules".into());
    no_kernel.arg("KDIR=/no/such/kernel");
    says(
        no_kernel,
        &task,
        &["/no/such/kernel/Makefile", "linux-headers-"],
    )?;
    says(
        make("CARGO=no-such-cargo".into()),
        &task,
        &["no-such-cargo", "rustup.rs"],
    )?;
    says(make("dkms-tree".into()), &task, &["DESTDIR=/usr/src"])?;
    task.done("");
    Ok(())
}

/// A command that has to fail, with these words.
fn says(command: Command, task: &Task, words: &[&str]) -> Result<()> {
    let finished = proc::run(command, task, None)?;
    let text = finished.lines.join("\n");
    let line = finished.command.clone();
    let missing: Vec<&str> = words
        .iter()
        .filter(|w| !text.contains(**w))
        .copied()
        .collect();
    if !finished.status.success() && missing.is_empty() {
        return Ok(());
    }
    Err(Error::Refused {
        what: format!(
            "`{line}` was to fail and to say {}; it said\n{text}",
            words.join(", ")
        ),
        help: "kmod/Makefile has to name what is missing and the way out".into(),
    })
}

fn install(paths: &Paths, kernel: &Kernel) -> Result<()> {
    let task = Task::new("make modules_install");
    let to = fresh(paths, "package/install")?;
    let (_, mut command) = mirror(paths, kernel)?;
    command
        // depmod would look for the rest of the kernel there.
        .args(["modules_install", "DEPMOD=true"])
        .arg(format!("INSTALL_MOD_PATH={}", to.display()))
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("MAKEFLAGS");
    proc::run(command, &task, Some(&paths.log("modules_install")?))?.ok()?;
    only_umbra(&to)?;
    task.done("");
    Ok(())
}

fn dkms(paths: &Paths, kernel: &Kernel) -> Result<()> {
    let task = Task::new("dkms build");
    let dir = fresh(paths, "package/dkms")?;
    let (source, tree, installed) = (dir.join("src"), dir.join("tree"), dir.join("installed"));
    let modules = installed.join("lib/modules").join(kernel.release());
    for folder in [&source, &tree, &modules] {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    }
    let mut lay = Command::new("make");
    lay.arg("-C")
        .arg(paths.root().join("kmod"))
        .args(["--silent", "--no-print-directory", "dkms-tree"])
        .arg(format!("DESTDIR={}", source.display()))
        .env_remove("MAKEFLAGS");
    proc::run(lay, &task, None)?.ok()?;
    let name = fs::read_dir(&source)
        .map_err(Error::io("read", &source))?
        .flatten()
        .find_map(|e| Some(e.file_name().to_str()?.replacen('-', "/", 1)))
        .unwrap_or_default();
    for verb in ["add", "build", "install"] {
        let mut command = Command::new("dkms");
        command
            .args([verb, &name, "--no-depmod", "--arch", "x86_64"])
            .args(["--kernelver", kernel.release()])
            .arg("--kernelsourcedir")
            .arg(kernel.headers())
            .arg("--sourcetree")
            .arg(&source)
            .arg("--dkmstree")
            .arg(&tree)
            .arg("--installtree")
            .arg(installed.join("lib/modules"))
            // No keys of this machine, and crates built only once.
            .env("sign_file", "/nonexistent")
            .env(
                "UMBRA_CARGO_TARGET_DIR",
                paths.cache().join("kmod-rust-dkms"),
            )
            .env("LC_ALL", "C")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("MAKEFLAGS");
        let lines = proc::run(command, &task, Some(&paths.log(&format!("dkms-{verb}"))?))?.ok()?;
        // It tells of a failed clean-up, and goes on.
        if let Some(line) = lines.iter().find(|l| l.contains("bad exit status")) {
            return Err(Error::Refused {
                what: format!("dkms {verb}: {line}"),
                help: "run `make clean` in the tree of `make dkms-tree` to see why".into(),
            });
        }
    }
    only_umbra(&installed)?;
    task.done(&name);
    Ok(())
}

/// A folder of the cache with nothing in it.
fn fresh(paths: &Paths, name: &str) -> Result<PathBuf> {
    let dir = paths.dir(name)?;
    fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
    paths.dir(name)
}

/// The one module below a folder is umbra.ko, and says what it is.
fn only_umbra(dir: &Path) -> Result<()> {
    let mut find = Command::new("find");
    find.arg(dir).args(["-name", "*.ko*", "-type", "f"]);
    let files = proc::output(find)?;
    let wrong = |what: String| Error::Refused {
        what,
        help: "kmod/Makefile and dkms.conf.in say what is installed".into(),
    };
    let [file] = files.as_slice() else {
        return Err(wrong(format!(
            "not umbra.ko alone is installed: {}",
            files.join(" ")
        )));
    };
    let mut info = Command::new("modinfo");
    info.arg(file);
    let lines = proc::output(info)?;
    for field in [
        "version:",
        "license:        GPL",
        "description:",
        "author:",
        "parm:",
    ] {
        if !lines.iter().any(|l| l.starts_with(field)) {
            return Err(wrong(format!("modinfo of {file} has no `{field}`")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_from_what_is_made() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["b.c", "a.h", "t.S", "umbra.mod.c", "Kbuild", "x.o"] {
            fs::write(dir.path().join(name), "").expect("writes");
        }
        let mut files = Vec::new();
        sources(dir.path(), &mut files).expect("reads");
        let names: Vec<_> = files
            .iter()
            .filter_map(|f| f.file_name()?.to_str())
            .collect();
        assert_eq!(names, ["a.h", "b.c", "t.S"]);
    }

    #[test]
    fn a_command_that_has_to_fail_has_to() {
        let task = Task::new("test");
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        assert!(says(sh("echo the way out; false"), &task, &["way"]).is_ok());
        assert!(says(sh("echo the way out"), &task, &["way"]).is_err());
        assert!(says(sh("echo something; false"), &task, &["way"]).is_err());
    }
}
