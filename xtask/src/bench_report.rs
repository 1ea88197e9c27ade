//! `cargo xtask bench --report`: the comparison with peers and bounds, as one
//! HTML file.
//!
//! Rows of the table of speeds first, then the cost of lookups at sizes between
//! and beyond them; both runs become one page.

use std::path::Path;
use std::process::Command;

use crate::deps::{self, Consent};
use crate::error::Result;
use crate::paths::{self, Paths};
use crate::proc;
use crate::suite::cargo;
use crate::ui::{self, Task};

/// Rows that are measured at other sizes than their targets', as `--rows` takes
/// them, and those sizes. A quick run leaves out what takes long to fill.
const ROWS: &str = "get-hit,get-miss";
const SIZES: &str = "10k,100k,4M,16M";
const QUICK_SIZES: &str = "10k,100k";

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
    let (rows, sizes) = (target.join("rows.json"), target.join("sizes.json"));
    measure("every row of the table of speeds", &[], &rows)?;
    let at = if quick { QUICK_SIZES } else { SIZES };
    let sweep = ["--rows", ROWS, "--sizes", at];
    measure("lookups at other sizes", &sweep, &sizes)?;

    let page = target.join("report.html");
    let mut report = bin("report");
    report.arg("--html").arg(&page).args([&sizes, &rows]);
    step(paths, "the page", report)?;
    ui::note(&format!("the report: {}", paths::short(&page)));
    Ok(())
}

fn step(paths: &Paths, what: &str, command: Command) -> Result<()> {
    let task = Task::new(what);
    proc::run(command, &task, Some(&paths.log("bench-report")?))?.ok()?;
    task.done("");
    Ok(())
}
