//! The table's platform under [shuttle](https://docs.rs/shuttle): random schedules
//! of scenarios that are too long for every one of them.
//!
//! | | loom-tests | here |
//! |---|---|---|
//! | schedules | all, or all up to a bound | random, as many as the time allows |
//! | values | all that the orderings allow | the latest: sequentially consistent |
//! | length | a few operations | hundreds: growth, churn, several segments |
//!
//! [`Watched`] reclaims as early as a grace period permits, poisons what it is given
//! back, and says at the end what was not.

#[cfg(not(umbra_shuttle))]
compile_error!("run cargo inside shuttle-tests/: its configuration brings --cfg umbra_shuttle");

use std::alloc::Layout;
use std::collections::HashMap;
use std::env;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use umbra_shadow::{AllocFlags, Link, Memory, Platform, Progress, Smr};

/// The platform of one execution. Its locks are never held over a switch.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    alive: Vec<u64>,
    waiting: Vec<Waiting>,
    /// Blocks handed out, and blocks given back (poisoned, kept to the end).
    taken: HashMap<usize, Layout>,
    freed: Vec<(usize, Layout)>,
}

struct Waiting {
    link: NonNull<Link>,
    /// Guards that were alive at the retire.
    guards: Vec<u64>,
}

// SAFETY: a retired link is the scheme's, whichever thread it runs on.
unsafe impl Send for Waiting {}

/// A read-side section of [`Watched`].
pub struct Guard {
    platform: Watched,
    number: u64,
}

impl Watched {
    /// Reclaims what waits for nobody. (Reclaiming switches threads, so the list is
    /// not locked meanwhile.)
    fn reclaim(&self) {
        let ready: Vec<Waiting> = {
            let mut state = self.0.lock().unwrap();
            let ripe = |w: &mut Waiting| w.guards.is_empty();
            state.waiting.extract_if(.., ripe).collect()
        };
        for Waiting { link, .. } in ready {
            let progress = loop {
                // SAFETY: the guards of its retire are gone, and it was taken
                // from the list.
                match unsafe { Link::reclaim(link) } {
                    Progress::More => {}
                    other => break other,
                }
            };
            if progress == Progress::Again {
                let mut state = self.0.lock().unwrap();
                let guards = state.alive.clone();
                state.waiting.push(Waiting { link, guards });
            }
        }
    }

    /// Blocks that are handed out.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.0.lock().unwrap().taken.len()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        {
            let mut state = self.platform.0.lock().unwrap();
            state.alive.retain(|g| *g != self.number);
            for waiting in &mut state.waiting {
                waiting.guards.retain(|g| *g != self.number);
            }
        }
        self.platform.reclaim();
    }
}

// SAFETY: a link is taken from the list once, after the guards of its retire.
unsafe impl Smr for Watched {
    type Guard = Guard;

    fn pin(&self) -> Guard {
        let mut state = self.0.lock().unwrap();
        let number = state.next;
        state.next += 1;
        state.alive.push(number);
        let platform = self.clone();
        Guard { platform, number }
    }

    unsafe fn retire(&self, link: NonNull<Link>) {
        {
            let mut state = self.0.lock().unwrap();
            let guards = state.alive.clone();
            state.waiting.push(Waiting { link, guards });
        }
        self.reclaim();
    }

    fn assist(&self) {}

    fn barrier(&self) {
        while !self.0.lock().unwrap().waiting.is_empty() {
            self.reclaim();
            shuttle::thread::yield_now();
        }
    }
}

// SAFETY: the global allocator's blocks, each given back once.
unsafe impl Memory for Watched {
    fn alloc_zeroed(&self, layout: Layout, _flags: AllocFlags) -> Option<NonNull<u8>> {
        // SAFETY: no block of the table is empty.
        let block = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })?;
        let mut state = self.0.lock().unwrap();
        state.taken.insert(block.as_ptr() as usize, layout);
        Some(block)
    }

    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        let mut state = self.0.lock().unwrap();
        let asked = state.taken.remove(&(ptr.as_ptr() as usize));
        assert_eq!(asked, Some(layout), "given back once, as it was asked for");
        // SAFETY: handed out with this layout, and the caller is done with it.
        unsafe { ptr.as_ptr().write_bytes(0xDD, layout.size()) };
        state.freed.push((ptr.as_ptr() as usize, layout));
    }
}

impl Drop for State {
    fn drop(&mut self) {
        for (block, layout) in self.freed.drain(..) {
            // SAFETY: handed out, given back, in the list once.
            unsafe { std::alloc::dealloc(block as *mut u8, layout) }
        }
    }
}

impl Platform for Watched {
    fn relax(&self, _flags: AllocFlags, _round: u32) -> bool {
        shuttle::thread::yield_now();
        true
    }
}

type Scenario = Arc<dyn Fn() + Send + Sync>;

/// Schedules between two looks at the clock.
const ROUND: usize = 50;

/// Runs rounds of schedules for a time; how many schedules that were.
fn for_a_time<S: Scheduler + 'static>(
    time: Duration,
    scenario: &Scenario,
    scheduler: impl Fn() -> S,
) -> usize {
    let mut config = Config::new();
    // In bytes; a variable's line and its copies stand there.
    config.stack_size = 1 << 18;
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < time {
        let scenario = Arc::clone(scenario);
        let runner = Runner::new(scheduler(), config.clone());
        count += runner.run(move || scenario());
    }
    count
}

/// Runs a scenario for `UMBRA_SHUTTLE_SECONDS` (10), half of that with uniformly
/// random schedules and half with few preemptions at random places (PCT), and says
/// how many schedules that were. `UMBRA_SHUTTLE_REPLAY` has a failing one that an
/// earlier run has printed.
///
/// # Panics
/// If the scenario fails, or if fewer than two schedules were run.
pub fn explore(name: &str, scenario: impl Fn() + Send + Sync + 'static) {
    let again: Scenario = Arc::new(scenario);
    if let Ok(schedule) = env::var("UMBRA_SHUTTLE_REPLAY") {
        shuttle::replay(move || again(), &schedule);
        return;
    }
    let seconds = env::var("UMBRA_SHUTTLE_SECONDS").map_or(10, |s| {
        s.parse()
            .expect("UMBRA_SHUTTLE_SECONDS is a number of seconds")
    });
    let half = Duration::from_secs(seconds) / 2;
    let random = for_a_time(half, &again, || RandomScheduler::new(ROUND));
    let pct = for_a_time(half, &again, || PctScheduler::new(3, ROUND));
    println!("{name}: {random} random schedules, {pct} with few preemptions");
    assert!(random > 1 && pct > 1, "{name} ran hardly at all");
}
