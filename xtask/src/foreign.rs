//! Tools of the next release, for kernels that only it has.
//!
//! The build tools of such a kernel's headers, and the compiler that it wants, need
//! a newer C library than this system's. So that library and the others that they
//! need are unpacked beside them, and each program gets a script in its place that
//! starts it with those:
//!
//! ```text
//! usr/bin/x86_64-linux-gnu-gcc-14      exec …/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
//! usr/bin/x86_64-linux-gnu-gcc-14.elf       --library-path … gcc-14.elf "$@"
//! ```
//! Nothing is installed, no privilege is needed, and the folder may be moved.
//! Assembler and linker are the system's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::debian::{self, KernelSet, Stanza};
use crate::error::{Error, Result};

/// Where the compiler is, below the folder of a kernel.
pub(crate) const PROGRAMS: &str = "usr/bin";
/// Where the libraries and their loader are.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Adds the compiler that the headers ask for, and what it and their tools need.
pub(crate) fn with_tools(
    mut set: KernelSet,
    show: impl Fn(&str) -> Result<Vec<Stanza>>,
) -> Result<KernelSet> {
    let mut wanted: Vec<String> = set.headers.iter().map(|p| p.name.clone()).collect();
    let mut seen = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        if seen.contains_key(&name) {
            continue;
        }
        let found = show(&name)?;
        let package = debian::newest_of(&name, &found)
            .ok_or_else(|| Error::NoPackage { name: name.clone() })?;
        let depends = found
            .iter()
            .find(|s| s.get("Version") == Some(&package.version))
            .and_then(|s| s.get("Depends"))
            .map_or("", String::as_str);
        wanted.extend(debian::dependencies(depends).filter_map(|(name, _)| tool(name)));
        seen.insert(name, package);
    }
    for known in &set.headers {
        seen.remove(&known.name);
    }
    set.tools = seen.into_values().collect();
    Ok(set)
}

/// The package that a dependency stands for, if it is a tool or its library.
fn tool(name: &str) -> Option<String> {
    if let Some(gcc) = name.strip_suffix("-for-host") {
        return gcc
            .starts_with("gcc-")
            .then(|| format!("{gcc}-x86-64-linux-gnu"));
    }
    let library = name.starts_with("lib") || name.starts_with("zlib");
    (library || name.starts_with("cpp-")).then(|| name.to_owned())
}

/// Puts the scripts in the place of the programs.
pub(crate) fn wrap(root: &Path) -> Result<()> {
    for folder in ["usr/bin", "usr/libexec", "usr/lib"] {
        let folder = root.join(folder);
        if folder.exists() {
            wrap_below(root, &folder)?;
        }
    }
    Ok(())
}

fn wrap_below(root: &Path, folder: &Path) -> Result<()> {
    if folder.ends_with(LIBRARIES) {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io("read", &path))?;
        if kind.is_dir() {
            wrap_below(root, &path)?;
        } else if kind.is_file() && is_program(&path)? {
            wrap_one(root, &path)?;
        }
    }
    Ok(())
}

/// An ELF file that names the loader: not a library, an object or a script.
fn is_program(path: &Path) -> Result<bool> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let begin = bytes.get(..4096).unwrap_or(&bytes);
    Ok(
        begin.starts_with(b"\x7fELF")
            && begin.windows(LOADER.len()).any(|w| w == LOADER.as_bytes()),
    )
}

fn wrap_one(root: &Path, path: &Path) -> Result<()> {
    let depth = path
        .strip_prefix(root)
        .map_or(0, |below| below.components().count() - 1);
    let up = "../".repeat(depth);
    let mut real = path.as_os_str().to_owned();
    real.push(".elf");
    fs::rename(path, &real).map_err(Error::io("move", path))?;
    let script = format!(
        "#!/bin/sh\n\
         # The program beside this, with the libraries of its own release.\n\
         lib=\"${{0%/*}}/{up}{LIBRARIES}\"\n\
         exec \"$lib/{LOADER}\" --library-path \"$lib\" --argv0 \"$0\" \"$0.elf\" \"$@\"\n"
    );
    fs::write(path, script).map_err(Error::io("write", path))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, executable).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
