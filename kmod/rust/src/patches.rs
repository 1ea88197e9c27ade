//! Patches: from `struct umbra_patch` to the engine, and the engine's [`Host`].
//!
//! The engine decides what happens and in which order; here is how it happens
//! in a kernel. Everything runs under the control lock.
//!
//! # Who keeps what
//! A [`Record`] is made for each patch before the engine hears of it. It goes
//! when the engine says that nothing of the patch is used any more, and with it
//! the module's reference; by then the switch has waited for the tasks in its
//! replacements and the barrier for its destructors.

use alloc::vec::Vec;
use core::ffi::{c_int, c_uint, c_void};

use umbra_shadow::Smr;
use umbra_state::{
    Callback, Change, Direction, Engine, Errno, Event, Host, Installed, Name, Patch, Progress,
    Reason, Rules, State, Status, Switch,
};

use crate::adapter::{Core, Driver, takes_livepatches};
use crate::describe::{Record, describe, no_memory};
use crate::ffi::{self, CHook, CPatch, CState};
use crate::global::Locked;
use crate::log;
use crate::platform::Kernel;
use crate::shadows::may_wait;
use crate::slots::{ENOSPC, SLOTS, Slots, Target};

/// Waiting for oneself.
const EDEADLK: c_int = -35;

/// What the control lock protects.
pub(crate) struct Control {
    pub(crate) engine: Engine,
    pub(crate) slots: Slots,
    pub(crate) records: Vec<Record>,
    pub(crate) driver: Driver,
}

impl Control {
    /// Nothing enabled.
    pub(crate) const fn new(seed: u64, slots: Slots) -> Self {
        Self {
            engine: Engine::new(seed, Rules::Umbra),
            slots,
            records: Vec::new(),
            driver: Driver::new(),
        }
    }

    /// What is enabled.
    pub(crate) fn installed(&self) -> &Installed {
        self.engine.installed()
    }

    /// The slots.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The engine, and the host that it works with.
    pub(crate) fn split(&mut self, core: Core) -> (&mut Engine, KernelHost<'_>) {
        let host = KernelHost {
            slots: &mut self.slots,
            records: &mut self.records,
            core,
        };
        (&mut self.engine, host)
    }

    /// Goes on until the transition ends or waits for the livepatch core.
    pub(crate) fn run(&mut self, core: Core) -> Status {
        let (engine, mut host) = self.split(core);
        engine.run(&mut host)
    }

    /// The name of a patch that we know, enabled or not.
    pub(crate) fn record_name(&self, patch: *const CPatch) -> Name {
        self.records
            .iter()
            .find(|r| core::ptr::eq(r.patch, patch))
            .map_or(Name::EMPTY, |r| r.name)
    }

    /// Whether the patch of this name is a livepatch.
    pub(crate) fn is_livepatch(&self, name: Name) -> bool {
        self.records.iter().any(|r| r.livepatch && r.name == name)
    }

    fn enable(&mut self, patch: *mut CPatch) -> Result<(), Errno> {
        self.begin(patch, false)?;
        let name = self.record_name(patch);
        let outcome = match self.run(Core::Done) {
            Status::Undone(cause) => {
                log::error(format_args!("{name}: not enabled: {cause}"));
                // Nothing of it is used: the engine has taken everything back.
                self.records.pop();
                Err(cause.errno())
            }
            _ => {
                log::info(format_args!("{name}: enabled"));
                Ok(())
            }
        };
        self.records.retain(|record| !record.gone);
        outcome
    }

    /// Reads and plans a patch, and begins to enable it. Its record is the last.
    pub(crate) fn begin(&mut self, patch: *mut CPatch, livepatch: bool) -> Result<(), Errno> {
        // The engine knows patches by name; two records of one structure would
        // be one to us, whatever it calls itself now.
        if let Some(name) = self.name_of(patch) {
            log::refused(format_args!(
                "patch {name} is enabled already; disable it first to enable it anew"
            ));
            return Err(Errno::EEXIST);
        }
        // SAFETY: the C caller's structure, valid until it is disabled.
        let (described, mut record) = unsafe { describe(patch) }?;
        let name = described.name;
        record.livepatch = livepatch;
        if !livepatch && takes_livepatches(self, described.replace) {
            log::refused(format_args!(
                "patch {name} would replace livepatches, which only a livepatch can; \
                 disable them by /sys/kernel/livepatch, or enable it without .replace"
            ));
            return Err(Errno::EBUSY);
        }
        if self.records.try_reserve(1).is_err() {
            return Err(no_memory(name));
        }
        self.records.push(record);
        let (engine, mut host) = self.split(Core::Done);
        engine.enable(described, &mut host).map_err(|refusal| {
            log::refused(format_args!("{refusal}"));
            self.records.pop();
            refusal.errno()
        })
    }

