//! The little of git that is needed: names of commits, copies to measure in, and
//! the versions of a committed file.
//!
//! Measuring an older commit happens in a clone of its own. The project's folder,
//! its index and its list of worktrees stay as they are, whatever happens.

use crate::ending::Folder;
use crate::error::{Error, Result};
use crate::program;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to do when git fails and nothing better is known.
const HELP: &str = "name a folder in a git repository with its history (`git fetch --unshallow`)";

/// A repository, or a folder in one.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
    /// The project's folder in it.
    inside: PathBuf,
}

/// A commit as it is shown to people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Commit {
    /// The full id.
    pub id: String,
    /// The message's first line.
    pub subject: String,
}

impl Commit {
    /// Enough of the id to find it.
    #[must_use]
    pub fn short(&self) -> &str {
        short(&self.id)
    }
}

/// Enough of a commit's id to find it.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

/// git in a folder, speaking a known language and free of what a hook that
/// called us has set.
fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    // Not as the working directory: a message about the command has the folder.
    command.arg("-C").arg(folder).env("LC_ALL", "C");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(variable);
    }
    command
}

impl Repository {
    /// The repository around a project's folder.
    ///
    /// # Errors
    /// [`Error::Command`] if there is none.
    pub fn around(project: &Path) -> Result<Self> {
        let ask = |what| program::output(git(project).args(["rev-parse", what]), HELP);
        Ok(Self {
            root: ask("--show-toplevel")?.trim_end().into(),
            inside: ask("--show-prefix")?.trim_end().into(),
        })
    }

    /// Whether tracked files differ from HEAD.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub fn is_changed(&self) -> Result<bool> {
        let status = self.run(&["status", "--porcelain", "--untracked-files=no"])?;
        Ok(!status.trim().is_empty())
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        program::output(git(&self.root).args(args), HELP)
    }

    /// The commit that a name stands for.
    ///
    /// # Errors
    /// [`Error::Command`] if there is none.
    pub fn commit(&self, name: &str) -> Result<Commit> {
        let commit = format!("{name}^{{commit}}");
        let args = ["rev-parse", "--verify", "--end-of-options", &commit];
        let help = format!("`{name}` is no commit here; a shallow clone lacks older ones");
        let id = program::output(git(&self.root).args(args), &help)?;
        let id = id.trim_end().to_owned();
        let subject = self.run(&["log", "-1", "--format=%s", &id])?;
        Ok(Commit {
            id,
            subject: subject.trim_end().to_owned(),
        })
    }

    /// The commit at which the history of `new` left that of `old`: what `new` was
    /// built upon, however far `old` has gone since.
    ///
    /// # Errors
    /// [`Error::Command`] if they have none in common, or the clone does not reach
    /// back to it.
    pub fn merge_base(&self, old: &Commit, new: &Commit) -> Result<Commit> {
        let help = format!(
            "{} and {} must have a common commit here; a shallow clone lacks older ones (`git \
             fetch --unshallow`)",
            old.short(),
            new.short()
        );
        let args = ["merge-base", &old.id, &new.id];
        let base = program::output(git(&self.root).args(args), &help)?;
        self.commit(base.trim_end())
    }

    /// Every version of a committed file, the oldest first: the commit, the path
    /// that it had there, and its text. Renames are followed.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub fn versions(&self, file: &Path) -> Result<Vec<(Commit, String, String)>> {
        let mut log = git(&self.root);
        // With -z a path is as it is; otherwise git quotes what is not ASCII.
        log.args(["log", "-z", "--follow", "--name-only", "--diff-filter=d"])
            .args(["--format=%x01%H%x01%s", "--"])
            .arg(file);
        let log = program::output(&mut log, HELP)?;
        let mut versions = Vec::new();
        let mut fields = log.split('\0');
        while let Some(field) = fields.next() {
            let head = field.strip_prefix('\u{1}');
            let Some((id, subject)) = head.and_then(|head| head.split_once('\u{1}')) else {
                continue;
            };
            let path = fields.next().unwrap_or_default();
            let path = path.strip_prefix('\n').unwrap_or(path);
            let text = self.run(&["show", &format!("{id}:{path}")])?;
            let (id, subject) = (id.to_owned(), subject.to_owned());
            versions.push((Commit { id, subject }, path.to_owned(), text));
        }
        versions.reverse();
        Ok(versions)
    }

    /// A clone of its own to check commits out in.
    ///
    /// # Errors
    /// [`Error::Command`], [`Error::Write`] without room for it.
    pub fn copy(&self) -> Result<Copy> {
        let folder = Folder::new().map_err(|source| Error::Write {
            path: std::env::temp_dir(),
            source,
        })?;
        let root = folder.path().join("tree");
        // Objects are borrowed, not copied.
        let mut clone = git(&self.root);
        clone
            .args(["clone", "--quiet", "--shared", "--no-checkout", "."])
            .arg(&root);
        program::output(&mut clone, HELP)?;
        Ok(Copy {
            repository: Self {
                root,
                inside: self.inside.clone(),
            },
            folder,
        })
    }
}

/// A clone that goes away with this value.
#[derive(Debug)]
pub struct Copy {
    repository: Repository,
    folder: Folder,
}

impl Copy {
    /// The project in it.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.repository.root.join(&self.repository.inside)
    }

    /// A folder beside the clone, which goes with it: for what is built.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs git in it.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub fn git(&self, args: &[&str]) -> Result<String> {
        self.repository.run(args)
    }

    /// Lays a commit's files out, and nothing but them.
    ///
    /// # Errors
    /// [`Error::Command`]; [`Error::Read`] if the project has no folder there.
    pub fn check_out(&self, commit: &Commit) -> Result<()> {
        self.git(&["checkout", "--quiet", "--force", "--detach", &commit.id])?;
        self.clean()?;
        let project = self.project();
        project.metadata().map(drop).map_err(|source| Error::Read {
            path: project,
            source,
        })
    }

    /// Takes away what a build left in the tree.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub fn clean(&self) -> Result<()> {
        self.git(&["reset", "--quiet", "--hard"])?;
        self.git(&["clean", "-ffdxq"]).map(drop)
    }

    /// Whether one commit was built upon the other.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub fn is_ancestor(&self, old: &Commit, new: &Commit) -> Result<bool> {
        Ok(self.repository.merge_base(old, new)? == *old)
    }

    /// The commit that a name stands for; `HEAD` is what is laid out.
    ///
    /// # Errors
    /// As [`Repository::commit`].
    pub fn commit(&self, name: &str) -> Result<Commit> {
        self.repository.commit(name)
    }
}
