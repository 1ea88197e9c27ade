//! Where things are: the checkout, and the cache under its target folder.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::ui;

/// The folders everything else is found from.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: PathBuf,
    cache: PathBuf,
}

impl Paths {
    /// Finds the checkout from cargo's environment, and makes the cache folder.
    pub(crate) fn new() -> Result<Self> {
        // At run time, not at compile time: a checkout that was moved with its
        // target folder keeps working.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().unwrap_or(&manifest).to_path_buf();
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let cache = root.join(target).join("umbra");
        fs::create_dir_all(&cache).map_err(Error::io("make", &cache))?;
        Ok(Self { root, cache })
    }

    /// The top of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `target/umbra`, or its like under `CARGO_TARGET_DIR`.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// The log file of one step; its folder exists.
    pub(crate) fn log(&self, name: &str) -> Result<PathBuf> {
        Ok(self.dir("log")?.join(format!("{name}.log")))
    }

    /// A folder of the cache, made if it is not there.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.cache.join(name);
        fs::create_dir_all(&dir).map_err(Error::io("make", &dir))?;
        Ok(dir)
    }

    /// Keeps two runs out of one cache; the second waits and says so.
    pub(crate) fn lock(&self) -> Result<CacheLock> {
        let path = self.cache.join("lock");
        let file = File::create(&path).map_err(Error::io("make", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                ui::note(&format!(
                    "waiting for another xtask that uses {}",
                    self.cache.display()
                ));
                file.lock().map_err(Error::io("lock", &path))?;
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
        }
        Ok(CacheLock { _file: file })
    }
}

/// Held while the cache is being written; the lock goes with the file.
#[derive(Debug)]
pub(crate) struct CacheLock {
    _file: File,
}

/// A path as the reader would type it: relative to the working directory.
pub(crate) fn short(path: &Path) -> String {
    std::env::current_dir()
        .ok()
        .and_then(|cwd| path.strip_prefix(cwd).ok().map(Path::to_path_buf))
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}
