//! The gate from end to end: exit codes 0, 2 and 3, each with what it says.

mod common;

use common::Scratch;

const GATE: [&str; 4] = ["gate", "run.json", "--baselines", "baselines"];
const HIT: &str = "insn_get::get::klp_hit::n1k";

/// The instructions of [`HIT`] in the captured output.
const HIT_IR: u64 = 24_504;

fn prepared() -> Scratch {
    let scratch = Scratch::new();
    scratch.record_baseline_and_run();
    scratch
}

/// Sets the instructions of [`HIT`] in this run.
fn measure(scratch: &Scratch, instructions: u64) {
    let (from, to) = (
        format!("\"value\": {HIT_IR},"),
        format!("\"value\": {instructions},"),
    );
    scratch.edit("run.json", &from, &to);
}

#[test]
fn the_same_run_is_fine_ten_times_out_of_ten() {
    let scratch = prepared();
    for _ in 0..10 {
        scratch.run(&GATE).says(0, &["Gate: fine", "3 as before"]);
    }
}

#[test]
fn a_regression_exits_with_3_and_names_the_benchmark() {
    let scratch = prepared();
    measure(&scratch, HIT_IR + HIT_IR / 50);
    let run = scratch.run(&GATE);
    run.says(
        3,
        &[
            "Gate: regressed",
            "REGRESSED",
            HIT,
            "24,994",
            "+2.00 % worse",
            "What to do",
        ],
    );
    assert_eq!(
        run.stdout.matches("| REGRESSED").count(),
        1,
        "one and no other"
    );
}

#[test]
fn a_name_stays_in_its_cell() {
    let scratch = prepared();
    let name = "a|b`c<!-- @all";
    for file in ["run.json", "baselines/here.json"] {
        scratch.edit(file, HIT, name);
    }
    measure(&scratch, HIT_IR * 2);
    let row = "| REGRESSED | ``a\\|b`c<!-- @all`` | 24,504 |";
    scratch.run(&GATE).says(3, &[row]);
    let compare = ["compare", "baselines/here.json", "run.json"];
    scratch
        .run(&compare)
        .says(0, &["| ``a\\|b`c<!-- @all`` | Ir |"]);
}

#[test]
fn a_loss_within_the_hard_limit_is_reported_and_passes() {
    let scratch = prepared();
    measure(&scratch, HIT_IR + HIT_IR / 200);
    scratch
        .run(&GATE)
        .says(0, &["1 worse within the limit", HIT]);
}

#[test]
fn an_improvement_is_announced_and_asks_for_a_new_baseline() {
    let scratch = prepared();
    measure(&scratch, HIT_IR / 2);
    scratch.run(&GATE).says(
        0,
        &[
            "1 improved",
            HIT,
            "-50.00 % better",
            "record a new baseline",
        ],
    );
}

#[test]
fn limits_are_kept_per_benchmark() {
    let scratch = prepared();
    measure(&scratch, HIT_IR + HIT_IR / 50);
    let with_limits = |text: &str| {
        scratch.write("limits.toml", text);
        scratch.run(&[&GATE[..], &["--limits", "limits.toml"]].concat())
    };
    let loose = "version = 1\n[[benchmark]]\nid = \"*::klp_hit::*\"\nhard_percent = 5\n";
    with_limits(loose).says(0, &["1 worse within the limit"]);
    with_limits(&format!("{loose}max = 24_600\n")).says(3, &["ABOVE MAXIMUM", "at most 24600"]);
    let elsewhere = "version = 1\n[[benchmark]]\nid = \"no::such::*\"\nhard_percent = 5\n";
    with_limits(elsewhere).says(3, &["Limits that match no benchmark", "no::such::*"]);
}

#[test]
fn the_verdict_can_be_had_as_json() {
    let scratch = prepared();
    measure(&scratch, HIT_IR * 2);
    let args = [&GATE[..], &["--format", "json", "--out", "verdict.json"]].concat();
    scratch.run(&args).says(3, &[]);
    let verdict: serde_json::Value =
        serde_json::from_str(&scratch.read("verdict.json")).expect("JSON");
    let worst = &verdict["findings"][0];
    assert_eq!(worst["judgement"], "regressed");
    assert_eq!(worst["id"], HIT);
    assert_eq!(worst["percent"], 100.0);
}

#[test]
fn without_a_record_the_benchmarks_own_output_is_judged() {
    let scratch = prepared();
    scratch.copy_fixtures();
    let summary = "target/iai/umbra-benches/insn_get/get/klp_hit.n1k/summary.json";
    let gate = ["gate", "--baselines", "baselines"];
    scratch.run(&gate).says(0, &["Gate: fine"]);
    let text = scratch
        .read(summary)
        .replace("\"Int\":24504", "\"Int\":34504");
    scratch.write(summary, &text);
    scratch.run(&gate).says(3, &[HIT]);
}

