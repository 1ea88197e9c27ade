//! The verdicts, saved one by one.
//!
//! `verdicts.jsonl` begins with the hash of the tree that they hold for; a line
//! is a model's baseline or a mutant's verdict. It is only ever appended to, so
//! whatever ends the program leaves all lines but perhaps the last one whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::mutants::{Catalogue, Excuse, Mutant};
use super::tree::Tree;
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::ui;

/// Mutants and their killers, kept with the sources.
const KILLERS: &str = "loom-tests/mutants/killers.json";

/// What became of a mutant, before the book is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Judged {
    /// Its key.
    pub(crate) mutant: String,
    /// The model that went red.
    pub(crate) killer: Option<String>,
    /// What that model said.
    pub(crate) why: String,
    /// Models that did not end.
    pub(crate) late: Vec<String>,
    /// How many models ran.
    pub(crate) models: usize,
    /// What it took.
    pub(crate) seconds: f64,
    /// The seconds that it had.
    #[serde(default)]
    pub(crate) budget: u64,
    /// Long models ran with one preemption only, for a reason says why nothing kills it.
    #[serde(default)]
    pub(crate) shallow: bool,
}

impl Judged {
    /// Whether nothing more would be learnt from judging once more.
    fn holds(&self, budget: u64, shallow: bool) -> bool {
        let killed = self.killer.is_some();
        let whole = (self.late.is_empty() || self.budget >= budget) && (!self.shallow || shallow);
        killed || whole
    }
}

/// A model without any mutant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// Its id.
    pub(crate) model: String,
    /// What it took.
    pub(crate) seconds: f64,
    /// Sites and switches that it passes.
    pub(crate) hits: BTreeSet<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Tree(String),
    Baseline(Baseline),
    Judged(Judged),
    /// A mutant, and its killer in an earlier tree.
    Hint(String, String),
}

/// A mutant's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Killed,
    Equivalent,
    Limit,
    Unreached,
    Timeout,
    Survived,
}

impl Verdict {
    /// One word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Equivalent => "equivalent",
            Self::Limit => "limit",
            Self::Unreached => "unreached",
            Self::Timeout => "timeout",
            Self::Survived => "survived",
        }
    }
}

/// A mutant and all that is known of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) function: String,
    pub(crate) code: String,
    /// What it breaks, for named ones.
    pub(crate) about: String,
    pub(crate) verdict: Verdict,
    pub(crate) killer: Option<String>,
    /// What the killer said.
    pub(crate) said: String,
    /// The book's reason.
    pub(crate) reason: Option<String>,
    pub(crate) models: usize,
    pub(crate) seconds: f64,
    /// What the instrumented program is told.
    pub(crate) choice: String,
}

impl Row {
    /// What is wrong, if it is.
    pub(crate) fn complaint(&self) -> Option<String> {
        let named = !self.about.is_empty();
        match (self.verdict, &self.reason) {
            (Verdict::Killed, Some(_)) => {
                Some("is killed, so its reason is wrong: remove it".into())
            }
            (Verdict::Killed, None) => None,
            (v, _) if named => Some(format!("has to be killed, but: {}", v.word())),
            (Verdict::Equivalent | Verdict::Limit, _) => None,
            (v, _) => Some(format!("{} after {} models", v.word(), self.models)),
        }
    }
}

/// The file and what is in it.
pub(crate) struct Verdicts {
    path: PathBuf,
    file: File,
    /// Models by id.
    pub(crate) baselines: BTreeMap<String, Baseline>,
    /// Mutants by key.
    pub(crate) judged: BTreeMap<String, Judged>,
    /// What killed a mutant in another tree: tried first, and trusted for nothing.
    pub(crate) hints: BTreeMap<String, String>,
}

impl Verdicts {
    /// Takes up an earlier run of the same tree, or begins anew.
    pub(crate) fn open(paths: &Paths, tree: &Tree, fresh: bool) -> Result<Self> {
        let path = paths.dir("mutate")?.join("verdicts.jsonl");
        let mut verdicts = Self::at(path, &tree.content, fresh)?;
        for (mutant, killer) in Self::killers(paths)? {
            verdicts.hints.entry(mutant).or_insert(killer);
        }
        Ok(verdicts)
    }

    /// What killed each mutant when the results were last written: whom to try first
    /// on a machine that has judged nothing yet.
    pub(crate) fn killers(paths: &Paths) -> Result<BTreeMap<String, String>> {
        let path = paths.root().join(KILLERS);
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        serde_json::from_str(&text).map_err(|e| Error::Book {
            file: path,
            why: e.to_string(),
            help: "`cargo xtask mutate --write` writes it; `{}` is an empty one".into(),
        })
    }

