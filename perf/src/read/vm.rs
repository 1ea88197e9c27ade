//! A virtual machine's serial log: the figures that its guest reports.
//!
//! The guest prints one JSON object a line after the mark `@umbra `, among the
//! kernel's own messages. Of these, `{"kind":"figure","name":…,"n":…,
//! "value":…,"unit":…}` is a measurement; `insn` is a count of the machine's
//! deterministic counter and gates like callgrind's. The id is `vm::name::n`.
//!
//! What the kernel says of itself when it starts (`Linux version …`, `DMI: …`, its
//! first processor) is provenance: another kernel or machine counts otherwise. Of a
//! log that begins later it is unknown.

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
    harvest.vm = [kernel(&text), machine(&text)];
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

/// What follows a mark in the first line that has it.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let mut found = text.lines().filter_map(|line| line.split_once(mark));
    found.next().map(|(_, rest)| rest.trim())
}

/// The kernel's version, its compiler and its build; without who built it where.
fn kernel(text: &str) -> Option<String> {
    let line = after(text, "] Linux version ")?;
    let (version, rest) = line.split_once(" (")?;
    let (_builder, rest) = rest.split_once(") ")?;
    Some(format!("{version} {rest}"))
}

/// The machine as its firmware names it, and its processor.
fn machine(text: &str) -> Option<String> {
    let name = after(text, "] DMI: ")?;
    let cpu = after(text, ": CPU0: ").map(|cpu| format!(", {cpu}"));
    Some(format!("{name}{}", cpu.unwrap_or_default()))
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
    fn the_kernel_and_the_machine_are_provenance_and_who_built_it_is_not() {
        let file = log(
            "[    0.000000] Linux version 6.1.0-57-amd64 (somebody@somewhere) (gcc-12 \
             (Debian 12.2.0-14) 12.2.0, GNU ld 2.40) #1 SMP Debian 6.1.192-3 (2026-11-26)\r\n\
             [    0.000000] DMI: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.3\r\n\
             [    0.259562] smpboot: CPU0: AMD QEMU TCG CPU (family: 0x6, model: 0x6)\r\n\
             @umbra {\"kind\":\"figure\",\"name\":\"get\",\"value\":41.5,\"unit\":\"insn\"}\n",
        );
        let mut harvest = Harvest::default();
        read(file.path(), &mut harvest).expect("a good log");
        let provenance = harvest.into_record(Default::default()).provenance;
        assert_eq!(
            provenance.vm_kernel.as_deref(),
            Some(
                "6.1.0-57-amd64 (gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld 2.40) #1 SMP Debian \
                 6.1.192-3 (2026-11-26)"
            )
        );
        assert_eq!(
            provenance.vm_machine.as_deref(),
            Some(
                "QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.3, AMD QEMU TCG CPU (family: \
                 0x6, model: 0x6)"
            )
        );
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
