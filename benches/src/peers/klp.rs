//! The algorithm that the kernel's livepatching uses today, in userspace.
//!
//! Written from its description, not from its source: one global table of 4096
//! hash chains that never grows, indexed by the object's address times the
//! 64-bit golden ratio; readers walk a chain inside an RCU section; every
//! writer holds one global lock, and an allocation looks twice, before the lock
//! for speed and under it for truth.
//!
//! crossbeam-epoch stands in for RCU. Under a guard that is already held its
//! read side costs nothing, as in the kernel, so the chains are what differs.

use crate::keys::Keys;
use crate::{Lookup, Map, Payload};
use crossbeam_epoch::{Atomic, Guard, Owned, Shared, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use umbra_shadow::sync::Ordering;

/// log2 of the number of chains.
const BITS: u32 = 12;

/// The one id in use: the kernel compares it at each node of a chain.
const ID: u64 = 1;

#[derive(Debug)]
struct Node {
    next: Atomic<Node>,
    obj: usize,
    id: u64,
    payload: Payload,
}

/// 4096 chains and one lock.
#[derive(Debug)]
pub struct Klp {
    chains: Box<[Atomic<Node>]>,
    writers: Mutex<()>,
}

impl Klp {
    #[inline]
    fn chain(&self, obj: usize) -> &Atomic<Node> {
        let hash = (obj as u64).wrapping_mul(0x61c8_8646_80b5_83eb);
        &self.chains[(hash >> (64 - BITS)) as usize]
    }

    #[inline]
    fn find<'g>(&self, obj: usize, guard: &'g Guard) -> Option<&'g Node> {
        // Acquire here and below: pairs with the Release of the insertion that
        // published the node, whose fields are read next.
        let mut at = self.chain(obj).load(Ordering::Acquire, guard);
        // SAFETY: nodes reached from a chain under a guard are freed only
        // after that guard is gone (`free` defers it).
        while let Some(node) = unsafe { at.as_ref() } {
            if node.obj == obj && node.id == ID {
                return Some(node);
            }
            at = node.next.load(Ordering::Acquire, guard);
        }
        None
    }

    fn node(key: usize, word: u64) -> Owned<Node> {
        Owned::new(Node {
            next: Atomic::null(),
            obj: key,
            id: ID,
            payload: Payload::new(word),
        })
    }

    /// Puts a node in front of its chain; the caller holds the lock.
    fn publish(&self, key: usize, node: Owned<Node>, guard: &Guard) {
        let chain = self.chain(key);
        // Relaxed: only writers store to a chain, and the lock orders them.
        let first = chain.load(Ordering::Relaxed, guard);
        // Relaxed: nobody else has the node before the next store.
        node.next.store(first, Ordering::Relaxed);
        // Release: publishes the node's fields to the Acquire loads in `find`.
        chain.store(node, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookup for Klp {
    type Guard<'a> = Guard;
    const NAME: &'static str = "klp";

    /// Without looking whether a key is there already: with a million entries
    /// that takes many seconds, and lookups do not see the difference.
    fn filled(keys: &Keys) -> Self {
        let table = Self::new(keys.len());
        let guard = pin();
        let lock = table.lock();
        for (key, word) in keys.pairs() {
            table.publish(key, Self::node(key, word), &guard);
        }
        drop(lock);
        table
    }

    #[inline]
    fn guard(&self) -> Guard {
        pin()
    }

    #[inline(always)]
    fn get(&self, key: usize, guard: &Guard) -> Option<u64> {
        self.find(key, guard).map(|node| node.payload.word())
    }
}

impl Map for Klp {
    fn new(_: usize) -> Self {
        let chains = (0..1 << BITS).map(|_| Atomic::null()).collect();
        Self {
            chains,
            writers: Mutex::new(()),
        }
    }

    fn get_or_alloc(&self, key: usize, word: u64, guard: &Guard) -> u64 {
        if let Some(node) = self.find(key, guard) {
            return node.payload.word();
        }
        let node = Self::node(key, word);
        let lock = self.lock();
        if let Some(node) = self.find(key, guard) {
            return node.payload.word();
        }
        self.publish(key, node, guard);
        drop(lock);
        word
    }

    fn free(&self, key: usize, guard: &Guard) -> bool {
        let lock = self.lock();
        let mut link = self.chain(key);
        loop {
            // Relaxed, twice: the lock orders this writer after every other.
            let at: Shared<'_, Node> = link.load(Ordering::Relaxed, guard);
            // SAFETY: a linked node is freed only after it was unlinked, which
            // needs the lock that is held here.
            let Some(node) = (unsafe { at.as_ref() }) else {
                return false;
            };
            if node.obj == key && node.id == ID {
                // Release: a reader may reach the successor through this store
                // alone, and must see it whole.
                link.store(node.next.load(Ordering::Relaxed, guard), Ordering::Release);
                drop(lock);
                // SAFETY: the node was just unlinked, by this thread alone, so
                // no new reader finds it and nobody defers it twice.
                unsafe { guard.defer_destroy(at) };
                return true;
            }
            link = &node.next;
        }
    }

    /// As the kernel frees all of an id: the lock for the whole of it, every chain walked.
    /// (There the chains have the nodes of other ids too, and it compares each one's.)
    fn free_everything(&self) -> bool {
        let guard = pin();
        let lock = self.lock();
        for chain in &self.chains {
            // Relaxed, twice: the lock orders this writer after every other.
            let mut at: Shared<'_, Node> = chain.load(Ordering::Relaxed, &guard);
            // SAFETY: a linked node is freed only after it was unlinked, which needs the
            // lock that is held here.
            while let Some(node) = unsafe { at.as_ref() } {
                let next = node.next.load(Ordering::Relaxed, &guard);
                // Release: a reader may reach the successor through this store alone.
                chain.store(next, Ordering::Release);
                // SAFETY: unlinked just now, by this thread alone.
                unsafe { guard.defer_destroy(at) };
                at = next;
            }
        }
        drop(lock);
        true
    }
}

impl Drop for Klp {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: nobody reads or writes this table any more, and
        // nodes freed earlier are no longer reachable from it.
        let guard = unsafe { crossbeam_epoch::unprotected() };
        for chain in &self.chains {
            // Relaxed: whoever handed the table over to be dropped ordered it.
            let mut at = chain.load(Ordering::Relaxed, guard);
            while !at.is_null() {
                // SAFETY: each node is linked once, and is taken off its chain
                // here before it is dropped.
                let node = unsafe { at.into_owned() };
                at = node.next.load(Ordering::Relaxed, guard);
            }
        }
    }
}
