//! Functions that go while patches hook them: their module was unloaded.
//!
//! A hook's function is its identity, and an address may be another function's
//! tomorrow. So a hook whose function is gone keeps its place in its patch, with
//! [`Hook::GONE`] for a function: nobody hooks that, and a host passes it over.

use crate::patch::{Hook, Patch};
use crate::transition::Engine;

impl Hook {
    /// The function of a hook whose function is gone.
    pub const GONE: usize = 0;
}

impl Engine {
    /// Forgets the functions that `gone` names, in every patch: enabled,
    /// registered, pinned by force, and about to be enabled. Others may hook the
    /// same addresses from then on. A running transition goes on without them; a
    /// registered patch is refused until it is registered with functions that are
    /// there ([`Refusal::NullFunction`](crate::Refusal::NullFunction)).
    /// Nothing is called: state callbacks do not care for targets (R40).
    pub fn forget_functions(&mut self, gone: impl Fn(usize) -> bool) {
        let forget = |patch: &mut Patch| {
            for hook in &mut patch.hooks {
                if gone(hook.function) {
                    hook.function = Hook::GONE;
                }
            }
        };
        let installed = &mut self.installed;
        installed.patches.iter_mut().for_each(forget);
        installed.registered.iter_mut().for_each(forget);
        installed.functions.retain(|&function| !gone(function));
        if let Some(transition) = &mut self.transition {
            transition.incoming.iter_mut().for_each(forget);
        }
    }
}
