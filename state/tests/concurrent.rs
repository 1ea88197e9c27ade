//! The count and the snapshot among real threads. The exhaustive proof of the
//! count is the loom model beside this file.

#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::{beside, instead};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use umbra_state::refcount::{Acquire, Release};
use umbra_state::snapshot::{Report, Snapshot};
use umbra_state::{Phase, RefCount};

#[test]
fn r8_racing_users_run_each_edge_once() {
    const ROUNDS: usize = if cfg!(miri) { 20 } else { 20_000 };
    let count = RefCount::new();
    // SeqCst: these are the test's own tally, and speed is no matter.
    let [made, unmade, alive] = [const { AtomicUsize::new(0) }; 3];
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    loop {
                        match count.acquire() {
                            Acquire::First => {
                                made.fetch_add(1, Ordering::SeqCst);
                                assert_eq!(alive.swap(1, Ordering::SeqCst), 0);
                                count.commit().unwrap();
                                break;
                            }
                            Acquire::Shared(_) => break,
                            Acquire::Busy(_) => thread::yield_now(),
                            Acquire::Saturated => unreachable!(),
                        }
                    }
                    assert_eq!(alive.load(Ordering::SeqCst), 1);
                    match count.release() {
                        Release::Last => {
                            unmade.fetch_add(1, Ordering::SeqCst);
                            assert_eq!(alive.swap(0, Ordering::SeqCst), 1);
                            count.retire().unwrap();
                        }
                        Release::Shared(_) => {}
                        other => unreachable!("{other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(made.into_inner(), unmade.into_inner());
    let word = count.load();
    assert_eq!((word.phase(), word.users()), (Phase::Dormant, 0));
}

#[test]
fn a_snapshot_shows_whole_reports_in_order() {
    let rounds = if cfg!(miri) { 6 } else { 300 };
    let snapshot = Snapshot::new();
    assert_eq!(snapshot.read(Clone::clone), Report::default());
    thread::scope(|scope| {
        for _ in 0..2 {
            let reader = snapshot.clone();
            scope.spawn(move || {
                let mut last = 0;
                while last < rounds {
                    let seen = reader.read(|report| {
                        let sizes = report.patches.iter().map(|p| p.states.len());
                        assert!(sizes.eq(report.patches.iter().map(|_| report.states.len())));
                        report.states.len()
                    });
                    assert!(seen >= last);
                    last = seen;
                    thread::yield_now();
                }
            });
        }
        let mut bench = common::Bench::new();
        let mut ids = Vec::new();
        for id in 1..=rounds as u64 {
            ids.push(id);
            let mut patch = instead(&format!("P{id}"), &ids);
            // Under Miri this is about the snapshot, not about shadow tables.
            patch
                .states
                .iter_mut()
                .for_each(|state| state.is_shadow = false);
            bench.engine.enable(patch, &mut bench.lab).unwrap();
            bench.engine.run(&mut bench.lab);
            snapshot.publish(Report::of(&bench.engine));
        }
    });
}

#[test]
fn a_report_shows_a_transition_under_way() {
    let mut bench = common::Bench::new();
    bench.lab.stalls = 1;
    bench.enable(beside("A", &[2, 1])).unwrap();
    let report = Report::of(&bench.engine);
    assert_eq!(
        report.running,
        Some(("A".into(), umbra_state::Direction::Forward))
    );
    let phases = report.states.iter().map(|s| (s.id, s.word.phase(), s.open));
    assert!(phases.eq([(1, Phase::Enabling, false), (2, Phase::Enabling, false)]));
}

#[test]
fn a_report_shows_what_is_pinned_and_registered() {
    let mut bench = common::Bench::new();
    bench.on(beside("A", &[1, 2]));
    bench.lab.stalls = 1;
    bench.disable("A").unwrap();
    bench.engine.force(&mut bench.lab).unwrap();
    bench.run();
    let registered = bench.engine.register(beside("B", &[3]), &mut bench.lab);
    assert_eq!(registered, Ok(()));
    let report = Report::of(&bench.engine);
    let names = |patches: &[umbra_state::snapshot::PatchReport]| {
        let patches = patches.iter();
        patches
            .map(|p| (p.name.clone(), p.states.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&report.patches), []);
    assert_eq!(names(&report.pinned), [("A".into(), 2)]);
    assert_eq!(report.pinned[0].owes, [1, 2]);
    assert_eq!(names(&report.registered), [("B".into(), 1)]);
}
