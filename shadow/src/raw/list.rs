//! The sorted list: nodes, marked pointers, search and unlinking.
//!
//! A node's `key` is its place in the list. Its low two bits tell what it is:
//!
//! ```text
//!  63                                   2   1      0
//! +--------------------------------------+-------+-------+
//! | bit reversal of hash or bucket index  | READY | ENTRY |
//! +--------------------------------------+-------+-------+
//! ```
//! `ENTRY` sorts a sentinel before the entries of its run. `READY` is a
//! sentinel's only and not part of the order: its bucket may be entered. Two
//! objects whose hashes differ in the top two bits alone have one key; they are
//! told apart, and ordered, by the object's address.

use crate::raw::entry::Entry;
use crate::sync::{AtomicPtr, AtomicU64, Ordering};

/// The node is an entry, not a sentinel.
pub(super) const ENTRY: u64 = 1;
/// The sentinel is linked; searches may start from it.
pub(super) const READY: u64 = 2;

/// In a node's `next`: the node is being unlinked, the pointer is final.
const MARK: usize = 1;

/// A list node: the first member of a sentinel's slot, a member of an entry.
#[repr(C, align(16))]
pub(super) struct Node {
    pub(super) next: AtomicPtr<Node>,
    pub(super) key: AtomicU64,
}

impl Node {
    pub(super) fn new(key: u64) -> Self {
        Self {
            next: AtomicPtr::new(core::ptr::null_mut()),
            key: AtomicU64::new(key),
        }
    }
}

/// The pointer without its mark.
pub(super) fn unmarked(p: *mut Node) -> *mut Node {
    p.map_addr(|a| a & !MARK)
}

fn is_marked(p: *mut Node) -> bool {
    p.addr() & MARK != 0
}

/// Where a key is, or where it would be put: between `prev` and `cur`.
pub(super) struct Position {
    /// The last node before the key.
    pub(super) prev: *mut Node,
    /// The first node at or after it; null at the end.
    pub(super) cur: *mut Node,
    /// `cur` is the key's own entry.
    pub(super) found: bool,
}

/// Looks for `(key, obj)` from `start`, unlinking marked nodes on the way.
///
/// `key` is in list order, without `READY`; `obj` is looked at for entries only.
///
/// # Safety
/// `start` is a linked sentinel at or before the key, and the caller holds a
/// guard taken before it learned of the list (or is alone with it).
pub(super) unsafe fn find(start: *mut Node, key: u64, obj: usize) -> Position {
    'again: loop {
        let mut prev = start;
        // SAFETY: `start` is linked, and sentinels live as long as the body,
        // which the guard keeps. The acquire pairs with the release CAS in
        // `link`, which published the node behind it.
        let mut cur = unsafe { (*prev).next.load(Ordering::Acquire) };
        loop {
            debug_assert!(!is_marked(cur), "sentinels are never unlinked");
            if cur.is_null() {
                return Position {
                    prev,
                    cur,
                    found: false,
                };
            }
            // SAFETY: `cur` was reachable while the guard was held, so it has
            // not been reclaimed. The acquire pairs with `link` as above.
            let next = unsafe { (*cur).next.load(Ordering::Acquire) };
            if is_marked(next) {
                // SAFETY: `prev` is protected as `cur` was. Release: whoever
                // follows the new link sees the successor's contents, which this
                // thread acquired above. Relaxed on failure: we start over.
                let unlinked = unsafe {
                    (*prev).next.compare_exchange(
                        cur,
                        unmarked(next),
                        Ordering::Release, // pairs with the loads of `next`
                        Ordering::Relaxed, // started over
                    )
                };
                if unlinked.is_err() {
                    continue 'again;
                }
                cur = unmarked(next);
                continue;
            }
            // SAFETY: as above. Relaxed: an entry's key is written before it is
            // linked (ordered by the acquire of the link), a sentinel's order
            // bits too; only its READY bit changes, which is masked off.
            let at = unsafe { (*cur).key.load(Ordering::Relaxed) } & !READY;
            if at == key && key & ENTRY != 0 {
                // SAFETY: the ENTRY bit says that the node is an entry's.
                let at_obj = unsafe { Entry::of_node(cur).obj() };
                if at_obj >= obj {
                    return Position {
                        prev,
                        cur,
                        found: at_obj == obj,
                    };
                }
            } else if at >= key {
                return Position {
                    prev,
                    cur,
                    found: at == key,
                };
            }
            prev = cur;
            cur = next;
        }
    }
}

/// Puts `node` between `at.prev` and `at.cur`; false when they are no longer
/// neighbours.
///
/// # Safety
/// As [`find`], which gave `at` under the same guard; `node` is not linked and
/// the caller's own.
pub(super) unsafe fn link(at: &Position, node: *mut Node) -> bool {
    // SAFETY: `node` is ours, `at.prev` is protected by the guard. Relaxed: the
    // release below publishes it.
    unsafe { (*node).next.store(at.cur, Ordering::Relaxed) };
    // Release: pairs with the acquire loads of `next` in `find` and in
    // `Body::get`; they see the node's contents. (What stood here of the same object before
    // the search was acquired by it; what was put here since has changed the head of its
    // line, which the caller's commit compares.)
    // Relaxed on failure: nothing is read through the value.
    // SAFETY: as above.
    unsafe {
        (*at.prev)
            .next
            .compare_exchange(at.cur, node, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }
}

/// Makes `node`'s link final, so that it can be unlinked; idempotent.
///
/// # Safety
/// `node` is protected by a guard or the caller's own.
pub(super) unsafe fn mark(node: *mut Node) {
    // SAFETY: the caller protects the node. Relaxed: the CAS below re-reads it.
    let mut next = unsafe { (*node).next.load(Ordering::Relaxed) };
    while !is_marked(next) {
        // Release: pairs with the acquire loads of whoever unlinks the node in our
        // place, so that what stands there next comes after our free. (A
        // read-modify-write carries on the release sequence of the `link` that stored
        // the successor: its contents are seen too.) Relaxed on failure: only tried
        // again.
        // SAFETY: as above.
        match unsafe {
            (*node).next.compare_exchange_weak(
                next,
                next.map_addr(|a| a | MARK),
                Ordering::Release, // pairs with the loads of `next`
                Ordering::Relaxed, // only tried again
            )
        } {
            Ok(_) => return,
            Err(seen) => next = seen,
        }
    }
}
