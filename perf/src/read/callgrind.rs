//! callgrind's own output: what each function cost, by itself.
//!
//! ```text
//! events: Ir Dr Dw            the first column of a cost line is the event asked for
//! fl=/project/src/lib.rs      the file, until the next fl, fi or fe
//! fn=sample::digits           the function
//! 22 5 0 5                    line 22: 5 instructions
//! cfn=sample::digit_sum       a call: the cost line after `calls` is the callee's
//! calls=1 27
//! 23 6383 167
//! totals: 7586 391 195        the last line; without it the file was cut off
//! ```
//!
//! A function is listed with each file that its instructions come from: what was
//! inlined into it has the file it was written in. Only that tells where a cost
//! comes from when everything is one function after optimization.
//!
//! No maintained crate reads this format (cargo-profiler and calliper are
//! abandoned, `callgrind_annotate` prints for people).

use crate::error::{Error, Result};
use crate::record::Functions;
use crate::store;
use std::collections::HashMap;
use std::path::Path;

/// Functions below this share of the total are left out.
const LEAST: f64 = 0.001;

/// Adds what the functions of a file cost in `event` to `into`, with the paths
/// below `root` made relative; the file's total.
///
/// # Errors
/// [`Error::Read`]; [`Error::Content`] with the line for what is not callgrind's,
/// is cut off, does not add up to its own total, or counts beyond all numbers.
pub fn read(path: &Path, event: &str, root: &Path, into: &mut Functions) -> Result<u64> {
    let text = store::text(path)?;
    let mut parser = Parser::new(path, root, event);
    for (number, line) in text.lines().enumerate() {
        parser.line = number + 1;
        parser.take(line.trim())?;
    }
    let Some(total) = parser.total else {
        return Err(parser.wrong(
            "it ends here, without its totals".to_owned(),
            "it was cut off while it was written: delete the folder and run the benchmark again",
        ));
    };
    if parser.sum != total {
        let problem = format!(
            "its functions add up to {}, its totals say {total}",
            parser.sum
        );
        return Err(parser.wrong(
            problem,
            "part of it is missing: delete the folder and run the benchmark again",
        ));
    }
    for ((function, file), cost) in std::mem::take(&mut parser.costs) {
        if cost as f64 >= total as f64 * LEAST {
            let so_far = into.entry(function).or_default().entry(file).or_default();
            *so_far = parser.sum(*so_far, cost)?;
        }
    }
    Ok(total)
}

/// The sum of an event that cachegrind's output ends with. The rest of it is of
/// another format.
///
/// # Errors
/// [`Error::Read`]; [`Error::Content`] if there is none.
pub fn summary(path: &Path, event: &str) -> Result<u64> {
    let text = store::text(path)?;
    let values = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(key));
        lines.next_back().map(str::split_whitespace)
    };
    let column = values("events:").and_then(|mut events| events.position(|e| e == event));
    let count = column.and_then(|column| values("summary:")?.nth(column));
    count
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| Error::Content {
            path: path.to_owned(),
            problem: format!("cachegrind's output without a sum of `{event}`"),
            help: "it was cut off or damaged: delete the folder and run the benchmark again"
                .to_owned(),
        })
}

struct Parser<'a> {
    path: &'a Path,
    root: &'a Path,
    event: &'a str,
    line: usize,
    /// Words of a cost line in front of the counts.
    positions: usize,
    /// Which count is the event's.
    column: Option<usize>,
    file: String,
    function: String,
    /// The next cost line is a callee's.
    call: bool,
    /// Names given numbers, by kind and number.
    names: HashMap<(Kind, String), String>,
    costs: HashMap<(String, String), u64>,
    sum: u64,
    total: Option<u64>,
}

/// Functions and files are numbered apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Function,
    File,
}

impl<'a> Parser<'a> {
    fn new(path: &'a Path, root: &'a Path, event: &'a str) -> Self {
        Self {
            path,
            root,
            event,
            line: 1,
            positions: 1,
            column: None,
            file: String::new(),
            function: String::new(),
            call: false,
            names: HashMap::new(),
            costs: HashMap::new(),
            sum: 0,
            total: None,
        }
    }

    fn wrong(&self, problem: String, help: &str) -> Error {
        Error::Content {
            path: self.path.to_owned(),
            problem: format!("line {}: {problem}", self.line),
            help: help.to_owned(),
        }
    }

    fn foreign(&self, problem: &str) -> Error {
        self.wrong(
            problem.to_owned(),
            "name callgrind's output; if it is, it was damaged: run the benchmark again",
        )
    }

