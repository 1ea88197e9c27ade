//! `cargo xtask bench`: the comparison with peers and bounds, as one
//! HTML file.
//!
//! ```text
//! part -> target/umbra/bench/report/PART-SOURCE.json --+
//! part -> ...                                          +-> report.html, report.json
//! kernel (the guest `bench`, in a virtual machine) ----+
//! ```
//! A part is written when it is done, whole, under the name of the source that
//! it measured ([`source`]), changes that are not committed among it. So a
//! run that was cut short goes on (`--resume`), a part is measured by itself (`--part`),
//! and figures of another source get in no report.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::deps::{self, Consent};
use crate::error::{Error, Result};
use crate::paths::{self, Paths};
use crate::proc;
use crate::protocol::Message;
use crate::source;
use crate::suite::cargo;
use crate::ui::{self, Task};
use crate::vm::{self, Machine};
use crate::{kernel, modules};

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Lookups and guards, one thread: 1k, 1M, 10M
    Lookups,
    /// Lookups and mixed work of two threads: 1M
    Threads,
    /// Growth, its pauses, and memory: 1M
    Growth,
    /// Freeing a quarter while somebody reads: 1M
    Freeing,
    /// Gates and plans of states
    States,
    /// Shared cache lines of each operation, under valgrind
    Lines,
    /// Hits and misses at 10k, 100k, 4M, 10M and 16M, dependent hits at 10M
    Sizes,
    /// Everything else at 1k, 10k and 100k
    Small,
    /// Everything else at 10M, few contestants
    Large,
    /// Memory at 100M, few contestants
    Memory,
    /// Instructions in a kernel
    Kernel,
}

/// What `compare` is asked for a part.
struct Asked {
    rows: &'static str,
    /// In full, and in a quick run: what takes long to fill is left out. Those of
    /// the targets, if `None`; not run, if empty.
    sizes: Option<[&'static str; 2]>,
    /// All, if empty.
    peers: &'static str,
}

impl Part {
    /// `None` for what no `compare` measures.
    fn asked(self) -> Option<Asked> {
        let (rows, sizes, peers) = match self {
            Self::Lookups => ("get-,dep-,scattered-,guard-", None, ""),
            Self::Threads => ("threads,mixed", None, ""),
            Self::Growth => ("grow,memory", None, ""),
            Self::Freeing => ("free-", None, ""),
            Self::States => ("gate,plan", None, ""),
            Self::Lines => ("lines-,meet-,hot-,cold-", None, ""),
            // A whole name is that row alone: the one in 2 MiB pages is in another part.
            Self::Sizes => (
                "get-hit,get-miss,get-dep-10m",
                Some(["10k,100k,4M,10M,16M", "10k,100k"]),
                "",
            ),
            Self::Small => (
                "get-dep,dep-,get-many,threads,mixed,grow,free-,memory,gate,plan",
                Some(["1k,10k,100k", "10k"]),
                "",
            ),
            Self::Large => (
                // No rows that only show whose a difference is: with mimalloc for all, with
                // a map of its own for what is freed.
                "get-many,threads-10m,mixed-5-10m,mixed-50-10m,grow-longest-10m,grow-total-10m,\
                 free-all,memory,gate,plan",
                Some(["10M", ""]),
                "papaya,papaya-sized,dashmap,scc-hashindex,bound-p64,bound-p64-2mib",
            ),
            Self::Memory => ("memory", Some(["100M", ""]), "papaya-sized,sharded-rwlock"),
            Self::Kernel => return None,
        };
        Some(Asked { rows, sizes, peers })
    }

    /// The files and folders that decide what comes out.
    fn source(self) -> &'static [&'static str] {
        match self {
            Self::Kernel => &[
                "shadow",
                "state",
                "kmod",
                "Cargo.lock",
                "Cargo.toml",
                "rust-toolchain.toml",
            ],
            // Not the whole of benches/: to commit the results would make them old.
            _ => &[
                "shadow",
                "state",
                "benches/src",
                "benches/c",
                "benches/build.rs",
                "benches/Cargo.toml",
                "Cargo.lock",
                "Cargo.toml",
                ".cargo",
                "rust-toolchain.toml",
            ],
        }
    }

