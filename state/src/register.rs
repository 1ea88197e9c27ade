//! Patches that are known and not enabled, and modules that come and go.
//!
//! Linux knew registered patches until 5.1; a replacing patch takes them away
//! with the enabled ones (R87). They hold no share of any state.

use crate::event::{Errno, Event, Reason};
use crate::host::Host;
use crate::mem::push;
use crate::name::Name;
use crate::patch::{Callback, Object, Patch};
use crate::plan::{Request, plan};
use crate::refusal::Refusal;
use crate::rules::{self, Rules};
use crate::stage::{Inside, tell_object};
use crate::transition::Engine;

impl Engine {
    /// Makes `patch` known by its name. Nothing of it is called.
    ///
    /// # Errors
    /// A [`Refusal`] if the name is taken, the patch is wrong in itself, or a
    /// transition runs; the patch is dropped.
    pub fn register<H: Host>(&mut self, patch: Patch, host: &mut H) -> Result<(), Refusal> {
        let name = patch.name;
        // The room for one that is taken back is kept until then.
        if let Some(patch) = self.installed.running {
            let refusal = Refusal::TransitionRunning { patch };
            host.event(&Event::Refused(&refusal));
            return Err(refusal);
        }
        let checked = rules::check_name(&self.installed, &patch).and_then(|()| {
            if self.installed.is_registered(name) {
                return Err(Refusal::AlreadyRegistered { patch: name });
            }
            if self.rules.ours() {
                let ids = rules::umbra::check_states(&self.installed, &patch)?;
                rules::umbra::check_hooks(&self.installed, &patch, &ids)?;
            }
            Ok(push(&mut self.installed.registered, patch)?)
        });
        checked.inspect_err(|refusal| host.event(&Event::Refused(refusal)))
    }

    /// Forgets a registered patch. Nothing of it is called.
    ///
    /// # Errors
    /// A [`Refusal`] if it is enabled, pinned or not known; nothing changed.
    pub fn unregister<H: Host>(&mut self, name: &str, host: &mut H) -> Result<(), Refusal> {
        plan(&self.installed, Request::Unregister(name), self.rules)
            .inspect_err(|refusal| host.event(&Event::Refused(refusal)))?;
        if let Some(at) = self.installed.registered_at(name) {
            let gone = self.installed.registered.remove(at);
            host.event(&Event::Removed(&gone));
        }
        Ok(())
    }

    /// Begins to enable a registered patch, as [`Engine::enable`] begins. If it
    /// is taken back, it is registered as before.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing changed.
    pub fn enable_registered<H: Host>(&mut self, name: &str, host: &mut H) -> Result<(), Refusal> {
        let Some(at) = self.installed.registered_at(name) else {
            let refusal = Refusal::NotRegistered {
                patch: Name::cut(name),
            };
            host.event(&Event::Refused(&refusal));
            return Err(refusal);
        };
        let patch = self.installed.registered.remove(at);
        match self.planned(&patch) {
            Ok(plan) => self.begin_enable(Ok(plan), patch, Some(at), host),
            Err(refusal) => {
                // Into the room that it left.
                self.installed.registered.insert(at, patch);
                host.event(&Event::Refused(&refusal));
                Err(refusal)
            }
        }
    }

    /// A module that patches may want to change was loaded. State callbacks do
    /// not care (R40). Under [`Rules::Mainline`] the callbacks of its objects
    /// run, and a `pre_patch` may refuse the module.
    ///
    /// # Errors
    /// What the `pre_patch` or the patching returned, after the objects that
    /// went before were undone; `EBUSY` during a transition.
    pub fn target_coming<H: Host>(&mut self, module: &str, host: &mut H) -> Result<(), Errno> {
        self.idle()?;
        if self.rules != Rules::Mainline {
            return Ok(());
        }
        let patches = &mut self.installed.patches;
        for patch in patches {
            let Some(index) = find(patch, module, false) else {
                continue;
            };
            let outcome = object(patch, index, Callback::PrePatch, host).and_then(|()| {
                let patched = patch
                    .objects
                    .get(index)
                    .map_or(Ok(()), |object| host.patch_object(patch, object));
                if patched.is_err() {
                    let _ = object(patch, index, Callback::PostUnpatch, host);
                }
                patched
            });
            if let Err(errno) = outcome {
                self.leave(module, host);
                return Err(errno);
            }
            if let Some(object) = patch.objects.get_mut(index) {
                object.loaded = true;
            }
            let _ = object(patch, index, Callback::PostPatch, host);
        }
        Ok(())
    }

    /// A module is being unloaded, as [`Engine::target_coming`].
    ///
    /// # Errors
    /// `EBUSY` during a transition.
    pub fn target_going<H: Host>(&mut self, module: &str, host: &mut H) -> Result<(), Errno> {
        self.idle()?;
        if self.rules == Rules::Mainline {
            self.leave(module, host);
        }
        Ok(())
    }

    fn leave<H: Host>(&mut self, module: &str, host: &mut H) {
        let patches = &mut self.installed.patches;
        for patch in patches {
            let Some(index) = find(patch, module, true) else {
                continue;
            };
            let _ = object(patch, index, Callback::PreUnpatch, host);
            let _ = object(patch, index, Callback::PostUnpatch, host);
            if let Some(object) = patch.objects.get_mut(index) {
                object.loaded = false;
            }
        }
    }

    fn idle(&self) -> Result<(), Errno> {
        match self.transition {
            Some(_) => Err(Errno::EBUSY),
            None => Ok(()),
        }
    }
}

fn find(patch: &Patch, module: &str, loaded: bool) -> Option<usize> {
    let this = |o: &Object| o.name.as_str() == module && o.loaded == loaded;
    patch.objects.iter().position(this)
}

fn object<H: Host>(
    patch: &Patch,
    index: usize,
    callback: Callback,
    host: &mut H,
) -> Result<(), Errno> {
    let Some(object) = patch.objects.get(index) else {
        return Ok(());
    };
    let reason = match callback {
        Callback::PrePatch | Callback::PostPatch => Reason::Enable,
        Callback::PreUnpatch | Callback::PostUnpatch => Reason::Disable,
    };
    // Outside of a transition nobody is told of an earlier state.
    let mut inside = Inside::FRESH;
    tell_object((patch, object), callback, reason, &[], &mut inside, host)
}