    /// Writes the killers to the tree.
    pub(crate) fn write_killers(&self, paths: &Paths) -> Result<()> {
        let killers: BTreeMap<&str, &str> = self
            .judged
            .values()
            .filter_map(|j| Some((j.mutant.as_str(), j.killer.as_deref()?)))
            .collect();
        let path = paths.root().join(KILLERS);
        let text = serde_json::to_string_pretty(&killers).unwrap_or_default();
        fs::write(&path, text + "\n").map_err(Error::io("write", &path))
    }

    fn at(path: PathBuf, content: &str, fresh: bool) -> Result<Self> {
        let text = fs::read_to_string(&path).unwrap_or_default();
        // A line that was cut off is no line.
        let mut lines = text.lines().filter_map(|l| serde_json::from_str(l).ok());
        let same = matches!(lines.next(), Some(Line::Tree(t)) if t == content);
        let mut baselines = BTreeMap::new();
        let mut judged = BTreeMap::new();
        let mut hints = BTreeMap::new();
        if same && !fresh {
            for line in lines {
                match line {
                    Line::Baseline(b) => drop(baselines.insert(b.model.clone(), b)),
                    Line::Judged(j) => drop(judged.insert(j.mutant.clone(), j)),
                    Line::Hint(mutant, killer) => drop(hints.insert(mutant, killer)),
                    Line::Tree(_) => {}
                }
            }
            if !judged.is_empty() {
                ui::note(&format!("{} verdicts of an earlier run hold", judged.len()));
            }
        } else if !text.is_empty() {
            ui::note("the sources or the models have changed: earlier verdicts do not hold");
            for line in lines {
                match line {
                    Line::Judged(Judged {
                        mutant,
                        killer: Some(killer),
                        ..
                    })
                    | Line::Hint(mutant, killer) => drop(hints.insert(mutant, killer)),
                    _ => {}
                }
            }
        }
        let keep = same && !fresh;
        let file = OpenOptions::new()
            .create(true)
            .append(keep)
            .write(true)
            .truncate(!keep)
            .open(&path)
            .map_err(Error::io("write", &path))?;
        let mut verdicts = Self {
            path,
            file,
            baselines,
            judged,
            hints,
        };
        if keep {
            // Ends a line that was cut off.
            if !text.ends_with('\n') {
                verdicts.raw("\n")?;
            }
        } else {
            verdicts.write(&Line::Tree(content.to_owned()))?;
            for (mutant, killer) in verdicts.hints.clone() {
                verdicts.write(&Line::Hint(mutant, killer))?;
            }
        }
        Ok(verdicts)
    }

    /// What killed a mutant, in this tree or in another one.
    pub(crate) fn killer(&self, mutant: &str) -> Option<&str> {
        let now = self.judged.get(mutant).and_then(|j| j.killer.as_ref());
        now.or_else(|| self.hints.get(mutant)).map(String::as_str)
    }

    /// Forgets who survived where less was asked of the models than `budget` seconds, or
    /// than what `shallow` says of it now.
    pub(crate) fn demand(
        &mut self,
        mutants: &[&Mutant],
        budget: u64,
        shallow: impl Fn(&str) -> bool,
    ) {
        for mutant in mutants {
            let held = self.judged.get(&mutant.key);
            if held.is_some_and(|j| !j.holds(budget, shallow(&mutant.key))) {
                self.judged.remove(&mutant.key);
            }
        }
    }

    /// How many have no verdict yet.
    pub(crate) fn unjudged(&self, mutants: &[&Mutant]) -> usize {
        let open = mutants.iter().filter(|m| !self.judged.contains_key(&m.key));
        open.count()
    }

    /// What killed those that have no verdict yet, in another tree.
    pub(crate) fn suspects(&self, mutants: &[&Mutant]) -> BTreeSet<String> {
        let open = mutants.iter().filter(|m| !self.judged.contains_key(&m.key));
        open.filter_map(|m| self.hints.get(&m.key).cloned())
            .collect()
    }

