//! The stock Debian kernel, unpacked into the cache; nothing is installed.
//!
//! `kernel/<release>/` holds `boot/vmlinux-…`, the headers and the build tools.
//! The image is what was packed inside the stock vmlinuz: QEMU starts that
//! directly (PVH), and no boot spends five seconds unpacking it in emulation.
//! It is made beside its place and renamed into it when whole, with a stamp
//! that says what it holds: a folder without a fitting stamp is one that was
//! torn, and is made anew. `kernel/<series>` names the release in use, so that
//! later runs need neither index nor network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::apt::Apt;
use crate::debian::{self, KernelSet};
use crate::error::{Error, Result};
use crate::foreign;
use crate::paths::Paths;
use crate::proc;
use crate::ui::{self, Task};

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    dir: PathBuf,
    stamp: Stamp,
}

/// What is in a cache folder; written last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    release: String,
    version: String,
    image_bytes: u64,
    /// The layout of the folder: a change of this tool that unpacks otherwise
    /// counts it up, and old folders are made anew.
    layout: u32,
}

const LAYOUT: u32 = 2;

/// How a compressed image begins, and what unpacks it.
const PACKERS: &[(&[u8], &str)] = &[(b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")];

impl Kernel {
    /// As `uname -r` will say.
    pub(crate) fn release(&self) -> &str {
        &self.stamp.release
    }

    /// The series: "6.1" of "6.1.0-56-amd64".
    pub(crate) fn series(&self) -> &str {
        let release = self.release();
        let end = release.match_indices('.').nth(1).map(|(at, _)| at);
        release
            .get(..end.unwrap_or(release.len()))
            .unwrap_or(release)
    }

    /// The package version.
    pub(crate) fn version(&self) -> &str {
        &self.stamp.version
    }

    /// The bootable image.
    pub(crate) fn image(&self) -> PathBuf {
        image_in(&self.dir, &self.stamp.release)
    }

    /// The folder that `make KDIR=` wants.
    pub(crate) fn headers(&self) -> PathBuf {
        headers_in(&self.dir, &self.stamp.release)
    }

    /// Where the compiler of a kernel is that this release's cannot build for.
    fn tools(&self) -> Option<PathBuf> {
        Some(self.dir.join(foreign::PROGRAMS)).filter(|dir| dir.exists())
    }

    /// Lets a build for it find that compiler.
    pub(crate) fn equip(&self, command: &mut Command) {
        let Some(tools) = self.tools() else { return };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(tools).chain(std::env::split_paths(&path));
        // A folder of the path has no colon in it, and ours has none either.
        command.env("PATH", std::env::join_paths(all).unwrap_or(path));
    }

    /// The packages of the release that it is from.
    pub(crate) fn apt(&self, paths: &Paths) -> Result<Apt> {
        let next = match self.tools() {
            Some(_) => Apt::next(paths)?,
            None => None,
        };
        next.map_or_else(|| Apt::new(paths), Ok)
    }

    /// Opens a cache folder, if it is whole.
    fn open(dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(dir.join("stamp.json")).ok()?;
        let stamp: Stamp = serde_json::from_str(&text).ok()?;
        let image = fs::metadata(image_in(dir, &stamp.release)).ok()?;
        let whole = stamp.layout == LAYOUT
            && image.len() == stamp.image_bytes
            && headers_in(dir, &stamp.release).join("Makefile").exists();
        whole.then(|| Self {
            dir: dir.to_path_buf(),
            stamp,
        })
    }
}

fn image_in(dir: &Path, release: &str) -> PathBuf {
    dir.join("boot").join(format!("vmlinux-{release}"))
}

fn packed_in(dir: &Path, release: &str) -> PathBuf {
    dir.join("boot").join(format!("vmlinuz-{release}"))
}

fn headers_in(dir: &Path, release: &str) -> PathBuf {
    dir.join("usr/src").join(format!("linux-headers-{release}"))
}

/// Gives the stock kernel of a series, from the cache or from Debian.
pub(crate) fn get(paths: &Paths, series: &str, refresh: bool) -> Result<Kernel> {
    let base = paths.dir("kernel")?;
    let current = base.join(series);
    if !refresh
        && let Ok(release) = fs::read_to_string(&current)
        && let Some(kernel) = Kernel::open(&base.join(release.trim()))
    {
        ui::note(&format!(
            "✓ kernel: {} ({}), cached",
            kernel.release(),
            kernel.version()
        ));
        return Ok(kernel);
    }
    let task = Task::new("kernel");
    let (apt, set) = find(paths, series, &task)?;
    task.say(&format!("{} ({})", set.release, set.version));
    let dir = base.join(&set.release);
    let kernel = match Kernel::open(&dir).filter(|k| k.stamp.version == set.version) {
        Some(kernel) => kernel,
        None => unpack(&apt, &set, &base, &dir, &task)?,
    };
    fs::write(&current, kernel.release()).map_err(Error::io("write", &current))?;
    task.done(&format!(
        "{} in {}",
        kernel.release(),
        crate::paths::short(&dir)
    ));
    Ok(kernel)
}

/// The packages of a series: this release's or its backports', or else those of
/// the next release, with the tools that they need.
fn find(paths: &Paths, series: &str, task: &Task) -> Result<(Apt, KernelSet)> {
    let apt = Apt::new(paths)?;
    let updated = apt.update(task)?;
    let none = match debian::resolve(series, |name| apt.show(name)) {
        Ok(set) => return Ok((apt, set)),
        // Should the index be short of something, the reason is likely in here.
        Err(error) => {
            ui::note(&updated.lines.join("\n"));
            error
        }
    };
    let Some(apt) = Apt::next(paths)? else {
        return Err(none);
    };
    task.say(&format!("{none}; looking in the next release"));
    let updated = apt.update(task)?;
    let set = debian::resolve(series, |name| apt.show(name))
        .and_then(|set| foreign::with_tools(set, |name| apt.show(name)))
        .inspect_err(|_| ui::note(&updated.lines.join("\n")))?;
    Ok((apt, set))
}

fn unpack(apt: &Apt, set: &KernelSet, base: &Path, dir: &Path, task: &Task) -> Result<Kernel> {
    let partial = base.join(format!(".partial-{}", set.release));
    for old in [&partial, dir] {
        if old.exists() {
            fs::remove_dir_all(old).map_err(Error::io("remove", old))?;
        }
    }
    let debs = partial.join("debs");
    let mut packages = vec![set.image.clone()];
    packages.extend(set.headers.iter().chain(&set.tools).cloned());
    let files = apt.download(&packages, &debs, task)?;
    for (index, file) in files.iter().enumerate() {
        task.at(&format!("unpacking {}", packages[index].name));
        // Of the image only itself: its modules are 400 MB that nobody loads.
        let binary = format!("./usr/lib/modules/{}/vmlinuz", set.release);
        let part = match index {
            0 if set.image.name.starts_with("linux-binary-") => &binary,
            0 => "./boot",
            _ => "./usr",
        };
        let mut command = Command::new("bash");
        command
            .args(["-o", "pipefail", "-c"])
            .arg(r#"dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" "$3""#)
            .args(["unpack".as_ref(), file.as_os_str(), partial.as_os_str()])
            .arg(part);
        proc::output(command)?;
    }
    let (packed, binary) = (
        packed_in(&partial, &set.release),
        partial.join(format!("usr/lib/modules/{}/vmlinuz", set.release)),
    );
    if binary.exists() {
        let boot = partial.join("boot");
        fs::create_dir_all(&boot).map_err(Error::io("make", &boot))?;
        fs::rename(&binary, &packed).map_err(Error::io("move", &binary))?;
    }
    if !set.tools.is_empty() {
        foreign::wrap(&partial)?;
    }
    fs::remove_dir_all(&debs).map_err(Error::io("remove", &debs))?;
    relocate(&headers_in(&partial, &set.release).join("Makefile"))?;

    task.at("unpacking the image");
    let image = image_in(&partial, &set.release);
    unpack_image(&packed, &image)?;
    let image_bytes = fs::metadata(&image)
        .map_err(Error::io("find", &image))?
        .len();
    let stamp = Stamp {
        release: set.release.clone(),
        version: set.version.clone(),
        image_bytes,
        layout: LAYOUT,
    };
    let file = partial.join("stamp.json");
    let text = serde_json::to_string_pretty(&stamp).unwrap_or_default();
    fs::write(&file, text).map_err(Error::io("write", &file))?;
    fs::rename(&partial, dir).map_err(Error::io("move", dir))?;
    Kernel::open(dir).ok_or_else(|| Error::Damaged {
        path: dir.to_path_buf(),
        why: "the packages hold no image or no headers".into(),
    })
}

/// Takes the ELF image out of a bzImage, which holds it compressed.
fn unpack_image(packed: &Path, image: &Path) -> Result<()> {
    let bytes = fs::read(packed).map_err(Error::io("read", packed))?;
    let damaged = |why: &str| Error::Damaged {
        path: packed.to_path_buf(),
        why: why.into(),
    };
    let payload = payload(&bytes).ok_or_else(|| damaged("it is no bzImage"))?;
    let (_, program) = PACKERS
        .iter()
        .find(|(magic, _)| payload.starts_with(magic))
        .ok_or_else(|| damaged("it is packed neither by xz nor by zstd"))?;
    let stream = image.with_extension("packed");
    fs::write(&stream, payload).map_err(Error::io("write", &stream))?;
    let mut command = Command::new("bash");
    command
        .arg("-c")
        .arg(r#""$1" -dc <"$2" >"$3""#)
        .args(["unpack", program])
        .args([&stream, image]);
    proc::output(command)?;
    fs::remove_file(&stream).map_err(Error::io("remove", &stream))?;
    let elf = fs::read(image)
        .map_err(Error::io("read", image))?
        .starts_with(b"\x7fELF");
    if elf {
        Ok(())
    } else {
        Err(damaged("what is packed in it is no ELF image"))
    }
}

/// The compressed stream in a bzImage, where its header says (the boot protocol's
/// `setup_sects`, `payload_offset` and `payload_length`). The build appends the
/// unpacked size to it, four bytes that are not the stream's.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let setup = (usize::from(*image.get(0x1f1)?) + 1) * 512;
    let start = setup + word(0x248)?;
    image.get(start..start + word(0x24c)?.checked_sub(4)?)
}

/// Makes the headers' Makefile find its common part beside itself.
///
/// The packages expect to live in /usr/src; all else in them is relative.
fn relocate(makefile: &Path) -> Result<()> {
    let text = fs::read_to_string(makefile).map_err(Error::io("read", makefile))?;
    let text = relocated(&text).ok_or_else(|| Error::Damaged {
        path: makefile.to_path_buf(),
        why: "it has no `include /usr/src/…` line".into(),
    })?;
    fs::write(makefile, text).map_err(Error::io("write", makefile))
}

fn relocated(text: &str) -> Option<String> {
    let here = "$(dir $(lastword $(MAKEFILE_LIST)))..";
    text.contains("include /usr/src/").then(|| {
        text.replace("include /usr/src/", &format!("include {here}/"))
            // Since 7.1; by := , for the list grows.
            .replace(
                "KBUILD_OUTPUT=/usr/src/",
                &format!("KBUILD_OUTPUT:=$(abspath {here})/"),
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_relocated_or_refused() {
        assert_eq!(
            relocated("include /usr/src/linux-headers-6.1.0-56-common/Makefile\n").as_deref(),
            Some(
                "include $(dir $(lastword $(MAKEFILE_LIST)))../linux-headers-6.1.0-56-common/Makefile\n"
            )
        );
        assert_eq!(
            relocated("KBUILD_OUTPUT=/usr/src/h\ninclude /usr/src/c/Makefile\n").as_deref(),
            Some(
                "KBUILD_OUTPUT:=$(abspath $(dir $(lastword $(MAKEFILE_LIST)))..)/h\n\
                 include $(dir $(lastword $(MAKEFILE_LIST)))../c/Makefile\n"
            )
        );
        assert_eq!(relocated("all:\n"), None);
    }

    /// A bzImage with that payload.
    fn bz_image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        let length = u32::try_from(payload.len() + 4).expect("small");
        image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
        [&image[..], &[0; 16], payload, b"size and more"].concat()
    }

    #[test]
    fn the_payload_is_where_the_header_says() {
        assert_eq!(payload(&bz_image(b"stream")), Some(&b"stream"[..]));
        assert_eq!(payload(&bz_image(b"stream")[..1040]), None, "cut short");
        assert_eq!(payload(b"no kernel"), None);
    }

    #[test]
    fn an_image_without_a_kernel_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let (packed, image) = (dir.path().join("vmlinuz"), dir.path().join("vmlinux"));
        let why = |bytes: &[u8]| {
            fs::write(&packed, bytes).expect("writes");
            unpack_image(&packed, &image)
                .expect_err("no image")
                .to_string()
        };
        let error = why(b"no kernel");
        assert!(
            error.contains("no bzImage") && error.contains("vmlinuz"),
            "{error}"
        );
        let error = why(&bz_image(b"stream"));
        assert!(error.contains("neither by xz"), "{error}");
        let error = why(&bz_image(b"\xfd7zXZ\0torn"));
        assert!(error.contains("xz"), "{error}");
    }

    #[test]
    fn a_torn_cache_folder_is_not_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let release = "6.1.0-1-amd64";
        assert!(Kernel::open(dir.path()).is_none(), "no stamp");
        let stamp = Stamp {
            release: release.into(),
            version: "6.1.1-1".into(),
            image_bytes: 4,
            layout: LAYOUT,
        };
        let text = serde_json::to_string(&stamp).expect("json");
        fs::write(dir.path().join("stamp.json"), &text).expect("writes");
        assert!(Kernel::open(dir.path()).is_none(), "no image");
        fs::create_dir_all(dir.path().join("boot")).expect("makes");
        fs::create_dir_all(headers_in(dir.path(), release)).expect("makes");
        fs::write(headers_in(dir.path(), release).join("Makefile"), "").expect("writes");
        fs::write(image_in(dir.path(), release), "123").expect("writes");
        assert!(Kernel::open(dir.path()).is_none(), "a short image");
        fs::write(image_in(dir.path(), release), "1234").expect("writes");
        assert!(Kernel::open(dir.path()).is_some(), "whole");
        fs::write(dir.path().join("stamp.json"), &text[..text.len() / 2]).expect("writes");
        assert!(Kernel::open(dir.path()).is_none(), "a torn stamp");
    }
}
