//! Packages fetched into our own cache: nothing is installed by this module.
//!
//! apt is given lists and caches of its own under `target/umbra/apt`, so that
//! a user without root can fetch, a machine without an index gets one, and the
//! system's index stays as it is. Sources and keys are the system's. What is only
//! unpacked, never installed, may also come from the release's backports, which
//! are added to the sources here if the system does not have them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::debian::{self, Package, Stanza};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::proc::{self, Finished, Job, Said};
use crate::ui::Task;

/// apt with an index of our own.
pub(crate) struct Apt {
    options: Vec<String>,
    lists: PathBuf,
}

/// A source out of the system's targets, its codename and the archive's key.
type Derive = fn(&[String], &str, Option<&str>) -> Option<String>;

/// The system's sources, and the key of Debian's archive.
const SOURCE_PARTS: &str = "/etc/apt/sources.list.d";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How long apt may say nothing while it fetches: it has been seen to wait for ever
/// after an index that arrived in pieces. Its largest file takes a minute at 1 Mbit/s.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is tried then.
const TRIES: usize = 3;

impl Apt {
    /// The system's sources and the backports: for what is unpacked in the cache.
    pub(crate) fn new(paths: &Paths) -> Result<Self> {
        let mut apt = Self::at(&paths.dir("apt")?)?;
        if let Some(text) = apt.source(debian::backports_source)? {
            let parts = paths.dir("apt/sources.list.d")?;
            copy_sources(Path::new(SOURCE_PARTS), &parts)?;
            let file = parts.join("umbra-backports.sources");
            fs::write(&file, text).map_err(Error::io("write", &file))?;
            apt.options
                .push(format!("Dir::Etc::SourceParts={}", parts.display()));
        }
        Ok(apt)
    }

    /// The release after the system's, if the system is a Debian that has one: for
    /// kernels that are newer than the backports'.
    pub(crate) fn next(paths: &Paths) -> Result<Option<Self>> {
        let mut apt = Self::at(&paths.dir("apt-next")?)?;
        let Some(text) = apt.source(debian::next_source)? else {
            return Ok(None);
        };
        let parts = paths.dir("apt-next/sources.list.d")?;
        let file = parts.join("umbra-next.sources");
        fs::write(&file, text).map_err(Error::io("write", &file))?;
        apt.options.push("Dir::Etc::SourceList=/dev/null".into());
        apt.options
            .push(format!("Dir::Etc::SourceParts={}", parts.display()));
        Ok(Some(apt))
    }

    /// The system's sources alone: for what is installed.
    pub(crate) fn system(paths: &Paths) -> Result<Self> {
        Self::at(&paths.dir("apt-system")?)
    }

