//! Reports that many threads read while one writes them.
//!
//! A monitoring thread wants to look at the patches and states without the lock
//! under which transitions run. It reads the latest [`Report`] here: the writer
//! publishes a whole new one after each change, and a reader keeps the one it
//! found for as long as its closure runs.
//!
//! # Why a newtype
//! The cell is rcu-clean's `graceful::Rcu`, the sound part of that crate.
//! Its `Clone` is not sound (it empties the original for a moment, and a reader
//! that looks then follows a null pointer), a `Grace` that lives long makes the
//! values it holds back be dropped by recursion, and updates that race may each
//! start from the same old value. So none of the three can be reached from here:
//!
//! - the `Rcu` is private, is shared by [`Arc`], and is never cloned;
//! - a `Grace` lives for one closure;
//! - writers take a mutex.
//!
//! Not for the paths of patched functions: a grace costs a lock. That is what
//! gates and shadow tables are for.

use crate::event::Direction;
use crate::installed::{Pinned, StateInfo};
use crate::patch::{Patch, Replace};
use crate::transition::Engine;
use rcu_clean::graceful::{Grace, Rcu};
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec::Vec;

/// One enabled patch, as a report shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchReport {
    /// Its name.
    pub name: String,
    /// Whether it replaced the others.
    pub replace: Replace,
    /// The ids of its states.
    pub states: Vec<u64>,
    /// How many functions it hooks.
    pub hooks: usize,
    /// The ids of the states whose clean-up it owes; only of one that is pinned.
    pub owes: Vec<u64>,
}

/// All that is known of an engine at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The enabled patches, in order.
    pub patches: Vec<PatchReport>,
    /// Those that are registered and not enabled.
    pub registered: Vec<PatchReport>,
    /// Those that are gone and still needed since a transition was forced.
    pub pinned: Vec<PatchReport>,
    /// Every state that was ever named, by id.
    pub states: Vec<StateInfo>,
    /// The patch whose transition is running, and which way it goes.
    pub running: Option<(String, Direction)>,
}

impl Report {
    /// The report of this moment.
    pub fn of(engine: &Engine) -> Self {
        let installed = engine.installed();
        let report = |patch: &Patch| PatchReport {
            name: patch.name.as_str().into(),
            replace: patch.replace,
            states: patch.states.iter().map(|state| state.id).collect(),
            hooks: patch.hooks.len(),
            owes: Vec::new(),
        };
        let pinned = |pinned: &Pinned| PatchReport {
            owes: installed.owed(pinned).map(|state| state.id).collect(),
            ..report(pinned.patch())
        };
        let mut states: Vec<_> = installed.states().collect();
        states.sort_by_key(|state| state.id);
        let running = installed.running().zip(engine.direction());
        Self {
            patches: installed.patches().iter().map(report).collect(),
            registered: installed.registered().iter().map(report).collect(),
            pinned: installed.pinned().iter().map(pinned).collect(),
            states,
            running: running.map(|(patch, direction)| (patch.as_str().into(), direction)),
        }
    }
}

/// The latest report. A handle: clones show the same reports.
#[derive(Clone)]
pub struct Snapshot {
    shared: Arc<Shared>,
}

struct Shared {
    latest: Rcu<Report>,
    writer: Mutex<()>,
}

impl Snapshot {
    /// An empty report.
    pub fn new() -> Self {
        let shared = Shared {
            latest: Rcu::new(Report::default()),
            writer: Mutex::new(()),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Puts `report` in the place of the one before. Waits for other writers,
    /// never for readers.
    pub fn publish(&self, report: Report) {
        // A writer that panicked left a whole report behind, so poison is moot.
        let _one = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.shared.latest.update(|latest| *latest = report);
    }

    /// Lets `look` see the latest report. Keep it short: what is published
    /// meanwhile is held in memory until it returns.
    pub fn read<T>(&self, look: impl FnOnce(&Report) -> T) -> T {
        let grace = Grace::new();
        look(&self.shared.latest.read(&grace))
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::new()
    }
}
