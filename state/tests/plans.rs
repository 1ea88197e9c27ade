//! What a plan lists, and that it is what then happens.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

mod common;

use common::*;
use umbra_state::plan::Op;
use umbra_state::{Event, Host, Patch, Replace, Request, Rules, Status, plan};

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}

/// A{1,2,3} hooks 10 and 11; S{2} shares 2.
fn there() -> Bench {
    let mut bench = Bench::new();
    let mut first = beside("A", &[1, 2, 3]);
    first.push_hook(hook(10, 1)).unwrap();
    first.push_hook(hook(11, 1)).unwrap();
    bench.on(first);
    bench.on(beside("S", &[2]));
    bench
}

#[test]
fn a_plan_lists_states_shadows_and_functions() {
    let bench = there();
    let mut plain = state(4);
    plain.is_shadow = false;
    let mut new = patch("B", [state(3), plain]);
    new.replace = Replace::All;
    new.push_hook(hook(11, 3)).unwrap();
    new.push_hook(hook(12, 3)).unwrap();
    let planned = bench.engine.plan(Request::Enable(&new)).unwrap();
    assert_eq!(sorted(planned.introduced()), [4]);
    assert_eq!(sorted(planned.inherited()), [3]);
    assert_eq!(sorted(planned.removed()), [1, 2]);
    assert_eq!(sorted(planned.freed()), [1, 2]);
    assert_eq!(
        sorted(planned.kept()),
        [2, 3, 3],
        "A gives 2 and 3 back, B takes 3"
    );
    assert_eq!(planned.quarantined().count(), 0);
    assert_eq!(planned.leaving(), 0..2);
    assert_eq!(sorted(planned.hooked()), [12]);
    assert_eq!(sorted(planned.exchanged()), [11]);
    assert_eq!(sorted(planned.unhooked()), [10]);
    assert_eq!(planned.hook_counts(), (1, 1, 1));

    let planned = bench.engine.plan(Request::Disable("A")).unwrap();
    assert_eq!(sorted(planned.removed()), [1, 3]);
    assert_eq!(sorted(planned.kept()), [2], "S has it");
    assert_eq!(sorted(planned.unhooked()), [10, 11]);
    assert_eq!(planned.shared().count() + planned.inherited().count(), 0);
    let planned = bench
        .engine
        .plan(Request::Enable(&beside("C", &[2])))
        .unwrap();
    assert_eq!(
        (sorted(planned.shared()), sorted(planned.kept())),
        (vec![2], vec![2])
    );
}

#[test]
fn s2_every_request_has_a_plan_that_changes_nothing() {
    let mut bench = there();
    bench
        .engine
        .register(beside("R", &[9]), &mut bench.lab)
        .unwrap();
    let new = instead("B", &[3, 5]);
    let before = bench.picture();
    for request in [
        Request::Enable(&new),
        Request::Disable("A"),
        Request::Unregister("R"),
    ] {
        let once = plan(bench.engine.installed(), request, Rules::Umbra);
        assert!(once.is_ok(), "{request:?}");
        assert_eq!(once, plan(bench.engine.installed(), request, Rules::Umbra));
        assert_eq!(once, bench.engine.plan(request));
    }
    let idle = [Request::Reverse, Request::Force];
    for request in idle {
        assert!(bench.engine.plan(request).is_err(), "{request:?}");
    }
    assert_eq!(bench.picture(), before);
    bench.lab.stalls = 1;
    assert_eq!(bench.enable(new), Ok(Status::Stalled));
    for request in idle {
        let once = bench.engine.plan(request).unwrap();
        assert!(once.steps().iter().any(|step| step.op == Op::Switch));
        assert_eq!(Ok(once), bench.engine.plan(request));
    }
}

/// A host that only writes down the events, for the order of all of them.
#[derive(Default)]
struct Log(Vec<String>);

impl Host for Log {
    fn call(
        &mut self,
        _: &Patch,
        _: &umbra_state::State,
        _: umbra_state::Callback,
        _: umbra_state::Reason,
    ) -> Result<(), umbra_state::Errno> {
        Ok(())
    }

    fn switch(
        &mut self,
        _: &umbra_state::Switch<'_>,
    ) -> Result<umbra_state::Progress, umbra_state::Errno> {
        Ok(umbra_state::Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, _: &umbra_state::State) {}

    fn barrier(&mut self) {}

    fn event(&mut self, event: &Event<'_>) {
        self.0.push(match event {
            Event::Begun(patch, reason) => format!("begun {} {reason}", patch.name),
            Event::Called {
                patch,
                state,
                callback,
                result,
                ..
            } => format!("{}.{}.{callback} {}", patch.name, state.id, result.is_ok()),
            Event::Users(patch, state, users) => format!("{}.{} has {users}", patch.name, state.id),
            Event::Gate(state, open) => format!("gate {} {open}", state.id),
            Event::Freed(_, state) => format!("freed {}", state.id),
            Event::Switching(_) => "switching".into(),
            Event::Switched(_) => "switched".into(),
            Event::Removed(patch) => format!("removed {}", patch.name),
            Event::Ended(name, done) => format!("ended {name} {done}"),
            other => format!("{other:?}"),
        });
    }
}

#[test]
fn every_step_of_a_transition_is_an_event() {
    let mut log = Log::default();
    let mut engine = umbra_state::Engine::new(0, Rules::Umbra);
    for patch in [beside("A", &[1, 2]), beside("S", &[2])] {
        engine.enable(patch, &mut log).unwrap();
        assert_eq!(engine.run(&mut log), Status::Completed);
    }
    log.0.clear();
    engine.register(beside("R", &[9]), &mut log).unwrap();
    let new = instead("B", &[2, 3]);
    let planned = engine.plan(Request::Enable(&new)).unwrap();
    engine.enable(new, &mut log).unwrap();
    assert_eq!(engine.run(&mut log), Status::Completed);
    assert_eq!(
        log.0,
        [
            "begun B replace",
            "B.2 has 3",
            "B.3.pre_patch true",
            "gate 1 false",
            "A.1.pre_unpatch true",
            "A.2 has 2",
            "S.2 has 1",
            "switching",
            "switched",
            "A.1.post_unpatch true",
            "freed 1",
            "B.3.post_patch true",
            "gate 3 true",
            "removed R",
            "removed A",
            "removed S",
            "ended B true"
        ]
    );
    assert_eq!(planned.steps().len(), 8, "each has one or more of these");
}