#[test]
fn another_compiler_cannot_be_compared() {
    let scratch = prepared();
    scratch.edit("run.json", "\"rustc\": \"rustc ", "\"rustc\": \"rustc 0.1 ");
    scratch.run(&GATE).says(
        2,
        &[
            "cannot compare",
            "baselines/here.json",
            "rustc: rustc",
            "rustc 0.1",
            "record a baseline here",
            "--accept rustc",
        ],
    );
    let accepted = [&GATE[..], &["--accept", "rustc"]].concat();
    scratch
        .run(&accepted)
        .says(0, &["Differences accepted on request", "rustc 0.1"]);
}

#[test]
fn each_difference_of_the_machine_is_named() {
    for (field, aspect) in [
        ("target", "target"),
        ("cpu", "cpu"),
        ("cpu_id", "cpu"),
        ("valgrind", "valgrind"),
        ("iai_callgrind_summary", "iai-callgrind"),
    ] {
        let scratch = prepared();
        for (file, value) in [("baselines/here.json", "one"), ("run.json", "another")] {
            let mut record: serde_json::Value =
                serde_json::from_str(&scratch.read(file)).expect("JSON");
            // Not every processor has numbers.
            record["provenance"]["cpu_id"] = "family".into();
            record["provenance"][field] = value.into();
            scratch.write(file, &record.to_string());
        }
        let (difference, accept) = (format!("{aspect}: "), format!("--accept {aspect}"));
        scratch.run(&GATE).says(
            2,
            &["cannot compare", &difference, "one", "another", &accept],
        );
    }
}

#[test]
fn a_baseline_without_the_processors_numbers_serves_and_one_with_them_goes_before_it() {
    let scratch = prepared();
    let with = |file: &str, id: Option<&str>, instructions: u64| {
        let mut record: serde_json::Value =
            serde_json::from_str(&scratch.read("baselines/here.json")).expect("JSON");
        record["provenance"]["cpu_id"] = id.into();
        record["provenance"]["recorded_at"] = instructions.into();
        record["benchmarks"][HIT]["metrics"]["Ir"]["value"] = instructions.into();
        scratch.write(file, &record.to_string());
    };
    with("run.json", Some("family 25"), HIT_IR);
    with("baselines/here.json", None, 2 * HIT_IR);
    scratch.run(&GATE).says(0, &["-50.00 % better"]);
    // The older of the two, but surely of this processor.
    with("baselines/there.json", Some("family 25"), HIT_IR);
    scratch.run(&GATE).says(0, &["baselines/there.json"]);
}

#[test]
fn the_baseline_that_fits_is_found_among_others() {
    let scratch = prepared();
    let other = scratch
        .read("baselines/here.json")
        .replace("rustc 1", "rustc 0");
    scratch.write("baselines/aaa-older-compiler.json", &other);
    scratch.run(&GATE).says(0, &["baselines/here.json"]);
}

#[test]
fn a_baseline_that_fits_exactly_goes_before_a_newer_one_that_is_accepted() {
    let scratch = prepared();
    let mut other: serde_json::Value =
        serde_json::from_str(&scratch.read("baselines/here.json")).expect("JSON");
    other["provenance"]["cpu"] = "another".into();
    other["provenance"]["recorded_at"] = u64::from(u32::MAX).into();
    other["benchmarks"][HIT]["metrics"]["Ir"]["value"] = (2 * HIT_IR).into();
    scratch.write("baselines/newer.json", &other.to_string());
    measure(&scratch, HIT_IR + HIT_IR / 2);
    let words = ["baselines/here.json", "+50.00 % worse"];
    scratch.run(&GATE).says(3, &words);
    let accepting = [&GATE[..], &["--accept", "cpu"]].concat();
    scratch.run(&accepting).says(3, &words);
}

#[test]
fn a_renamed_benchmark_cannot_be_compared_until_it_is_declared() {
    let scratch = prepared();
    scratch.edit("run.json", HIT, "insn_get::get::klp_found::n1k");
    scratch.run(&GATE).says(
        2,
        &[
            "Gate: cannot compare",
            "Gone, though the baseline has them",
            HIT,
            "[renamed]",
            "insn_get::get::klp_found::n1k",
        ],
    );
    let limits = format!("version = 1\n[renamed]\n\"{HIT}\" = \"insn_get::get::klp_found::n1k\"\n");
    scratch.write("limits.toml", &limits);
    let declared = [&GATE[..], &["--limits", "limits.toml"]].concat();
    scratch.run(&declared).says(0, &["Gate: fine"]);
}

