//! The reference count of a state: who uses it, and where it is in its life.
//!
//! A state is shared by every patch that names its id. Its first user makes it
//! (`pre_patch`, then `post_patch`), its last one takes it down (`pre_unpatch`,
//! then `post_unpatch`), and everyone in between only counts. So the two edges
//! of the count are the whole of a state's life, and this word decides who
//! stands on one.
//!
//! # The word
//! ```text
//!  63            32 31             8 7      2 1      0
//! +----------------+----------------+--------+--------+
//! |   generation   |     users      |  zero  | phase  |
//! +----------------+----------------+--------+--------+
//!
//!              acquire: First                      commit
//!   Dormant ---------------------> Enabling ---------------------> Active
//!   users 0 <--------------------- users 1                         users 1..
//!      ^        abort, gen + 1                                       |  ^
//!      |                                            release: Last    |  | restore
//!      +------------------------- Disabling <------------------------+  |
//!            retire, gen + 1      users 0   ----------------------------+
//! ```
//! The generation counts the lives that ended: what was attached to the state
//! in one generation means nothing in the next.
//!
//! # Invariants
//! `users` is 0 in Dormant and Disabling, 1 in Enabling, and at least 1 in
//! Active. Whoever is answered [`Acquire::First`] or [`Release::Last`] owns the
//! edge: until it calls `commit`/`abort` or `retire`/`restore`, every other
//! caller is answered `Busy` and nobody else runs a callback.
//!
//! # Ordering contract
//! | operation | ordering | what it gives |
//! |---|---|---|
//! | `acquire`, First | acquire | the clean-up of the state's previous life happened before its next `pre_patch` |
//! | `acquire`, Shared | acquire | all that `pre_patch` and `post_patch` made is visible to the new user |
//! | `commit` | release | publishes it |
//! | `release`, Shared | release | what this user did happens before the last user's clean-up |
//! | `release`, Last | acquire and release | sees what every earlier user did |
//! | `abort`, `retire` | release | the clean-up is over when the word says Dormant |
//! | `restore` | release | publishes what the second `post_patch` made |
//! | `load` | acquire | a reader that sees Active sees what `post_patch` made |
//! A refused operation (`Busy`, `Underflow`, `Saturated`, `Err`) orders nothing.
//!
//! # Saturation
//! As the kernel's `refcount_t`: a count that reached its maximum stays there.
//! A state with 16,777,215 users is then never taken down, which leaks it; the
//! other way, wrapping, would free what is in use. The planner refuses long
//! before.
//!
//! All operations are lock-free, never sleep, and may be called anywhere, NMI
//! included. Each costs one read-modify-write of the word.

use core::fmt;
use umbra_shadow::sync::{AtomicU64, Ordering};

const PHASE: u64 = 0b11;
const USERS_SHIFT: u32 = 8;
const USERS: u64 = 0xff_ffff << USERS_SHIFT;
const GENERATION_SHIFT: u32 = 32;

/// The count at which a state sticks.
pub const USERS_MAX: u32 = 0xff_ffff;

/// Where a state is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Nobody uses it, nothing of it exists.
    Dormant = 0,
    /// Its first user is making it; `post_patch` has not returned.
    Enabling = 1,
    /// Its users may rely on it.
    Active = 2,
    /// Its last user is taking it down; `pre_unpatch` has been called.
    Disabling = 3,
}

impl Phase {
    /// One lower-case word, for reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dormant => "dormant",
            Self::Enabling => "enabling",
            Self::Active => "active",
            Self::Disabling => "disabling",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One value of the word, taken apart by name.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Word(u64);

impl Word {
    const fn new(phase: Phase, users: u32, generation: u32) -> Self {
        let users = (users as u64) << USERS_SHIFT & USERS;
        Self(phase as u64 | users | (generation as u64) << GENERATION_SHIFT)
    }

    /// Where the state is in its life.
    pub const fn phase(self) -> Phase {
        match self.0 & PHASE {
            0 => Phase::Dormant,
            1 => Phase::Enabling,
            2 => Phase::Active,
            _ => Phase::Disabling,
        }
    }

    /// How many patches use it.
    pub const fn users(self) -> u32 {
        ((self.0 & USERS) >> USERS_SHIFT) as u32
    }

    /// How many of its lives ended; wraps at 2^32.
    pub const fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    /// The count stuck at its maximum.
    pub const fn is_saturated(self) -> bool {
        self.users() == USERS_MAX
    }

    const fn with(self, phase: Phase, users: u32) -> Self {
        Self::new(phase, users, self.generation())
    }

    const fn ended(self) -> Self {
        Self::new(Phase::Dormant, 0, self.generation().wrapping_add(1))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("phase", &self.phase())
            .field("users", &self.users())
            .field("generation", &self.generation())
            .finish()
    }
}

/// What [`RefCount::acquire`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a First owes the state its pre_patch"]
pub enum Acquire {
    /// 0 to 1: the caller makes the state, then calls `commit` or `abort`.
    First,
    /// One more user of an active state; there are this many now.
    Shared(u32),
    /// Someone else stands on an edge. Nothing changed: come back later.
    Busy(Phase),
    /// The count is stuck. Nothing changed, and the state never goes away.
    Saturated,
}

/// What [`RefCount::release`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a Last owes the state its unpatch callbacks"]
pub enum Release {
    /// 1 to 0: the caller takes the state down, then calls `retire`, or
    /// `restore` if it changes its mind.
    Last,
    /// One user fewer; there are this many left.
    Shared(u32),
    /// Someone else stands on an edge. Nothing changed: come back later.
    Busy(Phase),
    /// There was no user to take away: a bug of the caller. Nothing changed.
    Underflow,
    /// The count is stuck. Nothing changed.
    Saturated,
}

/// An edge was ended by someone who does not stand on it; the word as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPhase(pub Word);

impl fmt::Display for WrongPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the state is {} with {} users",
            self.0.phase(),
            self.0.users()
        )
    }
}

