//! The README's matrix is true: each pair of operations has a model or a reason,
//! each model that is named exists, and each one that exists is named.
//!
//! `UMBRA_BLESS=1 cargo test --test matrix` writes the README's part anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    operations: Vec<String>,
    pairs: BTreeMap<String, Vec<String>>,
    none: BTreeMap<String, String>,
    guarantees: BTreeMap<String, Vec<String>>,
    other: BTreeMap<String, Vec<String>>,
}

/// Those of DESIGN.md that are about orderings: S2, S5 and S6 are not.
const GUARANTEES: &[&str] = &[
    "G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G10", "G11", "G12", "S1", "S3", "S4",
];

/// Test programs that are no models.
const TOOLS: &[&str] = &["explore", "matrix"];
const BEGIN: &str = "<!-- matrix: made by tests/matrix.rs -->\n";
const END: &str = "<!-- end of matrix -->\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn matrix() -> Matrix {
    let text = fs::read_to_string(root().join("matrix.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

/// `file::function` of each test in a folder.
fn models(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap();
        if TOOLS.contains(&file) || path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut test = false;
        for line in text.lines() {
            test |= line == "#[test]";
            if let Some(rest) = line.strip_prefix("fn ").filter(|_| test) {
                let name = rest.split('(').next().unwrap();
                found.insert(format!("{file}::{name}"));
                test = false;
            }
        }
    }
    found
}

/// Why a pair has no model, if something is said of it or of an operation.
fn reason<'a>(matrix: &'a Matrix, a: &str, b: &str) -> Option<&'a String> {
    let keys = [format!("{a} {b}"), format!("*{a}"), format!("*{b}")];
    keys.iter().find_map(|k| matrix.none.get(k))
}

fn pairs(matrix: &Matrix) -> impl Iterator<Item = (&str, &str)> {
    let all = &matrix.operations;
    (0..all.len())
        .flat_map(move |i| (i..all.len()).map(move |j| (all[i].as_str(), all[j].as_str())))
}

#[test]
fn every_pair_has_a_model_or_a_reason_and_never_both() {
    let matrix = matrix();
    let mut known = BTreeSet::new();
    for (a, b) in pairs(&matrix) {
        let key = format!("{a} {b}");
        let models = matrix.pairs.get(&key).is_some_and(|m| !m.is_empty());
        let reason = reason(&matrix, a, b).is_some();
        assert!(
            models != reason,
            "{key}: a model or a reason, one of the two"
        );
        known.insert(key);
    }
    let strange: Vec<&String> = matrix
        .pairs
        .keys()
        .filter(|k| !known.contains(*k))
        .collect();
    assert!(strange.is_empty(), "no such pairs: {strange:?}");
}

/// The guarantees' rows, in their order.
fn guarantees(matrix: &Matrix) -> impl Iterator<Item = (&str, &[String])> {
    GUARANTEES.iter().map(|&guarantee| {
        let mut rows = matrix.guarantees.iter();
        let row = rows.find(|(what, _)| what.split(' ').next() == Some(guarantee));
        let (what, models) = row.unwrap_or_else(|| panic!("{guarantee} has no model"));
        (what.as_str(), models.as_slice())
    })
}

#[test]
fn every_guarantee_has_a_model() {
    let matrix = matrix();
    assert!(guarantees(&matrix).all(|(_, models)| !models.is_empty()));
    assert_eq!(guarantees(&matrix).count(), matrix.guarantees.len());
    let design = fs::read_to_string(root().join("../DESIGN.md")).unwrap();
    let of_the_table = design.lines().filter_map(|line| {
        let name = line.strip_prefix("| ")?.split(' ').next()?;
        name.strip_prefix('G')?.parse::<u32>().ok()
    });
    let known = GUARANTEES.iter().filter(|g| g.starts_with('G')).count();
    assert_eq!(of_the_table.count(), known, "the table's in DESIGN.md");
}

/// A row of a table.
fn line(list: &mut String, what: &str, models: &[String]) {
    let names: Vec<String> = models.iter().map(|m| format!("`{m}`")).collect();
    let _ = writeln!(list, "| {what} | {} |", names.join(", "));
}

#[test]
fn the_matrix_and_the_models_name_one_another() {
    let matrix = matrix();
    let there = models(&root().join("tests"));
    let named: BTreeSet<String> = matrix
        .pairs
        .values()
        .chain(matrix.guarantees.values())
        .chain(matrix.other.values())
        .flatten()
        .cloned()
        .collect();
    let gone: Vec<&String> = named.difference(&there).collect();
    assert!(
        gone.is_empty(),
        "named in matrix.toml, but there is none: {gone:?}"
    );
    let unnamed: Vec<&String> = there.difference(&named).collect();
    assert!(unnamed.is_empty(), "not in matrix.toml: {unnamed:?}");
}

fn render(matrix: &Matrix) -> String {
    let mut out = String::from(BEGIN);
    let mut list = String::new();
    let mut notes: Vec<&str> = Vec::new();
    let _ = writeln!(out, "| | {} |", matrix.operations.join(" | "));
    let _ = writeln!(out, "|---|{}", "---|".repeat(matrix.operations.len()));
    for (i, a) in matrix.operations.iter().enumerate() {
        let mut row = format!("| **{a}** |");
        for (j, b) in matrix.operations.iter().enumerate() {
            if j < i {
                row.push_str(" |");
                continue;
            }
            if let Some(why) = reason(matrix, a, b) {
                let note = notes.iter().position(|n| n == why).unwrap_or_else(|| {
                    notes.push(why);
                    notes.len() - 1
                });
                let letter = char::from(b'a' + u8::try_from(note).unwrap());
                let _ = write!(row, " ({letter}) |");
                continue;
            }
            let models = &matrix.pairs[&format!("{a} {b}")];
            let _ = write!(row, " {} |", models.len());
            line(&mut list, &format!("{a}, {b}"), models);
        }
        let _ = writeln!(out, "{row}");
    }
    out.push('\n');
    for (i, note) in notes.iter().enumerate() {
        let letter = char::from(b'a' + u8::try_from(i).unwrap());
        let _ = writeln!(out, "- ({letter}) {note}");
    }
    let _ = write!(out, "\n| pair | models |\n|---|---|\n{list}");
    for (what, models) in &matrix.other {
        line(&mut out, what, models);
    }
    out.push_str("\n| guarantee | models |\n|---|---|\n");
    for (what, models) in guarantees(matrix) {
        line(&mut out, what, models);
    }
    out.push_str(END);
    out
}

#[test]
fn the_readme_shows_the_matrix_as_it_is() {
    let path = root().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the README has the matrix");
    let (_, after) = rest.split_once(END).expect("and its end");
    let fresh = format!("{before}{}{after}", render(&matrix()));
    if std::env::var_os("UMBRA_BLESS").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    assert!(
        fresh == text || std::env::var_os("UMBRA_BLESS").is_some(),
        "the README's matrix is out of date: UMBRA_BLESS=1 cargo test --test matrix"
    );
}
