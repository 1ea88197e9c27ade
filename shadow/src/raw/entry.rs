//! An entry: one shadow variable, header and data in one allocation.
//!
//! ```text
//!  plain                       | meta, obj | data ...
//!  prefixed   node, size, cookie | meta, obj | data ...
//!             (32 bytes)           (16 bytes)
//! ```
//! Slots and lookups refer to the header. An entry is *prefixed* if it may have to
//! stand in the attic (its node), has a cookie, or a size that its type has not
//! interned; most are plain.
//!
//! `meta` has the state in its low two bits, the size's class in the next two, and,
//! once the entry waits for its grace period, the next one that does:
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
use core::ffi::c_void;
use core::ptr::NonNull;

use super::attic::Attic;
use super::list::Node;
use super::type_core::Core;
use crate::context;
use crate::platform::{AllocFlags, Platform};
use crate::sync::{AtomicPtr, Ordering};

/// A destructor: `(object address, data)`, as the kernel's `shadow_dtor`.
///
/// A pointer to a function, and `Option<Dtor>` one that may be null: both cross C.
/// It runs once a variable. The object may be gone by then: its address is only
/// a name.
///
/// Calling one is unsafe, and so is making one; in between it is a value that safe
/// code hands over:
/// ```compile_fail,E0308
/// # use core::ffi::c_void;
/// # use umbra_shadow::{Epoch, Table};
/// unsafe extern "C" fn release(_obj: *mut c_void, _data: *mut c_void) {}
/// let table = Table::new(Epoch, 1).unwrap();
/// table.free_all(Some(release));
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Dtor(unsafe extern "C" fn(obj: *mut c_void, data: *mut c_void));

impl Dtor {
    /// A destructor that runs `function`.
    ///
    /// # Safety
    /// `function` may be called, once each, for the variables of every table that
    /// this value is given to: with the object's address and the data as its
    /// constructor left them (zeroed, without one), which nobody else uses any more;
    /// from any thread, and after the object is gone. It does not unwind.
    #[must_use]
    pub const unsafe fn new(function: unsafe extern "C" fn(*mut c_void, *mut c_void)) -> Self {
        Self(function)
    }

    /// Runs it.
    ///
    /// # Safety
    /// `data` is that of a variable that the destructor is for, `obj` its object;
    /// nobody uses the data from here on.
    pub unsafe fn call(self, obj: *mut c_void, data: *mut c_void) {
        // SAFETY: the caller's contract and the maker's.
        unsafe { (self.0)(obj, data) }
    }

    pub(super) fn address(self) -> *mut () {
        self.0 as *mut ()
    }

    /// # Safety
    /// `address` is null or came from [`address`](Self::address).
    pub(super) unsafe fn at(address: *mut ()) -> Option<Self> {
        // SAFETY: a transparent function pointer, and null is `None`.
        unsafe { core::mem::transmute::<*mut (), Option<Self>>(address) }
    }
}

/// The alignment of every variable's data, in bytes.
pub const MAX_ALIGN: usize = 16;

/// In `meta`: the state's bits.
const STATE: usize = 0b11;
const CLASS_SHIFT: u32 = 2;
const CLASS: usize = 0b11 << CLASS_SHIFT;
/// Sizes that a type interns: those of its plain entries.
pub(super) const SIZES: usize = 3;
/// The class of a prefixed entry.
const PREFIXED: usize = SIZES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum State {
    /// Somebody is constructing the data.
    Reserved = 0,
    /// The variable exists.
    Live = 1,
    /// The variable was freed, or its constructor failed.
    Dead = 2,
}

/// What lookups read besides the data.
#[repr(C, align(16))]
pub(super) struct Header {
    meta: AtomicPtr<Header>,
    obj: usize,
}

#[cfg(not(any(loom, umbra_shuttle)))]
impl Header {
    /// Nobody's: dead, and of no object.
    pub(super) const fn vacant() -> Self {
        Self {
            meta: AtomicPtr::new(core::ptr::without_provenance_mut(State::Dead as usize)),
            obj: 0,
        }
    }
}

/// What stands before the header of a prefixed entry.
#[repr(C, align(16))]
struct Prefix {
    node: Node,
    size: usize,
    cookie: u64,
}

/// A pointer to an entry's header, with the provenance of all of its block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(NonNull<Header>);

/// What a new entry is to be.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) obj: usize,
    pub(super) hash: u64,
    pub(super) size: usize,
    /// 0: none.
    pub(super) cookie: u64,
    pub(super) prefixed: bool,
}

/// Why an entry was not made.
pub(super) enum Unmade {
    Layout,
    OutOfMemory,
}

/// `meta` without a next entry.
fn bits(class: usize, state: State) -> *mut Header {
    core::ptr::without_provenance_mut(class << CLASS_SHIFT | state as usize)
}

impl Entry {
    /// The entry of a slot's value, or of a `next`.
    ///
    /// # Safety
    /// It is an entry's, and protected (by a guard or by ownership) for as long as
    /// the result is used.
    #[inline]
    pub(super) unsafe fn of(header: *mut Header) -> Self {
        // SAFETY: an entry's is not null.
        Self(unsafe { NonNull::new_unchecked(header) })
    }

