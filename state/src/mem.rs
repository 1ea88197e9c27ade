//! Memory that may be refused.
//!
//! The kernel has no allocator that never fails, so nothing in this crate grows
//! a collection or makes a box in a way that could abort: the few helpers here
//! are the only places that ask for memory, and each says no with
//! [`OutOfMemory`]. Everything a transition needs is asked for when it begins;
//! from then on no step allocates, so it cannot fail for want of memory halfway.

use alloc::alloc::{Layout, alloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{BuildHasher, Hasher};
use core::ptr::NonNull;

/// The memory for a patch, a plan or a state could not be had. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl core::error::Error for OutOfMemory {}

impl From<alloc::collections::TryReserveError> for OutOfMemory {
    fn from(_: alloc::collections::TryReserveError) -> Self {
        Self
    }
}

impl From<hashbrown::TryReserveError> for OutOfMemory {
    fn from(_: hashbrown::TryReserveError) -> Self {
        Self
    }
}

/// Appends, or says that there is no memory to.
pub(crate) fn push<T>(to: &mut Vec<T>, value: T) -> Result<(), OutOfMemory> {
    to.try_reserve(1)?;
    to.push(value);
    Ok(())
}

/// `Box::new` that can fail. `T` has a size: a zero-sized one would need no box.
pub(crate) fn boxed<T>(value: T) -> Result<Box<T>, OutOfMemory> {
    const { assert!(size_of::<T>() != 0) };
    // SAFETY: the layout has a size other than zero.
    let raw = unsafe { alloc(Layout::new::<T>()) };
    let Some(raw) = NonNull::new(raw.cast::<T>()) else {
        return Err(OutOfMemory);
    };
    // SAFETY: `raw` is fresh memory of T's layout that nothing else refers to,
    // and it came from the global allocator, which is Box's.
    unsafe {
        raw.write(value);
        Ok(Box::from_raw(raw.as_ptr()))
    }
}

/// Seeded hashing of one number, which is all that the planner's maps are keyed
/// by (state ids, functions).
///
/// hashbrown's own default hasher is switched off: it draws its seed from the
/// process, and there is none in a kernel. The seed keeps an author of patches
/// from choosing ids that collide; a fixed one gives repeatable runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seed(pub(crate) u64);

impl BuildHasher for Seed {
    type Hasher = Mix;

    fn build_hasher(&self) -> Mix {
        Mix(self.0)
    }
}

/// Two rounds of multiply and fold: every input bit reaches the top seven bits
/// that hashbrown keeps as a tag and the low bits that choose the group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix(u64);

impl Mix {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

    fn add(&mut self, word: u64) {
        let mut x = self.0 ^ word;
        x = (x ^ (x >> 32)).wrapping_mul(Self::ODD);
        x = (x ^ (x >> 29)).wrapping_mul(Self::ODD);
        self.0 = x ^ (x >> 32);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.add(u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_neighbours_differ_in_tag_and_group() {
        let seed = Seed(7);
        let mut groups = [0_u32; 64];
        for id in 0..6400_u64 {
            groups[(seed.hash_one(id) & 63) as usize] += 1;
        }
        assert!(groups.iter().all(|&n| (50..200).contains(&n)), "{groups:?}");
        assert_ne!(seed.hash_one(1_u64), Seed(8).hash_one(1_u64));
    }
}