    /// A source that is derived from the system's, if that is a Debian's.
    fn source(&self, derive: Derive) -> Result<Option<String>> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let Some(codename) = debian::codename(&release) else {
            return Ok(None);
        };
        let mut command = self.command("apt-get");
        command
            // Of sources that were never fetched too.
            .args(["indextargets", "--no-release-info", "--format"])
            .arg("$(REPO_URI) $(RELEASE) $(COMPONENT)");
        let targets = proc::output(command)?;
        let key = Path::new(KEYRING).exists().then_some(KEYRING);
        Ok(derive(&targets, codename, key))
    }

    /// The suite whose packages are newer than the release's.
    pub(crate) fn newer_suite() -> Option<String> {
        let release = fs::read_to_string("/etc/os-release").ok()?;
        Some(debian::backports_suite(debian::codename(&release)?))
    }

    /// What `name` of a suite needs that is not installed here, itself included.
    pub(crate) fn lacking(&self, name: &str, suite: &str) -> Result<Vec<Package>> {
        let mut command = self.command("apt-get");
        command
            .args([
                "--simulate",
                "--no-install-recommends",
                "--target-release",
                suite,
            ])
            .args(["install", name]);
        let mut packages = Vec::new();
        for (name, version) in debian::simulated(&proc::output(command)?) {
            let package = debian::exactly(&name, &version, &self.show(&name)?);
            packages.push(package.ok_or_else(|| Error::NoPackage {
                name: format!("{name} {version}"),
            })?);
        }
        Ok(packages)
    }

    fn at(dir: &Path) -> Result<Self> {
        let (lists, cache) = (dir.join("lists"), dir.join("cache"));
        for folder in [lists.join("partial"), cache.join("archives/partial")] {
            fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
        }
        let mut options = vec![
            format!("Dir::State::Lists={}", lists.display()),
            format!("Dir::Cache={}", cache.display()),
            // Only package lists: no translations, no desktop metadata.
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "Acquire::Retries=3".into(),
        ];
        if nix::unistd::geteuid().is_root() {
            // The unprivileged user of apt cannot write below a home folder.
            options.push("APT::Sandbox::User=root".into());
        }
        Ok(Self { options, lists })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").arg("-q");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    /// Fetches the index.
    ///
    /// A source that does not answer is no reason to stop: what matters is
    /// whether the index has what we look for, and resolving tells that.
    pub(crate) fn update(&self, task: &Task) -> Result<Finished> {
        task.at("fetching the package index");
        self.fetch(&["update"], task)
    }

    /// A call of apt-get that only fetches, and may therefore be ended and repeated.
    fn fetch(&self, arguments: &[&str], task: &Task) -> Result<Finished> {
        let mut tries = 1;
        loop {
            let mut command = self.command("apt-get");
            command.args(arguments);
            let finished = proc::run_while_it_speaks(command, task, PATIENCE)?;
            if !finished.silent || tries == TRIES {
                return Ok(finished);
            }
            tries += 1;
            let last = finished
                .lines
                .iter()
                .rev()
                .nth(1)
                .map_or("", |line| line.trim());
            task.say(&format!(
                "apt-get {}: silent for {} s after \"{last}\"; try {tries} of {TRIES}",
                arguments[0],
                PATIENCE.as_secs()
            ));
            // What arrived in part may be what it stumbles over.
            empty(&self.lists.join("partial"))?;
        }
    }

    /// Installs packages into the system, without asking: the caller has.
    ///
    /// Another apt at work is waited for, not failed on.
    pub(crate) fn install(&self, packages: &[&str], task: &Task) -> Result<()> {
        let help = "if a source did not answer, run `apt-get update` and look at its errors";
        let mut install = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
        install.extend(packages);
        // First into our cache: this may be ended, dpkg's work may not.
        let fetch = [install.as_slice(), &["--download-only"]].concat();
        self.fetch(&fetch, task)?.ok_or_help(Some(help.into()))?;
        let mut command = self.command("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-o", "DPkg::Lock::Timeout=900"])
            .args(install);
        proc::run(command, task, None)?.ok_or_help(Some(help.into()))?;
        Ok(())
    }

    /// What the index knows about a package; empty if nothing.
    pub(crate) fn show(&self, name: &str) -> Result<Vec<Stanza>> {
        let mut command = self.command("apt-cache");
        command.args(["show", name]);
        match proc::output(command) {
            Ok(lines) => Ok(debian::stanzas(&lines)),
            // apt-cache's way of saying "no such package".
            Err(Error::Failed { .. }) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// Downloads packages into `dir` and gives back their files, in order.
    ///
    /// apt checks each hash; a file that is torn nevertheless (a full disk, a
    /// cut connection) is fetched once more.
    pub(crate) fn download(
        &self,
        packages: &[Package],
        dir: &Path,
        task: &Task,
    ) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
        let total = packages.iter().map(|p| p.size).sum();
        let mut again = false;
        loop {
            self.download_once(packages, dir, total, task)?;
            let files: Result<Vec<PathBuf>> =
                packages.iter().map(|package| whole(dir, package)).collect();
            match files {
                Err(Error::Damaged { path, why }) if !again => {
                    task.say(&format!("{}: {why}; fetching it again", path.display()));
                    // Of a file that was never there, nothing need be removed.
                    let _ = fs::remove_file(&path);
                    again = true;
                }
                other => return other,
            }
        }
    }

    fn download_once(
        &self,
        packages: &[Package],
        dir: &Path,
        total: u64,
        task: &Task,
    ) -> Result<()> {
        let mut command = self.command("apt-get");
        command.current_dir(dir).arg("download");
        command.args(packages.iter().map(|p| format!("{}={}", p.name, p.version)));
        let line = proc::show(&command);
        let job = Job::start(command)?;
        let mut lines = Vec::new();
        let (mut bytes, mut grew, mut silent) = (0, Instant::now(), false);
        loop {
            match job.next(Duration::from_millis(250)) {
                Said::Line(text) => lines.push(text),
                Said::Nothing if grew.elapsed() >= PATIENCE => {
                    silent = true;
                    job.interrupt();
                    break;
                }
                Said::Nothing => {}
                Said::End => break,
            }
            let now = bytes_in(dir);
            if now != bytes {
                (bytes, grew) = (now, Instant::now());
            }
            task.progress("bytes", bytes, total);
        }
        let status = job.wait()?;
        if silent {
            // The caller sees that files are missing, and tries once more.
            let left = format!("no byte came for {} s", PATIENCE.as_secs());
            task.say(&format!("{line}: {left}"));
            return Ok(());
        }
        Finished { status, lines, command: line, silent }.ok_or_help(Some(
            "is the network there? an old index also gives this: run the command again with --refresh".into(),
        ))?;
        Ok(())
    }
}

/// Removes all files of a folder.
fn empty(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let path = entry.map_err(Error::io("read", dir))?.path();
        if path.is_file() {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Copies the system's sources, dropping those that it has no more.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    empty(to)?;
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.map_err(Error::io("read", from))?.path();
        let source = path
            .extension()
            .is_some_and(|e| e == "list" || e == "sources");
        if let Some(name) = path.file_name().filter(|_| source) {
            fs::copy(&path, to.join(name)).map_err(Error::io("copy", &path))?;
        }
    }
    Ok(())
}

/// The file apt made for a package, if it is all there.
fn whole(dir: &Path, package: &Package) -> Result<PathBuf> {
    let prefix = format!("{}_", package.name);
    let mut found = None;
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found = Some(entry.path());
        }
    }
    let path = found.unwrap_or_else(|| dir.join(format!("{prefix}*.deb")));
    let size = fs::metadata(&path).map_or(0, |m| m.len());
    if size == package.size {
        Ok(path)
    } else {
        Err(Error::Damaged {
            path,
            why: format!("{size} bytes of {}", package.size),
        })
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|e| e.metadata().ok())
        .map(|m| m.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_download_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        let package = Package {
            name: "linux-x".into(),
            version: "1".into(),
            size: 10,
        };
        let missing = whole(dir.path(), &package)
            .expect_err("nothing there")
            .to_string();
        assert!(missing.contains("0 bytes of 10"), "{missing}");
        let file = dir.path().join("linux-x_1_amd64.deb");
        fs::write(&file, "12345").expect("writes");
        let torn = whole(dir.path(), &package).expect_err("torn").to_string();
        assert!(torn.contains("5 bytes of 10"), "{torn}");
        fs::write(&file, "1234567890").expect("writes");
        assert_eq!(whole(dir.path(), &package).expect("whole"), file);
    }
}
