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
    assert!(simulate(&["--force-at", "7"]).contains("there is no step 7 to force"));
    assert!(simulate(&["--rules", "linux"]).contains("possible values: umbra, v1, mainline"));
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

#[test]
fn a_timeline_is_drawn_up_to_a_refusal_and_never_over_the_series() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("series.toml");
    let refused = "[[patch]]\nname = \"A\"\nstate = [{ id = 1 }]\n\
                   [[step]]\nenable = \"A\"\n[[step]]\nenable = \"A\"\n";
    std::fs::write(&file, refused).unwrap();
    let simulate = |to| {
        umbra_in(
            folder.path(),
            &["simulate", "series.toml", "--timeline", to],
        )
    };
    let (status, _, stderr) = simulate("t.svg");
    assert_eq!(status, 1, "{stderr}");
    let svg = std::fs::read_to_string(folder.path().join("t.svg")).unwrap();
    assert!(svg.contains("1. enable A"), "{svg}");
    let (status, _, stderr) = simulate("./series.toml");
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains("it is the series itself"), "{stderr}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), refused);
}

/// A{1} gives way to B{1,2}, and that is disabled.
const FORCED: &str = "[[patch]]\nname = \"A\"\nstate = [{ id = 1, is_shadow = true, attach = 3 }]\n\
     [[patch]]\nname = \"B\"\nreplace = true\nstate = [{ id = 1, is_shadow = true }, { id = 2 }]\n\
     [[step]]\nenable = \"A\"\n[[step]]\nenable = \"B\"\n[[step]]\ndisable = \"B\"\n";

#[test]
fn d8_r92_simulate_forces_a_step_and_frees_nothing_under_its_task() {
    let args = ["simulate", "series.toml", "--force-at", "2"];
    let (status, stdout, stderr) = umbra(FORCED, &args);
    assert_eq!((status, stderr.as_str()), (0, ""));
    insta::assert_snapshot!("forced", stdout);
    // The same back: B is pinned, A stays.
    let args = [&args[..], &["--reverse-at", "2"]].concat();
    let back = FORCED.replace("[[step]]\ndisable = \"B\"\n", "[[step]]\ndisable = \"A\"\n");
    let (status, stdout, stderr) = umbra(&back, &args);
    assert_eq!((status, stderr.as_str()), (0, ""));
    insta::assert_snapshot!("forced_back", stdout);
}

#[test]
fn d8_simulate_shows_what_the_rules_that_exist_do_under_a_task() {
    for (rules, shown) in [("v1", 1), ("mainline", 1)] {
        let text = FORCED.replace("disable = \"B\"", "disable = \"A\"");
        let text = text.replace("[[step]]\nenable = \"B\"\n", "");
        let args = [
            "simulate",
            "series.toml",
            "--rules",
            rules,
            "--force-at",
            "2",
        ];
        let (status, stdout, stderr) = umbra(&text, &args);
        assert_eq!((status, stderr.as_str()), (0, ""), "{rules}");
        let early = stdout.matches("freed while a task uses it").count();
        assert_eq!(early, shown, "{rules}: {stdout}");
        let (status, stdout, _) = umbra(&text, &["simulate", "series.toml", "--force-at", "2"]);
        assert_eq!((status, stdout.contains("freed while")), (0, false));
    }
}

#[test]
fn d1_check_and_simulate_go_by_other_rules_if_asked() {
    let text = "[[patch]]\nname = \"A\"\nstate = [{ id = 1, is_shadow = true }]\n\
                [[patch]]\nname = \"B\"\nstate = [{ id = 1, is_shadow = true }]\n\
                [[patch]]\nname = \"C\"\nreplace = true\n";
    let check = |rules: &str| umbra(text, &["check", "series.toml", "--rules", rules]);
    assert!(check("umbra").1.contains("3. enable C (replace): ends 1"));
    assert!(
        check("v1")
            .1
            .contains("3. enable C (replace): no state changes")
    );
    let (status, _, stderr) = check("mainline");
    assert_eq!(status, 1);
    assert!(stderr.contains("does not have its state 1"), "{stderr}");
    let simulate = |rules: &str| umbra(text, &["simulate", "series.toml", "--rules", rules]);
    assert!(simulate("umbra").1.ends_with("state 1: 0 users, 0 shadows"));
    assert!(
        simulate("v1")
            .1
            .ends_with("state 1: 0 users, 1 shadow (LEAK)")
    );
    assert_eq!(check("linux").0, 2);
}

#[test]
fn r93_check_shows_the_callbacks_of_mainline_s_objects() {
    let text = "[[patch]]\nname = \"A\"\nstate = [{ id = 7, version = 1 }]\n\
                [[patch]]\nname = \"B\"\nreplace = true\nstate = [{ id = 7, version = 1 }]\n";
    let (status, stdout, _) = umbra(text, &["check", "series.toml", "--rules", "mainline"]);
    assert_eq!(status, 0);
    insta::assert_snapshot!(stdout);
}

