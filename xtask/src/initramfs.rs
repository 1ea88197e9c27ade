//! The guest's root: a static busybox, the modules, the scripts.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::deps::{BUSYBOX, is_static};
use crate::error::{Error, Result};
use crate::modules::Modules;
use crate::paths::Paths;
use crate::proc;

const INIT: &str = include_str!("guest-init.sh");

/// Packs an initramfs with every module and every guest script.
pub(crate) fn pack(paths: &Paths, modules: &Modules) -> Result<PathBuf> {
    let work = paths.dir("guest")?;
    let root = work.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).map_err(Error::io("remove", &root))?;
    }
    for dir in ["bin", "guest", "modules", "proc", "sys", "dev", "tmp"] {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).map_err(Error::io("make", &dir))?;
    }
    let busybox = find_busybox()?;
    copy(&busybox, &root.join("bin/busybox"))?;
    let sh = root.join("bin/sh");
    symlink("busybox", &sh).map_err(Error::io("link", &sh))?;
    let init = root.join("init");
    fs::write(&init, INIT).map_err(Error::io("write", &init))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&init, executable).map_err(Error::io("write", &init))?;

    for (name, path) in scripts(paths)? {
        copy(&path, &root.join("guest").join(name))?;
    }
    for path in &modules.extra {
        if let Some(name) = path.file_name() {
            copy(path, &root.join("guest").join(name))?;
        }
    }
    for module in &modules.files {
        let Some(name) = module.file_name() else {
            continue;
        };
        let target = root.join("modules").join(name);
        // Debug information is most of a module, and the guest never reads it.
        let mut strip = Command::new("strip");
        strip
            .arg("--strip-debug")
            .arg("-o")
            .arg(&target)
            .arg(module);
        proc::output(strip)?;
    }

    let image = work.join("initramfs.cpio");
    let mut command = Command::new("bash");
    command
        .args(["-o", "pipefail", "-c"])
        .arg(r#"cd "$1" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0 >"$2""#)
        .args(["pack".as_ref(), root.as_os_str(), image.as_os_str()]);
    proc::output(command)?;
    Ok(image)
}

/// The guest scripts: file name and place.
pub(crate) fn scripts(paths: &Paths) -> Result<Vec<(String, PathBuf)>> {
    let dir = script_dir(paths);
    let mut found = Vec::new();
    if !dir.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
        let path = entry.map_err(Error::io("read", &dir))?.path();
        if path.is_file()
            && let Some(name) = path.file_name()
        {
            found.push((name.to_string_lossy().into_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

/// Where guest scripts are kept.
pub(crate) fn script_dir(paths: &Paths) -> PathBuf {
    paths.root().join("kmod/tests/guest")
}

fn find_busybox() -> Result<PathBuf> {
    BUSYBOX
        .iter()
        .map(PathBuf::from)
        .find(|p| is_static(p))
        .ok_or_else(|| Error::Refused {
            what: "no static busybox here".into(),
            help: "`cargo xtask setup` installs busybox-static".into(),
        })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(|_| ())
        .map_err(Error::io("copy", from))
}
