//! How long a plan takes when everything is large.
//!
//! `cargo run --release -p umbra-state --example scale`
//!
//! A patch with 10,000 states replaces a stack of 1,000 patches with ten states
//! each, half of them its own. That is planned by our rules, which count, and by
//! those of `v1`, which scan the list of patches for each state. Then a patch
//! alone, of growing size: the cost of a state must not grow with their number.
//!
//! Ends with an error if our plan takes 50 ms, or if a state of 100,000 costs
//! more than eight times one of 1,000, which leaves room for the machine's caches
//! (a scan would cost a hundred times).

use std::error::Error;
use std::time::{Duration, Instant};
use umbra_state::{
    Callback, Engine, Errno, Host, Name, Patch, Progress, Reason, Replace, Request, Rules, State,
    Status, Switch, plan,
};

/// A host for which everything works and nothing happens.
struct Nobody;

impl Host for Nobody {
    fn call(&mut self, _: &Patch, _: &State, _: Callback, _: Reason) -> Result<(), Errno> {
        Ok(())
    }

    fn switch(&mut self, _: &Switch<'_>) -> Result<Progress, Errno> {
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, _: &State) {}

    fn barrier(&mut self) {}
}

fn patch(name: &str, ids: std::ops::Range<u64>) -> Result<Patch, Box<dyn Error>> {
    let mut patch = Patch::new(Name::new(name)?);
    for id in ids {
        patch.push_state(State::new(id, Name::EMPTY))?;
    }
    Ok(patch)
}

/// The shortest of several plans, and its number of steps.
fn time(
    engine: &Engine,
    patch: &Patch,
    rules: Rules,
    runs: usize,
) -> Result<(Duration, usize), Box<dyn Error>> {
    let mut best = Duration::MAX;
    let mut steps = 0;
    for _ in 0..runs {
        let begin = Instant::now();
        let planned = plan(engine.installed(), Request::Enable(patch), rules)?;
        best = best.min(begin.elapsed());
        steps = planned.steps().len();
    }
    Ok((best, steps))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut engine = Engine::new(7, Rules::Umbra);
    for at in 0..1000 {
        let first = 5_001 + at * 10;
        engine.enable(patch(&format!("P{at}"), first..first + 10)?, &mut Nobody)?;
        assert_eq!(engine.run(&mut Nobody), Status::Completed);
    }
    let mut big = patch("big", 1..10_001)?;
    big.replace = Replace::All;
    let (ours, steps) = time(&engine, &big, Rules::Umbra, 20)?;
    let (scan, same) = time(&engine, &big, Rules::V1, 3)?;
    println!("10,000 states in place of 1,000 patches of 10, {steps} steps:");
    println!("  umbra {ours:>10.1?}");
    println!(
        "  v1    {scan:>10.1?}, {:.0} times as long for {}",
        scan.as_secs_f64() / ours.as_secs_f64(),
        if same == steps {
            "the same plan"
        } else {
            "another plan"
        }
    );

    println!("one patch, nothing installed:");
    let empty = Engine::new(7, Rules::Umbra);
    let mut per_state = Vec::new();
    for (name, count) in [("1k", 1_000), ("10k", 10_000), ("100k", 100_000)] {
        let (took, _) = time(&empty, &patch(name, 1..count + 1)?, Rules::Umbra, 20)?;
        let nanos = took.as_nanos() as f64 / count as f64;
        println!("  {count:>7} states {took:>10.1?}, {nanos:.0} ns a state");
        per_state.push(nanos);
    }
    if ours >= Duration::from_millis(50) {
        return Err(format!("a plan took {ours:?}, and 50 ms are the limit").into());
    }
    if per_state[2] > 8.0 * per_state[0] {
        return Err("the cost of a state grows with their number".into());
    }
    Ok(())
}
