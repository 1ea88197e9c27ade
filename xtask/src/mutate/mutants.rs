//! The mutants: what is changed, and what is known of them.
//!
//! | kind | found | made by |
//! |---|---|---|
//! | weakening | at every site, one step down | the ordering that the site asks for at run time |
//! | fence removed | at every fence | a switch around the statement |
//! | named | in `loom-tests/mutants/*.toml` | a switch between the code and its replacement |
//!
//! The same files keep the reasons of the mutants that no model can kill. A
//! reason holds for the code it was written for: it carries the hash of its
//! function's tokens, and is an error once that differs.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::sites::{self, Found, Order, Site};
use crate::error::{Error, Result};

/// Why a mutant may survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Excuse {
    /// The program means the same with it.
    Equivalent,
    /// It means something else, and the checker cannot show that.
    Limit,
}

/// What is written down of a mutant that survives.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonEntry {
    /// The mutant's key.
    pub(crate) mutant: String,
    /// The hash of the function's code when this was written.
    pub(crate) code: String,
    /// Of which kind it is.
    pub(crate) kind: Excuse,
    /// The reason.
    pub(crate) why: String,
}

/// A change of the logic, by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedEntry {
    name: String,
    /// What it breaks.
    why: String,
    file: String,
    function: String,
    find: String,
    replace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    #[serde(default)]
    mutant: Vec<NamedEntry>,
    #[serde(default)]
    reason: Vec<ReasonEntry>,
}

/// How a mutant is made.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// The site's ordering becomes this one.
    Weaken(Order),
    /// A switch is thrown: a fence is passed over, or code is replaced.
    Switch,
}

/// One mutant.
#[derive(Debug, Clone)]
pub(crate) struct Mutant {
    /// Its site or switch in the instrumented copy.
    pub(crate) id: usize,
    /// Its name from one run to the next.
    pub(crate) key: String,
    /// The file it changes, from the top of the checkout.
    pub(crate) file: String,
    /// The function it changes.
    pub(crate) function: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The hash of the function's code.
    pub(crate) code: String,
    /// How it is made.
    pub(crate) change: Change,
    /// What it breaks, for named ones.
    pub(crate) about: String,
}

impl Mutant {
    /// What the instrumented program is told.
    pub(crate) fn choice(&self) -> String {
        match self.change {
            Change::Weaken(to) => format!("{}={}", self.id, to.name()),
            Change::Switch => self.id.to_string(),
        }
    }
}

/// A change that the instrumented copy carries: the bytes, and what stands
/// around them there.
#[derive(Debug)]
pub(crate) struct Wrap {
    /// What is wrapped.
    pub(crate) bytes: Range<usize>,
    /// What comes before it.
    pub(crate) open: String,
    /// What comes behind it.
    pub(crate) close: String,
}

/// A file of the lock-free code.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the top of the checkout.
    pub(crate) file: String,
    /// Its text.
    pub(crate) text: String,
    /// What it becomes.
    pub(crate) wraps: Vec<Wrap>,
}

/// A site, for those who print schedules.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The file it is in.
    pub(crate) file: String,
    /// The site.
    pub(crate) site: Site,
}

/// All there is.
#[derive(Debug)]
pub(crate) struct Catalogue {
    /// The files.
    pub(crate) sources: Vec<Source>,
    /// The sites by number.
    pub(crate) places: Vec<Place>,
    /// The mutants, by file and place.
    pub(crate) mutants: Vec<Mutant>,
    /// The reasons by the mutant's key.
    pub(crate) reasons: BTreeMap<String, ReasonEntry>,
}

/// The folders whose code is weakened.
pub(crate) const FOLDERS: &[&str] = &["shadow/src", "state/src"];

/// Reads the sources and the books of a checkout.
pub(crate) fn read(root: &Path) -> Result<Catalogue> {
    catalogue(sources(root)?, book(root)?)
}

/// As [`read`]; without the books, if they do not hold for these sources.
///
/// A model that went red is to show its schedule: what made it red is often a change
/// that makes a book stale too, and a schedule needs the sites only.
pub(crate) fn read_to_show(root: &Path) -> Result<Catalogue> {
    match read(root) {
        Err(Error::Stale { .. }) => catalogue(sources(root)?, Book::default()),
        other => other,
    }
}

