//! cds_lfht: liburcu's resizable lock-free table, the C world's answer.
//!
//! Reached through `c/lfht.c`. A lookup is one call into C; the call is part of
//! what it costs anybody who is not liburcu.

use super::hasher;
use crate::keys::Keys;
use crate::{Lookup, Map, Payload};
use core::ffi::{c_int, c_ulong};
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::hash::BuildHasher;

#[repr(C)]
struct Raw {
    _opaque: [u8; 0],
}

// SAFETY: the signatures are those of c/lfht.c.
unsafe extern "C" {
    fn umbra_lfht_register();
    fn umbra_lfht_unregister();
    fn umbra_lfht_lock();
    fn umbra_lfht_unlock();
    fn umbra_lfht_new(buckets: c_ulong, resize: c_int) -> *mut Raw;
    fn umbra_lfht_get(table: *mut Raw, hash: c_ulong, key: c_ulong) -> *const Payload;
    fn umbra_lfht_get_or_alloc(
        table: *mut Raw,
        hash: c_ulong,
        key: c_ulong,
        word: c_ulong,
    ) -> *const Payload;
    fn umbra_lfht_free(table: *mut Raw, hash: c_ulong, key: c_ulong) -> c_int;
    fn umbra_lfht_drop(table: *mut Raw) -> c_int;
}

/// This thread is known to liburcu for as long as the value lives.
struct Registered;

impl Registered {
    fn new() -> Self {
        // SAFETY: once a thread, undone in `drop`.
        unsafe { umbra_lfht_register() };
        Self
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: registered by `new`; guards do not outlive their thread.
        unsafe { umbra_lfht_unregister() };
    }
}

thread_local! {
    static THREAD: Registered = Registered::new();
}

/// A read-side section; it stays on its thread.
#[derive(Debug)]
pub struct Section(PhantomData<*mut ()>);

impl Section {
    #[inline]
    fn enter() -> Self {
        THREAD.with(|_| ());
        // SAFETY: this thread is registered.
        unsafe { umbra_lfht_lock() };
        Self(PhantomData)
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: locked by `enter`, on this thread.
        unsafe { umbra_lfht_unlock() };
    }
}

/// cds_lfht: with room for its entries from the start, or else growing by
/// itself, in a thread of liburcu's.
#[derive(Debug)]
pub struct Lfht(NonNull<Raw>);

// SAFETY: cds_lfht is a concurrent table; every call is made in a section of a
// registered thread.
unsafe impl Send for Lfht {}
// SAFETY: as above.
unsafe impl Sync for Lfht {}

impl core::fmt::Debug for Raw {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("cds_lfht")
    }
}

#[inline]
fn hash(key: usize) -> c_ulong {
    hasher().hash_one(key)
}

impl Lookup for Lfht {
    type Guard<'a> = Section;
    const NAME: &'static str = "cds_lfht";

    fn filled(keys: &Keys) -> Self {
        super::fill(keys)
    }

    #[inline]
    fn guard(&self) -> Section {
        Section::enter()
    }

    #[inline(always)]
    fn get(&self, key: usize, _: &Section) -> Option<u64> {
        // SAFETY: inside a section; a payload that is found stays until it ends.
        unsafe {
            let payload = umbra_lfht_get(self.0.as_ptr(), hash(key), key as c_ulong);
            payload.as_ref().map(Payload::word)
        }
    }
}

impl Map for Lfht {
    /// # Panics
    /// If there is no memory for an empty table.
    fn new(capacity: usize) -> Self {
        let buckets = capacity.next_power_of_two().max(64);
        THREAD.with(|_| ());
        // SAFETY: the number of buckets is a power of two.
        let raw = unsafe { umbra_lfht_new(buckets as c_ulong, c_int::from(capacity == 0)) };
        Self(NonNull::new(raw).expect("memory for an empty table"))
    }

    #[inline]
    fn get_or_alloc(&self, key: usize, word: u64, _: &Section) -> u64 {
        // SAFETY: as in `get`.
        unsafe {
            umbra_lfht_get_or_alloc(self.0.as_ptr(), hash(key), key as c_ulong, word)
                .as_ref()
                .map_or(0, Payload::word)
        }
    }

    #[inline]
    fn free(&self, key: usize, _: &Section) -> bool {
        // SAFETY: inside a section.
        unsafe { umbra_lfht_free(self.0.as_ptr(), hash(key), key as c_ulong) != 0 }
    }
}

impl Drop for Lfht {
    fn drop(&mut self) {
        THREAD.with(|_| ());
        // SAFETY: `&mut self`: no users; the guard type borrows nothing, but no
        // benchmark keeps one beyond its table.
        let status = unsafe { umbra_lfht_drop(self.0.as_ptr()) };
        debug_assert_eq!(status, 0, "a table that is not empty");
    }
}
