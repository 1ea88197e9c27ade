//! How long a plan takes when everything is large.
//!
//! `cargo run --release -p umbra-state --example scale`
//!
//! A patch with 10,000 states replaces a stack of 1,000 patches with ten states
//! each, half of them its own. That is planned by our rules, which count, and by
//! those of `v1`, which scan the list of patches for each state. The same patch
//! as one of a set, and with descriptors that all differ from those there. Then
//! a patch alone, of growing size: the cost of a state must not grow with their
//! number.
//!
//! Ends with an error if one of our plans takes 50 ms, or if a state of 100,000
//! costs more than eight times one of 1,000, which leaves room for the machine's
//! caches (a scan would cost a hundred times).

use std::error::Error;
use std::time::{Duration, Instant};
use umbra_state::{Callback, Engine, Name, Patch, Replace, Request, Rules, State, Status, plan};

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

/// The limit for every plan of ours.
const LIMIT: Duration = Duration::from_millis(50);

/// Prints how long our plan takes, and how long the scan does.
fn compare(engine: &Engine, patch: &Patch, what: &str) -> Result<(), Box<dyn Error>> {
    let (ours, steps) = time(engine, patch, Rules::Umbra, 20)?;
    let (scan, same) = time(engine, patch, Rules::V1, 3)?;
    println!("{what}, {steps} steps:");
    println!("  umbra {ours:>10.1?}");
    println!(
        "  v1    {scan:>10.1?}, {:.0} times as long for {}",
        scan.as_secs_f64() / ours.as_secs_f64(),
        if same == steps {
            "as many steps"
        } else {
            "another plan"
        }
    );
    if ours >= LIMIT {
        return Err(format!("{what}: a plan took {ours:?}, and {LIMIT:?} are the limit").into());
    }
    Ok(())
}

/// An engine with these patches enabled.
fn engine(
    patches: impl Iterator<Item = Result<Patch, Box<dyn Error>>>,
) -> Result<Engine, Box<dyn Error>> {
    let mut engine = Engine::new(7, Rules::Umbra);
    for patch in patches {
        engine.enable(patch?, &mut ())?;
        assert_eq!(engine.run(&mut ()), Status::Completed);
    }
    Ok(engine)
}

fn main() -> Result<(), Box<dyn Error>> {
    let stack = || {
        (0..1000).map(|at| {
            let first = 5_001 + at * 10;
            patch(&format!("P{at}"), first..first + 10)
        })
    };
    let of_set = |mut patch: Patch, set| {
        patch.replace = Replace::Set(set);
        patch
    };
    let there = engine(stack())?;
    let mut big = patch("big", 1..10_001)?;
    compare(&there, &big, "10,000 states beside 1,000 patches of 10")?;
    big.replace = Replace::All;
    compare(
        &there,
        &big,
        "10,000 states in place of 1,000 patches of 10",
    )?;

    let sets = stack().zip(1..).map(|(patch, set)| Ok(of_set(patch?, set)));
    let sets = engine(sets.chain([patch("mine", 1..5_001).map(|p| of_set(p, 0))]))?;
    let new = of_set(patch("new", 1..5_001)?, 0);
    compare(
        &sets,
        &new,
        "5,000 states in place of their set, beside 1,000 sets",
    )?;

    let mut other = patch("other", 1..10_001)?;
    for state in &mut other.states {
        state.callbacks = [Callback::PrePatch].into_iter().collect();
    }
    let first = [patch("first", 1..10_001)];
    compare(
        &engine(first.into_iter())?,
        &other,
        "10,000 states that are described differently",
    )?;

    println!("one patch, nothing installed:");
    let empty = Engine::new(7, Rules::Umbra);
    let mut per_state = Vec::new();
    for (name, count) in [("1k", 1_000), ("10k", 10_000), ("100k", 100_000)] {
        let (took, _) = time(&empty, &patch(name, 1..count + 1)?, Rules::Umbra, 20)?;
        let nanos = took.as_nanos() as f64 / count as f64;
        println!("  {count:>7} states {took:>10.1?}, {nanos:.0} ns a state");
        per_state.push(nanos);
    }
    if per_state[2] > 8.0 * per_state[0] {
        return Err("the cost of a state grows with their number".into());
    }
    Ok(())
}
