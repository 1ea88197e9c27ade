//! What the machine must have, and installing what it lacks.
//!
//! A need is met when the program or file is there, whoever put it there; the
//! package name only matters for installing. Only root installs, and only after
//! a yes; anyone else gets the exact command and nothing is changed.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt::Apt;
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::proc;
use crate::ui::{self, Task};

/// How one sees that a need is met.
#[derive(Debug, Clone, Copy)]
enum Sign {
    /// A program on the search path.
    Program(&'static str),
    /// One of these files.
    File(&'static [&'static str]),
    /// One of these files, and it needs no shared library.
    Static(&'static [&'static str]),
}

/// One Debian package and what it is for.
#[derive(Debug, Clone, Copy)]
struct Need {
    package: &'static str,
    why: &'static str,
    sign: Sign,
}

const fn need(package: &'static str, sign: Sign, why: &'static str) -> Need {
    Need { package, why, sign }
}

/// Where a static busybox may be, merged /usr or not.
pub(crate) const BUSYBOX: &[&str] = &["/bin/busybox", "/usr/bin/busybox"];

const NEEDS: &[Need] = &[
    need(
        "gcc",
        Sign::Program("gcc"),
        "compiles the kernel modules and links Rust programs",
    ),
    need(
        "libc6-dev",
        Sign::File(&["/usr/include/stdio.h"]),
        "links Rust programs",
    ),
    need(
        "binutils",
        Sign::Program("objcopy"),
        "links the Rust half of umbra.ko",
    ),
    need("make", Sign::Program("make"), "runs Kbuild"),
    need(
        "libelf1",
        Sign::File(&[
            "/usr/lib/x86_64-linux-gnu/libelf.so.1",
            "/lib/x86_64-linux-gnu/libelf.so.1",
        ]),
        "objtool, which checks the modules, is linked against it",
    ),
    need(
        "busybox-static",
        Sign::Static(BUSYBOX),
        "is the guest's user space",
    ),
    need(
        "xz-utils",
        Sign::Program("xz"),
        "unpacks the stock kernel's image, of 6.1",
    ),
    need(
        "zstd",
        Sign::Program("zstd"),
        "unpacks the stock kernel's image, of 6.12",
    ),
    need(
        "sparse",
        Sign::Program("sparse"),
        "checks the modules' types and contexts",
    ),
    need(
        "dkms",
        Sign::Program("dkms"),
        "builds the packaged module, as a user's machine would",
    ),
    need("cpio", Sign::Program("cpio"), "packs the guest's initramfs"),
];

const BENCH_NEEDS: &[Need] = &[
    need(
        "valgrind",
        Sign::Program("valgrind"),
        "counts instructions for the benchmarks",
    ),
    need(
        "libc6-dbg",
        Sign::File(&["/usr/share/doc/libc6-dbg/copyright"]),
        "valgrind must see the symbols of the dynamic loader",
    ),
    need(
        "liburcu-dev",
        Sign::File(&[
            "/usr/include/x86_64-linux-gnu/urcu/rculfhash.h",
            "/usr/include/urcu/rculfhash.h",
        ]),
        "has cds_lfht, which the table is compared with",
    ),
];

/// What the tests of umbra-perf's page need.
const BROWSER_NEEDS: &[Need] = &[
    need(
        "chromium",
        Sign::Program("chromium"),
        "shows the performance report to its tests",
    ),
    need(
        "fonts-dejavu-core",
        Sign::File(&["/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"]),
        "without a font the browser shows no text",
    ),
];

const IAI_RUNNER: &str = "iai-callgrind-runner";
const IAI_VERSION: &str = "0.16.1";

/// Where programs and files are looked for; tests give their own.
struct Machine {
    path: OsString,
    root: PathBuf,
}

impl Machine {
    fn this() -> Self {
        Self {
            path: std::env::var_os("PATH").unwrap_or_default(),
            root: PathBuf::from("/"),
        }
    }

