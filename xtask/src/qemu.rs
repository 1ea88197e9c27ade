//! QEMU: one that is known, unpacked into the cache, or the system's.
//!
//! ```text
//!  cache, if it runs -> the system's, if new enough -> unpacked from the backports
//!                                                  `-> else the system's older one
//! ```
//! QEMU of the release itself (7.2) loses a change of code when each processor
//! has a thread: a processor that translates a function between the other one's
//! invalidation and its store keeps the old bytes, here ftrace's `int3`, for ever.
//! QEMU 10 locks a page before it translates from it, and has not shown that hang
//! in any run of the tests. But its store still comes after the invalidation,
//! outside of that lock, and about one guest of ten of those that patch under load
//! dies of an `int3` that is not in memory any more (seen [elsewhere] too).
//! [`vm`](crate::vm) knows such a death by the byte in the kernel's dump, and boots
//! that guest once more with the processors taking turns, as `--turns` does always
//! and an old QEMU has to.
//!
//! [elsewhere]: http://www.uwsg.indiana.edu/hypermail/linux/kernel/2307.0/03869.html

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt::Apt;
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::proc;
use crate::ui::{self, Task};

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// The first major version with which a thread for each processor works.
const THREADS: u32 = 10;

/// A QEMU that runs here.
#[derive(Debug, Clone)]
pub(crate) struct Qemu {
    program: PathBuf,
    /// The folder it was unpacked into; none for the system's.
    unpacked: Option<PathBuf>,
    major: u32,
}

impl Qemu {
    /// A command that runs it, as yet without arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(dir) = &self.unpacked {
            let lib = |part: &str| dir.join(part).display().to_string();
            let libs = [lib("usr/lib/x86_64-linux-gnu"), lib("lib/x86_64-linux-gnu")];
            command.env("LD_LIBRARY_PATH", libs.join(":"));
            for data in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(dir.join(data));
            }
        }
        command
    }

    /// Whether its processors are given a thread each.
    pub(crate) fn can_use_threads(&self) -> bool {
        self.major >= THREADS
    }

    /// Tries a program; none if it does not run.
    fn open(program: PathBuf, unpacked: Option<PathBuf>) -> Option<Self> {
        let mut qemu = Self {
            program,
            unpacked,
            major: 0,
        };
        let mut command = qemu.command();
        command.arg("--version");
        qemu.major = major(&proc::output(command).ok()?)?;
        Some(qemu)
    }

    /// One of that version, for tests.
    #[cfg(test)]
    pub(crate) fn of(major: u32) -> Self {
        Self {
            program: PROGRAM.into(),
            unpacked: None,
            major,
        }
    }

    fn in_cache(dir: &Path) -> Option<Self> {
        Self::open(dir.join("usr/bin").join(PROGRAM), Some(dir.to_path_buf()))
    }
}

/// The major version in what `--version` prints.
fn major(lines: &[String]) -> Option<u32> {
    let rest = lines
        .iter()
        .find_map(|l| l.strip_prefix("QEMU emulator version "))?;
    rest.split('.').next()?.parse().ok()
}

/// Gives a QEMU, fetching one if there is none that is new enough.
pub(crate) fn get(paths: &Paths) -> Result<Qemu> {
    let dir = paths.cache().join("qemu");
    if let Some(cached) = Qemu::in_cache(&dir) {
        return Ok(cached);
    }
    let system = Qemu::open(PROGRAM.into(), None);
    if let Some(system) = system.clone().filter(Qemu::can_use_threads) {
        return Ok(system);
    }
    let task = Task::new("QEMU");
    match (unpack(paths, &dir, &task), system) {
        (Ok(qemu), _) => {
            task.done(&format!("{} in {}", qemu.major, crate::paths::short(&dir)));
            Ok(qemu)
        }
        (Err(error), Some(system)) => {
            drop(task);
            ui::note(&format!(
                "no newer QEMU to be had ({error}); the system's {} is used, one processor at a time",
                system.major
            ));
            Ok(system)
        }
        (Err(error), None) => Err(error),
    }
}

fn unpack(paths: &Paths, dir: &Path, task: &Task) -> Result<Qemu> {
    let suite = Apt::newer_suite().ok_or_else(|| Error::Refused {
        what: "no QEMU here, and this is no Debian to fetch one for".into(),
        help: "install qemu-system-x86_64, version 10 or newer".into(),
    })?;
    let apt = Apt::new(paths)?;
    apt.update(task)?;
    let packages = apt.lacking(PACKAGE, &suite)?;
    let partial = paths.cache().join(".partial-qemu");
    for old in [&partial, &dir.to_path_buf()] {
        if old.exists() {
            fs::remove_dir_all(old).map_err(Error::io("remove", old))?;
        }
    }
    let debs = partial.join("debs");
    for file in apt.download(&packages, &debs, task)? {
        let mut command = Command::new("dpkg-deb");
        command.arg("--extract").arg(file).arg(&partial);
        proc::output(command)?;
    }
    fs::remove_dir_all(&debs).map_err(Error::io("remove", &debs))?;
    fs::rename(&partial, dir).map_err(Error::io("move", dir))?;
    Qemu::in_cache(dir).ok_or_else(|| Error::Damaged {
        path: dir.to_path_buf(),
        why: format!("{PROGRAM} was unpacked there and does not run"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        let lines = |text: &str| vec![text.to_owned()];
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)";
        assert_eq!(major(&lines(debian)), Some(10));
        assert_eq!(major(&lines("QEMU emulator version 7.2.22")), Some(7));
        assert_eq!(major(&lines("error while loading shared libraries")), None);
    }

    #[test]
    fn a_folder_without_a_qemu_that_runs_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(Qemu::in_cache(dir.path()).is_none());
        fs::create_dir_all(dir.path().join("usr/bin")).expect("makes");
        fs::write(dir.path().join("usr/bin").join(PROGRAM), "torn").expect("writes");
        assert!(Qemu::in_cache(dir.path()).is_none());
    }
}
