//! Turns comparisons into a page and into BENCHMARKS.md's tables.
//!
//! ```text
//! cargo run -p umbra-benches --bin report -- --html report.html run.json sizes.json
//! cargo run -p umbra-benches --bin report -- --markdown BENCHMARKS.md benches/results/comparison.json
//! ```

use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use umbra_benches::compare::model::Report;
use umbra_benches::file;
use umbra_benches::report::{guest, markdown, merge, page};

/// Makes an HTML page, or the tables of a Markdown file, from comparisons
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Write the page here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Replace the tables between the marks of this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write all rows as one comparison here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also the figures that a kernel in a virtual machine said, as
    /// `cargo xtask bench` writes them
    #[arg(long, value_name = "FILE")]
    guest: Option<PathBuf>,
    /// What `compare --json` wrote, all on one machine; of a row in several, the last
    /// one's counts
    #[arg(required = true, value_name = "JSON")]
    runs: Vec<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::from(2)
        }
    }
}

fn at<E: std::fmt::Display>(file: &Path) -> impl Fn(E) -> String {
    move |error| format!("{}: {error}", file.display())
}

fn run(cli: &Cli) -> Result<(), String> {
    let mut runs = Vec::new();
    for path in &cli.runs {
        let text = fs::read_to_string(path).map_err(at(path))?;
        let report: Report = serde_json::from_str(&text).map_err(at(path))?;
        runs.push((path.display().to_string(), report));
    }
    let mut report = merge(runs).map_err(|e| e.to_string())?;
    if let Some(path) = &cli.guest {
        let text = fs::read_to_string(path).map_err(at(path))?;
        let said: Vec<guest::Said> = serde_json::from_str(&text).map_err(at(path))?;
        let rows = guest::rows(&said).map_err(at(path))?;
        report
            .rows
            .retain(|old| rows.iter().all(|new| new.id != old.id));
        report.rows.extend(rows);
    }
    if let Some(path) = &cli.html {
        let page = page::html(&report).map_err(|e| e.to_string())?;
        file::replace(path, &page).map_err(at(path))?;
    }
    if let Some(path) = &cli.markdown {
        let text = fs::read_to_string(path).map_err(at(path))?;
        let text = markdown::replace(&text, &report).map_err(at(path))?;
        file::replace(path, &text).map_err(at(path))?;
    }
    if let Some(path) = &cli.json {
        let json = serde_json::to_string_pretty(&report).map_err(at(path))?;
        file::replace(path, &(json + "\n")).map_err(at(path))?;
    }
    Ok(())
}
