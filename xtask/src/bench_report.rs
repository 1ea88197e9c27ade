//! `cargo xtask bench --report`: the comparison with peers and bounds, as one
//! HTML file.
//!
//! | measured | by |
//! |---|---|
//! | every row of the table of speeds | `compare` |
//! | lookups at sizes between and beyond them | `compare --sizes` |
//! | memory at 100M entries, not in a quick run | `compare --sizes`, few contestants |
//! | instructions in a kernel | the guest `bench`, in a virtual machine |
//!
//! All of it becomes one page.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::deps::{self, Consent};
use crate::error::{Error, Result};
use crate::paths::{self, Paths};
use crate::proc;
use crate::protocol::Message;
use crate::suite::cargo;
use crate::ui::{self, Task};
use crate::vm::{self, Machine};
use crate::{kernel, modules};

/// A run of `compare` beside the one over the whole table.
struct Sweep {
    what: &'static str,
    file: &'static str,
    rows: &'static str,
    /// In full, and in a quick run: what takes long to fill is left out.
    sizes: [&'static str; 2],
    /// All, if empty.
    peers: &'static str,
}

const SWEEPS: [Sweep; 2] = [
    Sweep {
        what: "lookups at other sizes",
        file: "sizes.json",
        rows: "get-hit,get-miss",
        sizes: ["10k,100k,4M,10M,16M", "10k,100k"],
        peers: "",
    },
    Sweep {
        what: "memory at 100M entries",
        file: "memory.json",
        rows: "memory",
        sizes: ["100M", ""],
        peers: "papaya-sized,sharded-rwlock",
    },
];

/// The guest script, and the series of its kernel.
const GUEST: (&str, &str) = ("bench", "6.1");

/// Measures, and writes the page.
pub(crate) fn run(paths: &Paths, yes: bool, quick: bool) -> Result<()> {
    deps::ensure(paths, Consent { yes, bench: true })?;
    let target = paths.dir("bench")?;
    let bin = |name: &str| {
        let mut command = cargo(paths.root(), &["run", "--quiet", "--release"]);
        command
            .args(["--package", "umbra-benches", "--features", "lfht"])
            .args(["--bin", name, "--"])
            .env("CARGO_TARGET_DIR", &target);
        command
    };
    let measure = |what: &str, arguments: &[&str], json: &Path| {
        let mut compare = bin("compare");
        compare.args(arguments).arg("--json").arg(json);
        if quick {
            compare.arg("--quick");
        }
        step(paths, what, compare)
    };
    let rows = target.join("rows.json");
    measure("every row of the table of speeds", &[], &rows)?;
    let mut runs = Vec::new();
    for sweep in &SWEEPS {
        let sizes = sweep.sizes[usize::from(quick)];
        if sizes.is_empty() {
            continue;
        }
        let json = target.join(sweep.file);
        let mut arguments = vec!["--rows", sweep.rows, "--sizes", sizes];
        if !sweep.peers.is_empty() {
            arguments.extend(["--peers", sweep.peers]);
        }
        measure(sweep.what, &arguments, &json)?;
        runs.push(json);
    }
    // Of a row in several, the last one's counts.
    runs.push(rows);
    let guest = target.join("guest.json");
    figures(paths, &guest)?;

    let page = target.join("report.html");
    let mut report = bin("report");
    report.arg("--html").arg(&page);
    report.arg("--guest").arg(&guest).args(&runs);
    step(paths, "the page", report)?;
    ui::note(&format!("the report: {}", paths::short(&page)));
    Ok(())
}

/// Counts instructions in a kernel, and writes the figures as a list.
fn figures(paths: &Paths, file: &Path) -> Result<()> {
    let kernel = kernel::get(paths, GUEST.1, false)?;
    let modules = modules::build(paths, &kernel)?;
    let run = vm::boot(paths, &kernel, &modules, &Machine::usual(GUEST.0))?;
    run.verdict(GUEST.0)?;
    let figure = |m: &&Message| matches!(m, Message::Figure { .. });
    let figures: Vec<_> = run.outcome.messages.iter().filter(figure).collect();
    let text = serde_json::to_string_pretty(&figures).unwrap_or_default();
    fs::write(file, text).map_err(Error::io("write", file))
}

fn step(paths: &Paths, what: &str, command: Command) -> Result<()> {
    let task = Task::new(what);
    proc::run(command, &task, Some(&paths.log("bench-report")?))?.ok()?;
    task.done("");
    Ok(())
}