    fn disable(&mut self, name: &str) -> Result<(), Errno> {
        if self
            .records
            .iter()
            .any(|r| r.livepatch && r.name.as_str() == name)
        {
            log::refused(format_args!(
                "{name} is a livepatch; write 0 to /sys/kernel/livepatch/{name}/enabled"
            ));
            return Err(Errno::EINVAL);
        }
        let (engine, mut host) = self.split(Core::Done);
        if let Err(refusal) = engine.disable(name, &mut host) {
            log::refused(format_args!("{refusal}"));
            return Err(refusal.errno());
        }
        let status = engine.run(&mut host);
        if let Status::Undone(cause) = status {
            log::error(format_args!("{name}: not disabled: {cause}"));
            return Err(cause.errno());
        }
        log::info(format_args!("{name}: disabled"));
        self.records.retain(|record| !record.gone);
        Ok(())
    }

    /// The name under which a C structure is enabled.
    fn name_of(&self, patch: *const CPatch) -> Option<Name> {
        let known = |p: &&Patch| core::ptr::eq(p.cookie as *const CPatch, patch);
        self.installed()
            .patches()
            .iter()
            .find(known)
            .map(|p| p.name)
    }
}

/// The kernel, as the engine sees it.
pub(crate) struct KernelHost<'a> {
    slots: &'a mut Slots,
    records: &'a mut Vec<Record>,
    /// What the livepatch core has to do with the switch.
    core: Core,
}

impl KernelHost<'_> {
    /// A hook's target, and its C structure.
    fn target(&self, end: &umbra_state::Target<'_>) -> Option<(*const Target, *mut CHook)> {
        let record = self
            .records
            .iter()
            .find(|r| r.patch.expose_provenance() == end.patch.cookie)?;
        let index = end.hook.cookie;
        let target = record.targets.get(index)?;
        // SAFETY: the patch's array, which `describe` walked to this index, and
        // which stays in place as long as the record.
        let hook = unsafe { (*record.patch).hooks.add(index) };
        Some((core::ptr::from_ref(target), hook))
    }

    /// Puts the trampolines on the functions that have none; all or nothing.
    fn attach(&mut self, switch: &Switch<'_>) -> Result<(), Errno> {
        let new = |c: &Change<'_>| c.from.is_none() && c.to.is_some();
        let (wanted, free) = (switch.changes().filter(new).count(), self.slots.free());
        if wanted > free {
            log::error(format_args!(
                "{wanted} functions more are to be hooked, {free} slots are left; \
                 {SLOTS} functions can be hooked at once"
            ));
            return Err(ENOSPC);
        }
        for change in switch.changes() {
            let Change {
                from: None,
                to: Some(to),
            } = change
            else {
                continue;
            };
            let Some((target, hook)) = self.target(&to) else {
                continue;
            };
            let (function, label, patch) = (to.hook.function, to.hook.label, to.patch.name);
            // SAFETY: the author's hook; `describe` has read the name.
            let there = unsafe { ffi::umbra_c_attach_begin((*hook).symbol, function as _) };
            if there != 0 {
                let errno = Errno(there);
                if errno == Errno::ENOENT {
                    log::error(format_args!(
                        "patch {patch}: {label} is gone, for its module was unloaded meanwhile"
                    ));
                } else {
                    log::error(format_args!(
                        "patch {patch}: {label} cannot be looked up a second time: {errno}"
                    ));
                }
                self.unattach(switch, function);
                return Err(errno);
            }
            // SAFETY: the record keeps the target until the patch is removed,
            // which is after the switch that takes the hook away, or until the
            // engine has taken everything back, which is after `unattach`.
            let attached = unsafe { self.slots.attach(function, label, patch, target) };
            ffi::umbra_c_attach_end();
            let Err(errno) = attached else { continue };
            log::error(format_args!(
                "patch {patch}: ftrace gives us no call in {label}: {errno}{}",
                if errno == Errno::EBUSY {
                    "; another tracer's direct call is there, or the sysctl kernel.ftrace_enabled is 0"
                } else {
                    ""
                }
            ));
            self.unattach(switch, function);
            return Err(errno);
        }
        Ok(())
    }

    /// Takes the trampolines off again that `attach` put on before `failed`.
    fn unattach(&mut self, switch: &Switch<'_>, failed: usize) {
        let added = |change: &Change<'_>| match change {
            Change {
                from: None,
                to: Some(to),
            } => Some(to.hook.function),
            _ => None,
        };
        let done = || {
            switch
                .changes()
                .filter_map(|c| added(&c))
                .take_while(|&f| f != failed)
        };
        done()
            .filter_map(|f| self.slots.find(f))
            .for_each(|slot| ffi::umbra_c_detach(slot as u32));
        ffi::umbra_c_synchronize_tasks();
        for function in done() {
            if let Some(slot) = self.slots.find(function) {
                self.slots.release(slot);
            }
        }
    }
}

