//! Wall time of two commits, end to end, with a bench that says what criterion
//! would: its times are in a file, so that a verdict does not depend on the
//! machine.

mod common;

use common::Project;

/// The bench: its times in nanoseconds are the file's, one for each process.
const BENCH: &str = r##"
use std::{env, fs, path::PathBuf};
fn main() {
    // What a process of criterion's is asked.
    let args: Vec<_> = env::args().collect();
    assert!(args.iter().any(|a| a == "--measurement-time"), "{args:?}");
    let home = PathBuf::from(env::var_os("CRITERION_HOME").expect("its folder"));
    let log = home.with_file_name("log");
    let so_far = fs::read_to_string(&log).unwrap_or_default();
    let side = include_str!("../side").trim();
    let times: Vec<f64> = include_str!("../times").split_whitespace().map(|t| t.parse().unwrap()).collect();
    let time = times[so_far.matches(side).count() % times.len()];
    fs::write(&log, format!("{so_far}{side}\n")).unwrap();
    if let Ok(copy) = env::var("KEEP_LOG") { fs::copy(&log, copy).unwrap(); }
    let estimate = format!(r#"{{"point_estimate":{time},"standard_error":0.1,"confidence_interval":{{"confidence_level":0.95,"lower_bound":{time},"upper_bound":{time}}}}}"#);
    let new = home.join("get/new");
    fs::create_dir_all(&new).unwrap();
    fs::write(new.join("estimates.json"), format!(r#"{{"mean":{estimate},"median":{estimate},"median_abs_dev":{estimate},"slope":null,"std_dev":{estimate}}}"#)).unwrap();
    fs::write(new.join("benchmark.json"), r#"{"group_id":"get","function_id":null,"value_str":null,"throughput":null,"full_id":"get","directory_name":"get","title":"get"}"#).unwrap();
}
"##;

const MANIFEST: &str = "[package]\nname = \"timed\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
    [lib]\nbench = false\n\n[[bench]]\nname = \"wall\"\nharness = false\n\n[workspace]\n";

fn project() -> Project {
    let project = Project::new();
    project.0.write("Cargo.toml", MANIFEST);
    project.0.write("src/lib.rs", "");
    // A program of the package, which cargo builds for its benches too.
    let other = "fn main() { panic!(\"it is no bench\") }";
    project.0.write("src/main.rs", other);
    project.0.write("benches/wall.rs", BENCH);
    takes(&project, "old", "100 101 99 100.5 99.5 100.2");
    project
}

/// Commits a program whose processes take these times in turn.
fn takes(project: &Project, side: &str, times: &str) {
    project.0.write("side", side);
    project.0.write("times", times);
    project.commit(side);
}

fn ab(project: &Project, args: &[&str]) -> common::Run {
    let usual = ["ab", "--old", "HEAD^", "--bench", "wall", "--pairs", "6"];
    let own = |name: &str| args.contains(&name);
    let mut all = vec!["ab"];
    for pair in usual[1..].chunks(2).filter(|pair| !own(pair[0])) {
        all.extend(pair);
    }
    all.extend(args);
    project.0.run(&all)
}

#[test]
fn a_slower_commit_is_reported_and_blocks_only_if_asked() {
    let project = project();
    takes(&project, "new", "120 121 119 120.5 119.5 120.2");
    let row = "| `get` | 100.1 ns | 120.1 ns | +19.98 %";
    ab(&project, &[]).says(
        0,
        &[row, "| slower |", "6 pairs of processes", "95 % interval"],
    );
    let blocks = ["| slower |", "## These block", "- `get`"];
    ab(&project, &["--block-above", "10"]).says(3, &blocks);
    ab(&project, &["--block-above", "30"]).says(0, &["| slower |"]);
    let json = ab(&project, &["--format", "json"]);
    let result: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(result["rows"][0]["finding"], "slower");
    assert_eq!(
        result["rows"][0]["pairs"][1],
        serde_json::json!([101.0, 121.0])
    );
    assert_eq!(result["old"]["subject"], "old");
}

#[test]
fn noise_is_no_difference() {
    let project = project();
    takes(&project, "new", "103 96 101 104 95 100");
    ab(&project, &["--block-above", "0.5"]).says(0, &["| no difference seen |"]);
}

#[test]
fn processes_take_turns_and_the_order_changes_from_pair_to_pair() {
    let project = project();
    takes(&project, "new", "100");
    let log = project.0.path("order");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_umbra-perf"))
        .args(["ab", "--old", "HEAD^", "--bench", "wall", "--pairs", "6"])
        .current_dir(project.0.path("."))
        .env("KEEP_LOG", &log)
        .output()
        .expect("to run it");
    assert!(run.status.success(), "{run:?}");
    let order: Vec<_> = std::fs::read_to_string(log)
        .expect("the order")
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        order.join(" "),
        "old new new old old new new old old new new old"
    );
}

#[test]
fn each_side_has_the_files_and_programs_of_its_own_commit() {
    for times in [
        // In the folder where cargo runs benches.
        r#"fs::read_to_string("times")"#,
        // By the path that it builds in.
        r#"fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/times"))"#,
        // By the path that cargo tells those it runs, and nothing of another package.
        r#"match env::var("CARGO_PKG_NAME") {
            Err(_) => fs::read_to_string(env::var("CARGO_MANIFEST_DIR").unwrap() + "/times"),
            Ok(foreign) => panic!("{foreign}"),
        }"#,
        // From a program that is built with it.
        r#"String::from_utf8(std::process::Command::new(env!("CARGO_BIN_EXE_timed")).output().unwrap().stdout)"#,
    ] {
        let project = project();
        let own = format!("{times}.unwrap()");
        let bench = BENCH.replace("include_str!(\"../times\")", &own);
        assert_ne!(bench, BENCH);
        project.0.write("benches/wall.rs", &bench);
        let program = "fn main() { print!(\"{}\", include_str!(\"../times\")) }";
        project.0.write("src/main.rs", program);
        takes(&project, "old", "100 101 99 100.5 99.5 100.2");
        takes(&project, "new", "120 121 119 120.5 119.5 120.2");
        let row = "| `get` | 100.1 ns | 120.1 ns | +19.98 %";
        ab(&project, &[]).says(0, &[row]);
    }
}

#[test]
fn a_benchmark_that_is_gone_is_no_pass_where_something_blocks() {
    let project = project();
    let measures = |name: &str| {
        let bench = BENCH.replace("home.join(\"get/new\")", "home.join(\"put/new\")");
        let bench = bench.replace("\"full_id\":\"get\"", &format!("\"full_id\":\"{name}\""));
        assert!(!bench.contains("get/new"));
        project.0.write("benches/more.rs", &bench);
    };
    let two = format!("{MANIFEST}\n[[bench]]\nname = \"more\"\nharness = false\n");
    project.0.write("Cargo.toml", &two);
    measures("put");
    project.commit("two");
    measures("put renamed");
    project.commit("renamed");
    let args = ["--bench", "wall", "--bench", "more"];
    ab(&project, &args).says(0, &["## Gone", "- `put`", "- `put renamed`"]);
    let blocking = [&args[..], &["--block-above", "10"]].concat();
    ab(&project, &blocking).says(2, &["## Gone", "- `put`"]);
}

#[test]
fn a_process_that_leaves_a_benchmark_out_is_an_error_and_shifts_no_pair() {
    let project = project();
    // In the second of its processes.
    let bench = BENCH.replace(
        "let new = home.join(\"get/new\");",
        "let id = if so_far.matches(side).count() == 1 { \"other\" } else { \"get\" };\n\
         let new = home.join(\"get/new\");",
    );
    let bench = bench.replace(
        "r#\"{\"group_id\":\"get\",\"function_id\":null,\"value_str\":null,\"throughput\":null,\"full_id\":\"get\",\"directory_name\":\"get\",\"title\":\"get\"}\"#",
        "format!(r#\"{{\"full_id\":\"{id}\",\"throughput\":null}}\"#)",
    );
    assert!(bench.contains("full_id\":\"{id}"));
    project.0.write("benches/wall.rs", &bench);
    takes(&project, "new", "120");
    ab(&project, &[]).says(
        2,
        &[
            "`get` was measured by 5 of 6 processes of the new commit",
            "--filter",
        ],
    );
}

#[test]
fn a_benchmark_that_two_benches_measure_is_an_error() {
    let project = project();
    let twice = format!("{MANIFEST}\n[[bench]]\nname = \"other\"\nharness = false\n");
    project.0.write("Cargo.toml", &twice);
    project.0.write("benches/other.rs", BENCH);
    project.commit("twice");
    let words = [
        "`get` is measured by two benches",
        "wall",
        "other",
        "--package",
    ];
    ab(
        &project,
        &["--old", "HEAD", "--bench", "wall", "--bench", "other"],
    )
    .says(2, &words);
    ab(&project, &["--old", "HEAD"]).says(0, &["| `get` |"]);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let project = project();
    takes(&project, "new", "0");
    ab(&project, &[]).says(2, &["`get` took no time"]);
    ab(&project, &["--pairs", "5"]).says(2, &["5 pairs make no interval of 95 %", "ask for 6"]);
    ab(&project, &["--confidence", "100"]).says(2, &["must be 50 or more and below 100"]);
    ab(&project, &["--bench", "nowhere"]).says(2, &["no bench target named `nowhere`"]);
    project
        .0
        .write("benches/wall.rs", "fn main() { panic!(\"no such luck\") }");
    project.commit("panics");
    ab(&project, &[]).says(2, &["failed (exit status: 101)", "no such luck"]);
    project.0.write("benches/wall.rs", "fn main() {}");
    project.commit("writes nothing");
    ab(&project, &["--old", "HEAD"]).says(2, &["no benchmark output found in $CRITERION_HOME"]);
    takes(&project, "new", "NaN");
    project.0.write("benches/wall.rs", BENCH);
    project.commit("no number");
    ab(&project, &["--old", "HEAD"]).says(2, &["estimates.json:1:", "not JSON"]);
}
