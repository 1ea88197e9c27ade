//! What an author says of a patch: its states, their callbacks, its hooks.
//!
//! A [`Patch`] is data. It knows no code: the callbacks are a set of flags, and
//! the host that the engine is given finds the functions by the `cookie`s, which
//! nothing in this crate looks at (the kernel's glue keeps its C structures
//! there, the simulator an index).
//!
//! A state is known by its id alone. Two patches that name the same id mean the
//! same change to the system, so their descriptors must agree on the name and
//! on whether shadow variables belong to it; which callbacks each brings is its
//! own affair, for the patch that ends a state's life runs its own.

use crate::mem::{OutOfMemory, push};
use crate::name::Name;
use alloc::vec::Vec;
use core::fmt;
use umbra_shadow::Dtor;

/// The largest state id. An id is an `unsigned long` to the author, and the
/// smallest one is 32 bits wide: a patch must not change its meaning with the
/// machine it is built for.
pub const STATE_ID_MAX: u64 = u32::MAX as u64;

/// One of the four moments at which a state's code is called. (The fifth
/// function of a state, `shadow_dtor`, is called per shadow variable.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Callback {
    /// The state is being enabled: allocate. The only one that may refuse.
    PrePatch = 0,
    /// Every user runs the new code: make the change and open it.
    PostPatch = 1,
    /// The state is being disabled: close it, stop the change.
    PreUnpatch = 2,
    /// Nobody runs the new code: clean up.
    PostUnpatch = 3,
}

impl Callback {
    /// All four, in the order of a state's life.
    pub const ALL: [Self; 4] = [
        Self::PrePatch,
        Self::PostPatch,
        Self::PreUnpatch,
        Self::PostUnpatch,
    ];

    /// The field's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrePatch => "pre_patch",
            Self::PostPatch => "post_patch",
            Self::PreUnpatch => "pre_unpatch",
            Self::PostUnpatch => "post_unpatch",
        }
    }
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which of the four callbacks a state brings. Any of the 16 sets is fine: one
/// left out counts as having run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Callbacks(u8);

impl Callbacks {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All four.
    pub const ALL: Self = Self(0b1111);

    /// This set and `callback`.
    #[must_use]
    pub const fn with(self, callback: Callback) -> Self {
        Self(self.0 | 1 << callback as u8)
    }

    /// Whether `callback` is in the set.
    pub const fn contains(self, callback: Callback) -> bool {
        self.0 & 1 << callback as u8 != 0
    }
}

impl FromIterator<Callback> for Callbacks {
    fn from_iter<I: IntoIterator<Item = Callback>>(callbacks: I) -> Self {
        callbacks.into_iter().fold(Self::NONE, Self::with)
    }
}

/// One state that a patch supports.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct State {
    /// What it is known by, from 1 to [`STATE_ID_MAX`].
    pub id: u64,
    /// What people call it; the same in every patch that names the id.
    pub name: Name,
    /// The shadow variables of the same id belong to it: they are freed when
    /// its life ends.
    pub is_shadow: bool,
    /// The patch's callbacks cannot undo it. So the patch is not disabled while
    /// no other enabled one has the state, and not replaced by a patch without
    /// it unless one that stays has it. What has not switched yet can be taken
    /// back all the same (T5).
    ///
    /// It is the patch's word, not the state's: the last user's counts, and one
    /// that learned to undo takes over without the mark and may go (R71).
    pub block_disable: bool,
    /// The callbacks that the host can be asked for.
    pub callbacks: Callbacks,
    /// Called once per shadow variable when they are freed with the state.
    pub shadow_dtor: Option<Dtor>,
    /// How many bytes one of its shadow variables has; 0 for unsaid. Only
    /// compared, never allocated by.
    pub shadow_size: u32,
    /// The version by which [`Rules::Mainline`](crate::Rules::Mainline) compares
    /// patches; nothing else looks at it.
    pub version: u32,
    /// The host's own; see the module's introduction.
    pub cookie: usize,
}

impl State {
    /// A state with all four callbacks and no shadow variables.
    pub const fn new(id: u64, name: Name) -> Self {
        Self {
            id,
            name,
            is_shadow: false,
            block_disable: false,
            callbacks: Callbacks::ALL,
            shadow_dtor: None,
            shadow_size: 0,
            version: 0,
            cookie: 0,
        }
    }

    /// What the users of a state are compared by.
    pub const fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            is_shadow: self.is_shadow,
            block_disable: self.block_disable,
            shadow_size: self.shadow_size,
            callbacks: self.callbacks,
        }
    }
}

