//! The places where hooks meet functions, and the decision that a hook takes.
//!
//! A slot is one of [`SLOTS`] trampolines that were stamped out at build time
//! (`src/trampoline.S`). Claimed, it belongs to one function until it is given
//! up; *open*, its word points to the [`Target`] that decides, and *closed* the
//! word is null. So the trampoline asks gate and target with one load, and the
//! word changes only when the state's gate does or a replacing patch takes over.
//!
//! # A slot's life
//! claim and attach (closed) → open ⇄ closed, or exchanged for the next patch's
//! target → closed, detached → *grace period of tasks* → free. The grace period
//! is what makes both the targets and the slot reusable: a task may have been
//! preempted in the trampoline just before it loads the word, and must not find
//! another function's target there.

use core::ffi::c_void;
use core::ptr::NonNull;

use umbra_shadow::Table;
use umbra_shadow::sync::{AtomicPtr, Ordering};
use umbra_state::{Errno, Name};

use crate::ffi;
use crate::platform::{Held, Kernel};

/// How many functions can be hooked at once: `UMBRA_SLOTS` of trampoline.h.
pub(crate) const SLOTS: usize = 64;

pub(crate) const ENOSPC: Errno = Errno(-28);

/// What an open slot leads to: one hook of one patch, not changed while it can
/// be reached.
///
/// The policy is two words: where a call goes whose object has a shadow, and
/// where one goes whose object has none. So a decision is a lookup and a load.
pub(crate) struct Target {
    /// The shadows that the policy asks for; none if [`Rare`] decides.
    table: Option<Table<Kernel>>,
    /// Which argument is the object, from 0.
    argument: usize,
    /// Which argument of the replacement is the shadow's address; 0 for none.
    shadow_argument: usize,
    /// The replacement, or null for the original: if there is a shadow.
    found: *const c_void,
    /// The same, if there is none.
    missed: *const c_void,
    rare: Rare,
    /// The state whose gate opens it.
    pub(crate) state: u64,
    _passing: Option<Passing>,
}

/// What keeps a decision from being a lookup and a load.
struct Rare {
    /// The shadows that the policy asks for; none for "always".
    table: Option<Table<Kernel>>,
    /// Count decisions, which writes (per-CPU) memory.
    counted: bool,
}

/// Which calls a hook diverts.
pub(crate) enum Policy {
    /// All of them.
    Always,
    /// Those whose object has a shadow, and which argument of the replacement is
    /// its address, or 0.
    Has(Table<Kernel>, usize),
    /// Those whose object has none.
    Lacks(Table<Kernel>),
}

/// While one of these lives, shadows are kept for whoever was handed one
/// (`umbra_c_synchronize_readers`). A target has it, so it lives until nobody is
/// in the hook's replacement.
struct Passing(());

impl Passing {
    fn new() -> Self {
        ffi::umbra_c_passing(1);
        Self(())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        ffi::umbra_c_passing(-1);
    }
}

impl Target {
    /// A hook's, of that state. The object is the argument of that number.
    pub(crate) fn new(
        policy: Policy,
        argument: usize,
        replacement: *const c_void,
        state: u64,
        counted: bool,
    ) -> Self {
        let null = core::ptr::null();
        let (table, found, missed, shadow_argument) = match policy {
            Policy::Always => (None, replacement, replacement, 0),
            Policy::Has(table, passed) => (Some(table), replacement, null, passed),
            Policy::Lacks(table) => (Some(table), null, replacement, 0),
        };
        // What `to` and the counting need is kept out of the other hooks' way.
        let (table, rare) = if counted || shadow_argument != 0 {
            (None, table)
        } else {
            (table, None)
        };
        Self {
            table,
            argument,
            shadow_argument,
            found,
            missed,
            rare: Rare {
                table: rare,
                counted,
            },
            state,
            _passing: (shadow_argument != 0).then(Passing::new),
        }
    }

    /// Where a call goes, by what was found.
    ///
    /// # Safety
    /// `args` are the call's.
    #[inline(always)]
    unsafe fn to(&self, found: Option<NonNull<u8>>, args: *mut usize) -> *const c_void {
        let Some(data) = found else {
            return self.missed;
        };
        if self.shadow_argument != 0 {
            // SAFETY: below the six that were saved: `describe` has seen to it.
            unsafe { *args.add(self.shadow_argument) = data.as_ptr().expose_provenance() };
        }
        self.found
    }

    /// A decision that is counted, that hands the shadow over, or that needs no
    /// lookup.
    ///
    /// # Safety
    /// As [`umbra_rs_decide`].
    #[cold]
    #[inline(never)]
    unsafe fn decide_rarely(&self, args: *mut usize) -> *const c_void {
        // SAFETY: the caller's section, and the call's arguments.
        let found = unsafe { lookup(self.rare.table.as_ref(), self.argument, args) };
        // SAFETY: the caller's.
        let to = unsafe { self.to(found, args) };
        if self.rare.counted {
            ffi::umbra_c_count(found.is_some(), !to.is_null());
        }
        to
    }
}

/// # Safety
/// As [`umbra_rs_decide`].
#[inline(always)]
unsafe fn lookup(
    table: Option<&Table<Kernel>>,
    argument: usize,
    args: *const usize,
) -> Option<NonNull<u8>> {
    // SAFETY: the trampoline has saved six arguments, and `describe` has let no
    // other pass.
    let obj = unsafe { *args.add(argument) };
    // SAFETY: the caller's section.
    let held = unsafe { Held::new() };
    table?.get(obj, held.guard())
}