impl core::error::Error for WrongPhase {}

/// The count of one state's users, with its phase and its generation.
pub struct RefCount(AtomicU64);

impl RefCount {
    /// A dormant state that never lived.
    pub fn new() -> Self {
        Self(AtomicU64::new(Word::new(Phase::Dormant, 0, 0).0))
    }

    /// A count in the middle of its life, for tests of its limits.
    #[doc(hidden)]
    pub fn from_parts(phase: Phase, users: u32, generation: u32) -> Self {
        Self(AtomicU64::new(Word::new(phase, users, generation).0))
    }

    /// The word now.
    pub fn load(&self) -> Word {
        // Acquire: pairs with the Release of `commit` and `restore`, so that
        // who reads Active may look at what post_patch made.
        Word(self.0.load(Ordering::Acquire))
    }

    /// Takes a share of the state.
    pub fn acquire(&self) -> Acquire {
        // Acquire on success pairs with the Release in `commit` (Shared: what
        // post_patch made), and in `retire` and `abort` (First: the clean-up of
        // the life before).
        self.update(Ordering::Acquire, |word| match word.phase() {
            Phase::Dormant => Ok((word.with(Phase::Enabling, 1), Acquire::First)),
            Phase::Active if word.is_saturated() => Err(Acquire::Saturated),
            Phase::Active => {
                let users = word.users() + 1;
                Ok((word.with(Phase::Active, users), Acquire::Shared(users)))
            }
            busy => Err(Acquire::Busy(busy)),
        })
    }

    /// Gives a share back.
    pub fn release(&self) -> Release {
        // The Release half pairs with the Acquire half of the last release:
        // what a user did under its share happens before the clean-up. Both
        // halves are asked for each time, for who is last is only known after.
        self.update(Ordering::AcqRel, |word| {
            match (word.phase(), word.users()) {
                (Phase::Active, USERS_MAX) => Err(Release::Saturated),
                (Phase::Active, 1) => Ok((word.with(Phase::Disabling, 0), Release::Last)),
                (Phase::Active, users) => Ok((
                    word.with(Phase::Active, users - 1),
                    Release::Shared(users - 1),
                )),
                (Phase::Dormant, _) => Err(Release::Underflow),
                (busy, _) => Err(Release::Busy(busy)),
            }
        })
    }

    /// The first user made the state: Enabling to Active, others may share it.
    ///
    /// # Errors
    /// [`WrongPhase`] if nobody stands on the enabling edge; nothing changed.
    pub fn commit(&self) -> Result<(), WrongPhase> {
        // Release: publishes what the callbacks made to the Acquire of
        // `acquire` and `load`.
        self.edge(Phase::Enabling, Ordering::Release, |word| {
            word.with(Phase::Active, 1)
        })
    }

    /// The first user gives up after cleaning up: Enabling to Dormant.
    ///
    /// # Errors
    /// [`WrongPhase`] if nobody stands on the enabling edge; nothing changed.
    pub fn abort(&self) -> Result<(), WrongPhase> {
        // Release: the clean-up happens before the Acquire of the next First.
        self.edge(Phase::Enabling, Ordering::Release, Word::ended)
    }

    /// The last user cleaned up: Disabling to Dormant.
    ///
    /// # Errors
    /// [`WrongPhase`] if nobody stands on the disabling edge; nothing changed.
    pub fn retire(&self) -> Result<(), WrongPhase> {
        // Release: the clean-up happens before the Acquire of the next First.
        self.edge(Phase::Disabling, Ordering::Release, Word::ended)
    }

    /// The last user stays after all: Disabling to Active, one user.
    ///
    /// # Errors
    /// [`WrongPhase`] if nobody stands on the disabling edge; nothing changed.
    pub fn restore(&self) -> Result<(), WrongPhase> {
        // Release: pairs as `commit` does.
        self.edge(Phase::Disabling, Ordering::Release, |word| {
            word.with(Phase::Active, 1)
        })
    }

    fn edge(
        &self,
        from: Phase,
        order: Ordering,
        to: impl Fn(Word) -> Word,
    ) -> Result<(), WrongPhase> {
        self.update(order, |word| {
            if word.phase() == from {
                Ok((to(word), Ok(())))
            } else {
                Err(Err(WrongPhase(word)))
            }
        })
    }

    /// Replaces the word by what `next` makes of it, or leaves it and answers
    /// with the `Err`. A retry means that another operation got through.
    fn update<T>(&self, order: Ordering, next: impl Fn(Word) -> Result<(Word, T), T>) -> T {
        // Relaxed: the value only proposes; the exchange below decides, and its
        // ordering is the operation's.
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let (word, answer) = match next(Word(seen)) {
                Ok(change) => change,
                Err(answer) => return answer,
            };
            // Relaxed on failure: as the load above.
            match self
                .0
                .compare_exchange_weak(seen, word.0, order, Ordering::Relaxed)
            {
                Ok(_) => return answer,
                Err(now) => seen = now,
            }
        }
    }
}

impl Default for RefCount {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RefCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.load(), f)
    }
}
