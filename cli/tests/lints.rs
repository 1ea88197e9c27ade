//! The comparison of the rules, and what `check` warns of.

use std::process::Command;

fn umbra(text: &str, args: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("series.toml"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_umbra"))
        .args(args)
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), text.concat())
}

/// The warnings of a series that is not refused.
fn warnings(text: &str) -> Vec<String> {
    let (status, text) = umbra(text, &["check", "series.toml"]);
    assert_eq!(status, 0, "{text}");
    let lines = text.lines().filter(|line| line.starts_with("warning"));
    lines.map(str::to_owned).collect()
}

#[test]
fn t1_t2_t3_t4_t5_t6_t7_t8_d1_d4_d5_d6_d7_d8_in_one_table() {
    let (status, text) = umbra("", &["compare"]);
    assert_eq!(status, 0);
    insta::assert_snapshot!(text);
}

#[test]
fn a_file_is_compared_under_all_rules() {
    let series = include_str!("../examples/series.toml");
    let (status, text) = umbra(series, &["compare", "series.toml"]);
    assert_eq!(status, 0);
    insta::assert_snapshot!(text);
}

const TWO: &str = "[[patch]]\nname = \"A\"\nhooks = [{ function = \"f\", state = 1 }]\n\
                   state = [{ id = 1, name = \"x\" }, { id = 2, name = \"y\" }]\n";

#[test]
fn r48_shadows_without_code_that_can_use_them_are_warned_of() {
    let series = "[[patch]]\nname = \"A\"\nhooks = [{ function = \"f\", state = 1 }]\n\
                  state = [{ id = 1, is_shadow = true }, { id = 2, is_shadow = true }]\n";
    let found = warnings(series);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("warning (unused-shadow): A: no hook is decided by state 2"));
}

#[test]
fn r76_cumulative_and_replacing_are_told_apart() {
    let replaces = format!(
        "{TWO}[[patch]]\nname = \"B\"\nreplace = true\n\
                            hooks = [{{ function = \"f\", state = 1 }}]\n\
                            state = [{{ id = 1, name = \"x\" }}]\n"
    );
    let found = warnings(&replaces);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("(not-cumulative): step 2: B replaces A and is not cumulative"));
    assert!(found[0].ends_with("state 2, which ends"));
    let set = replaces.replace("replace = true", "replace_set = 1");
    let set = set.replacen("name = \"A\"", "name = \"A\"\nreplace_set = 1", 1);
    assert!(warnings(&set)[0].ends_with("state 2, which ends unless another patch has it"));
    let cumulative = "[[patch]]\nname = \"A\"\nstate = [{ id = 1 }]\n\
                      [[patch]]\nname = \"B\"\nstate = [{ id = 1 }, { id = 2 }]\n";
    let found = warnings(cumulative);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("(not-replacing): step 2: B has all of A"));
}

#[test]
fn r5_r77_patches_beside_each_other_that_disagree_are_warned_of() {
    let series = "[[patch]]\nname = \"A\"\nstate = [{ id = 1, is_shadow = true, shadow_size = 8 }, \
                  { id = 3 }]\n[[patch]]\nname = \"B\"\n\
                  state = [{ id = 1, is_shadow = true, shadow_size = 16 }]\n";
    let found = warnings(series);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("(disagreement): step 2: state 1 differs in shadow_size"));
    // R5: or refused.
    let (status, text) = umbra(series, &["check", "--strict", "series.toml"]);
    assert_eq!(status, 1);
    assert!(
        text.contains("shadow_size differs between patch B"),
        "{text}"
    );
}

#[test]
fn r78_callbacks_that_a_blocked_state_never_gets_to_are_warned_of() {
    let series = "[[patch]]\nname = \"A\"\nstate = [{ id = 1, block_disable = true, \
                  callbacks = [\"post_patch\", \"pre_unpatch\"] }]\n";
    let found = warnings(series);
    assert!(
        found[0].starts_with("warning (dead-callback): A: state 1"),
        "{found:?}"
    );
    let kept = series.replace(", \"pre_unpatch\"", "");
    assert!(warnings(&kept).is_empty());
}

#[test]
fn r84_a_fix_that_a_replacement_drops_is_warned_of() {
    let series = format!(
        "{TWO}[[patch]]\nname = \"B\"\nreplace = true\n\
                          state = [{{ id = 1, name = \"x\" }}, {{ id = 2, name = \"y\" }}]\n"
    );
    let found = warnings(&series);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("(lost-fix): step 2: B replaces A and does not change f"));
}

#[test]
fn r85_removing_from_the_middle_of_the_stack_is_warned_of() {
    let series = "[[patch]]\nname = \"A\"\nstate = [{ id = 1 }]\n\
                  [[patch]]\nname = \"B\"\nstate = [{ id = 2 }]\n\
                  [[step]]\nenable = \"A\"\n[[step]]\nenable = \"B\"\n\
                  [[step]]\ndisable = \"A\"\n[[step]]\ndisable = \"B\"\n";
    let found = warnings(series);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("(not-on-top): step 3: A is disabled while B"));
}

#[test]
fn r96_freeing_in_module_exit_is_warned_of() {
    let series = "[[patch]]\nname = \"A\"\nexit_frees = [1]\n\
                  state = [{ id = 1, is_shadow = true }]\n";
    let found = warnings(series);
    assert!(
        found[0].starts_with("warning (blind-free): A: the module frees"),
        "{found:?}"
    );
    let other = series.replace("is_shadow = true", "is_shadow = false");
    assert!(warnings(&other)[0].contains("set is_shadow, or free them in post_unpatch"));
}

#[test]
fn a_set_and_a_replace_are_one_too_many() {
    let series = "[[patch]]\nname = \"A\"\nreplace = true\nreplace_set = 3\n";
    let (status, text) = umbra(series, &["check", "series.toml"]);
    assert_eq!(status, 2);
    assert!(
        text.contains("keep one of replace and replace_set"),
        "{text}"
    );
    let set = "[[patch]]\nname = \"A\"\nreplace_set = 3\nstate = [{ id = 1 }]\n\
               [[patch]]\nname = \"B\"\nreplace_set = 3\n";
    let (status, text) = umbra(set, &["check", "series.toml"]);
    assert_eq!(status, 0);
    assert!(
        text.contains("2. enable B (replace its set): ends 1"),
        "{text}"
    );
}
