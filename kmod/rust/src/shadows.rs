//! The shadow half of `umbra.h`: `klp_shadow_*`'s five functions by id, and the
//! same by typed handle.

use core::ffi::{c_int, c_uint, c_ulong, c_void};
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use umbra_shadow::{AllocError, AllocFlags, Dtor, OutOfMemory, Smr, Table};

use crate::ffi::{self, Ctor, New};
use crate::global::{Locked, global};
use crate::log;
use crate::platform::{Held, IrqsOff, Kernel, may_sleep};

const EBUSY: c_int = -16;
const EEXIST: c_int = -17;
const ENOMEM: c_int = -12;
const EINVAL: c_int = -22;

/// A C constructor as the table wants it.
fn construct(
    obj: *mut c_void,
    ctor: Option<Ctor>,
    ctor_data: *mut c_void,
) -> impl FnOnce(NonNull<u8>) -> Result<(), c_int> {
    move |data| {
        let Some(ctor) = ctor else { return Ok(()) };
        let data = data.as_ptr().cast();
        // SAFETY: the caller's function, with the arguments it was promised.
        let result = unsafe {
            if ffi::umbra_check_on {
                ffi::umbra_c_construct(ctor, obj, data, ctor_data)
            } else {
                ctor(obj, data, ctor_data)
            }
        };
        match result {
            0 => Ok(()),
            errno => Err(errno),
        }
    }
}

/// The errno for a failure.
fn errno(error: &AllocError<c_int>) -> c_int {
    match *error {
        AllocError::Exists(_) => EEXIST,
        AllocError::OutOfMemory => ENOMEM,
        AllocError::Busy => EBUSY,
        AllocError::Layout => EINVAL,
        // Only errnos fit into an error pointer; a constructor that returns
        // anything else has failed all the same.
        AllocError::Ctor(e) if (-4095..0).contains(&e) => e,
        AllocError::Ctor(_) => EINVAL,
    }
}

/// `ERR_PTR()`.
pub(crate) fn err_ptr(errno: c_int) -> *mut c_void {
    core::ptr::without_provenance_mut(errno as isize as usize)
}

/// `umbra_get()` and `umbra_get_rcu()` in the section that they are in.
///
/// # Safety
/// `ty` is a handle; the caller is in a read-side section.
#[unsafe(no_mangle)]
unsafe extern "C" fn __umbra_get(ty: NonNull<c_void>, obj: *const c_void) -> *mut c_void {
    // SAFETY: a handle of `umbra_type_get`.
    let table = unsafe { Table::<Kernel>::borrow_raw(ty) };
    // SAFETY: the caller's section.
    let held = unsafe { Held::new() };
    table
        .get(obj.addr(), held.guard())
        .map_or(core::ptr::null_mut(), |data| data.as_ptr().cast())
}

/// `umbra_shadow_get`'s second half.
///
/// # Safety
/// The caller is in a read-side section (`src/api.c`).
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_shadow_get(obj: *const c_void, id: c_ulong) -> *mut c_void {
    // SAFETY: the caller's section.
    let held = unsafe { Held::new() };
    global()
        .shadows
        .get(obj.addr(), id, held.guard())
        .map_or(core::ptr::null_mut(), |data| data.as_ptr().cast())
}

/// What a C caller wants attached.
struct Wanted {
    obj: *mut c_void,
    size: usize,
    gfp: c_uint,
    ctor: Option<Ctor>,
    ctor_data: *mut c_void,
    cookie: u64,
    irqs_off: bool,
}

impl Wanted {
    #[inline]
    fn plain(
        obj: *mut c_void,
        size: usize,
        gfp: c_uint,
        ctor: Option<Ctor>,
        ctor_data: *mut c_void,
    ) -> Self {
        Self {
            obj,
            size,
            gfp,
            ctor,
            ctor_data,
            cookie: 0,
            irqs_off: false,
        }
    }
}

type Attached = Result<NonNull<u8>, AllocError<c_int>>;

/// The one place that attaches: with two of them there were two copies of the table's
/// insertion, and each would call what is now a part of it (34 instructions more).
#[inline]
fn attach(table: &Table<Kernel>, wanted: &Wanted) -> Attached {
    let irqs_off = wanted.irqs_off;
    table.alloc_within(
        wanted.obj.addr(),
        wanted.cookie,
        wanted.size,
        AllocFlags(wanted.gfp),
        || irqs_off.then(IrqsOff::new),
        construct(wanted.obj, wanted.ctor, wanted.ctor_data),
    )
}

/// The shadow that is there, or one as wanted.
fn find_or_attach(table: &Table<Kernel>, wanted: &Wanted) -> Attached {
    if let Some(data) = table.get(wanted.obj.addr(), &Kernel.pin()) {
        return Ok(data);
    }
    match attach(table, wanted) {
        Err(AllocError::Exists(data)) => Ok(data),
        other => other,
    }
}

