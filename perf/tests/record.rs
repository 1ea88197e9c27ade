//! Recording and comparing from end to end, on real output and on damaged ones.

mod common;

use common::{Scratch, fixtures};
use serde_json::Value;

const SUMMARY: &str = "target/iai/umbra-benches/insn_get/get/klp_hit.n1k/summary.json";
const ESTIMATES: &str = "target/criterion/get_miss_independent/klp/1000/new/estimates.json";

fn recorded(scratch: &Scratch) -> Value {
    scratch.copy_fixtures();
    scratch
        .run(&["record", "--out", "record.json"])
        .says(0, &["5 benchmarks recorded"]);
    serde_json::from_str(&scratch.read("record.json")).expect("JSON")
}

#[test]
fn callgrind_counts_are_read_from_first_and_repeated_runs() {
    let record = recorded(&Scratch::new());
    let ir = |id: &str| record["benchmarks"][id]["metrics"]["Ir"].clone();
    // The second is from a run without an older one beside it.
    for (id, n) in [
        ("insn_get::get::klp_hit::n1k", 24_504),
        ("insn_get::get::papaya_miss::n1k", 50_223),
        ("insn_write::write::klp_free::n100k", 174_456),
    ] {
        assert_eq!(
            ir(id),
            serde_json::json!({ "value": n, "unit": "instructions" }),
            "{id}"
        );
    }
    let hit = &record["benchmarks"]["insn_get::get::klp_hit::n1k"];
    assert_eq!(hit["source"], "iai-callgrind");
    assert_eq!(hit["metrics"]["EstimatedCycles"]["unit"], "cycles");
    assert_eq!(hit["metrics"]["Dr"]["unit"], "events");
    assert!(
        hit["metrics"].get("D1MissRate").is_none(),
        "it follows from other events"
    );
}

#[test]
fn criterions_new_estimates_are_read_and_nothing_else_of_it() {
    let record = recorded(&Scratch::new());
    let benchmarks = record["benchmarks"].as_object().expect("an object");
    let criterion: Vec<_> = benchmarks.keys().filter(|id| id.contains('/')).collect();
    assert_eq!(
        criterion,
        [
            "get/miss/independent/klp/1000",
            "get/miss/independent/papaya/1000"
        ]
    );
    let metrics = &benchmarks["get/miss/independent/papaya/1000"]["metrics"];
    assert_eq!(metrics["median"]["value"], 184_339.384_722_222_22);
    assert_eq!(
        metrics["median_per_element"]["value"],
        184_339.384_722_222_22 / 1000.0
    );
    assert_eq!(metrics["median"]["interval"][0], 182_387.883_333_333_33);
}

#[test]
fn provenance_says_by_what_and_never_where() {
    let scratch = Scratch::new();
    let record = recorded(&scratch);
    let provenance = &record["provenance"];
    assert!(
        provenance["rustc"]
            .as_str()
            .is_some_and(|v| v.starts_with("rustc "))
    );
    assert_eq!(provenance["iai_callgrind_summary"], "6");
    assert!(
        provenance["recorded_at"]
            .as_u64()
            .is_some_and(|t| t > 1_700_000_000)
    );
    assert!(
        !scratch.read("record.json").contains("/project"),
        "no path of the machine"
    );
}

#[test]
fn a_cut_off_summary_is_named_with_its_place_and_nothing_is_written() {
    let scratch = Scratch::new();
    scratch.copy_fixtures();
    scratch.write("record.json", "precious");
    let text = scratch.read(SUMMARY);
    scratch.write(SUMMARY, &text[..text.len() / 2]);
    scratch.run(&["record", "--out", "record.json"]).says(
        2,
        &[
            "klp_hit.n1k/summary.json:1:",
            "the file ends in the middle",
            "make iai-callgrind's summary of a benchmark again",
        ],
    );
    assert_eq!(scratch.read("record.json"), "precious");
}

