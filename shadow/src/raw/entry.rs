//! An entry: one shadow variable, header and data in one allocation.
//!
//! ```text
//!  hot, 32 bytes: node (next, key), obj, state, size | data ... | cold, 32 bytes
//!  what a lookup reads, and the data behind it       |          | for its end
//! ```
//! A reference to an entry is the address of its node, with the provenance of all
//! of it. The node links entries of the attic; a line refers to an entry as such.
//!
//! `state` goes one way only:
//!
//! ```text
//!            ctor returned            free, free_now
//!  RESERVED ---------------> LIVE -------------------> DEAD -> unlinked, retired
//!      \        ctor failed or panicked                 ^
//!       +-----------------------------------------------+
//! ```
//! Only the caller that reserved the entry leaves `RESERVED`; callers racing to
//! free it are told apart by the CAS that leaves `LIVE`.

use core::alloc::Layout;
use core::cell::Cell;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::list::{ENTRY, Node};
use super::type_core::Core;
use crate::platform::{AllocFlags, Link, Platform, Progress};
use crate::sync::{AtomicU32, Ordering};

/// A destructor: `(object address, data)`, as the kernel's `shadow_dtor`.
///
/// It runs once a variable. The object may be gone by then: its address is only
/// a name. It must not unwind.
pub type Dtor = unsafe extern "C" fn(obj: *mut c_void, data: *mut c_void);

/// The alignment of every variable's data, in bytes.
pub const MAX_ALIGN: usize = 16;

/// Somebody is constructing the data.
pub(super) const RESERVED: u32 = 0;
/// The variable exists.
pub(super) const LIVE: u32 = 1;
/// The variable was freed, or its constructor failed.
pub(super) const DEAD: u32 = 2;

/// What does not depend on the platform and is read by lookups.
#[repr(C, align(16))]
struct Hot {
    node: Node,
    obj: usize,
    state: AtomicU32,
    /// Size of the data in bytes.
    size: u32,
}

/// What is looked at when the entry ends; it stands behind the data.
#[repr(C)]
struct Cold<P: Platform> {
    link: Link,
    /// The node of this entry.
    node: *mut Node,
    core: NonNull<Core<P>>,
    dtor: Cell<Option<Dtor>>,
}

/// A borrowed entry: a pointer to its node, with the provenance of all of it.
#[derive(Clone, Copy)]
pub(super) struct Entry(*mut Node);

impl Entry {
    /// The entry that `node` is part of.
    ///
    /// # Safety
    /// The node's key has the `ENTRY` bit and its memory is protected (by a
    /// guard or by ownership) for as long as the result is used.
    pub(super) unsafe fn of_node(node: *mut Node) -> Self {
        Self(node)
    }

    pub(super) fn node(self) -> *mut Node {
        self.0
    }

    fn hot(&self) -> *mut Hot {
        // The node is the first field of `Hot`.
        self.0.cast()
    }

    pub(super) fn obj(&self) -> usize {
        // SAFETY: `of_node`'s contract; `obj` is constant once linked.
        let obj = unsafe { (*self.hot()).obj };
        // The model checker's memory is poisoned, not reused.
        #[cfg(loom)]
        assert_ne!(obj, usize::MAX / 0xFF * 0xDD, "read after its end");
        obj
    }

    pub(super) fn state(&self) -> &AtomicU32 {
        // SAFETY: `of_node`'s contract; the borrow is as long as `self`'s.
        unsafe { &(*self.hot()).state }
    }

    /// The address of the data, final from the allocation on.
    pub(super) fn data(&self) -> NonNull<u8> {
        // SAFETY: the data follows `Hot` in the same allocation.
        unsafe { NonNull::new_unchecked(self.hot().add(1).cast()) }
    }