impl Host for KernelHost<'_> {
    fn call(
        &mut self,
        patch: &Patch,
        state: &State,
        callback: Callback,
        reason: Reason,
    ) -> Result<(), Errno> {
        let c_patch = core::ptr::with_exposed_provenance_mut::<CPatch>(patch.cookie);
        let c_state = core::ptr::with_exposed_provenance_mut::<CState>(state.cookie);
        let reason = reason as u8 as c_uint;
        // SAFETY: the structures stay in place while the patch is enabled; the
        // functions are the author's, with the arguments they were promised.
        unsafe {
            let other = match callback {
                Callback::PrePatch => {
                    let result = (*c_state)
                        .pre_patch
                        .map_or(0, |f| f(c_patch, c_state, reason));
                    return match result {
                        0 => Ok(()),
                        errno if (-4095..0).contains(&errno) => Err(Errno(errno)),
                        _ => Err(Errno::EINVAL),
                    };
                }
                Callback::PostPatch => (*c_state).post_patch,
                Callback::PreUnpatch => (*c_state).pre_unpatch,
                Callback::PostUnpatch => (*c_state).post_unpatch,
            };
            if let Some(f) = other {
                f(c_patch, c_state, reason);
            }
        }
        Ok(())
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno> {
        match (self.core, switch.direction()) {
            _ if switch.forced() => {}
            (Core::Done, _) => {}
            (Core::Busy, _) => return Ok(Progress::Pending),
            (Core::Failed, Direction::Forward) => return Err(Errno::EINVAL),
            (Core::Failed, Direction::Back) => {}
        }
        self.attach(switch)?;
        // From here on nothing fails.
        let mut closed = false;
        for change in switch.changes() {
            let function = change.to.or(change.from).map_or(0, |end| end.hook.function);
            let Some(slot) = self.slots.find(function) else {
                continue;
            };
            closed |= change.from.is_some();
            if let Some(to) = change.to {
                if let Some((target, hook)) = self.target(&to) {
                    // SAFETY: the hook's place, before anybody can run its
                    // replacement; an address array of trampoline.S.
                    unsafe {
                        let original = ffi::umbra_originals.get(slot).copied().unwrap_or(0);
                        (*hook).original = core::ptr::with_exposed_provenance(original);
                        self.slots
                            .exchange(slot, to.patch.name, target, to.gate.is_open());
                    }
                }
            } else {
                self.slots.detach(slot);
            }
        }
        if closed {
            // Until here a task may be in a replacement that was taken away, or
            // in a trampoline on its way there.
            ffi::umbra_c_synchronize_tasks();
        }
        for change in switch.changes() {
            if let Change {
                from: Some(from),
                to: None,
            } = change
                && let Some(slot) = self.slots.find(from.hook.function)
            {
                self.slots.release(slot);
            }
        }
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _patch: &Patch, state: &State) {
        crate::shadows::free_all(state.id, state.shadow_dtor);
    }

    fn barrier(&mut self) {
        Kernel.barrier();
    }

    fn quiescent(&mut self, patch: &Patch) -> bool {
        // The switch has waited for the tasks in hooks; whom a forced livepatch
        // left in its code nobody knows.
        let this = |r: &&Record| r.patch.expose_provenance() == patch.cookie;
        self.records.iter().find(this).is_some_and(|r| !r.livepatch)
    }

    fn event(&mut self, event: &Event<'_>) {
        match *event {
            Event::Quarantined(patch, state) => log::warn(format_args!(
                "{}: state {} ({}) stays as it is, and so do its shadows: the transition was \
                 forced, so a task may still run the code that uses them",
                patch.name, state.id, state.name
            )),
            Event::Pinned(patch) => {
                for record in self.records.iter_mut() {
                    record.pinned |= record.patch.expose_provenance() == patch.cookie;
                }
                log::warn(format_args!(
                    "{}: its module cannot be unloaded: the transition was forced",
                    patch.name
                ));
            }
            Event::Disagrees {
                patch,
                state,
                other,
                what,
            } => log::warn(format_args!(
                "{}: state {} ({}) is not described as by {other}, which has it too: {what} differs",
                patch.name, state.id, state.name
            )),
            Event::Gate(state, open) => self.slots.gate(state.id, open),
            Event::Called {
                patch,
                state,
                callback,
                reason,
                result,
            } => {
                let result = result.map_or_else(|errno| errno.0, |()| 0);
                let name = patch.name.as_str();
                // SAFETY: a text of `len` bytes.
                unsafe {
                    ffi::umbra_c_trace_callback(
                        name.as_ptr(),
                        name.len(),
                        state.id,
                        callback as c_uint,
                        reason as c_uint,
                        result,
                    );
                }
                log::info(format_args!(
                    "{}: state {} ({}): {callback} on {reason} returned {result}",
                    patch.name, state.id, state.name
                ));
            }
            Event::Removed(patch) => {
                for record in self.records.iter_mut() {
                    record.gone |= record.patch.expose_provenance() == patch.cookie;
                }
            }
            _ => {}
        }
    }
}

