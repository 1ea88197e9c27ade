//! What can go wrong, with what the caller needs to act.

use core::fmt;
use core::ptr::NonNull;

/// Why a variable was not made.
///
/// Nothing is left behind by any of them: no entry, no memory, no count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocError<E> {
    /// The pair already has a variable; this is its data.
    Exists(NonNull<u8>),
    /// The entry's own memory could not be had. Growth of the table is never a
    /// reason: that is put off instead.
    OutOfMemory,
    /// The pair's variable is being constructed by another caller, and this one
    /// may not wait for it (see [`Platform::relax`](crate::Platform::relax)).
    Busy,
    /// The size overflows an entry, or the alignment is above
    /// [`MAX_ALIGN`](crate::MAX_ALIGN).
    Layout,
    /// The constructor failed with this.
    Ctor(E),
}

impl<E: fmt::Display> fmt::Display for AllocError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(_) => f.write_str("the object already has a shadow variable of this id"),
            Self::OutOfMemory => f.write_str("no memory for a shadow variable"),
            Self::Busy => f.write_str("another caller is constructing this shadow variable"),
            Self::Layout => f.write_str("the size or alignment is more than an entry can hold"),
            Self::Ctor(e) => write!(f, "the constructor failed: {e}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for AllocError<E> {}

impl<E> From<OutOfMemory> for AllocError<E> {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Memory for a type could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory for a shadow type")
    }
}

impl core::error::Error for OutOfMemory {}
