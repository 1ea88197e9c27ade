//! Which source something was made of, as a word for a file's name.
//!
//! The word is of the content: of what git has of some files and folders at the last
//! commit, and of everything in them that differs from it or is not known to git at all.
//! Two edits that are not committed are two sources, and a file that was taken back is the
//! one before. The commit alone would not do: most commits touch something else.

use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result};
use crate::proc;

/// What git says, or why it does not.
fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(arguments);
    let command = proc::show(&git);
    let output = git.output().map_err(|source| Error::Spawn {
        program: "git".into(),
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Failed {
        command,
        status: output.status.to_string(),
        tail: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        help: Some(
            "figures are kept by their source, and git knows it: run this in a clone".into(),
        ),
    })
}

/// Of what source these `paths` are, relative to `root`; with a `+` if it is not what is
/// committed.
pub(crate) fn id(root: &Path, paths: &[&str]) -> Result<String> {
    let committed: Vec<_> = paths.iter().map(|path| format!("HEAD:{path}")).collect();
    let mut ask = vec!["rev-parse"];
    ask.extend(committed.iter().map(String::as_str));
    let mut content = git(root, &ask)?;
    let mut ask = vec!["status", "--porcelain", "-z", "--no-renames"];
    ask.extend(["--untracked-files=all", "--"]);
    ask.extend(paths);
    let changes = git(root, &ask)?;
    for change in changes.split_terminator('\0') {
        // Two letters for what became of it, and a space.
        let path = change.get(3..).unwrap_or_default();
        let there = root.join(path).is_file();
        let now = if there {
            git(root, &["hash-object", "--", path])?
        } else {
            "gone".into()
        };
        content += &format!("{path}\0{now}\n");
    }
    let mark = if changes.is_empty() { "" } else { "+" };
    Ok(format!("{:016x}{mark}", fnv(&content)))
}

/// The commit that the tree at `root` is at, with a `+` if any file in it differs.
pub(crate) fn commit(root: &Path) -> Result<String> {
    let commit = git(root, &["rev-parse", "--short", "HEAD"])?;
    let changes = git(root, &["status", "--porcelain", "--untracked-files=no"])?;
    let mark = if changes.is_empty() { "" } else { "+" };
    Ok(format!("{}{mark}", commit.trim()))
}

fn fnv(text: &str) -> u64 {
    use std::hash::Hasher;
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A tree with two files that decide, in a folder and beside it, and one that does not.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("a folder");
        fs::create_dir(tree.path().join("src")).expect("a folder");
        for file in ["src/a", "b", "README"] {
            fs::write(tree.path().join(file), "one").expect("a file");
        }
        git(tree.path(), &["init", "--quiet"]).expect("git");
        save(tree.path());
        tree
    }

    fn save(root: &Path) {
        git(root, &["add", "."]).expect("git");
        let who = [
            "-c",
            "user.name=nobody",
            "-c",
            "user.email=nobody@localhost",
        ];
        let what = ["commit", "--quiet", "--message", "another"];
        git(root, &[who.as_slice(), &what].concat()).expect("git");
    }

    const PATHS: [&str; 2] = ["src", "b"];

    #[test]
    fn two_edits_are_two_sources_and_one_taken_back_is_the_first() {
        let tree = tree();
        let root = tree.path();
        let now = || id(root, &PATHS).expect("a name");
        let write = |file: &str, text: &str| fs::write(root.join(file), text).expect("a file");
        let clean = now();
        assert!(!clean.ends_with('+'), "{clean}");
        let mut seen = vec![clean.clone()];
        let mut another = |what: &str, committed: bool| {
            let now = now();
            assert!(!seen.contains(&now), "{what}");
            assert_eq!(now.ends_with('+'), !committed, "{what}: {now}");
            seen.push(now);
        };
        write("src/a", "two");
        another("an edit", false);
        write("src/a", "three");
        another("another edit", false);
        git(root, &["add", "src/a"]).expect("git");
        write("src/a", "four");
        another("an edit on top of one that is to be committed", false);
        write("src/a", "one");
        git(root, &["add", "src/a"]).expect("git");
        assert_eq!(now(), clean, "taken back");
        write("src/new", "one");
        another("a file that git does not know", false);
        write("src/new", "two");
        another("the same, edited", false);
        fs::remove_file(root.join("src/new")).expect("the file");
        fs::remove_file(root.join("b")).expect("the file");
        another("a file that is gone", false);
        write("b", "two");
        save(root);
        another("a commit", true);

        let before = (now(), commit(root).expect("a commit"));
        write("README", "two");
        assert_eq!(now(), before.0, "what decides nothing");
        assert_eq!(commit(root).expect("a commit"), before.1.clone() + "+");
        save(root);
        assert_eq!(now(), before.0, "nor its commit");
        assert_ne!(commit(root).expect("a commit"), before.1);
    }

    #[test]
    fn without_an_answer_of_git_there_is_no_name() {
        let tree = tree();
        let told = |root: &Path, paths: &[&str]| id(root, paths).expect_err("no").to_string();
        assert!(told(tree.path(), &["src", "nowhere"]).contains("nowhere"));
        let folder = tempfile::tempdir().expect("a folder");
        assert!(told(folder.path(), &PATHS).contains("git"));
    }
}