/// `struct umbra_slot`.
#[repr(C)]
struct Slot {
    /// Leads to a [`Target`]; C need not know more.
    target: AtomicPtr<c_void>,
    original: usize,
}

// SAFETY: defined in trampoline.S with this layout (asserted in src/main.c), and
// zeroed, which is a valid value.
unsafe extern "C" {
    safe static umbra_slots: [Slot; SLOTS];
}

// SAFETY: `original` is written by C, before the slot opens, and read by nobody
// in Rust; the rest is atomic.
unsafe impl Sync for Slot {}

/// Where a call goes: the replacement, or null for the original.
///
/// # Safety
/// `target` was loaded from an open slot by this task, which has not slept
/// since; the caller is in a read-side section (`src/api.c`). `args` are the
/// call's six, which are its registers again afterwards.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_decide(target: &Target, args: *mut usize) -> *const c_void {
    // SAFETY: the caller's.
    unsafe {
        let Some(table) = &target.table else {
            return target.decide_rarely(args);
        };
        match lookup(Some(table), target.argument, args) {
            Some(_) => target.found,
            None => target.missed,
        }
    }
}

/// Who uses a slot.
#[derive(Clone, Copy)]
pub(crate) struct Use {
    /// The function's address, as ftrace knows it.
    pub(crate) function: usize,
    /// Its name, for people.
    pub(crate) label: Name,
    /// The patch that hooks it now, for people.
    pub(crate) patch: Name,
    /// What the slot leads to when it is open.
    target: *const Target,
}

impl Use {
    /// What the slot leads to when it is open.
    pub(crate) fn target(&self) -> &Target {
        // SAFETY: a target outlives its use of the slot: `Control` drops it
        // after the switch that ends the use.
        unsafe { &*self.target }
    }
}

/// The slots, under the control lock.
pub(crate) struct Slots {
    uses: [Option<Use>; SLOTS],
}

impl Slots {
    /// All free.
    pub(crate) const fn new() -> Self {
        Self {
            uses: [None; SLOTS],
        }
    }

    /// The slot on `function`.
    pub(crate) fn find(&self, function: usize) -> Option<usize> {
        self.uses
            .iter()
            .position(|u| u.is_some_and(|u| u.function == function))
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        SLOTS - self.iter().count()
    }

    /// The slots in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Use)> {
        self.uses
            .iter()
            .enumerate()
            .filter_map(|(slot, u)| Some((slot, u.as_ref()?)))
    }

    /// Whether calls reach the slot's target.
    pub(crate) fn is_open(slot: usize) -> bool {
        // Relaxed: a report, and the writer holds the same lock.
        umbra_slots
            .get(slot)
            .is_some_and(|s| !s.target.load(Ordering::Relaxed).is_null())
    }

    fn store(slot: usize, target: *const Target) {
        if let Some(slot) = umbra_slots.get(slot) {
            // Release: pairs with the load in the trampoline (on x86 any load is
            // an acquire): who finds the target sees what is in it, and what the
            // state's callbacks did before it opened.
            slot.target
                .store(target.cast_mut().cast(), Ordering::Release);
        }
    }

    /// Puts a closed trampoline on a function.
    ///
    /// # Errors
    /// ftrace's; no slot is taken, but a task may be in its trampoline until the
    /// next grace period of tasks.
    ///
    /// # Safety
    /// `target` is valid until [`release`](Self::release) of the slot, or until
    /// the grace period of tasks after an [`exchange`](Self::exchange).
    pub(crate) unsafe fn attach(
        &mut self,
        function: usize,
        label: Name,
        patch: Name,
        target: *const Target,
    ) -> Result<usize, Errno> {
        let free = self.uses.iter().position(Option::is_none);
        let slot = free.ok_or(ENOSPC)?;
        match ffi::umbra_c_attach(slot as u32, function as _) {
            0 => {}
            errno => return Err(Errno(errno)),
        }
        if let Some(place) = self.uses.get_mut(slot) {
            *place = Some(Use {
                function,
                label,
                patch,
                target,
            });
        }
        Ok(slot)
    }

    /// Gives the slot another patch's target, open or closed.
    ///
    /// # Safety
    /// As [`attach`](Self::attach).
    pub(crate) unsafe fn exchange(
        &mut self,
        slot: usize,
        patch: Name,
        target: *const Target,
        open: bool,
    ) {
        if let Some(Some(place)) = self.uses.get_mut(slot) {
            place.patch = patch;
            place.target = target;
            Self::store(slot, if open { target } else { core::ptr::null() });
        }
    }

    /// Closes a slot and takes the trampoline off. The slot stays taken until
    /// [`release`](Self::release).
    pub(crate) fn detach(&mut self, slot: usize) {
        Self::store(slot, core::ptr::null());
        ffi::umbra_c_detach(slot as u32);
    }

    /// Frees a detached slot, after the grace period of tasks.
    pub(crate) fn release(&mut self, slot: usize) {
        if let Some(place) = self.uses.get_mut(slot) {
            *place = None;
            ffi::umbra_c_release(slot as u32);
        }
    }

    /// The gate of a state opened or closed.
    pub(crate) fn gate(&self, state: u64, open: bool) {
        for (slot, used) in self.iter() {
            if used.target().state == state {
                Self::store(slot, if open { used.target } else { core::ptr::null() });
            }
        }
    }
}