#[test]
fn a_rename_does_not_take_a_benchmark_that_is_there_out_of_the_gate() {
    let scratch = prepared();
    let found = "insn_get::get::klp_found::n1k";
    let mut record: serde_json::Value =
        serde_json::from_str(&scratch.read("run.json")).expect("JSON");
    record["benchmarks"][found] = record["benchmarks"][HIT].clone();
    record["benchmarks"][HIT]["metrics"]["Ir"]["value"] = (2 * HIT_IR).into();
    scratch.write("run.json", &record.to_string());
    let limits = format!("version = 1\n[renamed]\n\"{HIT}\" = \"{found}\"\n");
    scratch.write("limits.toml", &limits);
    let declared = [&GATE[..], &["--limits", "limits.toml"]].concat();
    let row = format!("| REGRESSED | `{HIT}` |");
    let words = [&row, "Renamed by the limits, and still there", found];
    scratch.run(&declared).says(3, &words);
}

#[test]
fn a_new_benchmark_passes_and_is_mentioned() {
    let scratch = prepared();
    let mut record: serde_json::Value =
        serde_json::from_str(&scratch.read("run.json")).expect("JSON");
    record["benchmarks"]["insn_get::new"] = record["benchmarks"][HIT].clone();
    scratch.write("run.json", &record.to_string());
    scratch
        .run(&GATE)
        .says(0, &["Not judged", "insn_get::new", "Record a new baseline"]);
}

#[test]
fn a_ceiling_holds_for_a_new_benchmark_too() {
    let scratch = prepared();
    let mut record: serde_json::Value =
        serde_json::from_str(&scratch.read("run.json")).expect("JSON");
    record["benchmarks"]["insn_get::new"] = record["benchmarks"][HIT].clone();
    scratch.write("run.json", &record.to_string());
    let with_max = |max: u64| {
        let entry = "[[benchmark]]\nid = \"insn_get::new\"\nmax = ";
        scratch.write("limits.toml", &format!("version = 1\n{entry}{max}\n"));
        scratch.run(&[&GATE[..], &["--limits", "limits.toml"]].concat())
    };
    with_max(HIT_IR).says(0, &["Not judged", "insn_get::new"]);
    let row =
        "| ABOVE MAXIMUM | `insn_get::new` | none | 24,504 instructions | new | at most 24503 |";
    with_max(HIT_IR - 1).says(3, &["1 regressed", row]);
}

#[test]
fn what_is_unknown_of_both_is_no_match() {
    for (field, aspect) in [
        ("rustc", "rustc"),
        ("target", "target"),
        ("cpu", "cpu"),
        ("valgrind", "valgrind"),
    ] {
        let scratch = prepared();
        for name in ["run.json", "baselines/here.json"] {
            let mut record: serde_json::Value =
                serde_json::from_str(&scratch.read(name)).expect("JSON");
            record["provenance"][field] = serde_json::Value::Null;
            scratch.write(name, &record.to_string());
        }
        let difference = format!("{aspect}: unknown before, unknown now");
        let accept = format!("--accept {aspect}");
        scratch
            .run(&GATE)
            .says(2, &["cannot compare", &difference, &accept]);
        let accepting = [&GATE[..], &["--accept", aspect]].concat();
        scratch
            .run(&accepting)
            .says(0, &["Differences accepted on request", &difference]);
    }
}

#[test]
fn no_baseline_cannot_be_compared() {
    let scratch = prepared();
    std::fs::remove_file(scratch.path("baselines/here.json")).expect("to remove it");
    let words = [
        "cannot compare: there is no baseline in baselines",
        "umbra-perf record",
    ];
    scratch.run(&GATE).says(2, &words);
    std::fs::remove_dir(scratch.path("baselines")).expect("to remove it");
    scratch.run(&GATE).says(2, &words);
}

#[test]
fn wall_time_alone_is_not_judged() {
    let scratch = prepared();
    let criterion = common::fixtures().join("criterion");
    let criterion = criterion.to_str().expect("a path in UTF-8");
    scratch
        .run(&["record", "--criterion", criterion, "--out", "run.json"])
        .says(0, &[]);
    scratch.run(&GATE).says(
        2,
        &["this run counted no instructions", "--save-summary=json"],
    );
}

#[test]
fn limits_with_an_unknown_field_are_an_error_with_their_line() {
    let scratch = prepared();
    scratch.write("limits.toml", "version = 1\n\n[default]\nhard = 3\n");
    let args = [&GATE[..], &["--limits", "limits.toml"]].concat();
    scratch.run(&args).says(
        2,
        &["limits.toml:4:1: unknown field `hard`", "hard_percent"],
    );
}