#[test]
fn foreign_and_corrupt_summaries_are_told_apart() {
    let scratch = Scratch::new();
    scratch.copy_fixtures();
    let record = ["record", "--out", "record.json"];
    scratch.write(SUMMARY, "{\"name\": \"left-pad\", \"version\": 3}");
    scratch
        .run(&record)
        .says(2, &["not iai-callgrind's summary", "summary.json:1:"]);
    scratch.write(SUMMARY, "\u{0}\u{1}PNG");
    scratch
        .run(&record)
        .says(2, &["not JSON", "corrupt or of another kind"]);
    scratch.write(SUMMARY, "{\"version\": \"5\"}");
    scratch
        .run(&record)
        .says(2, &["a summary of version 5; this build reads 6", "0.16.1"]);
    scratch.write(SUMMARY, "");
    scratch
        .run(&record)
        .says(2, &["the file ends in the middle"]);
    assert!(!scratch.path("record.json").exists());
}

#[test]
fn not_a_number_is_named_for_what_it_is() {
    let scratch = Scratch::new();
    scratch.copy_fixtures();
    let whole = scratch.read(ESTIMATES);
    // JSON has no NaN: serde writes null, other writers the word.
    let at = whole.find("\"point_estimate\":").expect("an estimate") + "\"point_estimate\":".len();
    let end = at + whole[at..].find(',').expect("a next field");
    let with = |number: &str| format!("{}{number}{}", &whole[..at], &whole[end..]);
    scratch.write(ESTIMATES, &with("null"));
    scratch
        .run(&["record"])
        .says(2, &["estimates.json:1:", "a number is missing", "NaN"]);
    scratch.write(ESTIMATES, &with("NaN"));
    scratch
        .run(&["record"])
        .says(2, &["estimates.json:1:", "not JSON"]);
    scratch.write(ESTIMATES, &with("1e999"));
    scratch
        .run(&["record"])
        .says(2, &["estimates.json:1:", "number out of range"]);
}

#[test]
fn a_benchmark_found_twice_is_an_error() {
    let scratch = Scratch::new();
    scratch.copy_fixtures();
    let text = scratch.read(SUMMARY);
    scratch.write("target/iai/umbra-benches/old/summary.json", &text);
    scratch.run(&["record"]).says(
        2,
        &[
            "`insn_get::get::klp_hit::n1k` occurs twice",
            "old/summary.json",
            "delete",
        ],
    );
}

#[test]
fn nothing_to_record_says_how_to_get_something() {
    let scratch = Scratch::new();
    scratch.run(&["record"]).says(
        2,
        &["no benchmark output found in ./target/iai", "cargo bench"],
    );
    scratch
        .run(&["record", "--iai", "nowhere"])
        .says(2, &["cannot read nowhere"]);
    scratch
        .run(&["record", "--vm", "nowhere.log"])
        .says(2, &["cannot read nowhere.log"]);
}

#[test]
fn a_folder_that_cannot_be_written_leaves_nothing() {
    let scratch = Scratch::new();
    scratch.copy_fixtures();
    let run = scratch.run(&["record", "--out", "no/such/folder/record.json"]);
    run.says(
        2,
        &["cannot write no/such/folder/record.json; nothing was changed"],
    );
}

#[test]
fn records_that_are_none_are_refused() {
    let scratch = Scratch::new();
    let good = recorded(&scratch).to_string();
    let compare = |text: &str| {
        scratch.write("bad.json", text);
        scratch.run(&["compare", "bad.json", "record.json"])
    };
    compare(&good[..good.len() - 9]).says(2, &["bad.json:1:", "ends in the middle"]);
    compare("[1, 2").says(2, &["bad.json:1:"]);
    compare("{\"format\": \"other\", \"version\": 1}").says(2, &["its format is `other`"]);
    compare("{\"format\": \"umbra-perf\", \"version\": 9}")
        .says(2, &["version 9; this build reads 1"]);
    let mut empty: Value = serde_json::from_str(&good).expect("JSON");
    empty["benchmarks"] = serde_json::json!({});
    compare(&empty.to_string()).says(2, &["holds no benchmark"]);
    let mut nan: Value = serde_json::from_str(&good).expect("JSON");
    nan["benchmarks"]["insn_get::get::klp_hit::n1k"]["metrics"]["Ir"]["value"] = Value::Null;
    compare(&nan.to_string()).says(2, &["bad.json:1:", "a number is missing", "NaN"]);
    scratch
        .run(&["compare", "absent.json", "record.json"])
        .says(2, &["cannot read absent.json"]);
}

