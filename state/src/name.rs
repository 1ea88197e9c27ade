//! Names of patches, states and functions, kept by value.
//!
//! A refusal names both patches and the state, and outlives the call that made
//! it; a name on the heap would make refusing fallible. So a name is a small
//! array, as a kernel module's name is.

use core::fmt;

/// The longest name, in bytes: a kernel module's name without its final NUL.
pub const NAME_MAX: usize = 55;

/// A name of at most [`NAME_MAX`] bytes of UTF-8.
///
/// # Invariants
/// The first `len` bytes are UTF-8 and the rest are zero, so that the derived
/// comparison is a comparison of the text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    len: u8,
    bytes: [u8; NAME_MAX],
}

/// Why bytes are no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It has this many bytes, more than [`NAME_MAX`].
    TooLong(usize),
    /// It is not UTF-8 from this byte on.
    NotText(usize),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => {
                write!(
                    f,
                    "a name of {len} bytes: at most {NAME_MAX} fit, so shorten it"
                )
            }
            Self::NotText(at) => write!(f, "a name that is not UTF-8 from byte {at} on"),
        }
    }
}

impl core::error::Error for NameError {}

impl Name {
    /// The name without characters.
    pub const EMPTY: Self = Self {
        len: 0,
        bytes: [0; NAME_MAX],
    };

    /// The name `text`.
    ///
    /// # Errors
    /// [`NameError::TooLong`]: a name is never cut where it identifies
    /// something, or two could become one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.len() > NAME_MAX {
            Err(NameError::TooLong(text.len()))
        } else {
            Ok(Self::cut(text))
        }
    }

    /// The name in `bytes`, which come from C and may be anything.
    ///
    /// # Errors
    /// As [`Name::new`], or [`NameError::NotText`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        match core::str::from_utf8(bytes) {
            Ok(text) => Self::new(text),
            Err(error) => Err(NameError::NotText(error.valid_up_to())),
        }
    }

    /// As much of `text` as fits: a label for people, which identifies nothing.
    pub fn cut(text: &str) -> Self {
        let mut len = text.len().min(NAME_MAX);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; NAME_MAX];
        for (to, from) in bytes.iter_mut().zip(text.bytes().take(len)) {
            *to = from;
        }
        // INVARIANT: `len` is at most NAME_MAX, which fits, and a boundary.
        Self {
            len: len as u8,
            bytes,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.len)).unwrap_or(&[]);
        core::str::from_utf8(text).unwrap_or("")
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_cut_at_a_character_and_a_name_is_refused() {
        let long = "aé".repeat(20);
        let label = Name::cut(&long);
        assert!(long.starts_with(label.as_str()) && label.as_str().len() <= NAME_MAX);
        assert_eq!(Name::new(&long), Err(NameError::TooLong(60)));
        assert_eq!(Name::from_bytes(b"ok\xff"), Err(NameError::NotText(2)));
        assert_eq!(Name::new("").map(|n| n == Name::EMPTY), Ok(true));
    }
}
