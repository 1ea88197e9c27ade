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

#[test]
fn rows_with_mimalloc_for_all_are_of_a_process_that_has_nothing_else() {
    let json = tempfile::NamedTempFile::new().expect("a file");
    let compare = |rows: &str| {
        let mut compare = Command::new(env!("CARGO_BIN_EXE_compare"));
        compare.args(["--rows", rows, "--sizes", "1k", "--quick"]);
        compare.args(["--peers", "dashmap,bound-p64", "--json"]);
        compare.arg(json.path());
        compare
    };
    let rows = "grow-total-1k-mimalloc,mixed-5-1k-mimalloc,grow-total-1k";
    assert!(compare(rows).status().expect("compare").success());
    let text = std::fs::read_to_string(json.path()).expect("a file");
    let report: Report = serde_json::from_str(&text).expect("a comparison");
    let mut found: Vec<_> = report.rows.iter().map(|r| (&*r.id, r.mimalloc)).collect();
    found.sort_unstable();
    let expected = [
        ("grow-total-1k", false),
        ("grow-total-1k-mimalloc", true),
        ("mixed-5-1k-mimalloc", true),
    ];
    assert_eq!(found, expected);
    for row in &report.rows {
        let names: Vec<_> = row.figures.iter().map(|f| &*f.peer).collect();
        assert_eq!(names, ["umbra", "dashmap"], "{}", row.id);
    }

    // One that has it, and is not to, measures nothing.
    let output = compare("grow-total-1k")
        .env("UMBRA_BENCHES_MIMALLOC", "1")
        .output()
        .expect("compare");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is UMBRA_BENCHES_MIMALLOC set?"), "{said}");
}
