//! Output of another run than the one to be judged, and how it is told.

mod common;

use common::Scratch;
use serde_json::Value;

const SUMMARY: &str = "target/iai/umbra-benches/insn_get/get/klp_hit.n1k/summary.json";

/// Makes every file below a folder of the scratch folder this old.
fn age(scratch: &Scratch, below: &str, hours: u64) {
    let age = std::time::Duration::from_secs(hours * 60 * 60);
    let then = std::time::SystemTime::now() - age;
    let mut folders = vec![scratch.path(below)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("to list the folder") {
            let path = entry.expect("to list the folder").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = std::fs::File::options().write(true).open(path);
            let set = file.and_then(|file| file.set_modified(then));
            set.expect("to set its time");
        }
    }
}

#[test]
fn output_left_over_from_another_run_is_not_judged() {
    let scratch = Scratch::new();
    scratch.record_baseline_and_run();
    scratch.copy_fixtures();
    let gate = ["gate", "--baselines", "baselines"];
    age(&scratch, "target/iai/umbra-benches/insn_write", 2);
    let words = [
        "insn_write/write/klp_free.n100k/summary.json",
        "`insn_write::write::klp_free::n100k`",
        "2 hours older",
        "rm -r target/iai",
        "run the benchmarks again",
    ];
    let run = scratch.run(&gate);
    run.says(2, &words);
    assert!(
        !run.stderr.contains("klp_hit"),
        "the others are new: {}",
        run.stderr
    );
    // A record is what was asked for, and says so.
    let record = ["record", "--out", "record.json"];
    scratch.run(&record).says(0, &["warning:", words[0]]);
    scratch.copy_fixtures();
    scratch.run(&gate).says(0, &["Gate: fine"]);
}

#[test]
fn output_of_yesterday_is_not_judged() {
    let scratch = Scratch::new();
    scratch.record_baseline_and_run();
    scratch.copy_fixtures();
    let gate = ["gate", "--baselines", "baselines"];
    age(&scratch, "target", 23);
    scratch.run(&gate).says(0, &["Gate: fine"]);
    age(&scratch, "target", 25);
    let words = [
        "25 hours old",
        "rm -r target/iai",
        "run the benchmarks again",
    ];
    scratch.run(&gate).says(2, &words);
    let named = [&gate[..], &["--iai", "target/iai"]].concat();
    scratch.run(&named).says(2, &words);
    // Whoever brings output from elsewhere can say so by recording it there.
    let record = ["record", "--out", "record.json"];
    scratch.run(&record).says(0, &["warning:", "25 hours old"]);
    let of_record = ["gate", "record.json", "--baselines", "baselines"];
    scratch.run(&of_record).says(0, &["Gate: fine"]);
}

#[test]
fn a_run_may_take_longer_than_an_hour_and_wall_time_may_be_older() {
    let scratch = Scratch::new();
    scratch.record_baseline_and_run();
    scratch.copy_fixtures();
    age(&scratch, "target/criterion", 100);
    age(
        &scratch,
        "target/iai/umbra-benches/insn_get/get/papaya_miss.n1k",
        1,
    );
    age(&scratch, "target/iai/umbra-benches/insn_write", 2);
    // Between two of them there is never more than an hour: it is one run.
    let gate = ["gate", "--baselines", "baselines"];
    scratch.run(&gate).says(0, &["Gate: fine"]);
}

/// What callgrind wrote itself, of one function.
fn output(instructions: u64) -> String {
    format!("events: Ir\nfl=/project/a.rs\nfn=f\n1 {instructions}\n\ntotals: {instructions}\n")
}

#[test]
fn a_summary_of_another_run_than_the_output_beside_it_is_refused() {
    let scratch = Scratch::new();
    scratch.copy_fixtures();
    let record = ["record", "--out", "record.json"];
    scratch.run(&record).says(0, &["5 benchmarks recorded"]);
    let baseline: Value = serde_json::from_str(&scratch.read("record.json")).expect("JSON");
    let beside = |name: &str| SUMMARY.replace("summary.json", name);
    let own = beside("callgrind.klp_hit.n1k.out");
    let gate = ["gate", "--baselines", "record.json"];
    scratch.write(&own, &output(24_504));
    scratch.run(&gate).says(0, &["Gate: fine"]);
    // It got slower, and ran again without `--save-summary=json`.
    scratch.write(&own, &output(30_000));
    let words = [
        "klp_hit.n1k/summary.json: it says 24504 instructions, the output beside it 30000",
        "--save-summary=json",
    ];
    for args in [&gate[..], &["record"]] {
        scratch.run(args).says(2, &words);
    }
    // Likewise with more threads, whose output has other names.
    std::fs::remove_file(scratch.path(&own)).expect("to remove it");
    let threads = beside("callgrind.klp_hit.n1k.t2.p1.out");
    scratch.write(&threads, &output(30_000));
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let file = std::fs::File::options()
        .write(true)
        .open(scratch.path(&threads));
    let set = file.and_then(|file| file.set_modified(later));
    set.expect("to set its time");
    let words = ["callgrind.klp_hit.n1k.t2.p1.out is of a later run"];
    scratch.run(&gate).says(2, &words);
    // And by cachegrind.
    std::fs::remove_file(scratch.path(&threads)).expect("to remove it");
    let text = scratch.read(SUMMARY);
    let text = text.replace("\"Callgrind\"", "\"Cachegrind\"");
    scratch.write(SUMMARY, &text.replace("callgrind.klp", "cachegrind.klp"));
    let own = beside("cachegrind.klp_hit.n1k.out");
    let output = |n| format!("events: Dr Ir\nfn=f\n1 0 {n}\nsummary: 0 {n}\n");
    scratch.write(&own, &output(24_504));
    let run = scratch.run(&["record"]);
    let record: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(record["benchmarks"], baseline["benchmarks"]);
    scratch.write(&own, &output(30_000));
    scratch.run(&gate).says(2, &["the output beside it 30000"]);
    scratch.write(&own, "events: Dr Ir\n");
    scratch
        .run(&gate)
        .says(2, &["n1k.out: cachegrind's output without a sum of `Ir`"]);
}
