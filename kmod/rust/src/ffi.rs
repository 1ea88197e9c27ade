//! The C side of the seam (`src/internal.h`), and the structures of `umbra.h`.

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

/// `struct module`, only ever pointed to.
#[repr(C)]
pub(crate) struct Module {
    _opaque: [u8; 0],
}

/// `struct seq_file`, only ever pointed to.
#[repr(C)]
pub(crate) struct SeqFile {
    _opaque: [u8; 0],
}

/// `umbra_shadow_ctor_t`.
pub(crate) type Ctor = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> c_int;

/// `struct umbra_state_callbacks`: `pre_patch`.
pub(crate) type PrePatch = unsafe extern "C" fn(*mut CPatch, *mut CState, c_uint) -> c_int;
/// `struct umbra_state_callbacks`: the other three.
pub(crate) type OtherCall = unsafe extern "C" fn(*mut CPatch, *mut CState, c_uint);

/// `struct umbra_state`.
#[repr(C)]
pub(crate) struct CState {
    pub(crate) id: c_ulong,
    pub(crate) name: *const c_char,
    pub(crate) is_shadow: bool,
    pub(crate) block_disable: bool,
    pub(crate) pre_patch: Option<PrePatch>,
    pub(crate) post_patch: Option<OtherCall>,
    pub(crate) pre_unpatch: Option<OtherCall>,
    pub(crate) post_unpatch: Option<OtherCall>,
    pub(crate) shadow_dtor: Option<umbra_shadow::Dtor>,
    pub(crate) target: *const c_char,
}

/// `struct umbra_hook`.
#[repr(C)]
pub(crate) struct CHook {
    pub(crate) symbol: *const c_char,
    pub(crate) replacement: *const c_void,
    pub(crate) state: c_ulong,
    pub(crate) shadow: c_ulong,
    pub(crate) policy: c_uint,
    pub(crate) argument: c_uint,
    pub(crate) shadow_argument: c_uint,
    pub(crate) original: *const c_void,
}

/// `struct umbra_patch`.
#[repr(C)]
pub(crate) struct CPatch {
    pub(crate) module: *mut Module,
    pub(crate) name: *const c_char,
    pub(crate) states: *mut CState,
    pub(crate) nr_states: usize,
    pub(crate) hooks: *mut CHook,
    pub(crate) nr_hooks: usize,
    pub(crate) replace: bool,
}

// `src/api.c` asserts the same numbers of the C structures.
const _: () = assert!(size_of::<CState>() == 72 && size_of::<CHook>() == 56);
const _: () = assert!(size_of::<CPatch>() == 56);

/// `struct umbra_counters`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) hit: u64,
    pub(crate) miss: u64,
    pub(crate) diverted: u64,
}

/// `struct umbra_new` of `src/internal.h`.
#[repr(C)]
pub(crate) struct New {
    pub(crate) ty: *mut c_void,
    pub(crate) id: c_ulong,
    pub(crate) obj: *mut c_void,
    pub(crate) size: usize,
    pub(crate) cookie: u64,
    pub(crate) ctor: Option<Ctor>,
    pub(crate) ctor_data: *mut c_void,
    pub(crate) gfp: c_uint,
    pub(crate) irqs_off: bool,
}

const _: () = assert!(size_of::<New>() == 64);

/// `LOGLEVEL_*`.
pub(crate) const EMERG: c_int = 0;
pub(crate) const ERR: c_int = 3;
pub(crate) const WARNING: c_int = 4;
pub(crate) const INFO: c_int = 6;
/// `UMBRA_LOGLEVEL_OFTEN`.
pub(crate) const OFTEN: c_int = 100;