    fn raw(&mut self, text: &str) -> Result<()> {
        self.file
            .write_all(text.as_bytes())
            .map_err(Error::io("write", &self.path))
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line).unwrap_or_default();
        self.raw(&format!("{text}\n"))
    }

    /// Saves a model's baseline.
    pub(crate) fn baseline(&mut self, baseline: Baseline) -> Result<()> {
        self.write(&Line::Baseline(baseline.clone()))?;
        self.baselines.insert(baseline.model.clone(), baseline);
        Ok(())
    }

    /// Saves a mutant's verdict.
    pub(crate) fn judged(&mut self, judged: Judged) -> Result<()> {
        self.write(&Line::Judged(judged.clone()))?;
        self.judged.insert(judged.mutant.clone(), judged);
        Ok(())
    }

    /// The mutants that have been judged, with the book's word.
    pub(crate) fn rows(&self, all: &Catalogue, chosen: &[&Mutant]) -> Vec<Row> {
        chosen
            .iter()
            .filter_map(|m| {
                let judged = self.judged.get(&m.key)?;
                let reason = all.reasons.get(&m.key);
                let verdict = match (judged, reason.map(|r| r.kind)) {
                    (j, _) if j.killer.is_some() => Verdict::Killed,
                    (j, _) if !j.late.is_empty() => Verdict::Timeout,
                    (j, _) if j.models == 0 => Verdict::Unreached,
                    (_, Some(Excuse::Equivalent)) => Verdict::Equivalent,
                    (_, Some(Excuse::Limit)) => Verdict::Limit,
                    _ => Verdict::Survived,
                };
                Some(Row {
                    key: m.key.clone(),
                    file: m.file.clone(),
                    line: m.line,
                    function: m.function.clone(),
                    code: m.code.clone(),
                    about: m.about.clone(),
                    verdict,
                    killer: judged.killer.clone(),
                    said: judged.why.clone(),
                    reason: reason.map(|r| r.why.clone()),
                    models: judged.models,
                    seconds: judged.seconds,
                    choice: m.choice(),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(mutant: &str) -> Judged {
        Judged {
            mutant: mutant.into(),
            killer: Some("m".into()),
            why: String::new(),
            late: vec![],
            models: 1,
            seconds: 0.5,
            budget: 60,
            shallow: false,
        }
    }

    #[test]
    fn an_interrupted_run_is_taken_up_and_another_tree_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("verdicts.jsonl");
        let open = |tree: &str, fresh| Verdicts::at(path.clone(), tree, fresh).expect("opens");
        open("1", false).judged(judged("a")).expect("saved");
        // As if the program had been ended in the midst of a line.
        let mut file = OpenOptions::new().append(true).open(&path).expect("there");
        file.write_all(b"{\"judged\":{\"mut").expect("written");
        let mut second = open("1", false);
        assert!(second.judged.contains_key("a"));
        second.judged(judged("b")).expect("saved");
        assert_eq!(open("1", false).judged.len(), 2);
        assert!(open("1", true).judged.is_empty());
        open("1", false).judged(judged("a")).expect("saved");
        let other = open("2", false);
        assert!(other.judged.is_empty());
        // Whom to try first is kept, over any number of trees.
        assert_eq!(other.hints["a"], "m");
        drop(other);
        assert_eq!(open("2", false).killer("a"), Some("m"));
        assert_eq!(open("2", false).killer("b"), Some("m"));
        assert_eq!(open("2", false).killer("c"), None);
        assert_eq!(open("3", false).hints["a"], "m");
    }

    #[test]
    fn who_survived_where_less_was_asked_is_judged_again() {
        let survived = |late: &[&str], shallow| Judged {
            killer: None,
            late: late.iter().map(|&m| m.to_owned()).collect(),
            shallow,
            ..judged("a")
        };
        assert!(judged("a").holds(400, false), "dead is dead");
        assert!(survived(&[], false).holds(400, false));
        assert!(survived(&["m"], false).holds(60, false));
        assert!(!survived(&["m"], false).holds(400, false), "it had 60 s");
        assert!(survived(&[], true).holds(60, true));
        assert!(
            !survived(&[], true).holds(60, false),
            "--long, or no reason"
        );
    }

    #[test]
    fn a_named_mutant_needs_a_killer_and_a_killed_one_needs_no_reason() {
        let row = |verdict, reason: Option<&str>, about: &str| Row {
            key: "k".into(),
            file: "f".into(),
            line: 1,
            function: "g".into(),
            code: "c".into(),
            about: about.into(),
            verdict,
            killer: None,
            said: String::new(),
            reason: reason.map(str::to_owned),
            models: 3,
            seconds: 0.0,
            choice: "1".into(),
        };
        assert!(row(Verdict::Killed, None, "").complaint().is_none());
        assert!(
            row(Verdict::Equivalent, Some("r"), "")
                .complaint()
                .is_none()
        );
        for bad in [
            row(Verdict::Survived, None, ""),
            row(Verdict::Unreached, None, ""),
            row(Verdict::Timeout, None, ""),
            row(Verdict::Killed, Some("r"), ""),
            row(Verdict::Equivalent, Some("r"), "breaks x"),
            row(Verdict::Timeout, Some("r"), ""),
            row(Verdict::Unreached, Some("r"), ""),
        ] {
            assert!(bad.complaint().is_some(), "{bad:?}");
        }
    }
}
