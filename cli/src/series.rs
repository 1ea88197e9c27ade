//! The file: patches, and the order in which they come and go.
//!
#![doc = concat!("```toml\n", include_str!("keys.toml"), "```")]
//! A key that is not listed here is an error, so that a typing mistake does
//! not become a default.

use crate::problem::{Problem, Source};
use miette::{LabeledSpan, NamedSource, SourceSpan};
use serde::Deserialize;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use umbra_state::{
    Callback, Hook, Name, Object, OutOfMemory, Patch, Refusal, Replace, Rules, State,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    patch: Vec<PatchTable>,
    #[serde(default)]
    step: Vec<Spanned<StepTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchTable {
    name: Spanned<String>,
    #[serde(default)]
    replace: bool,
    #[serde(default)]
    replace_set: Option<Spanned<u32>>,
    #[serde(default)]
    exit_frees: Vec<u64>,
    #[serde(default)]
    hooks: Vec<Spanned<HookTable>>,
    #[serde(default)]
    state: Vec<Spanned<StateTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateTable {
    id: Spanned<u64>,
    #[serde(default)]
    name: Option<Spanned<String>>,
    #[serde(default)]
    is_shadow: bool,
    #[serde(default)]
    block_disable: bool,
    #[serde(default)]
    callbacks: Option<Vec<CallbackName>>,
    #[serde(default)]
    attach: Option<Spanned<usize>>,
    #[serde(default)]
    shadow_size: u32,
    #[serde(default)]
    version: u32,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CallbackName {
    PrePatch,
    PostPatch,
    PreUnpatch,
    PostUnpatch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HookTable {
    function: Spanned<String>,
    state: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    enable: Option<Spanned<String>>,
    disable: Option<Spanned<String>>,
}

/// The most shadow variables that a simulated `pre_patch` attaches: some hundred
/// megabytes' worth.
pub const ATTACH_MAX: usize = 1_000_000;

/// One step of a series, by the patch's position in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Enable it; whether it replaces is the patch's own affair.
    Enable(usize),
    /// Disable it.
    Disable(usize),
}

struct Described {
    patch: Patch,
    name_at: SourceSpan,
    /// A state's id, and where it is written; as in `patch.states`.
    ids_at: Vec<SourceSpan>,
    hooks_at: Vec<SourceSpan>,
    /// How many shadows the simulated `pre_patch` attaches, as above.
    attach: Vec<usize>,
    /// Whether the file says which callbacks a state has, as above.
    listed: Vec<bool>,
    exit_frees: Vec<u64>,
}

/// A file that was understood. Its patches may still be refused.
pub struct Series {
    source: Source,
    patches: Vec<Described>,
    steps: Vec<(Move, Option<SourceSpan>)>,
}

impl Series {
    /// Reads and understands the file at `path`.
    ///
    /// # Errors
    /// A [`Problem`] with the place in the file.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let text = std::fs::read_to_string(path).map_err(|source| Problem::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(&path.display().to_string(), text)
    }

    /// Understands `text`, which is called `name` in messages.
    ///
    /// # Errors
    /// As [`Series::read`].
    pub fn parse(name: &str, text: String) -> Result<Self, Problem> {
        let source = NamedSource::new(name, text.clone()).with_language("toml");
        let file: File = toml::from_str(&text).map_err(|error| Problem::Toml {
            message: error.message().to_owned(),
            source_code: source.clone(),
            at: error.span().map(|span| visible(span, &text)),
        })?;
        if file.patch.is_empty() {
            return Err(Problem::Empty {
                path: name.to_owned(),
            });
        }
        let mut functions = HashMap::new();
        let mut patches: Vec<Described> = Vec::new();
        let mut by_name = HashMap::new();
        for table in &file.patch {
            let patch = describe(table, &mut functions, &source)?;
            let name = table.name.get_ref().as_str();
            if let Some(first) = by_name.insert(name, patches.len()) {
                return Err(Problem::SameName {
                    name: name.to_owned(),
                    source_code: source,
                    first: patches[first].name_at,
                    second: patch.name_at,
                });
            }
            patches.push(patch);
        }
        let find = |name: &Spanned<String>| {
            by_name
                .get(name.get_ref().as_str())
                .copied()
                .ok_or_else(|| Problem::UnknownPatch {
                    name: name.get_ref().clone(),
                    known: patches.iter().map(|p| p.patch.name.to_string()).collect(),
                    source_code: source.clone(),
                    at: name.span().into(),
                })
        };
        let mut steps = Vec::new();
        for step in &file.step {
            steps.push(match (&step.get_ref().enable, &step.get_ref().disable) {
                (Some(name), None) => (Move::Enable(find(name)?), Some(name.span().into())),
                (None, Some(name)) => (Move::Disable(find(name)?), Some(name.span().into())),
                _ => {
                    let at = visible(step.span(), &text);
                    return Err(Problem::Step {
                        source_code: source,
                        at,
                    });
                }
            });
        }
        if steps.is_empty() {
            steps.extend((0..patches.len()).map(|at| (Move::Enable(at), None)));
        }
        Ok(Self {
            source,
            patches,
            steps,
        })
    }

    /// How many patches there are.
    pub fn len(&self) -> usize {
        self.patches.len()
    }

    /// Never: a file without patches is a [`Problem`].
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// The steps, in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Move> {
        self.steps.iter().map(|step| step.0)
    }

    /// The patch at this position.
    pub fn patch(&self, at: usize) -> &Patch {
        &self.patches[at].patch
    }

    /// The patch at this position once more, for an engine to keep.
    ///
    /// # Errors
    /// [`Problem::OutOfMemory`].
    pub fn make(&self, at: usize) -> Result<Patch, Problem> {
        let like = &self.patches[at].patch;
        let mut patch = Patch::new(like.name);
        patch.replace = like.replace;
        patch.cookie = at;
        for state in &like.states {
            patch.push_state(*state)?;
        }
        for hook in &like.hooks {
            patch.push_hook(*hook)?;
        }
        Ok(patch)
    }

    /// As [`Series::make`], with what its author would have to bring under these
    /// rules: mainline has no callbacks of states, so there each state gets an
    /// object with the same ones.
    ///
    /// # Errors
    /// [`Problem::OutOfMemory`].
    pub fn make_for(&self, at: usize, rules: Rules) -> Result<Patch, Problem> {
        let mut patch = self.make(at)?;
        if rules == Rules::Mainline {
            objects(&mut patch)?;
        }
        Ok(patch)
    }

    /// How many shadows the simulated `pre_patch` of a state attaches.
    pub fn attaches(&self, patch: &Patch, state: &State) -> usize {
        let described = self.patches.get(patch.cookie);
        described
            .and_then(|d| d.attach.get(state.cookie))
            .copied()
            .unwrap_or(0)
    }

    /// Whether the file says which callbacks a state of a patch has.
    pub fn lists_callbacks(&self, at: usize, state: &State) -> bool {
        self.patches[at].listed.get(state.cookie) == Some(&true)
    }

    /// The ids whose shadows the patch's module frees when it exits.
    pub fn exit_frees(&self, at: usize) -> &[u64] {
        &self.patches[at].exit_frees
    }

    /// "enable P1", for people.
    pub fn title(&self, step: Move) -> String {
        match step {
            Move::Enable(at) if self.patch(at).replace == Replace::All => {
                format!("enable {} (replace)", self.patch(at).name)
            }
            Move::Enable(at) if self.patch(at).replace != Replace::Nothing => {
                format!("enable {} (replace its set)", self.patch(at).name)
            }
            Move::Enable(at) => format!("enable {}", self.patch(at).name),
            Move::Disable(at) => format!("disable {}", self.patch(at).name),
        }
    }

    /// A refusal of the step at `index`, with the places that it is about.
    pub fn refused(&self, index: usize, refusal: Refusal) -> Problem {
        let (step, at) = self.steps[index];
        let mut labels = Vec::new();
        let mut label = |span: SourceSpan, text: &str| {
            labels.push(LabeledSpan::new_with_span(Some(text.to_owned()), span));
        };
        self.places(&refusal, &mut label);
        if let Some(at) = at {
            label(at, "in this step");
        }
        Problem::Refused {
            step: index + 1,
            what: self.title(step),
            refusal,
            source_code: self.source.clone(),
            labels,
        }
    }

    fn places(&self, refusal: &Refusal, label: &mut dyn FnMut(SourceSpan, &str)) {
        let mut states = |patch: &Name, id: u64, text: &str| {
            for d in self.patches.iter().filter(|d| d.patch.name == *patch) {
                for (state, at) in d.patch.states.iter().zip(&d.ids_at) {
                    if state.id == id {
                        label(*at, text);
                    }
                }
            }
        };
        match refusal {
            Refusal::ZeroId { patch, .. } => states(patch, 0, "not an id"),
            Refusal::IdTooLarge { patch, state } => states(patch, *state, "too large"),
            Refusal::DuplicateId { patch, state, .. } => states(patch, *state, "listed here"),
            Refusal::NamesDisagree {
                state,
                patch,
                other,
            } => {
                states(&patch.0, *state, "this state");
                states(&other.0, *state, "is called differently here");
            }
            Refusal::ShadowsDisagree {
                state,
                patch: (patch, _),
                other,
                ..
            }
            | Refusal::DescriptorsDisagree {
                state,
                patch,
                other,
                ..
            } => {
                states(patch, *state, "this state");
                states(other, *state, "does not agree with this one");
            }
            Refusal::SetsOverlap {
                state,
                patch: (patch, _),
                other: (other, _),
                ..
            } => {
                states(patch, *state, "this state");
                states(other, *state, "is of another set here");
            }
            Refusal::Blocked { state, by, .. } => states(by, *state, "cannot be undone"),
            Refusal::HookWithoutState {
                patch, function, ..
            }
            | Refusal::FunctionTaken {
                patch, function, ..
            } => {
                for d in self.patches.iter().filter(|d| d.patch.name == *patch) {
                    for (hook, at) in d.patch.hooks.iter().zip(&d.hooks_at) {
                        if hook.label == *function {
                            label(*at, "this hook");
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Gives the patch an object for each of its states, with the same callbacks,
/// whose `cookie` is the state's id.
pub(crate) fn objects(patch: &mut Patch) -> Result<(), OutOfMemory> {
    for at in 0..patch.states.len() {
        let state = patch.states[at];
        let mut object = Object::new(state.name);
        object.callbacks = state.callbacks;
        object.cookie = state.id as usize;
        patch.push_object(object)?;
    }
    Ok(())
}

/// A span that shows something: the parser's are empty at the end of the text,
/// and a table's covers its lines.
fn visible(span: Range<usize>, text: &str) -> SourceSpan {
    let start = span.start.min(text.len());
    let line = text[start..]
        .find('\n')
        .map_or(text.len(), |end| start + end);
    (start..span.end.min(line).max(start)).into()
}

fn describe(
    table: &PatchTable,
    functions: &mut HashMap<String, usize>,
    source: &Source,
) -> Result<Described, Problem> {
    let printable = |name: &Spanned<String>| match name.get_ref().chars().find(|&c| !shows(c)) {
        None => Ok(()),
        Some(c) => Err(Problem::NameCharacter {
            character: format!("U+{:04X}", u32::from(c)),
            source_code: source.clone(),
            at: name.span().into(),
        }),
    };
    let name = |name: &Spanned<String>| {
        printable(name)?;
        Name::new(name.get_ref()).map_err(|why| Problem::Name {
            why,
            source_code: source.clone(),
            at: name.span().into(),
        })
    };
    if table.name.get_ref().is_empty() {
        return Err(Problem::NameEmpty {
            source_code: source.clone(),
            at: table.name.span().into(),
        });
    }
    let mut described = Described {
        patch: Patch::new(name(&table.name)?),
        name_at: table.name.span().into(),
        ids_at: Vec::new(),
        hooks_at: Vec::new(),
        attach: Vec::new(),
        listed: Vec::new(),
        exit_frees: table.exit_frees.clone(),
    };
    described.patch.replace = match (&table.replace_set, table.replace) {
        (None, replace) => Replace::from_flag(replace),
        (Some(set), false) => Replace::Set(*set.get_ref()),
        (Some(set), true) => {
            return Err(Problem::TwoReplaces {
                source_code: source.clone(),
                at: set.span().into(),
            });
        }
    };
    for (at, state) in table.state.iter().enumerate() {
        let from = state.get_ref();
        let called = from.name.as_ref().map_or(Ok(Name::EMPTY), name)?;
        let mut state = State::new(*from.id.get_ref(), called);
        state.is_shadow = from.is_shadow;
        state.block_disable = from.block_disable;
        state.shadow_size = from.shadow_size;
        state.version = from.version;
        state.cookie = at;
        described.listed.push(from.callbacks.is_some());
        if let Some(callbacks) = &from.callbacks {
            state.callbacks = callbacks
                .iter()
                .map(|&callback| Callback::from(callback))
                .collect();
        }
        described.patch.push_state(state)?;
        described.ids_at.push(from.id.span().into());
        let attach = from.attach.as_ref();
        if let Some(attach) = attach.filter(|attach| *attach.get_ref() > ATTACH_MAX) {
            return Err(Problem::AttachTooMany {
                most: ATTACH_MAX,
                source_code: source.clone(),
                at: attach.span().into(),
            });
        }
        described
            .attach
            .push(attach.map_or(usize::from(from.is_shadow), |attach| *attach.get_ref()));
    }
    for hook in &table.hooks {
        let from = hook.get_ref();
        // Null is no function.
        let next = functions.len() + 1;
        printable(&from.function)?;
        let called = from.function.get_ref();
        let function = *functions.entry(called.clone()).or_insert(next);
        described
            .patch
            .push_hook(Hook::new(function, Name::cut(called), from.state))?;
        described.hooks_at.push(hook.span().into());
    }
    Ok(described)
}

/// Whether a character may go to a terminal and into a picture: control
/// characters and those that Unicode reserves may not.
pub(crate) fn shows(c: char) -> bool {
    let reserved = u32::from(c) & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c);
    !c.is_control() && !reserved
}

impl From<CallbackName> for Callback {
    fn from(name: CallbackName) -> Self {
        match name {
            CallbackName::PrePatch => Self::PrePatch,
            CallbackName::PostPatch => Self::PostPatch,
            CallbackName::PreUnpatch => Self::PreUnpatch,
            CallbackName::PostUnpatch => Self::PostUnpatch,
        }
    }
}