/// The files of the lock-free code, and what is found in each.
fn sources(root: &Path) -> Result<Vec<(String, String, Found)>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        walk(&root.join(folder), "rs", &mut files)?;
    }
    let mut read = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let file = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let found = sites::find(&text).map_err(|why| Error::Sites {
            file: path.clone(),
            why,
        })?;
        read.push((file, text, found));
    }
    Ok(read)
}

/// The books as one.
fn book(root: &Path) -> Result<Book> {
    let mut books = Vec::new();
    walk(&root.join("loom-tests/mutants"), "toml", &mut books)?;
    let mut book = Book::default();
    for path in books {
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let part: Book = toml::from_str(&text).map_err(|e| Error::Book {
            file: path.clone(),
            why: e.to_string(),
            help: "xtask/src/mutate/mutants.rs says what is in it".into(),
        })?;
        book.mutant.extend(part.mutant);
        book.reason.extend(part.reason);
    }
    Ok(book)
}

fn walk(dir: &Path, ending: &str, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(Error::io("read", dir))?;
    let mut paths: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, ending, files)?;
        } else if path.extension().is_some_and(|e| e == ending) {
            files.push(path);
        }
    }
    Ok(())
}

/// The path by which a file reaches what the copy of `sync.rs` is given.
fn runtime(file: &str) -> &'static str {
    if file.starts_with("shadow/") {
        "crate::sync::mutant"
    } else {
        "umbra_shadow::sync::mutant"
    }
}

/// The next weaker orderings that the operation can have.
fn weaker(site: &Site) -> Vec<Order> {
    let fence = site.operation == "fence";
    match site.order {
        Order::Relaxed => vec![],
        // A fence cannot be relaxed; that mutant is its removal.
        Order::Acquire | Order::Release if fence => vec![],
        Order::Acquire | Order::Release => vec![Order::Relaxed],
        Order::AcqRel => vec![Order::Acquire, Order::Release],
        Order::SeqCst => match site.operation.as_str() {
            "load" => vec![Order::Acquire],
            "store" => vec![Order::Release],
            _ if site.argument == 3 => vec![Order::Acquire],
            _ => vec![Order::AcqRel],
        },
    }
}

fn catalogue(read: Vec<(String, String, Found)>, book: Book) -> Result<Catalogue> {
    let mut all = Catalogue {
        sources: Vec::new(),
        places: Vec::new(),
        mutants: Vec::new(),
        reasons: BTreeMap::new(),
    };
    let mut next = read.iter().map(|(_, _, f)| f.sites.len()).sum();
    let mut found = BTreeMap::new();
    for (file, text, functions) in read {
        let runtime = runtime(&file);
        let mut wraps = Vec::new();
        for site in &functions.sites {
            let id = all.places.len();
            wraps.push(Wrap {
                bytes: site.bytes.clone(),
                open: format!("{runtime}::order({id}, "),
                close: ")".into(),
            });
            let mutant = |id, what: &str, change| Mutant {
                id,
                key: format!("{file} {} {}->{what}", site.name(), site.order.name()),
                file: file.clone(),
                function: site.function.clone(),
                line: site.line,
                code: functions.code(&site.function).unwrap_or_default(),
                change,
                about: String::new(),
            };
            for to in weaker(site) {
                all.mutants.push(mutant(id, to.name(), Change::Weaken(to)));
            }
            if let Some(fence) = &site.fence {
                wraps.push(Wrap {
                    bytes: fence.clone(),
                    open: format!("if !{runtime}::on({next}) {{ "),
                    close: " }".into(),
                });
                all.mutants.push(mutant(next, "removed", Change::Switch));
                next += 1;
            }
            all.places.push(Place {
                file: file.clone(),
                site: site.clone(),
            });
        }
        all.sources.push(Source {
            file: file.clone(),
            text,
            wraps,
        });
        found.insert(file, functions);
    }
    for entry in book.mutant {
        let mutant = add_named(&mut all.sources, &found, entry, next)?;
        all.mutants.push(mutant);
        next += 1;
    }
    for entry in book.reason {
        let Some(mutant) = all.mutants.iter().find(|m| m.key == entry.mutant) else {
            return Err(Error::Stale {
                what: format!("the reason of `{}`", entry.mutant),
                why: "there is no such mutant any more".into(),
                help: "remove it, or give it the new key; `cargo xtask mutate --list` has them all"
                    .into(),
            });
        };
        if mutant.code != entry.code {
            return Err(Error::Stale {
                what: format!("the reason of `{}`", entry.mutant),
                why: format!(
                    "{} has changed since it was written ({} then, {} now)",
                    mutant.function, entry.code, mutant.code
                ),
                help: format!(
                    "does it still hold? Then set code = \"{}\"; otherwise remove it",
                    mutant.code
                ),
            });
        }
        all.reasons.insert(entry.mutant.clone(), entry);
    }
    Ok(all)
}

