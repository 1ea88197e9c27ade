//! Holds `kmod/tests/README.md` against the tests that it names: a requirement that
//! is said to be proven in a running kernel has a test there, under its id.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What has to be proven in a running kernel.
const WANTED: &[&str] = &[
    "R17", "R22", "R31", "R34", "R35", "R36", "R37", "R38", "R39", "R40", "R41", "R42", "R53",
    "R54", "R62", "R88", "R89", "R90", "R91", "R92", "R96", "R97", "D3", "D8", "D9", "D11", "D12",
];

/// The rows of a table: what stands between its bars, without the backticks.
fn rows(text: &str) -> Vec<Vec<String>> {
    let row = |line: &str| {
        let inner = line.strip_prefix('|')?.strip_suffix('|')?;
        let cells = inner.split(" | ").map(|c| c.trim().replace('`', ""));
        Some(cells.collect::<Vec<_>>())
    };
    text.lines().filter_map(row).skip(2).collect()
}

#[test]
fn each_requirement_of_the_kernel_s_table_has_its_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kmod/tests");
    let text = fs::read_to_string(tests.join("README.md")).expect("the table");
    let mut proven = BTreeSet::new();
    for row in rows(&text) {
        let [id, file, name] = &row[..] else {
            panic!("{row:?} has no three columns");
        };
        let source = fs::read_to_string(tests.join(file)).expect(file);
        assert!(source.contains(name), "{file} has no test {name:?}");
        let word = id.to_lowercase();
        let named = name.split(['_', ' ']).any(|part| part == word);
        assert!(named, "the name {name:?} does not have {id}");
        if file.ends_with(".c") {
            assert!(
                source.contains(&format!("TEST({name})")),
                "{name} is not in the list of {file}"
            );
        }
        proven.insert(id.clone());
    }
    let wanted: BTreeSet<String> = WANTED.iter().map(ToString::to_string).collect();
    assert_eq!(proven, wanted);
}
