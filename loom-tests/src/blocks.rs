//! Memory that loom watches, for all platforms of the models.
//!
//! A block is tracked, so one that is left at the end is a report. One that is
//! given back is poisoned and kept until the end of the execution, so a late
//! read sees poison and not another block.

use std::alloc::Layout;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use loom::alloc::Track;

/// The memory of one execution.
#[derive(Default)]
pub(crate) struct Blocks {
    /// No memory for segments, pages and other such large blocks.
    cramped: AtomicBool,
    /// Blocks given back, poisoned.
    freed: Mutex<Vec<(usize, Layout)>>,
    /// Blocks handed out. Loom's tracker reports those alive at the end.
    taken: Mutex<HashMap<usize, (Track<()>, Layout)>>,
}

impl Blocks {
    /// From now on there is memory for entries only, or for everything again.
    pub(crate) fn cramp(&self, cramped: bool) {
        // Relaxed, here and below: one operating system thread runs a model.
        self.cramped.store(cramped, Ordering::Relaxed);
    }

    /// A zeroed block of the global allocator.
    pub(crate) fn alloc_zeroed(&self, layout: Layout) -> Option<NonNull<u8>> {
        // Lines are aligned to the cache's, entries are not.
        if layout.align() >= 64 && self.cramped.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: no block of the table is empty.
        let block = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })?;
        let tracked = (Track::new(()), layout);
        self.taken
            .lock()
            .unwrap()
            .insert(block.as_ptr() as usize, tracked);
        Some(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// Nobody uses it from here on.
    pub(crate) unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        let known = self.taken.lock().unwrap().remove(&(ptr.as_ptr() as usize));
        let (track, asked) = known.expect("freed once, and allocated here");
        assert_eq!(asked, layout, "freed with the layout it was allocated with");
        drop(track);
        // SAFETY: allocated with this layout, and the caller is done with it.
        unsafe { ptr.as_ptr().write_bytes(0xDD, layout.size()) };
        self.freed
            .lock()
            .unwrap()
            .push((ptr.as_ptr() as usize, layout));
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for (block, layout) in self.freed.get_mut().unwrap().drain(..) {
            // SAFETY: allocated with this layout, given back, in the list once.
            unsafe { std::alloc::dealloc(block as *mut u8, layout) }
        }
        let left = self.taken.get_mut().unwrap();
        if !std::thread::panicking() {
            assert!(
                left.is_empty(),
                "{} blocks are left at the end of a model",
                left.len()
            );
        }
    }
}
