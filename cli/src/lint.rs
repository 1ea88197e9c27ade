//! What a series may do and its author may not want: warnings of `umbra check`.
//!
//! The kernel sees one patch at a time and only what is declared; here the whole
//! series is at hand. A warning has a name, for people to search by, and says
//! what would happen.

use crate::series::{Move, Series};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use umbra_state::{Callback, Patch, Replace, State};

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lint {
    /// Shadow variables that no hook of their patch can use (R48).
    UnusedShadow,
    /// A patch replaces others and does not have all they had (R76).
    NotCumulative,
    /// A patch has all that the others have, and does not replace them (R76).
    NotReplacing,
    /// Patches that are enabled together describe one state differently (R77).
    Disagreement,
    /// Callbacks that a blocked state never gets to (R78).
    DeadCallback,
    /// A replaced patch changed a function that the new one leaves alone (R84).
    LostFix,
    /// A patch goes from under those that came after it (R85).
    NotOnTop,
    /// A module frees shadows on its way out, whoever else uses them (R96).
    BlindFree,
}

impl Lint {
    /// The name in front of the warning.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnusedShadow => "unused-shadow",
            Self::NotCumulative => "not-cumulative",
            Self::NotReplacing => "not-replacing",
            Self::Disagreement => "disagreement",
            Self::DeadCallback => "dead-callback",
            Self::LostFix => "lost-fix",
            Self::NotOnTop => "not-on-top",
            Self::BlindFree => "blind-free",
        }
    }
}

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What about.
    pub lint: Lint,
    /// In a sentence, with the way out.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "warning ({}): {}", self.lint.as_str(), self.text)
    }
}

fn warn(lint: Lint, text: String) -> Warning {
    Warning { lint, text }
}

/// What is odd about a patch by itself.
pub fn patch(series: &Series, at: usize) -> Vec<Warning> {
    let patch = series.patch(at);
    let mut warnings = Vec::new();
    for state in &patch.states {
        let hooked = patch.hooks.iter().any(|hook| hook.state == state.id);
        if state.is_shadow && !hooked && !patch.hooks.is_empty() {
            warnings.push(warn(
                Lint::UnusedShadow,
                format!(
                    "{}: no hook is decided by state {}, so only callbacks, hooks of other \
                     states and other patches can use its shadows; add the hook, or attach them in the patch that has it",
                    patch.name, state.id
                ),
            ));
        }
        let dead = state.callbacks.contains(Callback::PreUnpatch);
        if state.block_disable && dead && series.lists_callbacks(at, state) {
            warnings.push(warn(
                Lint::DeadCallback,
                format!(
                    "{}: state {} is marked block_disable, so its pre_unpatch never runs, and \
                     its post_unpatch only if enabling fails; drop them, or the mark",
                    patch.name, state.id
                ),
            ));
        }
        if series.exit_frees(at).contains(&state.id) {
            warnings.push(warn(
                Lint::BlindFree,
                format!(
                    "{}: the module frees the shadows of state {} when it exits, also when \
                     another patch has taken the state over; {}",
                    patch.name,
                    state.id,
                    if state.is_shadow {
                        "is_shadow frees them when the last user goes, so drop that"
                    } else {
                        "set is_shadow, or free them in post_unpatch"
                    }
                ),
            ));
        }
    }
    warnings
}

/// What is odd about a step, given who is enabled before it.
pub fn step(series: &Series, enabled: &[usize], step: Move) -> Vec<Warning> {
    let mut warnings = Vec::new();
    match step {
        Move::Disable(at) => {
            if let Some(top) = enabled.last().filter(|&&top| top != at) {
                warnings.push(warn(
                    Lint::NotOnTop,
                    format!(
                        "{} is disabled while {}, which came after it, stays: was that built \
                         and tested without it? disable {} first",
                        series.patch(at).name,
                        series.patch(*top).name,
                        series.patch(*top).name
                    ),
                ));
            }
        }
        Move::Enable(at) => {
            let new = Described::of(series.patch(at));
            for &old in enabled {
                compare(&new, series.patch(old), &mut warnings);
            }
        }
    }
    warnings
}

/// A patch that is compared with many: its states and functions, to be found.
struct Described<'a> {
    patch: &'a Patch,
    states: HashMap<u64, &'a State>,
    functions: HashSet<usize>,
}

impl<'a> Described<'a> {
    fn of(patch: &'a Patch) -> Self {
        Self {
            patch,
            states: patch.states.iter().map(|s| (s.id, s)).collect(),
            functions: patch.hooks.iter().map(|h| h.function).collect(),
        }
    }
}

fn compare(described: &Described<'_>, old: &Patch, warnings: &mut Vec<Warning>) {
    let new = described.patch;
    let replaces = match new.replace {
        Replace::All => true,
        set => set != Replace::Nothing && set == old.replace,
    };
    let theirs = old.states.iter().map(|state| state.id);
    let missing: BTreeSet<_> = theirs
        .filter(|id| !described.states.contains_key(id))
        .collect();
    let missing: Vec<_> = missing.iter().map(u64::to_string).collect();
    let lost = old
        .hooks
        .iter()
        .filter(|h| !described.functions.contains(&h.function));
    let lost: Vec<_> = lost.map(|hook| hook.label.to_string()).collect();
    if replaces && !missing.is_empty() {
        warnings.push(warn(
            Lint::NotCumulative,
            format!(
                "{} replaces {} and is not cumulative: it does not have state {}, which {}",
                new.name,
                old.name,
                missing.join(", "),
                match (new.replace, missing.len()) {
                    (Replace::All, 1) => "ends",
                    (Replace::All, _) => "end",
                    // Beside the set there are others.
                    (_, 1) => "ends unless another patch has it",
                    _ => "end unless another patch has them",
                }
            ),
        ));
    }
    if replaces && !lost.is_empty() {
        warnings.push(warn(
            Lint::LostFix,
            format!(
                "{} replaces {} and does not change {}: what {} fixed there is unfixed again; \
                 take the change over if it is still wanted",
                new.name,
                old.name,
                lost.join(", "),
                old.name
            ),
        ));
    }
    let some = !old.states.is_empty() || !old.hooks.is_empty();
    if !replaces && some && missing.is_empty() && lost.is_empty() {
        warnings.push(warn(
            Lint::NotReplacing,
            format!(
                "{} has all of {} and does not replace it: cumulative and replace are two \
                 things; set replace to have one patch less",
                new.name, old.name
            ),
        ));
    }
    for theirs in &old.states {
        let Some(state) = described.states.get(&theirs.id) else {
            continue;
        };
        if let Some(what) = theirs.fingerprint().difference(state.fingerprint()) {
            warnings.push(warn(
                Lint::Disagreement,
                format!(
                    "state {} differs in {what} between {} and {}; one id means one change, so \
                     make them agree or use another id",
                    state.id, new.name, old.name
                ),
            ));
        }
    }
}
