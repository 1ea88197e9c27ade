//! What is enabled now: the patches in their order, and one slot a state.
//!
//! This is the first argument of the planner. It is indexed, so that a plan
//! costs what the patches in it have, and not what everyone has: a state is
//! found by its id, a function by its address. Only finding a patch by its name
//! walks the list of patches.
//!
//! A state's slot (its count and its gate) is made when a patch first names the
//! id and stays until the engine goes: a trampoline may hold the address of the
//! gate, and the generation must not start again.

use crate::gate::Gate;
use crate::mem::{OutOfMemory, Seed, boxed};
use crate::name::Name;
use crate::patch::{Difference, Fingerprint, Patch, Replace, State};
use crate::refcount::{Phase, RefCount, Word};
use crate::rules::Strictness;
use alloc::boxed::Box;
use alloc::vec::Vec;
use hashbrown::{HashMap, HashSet};

/// A state, for as long as the engine lives.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) count: RefCount,
    pub(crate) gate: Gate,
    /// As its users call it. Stale while dormant.
    pub(crate) name: Name,
    /// As its latest user describes it. Stale while dormant.
    pub(crate) print: Fingerprint,
}

/// One state as it is now, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateInfo {
    /// Its id.
    pub id: u64,
    /// What its users call it, or did when it last had any.
    pub name: Name,
    /// Whether shadow variables belong to it.
    pub is_shadow: bool,
    /// Phase, users and generation.
    pub word: Word,
    /// Whether new code may rely on it.
    pub open: bool,
}

/// The enabled patches and their states.
#[derive(Debug)]
pub struct Installed {
    pub(crate) patches: Vec<Patch>,
    /// Known, and not enabled.
    pub(crate) registered: Vec<Patch>,
    /// No longer enabled, but their code may still run: a forced transition
    /// took them away. Their states are those whose clean-up they owe, the next
    /// one last.
    pub(crate) pinned: Vec<Patch>,
    pub(crate) strictness: Strictness,
    pub(crate) slots: HashMap<u64, Box<Slot>, Seed>,
    pub(crate) functions: HashSet<usize, Seed>,
    pub(crate) running: Option<Name>,
    pub(crate) seed: Seed,
}

impl Installed {
    /// Nothing enabled. `seed` makes hash collisions unpredictable.
    pub(crate) const fn new(seed: u64) -> Self {
        let seed = Seed(seed);
        Self {
            patches: Vec::new(),
            registered: Vec::new(),
            pinned: Vec::new(),
            strictness: Strictness::Compat,
            slots: HashMap::with_hasher(seed),
            functions: HashSet::with_hasher(seed),
            running: None,
            seed,
        }
    }

    /// The enabled patches, in the order in which they were enabled.
    pub fn patches(&self) -> &[Patch] {
        &self.patches
    }

    /// The patches that are known and not enabled.
    pub fn registered(&self) -> &[Patch] {
        &self.registered
    }

    /// The patches that a forced transition took away while their code might
    /// still run. Their states are those in quarantine.
    pub fn pinned(&self) -> &[Patch] {
        &self.pinned
    }

    /// What becomes of descriptors that differ.
    pub const fn strictness(&self) -> Strictness {
        self.strictness
    }

    /// The patch whose transition is running, if one is.
    pub const fn running(&self) -> Option<Name> {
        self.running
    }

    /// Every state that was ever named, in no order.
    pub fn states(&self) -> impl Iterator<Item = StateInfo> {
        self.slots.iter().map(|(&id, slot)| info(id, slot))
    }

    /// One state, if it was ever named.
    pub fn state(&self, id: u64) -> Option<StateInfo> {
        self.slots.get(&id).map(|slot| info(id, slot))
    }

    /// The gate of a state that was ever named. It lives as long as the engine
    /// and does not move.
    pub fn gate(&self, id: u64) -> Option<&Gate> {
        self.slots.get(&id).map(|slot| &slot.gate)
    }