/// Finds the code that a named mutant replaces, and wraps it.
fn add_named(
    sources: &mut [Source],
    found: &BTreeMap<String, Found>,
    entry: NamedEntry,
    id: usize,
) -> Result<Mutant> {
    let stale = |why: String| Error::Stale {
        what: format!("the named mutant `{}`", entry.name),
        why,
        help: format!(
            "loom-tests/mutants/: make it break {} as that is now ({})",
            entry.function, entry.why
        ),
    };
    let source = sources
        .iter_mut()
        .find(|s| s.file == entry.file)
        .ok_or_else(|| stale(format!("there is no {}", entry.file)))?;
    let functions = &found[&entry.file];
    let bodies = functions
        .functions
        .get(&entry.function)
        .ok_or_else(|| stale(format!("{} has no {}", entry.file, entry.function)))?;
    let mut hits = bodies
        .iter()
        .flat_map(|f| occurrences(&source.text, f.bytes.clone(), &entry.find));
    let (Some(bytes), None) = (hits.next(), hits.next()) else {
        return Err(stale(format!("its code is not once in {}", entry.function)));
    };
    let line = 1 + source.text[..bytes.start].matches('\n').count();
    let statement = entry.find.trim_end().ends_with([';', '}']);
    let runtime = runtime(&entry.file);
    let (left, right) = if statement { ("", "") } else { ("(", ")") };
    source.wraps.push(Wrap {
        bytes,
        open: format!(
            "{left}if {runtime}::on({id}) {{ {} }} else {{ ",
            entry.replace
        ),
        close: format!(" }}{right}"),
    });
    Ok(Mutant {
        id,
        key: entry.name,
        code: functions.code(&entry.function).unwrap_or_default(),
        file: entry.file,
        function: entry.function,
        line,
        change: Change::Switch,
        about: entry.why,
    })
}

/// Where `find` stands in a range of the text, spaces aside.
fn occurrences(text: &str, within: Range<usize>, find: &str) -> Vec<Range<usize>> {
    let find: Vec<char> = find.chars().filter(|c| !c.is_whitespace()).collect();
    let hay: Vec<(usize, char)> = text[within.clone()]
        .char_indices()
        .filter(|(_, c)| !c.is_whitespace())
        .collect();
    if find.is_empty() || find.len() > hay.len() {
        return vec![];
    }
    (0..=hay.len() - find.len())
        .filter(|&i| find.iter().zip(&hay[i..]).all(|(a, (_, b))| a == b))
        .map(|i| {
            let (last, c) = hay[i + find.len() - 1];
            within.start + hay[i].0..within.start + last + c.len_utf8()
        })
        .collect()
}

