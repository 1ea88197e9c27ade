//! What the drop-in (`src/klp.c`) needs of the table beyond `umbra.h`: the reason
//! of a failure by id, and destructors that have run on return.

use core::ffi::{c_int, c_uint, c_ulong, c_void};

use umbra_shadow::{AllocError, AllocFlags, Dtor, Smr};

use crate::ffi::Ctor;
use crate::global::global;
use crate::platform::Kernel;
use crate::shadows::{construct, errno};

/// Attaches a variable: 0, or `-EEXIST` with the data that is there in `data`, or
/// why not.
///
/// # Safety
/// `data` is a place for a pointer, `ctor` takes what `umbra.h` promises.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_klp_new(
    obj: *mut c_void,
    id: c_ulong,
    size: usize,
    gfp: c_uint,
    ctor: Option<Ctor>,
    ctor_data: *mut c_void,
    data: *mut *mut c_void,
) -> c_int {
    let made = global().shadows.alloc(
        obj.addr(),
        id,
        size,
        AllocFlags(gfp),
        construct(obj, ctor, ctor_data),
    );
    let (found, result) = match made {
        Ok(found) => (found, 0),
        Err(ref error @ AllocError::Exists(found)) => (found, errno(error)),
        Err(error) => return errno(&error),
    };
    // SAFETY: the caller's place.
    unsafe { *data = found.as_ptr().cast() };
    result
}

/// Frees every variable of an id one by one, by `free`. Preemption is off for those of
/// one segment, a thousand or so, at a time.
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
        table.for_each(|obj, _| {
            // SAFETY: the caller's function; the walk's guard keeps what it holds
            // while the variables go.
            unsafe { free(core::ptr::without_provenance_mut(obj), id, dtor) }
        });
    }
}