    fn has_program(&self, name: &str) -> bool {
        std::env::split_paths(&self.path).any(|dir| {
            fs::metadata(dir.join(name))
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn meets(&self, need: &Need) -> bool {
        match need.sign {
            Sign::Program(name) => self.has_program(name),
            Sign::File(paths) => paths.iter().any(|p| self.file(p).exists()),
            Sign::Static(paths) => paths.iter().any(|p| is_static(&self.file(p))),
        }
    }

    fn missing(&self, needs: &[Need]) -> Vec<Need> {
        needs.iter().filter(|n| !self.meets(n)).copied().collect()
    }
}

/// Whether a file is an ELF program that names no dynamic loader.
pub(crate) fn is_static(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else {
        return false;
    };
    // The loader's name is in one of the first pages; a static busybox holds
    // such a name nowhere before its read-only data.
    let head = &bytes[..bytes.len().min(4096)];
    head.starts_with(b"\x7fELF") && !head.windows(8).any(|w| w == b"ld-linux")
}

/// What `setup` may do without asking, and for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Consent {
    /// `--yes`.
    pub(crate) yes: bool,
    /// Also what only benchmarks need.
    pub(crate) bench: bool,
}

/// Makes the machine ready, or says what it lacks.
pub(crate) fn ensure(paths: &Paths, consent: Consent) -> Result<()> {
    let machine = Machine::this();
    let mut needs = NEEDS.to_vec();
    if consent.bench {
        needs.extend(BENCH_NEEDS);
    }
    packages(paths, &machine, &needs, consent.yes)?;
    toolchain(&machine)?;
    if consent.bench {
        iai_runner(paths)?;
    }
    ui::note("✓ setup: everything needed is there");
    Ok(())
}

/// Makes it ready for the tests of umbra-perf, which count and look at pages.
pub(crate) fn ensure_perf(paths: &Paths, yes: bool) -> Result<()> {
    packages(paths, &Machine::this(), BROWSER_NEEDS, yes)?;
    ensure(paths, Consent { yes, bench: true })
}

/// The runner that [`Consent::bench`] installs, in our own folder.
pub(crate) fn runner(paths: &Paths) -> Result<PathBuf> {
    Ok(paths.dir("tools")?.join("bin").join(IAI_RUNNER))
}

/// Installs what is missing of these.
fn packages(paths: &Paths, machine: &Machine, needs: &[Need], yes: bool) -> Result<()> {
    let missing = machine.missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    install(paths, machine, &missing, yes)?;
    let left = machine.missing(&missing);
    if left.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = left.iter().map(|n| n.package).collect();
    Err(Error::Refused {
        what: format!(
            "apt installed {}, but what they are for is not there",
            names.join(" ")
        ),
        help: "is another package diverting it, or is the search path short? it must have /usr/bin"
            .into(),
    })
}

fn install(paths: &Paths, machine: &Machine, missing: &[Need], yes: bool) -> Result<()> {
    ui::note("missing Debian packages:");
    for need in missing {
        ui::note(&format!("  {:16} {}", need.package, need.why));
    }
    let packages: Vec<String> = missing.iter().map(|n| n.package.to_owned()).collect();
    if !machine.has_program("apt-get") {
        return Err(Error::Refused {
            what: format!(
                "no apt-get here, and these are missing: {}",
                packages.join(" ")
            ),
            help: "Umbra's kernel side is built on Debian 12; elsewhere install the like by hand"
                .into(),
        });
    }
    let root = nix::unistd::geteuid().is_root();
    let refused = || Error::Missing {
        packages: packages.clone(),
        command: command_line(&packages, root, machine.has_program("sudo")),
    };
    if !root || !(yes || ask("install them now?")) {
        return Err(refused());
    }
    let task = Task::new("packages");
    let apt = Apt::system(paths)?;
    apt.update(&task)?;
    let names: Vec<&str> = missing.iter().map(|n| n.package).collect();
    apt.install(&names, &task)?;
    task.done(&packages.join(" "));
    Ok(())
}

/// The command for someone else to type.
fn command_line(packages: &[String], root: bool, sudo: bool) -> String {
    let names = packages.join(" ");
    let install = format!("apt-get install --yes --no-install-recommends {names}");
    match (root, sudo) {
        (true, _) => format!("apt-get update && {install}"),
        (false, true) => format!("sudo apt-get update && sudo {install}"),
        (false, false) => format!("su -c 'apt-get update && {install}'"),
    }
}

/// Asks on the terminal; without one, or in CI, the answer is no.
fn ask(question: &str) -> bool {
    if std::env::var_os("CI").is_some() || !std::io::stdin().is_terminal() {
        ui::note("(not asking: no terminal; --yes installs them)");
        return false;
    }
    eprint!("{question} [y/N] ");
    // What matters is the answer; without a prompt it is still no by default.
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(_) => matches!(answer.trim(), "y" | "Y" | "yes"),
        Err(_) => false,
    }
}

/// One part of the Rust toolchain, by a file of the sysroot.
const PARTS: &[(&str, &[&str])] = &[
    (
        "lib/rustlib/src/rust/library/core",
        &["component", "add", "rust-src"],
    ),
    (
        "lib/rustlib/x86_64-unknown-none/lib",
        &["target", "add", "x86_64-unknown-none"],
    ),
    ("bin/cargo-fmt", &["component", "add", "rustfmt"]),
    ("bin/cargo-clippy", &["component", "add", "clippy"]),
];

/// The parts that rust-toolchain.toml names; rustup installs them with the
/// toolchain, unless it was told not to or the toolchain was there before.
fn toolchain(machine: &Machine) -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]);
    let sysroot = PathBuf::from(proc::output(rustc)?.pop().unwrap_or_default());
    let missing: Vec<_> = PARTS
        .iter()
        .filter(|(file, _)| !sysroot.join(file).exists())
        .collect();
    for (_, arguments) in missing {
        if !machine.has_program("rustup") {
            return Err(Error::Refused {
                what: format!("the Rust toolchain in {} lacks a part", sysroot.display()),
                help: format!(
                    "install rustup (https://rustup.rs) and run: rustup {}",
                    arguments.join(" ")
                ),
            });
        }
        let task = Task::new(&format!("rustup {}", arguments.join(" ")));
        let mut command = Command::new("rustup");
        command.args(*arguments);
        proc::run(command, &task, None)?.ok()?;
        task.done("");
    }
    Ok(())
}