    /// Whether a quick run has it.
    fn is_quick(self) -> bool {
        let sizes = self.asked().and_then(|asked| asked.sizes);
        sizes.is_none_or(|[_, quick]| !quick.is_empty())
    }

    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The arguments for `compare`; nothing for what it does not measure.
    fn arguments(self, quick: bool) -> Vec<&'static str> {
        let Some(asked) = self.asked() else {
            return Vec::new();
        };
        let mut arguments = vec!["--rows", asked.rows];
        if let Some(sizes) = asked.sizes {
            arguments.extend(["--sizes", sizes[usize::from(quick)]]);
        }
        if !asked.peers.is_empty() {
            arguments.extend(["--peers", asked.peers]);
        }
        if quick {
            arguments.push("--quick");
        }
        arguments
    }
}

/// What is to be done.
pub(crate) struct Wish {
    /// Install without asking.
    pub(crate) yes: bool,
    /// Fewer rounds, no large tables.
    pub(crate) quick: bool,
    /// Only these; all if empty.
    pub(crate) parts: Vec<Part>,
    /// Not what is there of this source.
    pub(crate) resume: bool,
}

/// The guest script, and the series of its kernel.
const GUEST: (&str, &str) = ("bench", "6.1");

/// Measures, and writes the page of all parts that there are.
pub(crate) fn run(paths: &Paths, wish: &Wish) -> Result<()> {
    deps::ensure(
        paths,
        Consent {
            yes: wish.yes,
            bench: true,
        },
    )?;
    let target = paths.dir("bench")?;
    let folder = paths.dir("bench/report")?;
    // Named before they are built: what is edited during the run is not in it.
    let commit = source::commit(paths.root())?;
    let mut ids = BTreeMap::new();
    for part in Part::value_variants() {
        ids.insert(part.name(), source::id(paths.root(), part.source())?);
    }
    let programs = build(paths, &target)?;
    let mut done = Vec::new();
    let mut missing = Vec::new();
    for &part in Part::value_variants() {
        if wish.quick && !part.is_quick() {
            continue;
        }
        let file = folder.join(file_name(part, &ids[&part.name()], wish.quick));
        let wanted = wish.parts.is_empty() || wish.parts.contains(&part);
        let there = file.exists();
        if wanted && !(wish.resume && there) {
            let kept = |_: &Error| {
                ui::note("the parts before this one are kept: --resume goes on here");
            };
            if part == Part::Kernel {
                figures(paths, &ids[&part.name()], &file).inspect_err(kept)?;
            } else {
                let mut compare = Command::new(programs.join("compare"));
                compare
                    .current_dir(paths.root())
                    .args(part.arguments(wish.quick))
                    .arg("--json")
                    .arg(&file)
                    // The tree may be at another one by now.
                    .env("UMBRA_BENCHES_COMMIT", &commit);
                step(paths, &part.name(), compare).inspect_err(kept)?;
            }
        } else if !there {
            missing.push(part.name());
            continue;
        } else {
            ui::note(&format!("measured before: {}", part.name()));
        }
        done.push((part, file));
    }
    if !missing.is_empty() {
        ui::note(&format!("not measured yet: {}", missing.join(", ")));
    }
    if done.iter().all(|(part, _)| *part == Part::Kernel) {
        ui::note("the page is made when another part is measured too");
        return Ok(());
    }
    let page = target.join("report.html");
    let all = target.join("report.json");
    let mut report = Command::new(programs.join("report"));
    report.arg("--html").arg(&page).arg("--json").arg(&all);
    for (part, file) in &done {
        if *part == Part::Kernel {
            report.arg("--guest");
        }
        report.arg(file);
    }
    step(paths, "the page", report)?;
    ui::note(&format!("the report: {}", paths::short(&page)));
    ui::note(&format!("its figures: {}", paths::short(&all)));
    Ok(())
}

/// Builds what measures, once: all parts are of one source, whatever is edited
/// meanwhile. The folder of the programs.
fn build(paths: &Paths, target: &Path) -> Result<PathBuf> {
    let mut build = cargo(paths.root(), &["build", "--quiet", "--release", "--bins"]);
    build
        .args(["--package", "umbra-benches", "--features", "lfht"])
        .env("CARGO_TARGET_DIR", target);
    step(paths, "building the comparison", build)?;
    Ok(target.join("release"))
}

/// The file of a part of such a source.
fn file_name(part: Part, source: &str, quick: bool) -> String {
    let quick = if quick { "-quick" } else { "" };
    format!("{}-{source}{quick}.json", part.name())
}