    /// How many patches use the state.
    pub(crate) fn users(&self, id: u64) -> u32 {
        self.slots
            .get(&id)
            .map_or(0, |slot| slot.count.load().users())
    }

    /// Where the patch of this name is.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.patches
            .iter()
            .position(|patch| patch.name.as_str() == name)
    }

    /// The latest enabled patch that has the state: for sentences about it.
    pub(crate) fn user_of(&self, id: u64) -> Name {
        self.patches
            .iter()
            .rfind(|p| p.state(id).is_some())
            .map_or(Name::EMPTY, |p| p.name)
    }

    /// A patch of a set that has the state, and its set.
    pub(crate) fn replace_of(&self, id: u64) -> Option<(Name, Replace)> {
        let set = |p: &&Patch| matches!(p.replace, Replace::Set(_));
        let mut users = self.patches.iter().filter(set);
        users
            .find(|p| p.state(id).is_some())
            .map(|p| (p.name, p.replace))
    }

    /// The pinned patch that owes the state's clean-up.
    pub(crate) fn pinned_by(&self, id: u64) -> Name {
        self.pinned
            .iter()
            .find(|p| p.state(id).is_some())
            .map_or(Name::EMPTY, |p| p.name)
    }

    /// The enabled patch that hooks the function: for sentences about it.
    pub(crate) fn hooker_of(&self, function: usize) -> Name {
        let hooks = |p: &&Patch| p.hooks.iter().any(|hook| hook.function == function);
        self.patches
            .iter()
            .find(hooks)
            .map_or(Name::EMPTY, |p| p.name)
    }

    /// In what the states of `patch` differ from those of enabled patches.
    pub(crate) fn differences<'a>(
        &'a self,
        patch: &'a Patch,
    ) -> impl Iterator<Item = (&'a State, Name, Difference)> {
        patch.states.iter().filter_map(|state| {
            let slot = self.slots.get(&state.id)?;
            if slot.count.load().users() == 0 {
                return None;
            }
            let what = slot.print.difference(state.fingerprint())?;
            Some((state, self.user_of(state.id), what))
        })
    }

    /// The patches that a new one replaces go, registered ones too (R87).
    pub(crate) fn forget_registered(&mut self, replace: Replace, mut gone: impl FnMut(&Patch)) {
        self.registered.retain(|patch| {
            let stays = match replace {
                Replace::Nothing => true,
                Replace::All => false,
                Replace::Set(_) => patch.replace != replace,
            };
            if !stays {
                gone(patch);
            }
            stays
        });
    }

    /// Makes room for all that enabling `patch` in place of so many others will
    /// ever store, so that the transition itself asks for no memory. Slots that were made before it ran
    /// out stay, dormant: nobody can tell them from none.
    pub(crate) fn make_room(&mut self, patch: &Patch, leaving: usize) -> Result<(), OutOfMemory> {
        // The patches that leave, or the new one, if the end is forced.
        self.pinned.try_reserve(leaving.max(1))?;
        self.registered.try_reserve(1)?;
        self.patches.try_reserve(1)?;
        self.functions.try_reserve(patch.hooks.len())?;
        self.slots.try_reserve(patch.states.len())?;
        for state in &patch.states {
            if !self.slots.contains_key(&state.id) {
                let slot = Slot {
                    count: RefCount::new(),
                    gate: Gate::new(),
                    name: state.name,
                    print: state.fingerprint(),
                };
                self.slots.insert(state.id, boxed(slot)?);
            }
        }
        // Nothing can fail any more, so what the dormant slots say may change.
        for state in &patch.states {
            if let Some(slot) = self.slots.get_mut(&state.id)
                && slot.count.load().phase() == Phase::Dormant
            {
                slot.name = state.name;
                slot.print = state.fingerprint();
            }
        }
        Ok(())
    }
}

fn info(id: u64, slot: &Slot) -> StateInfo {
    StateInfo {
        id,
        name: slot.name,
        is_shadow: slot.print.is_shadow,
        word: slot.count.load(),
        open: slot.gate.is_open(),
    }
}
