//! The command as people meet it: what it prints, and what it says to bad input.

use std::path::Path;
use std::process::{Command, Output};

const SERIES: &str = include_str!("../examples/series.toml");

/// Runs `umbra` in a folder with `text` in the file `series.toml`.
fn umbra(text: &str, args: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("series.toml"), text).unwrap();
    umbra_in(folder.path(), args)
}

fn umbra_in(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_umbra"))
        .args(args)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    };
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// What `check` says to a file that it cannot take.
fn wrong(text: &str, code: i32) -> String {
    let (status, _, stderr) = umbra(text, &["check", "series.toml"]);
    assert_eq!(status, code, "{stderr}");
    stderr
}

#[test]
fn t8_check_prints_the_frozen_callbacks() {
    let (status, stdout, stderr) = umbra(SERIES, &["check", "series.toml"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    insta::assert_snapshot!(stdout);
}

#[test]
fn r63_matrix_has_every_ordered_pair() {
    let (status, stdout, _) = umbra(SERIES, &["matrix", "series.toml"]);
    assert_eq!(status, 0);
    insta::assert_snapshot!(stdout);
}

#[test]
fn r70_matrix_shows_refusals_as_answers() {
    let text = "[[patch]]\nname = \"A\"\nstate = [{ id = 1, block_disable = true }]\n\
                [[patch]]\nname = \"B\"\n";
    let (status, stdout, _) = umbra(text, &["matrix", "series.toml"]);
    assert_eq!(status, 0);
    insta::assert_snapshot!(stdout);
}

#[test]
fn t1_simulate_takes_a_failure_back_and_goes_on() {
    let args = [
        "simulate",
        "series.toml",
        "--fail",
        "P3.2.pre_patch",
        "--timeline",
        "t.svg",
    ];
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("series.toml"), SERIES).unwrap();
    let (status, stdout, stderr) = umbra_in(folder.path(), &args);
    assert_eq!((status, stderr.as_str()), (0, ""));
    insta::assert_snapshot!(stdout);
    let svg = std::fs::read_to_string(folder.path().join("t.svg")).unwrap();
    assert!(svg.contains("failed: -12"), "{svg}");
}

#[test]
fn t3_simulate_reverses_a_stalled_step() {
    let args = ["simulate", "series.toml", "--reverse-at", "4"];
    let (status, stdout, _) = umbra(SERIES, &args);
    assert_eq!(status, 0);
    insta::assert_snapshot!(stdout);
}

#[test]
fn t7_a_duplicate_id_is_shown_where_it_is() {
    insta::assert_snapshot!(wrong(
        "[[patch]]\nname = \"A\"\n\n[[patch.state]]\nid = 7\nname = \"knob\"\n\n\
         [[patch.state]]\nid = 7\nname = \"limit\"\n",
        1
    ));
}

#[test]
fn r4_names_that_disagree_are_shown_in_both_patches() {
    insta::assert_snapshot!(wrong(
        "[[patch]]\nname = \"A\"\nstate = [{ id = 42, name = \"x\" }]\n\n\
         [[patch]]\nname = \"B\"\nstate = [{ id = 42, name = \"y\" }]\n",
        1
    ));
}

#[test]
fn r69_a_blocked_disable_names_the_way_out() {
    insta::assert_snapshot!(wrong(
        "[[patch]]\nname = \"A\"\nstate = [{ id = 1, name = \"x\", block_disable = true }]\n\n\
         [[step]]\nenable = \"A\"\n\n[[step]]\ndisable = \"A\"\n",
        1
    ));
}

#[test]
fn bad_files_are_shown_at_the_place() {
    insta::assert_snapshot!(
        "unknown_key",
        wrong("[[patch]]\nname = \"A\"\nreplaces = true\n", 2)
    );
    insta::assert_snapshot!("not_toml", wrong("[[patch]]\nname = \"A\n", 2));
    insta::assert_snapshot!(
        "negative_id",
        wrong("[[patch]]\nname = \"A\"\nstate = [{ id = -1 }]\n", 2)
    );
    insta::assert_snapshot!(
        "unknown_callback",
        wrong(
            "[[patch]]\nname = \"A\"\nstate = [{ id = 1, callbacks = [\"post_load\"] }]\n",
            2
        )
    );
    insta::assert_snapshot!("empty_file", wrong("", 2));
    insta::assert_snapshot!(
        "unknown_patch",
        wrong("[[patch]]\nname = \"A\"\n\n[[step]]\nenable = \"B\"\n", 2)
    );
    insta::assert_snapshot!(
        "same_name",
        wrong("[[patch]]\nname = \"A\"\n\n[[patch]]\nname = \"A\"\n", 2)
    );
    insta::assert_snapshot!(
        "long_name",
        wrong(&format!("[[patch]]\nname = \"{}\"\n", "n".repeat(56)), 2)
    );
    insta::assert_snapshot!(
        "step_of_two_minds",
        wrong(
            "[[patch]]\nname = \"A\"\n\n[[step]]\nenable = \"A\"\ndisable = \"A\"\n",
            2
        )
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (status, _, stderr) = umbra("", &["check", "other.toml"]);
    assert_eq!(status, 2);
    insta::assert_snapshot!(stderr);
}

#[test]
fn options_that_fit_nothing_are_refused() {
    let simulate = |more: &[&str]| {
        let args = [&["simulate", "series.toml"], more].concat();
        let (status, _, stderr) = umbra(SERIES, &args);
        assert_eq!(status, 2);
        stderr
    };
    assert!(simulate(&["--reverse-at", "9"]).contains("numbered from 1 to 6"));
    assert!(simulate(&["--reverse-at", "0"]).contains("no step 0"));
    assert!(simulate(&["--fail", "9.pre_patch"]).contains("state 9 has no pre_patch"));
    assert!(simulate(&["--fail", "P1.2.pre_patch"]).contains("state 2 of patch P1"));
    assert!(simulate(&["--fail", "2.post_patch"]).contains("only pre_patch may refuse"));
    assert!(simulate(&["--fail", "x.pre_patch"]).contains("is no state id"));
    assert!(simulate(&["--fail", "nonsense"]).contains("expected STATE.pre_patch"));
    let unwritable = simulate(&["--timeline", "no/such/folder.svg"]);
    assert!(
        unwritable.contains("cannot write no/such/folder.svg"),
        "{unwritable}"
    );
}
