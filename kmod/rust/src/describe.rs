//! Patches as C describes them: read, checked, and told to the engine.
//!
//! Everything that can be wrong with the structures of `umbra.h` is found here or
//! by the engine's planner, before anything happens: null pointers, names, what a
//! hook lacks, functions that this kernel does not have. Each is told in the
//! kernel log with the patch, the place and the way out.

use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_ulong};

use umbra_shadow::Table;
use umbra_state::{Callback, Callbacks, Errno, Hook, Name, Patch, Replace, State};

use crate::ffi::{self, CHook, CPatch, CState};
use crate::global::global;
use crate::log;
use crate::platform::{Kernel, may_sleep};
use crate::slots::{Policy, Target};
use crate::target::Watched;

const ENODEV: Errno = Errno(-19);
const EOPNOTSUPP: Errno = Errno(-95);

/// `enum umbra_policy`.
const HAS_SHADOW: core::ffi::c_uint = 1;
const LACKS_SHADOW: core::ffi::c_uint = 2;

/// How many arguments come in registers, and are saved by the trampoline.
const ARGUMENTS: core::ffi::c_uint = 6;

/// A patch that the engine knows, or is about to.
pub(crate) struct Record {
    /// The author's structure.
    pub(crate) patch: *mut CPatch,
    /// The hooks' targets, in their order; never grown once the engine knows
    /// their addresses.
    pub(crate) targets: Vec<Target>,
    /// The modules that its states name as targets.
    _watched: Vec<Watched>,
    /// Its name.
    pub(crate) name: Name,
    /// The stock core changes its code, not our hooks.
    pub(crate) livepatch: bool,
    /// A forced transition took it away; its code may still run.
    pub(crate) pinned: bool,
    /// The engine has removed it.
    pub(crate) gone: bool,
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

pub(crate) fn no_memory(name: Name) -> Errno {
    log::error(format_args!("{name}: out of memory; nothing was changed"));
    Errno::ENOMEM
}

fn invalid(name: &str, why: core::fmt::Arguments<'_>) -> Errno {
    log::refused(format_args!("patch {name}: {why}"));
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
pub(crate) unsafe fn describe(patch: *mut CPatch) -> Result<(Patch, Record), Errno> {
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
        log::refused(format_args!("patch {name}: its module is being unloaded"));
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
    let mut watched = Vec::new();
    for state in states {
        if !state.target.is_null() {
            // SAFETY: the caller's.
            let module = unsafe { text(state.target) };
            if module.contains(&b'-') {
                return Err(invalid(
                    name.as_str(),
                    format_args!(
                        "state {} has the target \"{}\", but the kernel writes '_' for '-' in a \
                         module's name",
                        state.id,
                        core::str::from_utf8(module).unwrap_or("(not text)")
                    ),
                ));
            }
            watched.try_reserve(1).map_err(|_| no_memory(name))?;
            // SAFETY: the caller's; it stays in place as long as the record.
            let watch = unsafe { Watched::new(state.target) };
            watched.push(watch.map_err(|_| no_memory(name))?);
        }
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
            _watched: watched,
            name,
            livepatch: false,
            pinned: false,
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
    if hook.policy > LACKS_SHADOW {
        return Err(invalid(
            patch.as_str(),
            format_args!("the hook on {shown} has no policy {}", hook.policy),
        ));
    }
    if hook.argument >= ARGUMENTS {
        return Err(invalid(
            patch.as_str(),
            format_args!(
                "the hook on {shown} asks for argument {}; 0 is the first and 5 the last in a register",
                hook.argument
            ),
        ));
    }
    let passed = hook.shadow_argument;
    if passed != 0 && hook.policy != HAS_SHADOW {
        return Err(invalid(
            patch.as_str(),
            format_args!(
                "the hook on {shown} wants a shadow's address, which only UMBRA_HAS_SHADOW has to give"
            ),
        ));
    }
    if passed != 0 && (passed <= hook.argument || passed >= ARGUMENTS) {
        return Err(invalid(
            patch.as_str(),
            format_args!(
                "the hook on {shown} wants the shadow's address as argument {passed}; \
                 it has to be behind the function's own, and 5 is the last in a register"
            ),
        ));
    }
    let mut function: c_ulong = 0;
    // SAFETY: a C string, checked not to be null, and a place for the address.
    match Errno(unsafe { ffi::umbra_c_resolve(hook.symbol, &mut function) }) {
        Errno(0) => {}
        Errno::EINVAL => {
            return Err(invalid(
                patch.as_str(),
                format_args!(
                    "{shown} cannot be hooked: it is Umbra's own, or the trampoline calls it"
                ),
            ));
        }
        Errno::ENOMEM => return Err(no_memory(patch)),
        EOPNOTSUPP => {
            log::refused(format_args!(
                "patch {patch}: {shown} cannot be traced: it is notrace, assembly, or \
                 ftrace was told to leave it alone; hook a function that calls it"
            ));
            return Err(EOPNOTSUPP);
        }
        _ => {
            log::refused(format_args!(
                "patch {patch}: this kernel has no function \"{shown}\"; \
                 check the spelling against available_filter_functions"
            ));
            return Err(Errno::ENOENT);
        }
    }
    let table = || -> Result<Table<Kernel>, Errno> {
        let table = global().shadows.table(hook.shadow, may_sleep());
        table.map_err(|_| no_memory(patch))
    };
    let policy = match hook.policy {
        HAS_SHADOW => Policy::Has(table()?, passed as usize),
        LACKS_SHADOW => Policy::Lacks(table()?),
        _ => Policy::Always,
    };
    let target = Target::new(
        policy,
        hook.argument as usize,
        hook.replacement,
        hook.state,
        global().counters,
    );
    Ok((function as usize, label, target))
}