#[test]
fn comparing_and_reporting_show_what_moved_and_decide_nothing() {
    let scratch = Scratch::new();
    recorded(&scratch);
    let same = ["compare", "record.json", "record.json"];
    scratch
        .run(&same)
        .says(0, &["All 6 values are the same.", "Wall time (criterion)"]);
    let worse = scratch
        .read("record.json")
        .replace("\"value\": 24504,", "\"value\": 49008,");
    scratch.write("worse.json", &worse);
    let words = [
        "1 of 6 values moved",
        "| `insn_get::get::klp_hit::n1k` | Ir | 24,504 | 49,008",
    ];
    scratch
        .run(&["compare", "record.json", "worse.json"])
        .says(0, &words);
    scratch
        .run(&["report", "worse.json", "--since", "record.json"])
        .says(0, &words);
    let report = scratch.run(&["report", "worse.json", "--out", "report.md"]);
    report.says(0, &[]);
    assert!(
        scratch
            .read("report.md")
            .contains("| `insn_get::get::klp_hit::n1k` | Ir | 49,008")
    );
    let json = scratch.run(&["report", "record.json", "--format", "json"]);
    let again: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(again["version"], 1);
}

#[test]
fn two_records_of_one_run_differ_in_their_time_alone() {
    let scratch = Scratch::new();
    let strip = |mut record: Value| {
        record["provenance"]["recorded_at"] = Value::Null;
        record
    };
    let first = strip(recorded(&scratch));
    assert_eq!(first, strip(recorded(&scratch)));
    let target = fixtures();
    let target = target.to_str().expect("a path in UTF-8");
    let printed = scratch.run(&["record", "--target-dir", target]);
    assert_eq!(
        first,
        strip(serde_json::from_str(&printed.stdout).expect("JSON"))
    );
}

#[test]
fn in_a_folder_a_record_replaces_only_the_baseline_that_was_made_alike() {
    let scratch = Scratch::new();
    scratch.record_baseline_and_run();
    let target = fixtures();
    let target = target.to_str().expect("a path in UTF-8");
    let record = ["record", "--target-dir", target, "--out", "baselines"];
    let files = || {
        let files = std::fs::read_dir(scratch.path("baselines")).expect("the folder");
        let names = files.map(|file| file.expect("a file").file_name().into_string());
        let mut names: Vec<_> = names.map(|name| name.expect("UTF-8")).collect();
        names.sort();
        names
    };
    let change = |name: &str, field: &str, value: &str| {
        let mut record: Value = serde_json::from_str(&scratch.read(name)).expect("JSON");
        record["provenance"][field] = value.into();
        scratch.write(name, &record.to_string())
    };
    change("baselines/here.json", "commit", "another");
    // Beside one of this processor's name alone, which stays.
    let mut by_name: Value =
        serde_json::from_str(&scratch.read("baselines/here.json")).expect("JSON");
    let numbers = by_name["provenance"]
        .as_object_mut()
        .and_then(|p| p.remove("cpu_id"));
    if numbers.is_some() {
        scratch.write("baselines/a.json", &by_name.to_string());
    }
    scratch
        .run(&record)
        .says(0, &["recorded in baselines/here.json"]);
    assert!(
        !scratch.read("baselines/here.json").contains("another"),
        "it is replaced"
    );
    if numbers.is_some() {
        assert!(scratch.read("baselines/a.json").contains("another"));
        std::fs::remove_file(scratch.path("baselines/a.json")).expect("to remove it");
    }

    change("baselines/here.json", "cpu", "Another (R) CPU @ 2.80GHz");
    let other = scratch.read("baselines/here.json");
    scratch.run(&record).says(0, &[]);
    assert_eq!(
        scratch.read("baselines/here.json"),
        other,
        "the other machine's stays"
    );
    let [_, name] = &files()[..] else {
        panic!("{:?}", files())
    };
    assert!(
        name.contains("-rustc-1.") && !name.contains([' ', '(', '/', '@']),
        "{name}"
    );

    // The same but for valgrind: a third one, of another name.
    change(&format!("baselines/{name}"), "valgrind", "valgrind-0");
    scratch.run(&record).says(0, &[]);
    assert_eq!(files().len(), 3);

    // A baseline that cannot be read might be the one: nothing is written.
    scratch.write("baselines/aaa.json", "{");
    scratch.run(&record).says(2, &["baselines/aaa.json:1:"]);
    assert_eq!(files().len(), 4);
}

