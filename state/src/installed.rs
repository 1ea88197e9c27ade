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
use crate::patch::Patch;
use crate::refcount::{Phase, RefCount, Word};
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
    pub(crate) is_shadow: bool,
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

    /// Any enabled patch that has the state: for sentences about it.
    pub(crate) fn user_of(&self, id: u64) -> Name {
        self.patches
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

    /// Makes room for all that enabling `patch` will ever store, so that the
    /// transition itself asks for no memory. Slots that were made before it ran
    /// out stay, dormant: nobody can tell them from none.
    pub(crate) fn make_room(&mut self, patch: &Patch) -> Result<(), OutOfMemory> {
        self.patches.try_reserve(1)?;
        self.functions.try_reserve(patch.hooks.len())?;
        self.slots.try_reserve(patch.states.len())?;
        for state in &patch.states {
            if !self.slots.contains_key(&state.id) {
                let slot = Slot {
                    count: RefCount::new(),
                    gate: Gate::new(),
                    name: state.name,
                    is_shadow: state.is_shadow,
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
                slot.is_shadow = state.is_shadow;
            }
        }
        Ok(())
    }
}

fn info(id: u64, slot: &Slot) -> StateInfo {
    StateInfo {
        id,
        name: slot.name,
        is_shadow: slot.is_shadow,
        word: slot.count.load(),
        open: slot.gate.is_open(),
    }
}
