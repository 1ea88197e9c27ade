//! The kernel log, line by line, without an allocation.

use core::ffi::c_int;
use core::fmt::{self, Write};

use crate::ffi;

/// The longest line; what is beyond is cut. The kernel's own limit is 1 KiB,
/// and this is on the stack.
const LINE: usize = 400;

struct Line {
    text: [u8; LINE],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = LINE - self.len;
        let take = s.len().min(room);
        if let (Some(to), Some(from)) = (
            self.text.get_mut(self.len..self.len + take),
            s.as_bytes().get(..take),
        ) {
            to.copy_from_slice(from);
        }
        self.len += take;
        Ok(())
    }
}

impl Line {
    fn of(args: fmt::Arguments<'_>) -> Self {
        let mut line = Self {
            text: [0; LINE],
            len: 0,
        };
        // Formatting into a line cannot fail.
        let _ = line.write_fmt(args);
        line
    }
}

fn log(level: c_int, args: fmt::Arguments<'_>) {
    let line = Line::of(args);
    // SAFETY: the text is `len` initialised bytes.
    unsafe { ffi::umbra_c_log(level, line.text.as_ptr(), line.len) }
}

/// A request that is not carried out: what, why, and the way out. Tracers are told
/// too.
pub(crate) fn refused(args: fmt::Arguments<'_>) {
    let line = Line::of(args);
    // SAFETY: the text is `len` initialised bytes.
    unsafe { ffi::umbra_c_refused(line.text.as_ptr(), line.len) }
}

/// What went as it was asked to.
pub(crate) fn info(args: fmt::Arguments<'_>) {
    log(ffi::INFO, args);
}

/// What somebody should look at.
pub(crate) fn warn(args: fmt::Arguments<'_>) {
    log(ffi::WARNING, args);
}

/// The same, where somebody's code decides how often: some of it is dropped.
pub(crate) fn warn_often(args: fmt::Arguments<'_>) {
    log(ffi::OFTEN, args);
}

/// What failed.
pub(crate) fn error(args: fmt::Arguments<'_>) {
    log(ffi::ERR, args);
}

/// A defect.
pub(crate) fn emergency(args: fmt::Arguments<'_>) {
    log(ffi::EMERG, args);
}
