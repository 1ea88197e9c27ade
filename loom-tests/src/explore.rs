//! Running one model, and refusing to run it in a way that proves nothing.
//!
//! | said by the environment | meaning |
//! |---|---|
//! | `UMBRA_LOOM_FULL=S` | one preemption more than the model's bound, or what it says itself if that is [`quick`] or [`deep`], for S seconds at most |
//! | `UMBRA_LOOM_DEEP=1` | what a model that says [`quick`] or [`deep`] says for all but the quick run: mutants are judged by it |
//! | `UMBRA_LOOM_UNBOUNDED=S` | without the model's bound, for S seconds at most: shows which bounds could go |
//! | `LOOM_MAX_PREEMPTIONS` | may tighten a model's bound, never loosen it |
//! | `LOOM_CHECKPOINT_FILE` | where the exploration is saved and resumed; its build and its model are checked |
//! | `UMBRA_LOOM_PART=NAME` | of a model with several parts the one that is called so; only for a replay, or on the way to a checkpoint |
//! | `LOOM_MAX_DURATION`, `LOOM_MAX_PERMUTATIONS` | refused: loom would stop early and call it a success |

use std::cell::{OnceCell, RefCell};
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use loom::model::Builder;

/// How many preemptions a model has at most; `None` and a number are bounds too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// None: all of its executions.
    Exhaustive,
    /// So many: without a bound it does not end in minutes.
    AtMost(usize),
    /// So many in the quick run: without a bound it ends, but takes a minute.
    Quick(usize),
    /// So many in the quick run, which has no minutes for the second number.
    Deep(usize, usize),
}

impl Bound {
    fn preemptions(self, loosened: Option<Loosened>) -> Option<usize> {
        match (self, loosened) {
            (Self::Exhaustive, _) | (_, Some(Loosened::Unbounded(_))) => None,
            (Self::AtMost(own), Some(Loosened::More(_))) => Some(own + 1),
            (Self::Quick(_), Some(Loosened::More(_))) => None,
            (Self::Deep(_, deep), Some(Loosened::More(_))) => Some(deep),
            (Self::Quick(_), None) if is_deep() => None,
            (Self::Deep(_, deep), None) if is_deep() => Some(deep),
            (Self::AtMost(own) | Self::Quick(own) | Self::Deep(own, _), None) => Some(own),
        }
    }
}

/// Whether the second number counts of a bound that has one.
fn is_deep() -> bool {
    env::var_os("UMBRA_LOOM_DEEP").is_some()
}

impl From<Option<usize>> for Bound {
    fn from(bound: Option<usize>) -> Self {
        bound.map_or(Self::Exhaustive, Self::AtMost)
    }
}

/// A bound for the quick run alone: all others explore the model to its end.
#[must_use]
pub fn quick(bound: usize) -> Bound {
    Bound::Quick(bound)
}

/// A bound for the quick run, and one that takes minutes, by which `cargo xtask mutate`
/// and `--full` go.
#[must_use]
pub fn deep(quick: usize, deep: usize) -> Bound {
    Bound::Deep(quick, deep)
}

/// How a model's own bound is loosened, and for how long.
#[derive(Clone, Copy)]
enum Loosened {
    More(Duration),
    Unbounded(Duration),
}

impl Loosened {
    fn from_env() -> Option<Self> {
        let seconds = |name: &str| {
            let text = env::var(name).ok()?;
            let seconds: Option<NonZeroU64> = text.parse().ok();
            let seconds = seconds
                .unwrap_or_else(|| panic!("{name} is a whole number of seconds, and not {text:?}"));
            Some(Duration::from_secs(seconds.get()))
        };
        match (seconds("UMBRA_LOOM_FULL"), seconds("UMBRA_LOOM_UNBOUNDED")) {
            (Some(_), Some(_)) => panic!("UMBRA_LOOM_FULL and UMBRA_LOOM_UNBOUNDED: unset one"),
            (more, unbounded) => more.map(Self::More).or(unbounded.map(Self::Unbounded)),
        }
    }

    /// What is left of the time; the parts of one model, which run on one
    /// thread, share it.
    fn left(self) -> Duration {
        thread_local!(static BEGUN: OnceCell<Instant> = const { OnceCell::new() });
        let (Self::More(budget) | Self::Unbounded(budget)) = self;
        budget.saturating_sub(BEGUN.with(|b| b.get_or_init(Instant::now).elapsed()))
    }
}

thread_local! {
    /// The model that this thread explores, and its executions so far.
    static RUNNING: RefCell<Option<(String, Arc<AtomicU64>)>> = const { RefCell::new(None) };
}

/// Says in which execution a model fails, when it does: one that panics again while it
/// unwinds ends the program before anybody could say it afterwards.
struct Telltale;

