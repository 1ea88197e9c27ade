//! House rules that no lint expresses.

use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// An atomic or a lock that does not come from `sync` is invisible to the model
/// checker.
#[test]
fn atomics_come_from_sync_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for krate in ["shadow", "state"] {
        rust_files(&root.join(krate).join("src"), &mut files);
    }
    assert!(
        files.len() > 5,
        "the sources are where this test looks for them"
    );
    for file in files {
        if file.ends_with("shadow/src/sync.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            for name in ["sync::atomic", "loom::sync", "UnsafeCell"] {
                assert!(
                    !code.contains(name),
                    "{}:{}: `{name}` outside of shadow/src/sync.rs",
                    file.display(),
                    number + 1
                );
            }
        }
    }
}
