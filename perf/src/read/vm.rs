//! A virtual machine's serial log: the figures that its guest reports.
//!
//! The guest prints one JSON object a line after the mark `@umbra `, among the
//! kernel's own messages. Of these, `{"kind":"figure","name":…,"n":…,
//! "value":…,"unit":…}` is a measurement; `insn` is a count of the machine's
//! deterministic counter and gates like callgrind's. The id is `vm::name::n`.

use super::Harvest;
use crate::error::{Error, Result};
use crate::record::{Benchmark, Functions, Measure, Source, Unit, Value};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

const MARK: &str = "@umbra ";

/// The guest's names of units. One that is not known is refused: taken for
/// something else, a count would gate no longer and nobody would know.
const UNITS: [(&str, Unit); 5] = [
    ("insn", Unit::Instructions),
    ("cycles", Unit::Cycles),
    ("events", Unit::Events),
    ("ns", Unit::Nanoseconds),
    ("%", Unit::Percent),
];

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line {
    Figure {
        name: String,
        n: Option<u64>,
        value: f64,
        unit: String,
    },
    #[serde(other)]
    Other,
}

/// Reads the figures of a log.
///
/// # Errors
/// [`Error::Read`]; [`Error::Content`] with the line's number for a marked line
/// that is cut off, no JSON or of an unknown unit; [`Error::Duplicate`] if a figure is given twice.
pub fn read(log: &Path, harvest: &mut Harvest) -> Result<()> {
    // A console may carry any byte; only marked lines must make sense.
    let bytes = std::fs::read(log).map_err(|source| Error::Read {
        path: log.to_owned(),
        source,
    })?;
    let text = String::from_utf8_lossy(&bytes);
    for (number, line) in text.lines().enumerate() {
        let Some((_, json)) = line.split_once(MARK) else {
            continue;
        };
        let line = serde_json::from_str(json).map_err(|error| Error::Content {
            path: log.to_owned(),
            problem: format!("line {}: not a report of the guest: {error}", number + 1),
            help: "the guest died in the middle of the line, or another program wrote into it; \
                   run it again"
                .to_owned(),
        })?;
        let Line::Figure {
            name,
            n,
            value,
            unit,
        } = line
        else {
            continue;
        };
        let id = match n {
            Some(n) => format!("vm::{name}::{n}"),
            None => format!("vm::{name}"),
        };
        let Some(&(_, unit)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let names = UNITS.map(|(name, _)| format!("`{name}`")).join(", ");
            return Err(Error::Content {
                path: log.to_owned(),
                problem: format!("line {}: `{unit}` is no unit", number + 1),
                help: format!("the units are {names}; only `insn` gates"),
            });
        };
        let measure = Measure {
            value: Value::Real(value),
            unit,
            interval: None,
        };
        let metrics = BTreeMap::from([("value".to_owned(), measure)]);
        harvest.add(
            id,
            Benchmark {
                source: Source::Vm,
                metrics,
                functions: Functions::new(),
            },
            log,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn log(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("to write it");
        file
    }

    #[test]
    fn figures_are_found_among_other_lines() {
        let file = log("[ 0.1] booting\n\
             [ 1.2] @umbra {\"kind\":\"progress\",\"msg\":\"x\",\"done\":1,\"total\":2}\r\n\
             @umbra {\"kind\":\"figure\",\"name\":\"get\",\"n\":1000,\"value\":41.5,\"unit\":\"insn\"}\n");
        let mut harvest = Harvest::default();
        read(file.path(), &mut harvest).expect("a good log");
        let benchmarks = harvest.into_benchmarks();
        let measure = benchmarks["vm::get::1000"].metrics["value"];
        assert_eq!(measure.value, Value::Real(41.5));
        assert_eq!(measure.unit, Unit::Instructions);
        assert_eq!(benchmarks.len(), 1);
    }

    #[test]
    fn a_line_cut_off_is_an_error_with_its_number() {
        let file = log("boot\n@umbra {\"kind\":\"figure\",\"na");
        let error = read(file.path(), &mut Harvest::default()).expect_err("a torn line");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn a_figure_given_twice_is_an_error() {
        let line = "@umbra {\"kind\":\"figure\",\"name\":\"a\",\"value\":1,\"unit\":\"ns\"}\n";
        let file = log(&line.repeat(2));
        let error = read(file.path(), &mut Harvest::default()).expect_err("twice");
        assert!(matches!(error, Error::Duplicate { .. }));
    }
}