impl Telltale {
    fn new(name: &str, count: Arc<AtomicU64>) -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                let _ = RUNNING.try_with(|running| {
                    if let Some((name, count)) = &*running.borrow() {
                        // Relaxed: one operating system thread runs all of a model.
                        let count = count.load(Ordering::Relaxed);
                        println!("{name}: failed in execution {count}");
                    }
                });
                before(info);
            }));
        });
        RUNNING.set(Some((name.to_owned(), count)));
        Self
    }
}

impl Drop for Telltale {
    fn drop(&mut self) {
        RUNNING.set(None);
    }
}

/// Runs a model over all its executions, or those with at most `bound`
/// preemptions, and says how many that were. Whether it came to its end: what an
/// execution somewhere has to show need not have come if not.
///
/// # Panics
/// If the model fails; if it has a single execution, which proves nothing; if
/// the environment would cut it short; if the checkpoint is of another build or
/// of another model.
pub fn explore(
    name: &str,
    bound: impl Into<Bound>,
    model: impl Fn() + Sync + Send + 'static,
) -> bool {
    let mut builder = Builder::new();
    assert!(
        builder.max_permutations.is_none() && builder.max_duration.is_none(),
        "LOOM_MAX_PERMUTATIONS and LOOM_MAX_DURATION end a model early, as if it had passed: unset them"
    );
    builder.max_branches = 100_000;
    if let Ok(part) = env::var("UMBRA_LOOM_PART") {
        assert!(
            builder.checkpoint_file.is_some() || env::var_os("UMBRA_STEPS").is_some(),
            "UMBRA_LOOM_PART leaves parts of a model out, as if they had passed: unset it"
        );
        if part != name {
            return true;
        }
    }
    let loosened = Loosened::from_env();
    let own = bound.into();
    let bound = own.preemptions(loosened);
    builder.preemption_bound = match (builder.preemption_bound, bound) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let left = loosened.map(Loosened::left);
    builder.max_duration = left;
    let resumed = builder.checkpoint_file.as_ref().is_some_and(|f| f.exists());
    match &builder.checkpoint_file {
        Some(file) => claim(file, name, builder.preemption_bound),
        // How often loom looks at the clock; it logs as often.
        None if left.is_some() => builder.checkpoint_interval = 1_000,
        None => {}
    }
    let extent = match builder.preemption_bound {
        None => "exhaustive".to_owned(),
        Some(1) => "at most 1 preemption".to_owned(),
        Some(bound) => format!("at most {bound} preemptions"),
    };
    let extent = match own {
        Bound::Quick(_) if bound.is_some() => extent + "; mutate, --full: exhaustive",
        Bound::Deep(quick, deep) if bound == Some(quick) => {
            format!("{extent}; mutate, --full: at most {deep}")
        }
        _ => extent,
    };

    if left.is_some_and(|left| left.is_zero()) {
        println!("{name}: 0 executions ({extent}, stopped at its time), 0.0 s");
        return false;
    }

    let begun = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let telltale = Telltale::new(name, Arc::clone(&count));
    let counter = Arc::clone(&count);
    let run = move || {
        // Relaxed, here and below: as in the telltale.
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    };
    if builder.log {
        let log = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_env("LOOM_LOG"))
            .with_test_writer()
            .without_time()
            .finish();
        tracing::subscriber::with_default(log, || builder.check(run));
    } else {
        builder.check(run);
    }
    drop(telltale);

    let count = count.load(Ordering::Relaxed);
    let ended = left.is_none_or(|left| begun.elapsed() < left);
    let cut = if ended { "" } else { ", stopped at its time" };
    println!(
        "{name}: {count} executions ({extent}{cut}), {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    // What is resumed begins in the middle, perhaps with the last execution.
    assert!(resumed || count > 1, "{name} explored a single execution");
    ended
}

/// Notes beside a new checkpoint which build, mutant, bound and model it belongs to,
/// or compares the note of one that is there: a path through another program's
/// choices would be followed without a word, and loom goes by the bound that it saved.
fn claim(file: &Path, name: &str, bound: Option<usize>) {
    let note = {
        let mut note = file.as_os_str().to_owned();
        note.push(".build");
        PathBuf::from(note)
    };
    let exe = env::current_exe().expect("a running program has a file");
    let mut hasher = DefaultHasher::new();
    fs::read(&exe).expect("it can be read").hash(&mut hasher);
    env::var_os("UMBRA_MUTANT").hash(&mut hasher);
    let bound = bound.map_or("no bound".to_owned(), |n| format!("bound {n}"));
    let mine = format!("{:016x} {bound}, {name}\n", hasher.finish());
    if !file.exists() {
        fs::write(&note, mine).expect("the checkpoint's folder can be written");
        return;
    }
    let theirs = fs::read_to_string(&note).unwrap_or_else(|_| "unknown\n".to_owned());
    assert_eq!(
        theirs,
        mine,
        "{} is a checkpoint of another build, bound or model (left: its own, right: this one); \
         remove it and {}, or repeat the model from the start",
        file.display(),
        note.display()
    );
}
