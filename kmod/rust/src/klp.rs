//! What the drop-in (`src/klp.c`) needs of the table beyond `umbra.h`: destructors that
//! have all run on return, and a free that is short under its lock.

use core::ffi::{c_ulong, c_void};

use umbra_shadow::{Dtor, Smr, Table};

use crate::global::global;
use crate::platform::Kernel;

/// A handle of an id's table: so that no guard keeps it.
fn handle(id: c_ulong) -> Option<Table<Kernel>> {
    global().shadows.find(id, &Kernel.pin()).cloned()
}

/// For who is about to free under a lock: the lines of the object may be in the middle of
/// being replaced, by merging or by growth, which the free would have to end first.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_shadow_help(obj: *const c_void, id: c_ulong) {
    if let Some(table) = handle(id) {
        table.help(obj.addr());
    }
}

/// Frees every variable of an id one by one, by `free`. Preemption is off for fifty or so
/// at a time.
///
/// # Safety
/// `free` detaches the variable of the object and id that it is given.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_klp_free_all(
    id: c_ulong,
    free: unsafe extern "C" fn(*mut c_void, c_ulong, Option<Dtor>),
    dtor: Option<Dtor>,
) {
    // It keeps the table from one segment to the next.
    if let Some(table) = handle(id) {
        table.for_each_to_free(|obj, _| {
            // SAFETY: the caller's function; the walk's guard keeps what it holds
            // while the variables go.
            unsafe { free(core::ptr::without_provenance_mut(obj), id, dtor) }
        });
    }
}