/// The table of an id, which is made if the id is new.
fn table_of(id: c_ulong, gfp: c_uint) -> Result<Table<Kernel>, OutOfMemory> {
    global().shadows.table(id, AllocFlags(gfp))
}

/// Attaches a shadow as `src/shadow.c` describes it, which learns the id of a handle:
/// 0, or `-EEXIST` with the data that is there in `data`, or why not.
///
/// # Safety
/// `new` and `data` are the caller's; the type is a handle or null, the constructor
/// takes what `umbra.h` promises.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_new(new: &mut New, data: &mut *mut c_void) -> c_int {
    let wanted = Wanted {
        obj: new.obj,
        size: new.size,
        gfp: new.gfp,
        ctor: new.ctor,
        ctor_data: new.ctor_data,
        cookie: new.cookie,
        irqs_off: new.irqs_off,
    };
    let made = match NonNull::new(new.ty) {
        Some(ty) => {
            // SAFETY: the caller's.
            let table = unsafe { table(ty) };
            new.id = table.id();
            attach(&table, &wanted)
        }
        None => match table_of(new.id, new.gfp) {
            Ok(table) => attach(&table, &wanted),
            Err(_) => return ENOMEM,
        },
    };
    let (found, result) = match made {
        Ok(found) => (found, 0),
        Err(ref error @ AllocError::Exists(found)) => (found, errno(error)),
        Err(error) => return errno(&error),
    };
    *data = found.as_ptr().cast();
    result
}

/// The id of a handle.
///
/// # Safety
/// `ty` is a handle.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_type_id(ty: NonNull<c_void>) -> c_ulong {
    // SAFETY: the caller's.
    unsafe { table(ty) }.id()
}

/// Tells tracers that all shadows of a type go.
fn trace_free_all(table: &Table<Kernel>) {
    if ffi::umbra_c_traces_free_all() {
        ffi::umbra_c_trace_free_all(table.id(), table.live() as c_ulong);
    }
}

/// Whether the caller may wait for reclamation; the log says why not.
pub(crate) fn may_wait(what: &core::ffi::CStr) -> bool {
    // SAFETY: a text that ends in a null.
    unsafe { ffi::umbra_c_may_wait(what.as_ptr()) }
}

/// Says so if shadows that a state of an enabled patch relies on are freed at once
/// from outside, as by a module that frees in its exit what the next patch has taken
/// over (R96). A state's own callback may do as it likes.
fn warn_if_used(id: u64) {
    // Who holds the lock may be waiting for us: better no word than that.
    let Some(mut locked) = Locked::try_take() else {
        return;
    };
    let installed = locked.control().installed();
    let Some(state) = installed.state(id).filter(|s| s.word.users() > 0) else {
        return;
    };
    let user = installed
        .patches()
        .iter()
        .rev()
        .find(|p| p.states.iter().any(|s| s.id == id));
    if let Some(patch) = user {
        log::warn_often(format_args!(
            "the shadows of state {id} ({}) are freed while {} has it; leave them to the state, or free in post_unpatch",
            state.name, patch.name
        ));
    }
}

