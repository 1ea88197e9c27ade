//! Callbacks as a picture: what ran, for which patch, in which step, and how
//! long each state lived.
//!
//! ```text
//!              1. enable P1          2. enable P2
//!            |  pre_patch post_patch |  pre_patch ...
//!  state 1   |     o==========O======|============
//! ```
//! Time runs to the right, one column a callback, one group of columns a step.
//! A state's lane shows a thin bar from `pre_patch` to `post_unpatch` (it
//! exists) and a thick one from `post_patch` to `pre_unpatch` (its gate is
//! open). The number at the right of a step is how many shadow variables the
//! state has after it.
//!
//! The picture is SVG written by hand: it is a few dozen lines and rectangles,
//! and a plotting library's axes would be in the way.

use crate::series::shows;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// One call of one callback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineEvent {
    /// The step that it belongs to, as people are told of it.
    pub step: String,
    /// The patch whose callback it is.
    pub patch: String,
    /// The state's id.
    pub state: u64,
    /// `pre_patch`, `post_patch`, `pre_unpatch` or `post_unpatch`.
    pub callback: String,
    /// What it returned; not 0 means that it failed.
    pub result: i32,
    /// When, in microseconds from any start. All 0 where time means nothing.
    pub t_us: u64,
}

/// A picture in the making.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    title: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, Default)]
struct Step {
    label: String,
    events: Vec<TimelineEvent>,
    live: BTreeMap<u64, usize>,
}

/// The picture of `events` alone.
pub fn svg(events: &[TimelineEvent]) -> String {
    let mut timeline = Timeline::new("Callback timeline");
    for event in events {
        timeline.event(event.clone());
    }
    timeline.svg()
}

const LEFT: f64 = 96.0;
const TOP: f64 = 112.0;
const LANE: f64 = 86.0;
/// At least this wide; wider where a patch has a long name.
const COLUMN: f64 = 96.0;
const LIVE: f64 = 74.0;
const MARGIN: f64 = 16.0;

const INK: &str = "#1f2933";
const FAINT: &str = "#6b7680";
const RULE: &str = "#d5dbe1";
const FAILED: &str = "#c0262d";
/// In a bar's colour a state is told from its neighbours, not identified.
const BARS: [&str; 4] = ["#0072b2", "#b35900", "#00795a", "#8a4b86"];

/// The bar of a lane: how much of a state there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    None,
    Exists,
    Open,
}

