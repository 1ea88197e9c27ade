//! Progress that can be followed on a terminal and in a log alike.
//!
//! On a terminal a [`Task`] is one line that changes. Elsewhere (CI, a pipe) it
//! is a line when it starts, one every few seconds while it works, and one when
//! it ends, so that a silent minute never looks like a hang. All of it goes to
//! stderr; stdout carries results only.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a task reports when it cannot redraw its line.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// One line of text on stderr, outside any task.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// A piece of work whose progress is shown.
pub(crate) struct Task {
    name: String,
    bar: Option<ProgressBar>,
    started: Instant,
    spoke: Cell<Instant>,
    finished: Cell<bool>,
}

impl Task {
    /// Starts showing a piece of work.
    pub(crate) fn new(name: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(spinner());
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("{name} …");
        }
        let now = Instant::now();
        Self {
            name: name.to_owned(),
            bar,
            started: now,
            spoke: Cell::new(now),
            finished: Cell::new(false),
        }
    }

    /// How long it has been going on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Says what is being done right now.
    pub(crate) fn at(&self, what: &str) {
        match &self.bar {
            Some(bar) => {
                // A count that is full says nothing about what comes next.
                if bar
                    .length()
                    .is_some_and(|total| total > 0 && bar.position() >= total)
                {
                    bar.set_style(spinner());
                    bar.set_length(0);
                }
                bar.set_message(clip(what, 100));
            }
            None => self.beat(|| what.to_owned()),
        }
    }

    /// Says how far it is; a total of 0 is unknown.
    pub(crate) fn progress(&self, what: &str, done: u64, total: u64) {
        let figure = if total == 0 {
            format!("{done}")
        } else {
            format!("{done}/{total}")
        };
        match &self.bar {
            Some(bar) => {
                if total > 0 {
                    bar.set_style(counter());
                    bar.set_length(total);
                    bar.set_position(done);
                } else {
                    bar.set_style(spinner());
                }
                bar.set_message(clip(what, 60));
            }
            None => self.beat(|| format!("{what} {figure}")),
        }
    }

    /// A line that stays, above the one that changes.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("  {text}")),
            None => eprintln!("  {text}"),
        }
        self.spoke.set(Instant::now());
    }

    /// Ends it well.
    pub(crate) fn done(self, what: &str) {
        self.end("✓", what);
    }

    fn beat(&self, text: impl FnOnce() -> String) {
        if self.spoke.get().elapsed() >= HEARTBEAT {
            eprintln!(
                "  {}: {} ({})",
                self.name,
                clip(&text(), 120),
                seconds(self.elapsed())
            );
            self.spoke.set(Instant::now());
        }
    }

    fn end(&self, mark: &str, what: &str) {
        if self.finished.replace(true) {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let gap = if what.is_empty() { "" } else { ": " };
        eprintln!(
            "{mark} {}{gap}{what} ({})",
            self.name,
            seconds(self.elapsed())
        );
    }
}

impl Drop for Task {
    /// A task that was not ended well has failed.
    fn drop(&mut self) {
        self.end("✗", "");
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix}  {wide_msg:.dim} {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn counter() -> ProgressStyle {
    ProgressStyle::with_template(
        "{spinner} {prefix}  {bar:30} {human_pos}/{human_len} {wide_msg:.dim} {elapsed:.dim}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The first `width` characters.
pub(crate) fn clip(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A duration for people: "3.2 s", "2 min 05 s".
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}
