//! Patches: from `struct umbra_patch` to the engine, and the engine's [`Host`].
//!
//! The engine decides what happens and in which order; here is how it happens
//! in a kernel. Everything runs under the control lock.
//!
//! # Who keeps what
//! A [`Record`] is made for each patch before the engine hears of it: it holds
//! the module and the hooks' targets. It goes when the engine says that nothing
//! of the patch is used any more, and with it the module's reference; by then
//! the switch has waited for the tasks in its replacements and the barrier for
//! its destructors.

use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int, c_uint, c_ulong};

use umbra_shadow::{Smr, Table};
use umbra_state::{
    Callback, Callbacks, Change, Engine, Errno, Event, Hook, Host, Installed, Name, Patch,
    Progress, Reason, Replace, Rules, State, Status, Switch,
};

use crate::ffi::{self, CHook, CPatch, CState};
use crate::global::{Locked, global};
use crate::log;
use crate::platform::{Kernel, may_sleep};
use crate::slots::{HookError, SLOTS, Slots, Target};

const ENODEV: Errno = Errno(-19);
const ENOSPC: Errno = Errno(-28);

/// What the control lock protects.
pub(crate) struct Control {
    engine: Engine,
    slots: Slots,
    records: Vec<Record>,
}

/// A patch that the engine knows, or is about to.
struct Record {
    patch: *mut CPatch,
    /// The hooks' targets, in their order; never grown once the engine knows
    /// their addresses.
    targets: Vec<Target>,
    /// The engine has removed it.
    gone: bool,
    /// The reference to the patch's module.
    _module: ModuleRef,
}

/// A reference to a module.
struct ModuleRef(*mut ffi::Module);

impl ModuleRef {
    /// # Safety
    /// `module` is a module or null.
    unsafe fn take(module: *mut ffi::Module) -> Option<Self> {
        // SAFETY: the caller's.
        unsafe { ffi::umbra_c_module_get(module) }.then_some(Self(module))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: taken in `take`.
        unsafe { ffi::umbra_c_module_put(self.0) }
    }
}

