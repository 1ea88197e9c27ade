//! The typed form: `ShadowMap<T>`.

use core::ffi::c_void;
use core::fmt;
use core::marker::PhantomData;

use crate::epoch::Epoch;
use crate::error::{AllocError, OutOfMemory};
use crate::platform::{AllocFlags, Smr};
use crate::raw::{Dtor, MAX_ALIGN, Stats};
use crate::table::Table;

/// One `T` an object, in userspace.
///
/// References live as long as the guard they were taken under; a freed value is
/// dropped after every such guard is gone, by whichever thread writes next, so
/// `T` is `Send + Sync + 'static`. Values are shared: change them through
/// interior mutability (R46).
///
/// # Examples
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
/// use umbra_shadow::{Epoch, ShadowMap, Smr};
///
/// let opens = ShadowMap::<AtomicU32>::new()?;
/// let guard = Epoch.pin();
/// let inode = 0xffff_8880_0000_1000;
/// opens.get_or_insert_with(inode, &guard, || AtomicU32::new(0))?.fetch_add(1, Ordering::Relaxed);
/// assert_eq!(opens.get(inode, &guard).unwrap().load(Ordering::Relaxed), 1);
/// assert!(opens.remove(inode));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A reference cannot outlive its guard:
/// ```compile_fail
/// # use umbra_shadow::{Epoch, ShadowMap, Smr};
/// let map = ShadowMap::<u32>::new().unwrap();
/// let kept = { let guard = Epoch.pin(); map.get(1, &guard) };
/// println!("{kept:?}");
/// ```
///
/// nor hand out exclusive access:
/// ```compile_fail
/// # use umbra_shadow::{Epoch, ShadowMap, Smr};
/// let map = ShadowMap::<u32>::new().unwrap();
/// let guard = Epoch.pin();
/// let value: &mut u32 = map.get(1, &guard).unwrap();
/// ```
///
/// and what stays on one thread cannot be stored:
/// ```compile_fail
/// # use umbra_shadow::ShadowMap;
/// let map = ShadowMap::<std::rc::Rc<u32>>::new();
/// ```
///
/// nor what is aligned above [`MAX_ALIGN`]:
/// ```compile_fail,E0080
/// #[repr(align(32))]
/// struct Wide;
/// let map = umbra_shadow::ShadowMap::<Wide>::new();
/// ```
pub struct ShadowMap<T: Send + Sync + 'static> {
    table: Table<Epoch>,
    _values: PhantomData<T>,
}

impl<T: Send + Sync + 'static> ShadowMap<T> {
    const FITS: () = assert!(align_of::<T>() <= MAX_ALIGN, "T is aligned above MAX_ALIGN");

    /// An empty map.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new() -> Result<Self, OutOfMemory> {
        const { Self::FITS };
        unsafe extern "C" fn drop_value<T>(_obj: *mut c_void, data: *mut c_void) {
            // SAFETY: the table calls this once, on data that the constructor in
            // `get_or_try_insert_with` initialised.
            unsafe { data.cast::<T>().drop_in_place() }
        }
        let dtor: Option<Dtor> = if core::mem::needs_drop::<T>() {
            // SAFETY: the table is this map's alone, and its data are `T`s; no
            // variable outlives `T`, which is `'static`, and all may be dropped by
            // any thread. (A drop that panics aborts.)
            Some(unsafe { Dtor::new(drop_value::<T>) })
        } else {
            None
        };
        let table = Table::with_dtor(Epoch, 0, dtor, AllocFlags::default())?;
        Ok(Self {
            table,
            _values: PhantomData,
        })
    }

    /// The value of `obj`.
    #[inline]
    #[must_use]
    pub fn get<'g>(&self, obj: usize, guard: &'g <Epoch as Smr>::Guard) -> Option<&'g T> {
        // SAFETY: the table's data was constructed as a `T` before it became
        // visible, is never handed out exclusively, and is kept by the guard.
        self.table
            .get(obj, guard)
            .map(|data| unsafe { data.cast::<T>().as_ref() })
    }

    /// The value of `obj`, made by `make` if there is none. `make` runs once
    /// however many callers race; the others wait for it.
    ///
    /// # Errors
    /// [`AllocError::OutOfMemory`].
    pub fn get_or_insert_with<'g>(
        &self,
        obj: usize,
        guard: &'g <Epoch as Smr>::Guard,
        make: impl FnOnce() -> T,
    ) -> Result<&'g T, AllocError<core::convert::Infallible>> {
        self.get_or_try_insert_with(obj, guard, || Ok(make()))
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), with a constructor
    /// that may fail: then nothing is left behind, and a waiter tries its own.
    ///
    /// # Errors
    /// [`AllocError::OutOfMemory`], or [`AllocError::Ctor`] with `make`'s error.
    pub fn get_or_try_insert_with<'g, E>(
        &self,
        obj: usize,
        _guard: &'g <Epoch as Smr>::Guard,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&'g T, AllocError<E>> {
        let data = self.table.get_or_alloc(
            obj,
            size_of::<T>(),
            AllocFlags::default(),
            |data| -> Result<(), E> {
                // SAFETY: fresh memory of `T`'s size and (`FITS`) alignment.
                unsafe { data.cast::<T>().write(make()?) };
                Ok(())
            },
        )?;
        // SAFETY: as in `get`; the guard is older than the call.
        Ok(unsafe { data.cast::<T>().as_ref() })
    }

    /// Removes the value of `obj`; it is dropped after the guards of now. False
    /// when there is none.
    pub fn remove(&self, obj: usize) -> bool {
        self.table.free(obj)
    }

    /// Removes all values: at once for lookups, dropped later in slices.
    pub fn clear(&self) {
        self.table.free_all(None);
    }

    /// What the map holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.table.stats()
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for ShadowMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowMap")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
