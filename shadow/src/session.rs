//! Many lookups in a row without a guard for each.

use core::fmt;
use core::ptr::NonNull;

use crate::platform::Platform;
use crate::table::Table;

/// Lookups after which a session renews its guard: so seldom that the guard's cost
/// vanishes among them, so often that a busy reader does not hold up memory.
const RENEW: u32 = 128;

/// A reader of one table that looks up often.
///
/// A guard costs more than a lookup in a small table, and under one that is held
/// for long nothing is reclaimed. A session takes a guard and renews it after
/// every 128 lookups. What it finds stays valid until its next call.
///
/// An idle session holds its guard too: drop it, or [`rest`](Self::rest) it,
/// before the thread waits for anything. It stays on its thread if the platform's
/// guards do, as [`Epoch`](crate::Epoch)'s:
/// ```compile_fail
/// # use umbra_shadow::{Epoch, Table};
/// let table = Table::new(Epoch, 1).unwrap();
/// let session = table.session();
/// std::thread::scope(|s| s.spawn(move || drop(session)));
/// ```
pub struct Session<'t, P: Platform> {
    table: &'t Table<P>,
    guard: Option<P::Guard>,
    left: u32,
}

impl<'t, P: Platform> Session<'t, P> {
    pub(crate) fn new(table: &'t Table<P>) -> Self {
        Self {
            table,
            guard: None,
            left: 0,
        }
    }

    /// [`Table::get`]; the data is valid until the session's next call.
    // Always inlined, as the table's is.
    #[inline(always)]
    pub fn get(&mut self, obj: usize) -> Option<NonNull<u8>> {
        if self.left == 0 {
            self.renew();
        }
        self.left -= 1;
        self.table.get(obj, self.guard.as_ref()?)
    }

    /// Lets go of the guard until the next lookup.
    pub fn rest(&mut self) {
        self.guard = None;
        self.left = 0;
    }

    #[cold]
    fn renew(&mut self) {
        // The old guard goes first: two that overlap would hold the epoch.
        self.guard = None;
        self.guard = Some(self.table.platform().pin());
        self.left = RENEW;
    }
}

impl<P: Platform> fmt::Debug for Session<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("table", &self.table)
            .field("resting", &self.guard.is_none())
            .finish()
    }
}
