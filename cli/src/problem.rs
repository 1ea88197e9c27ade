//! Everything that can be wrong with a file or a command line, with its place.

// The fields are read by what the derives generate.
#![allow(unused_assignments, reason = "thiserror and miette read them")]

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceSpan};
use std::io;
use std::path::PathBuf;
use thiserror::Error;
use umbra_state::Refusal;

/// A text with the name of its file, for pointing into it.
pub type Source = NamedSource<String>;

/// What is wrong.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one of them, and then the program ends"
)]
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("give the path of a TOML file with [[patch]] tables"))]
    Read {
        /// The path as given.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML, or has something that means nothing.
    #[error("{message}")]
    Toml {
        /// What the parser says.
        message: String,
        /// The file.
        #[source_code]
        source_code: Source,
        /// Where.
        #[label("here")]
        at: Option<SourceSpan>,
    },
    /// The file has no patch.
    #[error("{path} describes no patch")]
    #[diagnostic(help(
        "a patch is a table:\n\n[[patch]]\nname = \"P1\"\n\n[[patch.state]]\nid = 1\nname = \"what it changes\""
    ))]
    Empty {
        /// The file.
        path: String,
    },
    /// A name is too long to be one.
    #[error("the name is too long: {why}")]
    Name {
        /// The rule.
        why: umbra_state::name::NameError,
        /// The file.
        #[source_code]
        source_code: Source,
        /// Where.
        #[label("this name")]
        at: SourceSpan,
    },
    /// A patch's name is empty.
    #[error("the name of a patch is empty")]
    #[diagnostic(help("give it a name: steps and messages call it by that"))]
    NameEmpty {
        /// The file.
        #[source_code]
        source_code: Source,
        /// Where.
        #[label("this name")]
        at: SourceSpan,
    },
    /// A name has a character that is none to be shown.
    #[error("the name has the character {character}, which cannot be shown")]
    #[diagnostic(help("leave out control characters and those that Unicode reserves"))]
    NameCharacter {
        /// Which one.
        character: String,
        /// The file.
        #[source_code]
        source_code: Source,
        /// Where.
        #[label("in this name")]
        at: SourceSpan,
    },
    /// A simulation is to attach more shadow variables than there is room for.
    #[error("a simulated pre_patch attaches at most {most} shadow variables")]
    #[diagnostic(help("the callbacks are the same with fewer of them"))]
    AttachTooMany {
        /// The limit.
        most: usize,
        /// The file.
        #[source_code]
        source_code: Source,
        /// Where.
        #[label("too many")]
        at: SourceSpan,
    },
    /// Two patches have one name.
    #[error("two patches are called {name}")]
    #[diagnostic(help("a step finds its patch by the name, so rename one of them"))]
    SameName {
        /// The name.
        name: String,
        /// The file.
        #[source_code]
        source_code: Source,
        /// The first one.
        #[label("the first")]
        first: SourceSpan,
        /// The second one.
        #[label("the second")]
        second: SourceSpan,
    },
    /// A patch replaces all others and only those of its set.
    #[error("a patch replaces all others, or the one of its set")]
    #[diagnostic(help("keep one of replace and replace_set"))]
    TwoReplaces {
        /// The file.
        #[source_code]
        source_code: Source,
        /// Where.
        #[label("this set")]
        at: SourceSpan,
    },
    /// A step names a patch that is not in the file.
    #[error("no patch is called {name}")]
    #[diagnostic(help("the file has {}", known.join(", ")))]
    UnknownPatch {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
        /// The file.
        #[source_code]
        source_code: Source,
        /// Where.
        #[label("named here")]
        at: SourceSpan,
    },
    /// A step says both or neither of enable and disable.
    #[error("a step either enables a patch or disables one")]
    #[diagnostic(help("write enable = \"NAME\" or disable = \"NAME\""))]
    Step {
        /// The file.
        #[source_code]
        source_code: Source,
        /// Where.
        #[label("this step")]
        at: SourceSpan,
    },
    /// The planner refuses a step.
    #[error("step {step} ({what}) is refused: {refusal}")]
    #[diagnostic(code(umbra::refused))]
    Refused {
        /// The step's number, from 1.
        step: usize,
        /// What it asked for.
        what: String,
        /// Why not, and the way out.
        refusal: Refusal,
        /// The file.
        #[source_code]
        source_code: Source,
        /// The places that it is about.
        #[label(collection)]
        labels: Vec<LabeledSpan>,
    },
    /// An option asks for something that the file does not have.
    #[error("{what}")]
    #[diagnostic(help("{help}"))]
    Option {
        /// What it asks for.
        what: String,
        /// What there is.
        help: String,
    },
    /// Shadow variables were left without a state that owns them: a defect of
    /// Umbra, which a simulation is there to find.
    #[error("{count} shadow variables of state {state} were left behind")]
    Leak {
        /// The state.
        state: u64,
        /// How many.
        count: usize,
    },
    /// Shadow variables were freed while a task might use them: as above.
    #[error("the shadow variables of state {state} were freed while a task may use them")]
    EarlyFree {
        /// The state.
        state: u64,
    },
    /// There is not enough memory.
    #[error("out of memory")]
    OutOfMemory,
    /// The output cannot be written.
    #[error("cannot write {what}")]
    Write {
        /// What.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Problem {
    /// What the program exits with: 1 when the answer is no, 2 when there was
    /// no question.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::Leak { .. } | Self::EarlyFree { .. } => 1,
            _ => 2,
        }
    }

    /// The reader of the output went away, which is its right.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<io::Error> for Problem {
    fn from(source: io::Error) -> Self {
        Self::Write {
            what: String::from("the output"),
            source,
        }
    }
}

impl From<umbra_state::OutOfMemory> for Problem {
    fn from(_: umbra_state::OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}