#[test]
fn r49_shadows_that_belong_to_no_state_are_no_leak() {
    let text = "[[patch]]\nname = \"A\"\nstate = [{ id = 1, attach = 2 }]\n\
                [[step]]\nenable = \"A\"\n[[step]]\ndisable = \"A\"\n";
    let (status, stdout, stderr) = umbra(text, &["simulate", "series.toml"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.ends_with("state 1: 0 users, 2 shadows"), "{stdout}");
}

#[test]
fn matrix_shows_a_patch_that_could_not_be_enabled_at_all() {
    let text = "[[patch]]\nname = \"A\"\nstate = [{ id = 1 }, { id = 1 }]\n\
                [[patch]]\nname = \"B\"\n";
    let (status, stdout, _) = umbra(text, &["matrix", "series.toml"]);
    assert_eq!(status, 0);
    insta::assert_snapshot!(stdout);
}

#[test]
fn what_is_too_much_or_cannot_be_shown_is_refused_where_it_stands() {
    insta::assert_snapshot!(
        "attach_too_many",
        wrong(
            "[[patch]]\nname = \"A\"\nstate = [{ id = 1, attach = 1000001 }]\n",
            2
        )
    );
    for hidden in [
        "\\u001b[2J",
        "\\uFFFE",
        "\\u0085",
        "\\n",
        "\\U0001FFFF",
        "\\uFDD0",
    ] {
        let of_patch = format!("[[patch]]\nname = \"A{hidden}\"\n");
        assert!(wrong(&of_patch, 2).contains("cannot be shown"), "{hidden}");
        let of_state =
            format!("[[patch]]\nname = \"A\"\nstate = [{{ id = 1, name = \"{hidden}\" }}]\n");
        assert!(wrong(&of_state, 2).contains("cannot be shown"), "{hidden}");
        let of_hook = format!(
            "[[patch]]\nname = \"A\"\nstate = [{{ id = 1 }}]\n\
             hooks = [{{ function = \"{hidden}\", state = 1 }}]\n"
        );
        assert!(wrong(&of_hook, 2).contains("cannot be shown"), "{hidden}");
    }
}

#[test]
fn a_series_of_1500_patches_is_checked_to_its_end() {
    let mut text = String::new();
    for patch in 0..1500 {
        text += &format!(
            "[[patch]]\nname = \"P{patch}\"\nstate = [{{ id = {} }}]\n",
            patch + 1
        );
    }
    let (status, stdout, _) = umbra(&text, &["check", "series.toml"]);
    assert_eq!(status, 0);
    assert!(stdout.contains("1500. enable P1499: begins 1500"));
}

#[test]
fn check_prints_its_warnings_also_when_a_step_is_refused() {
    let text = "[[patch]]\nname = \"A\"\nexit_frees = [1]\nstate = [{ id = 1, is_shadow = true }]\n\
                [[patch]]\nname = \"B\"\nstate = [{ id = 1, shadow_size = 8 }]\n";
    let (status, stdout, stderr) = umbra(text, &["check", "series.toml"]);
    assert_eq!(status, 1, "{stdout}");
    assert!(stderr.contains("is_shadow is false in patch B"), "{stderr}");
    assert!(stdout.contains("\nwarning (blind-free): A:"), "{stdout}");
    assert!(
        stdout.contains("\nwarning (disagreement): step 2:")
            || stdout.contains("\nwarning (not-replacing): step 2:"),
        "also of the step that is refused: {stdout}"
    );
}

#[test]
fn simulate_says_by_force_only_of_what_was_forced() {
    let force = ["simulate", "series.toml", "--force-at", "3"];
    let failed = [&force[..], &["--fail", "P3.2.pre_patch"]].concat();
    let (status, stdout, stderr) = umbra(SERIES, &failed);
    assert_eq!(status, 0, "{stderr}");
    assert!(
        stdout.contains("taken back: pre_patch of state 2 (open_counts)"),
        "{stdout}"
    );
    let unnamed = SERIES.replace("name = \"open_counts\"\n", "");
    let (_, other, _) = umbra(&unnamed, &failed);
    assert!(
        other.contains("taken back: pre_patch of state 2 of patch P3"),
        "{other}"
    );
    assert!(!stdout.contains("by force"), "{stdout}");
    let back = [&force[..], &["--reverse-at", "3"]].concat();
    let (_, stdout, _) = umbra(SERIES, &back);
    assert!(stdout.contains("taken back by force"), "{stdout}");
}

#[test]
fn an_empty_patch_name_is_shown_where_it_is() {
    let text = wrong("[[patch]]\nname = \"\"\n", 2);
    assert!(text.contains("the name of a patch is empty"), "{text}");
    assert!(text.contains("series.toml:2:8"), "{text}");
    assert!(text.contains("give it a name"), "{text}");
}

#[test]
fn check_help_lists_the_keys_of_a_file_that_is_understood() {
    let (status, help, _) = umbra("", &["check", "--help"]);
    assert_eq!(status, 0);
    let keys = include_str!("../src/keys.toml");
    assert!(help.contains(keys.trim_end()), "{help}");
    let (status, _, stderr) = umbra(keys, &["check", "series.toml"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
}

#[test]
fn sets_that_overlap_and_descriptors_that_differ_are_shown_in_both_patches() {
    let sets = "[[patch]]\nname = \"A\"\nreplace_set = 1\nstate = [{ id = 1 }]\n\
                [[patch]]\nname = \"B\"\nreplace_set = 2\nstate = [{ id = 1 }]\n";
    let text = wrong(sets, 1);
    assert!(text.contains("is of another set here"), "{text}");
    assert!(text.contains("this state"), "{text}");
    let sizes = "[[patch]]\nname = \"A\"\nstate = [{ id = 1, shadow_size = 8 }]\n\
                 [[patch]]\nname = \"B\"\nstate = [{ id = 1, shadow_size = 16 }]\n";
    let (status, _, text) = umbra(sizes, &["check", "--strict", "series.toml"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("does not agree with this one"), "{text}");
    assert!(text.contains("this state"), "{text}");
}