/// Runs `f` under the control lock; its errno, or 0.
pub(crate) fn locked(f: impl FnOnce(&mut Control) -> Result<(), Errno>) -> c_int {
    match Locked::take() {
        Ok(mut locked) => match f(locked.control()) {
            Ok(()) => 0,
            Err(errno) => errno.0,
        },
        Err(errno) => {
            log::refused(format_args!(
                "a state's callback may not enable or disable a patch; do it from elsewhere"
            ));
            errno
        }
    }
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_enable_patch(patch: *mut CPatch) -> c_int {
    locked(|control| control.enable(patch))
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_disable_patch(patch: *mut CPatch) -> c_int {
    if !may_wait(c"umbra_disable_patch()") {
        return EDEADLK;
    }
    locked(|control| match control.name_of(patch) {
        Some(name) => control.disable(name.as_str()),
        None => {
            log::refused(format_args!(
                "this patch is not enabled, so there is nothing to disable"
            ));
            Err(Errno::ENOENT)
        }
    })
}

/// See `umbra.h`; a [`Gate`](umbra_state::Gate) is a `struct umbra_gate`.
#[unsafe(no_mangle)]
extern "C" fn umbra_gate_get(state: core::ffi::c_ulong) -> *const c_void {
    // Who has the lock may be waiting for reclamation.
    if !may_wait(c"umbra_gate_get()") {
        return crate::shadows::err_ptr(EDEADLK);
    }
    let errno = match Locked::take() {
        Ok(mut locked) => match locked.control().installed().gate(state) {
            // It lives as long as the engine and does not move.
            Some(gate) => return core::ptr::from_ref(gate).cast(),
            None => Errno::ENOENT.0,
        },
        Err(errno) => errno,
    };
    crate::shadows::err_ptr(errno)
}

/// `/sys/kernel/umbra/disable`.
///
/// # Safety
/// `name` points to `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_disable_name(name: *const u8, len: usize) -> c_int {
    // SAFETY: the caller's.
    let name = unsafe { core::slice::from_raw_parts(name, len) };
    let name = core::str::from_utf8(name).unwrap_or("(not text)");
    locked(|control| control.disable(name))
}
