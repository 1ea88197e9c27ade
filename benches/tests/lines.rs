//! A lookup writes no line that another thread needs: counted in a trace of all
//! that runs, in which a lock's line is seen.

use std::process::Command;
use umbra_benches::compare::model::Report;

#[test]
fn g1_lookups_write_no_shared_line_and_writes_write_few() {
    let json = tempfile::NamedTempFile::new().expect("a file");
    let status = Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(["--rows", "lines", "--peers", "sharded-rwlock", "--json"])
        .arg(json.path())
        .status();
    assert!(status.expect("compare").success());
    let text = std::fs::read_to_string(json.path()).expect("the comparison");
    let report: Report = serde_json::from_str(&text).expect("a comparison");
    let figure = |id: &str, peer: &str| {
        let row = report.rows.iter().find(|r| r.id.starts_with(id));
        let row = row.unwrap_or_else(|| panic!("{id} was not counted: is valgrind there?"));
        let figure = row.figures.iter().find(|f| f.peer == peer);
        figure.expect("a figure").spread.median
    };
    for lookup in ["lines-hit", "lines-miss", "lines-many"] {
        assert_eq!(figure(lookup, "umbra"), 0.0, "{lookup}");
        assert!(figure(lookup, "sharded-rwlock") >= 1.0, "{lookup}: no lock");
    }
    // A thread's own epoch is not shared, but others read it when they collect,
    // which is once in 128 guards.
    for guarded in ["lines-session", "lines-guard"] {
        assert!(figure(guarded, "umbra") < 0.1, "{guarded}");
    }
    for (write, most) in [
        ("lines-alloc", 5.5),
        ("lines-free-", 5.5),
        ("lines-free-all", 10.0),
    ] {
        let lines = figure(write, "umbra");
        assert!((1.0..=most).contains(&lines), "{write}: {lines}");
    }
}