/// Detaches every shadow of an id.
pub(crate) fn free_all(id: u64, dtor: Option<Dtor>) {
    if ffi::umbra_c_traces_free_all() {
        let guard = global().shadows.pin();
        if let Some(table) = global().shadows.find(id, &guard) {
            trace_free_all(table);
        }
    }
    global().shadows.free_all(id, dtor);
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_shadow_alloc(
    obj: *mut c_void,
    id: c_ulong,
    size: usize,
    gfp: c_uint,
    ctor: Option<Ctor>,
    ctor_data: *mut c_void,
) -> *mut c_void {
    let wanted = Wanted::plain(obj, size, gfp, ctor, ctor_data);
    let made = table_of(id, gfp).map_err(AllocError::from);
    match made.and_then(|table| attach(&table, &wanted)) {
        Ok(data) => data.as_ptr().cast(),
        Err(AllocError::Exists(_)) => {
            ffi::umbra_c_duplicate(id);
            core::ptr::null_mut()
        }
        Err(_) => core::ptr::null_mut(),
    }
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_shadow_get_or_alloc(
    obj: *mut c_void,
    id: c_ulong,
    size: usize,
    gfp: c_uint,
    ctor: Option<Ctor>,
    ctor_data: *mut c_void,
) -> *mut c_void {
    let wanted = Wanted::plain(obj, size, gfp, ctor, ctor_data);
    let made = table_of(id, gfp).map_err(AllocError::from);
    made.and_then(|table| find_or_attach(&table, &wanted))
        .map_or(core::ptr::null_mut(), |data| data.as_ptr().cast())
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_shadow_free(obj: *mut c_void, id: c_ulong, dtor: Option<Dtor>) -> bool {
    global().shadows.free_now(obj.addr(), id, |data| {
        if let Some(dtor) = dtor {
            // SAFETY: the caller's function, with the arguments it was promised.
            unsafe { dtor.call(obj, data.as_ptr().cast()) }
        }
    })
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_shadow_free_all(id: c_ulong, dtor: Option<Dtor>) {
    warn_if_used(id);
    free_all(id, dtor);
    if dtor.is_some() && may_wait(c"umbra_shadow_free_all()") {
        Kernel.barrier();
    }
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_type_get(id: c_ulong) -> *mut c_void {
    match global().shadows.table(id, may_sleep()) {
        Ok(table) => table.into_raw().as_ptr(),
        Err(_) => err_ptr(ENOMEM),
    }
}

/// See `umbra.h`.
///
/// # Safety
/// `ty` is a handle that is given back once, NULL or an error pointer.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_type_put(ty: *mut c_void) {
    // The last page of addresses holds error pointers.
    if ty.addr() >= usize::MAX - 4094 {
        return;
    }
    if let Some(ty) = NonNull::new(ty) {
        // SAFETY: the caller's handle.
        drop(unsafe { Table::<Kernel>::from_raw(ty) });
    }
}

/// The table behind a handle.
///
/// # Safety
/// `ty` is a handle, and stays one while the result is used.
unsafe fn table(ty: NonNull<c_void>) -> ManuallyDrop<Table<Kernel>> {
    // SAFETY: the caller's.
    unsafe { Table::borrow_raw(ty) }
}

/// See `umbra.h`.
///
/// # Safety
/// `ty` is a handle.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_alloc(
    ty: NonNull<c_void>,
    obj: *mut c_void,
    size: usize,
    gfp: c_uint,
    ctor: Option<Ctor>,
    ctor_data: *mut c_void,
) -> *mut c_void {
    // SAFETY: the caller's.
    let table = unsafe { table(ty) };
    let wanted = Wanted::plain(obj, size, gfp, ctor, ctor_data);
    match attach(&table, &wanted) {
        Ok(data) => data.as_ptr().cast(),
        Err(error) => err_ptr(errno(&error)),
    }
}

/// See `umbra.h`.
///
/// # Safety
/// `ty` is a handle.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_get_or_alloc(
    ty: NonNull<c_void>,
    obj: *mut c_void,
    size: usize,
    gfp: c_uint,
    ctor: Option<Ctor>,
    ctor_data: *mut c_void,
) -> *mut c_void {
    // SAFETY: the caller's.
    let table = unsafe { table(ty) };
    let wanted = Wanted::plain(obj, size, gfp, ctor, ctor_data);
    match find_or_attach(&table, &wanted) {
        Ok(data) => data.as_ptr().cast(),
        Err(error) => err_ptr(errno(&error)),
    }
}

/// See `umbra.h`.
///
/// # Safety
/// `ty` is a handle.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_free(
    ty: NonNull<c_void>,
    obj: *mut c_void,
    dtor: Option<Dtor>,
) -> bool {
    // SAFETY: the caller's.
    let table = unsafe { table(ty) };
    match dtor {
        Some(dtor) => table.free_with(obj.addr(), dtor).unwrap_or(false),
        None => table.free(obj.addr()),
    }
}

/// See `umbra.h`.
///
/// # Safety
/// `ty` is a handle.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_free_all(ty: NonNull<c_void>, dtor: Option<Dtor>) {
    // SAFETY: the caller's.
    let table = unsafe { table(ty) };
    warn_if_used(table.id());
    trace_free_all(&table);
    table.free_all(dtor);
}

/// See `umbra.h`.
///
/// # Safety
/// `ty` is a handle.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_live(ty: NonNull<c_void>) -> c_ulong {
    // SAFETY: the caller's.
    unsafe { table(ty) }.live() as c_ulong
}

/// See `umbra.h`.
///
/// # Safety
/// `ty` is a handle, `f` takes what `umbra_for_each` promises.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_for_each(
    ty: NonNull<c_void>,
    f: unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void),
    arg: *mut c_void,
) {
    // SAFETY: the caller's.
    unsafe { table(ty) }.for_each(|obj, data| {
        // SAFETY: the caller's function, with the arguments it was promised.
        unsafe {
            f(
                core::ptr::without_provenance_mut(obj),
                data.as_ptr().cast(),
                arg,
            )
        }
    });
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_barrier() {
    if may_wait(c"umbra_barrier()") {
        Kernel.barrier();
    }
}
