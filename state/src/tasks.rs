//! Running code that changes over one task at a time.
//!
//! A switch is over when every task runs the new code. A task changes over only
//! where it runs none of the functions that change: in a kernel, when its stack
//! shows none of them, or at the border to userspace. Each host knows its tasks;
//! [`switch_tasks`] is what all of them do with them in [`Host::switch`].
//!
//! [`Host::switch`]: crate::Host::switch

use crate::event::Direction;
use crate::host::Progress;

/// The tasks of a host.
pub trait Tasks {
    /// How many there are.
    fn count(&self) -> usize;

    /// Changes one task over, if it can be now or has been before. Forward is
    /// to the code that was asked for.
    fn try_switch(&mut self, task: usize, direction: Direction) -> bool;

    /// Changes one task over although it may run code that changes.
    fn force(&mut self, task: usize, direction: Direction);
}

/// Tries every task once; done when all are over. With `forced`, those that
/// cannot change over are made to. Cost: one call or two a task.
pub fn switch_tasks<T: Tasks>(tasks: &mut T, direction: Direction, forced: bool) -> Progress {
    let mut left = 0_usize;
    for task in 0..tasks.count() {
        if tasks.try_switch(task, direction) {
            continue;
        }
        if forced {
            tasks.force(task, direction);
        } else {
            left += 1;
        }
    }
    if left == 0 {
        Progress::Done
    } else {
        Progress::Pending
    }
}