/// The runner that the instruction benchmarks call, in our own folder.
fn iai_runner(paths: &Paths) -> Result<()> {
    let root = paths.dir("tools")?;
    let mut version = Command::new(runner(paths)?);
    version.arg("--version");
    if proc::output(version).is_ok_and(|v| v.iter().any(|l| l.contains(IAI_VERSION))) {
        return Ok(());
    }
    let task = Task::new(IAI_RUNNER);
    let mut command = Command::new("cargo");
    command.args([
        "install",
        "--locked",
        "--force",
        "--version",
        IAI_VERSION,
        IAI_RUNNER,
    ]);
    command
        .arg("--root")
        .arg(&root)
        .env("CARGO_TARGET_DIR", root.join("build"));
    proc::run(command, &task, Some(&paths.log("iai-runner")?))?.ok()?;
    task.done(&format!("{IAI_VERSION} in {}", crate::paths::short(&root)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(programs: &[&str], files: &[(&str, &[u8])]) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().expect("a folder");
        let bin = dir.path().join("path");
        fs::create_dir(&bin).expect("makes");
        for name in programs {
            fs::write(bin.join(name), "").expect("writes");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("sets");
        }
        for (path, content) in files {
            let path = dir.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("a parent")).expect("makes");
            fs::write(path, content).expect("writes");
        }
        let machine = Machine {
            path: bin.into_os_string(),
            root: dir.path().to_path_buf(),
        };
        (dir, machine)
    }

    fn missing(machine: &Machine) -> Vec<&'static str> {
        machine.missing(NEEDS).iter().map(|n| n.package).collect()
    }

    #[test]
    fn a_bare_machine_lacks_everything() {
        let (_dir, machine) = machine(&[], &[]);
        assert_eq!(missing(&machine).len(), NEEDS.len());
    }

    #[test]
    fn what_is_there_is_not_asked_for() {
        let (_dir, machine) = machine(
            &[
                "gcc", "objcopy", "make", "xz", "zstd", "cpio", "sparse", "dkms",
            ],
            &[
                ("/usr/include/stdio.h", b""),
                ("/usr/lib/x86_64-linux-gnu/libelf.so.1", b""),
                ("/bin/busybox", b"\x7fELF static"),
            ],
        );
        assert_eq!(missing(&machine), Vec::<&str>::new());
    }

    #[test]
    fn a_dynamic_busybox_or_a_plain_file_will_not_do() {
        let (dir, machine) = machine(
            &["make"],
            &[
                ("/bin/busybox", b"\x7fELF /lib64/ld-linux-x86-64.so.2"),
                ("/path/cpio", b""),
            ],
        );
        let lacks = missing(&machine);
        assert!(lacks.contains(&"busybox-static"), "{lacks:?}");
        assert!(
            lacks.contains(&"cpio"),
            "a file that cannot be executed: {lacks:?}"
        );
        assert!(!lacks.contains(&"make"), "{lacks:?}");
        drop(dir);
    }

    #[test]
    fn the_printed_command_can_be_pasted() {
        let packages = ["make".to_owned(), "cpio".to_owned()];
        assert_eq!(
            command_line(&packages, false, true),
            "sudo apt-get update && sudo apt-get install --yes --no-install-recommends make cpio"
        );
        assert_eq!(
            command_line(&packages, false, false),
            "su -c 'apt-get update && apt-get install --yes --no-install-recommends make cpio'"
        );
    }
}
