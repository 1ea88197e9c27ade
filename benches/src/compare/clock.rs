//! Clocks, and keeping a thread on one processor.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::time::Duration;

/// The CPU time of the calling thread.
///
/// # Panics
/// If the system has no such clock; Linux always does.
#[must_use]
pub fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("Linux has a CPU clock for each thread")
}

/// The CPU time that `work` takes in the calling thread, and its result.
pub fn timed<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let begin = thread_time();
    let result = work();
    (thread_time() - begin, result)
}

/// Keeps the calling thread on processor `cpu` modulo those there are. Where
/// that is not allowed the thread stays where the system puts it.
pub fn stay_on(cpu: usize) {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut set = CpuSet::new();
    if set.set(cpu % cpus).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Nanoseconds for each of `count` operations.
#[must_use]
pub fn each(time: Duration, count: usize) -> f64 {
    time.as_nanos() as f64 / count as f64
}
