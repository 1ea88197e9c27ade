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
use crate::patch::{Fingerprint, Patch, Replace, State};
use crate::refcount::{Phase, RefCount, Word};
use crate::rules::Strictness;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use hashbrown::{HashMap, HashSet};

/// A state, for as long as the engine lives.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) count: RefCount,
    pub(crate) gate: Gate,
    /// As its users call it. Stale while dormant.
    pub(crate) name: Name,
    /// As its latest enabled user describes it. Stale while dormant.
    pub(crate) print: Fingerprint,
    /// Its users may describe it differently.
    pub(crate) mixed: bool,
    /// The set whose patch has it; sets share no states, so there is one.
    pub(crate) set: Option<u32>,
    /// How many pinned patches that may still run have it.
    pub(crate) pins: u32,
    /// The ticket of the pinned patch that owes its clean-up; 0 for none.
    pub(crate) owed: u64,
}

/// A patch that is no longer enabled and still needed, since a transition was
/// forced: its code may still run, or it owes the clean-up of a state that
/// waits for another one's.
#[derive(Debug)]
pub struct Pinned {
    pub(crate) patch: Patch,
    pub(crate) may_run: bool,
    pub(crate) owes: usize,
    /// By which the slots name it; never 0, never used again.
    pub(crate) ticket: u64,
    /// It was taken back, so what it owes is undone from its end.
    pub(crate) undone: bool,
}

impl Pinned {
    /// The patch, with all its states.
    pub const fn patch(&self) -> &Patch {
        &self.patch
    }

    /// Its code may still run: it was forced out, and the host has not called it
    /// quiescent. All of its states are in use until then.
    pub const fn may_run(&self) -> bool {
        self.may_run
    }

    /// How many of its states wait for their clean-up by this patch.
    pub const fn owes(&self) -> usize {
        self.owes
    }

    pub(crate) const fn is_free(&self) -> bool {
        !self.may_run && self.owes == 0
    }
}

/// The slots, by the states' ids.
pub(crate) type Slots = HashMap<u64, Box<Slot>, Seed>;

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
    /// In the order in which they were pinned.
    pub(crate) pinned: Vec<Pinned>,
    /// How many were ever pinned.
    pub(crate) tickets: u64,
    /// Gone, and the host was not told yet. Has room for all that may go.
    pub(crate) gone: VecDeque<Patch>,
    pub(crate) strictness: Strictness,
    pub(crate) slots: Slots,
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
            tickets: 0,
            gone: VecDeque::new(),
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

    /// The patches that are no longer enabled and still needed, since a
    /// transition was forced.
    pub fn pinned(&self) -> &[Pinned] {
        &self.pinned
    }

    /// The states whose clean-up the pinned patch owes, in its order.
    pub fn owed<'a>(&'a self, pinned: &'a Pinned) -> impl Iterator<Item = &'a State> {
        let owed = |id| self.slots.get(id).is_some_and(|s| s.owed == pinned.ticket);
        pinned.patch.states.iter().filter(move |s| owed(&s.id))
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

    /// Where the enabled patch of this name is.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.place(Name::new(name).ok()?)
    }

    /// As [`Installed::position`].
    pub(crate) fn place(&self, name: Name) -> Option<usize> {
        self.patches.iter().position(|patch| patch.name == name)
    }

    /// Where the registered patch of this name is.
    pub(crate) fn registered_at(&self, name: &str) -> Option<usize> {
        let name = Name::new(name).ok()?;
        self.registered.iter().position(|patch| patch.name == name)
    }

    /// Whether a patch of this name is registered.
    pub(crate) fn is_registered(&self, name: Name) -> bool {
        self.registered.iter().any(|patch| patch.name == name)
    }

    /// Whether a patch of this name is pinned.
    pub(crate) fn is_pinned(&self, name: Name) -> bool {
        self.pinned.iter().any(|pinned| pinned.patch.name == name)
    }

    /// The latest enabled patch that has the state: for sentences about it.
    pub(crate) fn user_of(&self, id: u64) -> Name {
        self.patches
            .iter()
            .rfind(|p| p.state(id).is_some())
            .map_or(Name::EMPTY, |p| p.name)
    }

    /// The patch of a set that has the state: for sentences about it.
    pub(crate) fn set_user_of(&self, id: u64) -> Name {
        let set = |p: &&Patch| matches!(p.replace, Replace::Set(_));
        let mut users = self.patches.iter().filter(set);
        users
            .find(|p| p.state(id).is_some())
            .map_or(Name::EMPTY, |p| p.name)
    }

    /// A pinned patch for which the state's clean-up waits: one that may use it,
    /// or the one that owes it.
    pub(crate) fn pinned_by(&self, id: u64) -> Name {
        let has = |p: &&Pinned| p.patch.state(id).is_some();
        let mut users = self.pinned.iter().filter(has);
        let one = users.clone().find(|p| p.may_run).or_else(|| users.next());
        one.map_or(Name::EMPTY, |p| p.patch.name)
    }

    /// The enabled patch that hooks the function: for sentences about it.
    pub(crate) fn hooker_of(&self, function: usize) -> Name {
        let hooks = |p: &&Patch| p.hooks.iter().any(|hook| hook.function == function);
        self.patches
            .iter()
            .find(hooks)
            .map_or(Name::EMPTY, |p| p.name)
    }

    /// Makes room for all that enabling `patch` in place of so many others will
    /// ever store, so that the transition itself asks for no memory. When the
    /// memory runs out on the way, the slots that were made stay: they are
    /// dormant, and nobody can tell them from none.
    pub(crate) fn make_room(&mut self, patch: &Patch, leaving: usize) -> Result<(), OutOfMemory> {
        self.room_to_leave(leaving.max(1))?;
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
                    mixed: false,
                    set: None,
                    pins: 0,
                    owed: 0,
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
                slot.mixed = false;
            }
        }
        Ok(())
    }

    /// Makes room for so many patches to go, and the registered ones with them:
    /// each is pinned or told of.
    pub(crate) fn room_to_leave(&mut self, leaving: usize) -> Result<(), OutOfMemory> {
        self.pinned.try_reserve(leaving)?;
        self.gone.try_reserve(leaving + self.registered.len())?;
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
