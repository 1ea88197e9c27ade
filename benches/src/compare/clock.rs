//! Clocks, and keeping a thread on one processor.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::sync::OnceLock;
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

/// The processors that this process had when it was first asked.
///
/// Not those of the calling thread: one that is kept on a processor has only that, and so
/// have the threads that it starts.
fn processors() -> &'static [usize] {
    static PROCESSORS: OnceLock<Vec<usize>> = OnceLock::new();
    PROCESSORS.get_or_init(|| {
        let all = 0..CpuSet::count();
        let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        all.filter(|&cpu| set.is_set(cpu) == Ok(true)).collect()
    })
}

/// Lets the calling thread run on these. Where that is not allowed it stays where the
/// system puts it.
fn only(cpus: &[usize]) {
    let mut set = CpuSet::new();
    if cpus.iter().all(|&cpu| set.set(cpu).is_ok()) && !cpus.is_empty() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Keeps the calling thread on one processor: of those there are the one at `place`,
/// counted on from the first again if there are not so many.
pub fn stay_on(place: usize) {
    let all = processors();
    only(&all[place % all.len().max(1)..][..1.min(all.len())]);
}

/// Lets the calling thread, and those that it starts, go where they like again.
pub fn stay_anywhere() {
    only(processors());
}

/// Nanoseconds for each of `count` operations.
#[must_use]
pub fn each(time: Duration, count: usize) -> f64 {
    time.as_nanos() as f64 / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The processors of the calling thread.
    fn here() -> Vec<usize> {
        let set = sched_getaffinity(Pid::from_raw(0)).expect("a set");
        let all = 0..CpuSet::count();
        all.filter(|&cpu| set.is_set(cpu) == Ok(true)).collect()
    }

    #[test]
    fn a_thread_of_one_that_stays_somewhere_can_stay_elsewhere() {
        let all = processors();
        let work = move || {
            stay_on(0);
            assert_eq!(here(), [all[0]]);
            let other = std::thread::spawn(|| {
                stay_on(1);
                here()
            });
            assert_eq!(other.join().expect("a set"), [all[1 % all.len()]]);
            stay_on(all.len());
            assert_eq!(here(), [all[0]], "the first again");
            stay_anywhere();
            assert_eq!(here(), all);
        };
        // In a thread of its own: other tests share this one.
        std::thread::spawn(work).join().expect("as above");
    }
}