impl Control {
    /// Nothing enabled.
    pub(crate) const fn new(seed: u64, slots: Slots) -> Self {
        Self {
            engine: Engine::new(seed, Rules::Umbra),
            slots,
            records: Vec::new(),
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

    fn enable(&mut self, patch: *mut CPatch) -> Result<(), Errno> {
        // SAFETY: the C caller's structure, valid until it is disabled.
        let (described, record) = unsafe { describe(patch) }?;
        let name = described.name;
        if self.records.try_reserve(1).is_err() {
            return Err(no_memory(name));
        }
        self.records.push(record);
        let mut host = KernelHost {
            slots: &mut self.slots,
            records: &mut self.records,
        };
        let begun = self.engine.enable(described, &mut host);
        let outcome = match begun {
            Err(refusal) => {
                log::error(format_args!("refused: {refusal}"));
                Err(refusal.errno())
            }
            Ok(()) => match self.engine.run(&mut host) {
                Status::Undone(cause) => {
                    log::error(format_args!("{name}: not enabled: {cause}"));
                    Err(cause.errno())
                }
                _ => {
                    log::info(format_args!("{name}: enabled"));
                    Ok(())
                }
            },
        };
        if outcome.is_err() {
            // Nothing of it is used: the engine has taken everything back.
            self.records.pop();
        }
        self.records.retain(|record| !record.gone);
        outcome
    }

    fn disable(&mut self, name: &str) -> Result<(), Errno> {
        let mut host = KernelHost {
            slots: &mut self.slots,
            records: &mut self.records,
        };
        if let Err(refusal) = self.engine.disable(name, &mut host) {
            log::error(format_args!("refused: {refusal}"));
            return Err(refusal.errno());
        }
        let status = self.engine.run(&mut host);
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

fn no_memory(name: Name) -> Errno {
    log::error(format_args!("{name}: out of memory; nothing was changed"));
    Errno::ENOMEM
}

fn invalid(name: &str, why: core::fmt::Arguments<'_>) -> Errno {
    log::error(format_args!("refused: patch {name}: {why}"));
    Errno::EINVAL
}

/// # Safety
/// `text` is null or a C string that outlives the result.
unsafe fn text<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// An array of C, which may be null if it is empty.
///
/// # Safety
/// `first` points to `count` values that nobody else changes meanwhile.
unsafe fn array<'a, T>(first: *mut T, count: usize) -> Option<&'a mut [T]> {
    match (first.is_null(), count) {
        (_, 0) => Some(&mut []),
        (true, _) => None,
        // SAFETY: the caller's.
        (false, _) => Some(unsafe { core::slice::from_raw_parts_mut(first, count) }),
    }
}

/// What the engine is told of a patch, and what we keep of it. Everything that
/// can be wrong with the C structures is found here, before anything happens.
///
/// # Safety
/// `patch` is null or as `umbra.h` says.
unsafe fn describe(patch: *mut CPatch) -> Result<(Patch, Record), Errno> {
    // SAFETY: the caller's.
    let Some(c) = (unsafe { patch.as_ref() }) else {
        return Err(invalid("(none)", format_args!("the pointer is NULL")));
    };
    // SAFETY: the caller's.
    let bytes = unsafe {
        text(if c.name.is_null() {
            ffi::umbra_c_module_name(c.module)
        } else {
            c.name
        })
    };
    let name = match Name::from_bytes(bytes) {
        Ok(name) if name != Name::EMPTY => name,
        Ok(_) => {
            return Err(invalid(
                "(none)",
                format_args!("its name is empty; set .name or leave it NULL"),
            ));
        }
        Err(error) => return Err(invalid("(none)", format_args!("its name: {error}"))),
    };
    // SAFETY: the caller's.
    let Some(module) = (unsafe { ModuleRef::take(c.module) }) else {
        log::error(format_args!(
            "refused: patch {name}: its module is being unloaded"
        ));
        return Err(ENODEV);
    };
    let mut described = Patch::new(name);
    described.replace = if c.replace {
        Replace::All
    } else {
        Replace::Nothing
    };
    described.cookie = patch.expose_provenance();
    // SAFETY: the caller's.
    let (states, hooks) = unsafe { (array(c.states, c.nr_states), array(c.hooks, c.nr_hooks)) };
    let (Some(states), Some(hooks)) = (states, hooks) else {
        return Err(invalid(
            name.as_str(),
            format_args!("its states or hooks are NULL, but their number is not 0"),
        ));
    };
    for state in states {
        // SAFETY: the caller's.
        let pushed = described.push_state(unsafe { describe_state(name, state) }?);
        pushed.map_err(|_| no_memory(name))?;
    }
    let mut targets = Vec::new();
    targets
        .try_reserve_exact(hooks.len())
        .map_err(|_| no_memory(name))?;
    for hook in hooks {
        // SAFETY: the caller's.
        let (function, label, target) = unsafe { describe_hook(name, hook) }?;
        let mut described_hook = Hook::new(function, label, hook.state);
        described_hook.cookie = targets.len();
        targets.push(target);
        described
            .push_hook(described_hook)
            .map_err(|_| no_memory(name))?;
    }
    Ok((
        described,
        Record {
            patch,
            targets,
            gone: false,
            _module: module,
        },
    ))
}

/// # Safety
/// As [`describe`].
unsafe fn describe_state(patch: Name, state: &mut CState) -> Result<State, Errno> {
    // SAFETY: the caller's.
    let name = match Name::from_bytes(unsafe { text(state.name) }) {
        Ok(name) => name,
        Err(error) => {
            return Err(invalid(
                patch.as_str(),
                format_args!("the name of state {}: {error}", state.id),
            ));
        }
    };
    let present = [
        state.pre_patch.map(|_| Callback::PrePatch),
        state.post_patch.map(|_| Callback::PostPatch),
        state.pre_unpatch.map(|_| Callback::PreUnpatch),
        state.post_unpatch.map(|_| Callback::PostUnpatch),
    ];
    let mut described = State::new(state.id, name);
    described.is_shadow = state.is_shadow;
    described.block_disable = state.block_disable;
    described.callbacks = present.into_iter().flatten().collect::<Callbacks>();
    described.shadow_dtor = state.shadow_dtor;
    described.cookie = core::ptr::from_mut(state).expose_provenance();
    Ok(described)
}

/// The function's address and name, and the target of the hook.
///
/// # Safety
/// As [`describe`].
unsafe fn describe_hook(patch: Name, hook: &CHook) -> Result<(usize, Name, Target), Errno> {
    // SAFETY: the caller's.
    let symbol = unsafe { text(hook.symbol) };
    let shown = core::str::from_utf8(symbol).unwrap_or("(not text)");
    let label = Name::cut(shown);
    if symbol.is_empty() || hook.replacement.is_null() {
        return Err(invalid(
            patch.as_str(),
            format_args!("the hook on \"{shown}\" lacks its symbol or its replacement"),
        ));
    }
    let (asks, wanted) = match hook.policy {
        0 => (false, false),
        1 => (true, true),
        2 => (true, false),
        other => {
            return Err(invalid(
                patch.as_str(),
                format_args!("the hook on {shown} has no policy {other}"),
            ));
        }
    };
    let mut function: c_ulong = 0;
    // SAFETY: a C string, checked not to be null, and a place for the address.
    match Errno(unsafe { ffi::umbra_c_resolve(hook.symbol, &mut function) }) {
        Errno(0) => {}
        Errno::EINVAL => {
            return Err(invalid(
                patch.as_str(),
                format_args!("{shown} cannot be hooked: the trampoline itself calls it"),
            ));
        }
        Errno::ENOMEM => return Err(no_memory(patch)),
        _ => {
            log::error(format_args!(
                "refused: patch {patch}: this kernel has no function \"{shown}\" that can be traced; \
                 check the spelling against available_filter_functions"
            ));
            return Err(Errno::ENOENT);
        }
    }
    let table: Option<Table<Kernel>> = if asks {
        let table = global().shadows.table(hook.shadow, may_sleep());
        Some(table.map_err(|_| no_memory(patch))?)
    } else {
        None
    };
    let target = Target {
        replacement: hook.replacement,
        table,
        wanted,
        counted: global().counters,
        state: hook.state,
    };
    Ok((function as usize, label, target))
}

/// The kernel, as the engine sees it.
struct KernelHost<'a> {
    slots: &'a mut Slots,
    records: &'a mut Vec<Record>,
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
        for change in switch.changes() {
            let Change {
                from: None,
                to: Some(to),
            } = change
            else {
                continue;
            };
            let Some((target, _)) = self.target(&to) else {
                continue;
            };
            let (function, label, patch) = (to.hook.function, to.hook.label, to.patch.name);
            // SAFETY: the record keeps the target until the patch is removed,
            // which is after the switch that takes the hook away, or until the
            // engine has taken everything back, which is after `unattach`.
            let attached = unsafe { self.slots.attach(function, label, patch, target) };
            let Err(error) = attached else { continue };
            let errno = match error {
                HookError::Full => {
                    log::error(format_args!(
                        "patch {patch}: no slot is left for {label}; {SLOTS} functions can be hooked at once"
                    ));
                    ENOSPC
                }
                HookError::Ftrace(errno) => {
                    log::error(format_args!(
                        "patch {patch}: ftrace gives us no call in {label}: {}{}",
                        Errno(errno),
                        if Errno(errno) == Errno::EBUSY {
                            "; another tracer's direct call is there"
                        } else {
                            ""
                        }
                    ));
                    Errno(errno)
                }
            };
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
        global().shadows.free_all(state.id, state.shadow_dtor);
    }

    fn barrier(&mut self) {
        Kernel.barrier();
    }

    fn event(&mut self, event: &Event<'_>) {
        match *event {
            Event::Gate(state, open) => self.slots.gate(state.id, open),
            Event::Called {
                patch,
                state,
                callback,
                reason,
                result,
            } => {
                let result = result.map_or_else(|errno| errno.0, |()| 0);
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
fn locked(f: impl FnOnce(&mut Control) -> Result<(), Errno>) -> c_int {
    match Locked::take() {
        Ok(mut locked) => match f(locked.control()) {
            Ok(()) => 0,
            Err(errno) => errno.0,
        },
        Err(errno) => {
            log::error(format_args!(
                "refused: a state's callback may not enable or disable a patch; do it from elsewhere"
            ));
            errno
        }
    }
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_enable_patch(patch: *mut CPatch) -> c_int {
    locked(|control| control.enable(patch))
}

/// See `umbra.h`.
#[unsafe(no_mangle)]
extern "C" fn umbra_disable_patch(patch: *mut CPatch) -> c_int {
    locked(|control| match control.name_of(patch) {
        Some(name) => control.disable(name.as_str()),
        None => {
            log::error(format_args!(
                "refused: this patch is not enabled, so there is nothing to disable"
            ));
            Err(Errno::ENOENT)
        }
    })
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