/// The text with its wraps: those that stand in others stay within them.
pub(crate) fn wrapped(source: &Source) -> String {
    // At one place: what ends comes first, the shorter one before the longer;
    // then what begins, the longer one first.
    let mut points: Vec<(usize, bool, i64, &str)> = Vec::new();
    for wrap in &source.wraps {
        let length = wrap.bytes.len() as i64;
        points.push((wrap.bytes.start, true, -length, &wrap.open));
        points.push((wrap.bytes.end, false, length, &wrap.close));
    }
    points.sort_by_key(|&(at, opens, length, _)| (at, opens, length));
    let mut out = String::new();
    let mut from = 0;
    for (at, _, _, text) in points {
        out.push_str(&source.text[from..at]);
        out.push_str(text);
        from = at;
    }
    out.push_str(&source.text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "fn f() {\n    fence(Ordering::SeqCst);\n    x.store(1, Ordering::Release);\n}\n";

    fn with(book: &str) -> Result<Catalogue> {
        let found = sites::find(TEXT).expect("parses");
        let book = toml::from_str(book).expect("a book");
        catalogue(vec![("state/src/a.rs".into(), TEXT.into(), found)], book)
    }

    fn keys(all: &Catalogue) -> Vec<&str> {
        all.mutants.iter().map(|m| m.key.as_str()).collect()
    }

    const NAMED: &str = r#"
        [[mutant]]
        name = "never-stored"
        why = "nobody would see it"
        file = "state/src/a.rs"
        function = "f"
        find = "x . store(1,Ordering::Release);"
        replace = ""
    "#;

    #[test]
    fn each_site_is_weakened_by_one_step_and_each_fence_removed() {
        let all = with("").expect("no book");
        assert_eq!(
            keys(&all),
            [
                "state/src/a.rs f fence SeqCst->AcqRel",
                "state/src/a.rs f fence SeqCst->removed",
                "state/src/a.rs f store Release->Relaxed",
            ]
        );
    }

    #[test]
    fn what_is_instrumented_nests_and_still_parses() {
        let all = with(NAMED).expect("applies");
        let text = wrapped(&all.sources[0]);
        assert!(syn::parse_file(&text).is_ok(), "{text}");
        let squeezed: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            squeezed.contains(
                "if umbra_shadow::sync::mutant::on(3) { } else { \
                 x.store(1, umbra_shadow::sync::mutant::order(1, Ordering::Release)); }"
            ),
            "{text}"
        );
        assert!(squeezed.contains("if !umbra_shadow::sync::mutant::on(2) { fence("));
    }

    #[test]
    fn a_named_mutant_whose_code_is_gone_is_an_error() {
        for (from, to) in [
            ("store(1,", "store(2,"),
            ("\"f\"", "\"g\""),
            ("a.rs", "b.rs"),
        ] {
            let error = with(&NAMED.replace(from, to)).expect_err("stale");
            assert!(error.to_string().contains("never-stored"), "{error}");
        }
    }

    /// Who weakens what a named mutant quotes gets the schedule of the red model all the
    /// same, with the same sites.
    #[test]
    fn a_stale_book_does_not_take_the_schedule_away() {
        let root = tempfile::tempdir().expect("a folder");
        for folder in ["shadow/src", "state/src", "loom-tests/mutants"] {
            fs::create_dir_all(root.path().join(folder)).expect("made");
        }
        let write = |file: &str, text: &str| {
            fs::write(root.path().join(file), text).expect("written");
        };
        write("loom-tests/mutants/state.toml", NAMED);
        write("state/src/a.rs", TEXT);
        let named = |all: &Catalogue| keys(all).contains(&"never-stored");
        let before = read_to_show(root.path()).expect("the book holds");
        assert!(named(&before));
        write("state/src/a.rs", &TEXT.replace("Release", "Relaxed"));
        assert!(matches!(read(root.path()), Err(Error::Stale { .. })));
        let after = read_to_show(root.path()).expect("the sites are found");
        assert!(!named(&after));
        assert_eq!(after.places.len(), before.places.len());
        write("loom-tests/mutants/state.toml", "[[mutant]]\nname = 1\n");
        assert!(
            read_to_show(root.path()).is_err(),
            "a broken book is one still"
        );
    }

    #[test]
    fn a_reason_is_stale_when_its_function_changed_or_its_mutant_is_gone() {
        let code = with("").expect("no book").mutants[2].code.clone();
        let reason = |key: &str, code: &str| {
            format!(
                "[[reason]]\nmutant = \"{key}\"\ncode = \"{code}\"\nkind = \"equivalent\"\nwhy = \"x\"\n"
            )
        };
        let key = "state/src/a.rs f store Release->Relaxed";
        let all = with(&reason(key, &code)).expect("fresh");
        assert!(all.reasons.contains_key(key));
        for (key, code, says) in [
            (key, "00000000", "has changed"),
            ("state/src/a.rs f load Acquire->Relaxed", &code, "no such"),
        ] {
            let error = with(&reason(key, code)).expect_err("stale").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
