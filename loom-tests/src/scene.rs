//! What the models begin and end with: a table, threads that share it, and
//! nothing left at the end.

use std::ptr::NonNull;

use loom::thread::{self, JoinHandle};
use umbra_shadow::{Platform, Table};

use crate::{FLAGS, Payload, Tracked};

/// Runs `f` on a table of its own, and sees that nothing is left of it.
pub fn with_table(f: impl Fn(&Table<Tracked>)) {
    let platform = Tracked::new();
    let table = platform.table();
    f(&table);
    finish(&platform, table);
}

/// A table of payloads on a platform.
pub(crate) fn table<P: Platform>(platform: &P) -> Table<P> {
    let dtor = Some(Payload::DESTROY);
    Table::with_dtor(platform.clone(), 1, dtor, FLAGS).expect("the model's memory does not run out")
}

/// Ends an execution: nothing may be left of a table.
pub fn finish<P: Platform>(platform: &P, table: Table<P>) {
    free_all(&table);
    drop(table);
    platform.barrier();
}

/// Frees an object's payload; whether there was one. (There is memory.)
#[must_use]
pub fn free<P: Platform>(table: &Table<P>, obj: usize) -> bool {
    table.free_with(obj, Payload::DESTROY).unwrap()
}

/// Frees all payloads.
pub fn free_all<P: Platform>(table: &Table<P>) {
    table.free_all(Some(Payload::DESTROY));
}

/// A thread of the model with a handle of its own.
pub fn spawn<P: Platform, T: 'static>(
    table: &Table<P>,
    f: impl FnOnce(&Table<P>) -> T + 'static,
) -> JoinHandle<T> {
    let table = table.clone();
    thread::spawn(move || f(&table))
}

/// The two ways to attach a payload to an object that has none and gets one from nobody
/// else: what a model of insertions is about.
pub const INSERTIONS: [(&str, Insertion); 2] = [
    ("alloc", put_by_alloc),
    ("get_or_alloc", put_by_get_or_alloc),
];

/// One of [`INSERTIONS`]: the object, and the payload's value.
pub type Insertion = fn(&Table<Tracked>, usize, u64);

fn put_by_alloc(table: &Table<Tracked>, obj: usize, value: u64) {
    assert!(Payload::put(table, obj, value));
}

fn put_by_get_or_alloc(table: &Table<Tracked>, obj: usize, value: u64) {
    assert!(get_or_put(table, obj, value).0, "there was none");
}

/// `get_or_alloc` of a payload: whether it was constructed for this caller, and the data
/// that is there.
#[must_use]
pub fn get_or_put<P: Platform>(table: &Table<P>, obj: usize, value: u64) -> (bool, NonNull<u8>) {
    let mut ran = false;
    let data = table.get_or_alloc(obj, size_of::<Payload>(), FLAGS, |data| {
        ran = true;
        // SAFETY: fresh data of this size.
        unsafe { Payload::construct(data, value) };
        Ok::<(), ()>(())
    });
    (ran, data.expect("the model's memory does not run out"))
}

/// The same; the value that is there afterwards. Only for objects that nobody frees.
#[must_use]
pub fn ensure<P: Platform>(table: &Table<P>, obj: usize, value: u64) -> u64 {
    let (_, data) = get_or_put(table, obj, value);
    // SAFETY: the models that call this do not free the object.
    unsafe { Payload::read(data) }
}

/// What a walk sees: the objects and their values, in order of the objects.
#[must_use]
pub fn walk<P: Platform>(table: &Table<P>) -> Vec<(usize, u64)> {
    let mut seen = Vec::new();
    table.for_each(|obj, data| {
        // SAFETY: alive during the call.
        seen.push((obj, unsafe { Payload::read(data) }));
    });
    seen.sort_unstable();
    seen
}

/// The hash of an object in the models' tables, for models that have to know who
/// stands where: the low bits choose the segment, the top bit the line. (What they
/// find there says whether it still is the table's own.)
#[must_use]
pub fn hash(obj: usize) -> u64 {
    const SEED: u64 = 0x9E37_79B9_0000_0000;
    let x = (obj as u64 ^ SEED).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    x ^ (x >> 32)
}

/// Objects whose hash is as wanted.
pub fn objects(wanted: impl Fn(u64) -> bool) -> impl Iterator<Item = usize> {
    (1..)
        .map(|i| i * 0x1000)
        .filter(move |&obj| wanted(hash(obj)))
}
