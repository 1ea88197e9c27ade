//! The tables in debugfs, and the list of patches in sysfs.

use core::ffi::c_int;
use core::fmt::{self, Write};

use umbra_shadow::Table;

use crate::ffi::{self, Counters, SeqFile};
use crate::global::{Locked, each_type, global, oldest};
use crate::patches::Control;
use crate::platform::Kernel;
use crate::reclaim;
use crate::slots::Slots;

/// A `seq_file` to write to.
pub(crate) struct Seq(*mut SeqFile);

impl Write for Seq {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        // SAFETY: the file that a show function was called with, and its text.
        unsafe { ffi::umbra_c_seq_write(self.0, s.as_ptr(), s.len()) };
        Ok(())
    }
}

/// Writes a file. One that overflows is asked again by the kernel with more room,
/// so that is no error.
fn write(m: *mut SeqFile, fill: impl FnOnce(&mut Seq) -> fmt::Result) -> c_int {
    let _ = fill(&mut Seq(m));
    0
}

/// As [`write`], with what the control lock protects.
///
/// # Errors
/// `-EDEADLK` to a callback that reads the file: it has the lock.
pub(crate) fn write_locked(
    m: *mut SeqFile,
    fill: impl FnOnce(&mut Seq, &Control) -> fmt::Result,
) -> c_int {
    match Locked::take() {
        Ok(mut locked) => write(m, |m| fill(m, locked.control())),
        Err(errno) => errno,
    }
}

/// How many shadows of an id are live.
pub(crate) fn live(id: u64) -> usize {
    let guard = umbra_shadow::Smr::pin(&Kernel);
    let table = global().shadows.find(id, &guard);
    table.map_or(0, |table| table.live())
}

/// `patches`: what is enabled, the oldest first.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_show_patches(m: *mut SeqFile) -> c_int {
    write_locked(m, |m, control| {
        writeln!(m, "{:<24} {:>6} {:>6}", "patch", "states", "hooks")?;
        for patch in control.installed().patches() {
            writeln!(
                m,
                "{:<24} {:>6} {:>6}",
                patch.name,
                patch.states.len(),
                patch.hooks.len()
            )?;
        }
        Ok(())
    })
}

/// `states`: every state that was ever named.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_show_states(m: *mut SeqFile) -> c_int {
    write_locked(m, |m, control| {
        writeln!(
            m,
            "{:>10} {:<24} {:>6} {:>10} {:>6} {:>10} {:>8}",
            "state", "name", "users", "phase", "gate", "generation", "shadows"
        )?;
        for state in control.installed().states() {
            writeln!(
                m,
                "{:>10} {:<24} {:>6} {:>10?} {:>6} {:>10} {:>8}",
                state.id,
                state.name,
                state.word.users(),
                state.word.phase(),
                if state.open { "open" } else { "closed" },
                state.word.generation(),
                live(state.id)
            )?;
        }
        Ok(())
    })
}

/// `types`: every id that ever had a shadow.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_show_types(m: *mut SeqFile) -> c_int {
    write(m, |m| {
        writeln!(
            m,
            "{:>10} {:>10} {:>12} {:>8} {:>8} {:>6} {:>8}",
            "id", "live", "bytes", "pending", "lines", "splits", "attic"
        )?;
        let mut result = Ok(());
        global().shadows.for_each_type(|table: &Table<Kernel>| {
            let s = table.stats();
            result = result.and_then(|()| {
                writeln!(
                    m,
                    "{:>10} {:>10} {:>12} {:>8} {:>8} {:>6} {:>8}",
                    table.id(),
                    s.live,
                    s.bytes,
                    s.pending,
                    s.lines,
                    s.splits,
                    s.attic
                )
            });
        });
        result
    })
}

/// `audit`: what would leak if everybody went now, as the leak audit will say it.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_show_audit(m: *mut SeqFile) -> c_int {
    write(m, |m| {
        writeln!(
            m,
            "{:>10} {:>10} {:<16} {:>8} attached by",
            "id", "live", "oldest", "age_s"
        )?;
        each_type(|table| {
            let live = table.live();
            if live != 0 {
                let (obj, site) = oldest(table);
                let obj = core::ptr::without_provenance(obj);
                // SAFETY: the file that we were called with.
                unsafe { ffi::umbra_c_audit(m.0, table.id(), live, obj, site) };
            }
        });
        Ok(())
    })
}

/// `hooks`: the functions that are hooked, and what became of their calls.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_show_hooks(m: *mut SeqFile) -> c_int {
    write_locked(m, |m, control| {
        writeln!(
            m,
            "{:>4} {:<28} {:<24} {:>10} {:>6}",
            "slot", "function", "patch", "state", "calls"
        )?;
        for (slot, used) in control.slots().iter() {
            let gate = if Slots::is_open(slot) {
                "open"
            } else {
                "closed"
            };
            writeln!(
                m,
                "{slot:>4} {:<28} {:<24} {:>10} {gate:>6}",
                used.label,
                used.patch,
                used.target().state
            )?;
        }
        if global().counters {
            let mut sum = Counters::default();
            ffi::umbra_c_counters(&mut sum);
            writeln!(
                m,
                "hits {} misses {} diverted {}",
                sum.hit, sum.miss, sum.diverted
            )?;
        }
        Ok(())
    })
}

/// `reclaim`: how far the work is that takes apart what was freed.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_show_reclaim(m: *mut SeqFile) -> c_int {
    write(m, |m| {
        let r = reclaim::report();
        let mut pending = 0;
        global()
            .shadows
            .for_each_type(|table: &Table<Kernel>| pending += table.stats().pending);
        writeln!(
            m,
            "{:>8} {:>12} {:>12} {:>12} {:>12} {:>10}",
            "running", "pending", "steps", "slices", "longest_us", "slice_us"
        )?;
        writeln!(
            m,
            "{:>8} {pending:>12} {:>12} {:>12} {:>12} {:>10}",
            if r.running { "yes" } else { "no" },
            r.steps,
            r.slices,
            r.longest_ns.div_ceil(1000),
            r.slice_ns / 1000
        )
    })
}

/// A buffer of C; what does not fit is cut.
struct Buffer<'a> {
    bytes: &'a mut [u8],
    used: usize,
}

impl Write for Buffer<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let to = self.bytes.get_mut(self.used..).unwrap_or(&mut []);
        for (to, from) in to.iter_mut().zip(s.bytes()) {
            *to = from;
            self.used += 1;
        }
        Ok(())
    }
}

/// The names of the enabled patches, a line each; how many bytes.
///
/// # Safety
/// `buffer` has room for `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn umbra_rs_list_patches(buffer: *mut u8, size: usize) -> usize {
    // SAFETY: the caller's.
    let bytes = unsafe { core::slice::from_raw_parts_mut(buffer, size) };
    let mut out = Buffer { bytes, used: 0 };
    if let Ok(mut locked) = Locked::take() {
        for patch in locked.control().installed().patches() {
            // Writing into a buffer does not fail.
            let _ = writeln!(out, "{}", patch.name);
        }
    }
    out.used
}
