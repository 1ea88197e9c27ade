//! Livepatches of the stock core, as transitions of the engine.
//!
//! The core decides when tasks change over, and tells by the callbacks of one
//! object (`src/livepatch.c`); the engine decides what that means for the states.
//! In between the engine's switch is pending, so that nothing else can begin.
//!
//! ```text
//!  enable:   begin ─> pre_patch: start ──> tasks change over ─> post_patch:   end
//!  disable:  write ─> pre_unpatch: start ─> tasks change over ─> post_unpatch: end
//!              │             reversed: the other one's end <─┘
//!              └ what can be refused, or can lack memory, is refused here
//! ```
//!
//! # Which end
//! The core calls nothing when it turns round, but its last callback tells where
//! it has got to: a `post_unpatch` that ends an enabling means that it was
//! reversed, or that the core could not patch a later object, if it is still in
//! `klp_enable_patch`. A `post_patch` that ends a disabling was reversed.
//!
//! # Force
//! The core notes it in the patches that a forced transition takes away
//! (`klp_patch.forced`), and never lets go of their modules. The engine then
//! puts off what they owe, for good: nobody here can tell when the last task has
//! left their code.

use core::ffi::c_int;

use umbra_state::{Direction, Errno, Replace, Status};

use crate::ffi::{self, CPatch};
use crate::global::Locked;
use crate::log;
use crate::patches::{Control, locked};

/// `UMBRA_LIVEPATCH_*` of `src/internal.h`: answers to a write.
const NOT_OURS: c_int = 0;
const BEGUN: c_int = 1;
const REVERSE: c_int = 2;

/// What the stock core has to do with the switch that the engine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// Nothing, or nothing any more.
    Done,
    /// Its tasks change over.
    Busy,
    /// It could not patch.
    Failed,
}

/// How far the core is with a livepatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    /// The engine has begun, the core has not called yet.
    Begun,
    /// Between the core's first callback and its last.
    Running,
}

/// The livepatch that changes, if one does.
pub(crate) struct Driver {
    stage: Stage,
    patch: *mut CPatch,
    /// It was enabled, not disabled.
    enabling: bool,
    /// `klp_enable_patch` has not returned.
    loading: bool,
}

impl Driver {
    pub(crate) const fn new() -> Self {
        Self {
            stage: Stage::Idle,
            patch: core::ptr::null_mut(),
            enabling: false,
            loading: false,
        }
    }

    fn is(&self, stage: Stage, patch: *const CPatch) -> bool {
        self.stage == stage && core::ptr::eq(self.patch, patch)
    }
}

impl Control {
    /// A livepatch of ours is enabled or about to be.
    pub(crate) fn any_livepatch(&self) -> bool {
        self.records.iter().any(|r| r.livepatch && !r.pinned)
    }

    fn begin_livepatch(&mut self, patch: *mut CPatch) -> Result<(), Errno> {
        self.begin(patch, true)?;
        self.driver = Driver {
            stage: Stage::Begun,
            patch,
            enabling: true,
            loading: true,
        };
        Ok(())
    }

    /// The core's first callback.
    fn start_livepatch(&mut self, patch: *mut CPatch) -> Result<(), Errno> {
        if !self.driver.is(Stage::Begun, patch) {
            log::error(format_args!(
                "the livepatch core changes a patch of ours that nobody asked us about; \
                 its states stay as they are"
            ));
            return Err(Errno::EINVAL);
        }
        self.driver.stage = Stage::Running;
        match self.run(Core::Busy) {
            Status::Undone(cause) => {
                let errno = cause.errno();
                log::error(format_args!(
                    "{}: not enabled: {cause}",
                    self.record_name(patch)
                ));
                self.end(true);
                Err(errno)
            }
            _ => Ok(()),
        }
    }

    /// The core's last callback: its tasks run the patch's code, or do not.
    fn end_livepatch(&mut self, patch: *mut CPatch, patched: bool) {
        if !self.driver.is(Stage::Running, patch) {
            return;
        }
        let wanted = if patched == self.driver.enabling {
            Direction::Forward
        } else {
            Direction::Back
        };
        let mut core = Core::Done;
        if self.driver.loading && wanted == Direction::Back {
            core = Core::Failed;
        } else if self.engine.direction() != Some(wanted) {
            let (engine, mut host) = self.split(Core::Busy);
            // It was reversed, and can be: its switch is pending.
            let _ = engine.reverse(&mut host);
        }
        let forced = self.forced(patch, patched);
        if forced {
            let (engine, mut host) = self.split(Core::Busy);
            // As above.
            let _ = engine.force(&mut host);
        }
        let status = self.run(core);
        let name = self.record_name(patch);
        let enabling = self.driver.enabling;
        match status {
            Status::Undone(_) if core == Core::Failed => log::error(format_args!(
                "{name}: not enabled: the livepatch core could not patch it; everything is as before"
            )),
            Status::Undone(_) => log::info(format_args!("{name}: reversed")),
            _ if enabling => log::info(format_args!("{name}: enabled")),
            _ => log::info(format_args!("{name}: disabled")),
        }
        if forced {
            // What goes with it and is not the core's is quiescent already.
            let (engine, mut host) = self.split(Core::Done);
            engine.settle(&mut host);
        }
        self.end(enabling && matches!(status, Status::Undone(_)));
    }

