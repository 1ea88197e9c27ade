//! The instrumented copy: one build for all mutants.
//!
//! ```text
//!  x.load(Ordering::Acquire)  →  x.load(crate::sync::mutant::order(12, Ordering::Acquire))
//! ```
//! Which mutant it is, an environment variable says at run time. With none it is
//! the same program, which the first run of a session checks by running all
//! models on it. Beside a build for each mutant this saves a compilation for
//! each (half a minute against none); beside wrapping the atomic types and
//! asking for the caller's location it tells apart orderings that are passed on
//! as arguments, which would all fall on the one operation at the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mutants::{self, Catalogue};
use super::sites::hash;
use crate::error::{Error, Result};
use crate::models::{self, Model};
use crate::paths::Paths;

/// What the copy's `sync.rs` is given.
const RUNTIME: &str = include_str!("chosen.rs");

/// What is copied, from the top of the checkout.
const PARTS: &[&str] = &[
    "Cargo.toml",
    "loom-tests/.cargo",
    "loom-tests/Cargo.lock",
    "loom-tests/Cargo.toml",
    "loom-tests/src",
    "loom-tests/tests",
    "rust-toolchain.toml",
    "shadow/Cargo.toml",
    "shadow/src",
    "state/Cargo.toml",
    "state/src",
];

/// The copy, built.
pub(crate) struct Tree {
    /// Its `loom-tests/`.
    pub(crate) dir: PathBuf,
    /// Its models.
    pub(crate) models: Vec<Model>,
    /// What was found in the sources.
    pub(crate) catalogue: Catalogue,
    /// A hash of all that is in it: verdicts hold for this.
    pub(crate) content: String,
}

/// Tells a model to go by the second number of its bound: what only that kills has to
/// be seen to die.
pub(crate) const DEEP: (&str, &str) = ("UMBRA_LOOM_DEEP", "1");

impl Tree {
    /// The program that runs this model of the copy alone.
    pub(crate) fn command(&self, model: &Model) -> Command {
        let mut command = model.command(&self.dir);
        command.env(DEEP.0, DEEP.1);
        command
    }
}

/// Makes the copy, or brings it up to date, and builds it.
pub(crate) fn prepare(paths: &Paths, catalogue: Catalogue) -> Result<Tree> {
    let (root, content) = update(paths, &catalogue)?;
    let dir = root.join("loom-tests");
    let models = models::build(paths, &dir, "mutate-build")?;
    Ok(Tree {
        dir,
        models,
        catalogue,
        content,
    })
}

/// Makes the copy, or brings it up to date; where it is, and the hash of all in it.
pub(crate) fn update(paths: &Paths, catalogue: &Catalogue) -> Result<(PathBuf, String)> {
    let root = paths.dir("mutate/tree")?;
    let mut kept = BTreeSet::new();
    let mut content = String::new();
    for part in PARTS {
        copy(
            paths.root(),
            Path::new(part),
            &root,
            catalogue,
            &mut |path, text| {
                content.push_str(&hash(text));
                kept.insert(path);
            },
        )?;
    }
    sweep(&root, &kept)?;
    Ok((root, hash(&content)))
}

/// Copies a file, or a folder with all in it; a file that is the same already
/// keeps its time, so that cargo need not build it again.
fn copy(
    from: &Path,
    part: &Path,
    to: &Path,
    catalogue: &Catalogue,
    note: &mut impl FnMut(PathBuf, &str),
) -> Result<()> {
    let source = from.join(part);
    let target = to.join(part);
    if source.is_dir() {
        fs::create_dir_all(&target).map_err(Error::io("make", &target))?;
        let entries = fs::read_dir(&source).map_err(Error::io("read", &source))?;
        let mut names: Vec<_> = entries.filter_map(|e| Some(e.ok()?.file_name())).collect();
        names.sort();
        for name in names {
            copy(from, &part.join(name), to, catalogue, note)?;
        }
        return Ok(());
    }
    let name = part.display().to_string();
    let mut text = match catalogue.sources.iter().find(|s| s.file == name) {
        Some(source) => mutants::wrapped(source),
        None => fs::read_to_string(&source).map_err(Error::io("read", &source))?,
    };
    if name == "shadow/src/sync.rs" {
        text.push_str(RUNTIME);
    }
    if name.ends_with("/src/lib.rs") {
        // What is put around a condition; on its line, so that none moves.
        text.insert_str(0, "#![allow(unused_parens)] ");
    }
    if fs::read_to_string(&target).ok().as_deref() != Some(text.as_str()) {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        }
        fs::write(&target, &text).map_err(Error::io("write", &target))?;
        let mode = fs::metadata(&source)
            .map_err(Error::io("read", &source))?
            .permissions();
        fs::set_permissions(&target, mode).map_err(Error::io("change", &target))?;
    }
    note(target, &text);
    Ok(())
}

/// Removes what the checkout has no more.
fn sweep(dir: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let path = entry.map_err(Error::io("read", dir))?.path();
        if path.is_dir() {
            sweep(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::mutants::{Place, Source};
    use crate::mutate::sites;

    #[test]
    fn the_runtime_parses_and_asks_for_nothing_that_the_tree_lacks() {
        syn::parse_file(RUNTIME).expect("it is appended to a source file");
    }

    #[test]
    fn a_file_that_is_the_same_keeps_its_time_and_one_that_is_gone_goes() {
        let from = tempfile::tempdir().expect("a folder");
        let to = tempfile::tempdir().expect("a folder");
        let text = "fn f() { x.load(Ordering::Acquire); }";
        let file = Path::new("state/src/a.rs");
        fs::create_dir_all(from.path().join("state/src")).expect("made");
        fs::write(from.path().join(file), text).expect("written");
        let found = sites::find(text).expect("parses");
        let catalogue = Catalogue {
            sources: vec![Source {
                file: file.display().to_string(),
                text: text.into(),
                wraps: vec![],
            }],
            places: found
                .sites
                .iter()
                .map(|s| Place {
                    file: file.display().to_string(),
                    site: s.clone(),
                })
                .collect(),
            mutants: vec![],
            reasons: std::collections::BTreeMap::new(),
        };
        let go = || {
            let mut kept = BTreeSet::new();
            copy(
                from.path(),
                Path::new("state"),
                to.path(),
                &catalogue,
                &mut |p, _| {
                    kept.insert(p);
                },
            )
            .expect("copies");
            sweep(to.path(), &kept).expect("sweeps");
            fs::metadata(to.path().join(file))
                .and_then(|m| m.modified())
                .expect("is there")
        };
        fs::create_dir_all(to.path().join("state/src")).expect("made");
        fs::write(to.path().join("state/src/old.rs"), "").expect("written");
        let first = go();
        assert!(!to.path().join("state/src/old.rs").exists());
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(go(), first);
    }
}
