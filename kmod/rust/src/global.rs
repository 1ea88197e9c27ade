//! The one value of everything that lives as long as the module.
//!
//! The module loader orders our life: `umbra_rs_init` runs before any exported
//! symbol can be called, `umbra_rs_exit` after the last module that could call
//! one is gone. Between them the value is there and does not move.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::mem::MaybeUninit;

use umbra_shadow::{ShadowTable, Smr, Table};

use crate::ffi;
use crate::log;
use crate::patches::Control;
use crate::platform::Kernel;
use crate::slots::Slots;

/// All of it.
pub(crate) struct Global {
    /// Every shadow by id.
    pub(crate) shadows: ShadowTable<Kernel>,
    /// What the control lock protects.
    control: UnsafeCell<Control>,
    /// The parameter `counters`.
    pub(crate) counters: bool,
}

/// The control lock, held.
pub(crate) struct Locked(());

impl Locked {
    /// Takes the lock; may sleep.
    ///
    /// # Errors
    /// `-EDEADLK` if the caller has it: it is a callback.
    pub(crate) fn take() -> Result<Self, c_int> {
        match ffi::umbra_c_lock() {
            0 => Ok(Self(())),
            errno => Err(errno),
        }
    }

    /// Takes the lock if nobody has it.
    pub(crate) fn try_take() -> Option<Self> {
        ffi::umbra_c_trylock().then(|| Self(()))
    }

    /// What the lock protects.
    pub(crate) fn control(&mut self) -> &mut Control {
        // SAFETY: the lock is held, and the borrow ends before it is given up;
        // `&mut self` keeps a second one from being made meanwhile.
        unsafe { &mut *global().control.get() }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: taken in `take`.
        unsafe { ffi::umbra_c_unlock() }
    }
}

struct Place(UnsafeCell<MaybeUninit<Global>>);

// SAFETY: written by init and exit only, when nobody else looks; between them it
// is read, and `control` is reached through the lock.
unsafe impl Sync for Place {}

static PLACE: Place = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// The value.
#[inline]
pub(crate) fn global() -> &'static Global {
    // SAFETY: the module's introduction: whoever calls runs between init and exit.
    unsafe { (*PLACE.0.get()).assume_init_ref() }
}

#[unsafe(no_mangle)]
extern "C" fn umbra_rs_init(counters: bool) -> c_int {
    let control = Control::new(ffi::umbra_c_seed(), Slots::new());
    let global = Global {
        shadows: ShadowTable::new(Kernel),
        control: UnsafeCell::new(control),
        counters,
    };
    // SAFETY: nobody looks before init returns.
    unsafe { (*PLACE.0.get()).write(global) };
    log::info(format_args!("loaded"));
    0
}

/// Calls `f` for each known id's table. No guard is held meanwhile, so `f` may take
/// its time.
pub(crate) fn each_type(mut f: impl FnMut(&Table<Kernel>)) {
    let mut last = None;
    loop {
        let mut next: Option<Table<Kernel>> = None;
        global().shadows.for_each_type(|table| {
            if next.is_none() && last.is_none_or(|last| table.id() > last) {
                next = Some(table.clone());
            }
        });
        let Some(table) = next else { return };
        last = Some(table.id());
        f(&table);
    }
}

/// The object of the oldest variable and where it was attached (`src/sites.c`). If
/// that was not noted of any, some object and 0.
pub(crate) fn oldest(table: &Table<Kernel>) -> (usize, u64) {
    let mut found = (0, 0);
    table.for_each(|obj, _| {
        let site = table.cookie(obj, &Kernel.pin()).unwrap_or(0);
        // The time is in the upper half.
        if found.1 == 0 || site != 0 && site < found.1 {
            found = (obj, site);
        }
    });
    found
}

/// The end: no patch is enabled, for each would hold the module. Shadows that
/// are left were leaked by whoever attached them outside of a state.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_exit() {
    Kernel.barrier();
    let mut leaked = 0_usize;
    each_type(|table| {
        let live = table.live();
        if live != 0 {
            leaked += live;
            let (obj, site) = oldest(table);
            ffi::umbra_c_leaked(table.id(), live, core::ptr::without_provenance(obj), site);
        }
    });
    // SAFETY: nobody calls us any more, so this is the last look at the value.
    unsafe { (*PLACE.0.get()).assume_init_drop() };
    // Dropping the types has retired what was in them.
    Kernel.barrier();
    log::info(format_args!("unloaded, {leaked} shadows leaked"));
}