    /// Whether a patch that goes now was taken away by force.
    fn forced(&self, patch: *mut CPatch, patched: bool) -> bool {
        let is_forced = |patch: *mut CPatch| {
            // SAFETY: the half of a livepatch whose module our record holds.
            unsafe { ffi::umbra_c_livepatch_forced(patch) }
        };
        if !patched {
            return is_forced(patch);
        }
        // SAFETY: as above.
        let replaces = self.driver.enabling && unsafe { (*patch).replace };
        replaces
            && self
                .records
                .iter()
                .filter(|r| r.livepatch && !r.pinned && !core::ptr::eq(r.patch, patch))
                .any(|r| is_forced(r.patch))
    }

    /// Nothing changes any more. `gone`: nor is the patch enabled.
    fn end(&mut self, gone: bool) {
        let patch = self.driver.patch;
        self.driver = Driver {
            loading: self.driver.loading,
            ..Driver::new()
        };
        self.records.retain(|record| {
            let undone = gone && core::ptr::eq(record.patch, patch) && !record.pinned;
            !undone && !record.gone
        });
    }

    /// A write to "enabled" that changes something, under klp_mutex.
    fn write_livepatch(&mut self, patch: *mut CPatch, enable: bool) -> Result<c_int, Errno> {
        let known = |r: &&crate::describe::Record| core::ptr::eq(r.patch, patch);
        let Some(record) = self.records.iter().find(known) else {
            return Ok(NOT_OURS);
        };
        let name = record.name;
        if self.driver.is(Stage::Running, patch) {
            return Ok(REVERSE);
        }
        if self.driver.stage != Stage::Idle {
            log::refused(format_args!(
                "{name}: another livepatch changes; try again when it has, or reverse that one"
            ));
            return Err(Errno::EBUSY);
        }
        if enable || record.pinned {
            // Not possible, as the core will say.
            return Ok(NOT_OURS);
        }
        let (engine, mut host) = self.split(Core::Busy);
        if let Err(refusal) = engine.disable(name.as_str(), &mut host) {
            log::refused(format_args!("{refusal}"));
            return Err(refusal.errno());
        }
        self.driver = Driver {
            stage: Stage::Begun,
            patch,
            enabling: false,
            loading: false,
        };
        Ok(BEGUN)
    }

    fn reverse_livepatch(&mut self, patch: *mut CPatch) {
        let name = self.record_name(patch);
        let (engine, mut host) = self.split(Core::Busy);
        if let Ok(direction) = engine.reverse(&mut host) {
            let way = match direction {
                Direction::Forward => "goes on",
                Direction::Back => "is taken back",
            };
            log::info(format_args!("{name}: reversed on request: it {way}"));
        }
    }

    /// The core has refused before it called us: nothing was done.
    fn abandon_livepatch(&mut self, patch: *mut CPatch, errno: c_int) {
        if !self.driver.is(Stage::Begun, patch) {
            return;
        }
        let name = self.record_name(patch);
        let (engine, mut host) = self.split(Core::Busy);
        // Just begun, so it can be.
        let _ = engine.cancel(&mut host);
        self.run(Core::Busy);
        log::error(format_args!(
            "{name}: the livepatch core refused: {}; everything is as before",
            Errno(errno)
        ));
        self.end(self.driver.enabling);
    }
}

/// `replace` of a native patch would have to take livepatches away, which only
/// the core can.
pub(crate) fn takes_livepatches(control: &Control, replace: Replace) -> bool {
    replace == Replace::All && control.any_livepatch()
}

/// `umbra_enable_livepatch`, first half.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_livepatch_begin(patch: *mut CPatch) -> c_int {
    locked(|control| control.begin_livepatch(patch))
}

/// Its end: what `klp_enable_patch` returned.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_livepatch_begun(patch: *mut CPatch, result: c_int) {
    locked(|control| {
        if result != 0 {
            control.abandon_livepatch(patch, result);
        }
        control.driver.loading = false;
        Ok(())
    });
}

/// `pre_patch` and `pre_unpatch`.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_livepatch_start(patch: *mut CPatch) -> c_int {
    locked(|control| control.start_livepatch(patch))
}

/// `post_patch` and `post_unpatch`.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_livepatch_end(patch: *mut CPatch, patched: bool) {
    locked(|control| {
        control.end_livepatch(patch, patched);
        Ok(())
    });
}

/// A write to "enabled" that changes something: one of `UMBRA_LIVEPATCH_*`, or
/// an errno.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_livepatch_write(patch: *mut CPatch, enable: bool) -> c_int {
    let mut answer = NOT_OURS;
    let errno = locked(|control| {
        answer = control.write_livepatch(patch, enable)?;
        Ok(())
    });
    if errno == 0 { answer } else { errno }
}

/// The core has turned round.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_livepatch_reversed(patch: *mut CPatch) {
    locked(|control| {
        control.reverse_livepatch(patch);
        Ok(())
    });
}

/// The core has refused what a write began.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_livepatch_abandon(patch: *mut CPatch, result: c_int) {
    locked(|control| {
        control.abandon_livepatch(patch, result);
        Ok(())
    });
}

/// Whether a livepatch of ours is enabled.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_livepatch_any() -> bool {
    Locked::take().is_ok_and(|mut locked| locked.control().any_livepatch())
}
