//! What a constructor and a destructor may not do, checked in debug builds (R62).
//!
//! | where | what | because it |
//! |---|---|---|
//! | constructor | find or make its own variable | waits for itself |
//! | constructor, destructor, under a guard | [`barrier`](crate::Smr::barrier) | waits for itself |
//!
//! Each would hang without a word. Here it panics, and says what to do instead; a
//! destructor's panic aborts, as any of its does. In a release build, under the
//! model checker and without `std` nothing is checked.

#[cfg(all(feature = "std", debug_assertions, not(loom)))]
mod imp {
    extern crate std;

    use std::cell::{Cell, RefCell};
    use std::vec::Vec;

    std::thread_local! {
        /// The constructors that this thread is in: of which type, for which object.
        static CTORS: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
        /// The destructors that it is in.
        static DTORS: Cell<usize> = const { Cell::new(0) };
    }

    /// A constructor runs, for as long as this lives.
    pub(crate) struct Constructing(());

    /// A destructor runs, for as long as this lives.
    pub(crate) struct Destructing(());

    // A thread that ends may have lost its lists: then nothing is checked.

    pub(crate) fn constructing(ty: usize, obj: usize) -> Constructing {
        let _ = CTORS.try_with(|ctors| ctors.borrow_mut().push((ty, obj)));
        Constructing(())
    }

    pub(crate) fn destructing() -> Destructing {
        let _ = DTORS.try_with(|dtors| dtors.set(dtors.get() + 1));
        Destructing(())
    }

    impl Drop for Constructing {
        fn drop(&mut self) {
            let _ = CTORS.try_with(|ctors| ctors.borrow_mut().pop());
        }
    }

    impl Drop for Destructing {
        fn drop(&mut self) {
            let _ = DTORS.try_with(|dtors| dtors.set(dtors.get() - 1));
        }
    }

    /// The caller is about to wait for the constructor of this variable.
    pub(crate) fn wait_for_ctor(ty: usize, obj: usize) {
        let own = CTORS.try_with(|ctors| ctors.borrow().contains(&(ty, obj)));
        assert!(
            !own.unwrap_or(false),
            "the constructor of {obj:#x}'s shadow variable asks for that variable and would wait \
             for itself: use the data it was given"
        );
    }

    /// The caller is about to wait for grace periods.
    pub(crate) fn wait_for_reclamation() {
        assert!(
            CTORS
                .try_with(|ctors| ctors.borrow().is_empty())
                .unwrap_or(true),
            "barrier() in a constructor would wait for it: call it before or after"
        );
        assert!(
            DTORS.try_with(|dtors| dtors.get() == 0).unwrap_or(true),
            "barrier() in a destructor would wait for it: call it elsewhere"
        );
        assert!(
            !crossbeam_epoch::is_pinned(),
            "barrier() under a guard of this thread would wait for it: drop the guard first"
        );
    }
}

#[cfg(not(all(feature = "std", debug_assertions, not(loom))))]
#[allow(clippy::missing_const_for_fn, reason = "the same surface as above")]
mod imp {
    pub(crate) struct Constructing;
    pub(crate) struct Destructing;

    #[inline(always)]
    pub(crate) fn constructing(_ty: usize, _obj: usize) -> Constructing {
        Constructing
    }
    #[inline(always)]
    pub(crate) fn destructing() -> Destructing {
        Destructing
    }
    #[inline(always)]
    pub(crate) fn wait_for_ctor(_ty: usize, _obj: usize) {}
    #[cfg(all(feature = "std", not(loom)))]
    #[inline(always)]
    pub(crate) fn wait_for_reclamation() {}
}

pub(crate) use imp::*;
