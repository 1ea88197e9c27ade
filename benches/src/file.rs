//! Writing a file whole or not at all.
//!
//! A run of an hour is worth keeping: a file that exists is a file that was
//! finished, and one that is written anew is there all the while.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Puts `text` into the place of what the file holds, in one step. What is there
/// and no file (a pipe, a device) is written to.
///
/// # Errors
/// The system's; the file is then as it was.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        return fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(text.as_bytes());
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut file = beside(&target)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|error| error.error)?;
    Ok(())
}

/// Whether [`replace`] would work, as far as can be known: asked before an hour
/// of measuring, not after it.
///
/// # Errors
/// As [`replace`].
pub fn writable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(meta) if !meta.is_file() => Ok(()),
        _ => beside(path).map(drop),
    }
}

/// A file without a name that is known, in the same folder.
fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    tempfile::Builder::new()
        .prefix(".umbra-benches-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_another_one_at_once_and_a_link_stays_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "old").expect("a file");
        std::os::unix::fs::symlink("file", at("link")).expect("a link");
        // Who has it open still reads what was there: it was not cut short.
        let mut open = fs::File::open(at("file")).expect("the file");
        replace(&at("link"), "new").expect("written");
        let mut seen = String::new();
        io::Read::read_to_string(&mut open, &mut seen).expect("to read");
        assert_eq!(seen, "old");
        assert_eq!(fs::read_to_string(at("file")).expect("the file"), "new");
        assert!(
            at("link")
                .symlink_metadata()
                .expect("the link")
                .is_symlink()
        );
        assert_eq!(fs::read_dir(folder.path()).expect("it").count(), 2);
    }

    #[test]
    fn what_cannot_be_replaced_is_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(replace(folder.path(), "text").is_err());
        assert!(replace(&folder.path().join("no/file"), "text").is_err());
        assert!(writable(folder.path()).is_err());
        assert!(writable(&folder.path().join("no/file")).is_err());
        assert!(writable(&folder.path().join("file")).is_ok());
        assert_eq!(fs::read_dir(folder.path()).expect("it").count(), 0);
        // A device takes what it is given, and stays.
        replace(Path::new("/dev/null"), "text").expect("written");
        let null = fs::metadata("/dev/null").expect("it");
        assert!(!null.is_file());
    }
}