    /// The entry that `node` is part of.
    ///
    /// # Safety
    /// The node's key has the `ENTRY` bit, and as [`of`](Self::of).
    pub(super) unsafe fn of_node(node: *mut Node) -> Self {
        // SAFETY: such a node is the first field of an entry's prefix.
        unsafe { Self::of(node.byte_add(size_of::<Prefix>()).cast()) }
    }

    /// # Safety
    /// `data` is an entry's, and as [`of`](Self::of).
    pub(super) unsafe fn of_data(data: NonNull<u8>) -> Self {
        // SAFETY: the caller's contract.
        Self(unsafe { data.cast::<Header>().sub(1) })
    }

    pub(super) fn as_ptr(self) -> *mut Header {
        self.0.as_ptr()
    }

    /// The node of a prefixed entry.
    pub(super) fn node(self) -> *mut Node {
        debug_assert!(self.is_prefixed());
        self.prefix().cast()
    }

    fn prefix(self) -> *mut Prefix {
        self.as_ptr().wrapping_byte_sub(size_of::<Prefix>()).cast()
    }

    #[inline]
    pub(super) fn obj(self) -> usize {
        // SAFETY: `of`'s contract; `obj` is constant once linked.
        let obj = unsafe { (*self.as_ptr()).obj };
        // The model checker's memory is poisoned, not reused.
        #[cfg(loom)]
        assert_ne!(obj, usize::MAX / 0xFF * 0xDD, "read after its end");
        obj
    }

    #[inline]
    fn meta(&self) -> &AtomicPtr<Header> {
        // SAFETY: `of`'s contract; the borrow is as long as `self`'s.
        unsafe { &(*self.as_ptr()).meta }
    }

    /// Acquire: pairs with the release in [`publish`](Self::publish), so that who
    /// sees `Live` sees the constructed data.
    #[inline]
    pub(super) fn state(self) -> State {
        // Acquire: as said above.
        match self.meta().load(Ordering::Acquire).addr() & STATE {
            0 => State::Reserved,
            1 => State::Live,
            _ => State::Dead,
        }
    }

    /// Whether the variable exists, and then its data may be read.
    #[inline]
    pub(super) fn is_live(self) -> bool {
        // Acquire: as in `state`. (One bit decides.)
        self.meta().load(Ordering::Acquire).addr() & State::Live as usize != 0
    }

    pub(super) fn class(self) -> usize {
        // Relaxed: constant.
        (self.meta().load(Ordering::Relaxed).addr() & CLASS) >> CLASS_SHIFT
    }

    pub(super) fn is_prefixed(self) -> bool {
        self.class() == PREFIXED
    }

    /// What the variable was made with; 0 if without.
    pub(super) fn cookie(self) -> u64 {
        if self.is_prefixed() {
            // SAFETY: the class says so; constant, and `of`'s contract.
            unsafe { (*self.prefix()).cookie }
        } else {
            0
        }
    }

    /// The address of the data, final from the allocation on.
    #[inline]
    pub(super) fn data(self) -> NonNull<u8> {
        // SAFETY: the data follows the header in the same allocation.
        unsafe { self.0.add(1).cast() }
    }

    /// The variable exists from here on; the caller reserved it.
    pub(super) fn publish(self) {
        let live = bits(self.class(), State::Live);
        // Release: pairs with the acquire in `state` and `is_live`: who sees it
        // sees what the constructor wrote.
        self.meta().store(live, Ordering::Release);
    }

    /// The variable will not exist; the caller reserved it.
    pub(super) fn cancel(self) {
        let dead = bits(self.class(), State::Dead);
        // Release: pairs with the acquire in `state`: who takes the object's place
        // because this one is dead does so after us.
        self.meta().store(dead, Ordering::Release);
    }

    /// Takes a live entry out of the table's sight. True for exactly one caller.
    pub(super) fn kill(self) -> bool {
        let class = self.class();
        // Acquire on success: what happens to the data next (a destructor)
        // comes after its construction, pairing with the release in `publish`.
        // Release: readers that saw Live did so before. Relaxed on failure: the
        // value alone decides.
        self.meta()
            .compare_exchange(
                bits(class, State::Live),
                bits(class, State::Dead),
                Ordering::AcqRel,  // pairs with `publish` and `state`
                Ordering::Relaxed, // the value alone decides
            )
            .is_ok()
    }

    /// Sets the entry that waits behind this one, which is dead and the caller's.
    pub(super) fn set_next(self, next: *mut Header) {
        let tag = self.class() << CLASS_SHIFT | State::Dead as usize;
        // Release: as in `cancel`, for this store ends what `kill` released. (The list
        // that the entry is put on publishes the pointer.)
        self.meta()
            .store(next.map_addr(|a| a | tag), Ordering::Release);
    }