impl Timeline {
    /// An empty picture with this title.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            steps: Vec::new(),
        }
    }

    /// A step begins; one in which nothing is called is drawn too. The label of
    /// the step before is taken as that step going on.
    pub fn step(&mut self, label: &str) {
        if self.steps.last().is_none_or(|step| step.label != label) {
            self.steps.push(Step {
                label: label.to_owned(),
                ..Step::default()
            });
        }
    }

    /// A callback ran. Begins its step if that is not the current one.
    pub fn event(&mut self, event: TimelineEvent) {
        self.step(&event.step);
        if let Some(step) = self.steps.last_mut() {
            step.events.push(event);
        }
    }

    /// After the current step the state has this many shadow variables.
    pub fn live(&mut self, state: u64, count: usize) {
        if let Some(step) = self.steps.last_mut() {
            step.live.insert(state, count);
        }
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let states: BTreeSet<u64> = self
            .steps
            .iter()
            .flat_map(|s| {
                s.events
                    .iter()
                    .map(|e| e.state)
                    .chain(s.live.keys().copied())
            })
            .collect();
        let wide = self.column();
        let timed = self
            .steps
            .iter()
            .flat_map(|s| &s.events)
            .any(|e| e.t_us != 0);
        let body: f64 = self.steps.iter().map(|step| step.width(wide)).sum();
        let width = (LEFT + body + MARGIN).max(640.0);
        let lanes = states.len() as f64 * LANE;
        let height = TOP + lanes + if timed { 34.0 } else { MARGIN };

        let mut svg = Svg::new(width, height, &self.title);
        svg.legend(self.steps.iter().any(|s| !s.live.is_empty()));
        for (row, state) in states.iter().enumerate() {
            let y = TOP + row as f64 * LANE;
            svg.line(MARGIN, y, width - MARGIN, y, RULE, "");
            svg.text(
                MARGIN,
                y + LANE / 2.0 + 4.0,
                "start",
                INK,
                13,
                &format!("state {state}"),
            );
        }
        svg.line(MARGIN, TOP + lanes, width - MARGIN, TOP + lanes, RULE, "");
        if self.steps.is_empty() {
            svg.text(MARGIN, TOP - 12.0, "start", FAINT, 12, "no callback ran");
        }
        let mut x = LEFT;
        for step in &self.steps {
            let end = x + step.width(wide);
            svg.line(x, TOP - 30.0, x, TOP + lanes, RULE, "");
            svg.text((x + end) / 2.0, TOP - 12.0, "middle", INK, 13, &step.label);
            if step.events.is_empty() {
                let middle = TOP + 16.0;
                svg.text(
                    (x + end - LIVE) / 2.0 + 8.0,
                    middle,
                    "middle",
                    FAINT,
                    11,
                    "no callback",
                );
            }
            x = end;
        }
        svg.line(x, TOP - 30.0, x, TOP + lanes, RULE, "");
        for (row, &state) in states.iter().enumerate() {
            let colour = BARS[row % BARS.len()];
            self.lane(&mut svg, wide, state, TOP + row as f64 * LANE, colour);
        }
        if timed {
            self.times(&mut svg, wide, TOP + lanes + 16.0);
        }
        svg.finish()
    }

    /// How wide a column must be for the names under its callbacks.
    fn column(&self) -> f64 {
        let names = self.steps.iter().flat_map(|step| &step.events);
        let longest = names
            .map(|event| event.patch.chars().count())
            .max()
            .unwrap_or(0);
        COLUMN.max(longest as f64 * 7.2 + 12.0)
    }

    /// The lane of one state: its bar first, then the callbacks on it.
    fn lane(&self, svg: &mut Svg, wide: f64, state: u64, top: f64, colour: &str) {
        let middle = top + LANE / 2.0;
        let mut x = LEFT;
        let mut from = LEFT;
        let mut life = Life::None;
        let mut marks = Vec::new();
        for step in &self.steps {
            for (column, event) in step.events.iter().enumerate() {
                let at = x + (column as f64 + 0.5) * wide;
                if event.state != state {
                    continue;
                }
                svg.bar(from, at, middle, life, colour);
                from = at;
                life = match (event.callback.as_str(), event.result) {
                    ("pre_patch", 0) | ("pre_unpatch", _) => Life::Exists,
                    ("post_patch", _) => Life::Open,
                    _ => Life::None,
                };
                marks.push((at, event));
            }
            x += step.width(wide);
            if let Some(live) = step.live.get(&state) {
                let y = middle - 12.0;
                svg.text(x - 6.0, y, "end", FAINT, 11, &grouped(*live));
            }
        }
        svg.bar(from, x, middle, life, colour);
        for (at, event) in marks {
            let opens = matches!(event.callback.as_str(), "post_patch" | "pre_unpatch");
            let edge = if event.result == 0 { colour } else { FAILED };
            svg.mark(at, middle, edge, opens);
            svg.text(at, middle - 16.0, "middle", edge, 12, &event.callback);
            svg.text(at, middle + 25.0, "middle", FAINT, 11, &event.patch);
            if event.result != 0 {
                let failed = format!("failed: {}", event.result);
                svg.text(at, middle + 38.0, "middle", FAILED, 11, &failed);
            }
        }
    }

    /// Under each column, the time since the first callback of its step.
    fn times(&self, svg: &mut Svg, wide: f64, y: f64) {
        svg.text(MARGIN, y, "start", FAINT, 11, "in its step");
        let mut x = LEFT;
        for step in &self.steps {
            let start = step.events.first().map_or(0, |event| event.t_us);
            for (column, event) in step.events.iter().enumerate() {
                let at = x + (column as f64 + 0.5) * wide;
                let since = duration(event.t_us.saturating_sub(start));
                svg.text(at, y, "middle", FAINT, 11, &since);
            }
            x += step.width(wide);
        }
    }
}