    /// Takes a live entry out of the table's sight. True for exactly one caller.
    pub(super) fn kill(&self) -> bool {
        // Acquire on success: what happens to the data next (a destructor)
        // comes after its construction, pairing with the release in
        // `Reservation::publish`. Release: readers that saw LIVE did so before.
        // Relaxed on failure: the value alone decides.
        self.state()
            .compare_exchange(LIVE, DEAD, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// An entry that its platform is known of: allocation, retirement, reclaiming.
pub(super) struct OwnedEntry<P: Platform> {
    entry: Entry,
    _platform: PhantomData<P>,
}

impl<P: Platform> Clone for OwnedEntry<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P: Platform> Copy for OwnedEntry<P> {}

impl<P: Platform> OwnedEntry<P> {
    /// The layout of an entry, and where its cold part begins.
    fn layout(size: usize) -> Option<(Layout, usize)> {
        u32::try_from(size).ok()?;
        let data = Layout::from_size_align(size, 1).ok()?;
        let (hot, offset) = Layout::new::<Hot>().extend(data).ok()?;
        debug_assert_eq!(offset, size_of::<Hot>());
        let (all, cold) = hot.extend(Layout::new::<Cold<P>>()).ok()?;
        Some((all.pad_to_align(), cold))
    }

    /// A reserved, unlinked entry with zeroed data.
    pub(super) fn new(
        core: NonNull<Core<P>>,
        platform: &P,
        key: u64,
        obj: usize,
        size: usize,
        flags: AllocFlags,
    ) -> Result<Self, Unmade> {
        let (layout, cold) = Self::layout(size).ok_or(Unmade::Layout)?;
        let memory = platform
            .alloc_zeroed(layout, flags)
            .ok_or(Unmade::OutOfMemory)?;
        let hot = memory.cast::<Hot>().as_ptr();
        let node = hot.cast::<Node>();
        // SAFETY: fresh memory of the layout, which has a `Hot` at its start and a
        // `Cold` at `cold`. The size fits: `layout` has looked.
        unsafe {
            hot.write(Hot {
                node: Node::new(key | ENTRY),
                obj,
                state: AtomicU32::new(RESERVED),
                size: size as u32,
            });
            memory.add(cold).cast().write(Cold {
                link: Link::new(Self::reclaim),
                node,
                core,
                dtor: Cell::new(None),
            });
            Ok(Self::of_node(node))
        }
    }

    /// The owned view of an entry.
    ///
    /// # Safety
    /// As [`Entry::of_node`]; the entry was made by this platform's `new`.
    pub(super) unsafe fn of_node(node: *mut Node) -> Self {
        Self {
            // SAFETY: the caller's contract.
            entry: unsafe { Entry::of_node(node) },
            _platform: PhantomData,
        }
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    fn size(&self) -> usize {
        // SAFETY: the entry is protected; `size` is constant.
        unsafe { (*self.entry.hot()).size as usize }
    }

    fn cold(&self) -> *mut Cold<P> {
        let cold = Self::layout(self.size()).map_or(0, |(_, cold)| cold);
        // SAFETY: the entry was laid out so for its size, and the node's pointer
        // is one to all of it.
        unsafe { self.entry.0.byte_add(cold).cast() }
    }

    /// Hands a dead, unlinked entry to the grace period; `dtor` runs after it.
    ///
    /// # Safety
    /// The caller took the entry to `DEAD` and made sure that it is unlinked.
    pub(super) unsafe fn retire(self, platform: &P, dtor: Option<Dtor>) {
        let cold = self.cold();
        // SAFETY: dead and unlinked: readers may still look at the hot part, the
        // cold part is ours until the link is handed over.
        unsafe {
            (*cold).dtor.set(dtor);
            (*cold).core.as_ref().hold();
            platform.retire(NonNull::new_unchecked(&raw mut (*cold).link));
        }
    }

    /// The grace period of a retired entry is over.
    ///
    /// # Safety
    /// [`Link::reclaim`]'s contract.
    unsafe fn reclaim(link: NonNull<Link>) -> Progress {
        let cold = link.cast::<Cold<P>>().as_ptr();
        // SAFETY: the link is the first field of the cold part, nobody else knows
        // the entry any more, and `hold` in `retire` kept the core.
        unsafe {
            let core = (*cold).core;
            Self::of_node((*cold).node).destroy((*cold).dtor.get());
            Core::release(core);
        }
        Progress::Done
    }

    /// Runs `dtor` and gives the memory back. The core is not released.
    ///
    /// # Safety
    /// Nobody else can reach the entry.
    pub(super) unsafe fn destroy(self, dtor: Option<Dtor>) {
        let (hot, cold, size) = (self.entry.hot(), self.cold(), self.size());
        // SAFETY: the entry is ours alone, and its core outlives it.
        unsafe {
            let core = (*cold).core.as_ref();
            if let Some(dtor) = dtor {
                let obj = core::ptr::without_provenance_mut((*hot).obj);
                dtor(obj, self.entry.data().as_ptr().cast());
            }
            core.forget_entry(size);
            cold.drop_in_place();
            hot.drop_in_place();
            // The layout was valid when the entry was made of the same size.
            if let Some((layout, _)) = Self::layout(size) {
                core.platform()
                    .dealloc(NonNull::new_unchecked(hot.cast()), layout);
            }
        }
    }
}

/// An entry that was allocated and may not be needed: another caller may get there
/// first.
pub(super) struct Spare<P: Platform> {
    pub(super) entry: Option<OwnedEntry<P>>,
    /// It stood in a slot for a moment, so a reader may have met it.
    pub(super) seen: bool,
}

impl<P: Platform> Drop for Spare<P> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            let cold = entry.cold();
            // SAFETY: the core outlives the caller's use of it. Seen, the entry is
            // out of its slot again and goes after a grace period; else it is ours
            // alone.
            unsafe {
                let core = (*cold).core;
                if self.seen {
                    entry.retire(core.as_ref().platform(), None);
                } else {
                    entry.destroy(None);
                }
            }
        }
    }
}

/// Why an entry was not made.
pub(super) enum Unmade {
    Layout,
    OutOfMemory,
}