    /// What [`set_next`](Self::set_next) set; the entry is the caller's.
    pub(super) fn next(self) -> *mut Header {
        // Relaxed: the caller took the list with an acquire.
        let meta = self.meta().load(Ordering::Relaxed);
        meta.map_addr(|a| a & !(STATE | CLASS))
    }

    /// The layout of an entry, and where its header is.
    fn layout(size: usize, prefixed: bool) -> Option<(Layout, usize)> {
        const { assert!(size_of::<Prefix>().is_multiple_of(align_of::<Header>())) };
        u32::try_from(size).ok()?;
        let at = if prefixed { size_of::<Prefix>() } else { 0 };
        let all = size.checked_add(at + size_of::<Header>())?;
        let layout = Layout::from_size_align(all, align_of::<Prefix>()).ok()?;
        Some((layout, at))
    }

    /// A reserved, unlinked entry with zeroed data.
    #[inline(always)]
    pub(super) fn new<P: Platform>(
        core: &Core<P>,
        wanted: &Wanted,
        flags: AllocFlags,
    ) -> Result<Self, Unmade> {
        // Looked at first, so that a size that cannot be had is not interned.
        Self::layout(wanted.size, true).ok_or(Unmade::Layout)?;
        let class = if wanted.prefixed || wanted.cookie != 0 {
            PREFIXED
        } else {
            core.sizes.class_of(wanted.size)
        };
        let prefixed = class == PREFIXED;
        let (layout, at) = Self::layout(wanted.size, prefixed).ok_or(Unmade::Layout)?;
        let Some(block) = core.platform().alloc_zeroed(layout, flags) else {
            if !prefixed {
                core.sizes.take(class);
            }
            return Err(Unmade::OutOfMemory);
        };
        let block = block.as_ptr();
        // SAFETY: fresh memory of the layout, which has a header at `at` and, if
        // prefixed, a prefix before it.
        unsafe {
            let header = block.add(at).cast::<Header>();
            header.write(Header {
                meta: AtomicPtr::new(bits(class, State::Reserved)),
                obj: wanted.obj,
            });
            if prefixed {
                block.cast::<Prefix>().write(Prefix {
                    node: Node::new(Attic::key(wanted.hash)),
                    size: wanted.size,
                    cookie: wanted.cookie,
                });
            }
            core.count_entry(wanted.obj, wanted.size);
            Ok(Self::of(header))
        }
    }

    /// Runs `dtor`, gives the memory back and counts that.
    ///
    /// # Safety
    /// The entry is of this core, and nobody else can reach it.
    pub(super) unsafe fn destroy<P: Platform>(self, core: &Core<P>, dtor: Option<Dtor>) {
        let obj = self.obj();
        // SAFETY: the caller's contract.
        let size = unsafe { self.destroy_uncounted(core, dtor) };
        core.forget_entries(obj, 1, size);
    }

    /// [`destroy`](Self::destroy) for a caller that counts: the size of the data.
    ///
    /// # Safety
    /// As `destroy`.
    pub(super) unsafe fn destroy_uncounted<P: Platform>(
        self,
        core: &Core<P>,
        dtor: Option<Dtor>,
    ) -> usize {
        let (class, obj) = (self.class(), self.obj());
        let prefixed = class == PREFIXED;
        // SAFETY: the entry is ours alone; a prefixed one has a prefix.
        unsafe {
            if let Some(dtor) = dtor {
                let obj = core::ptr::without_provenance_mut(obj);
                let _in = context::destructing();
                dtor.call(obj, self.data().as_ptr().cast());
            }
            let size = if prefixed {
                (*self.prefix()).size
            } else {
                core.sizes.take(class)
            };
            // The layout was valid when the entry was made of the same size.
            if let Some((layout, at)) = Self::layout(size, prefixed) {
                if prefixed {
                    self.prefix().drop_in_place();
                }
                self.0.drop_in_place();
                core.platform().dealloc(self.0.cast().sub(at), layout);
            }
            size
        }
    }
}

/// An entry that was allocated and may not be needed: another caller may get there
/// first.
pub(super) struct Spare<'a, P: Platform> {
    pub(super) core: &'a Core<P>,
    pub(super) entry: Option<Entry>,
    /// It stood in a slot for a moment, so a reader may have met it.
    pub(super) seen: bool,
}

impl<P: Platform> Spare<'_, P> {
    /// Gives the entry up, if there is one.
    #[cold]
    #[inline(never)]
    pub(super) fn discard(&mut self) {
        let seen = core::mem::replace(&mut self.seen, false);
        if let Some(entry) = self.entry.take() {
            // SAFETY: seen, the entry is out of its slot again and goes after a
            // grace period; else it is ours alone.
            unsafe {
                if seen {
                    entry.cancel();
                    self.core.retire(entry, self.core.limbo.without_dtor());
                } else {
                    entry.destroy(self.core, None);
                    self.core.look_if_emptied();
                }
            }
        }
    }
}

impl<P: Platform> Drop for Spare<'_, P> {
    #[inline(always)]
    fn drop(&mut self) {
        // Nearly always it was used.
        if self.entry.is_some() {
            self.discard();
        }
    }
}