// SAFETY: declared as src/internal.h declares them.
unsafe extern "C" {
    pub(crate) static umbra_c_gfp_kernel: c_uint;
    pub(crate) static umbra_originals: [usize; crate::slots::SLOTS];

    pub(crate) fn umbra_c_zalloc(size: usize, align: usize, gfp: c_uint) -> *mut u8;
    pub(crate) fn umbra_c_free(ptr: *mut u8);
    pub(crate) safe fn umbra_c_relax(gfp: c_uint, round: c_uint) -> bool;
    pub(crate) safe fn umbra_c_resched();
    pub(crate) safe fn umbra_c_clock() -> u64;
    pub(crate) safe fn umbra_c_slice() -> u64;
    pub(crate) safe fn umbra_c_guard();
    pub(crate) fn umbra_c_unguard();
    pub(crate) safe fn umbra_c_irqs_off() -> c_ulong;
    pub(crate) fn umbra_c_irqs_as(flags: c_ulong);
    pub(crate) safe fn umbra_c_synchronize_rcu();
    pub(crate) safe fn umbra_c_synchronize_readers();
    pub(crate) safe fn umbra_c_passing(change: c_int);
    pub(crate) safe fn umbra_c_queue_reclaim();
    pub(crate) safe fn umbra_c_flush_reclaim();
    pub(crate) safe fn umbra_c_seed() -> u64;
    pub(crate) safe static umbra_check_on: bool;
    pub(crate) fn umbra_c_construct(
        ctor: Ctor,
        obj: *mut c_void,
        data: *mut c_void,
        ctor_data: *mut c_void,
    ) -> c_int;
    pub(crate) fn umbra_c_may_wait(what: *const c_char) -> bool;
    pub(crate) safe fn umbra_c_lock() -> c_int;
    pub(crate) safe fn umbra_c_trylock() -> bool;
    pub(crate) fn umbra_c_unlock();
    pub(crate) fn umbra_c_module_get(module: *mut Module) -> bool;
    pub(crate) fn umbra_c_module_put(module: *mut Module);
    pub(crate) fn umbra_c_module_name(module: *mut Module) -> *const c_char;
    pub(crate) fn umbra_c_refused(text: *const u8, len: usize);
    pub(crate) safe fn umbra_c_duplicate(id: c_ulong);
    pub(crate) fn umbra_c_trace_callback(
        patch: *const u8,
        len: usize,
        state: c_ulong,
        callback: c_uint,
        reason: c_uint,
        result: c_int,
    );
    pub(crate) safe fn umbra_c_trace_split(id: c_ulong);
    pub(crate) safe fn umbra_c_leaked(id: c_ulong, live: usize, obj: *const c_void, site: u64);
    pub(crate) fn umbra_c_audit(
        m: *mut SeqFile,
        id: c_ulong,
        live: usize,
        obj: *const c_void,
        site: u64,
    );
    pub(crate) safe fn umbra_c_traces_free_all() -> bool;
    pub(crate) safe fn umbra_c_trace_free_all(id: c_ulong, live: c_ulong);
    pub(crate) fn umbra_c_log(level: c_int, text: *const u8, len: usize);
    pub(crate) fn umbra_c_seq_write(m: *mut SeqFile, text: *const u8, len: usize);
    pub(crate) safe fn umbra_c_count(hit: bool, diverted: bool);
    pub(crate) safe fn umbra_c_counters(sum: &mut Counters);

    pub(crate) fn umbra_c_resolve(symbol: *const c_char, addr: *mut c_ulong) -> c_int;
    pub(crate) safe fn umbra_c_attach(slot: u32, addr: c_ulong) -> c_int;
    pub(crate) safe fn umbra_c_detach(slot: u32);
    pub(crate) safe fn umbra_c_release(slot: u32);
    pub(crate) safe fn umbra_c_synchronize_tasks();

    pub(crate) fn umbra_c_target_add(name: *const c_char) -> *mut c_void;
    pub(crate) fn umbra_c_target_remove(target: *mut c_void);
    pub(crate) fn umbra_c_target_is(module: *mut Module, name: *const c_char) -> bool;
    pub(crate) fn umbra_c_within(module: *mut Module, addr: c_ulong) -> bool;
    pub(crate) fn umbra_c_attach_begin(symbol: *const c_char, addr: c_ulong) -> c_int;
    pub(crate) safe fn umbra_c_attach_end();

    pub(crate) fn umbra_c_livepatch_forced(patch: *mut CPatch) -> bool;
}