#[test]
fn in_a_folder_a_baseline_is_not_replaced_by_one_that_lacks_a_benchmark() {
    let scratch = Scratch::new();
    scratch.record_baseline_and_run();
    scratch.copy_fixtures();
    std::fs::remove_file(scratch.path(SUMMARY)).expect("to remove it");
    let before = scratch.read("baselines/here.json");
    let record = ["record", "--out", "baselines"];
    scratch.run(&record).says(
        2,
        &[
            "baselines/here.json",
            "would lose",
            "insn_get::get::klp_hit::n1k",
            "--prune",
            "--out baselines/here.json",
        ],
    );
    assert_eq!(scratch.read("baselines/here.json"), before);
    let prune = [&record[..], &["--prune"]].concat();
    scratch.run(&prune).says(0, &["4 benchmarks recorded"]);
    assert!(!scratch.read("baselines/here.json").contains("klp_hit"));
    // A count that is lost from a benchmark is as much as a benchmark.
    scratch.write("baselines/here.json", &before);
    scratch.copy_fixtures();
    let text = scratch.read(SUMMARY).replace("\"Ir\":", "\"Other\":");
    scratch.write(SUMMARY, &text);
    let lost = "insn_get::get::klp_hit::n1k (Ir)";
    scratch.run(&record).says(2, &["would lose", lost]);
    let named = ["record", "--out", "baselines/here.json"];
    scratch.run(&named).says(0, &["5 benchmarks recorded"]);
}

#[test]
fn a_record_that_says_two_things_of_a_benchmark_or_none_is_refused() {
    let scratch = Scratch::new();
    let good = recorded(&scratch);
    let id = "insn_get::get::klp_hit::n1k";
    let judge = |text: &str, words: &[&str]| {
        scratch.write("bad.json", text);
        for args in [
            ["gate", "bad.json", "--baselines", "record.json"],
            ["gate", "record.json", "--baselines", "bad.json"],
        ] {
            scratch.run(&args).says(2, words);
        }
    };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut record = good.clone();
        change(&mut record["benchmarks"][id]);
        record.to_string()
    };
    // As a merge of two branches leaves it.
    let twice = good.to_string().replacen(
        "\"benchmarks\":{",
        &format!("\"benchmarks\":{{\"{id}\":{},", good["benchmarks"][id]),
        1,
    );
    let words = format!("benchmark `{id}` is there twice");
    judge(&twice, &["bad.json:1:", &words]);
    let ir = |value: u64| format!("\"Ir\":{{\"unit\":\"instructions\",\"value\":{value}}}");
    let text = good.to_string();
    assert!(text.contains(&ir(24_504)), "{text}");
    let twice = text.replacen(&ir(24_504), &format!("{},{}", ir(99_999), ir(24_504)), 1);
    judge(&twice, &["bad.json:1:", "metric `Ir` is there twice"]);
    judge(
        &with(&|b| b["metrics"]["Ir"]["value"] = (-5).into()),
        &["bad.json: benchmark", id, "`Ir` is below zero"],
    );
    judge(
        &with(&|b| b["metrics"] = serde_json::json!({})),
        &["bad.json: benchmark", id, "has no metric"],
    );
}

#[test]
fn an_event_that_a_summary_has_twice_is_an_error() {
    let scratch = Scratch::new();
    scratch.copy_fixtures();
    let once = scratch.read(SUMMARY);
    let event = "\"Callgrind\":{\"Ir\":{\"metrics\":{\"Left\":{\"Int\":9}}},";
    let twice = once.replace("\"Callgrind\":{", event);
    assert_ne!(once, twice);
    scratch.write(SUMMARY, &twice);
    scratch.run(&["record"]).says(
        2,
        &["klp_hit.n1k/summary.json:1:", "metric `Ir` is there twice"],
    );
}

#[test]
fn an_estimate_below_zero_is_none() {
    let scratch = Scratch::new();
    scratch.copy_fixtures();
    scratch.edit(ESTIMATES, "\"point_estimate\":", "\"point_estimate\":-");
    scratch
        .run(&["record"])
        .says(2, &["klp/1000/new/estimates.json", "is below zero"]);
}