    fn take(&mut self, line: &str) -> Result<()> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
            return self.cost(line);
        }
        if let Some((key, value)) = line.split_once('=')
            && key.chars().all(|c| c.is_ascii_lowercase())
        {
            match key {
                "fn" => self.function = self.name(Kind::Function, value),
                "fl" | "fi" | "fe" => {
                    let name = self.name(Kind::File, value);
                    self.file = short(&name, self.root);
                }
                // Numbers may be given out here and used later.
                "cfn" => drop(self.name(Kind::Function, value)),
                "cfl" | "cfi" => drop(self.name(Kind::File, value)),
                "calls" => self.call = true,
                _ => {}
            }
            return Ok(());
        }
        let Some((key, value)) = line.split_once(':') else {
            return Err(self.foreign("not a line of callgrind's output"));
        };
        match key {
            "positions" => self.positions = value.split_whitespace().count(),
            "events" => {
                self.column = value.split_whitespace().position(|e| e == self.event);
                if self.column.is_none() {
                    return Err(self.foreign(&format!("`{}` was not counted", self.event)));
                }
            }
            "totals" => {
                let count = value.split_whitespace().nth(self.known_column()?);
                let total = count.unwrap_or("0").parse();
                self.total = Some(total.map_err(|_| self.foreign("a total that is no number"))?);
            }
            _ => {}
        }
        Ok(())
    }

    fn known_column(&self) -> Result<usize> {
        self.column
            .ok_or_else(|| self.foreign("counts before the `events:` line"))
    }

    fn cost(&mut self, line: &str) -> Result<()> {
        let column = self.positions + self.known_column()?;
        if std::mem::take(&mut self.call) {
            return Ok(());
        }
        // Counts of zero at the end of a line are left out.
        let count: u64 = match line.split_whitespace().nth(column) {
            Some(word) => word
                .parse()
                .map_err(|_| self.foreign("a count that is no number"))?,
            None => 0,
        };
        self.sum = self.sum(self.sum, count)?;
        let place = (self.function.clone(), self.file.clone());
        *self.costs.entry(place).or_default() += count;
        Ok(())
    }

    /// A sum of counts; no program runs for so long that it has none.
    fn sum(&self, one: u64, other: u64) -> Result<u64> {
        let sum = one.checked_add(other);
        sum.ok_or_else(|| self.foreign("a count that no program reaches"))
    }

    /// A name, or a number that stands for one: `(7) name` the first time, `(7)`
    /// from then on.
    fn name(&mut self, kind: Kind, text: &str) -> String {
        let numbered = text
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .filter(|(number, _)| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()));
        let Some((number, name)) = numbered else {
            return text.to_owned();
        };
        let key = (kind, number.to_owned());
        if name.is_empty() {
            return self.names.get(&key).cloned().unwrap_or_default();
        }
        let name = name.trim_start().to_owned();
        self.names.insert(key, name.clone());
        name
    }
}

/// A source file's path without what is the machine's: records are committed,
/// and compared with those of other folders.
fn short(path: &str, root: &Path) -> String {
    if let Ok(inside) = Path::new(path).strip_prefix(root) {
        return inside.display().to_string();
    }
    // The standard library, and what came from a registry.
    for mark in ["/rustlib/src/rust/", "/registry/src/", "/rustc/"] {
        if let Some((_, rest)) = path.split_once(mark) {
            let of_folder = mark != "/rustlib/src/rust/";
            let inner = rest.split_once('/').filter(|_| of_folder);
            return inner.map_or(rest, |(_, inner)| inner).to_owned();
        }
    }
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const GOOD: &str = "# callgrind format\npositions: line\nevents: Dr Ir\nsummary: 3 60\n\n\
        fl=(1) /p/src/lib.rs\nfn=(1) a::outer\n1 1 10\nfi=(2) /p/src/inlined.rs\n+2 0 20\n\
        cfi=(1)\ncfn=(2) a::inner\ncalls=1 5\n* 2 30\nfe=(1)\n\nfn=(2)\n5 2 29\n6 0 1\n\
        totals: 3 60\n";

    fn parse(text: &str) -> Result<Functions> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("to write it");
        let mut functions = Functions::new();
        read(file.path(), "Ir", Path::new("/p"), &mut functions).map(|_| functions)
    }

    #[test]
    fn a_function_is_charged_its_own_instructions_by_file_and_not_its_callees() {
        let functions = parse(GOOD).expect("a good file");
        assert_eq!(functions["a::outer"]["src/lib.rs"], 10);
        assert_eq!(functions["a::outer"]["src/inlined.rs"], 20);
        assert_eq!(functions["a::inner"]["src/lib.rs"], 30);
        assert_eq!(functions.len(), 2);
    }

    #[test]
    fn a_file_cut_off_anywhere_is_an_error_with_its_line() {
        // All that may be missing is the last newline.
        for end in 1..GOOD.len() - 1 {
            let error = parse(&GOOD[..end]).expect_err("cut off").to_string();
            assert!(error.contains(": line "), "{error}");
        }
    }

    #[test]
    fn a_file_that_does_not_add_up_is_an_error() {
        let error = parse(&GOOD.replace("+2 0 20", "+2 0 2")).expect_err("18 are missing");
        assert!(error.to_string().contains("add up to 42"), "{error}");
    }

    #[test]
    fn foreign_files_are_errors() {
        for (text, why) in [
            ("hello\n", "not a line of callgrind's output"),
            ("1 2 3\n", "counts before the `events:` line"),
            ("events: Dr\n", "`Ir` was not counted"),
            ("events: Ir\nfn=a\n1 x\n", "a count that is no number"),
            (
                "events: Ir\nfn=a\n1 18446744073709551615\n2 1\ntotals: 0\n",
                "line 4: a count that no program reaches",
            ),
            ("", "without its totals"),
        ] {
            let error = parse(text).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn paths_lose_what_is_the_machines() {
        for (path, name) in [
            ("/p/src/lib.rs", "src/lib.rs"),
            (
                "/home/x/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/hint.rs",
                "library/core/src/hint.rs",
            ),
            (
                "/rustc/59807616e1/library/std/src/rt.rs",
                "library/std/src/rt.rs",
            ),
            (
                "/home/x/.cargo/registry/src/index-1949/papaya-0.2.5/src/map.rs",
                "papaya-0.2.5/src/map.rs",
            ),
            ("./malloc/./malloc/malloc.c", "malloc.c"),
            ("???", "???"),
        ] {
            assert_eq!(short(path, Path::new("/p")), name);
        }
    }
}