Package: linux-image-amd64
Version: 7.3.4-1~bpo13+1
Depends: linux-base-amd64 (= 7.3.4-1~bpo13+1), linux-image-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1)

Package: linux-image-7.3.4+deb13-amd64
Version: 7.3.4-1~bpo13+1
Depends: linux-binary-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1)
Size: 1900

Package: linux-binary-7.3.4+deb13-amd64
Version: 7.3.4-1~bpo13+1
Size: 14138336

Package: linux-headers-7.3.4+deb13-amd64
Version: 7.3.4-1~bpo13+1
Depends: gcc-14-for-host, linux-headers-7.3.4+deb13-common (= 7.3.4-1~bpo13+1), linux-kbuild-7.3.4+deb13
Size: 1

Package: linux-headers-7.3.4+deb13-common
Version: 7.3.4-1~bpo13+1
Size: 1

Package: linux-kbuild-7.3.4+deb13
Version: 7.3.4-1~bpo13+1
Depends: pahole, libc6 (>= 2.38), zlib1g (>= 1:1.2.3.4)
Size: 1

Package: gcc-14-x86-64-linux-gnu
Version: 14.2.0-19
Depends: cpp-14-x86-64-linux-gnu (= 14.2.0-19), gcc-14-base, binutils-x86-64-linux-gnu, libc6 (>= 2.38)
Size: 1

Package: cpp-14-x86-64-linux-gnu
Version: 14.2.0-19
Size: 1

Package: libc6
Version: 2.41-12
Size: 1

Package: zlib1g
Version: 1:1.3
Size: 1
";

    fn show(name: &str) -> Result<Vec<Stanza>> {
        debian::indexed(INDEX, name)
    }

    #[test]
    fn the_newest_7_comes_with_its_compiler_and_libraries() {
        let set = debian::resolve("7.x", show).expect("resolves");
        assert_eq!(set.release, "7.3.4+deb13-amd64");
        assert_eq!(set.image.name, "linux-binary-7.3.4+deb13-amd64");
        let set = with_tools(set, show).expect("resolves");
        let names: Vec<_> = set.tools.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "cpp-14-x86-64-linux-gnu",
                "gcc-14-x86-64-linux-gnu",
                "libc6",
                "zlib1g"
            ]
        );
    }

    #[test]
    fn a_program_is_started_by_the_loader_beside_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (bin, lib) = (dir.path().join("usr/bin"), dir.path().join(LIBRARIES));
        for folder in [&bin, &lib] {
            fs::create_dir_all(folder).expect("makes");
        }
        // A loader that says how it was called.
        let loader = lib.join(LOADER);
        fs::write(&loader, "#!/bin/sh\necho \"$@\"\n").expect("writes");
        fs::set_permissions(&loader, fs::Permissions::from_mode(0o755)).expect("sets");
        let program = [&b"\x7fELF"[..], &[0; 60], LOADER.as_bytes()].concat();
        fs::write(bin.join("tool"), &program).expect("writes");
        fs::write(bin.join("script"), "#!/bin/sh\n").expect("writes");
        fs::write(lib.join("libx.so"), &program).expect("writes");
        wrap(dir.path()).expect("wraps");
        assert!(!bin.join("script.elf").exists(), "a script is left alone");
        assert!(!lib.join("libx.so.elf").exists(), "so are libraries");

        let moved = tempfile::tempdir().expect("a folder");
        let to = moved.path().join("moved");
        fs::rename(dir.path().join("usr"), &to).expect("moves");
        let home = moved.path().join("usr");
        fs::rename(&to, &home).expect("moves");
        let tool = home.join("bin/tool");
        let said = std::process::Command::new(&tool)
            .args(["-c", "a b"])
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("tool.elf -c a b"), "{said}");
        assert!(said.contains("--argv0"), "{said}");
    }
}