impl Step {
    /// A column for each callback, one for the counts, and room for the label.
    fn width(&self, wide: f64) -> f64 {
        let columns = self.events.len() as f64 * wide + LIVE;
        columns
            .max(self.label.chars().count() as f64 * 8.6 + 16.0)
            .max(COLUMN + LIVE)
    }
}

/// "12,345".
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "+12 µs", "+3.4 ms", "+1.2 s".
fn duration(us: u64) -> String {
    match us {
        0 => String::from("0"),
        1..10_000 => format!("+{} µs", grouped(us as usize)),
        10_000..1_000_000 => format!("+{:.1} ms", us as f64 / 1e3),
        _ => format!("+{:.2} s", us as f64 / 1e6),
    }
}

/// The text of a picture. Writing to a `String` cannot fail, so the results of
/// `write!` are dropped.
struct Svg(String);

impl Svg {
    fn new(width: f64, height: f64, title: &str) -> Self {
        let mut svg = Self(String::new());
        let _ = write!(
            svg.0,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
             font-family=\"DejaVu Sans, Verdana, Helvetica, sans-serif\">\n\
             <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
            escaped(title)
        );
        svg.text(MARGIN, 28.0, "start", INK, 17, title);
        svg
    }

    fn legend(&mut self, live: bool) {
        let y = 52.0;
        let mut x = MARGIN + 7.0;
        let mut entry = |this: &mut Self, life, colour, open, text: &str| {
            this.bar(x, x + 34.0, y, life, colour);
            this.mark(x, y, colour, open);
            let gap = if life == Life::None { 14.0 } else { 42.0 };
            this.text(x + gap, y + 4.0, "start", INK, 11, text);
            x += gap + 116.0;
        };
        entry(self, Life::Exists, FAINT, false, "the state exists");
        entry(self, Life::Open, FAINT, true, "its gate is open");
        entry(self, Life::None, FAILED, false, "it failed");
        if live {
            let what = "number: live shadows after the step";
            self.text(x - 40.0, y + 4.0, "start", INK, 11, what);
        }
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, fill: &str, size: u32, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{fill}\" \
             font-size=\"{size}\">{text}</text>"
        );
    }

    fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, stroke: &str, more: &str) {
        let _ = writeln!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
             stroke=\"{stroke}\"{more}/>"
        );
    }

    fn bar(&mut self, from: f64, to: f64, y: f64, life: Life, colour: &str) {
        let (thick, opacity) = match life {
            Life::None => return,
            Life::Exists => (4.0, 0.35),
            Life::Open => (12.0, 0.35),
        };
        let (top, length) = (y - thick / 2.0, (to - from).max(0.0));
        let _ = writeln!(
            self.0,
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{thick}\" \
             fill=\"{colour}\" fill-opacity=\"{opacity}\"/>"
        );
    }

    fn mark(&mut self, x: f64, y: f64, colour: &str, full: bool) {
        let fill = if full { colour } else { "#ffffff" };
        let _ = writeln!(
            self.0,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6.5\" fill=\"{fill}\" stroke=\"{colour}\" \
             stroke-width=\"2.5\"/>"
        );
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

/// Text as XML has it, without the characters that it forbids.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if !shows(c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_for_reading() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(duration(9_999), "+9,999 µs");
        assert_eq!(duration(12_345), "+12.3 ms");
        assert_eq!(duration(2_500_000), "+2.50 s");
    }

    #[test]
    fn text_from_outside_cannot_break_the_picture() {
        let event = TimelineEvent {
            step: String::from("<1> & \"2\"\u{1}\u{fffe}\u{ffff}\u{1fffe}"),
            patch: String::from("</svg>"),
            state: 1,
            callback: String::from("pre_patch"),
            result: -12,
            t_us: 3,
        };
        let svg = svg(&[event]);
        assert!(
            svg.contains("&lt;1&gt; &amp; &quot;2&quot;\u{fffd}\u{fffd}\u{fffd}\u{fffd}<"),
            "{svg}"
        );
        assert_eq!(svg.matches("</svg>").count(), 1);
        assert!(svg.contains("failed: -12"));
    }

    #[test]
    fn nothing_is_a_picture_too() {
        assert!(svg(&[]).contains("no callback ran"));
    }
}
