//! The report as one HTML file: nothing is loaded from anywhere, so it can be an
//! artifact of a CI run, an attachment, or a file on a train.
//!
//! ```text
//! what this is | what came out | history plots | what moved | functions | machine
//! ```
//!
//! The template is `templates/report.html`; askama checks it when this crate is
//! built and escapes whatever is put into it. Without scripts the page says all
//! of it; they add the filter, the choice of colours and the arrow keys.

use crate::compare::{Comparison, Moved, Row};
use crate::history::{History, Series};
use crate::plot::{Plot, Role, SIZE, plot};
use crate::record::{Provenance, Record};
use crate::report::{change, heading, shown};
use askama::Template;

/// What a page is made of.
#[derive(Debug)]
pub struct Page<'a> {
    /// The run it is about.
    pub record: &'a Record,
    /// What moved since an older one.
    pub comparison: Option<&'a Comparison>,
    /// The runs before, and this one.
    pub history: &'a History,
    /// The history's series, to be drawn.
    pub series: &'a [Series],
}

#[derive(Template)]
#[template(path = "report.html")]
struct View<'a> {
    width: u32,
    height: u32,
    style: String,
    title: String,
    summary: String,
    page: &'a Page<'a>,
    groups: Vec<Group<'a>>,
    moved: Vec<MovedRow<'a>>,
    functions: Vec<&'a Moved>,
    machine: Vec<(&'static str, String)>,
}

/// The plots of one source.
struct Group<'a> {
    heading: &'static str,
    figures: Vec<Figure<'a>>,
}

struct Figure<'a> {
    series: &'a Series,
    plot: Plot,
    last: String,
}

struct MovedRow<'a> {
    row: &'a Row,
    class: &'static str,
    change: String,
}

/// Functions shown for each benchmark: the rest is in the JSON.
const FUNCTIONS: usize = 12;

/// Writes the page.
///
/// # Errors
/// None that is known: the template is checked when this crate is built.
pub fn report(page: &Page<'_>) -> Result<String, askama::Error> {
    let comparison = page.comparison;
    let moved: Vec<_> = comparison
        .into_iter()
        .flat_map(|comparison| &comparison.rows)
        .filter(|row| row.moved() && shown(row.source, &row.metric))
        .map(|row| MovedRow {
            row,
            class: class(row),
            change: change(row),
        })
        .collect();
    let view = View {
        width: SIZE.0,
        height: SIZE.1,
        style: style(),
        title: title(&page.record.provenance),
        summary: summary(page, &moved),
        page,
        groups: groups(page),
        moved,
        functions: functions(comparison),
        machine: machine(&page.record.provenance),
    };
    view.render()
}

/// The most moved functions of each benchmark.
fn functions(comparison: Option<&Comparison>) -> Vec<&Moved> {
    let all = comparison.map_or(&[][..], |comparison| &comparison.functions);
    let by_benchmark = all.chunk_by(|a, b| a.id == b.id);
    by_benchmark
        .flat_map(|functions| functions.iter().take(FUNCTIONS))
        .collect()
}

fn groups<'a>(page: &Page<'a>) -> Vec<Group<'a>> {
    let by_source = page.series.chunk_by(|a, b| a.source == b.source);
    by_source
        .map(|all| Group {
            heading: heading(all[0].source),
            figures: all
                .iter()
                .filter_map(|series| {
                    let plot = plot(series, page.history.runs.len())?;
                    let last = match series.last_step() {
                        Some((point, percent)) => {
                            format!("last moved {percent:+.2} % at {}", point.label)
                        }
                        None => "never moved".to_owned(),
                    };
                    Some(Figure { series, plot, last })
                })
                .collect(),
        })
        .collect()
}

fn title(provenance: &Provenance) -> String {
    let commit = provenance.commit.as_deref().map_or("?", crate::git::short);
    let dirty = if provenance.dirty {
        " with changes"
    } else {
        ""
    };
    format!("Performance at {commit}{dirty}")
}

fn class(row: &Row) -> &'static str {
    match (row.overlap, row.unit.less_is_better(), row.percent) {
        (Some(true), ..) | (_, false, _) => "unclear",
        (_, true, Some(percent)) if percent < 0.0 => "better",
        _ => "worse",
    }
}

fn summary(page: &Page<'_>, moved: &[MovedRow<'_>]) -> String {
    let benchmarks = page.record.benchmarks.len();
    let runs = page.history.runs.len();
    let Some(comparison) = page.comparison else {
        return format!("{benchmarks} benchmarks, {runs} runs in the history.");
    };
    let count = |class| moved.iter().filter(|row| row.class == class).count();
    let values = comparison
        .rows
        .iter()
        .filter(|row| shown(row.source, &row.metric));
    let values = values.count();
    format!(
        "{benchmarks} benchmarks, {runs} runs in the history. Of {values} values {} got worse, {} \
         better, {} changed without it being clear; {} stayed the same.",
        count("worse"),
        count("better"),
        count("unclear"),
        values - moved.len(),
    )
}

fn machine(provenance: &Provenance) -> Vec<(&'static str, String)> {
    let Provenance {
        rustc,
        target,
        valgrind,
        iai_callgrind_summary,
        cpu: _,
        cpu_id: _,
        vm_kernel,
        vm_machine,
        commit,
        dirty,
        recorded_at: _,
    } = provenance;
    let or_unknown = |field: &Option<String>| field.clone().unwrap_or_else(|| "unknown".to_owned());
    let mut rows = vec![
        ("commit", or_unknown(commit)),
        (
            "changed since",
            if *dirty { "yes" } else { "no" }.to_owned(),
        ),
        ("compiler", or_unknown(rustc)),
        ("target", or_unknown(target)),
        ("processor", or_unknown(&provenance.processor())),
        ("valgrind", or_unknown(valgrind)),
        ("iai-callgrind summary", or_unknown(iai_callgrind_summary)),
    ];
    for (name, field) in [("virtual machine", vm_machine), ("its kernel", vm_kernel)] {
        rows.extend(field.clone().map(|field| (name, field)));
    }
    rows
}

/// Paints the parts of the plots in the page's colours.
fn style() -> String {
    let roles = [
        (Role::Text, "text"),
        (Role::Axis, "axis"),
        (Role::Grid, "grid"),
        (Role::Line, "line"),
    ];
    let rule = |(role, variable): (Role, &str)| {
        let color = role.attribute();
        format!(
            ".plot svg [fill=\"{color}\"]{{fill:var(--{variable})}}\
             .plot svg [stroke=\"{color}\"]{{stroke:var(--{variable})}}\n"
        )
    };
    roles.map(rule).concat()
}