#[test]
fn a_count_of_no_instruction_is_no_measurement() {
    let scratch = Scratch::new();
    let mut record = recorded(&scratch);
    let id = "insn_get::get::klp_hit::n1k";
    let words = ["benchmark", id, "its `Ir` is 0", "run"];
    record["benchmarks"][id]["metrics"]["Ir"]["value"] = 0.into();
    scratch.write("zero.json", &record.to_string());
    for args in [
        ["gate", "zero.json", "--baselines", "record.json"],
        ["gate", "record.json", "--baselines", "zero.json"],
    ] {
        let run = scratch.run(&args);
        run.says(2, &words);
        run.says(2, &["zero.json"]);
    }
    let text = scratch.read(SUMMARY).replace("\"Int\":24504", "\"Int\":0");
    scratch.write(SUMMARY, &text);
    let gate = ["gate", "--baselines", "record.json"];
    for args in [&["record"][..], &gate] {
        let run = scratch.run(args);
        run.says(2, &words);
        run.says(2, &["klp_hit.n1k/summary.json"]);
    }
}

#[test]
fn a_source_that_was_named_and_holds_nothing_is_an_error_beside_another() {
    let scratch = Scratch::new();
    recorded(&scratch);
    std::fs::create_dir(scratch.path("empty")).expect("a folder");
    let nothing = "@umbra {\"kind\":\"progress\",\"msg\":\"x\",\"done\":1,\"total\":2}\n";
    scratch.write("vm.log", nothing);
    for named in [["--vm", "vm.log"], ["--criterion", "empty"]] {
        for command in [&["record"][..], &["gate", "--baselines", "record.json"]] {
            let args = [command, &["--iai", "target/iai"], &named].concat();
            let words = format!("no benchmark output found in {}", named[1]);
            scratch.run(&args).says(2, &[&words]);
        }
    }
}

#[test]
fn a_figure_in_an_unknown_unit_is_an_error_with_its_line() {
    let scratch = Scratch::new();
    let log = |unit: &str| {
        let figure = format!(
            "boot\n@umbra {{\"kind\":\"figure\",\"name\":\"get\",\"value\":41.5,\"unit\":\"{unit}\"}}\n"
        );
        scratch.write("vm.log", &figure);
        scratch.run(&["record", "--vm", "vm.log", "--out", "record.json"])
    };
    log("insn").says(0, &["1 benchmarks recorded"]);
    log("instructions").says(
        2,
        &[
            "vm.log: line 2: `instructions` is no unit",
            "`insn`, `cycles`",
        ],
    );
}

#[test]
fn a_folder_where_a_summary_belongs_is_not_passed_over() {
    let scratch = Scratch::new();
    scratch.copy_fixtures();
    scratch.write("record.json", "precious");
    std::fs::remove_file(scratch.path(SUMMARY)).expect("to remove it");
    std::fs::create_dir(scratch.path(SUMMARY)).expect("a folder");
    scratch
        .run(&["record", "--out", "record.json"])
        .says(2, &["klp_hit.n1k/summary.json: not a file"]);
    assert_eq!(scratch.read("record.json"), "precious");
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_and_a_pipe_is_not_replaced() {
    use std::os::unix::fs::FileTypeExt;
    let scratch = Scratch::new();
    let record = recorded(&scratch);
    std::os::unix::fs::symlink("record.json", scratch.path("link.json")).expect("a link");
    scratch.write("record.json", "old");
    scratch
        .run(&["record", "--out", "link.json"])
        .says(0, &["5 benchmarks"]);
    let kind = |name: &str| scratch.path(name).symlink_metadata().expect(name);
    assert!(kind("link.json").is_symlink());
    assert_ne!(scratch.read("record.json"), "old");

    let made = std::process::Command::new("mkfifo")
        .arg(scratch.path("pipe"))
        .status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    let pipe = scratch.path("pipe");
    // Opened for both, so that neither side waits for the other.
    let mut reader = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .expect("the pipe");
    scratch
        .run(&["record", "--out", "pipe"])
        .says(0, &["5 benchmarks"]);
    assert!(kind("pipe").file_type().is_fifo());
    let mut text = vec![0; 64];
    std::io::Read::read_exact(&mut reader, &mut text).expect("to read it");
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.contains("\"format\": \"umbra-perf\""), "{text}");
    assert_eq!(record["format"], "umbra-perf");
}

#[test]
fn a_history_outside_of_git_names_its_folder() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("plain")).expect("a folder");
    scratch.write("plain/a.json", "{}");
    scratch
        .run(&["history", "--history", "plain"])
        .says(2, &["plain", "not a git repository"]);
}
