//! Parts of the kernel's own source: its tests and samples of shadow variables,
//! and its style checker.
//!
//! They come from the series' linux-source package, are unpacked into the cache
//! (`source/<version>/`), and compiled as they are, with `umbra_klp.h` included
//! by force: that is the proof of the drop-in. None of it is in our sources.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::modules::{self, Modules};
use crate::paths::Paths;
use crate::proc;
use crate::ui::Task;

/// What is kept of a source tree of 1.5 GB, as tar's patterns.
const KEPT: &[&str] = &[
    "*/lib/livepatch/*",
    "*/samples/livepatch/*",
    "*/tools/testing/selftests/livepatch/*",
    "*/scripts/checkpatch.pl",
    "*/scripts/spelling.txt",
    "*/scripts/const_structs.checkpatch",
];

/// The modules, each with the folders it may be in.
const MODULES: &[(&str, &[&str])] = &[
    (
        "test_klp_shadow_vars",
        &[
            "lib/livepatch",
            "tools/testing/selftests/livepatch/test_modules",
        ],
    ),
    ("livepatch-shadow-mod", &["samples/livepatch"]),
    ("livepatch-shadow-fix1", &["samples/livepatch"]),
    ("livepatch-shadow-fix2", &["samples/livepatch"]),
];

/// The script that knows what the test module has to print.
const SCRIPT: &str = "tools/testing/selftests/livepatch/test-shadow-vars.sh";

/// The kept part of the source of a kernel.
pub(crate) fn source(paths: &Paths, kernel: &Kernel) -> Result<PathBuf> {
    let base = paths.dir("source")?;
    let dir = base.join(kernel.version());
    if dir.join("stamp").exists() {
        return Ok(dir);
    }
    let task = Task::new("kernel source");
    let apt = kernel.apt(paths)?;
    apt.update(&task)?;
    let package = debian::resolve_source(kernel.series(), kernel.version(), |name| apt.show(name))?;
    let partial = base.join(format!(".partial-{}", kernel.version()));
    for old in [&partial, &dir] {
        if old.exists() {
            fs::remove_dir_all(old).map_err(Error::io("remove", old))?;
        }
    }
    let debs = partial.join("debs");
    let files = apt.download(std::slice::from_ref(&package), &debs, &task)?;
    task.at("unpacking what is needed of it");
    for file in files {
        let mut command = Command::new("bash");
        // A pattern that matches nothing is tar's failure, and a series' layout.
        command
            .args(["-o", "pipefail", "-c"])
            .arg(
                r#"dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$2.tar.xz" >"$3/tar.xz" &&
                { tar -xJf "$3/tar.xz" -C "$3" --strip-components=1 --wildcards "${@:4}" || true; }"#,
            )
            .args(["unpack".as_ref(), file.as_os_str(), package.name.as_ref(), partial.as_os_str()])
            .args(KEPT);
        proc::output(command)?;
    }
    for rest in [&debs, &partial.join("tar.xz")] {
        let removed = if rest.is_dir() {
            fs::remove_dir_all(rest)
        } else {
            fs::remove_file(rest)
        };
        removed.map_err(Error::io("remove", rest))?;
    }
    for (name, _) in MODULES {
        find(&partial, name)?;
    }
    let stamp = partial.join("stamp");
    fs::write(&stamp, &package.version).map_err(Error::io("write", &stamp))?;
    fs::rename(&partial, &dir).map_err(Error::io("move", &dir))?;
    task.done(&format!("{} {}", package.name, package.version));
    Ok(dir)
}

/// A module's source, wherever this series has it.
fn find(source: &Path, name: &str) -> Result<PathBuf> {
    MODULES
        .iter()
        .filter(|(module, _)| *module == name)
        .flat_map(|(_, folders)| folders.iter())
        .map(|folder| source.join(folder).join(format!("{name}.c")))
        .find(|path| path.exists())
        .ok_or_else(|| Error::Damaged {
            path: source.to_path_buf(),
            why: format!("the kernel's source has no {name}.c where it is looked for"),
        })
}

/// Builds the kernel's own modules on the drop-in, and adds them, and the script
/// that judges them, to ours.
pub(crate) fn add(paths: &Paths, kernel: &Kernel, ours: &mut Modules) -> Result<()> {
    let source = source(paths, kernel)?;
    let task = Task::new("the kernel's own modules");
    let dir = paths.dir(&format!("build/{}-stock", kernel.release()))?;
    let kmod = paths.root().join("kmod");
    let mut objects = Vec::new();
    for (name, _) in MODULES {
        let (from, to) = (find(&source, name)?, dir.join(format!("{name}.c")));
        if fs::read_link(&to).ok().as_deref() != Some(&from) {
            // Whatever stood there is not the link that belongs there.
            let _ = fs::remove_file(&to);
            symlink(&from, &to).map_err(Error::io("link", &to))?;
        }
        objects.push(format!("{name}.o"));
    }
    let kbuild = dir.join("Kbuild");
    let text = format!(
        "ccflags-y += -I{}/include -include umbra_klp.h\nobj-m := {}\n",
        kmod.display(),
        objects.join(" ")
    );
    fs::write(&kbuild, text).map_err(Error::io("write", &kbuild))?;
    let symbols = modules::mirror(paths, kernel)?.join("Module.symvers");
    let mut command = Command::new("make");
    command
        .arg("-C")
        .arg(kernel.headers())
        .arg("--no-print-directory")
        .arg(format!("M={}", dir.display()))
        .arg(format!("KBUILD_EXTRA_SYMBOLS={}", symbols.display()))
        .args(["CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]);
    kernel.equip(&mut command);
    let built = modules::make(command, &dir, &paths.log("stock-modules")?, &task)?;
    task.done(&format!("{} up to date, no warnings", built.len()));
    ours.files.extend(built);
    ours.extra.push(source.join(SCRIPT));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_where_its_series_has_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let missing = find(dir.path(), "test_klp_shadow_vars").expect_err("nothing there");
        assert!(
            missing.to_string().contains("test_klp_shadow_vars.c"),
            "{missing}"
        );
        let new = dir.path().join(MODULES[0].1[1]);
        fs::create_dir_all(&new).expect("makes");
        fs::write(new.join("test_klp_shadow_vars.c"), "").expect("writes");
        let found = find(dir.path(), "test_klp_shadow_vars").expect("found");
        assert!(found.starts_with(new), "{}", found.display());
    }
}
