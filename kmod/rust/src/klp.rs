//! What the drop-in (`src/klp.c`) needs of the table beyond `umbra.h`: destructors that
//! have all run on return.

use core::ffi::{c_ulong, c_void};

use umbra_shadow::{Dtor, Smr};

use crate::global::global;
use crate::platform::Kernel;

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
    // A handle of its own keeps the table from one segment to the next.
    let table = global().shadows.find(id, &Kernel.pin()).cloned();
    if let Some(table) = table {
        table.for_each_to_free(|obj, _| {
            // SAFETY: the caller's function; the walk's guard keeps what it holds
            // while the variables go.
            unsafe { free(core::ptr::without_provenance_mut(obj), id, dtor) }
        });
    }
}
