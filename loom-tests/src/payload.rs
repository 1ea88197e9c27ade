//! The payload that notices misuse.

use std::ffi::c_void;
use std::ptr::NonNull;

use loom::cell::UnsafeCell;
use umbra_shadow::{AllocFlags, Dtor, Platform, Table};

/// The flags of every allocation in a model: nothing looks at them.
pub const FLAGS: AllocFlags = AllocFlags(0);

/// Data that loom watches: every access is checked against every other, and one
/// that outlives the variable is a use of a destroyed cell.
pub struct Payload(UnsafeCell<u64>);

impl Payload {
    /// Constructs one in place of fresh data.
    ///
    /// # Safety
    /// `data` has room for a `Payload` and nobody else reads it yet.
    pub unsafe fn construct(data: NonNull<u8>, value: u64) {
        // SAFETY: the caller's contract.
        unsafe { data.cast::<Self>().write(Self(UnsafeCell::new(0))) };
        // Written separately: the model sees a store that can come late.
        // SAFETY: as above.
        unsafe { data.cast::<Self>().as_ref().0.with_mut(|v| *v = value) };
    }

    /// Reads it.
    ///
    /// # Safety
    /// `data` is a live variable's, under a guard.
    #[must_use]
    pub unsafe fn read(data: NonNull<u8>) -> u64 {
        // SAFETY: the caller's contract; loom reports a race.
        unsafe { data.cast::<Self>().as_ref().0.with(|v| *v) }
    }

    /// The destructor: writes once more (so that a reader it races with is a
    /// report) and drops.
    ///
    /// # Safety
    /// `data` is a payload, and this is the last use of it.
    pub unsafe extern "C" fn destroy(_obj: *mut c_void, data: *mut c_void) {
        let payload = data.cast::<Self>();
        // SAFETY: the table calls it once, on constructed data.
        unsafe {
            (*payload).0.with_mut(|v| *v = u64::MAX);
            payload.drop_in_place();
        }
    }

    /// [`destroy`](Self::destroy) for tables that hold nothing else.
    // SAFETY: the models make every variable by `construct`, and join their threads.
    pub const DESTROY: Dtor = unsafe { Dtor::new(Self::destroy) };

    /// Attaches one.
    pub fn put<P: Platform>(table: &Table<P>, obj: usize, value: u64) -> bool {
        let made = table.alloc(obj, size_of::<Self>(), FLAGS, |data| {
            // SAFETY: fresh data of this size.
            unsafe { Self::construct(data, value) };
            Ok::<(), ()>(())
        });
        made.is_ok()
    }

    /// Looks one up and reads it.
    #[must_use]
    pub fn look<P: Platform>(table: &Table<P>, obj: usize) -> Option<u64> {
        let guard = table.platform().pin();
        // SAFETY: under the guard.
        table
            .get(obj, &guard)
            .map(|data| unsafe { Self::read(data) })
    }

    /// Looks some up at once and reads them.
    #[must_use]
    pub fn look_many<P: Platform, const N: usize>(
        table: &Table<P>,
        objs: [usize; N],
    ) -> [Option<u64>; N] {
        let guard = table.platform().pin();
        let mut found = [None; N];
        table.get_many(&objs, &mut found, &guard);
        // SAFETY: under the guard.
        found.map(|data| data.map(|data| unsafe { Self::read(data) }))
    }
}
