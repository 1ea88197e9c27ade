//! The program `compare` from outside.

use std::process::Command;
use umbra_benches::compare::model::Report;

/// A run that is over in moments.
const SHORT: [&str; 7] = [
    "--rows",
    "get-hit-1k-2mib",
    "--sizes",
    "1k",
    "--peers",
    "papaya",
    "--quick",
];

#[test]
fn a_link_that_waits_under_a_guessed_name_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("victim"), "precious").expect("a file");
    std::fs::create_dir(at("tmp")).expect("a folder");
    // `exec` keeps the number of the process, so the name can be guessed for sure.
    let script = r#"ln -s ../victim "$TMPDIR/compare-$$.json"; exec "$0" "$@""#;
    let status = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_compare")])
        .args(SHORT)
        .arg("--json")
        .arg(at("all.json"))
        .env("TMPDIR", at("tmp"))
        .status();
    assert!(status.expect("compare").success());
    let read = |name: &str| std::fs::read_to_string(at(name)).expect("a file");
    assert_eq!(read("victim"), "precious");
    let report: Report = serde_json::from_str(&read("all.json")).expect("a comparison");
    assert!(report.rows.iter().any(|row| row.huge_pages), "no such row");
    let left: Vec<_> = std::fs::read_dir(at("tmp")).expect("it").collect();
    assert_eq!(left.len(), 1, "only the link is left: {left:?}");
}