/// Counts instructions in a kernel, and writes the figures as a list.
fn figures(paths: &Paths, source: &str, file: &Path) -> Result<()> {
    let kernel = kernel::get(paths, GUEST.1, false)?;
    let modules = modules::build(paths, &kernel)?;
    // Other parts were built an hour ago, these modules only now.
    if source::id(paths.root(), Part::Kernel.source())? != source {
        return Err(Error::Refused {
            what: "the modules' source was edited during the run".into(),
            help: "measure it by itself: cargo xtask bench --part kernel".into(),
        });
    }
    let run = vm::boot(paths, &kernel, &modules, &Machine::usual(GUEST.0))?;
    run.verdict(GUEST.0)?;
    let figure = |m: &&Message| matches!(m, Message::Figure { .. });
    let figures: Vec<_> = run.outcome.messages.iter().filter(figure).collect();
    let text = serde_json::to_string_pretty(&figures).unwrap_or_default();
    // A file that exists is one that is whole.
    let begun = file.with_extension("begun");
    fs::write(&begun, text).map_err(Error::io("write", &begun))?;
    fs::rename(&begun, file).map_err(Error::io("write", file))
}

fn step(paths: &Paths, what: &str, command: Command) -> Result<()> {
    let task = Task::new(what);
    proc::run(command, &task, Some(&paths.log("bench-report")?))?.ok()?;
    task.done("");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_has_no_part_without_sizes_and_every_other() {
        let left_out: Vec<_> = Part::value_variants()
            .iter()
            .filter(|part| !part.is_quick())
            .collect();
        assert_eq!(left_out, [&Part::Large, &Part::Memory]);
        for part in Part::value_variants().iter().filter(|part| part.is_quick()) {
            let arguments = part.arguments(true);
            assert!(arguments.iter().all(|word| !word.is_empty()), "{part:?}");
        }
        for part in Part::value_variants() {
            let arguments = part.arguments(false);
            let whole = |word: &&str| !word.is_empty() && !word.contains(char::is_whitespace);
            assert!(arguments.iter().all(whole), "{part:?}: {arguments:?}");
        }
    }

    #[test]
    fn whatever_decides_about_a_figure_is_in_the_parts_name() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let source = Part::Lookups.source();
        // What is measured otherwise, or is made of the figures.
        let others = [
            "README.md",
            "callgrind",
            "criterion",
            "results",
            "templates",
            "tests",
        ];
        for file in fs::read_dir(root.join("benches")).expect("the folder") {
            let name = file.expect("a name").file_name();
            let name = name.to_str().expect("a name in ASCII");
            let path = format!("benches/{name}");
            assert!(
                source.contains(&&*path) || others.contains(&name),
                "{path} is in no part's name: what is it?"
            );
        }
        for part in Part::value_variants() {
            for path in part.source() {
                assert!(root.join(path).exists(), "{path}");
            }
            for path in [
                "shadow",
                "state",
                "Cargo.lock",
                "Cargo.toml",
                "rust-toolchain.toml",
            ] {
                assert!(part.source().contains(&path), "{part:?}: {path}");
            }
        }
        assert!(Part::Kernel.source().contains(&"kmod"));
    }

    #[test]
    fn every_row_of_the_comparison_is_in_the_part_of_its_targets() {
        // The first words of the names that `compare --list` prints.
        let rows = [
            "get-hit-1k",
            "get-dep-10m-2mib",
            "get-miss-1m",
            "dep-miss-1m",
            "scattered-hit-1m",
            "get-many-1m",
            "guard-call-1k",
            "guard-session-1k",
            "threads-1m",
            "threads-miss-1m",
            "grow-longest-1m",
            "grow-total-1m",
            "mixed-5-1m",
            "mixed-50-1m",
            "free-all-reader-1m",
            "free-map-reader-1m",
            "memory-1m",
            "gate-held-1k",
            "plan-1k",
            "lines-hit-10k",
            "meet-hit-10k",
            "hot-hit-10k",
            "cold-hit-10k",
        ];
        for row in rows {
            let parts = Part::value_variants().iter().filter(|part| {
                let asked = part.asked().filter(|asked| asked.sizes.is_none());
                asked.is_some_and(|asked| asked.rows.split(',').any(|name| row.starts_with(name)))
            });
            assert_eq!(parts.count(), 1, "{row}");
        }
    }
}