/// What two descriptors of one id should have in common besides the name.
///
/// A name or an `is_shadow` that differs is always refused: who ends the state
/// would not know what to free. The others may differ on purpose (a newer patch
/// that learned to undo drops its `block_disable`: R71), so they are refused
/// only by [`Strictness::Strict`](crate::Strictness::Strict) and reported
/// otherwise. What two patches mean by equal descriptors nobody can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// See [`State::is_shadow`].
    pub is_shadow: bool,
    /// See [`State::block_disable`].
    pub block_disable: bool,
    /// See [`State::shadow_size`].
    pub shadow_size: u32,
    /// See [`State::callbacks`].
    pub callbacks: Callbacks,
}

/// In what two fingerprints differ: the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Difference {
    /// Whether shadow variables belong to the state.
    IsShadow,
    /// How large they are, when both said so.
    ShadowSize,
    /// Whether the state can be undone.
    BlockDisable,
    /// Which callbacks there are.
    Callbacks,
}

impl Difference {
    /// The field's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IsShadow => "is_shadow",
            Self::ShadowSize => "shadow_size",
            Self::BlockDisable => "block_disable",
            Self::Callbacks => "callbacks",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Fingerprint {
    /// The most serious difference, if there is one.
    pub fn difference(self, other: Self) -> Option<Difference> {
        let sized = self.shadow_size != 0 && other.shadow_size != 0;
        if self.is_shadow != other.is_shadow {
            Some(Difference::IsShadow)
        } else if sized && self.shadow_size != other.shadow_size {
            Some(Difference::ShadowSize)
        } else if self.block_disable != other.block_disable {
            Some(Difference::BlockDisable)
        } else if self.callbacks != other.callbacks {
            Some(Difference::Callbacks)
        } else {
            None
        }
    }
}

/// One object that a patch changes under
/// [`Rules::Mainline`](crate::Rules::Mainline): the kernel, or a module.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Object {
    /// The module's name, or what people call the kernel.
    pub name: Name,
    /// Its callbacks, which belong to the pair of patch and object.
    pub callbacks: Callbacks,
    /// It is there. One that is not is skipped until it comes.
    pub loaded: bool,
    /// The host's own; see the module's introduction.
    pub cookie: usize,
}

impl Object {
    /// An object that is there, with all four callbacks.
    pub const fn new(name: Name) -> Self {
        Self {
            name,
            callbacks: Callbacks::ALL,
            loaded: true,
            cookie: 0,
        }
    }
}

/// One function that a patch redirects while a state's gate is open.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Hook {
    /// What tells the function from every other: its address, in a kernel.
    pub function: usize,
    /// What people call it; may be cut, identifies nothing.
    pub label: Name,
    /// The state of the same patch whose gate and shadows decide.
    pub state: u64,
    /// The host's own; see the module's introduction.
    pub cookie: usize,
}

impl Hook {
    /// A hook on `function`, decided by `state`.
    pub const fn new(function: usize, label: Name, state: u64) -> Self {
        Self {
            function,
            label,
            state,
            cookie: 0,
        }
    }
}

/// What enabling a patch does to those already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Replace {
    /// They stay, and share the states they have in common with it.
    #[default]
    Nothing,
    /// They all go in the same transition: atomic replace.
    All,
    /// The one of the same set goes, the others stay. Patches of different sets
    /// have no state in common, so a set is a system of its own.
    Set(u32),
}

impl Replace {
    /// What the older flag means.
    pub const fn from_flag(replace: bool) -> Self {
        if replace { Self::All } else { Self::Nothing }
    }
}

/// A patch as its author describes it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Patch {
    /// What it is known by while it is enabled.
    pub name: Name,
    /// What it does to the patches before it.
    pub replace: Replace,
    /// Its states, in the order in which they are enabled.
    pub states: Vec<State>,
    /// The functions that it redirects.
    pub hooks: Vec<Hook>,
    /// The objects that it changes, for
    /// [`Rules::Mainline`](crate::Rules::Mainline) only.
    pub objects: Vec<Object>,
    /// The host's own; see the module's introduction.
    pub cookie: usize,
}

impl Patch {
    /// A patch without states or hooks that replaces nothing.
    pub const fn new(name: Name) -> Self {
        Self {
            name,
            replace: Replace::Nothing,
            states: Vec::new(),
            hooks: Vec::new(),
            objects: Vec::new(),
            cookie: 0,
        }
    }

    /// Adds a state at the end. What is wrong with it, the planner says.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the patch is as before.
    pub fn push_state(&mut self, state: State) -> Result<(), OutOfMemory> {
        push(&mut self.states, state)
    }

    /// Adds a hook at the end. What is wrong with it, the planner says.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the patch is as before.
    pub fn push_hook(&mut self, hook: Hook) -> Result<(), OutOfMemory> {
        push(&mut self.hooks, hook)
    }

    /// Adds an object at the end.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the patch is as before.
    pub fn push_object(&mut self, object: Object) -> Result<(), OutOfMemory> {
        push(&mut self.objects, object)
    }

    /// The state with this id. Linear in the patch's states.
    pub fn state(&self, id: u64) -> Option<&State> {
        self.states.iter().find(|state| state.id == id)
    }
}
