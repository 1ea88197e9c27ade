//! A target module goes: what it leaves behind is released (D3).
//!
//! Its exit function has run and its memory is still there (`src/target.c`). Its
//! hooks are closed and taken off, and waited for; the engine forgets their
//! functions. The shadows of states that name the module are freed, destructors
//! included, but for those that a forced transition has put into quarantine: they
//! stay, as all else of their patch does. No callback of a state runs (R40).

use core::ffi::{c_char, c_void};
use core::ptr::NonNull;

use umbra_state::OutOfMemory;

use crate::ffi::{self, CState, Module};
use crate::log;
use crate::patches::{Control, locked};
use crate::platform::Kernel;
use crate::slots::SLOTS;

/// A module by whose name a state calls its target: watched while this lives.
pub(crate) struct Watched(NonNull<c_void>);

impl Watched {
    /// # Safety
    /// The name stays in place while this lives.
    pub(crate) unsafe fn new(name: *const c_char) -> Result<Self, OutOfMemory> {
        // SAFETY: the caller's.
        let watched = NonNull::new(unsafe { ffi::umbra_c_target_add(name) });
        watched.map(Self).ok_or(OutOfMemory)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: from `umbra_c_target_add`, given back once.
        unsafe { ffi::umbra_c_target_remove(self.0.as_ptr()) }
    }
}

impl Control {
    /// # Safety
    /// `module` is one that is going; `name` is its name.
    unsafe fn target_going(&mut self, module: *mut Module, name: &str) {
        // SAFETY: the caller's.
        let within = |function: usize| unsafe { ffi::umbra_c_within(module, function as _) };
        let mut taken = [false; SLOTS];
        let mut hooks = 0;
        for (slot, used) in self.slots.iter() {
            if within(used.function)
                && let Some(taken) = taken.get_mut(slot)
            {
                *taken = true;
                hooks += 1;
            }
        }
        let chosen = || {
            (0..)
                .zip(&taken)
                .filter_map(|(slot, &on)| on.then_some(slot))
        };
        if hooks > 0 {
            chosen().for_each(|slot| self.slots.detach(slot));
            ffi::umbra_c_synchronize_tasks();
            chosen().for_each(|slot| self.slots.release(slot));
        }
        self.engine.forget_functions(within);

        let mut states = 0;
        for record in &self.records {
            // SAFETY: the author's structures, which `describe` has walked and
            // which stay in place as long as the record.
            let of = unsafe { states_of(record.patch) };
            for state in of {
                // SAFETY: a name that is watched, and the module.
                let target = !state.target.is_null()
                    && unsafe { ffi::umbra_c_target_is(module, state.target) };
                if target && state.is_shadow && !self.may_be_used(state.id) {
                    crate::shadows::free_all(state.id, state.shadow_dtor);
                    states += 1;
                }
            }
        }
        if states > 0 {
            // The destructors may need what goes next.
            umbra_shadow::Smr::barrier(&Kernel);
        }
        if hooks > 0 || states > 0 {
            log::info(format_args!(
                "module {name} goes: {hooks} hooks taken off, the shadows of {states} states freed"
            ));
        }
    }
}

impl Control {
    /// A task that a forced transition left behind may use the state's shadows.
    fn may_be_used(&self, id: core::ffi::c_ulong) -> bool {
        self.records.iter().any(|record| {
            // SAFETY: a patch that we keep a record of.
            record.pinned
                && unsafe { states_of(record.patch) }
                    .iter()
                    .any(|s| s.id == id)
        })
    }
}

/// # Safety
/// `patch` is one that we keep a record of.
unsafe fn states_of<'a>(patch: *mut ffi::CPatch) -> &'a [CState] {
    // SAFETY: the caller's.
    let patch = unsafe { &*patch };
    if patch.nr_states == 0 {
        return &[];
    }
    // SAFETY: the caller's; not null, or `describe` had refused it.
    unsafe { core::slice::from_raw_parts(patch.states, patch.nr_states) }
}

/// # Safety
/// `module` is going, `name` is its name.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_target_going(module: *mut Module, name: *const c_char) {
    locked(|control| {
        // SAFETY: the caller's.
        let name = unsafe { core::ffi::CStr::from_ptr(name) };
        // SAFETY: the caller's.
        unsafe { control.target_going(module, name.to_str().unwrap_or("(not text)")) };
        Ok(())
    });
}
