//! Merging: two segments that are nearly empty become one (G9).
//!
//! Buddies, the slots `i` and `i + 2^d`, both of depth `d + 1`, have one heir of depth
//! `d`. The upper slots stay as they are but for their value: they are *aliases* of the
//! heir's own slot, so that a lookup finds in them what it would find there, and no slot
//! goes back to null.
//!
//! ```text
//!  i            -> lower  --+                          i          -> heir
//!  i + 2^d      -> upper  --+--> one heir        ...   i + 2^d    -> heir, an alias
//!  (others, aliases of either)                         (others)   -> heir, aliases
//! ```
//! # The protocol
//! ```text
//!  lower joined (by who proposes)
//!    -> upper joined          else APART     by helpers, in any number, each step one
//!    -> both frozen                          exchange from a value that does not come
//!    -> do all fit?           else APART     back, as with a split
//!    -> TOGETHER: the heir's lines filled
//!    -> aliases -> the heir's own slot: its winner retires both
//! ```
//! A segment has one fate: it is joined by the exchange that would give it heirs. If the
//! upper one has others, or a group of lines has not enough lanes for both, they are
//! *apart*: each that was joined is renewed, the lower one by the first of the merge's
//! segments, the upper one by the second. (Frozen lines cannot be thawed.)
//!
//! # Who keeps what
//! A merge lives as long as a segment that was joined to it, and a segment as long as
//! anybody's guard who found it in the directory. While there is no verdict neither is
//! replaced, so a helper that sees none may look at both; the upper one it looks for in
//! its slot first, for it may be somebody else's by now. That one is a buddy as well.

use core::ptr::NonNull;

use super::blocks::free_block;
use super::body::Body;
use super::entry::Entry;
use super::growth::LOOK;
use super::line::{Head, LANES};
use super::seats::Present;
use super::segment::{GROUP, Heirs, LAST, LINES, Lines, Segment};
use super::type_core::Core;
use crate::platform::Platform;
use crate::sync::{AtomicUsize, Ordering, fence};

/// [`Merge::verdict`]: not yet.
const OPEN: usize = 0;
const APART: usize = 1;
const TOGETHER: usize = 2;

/// Steps of a merge before the first that fills: the upper segment joined, both frozen,
/// the lanes counted.
const BEFORE: usize = 3;

/// What two segments agree on.
pub(super) struct Merge<P: Platform> {
    lower: *mut Segment<P>,
    upper: *mut Segment<P>,
    /// The heir of both, or of the lower one.
    first: *mut Segment<P>,
    /// The heir of the upper one, if they are apart.
    second: *mut Segment<P>,
    /// Of the heir of both.
    depth: u32,
    index: usize,
    verdict: AtomicUsize,
    /// Steps that are done.
    done: AtomicUsize,
    /// Segments that were joined, and who proposes.
    owners: AtomicUsize,
    /// Which of the segments are not its own any more: 1, 2.
    taken: AtomicUsize,
}

impl<P: Platform> Merge<P> {
    /// A merge of these two into a segment of their depth less one, with an owner for the
    /// lower one and one for the caller.
    pub(super) fn new(
        [lower, upper]: [&Lines<P>; 2],
        index: usize,
        heirs: [*mut Segment<P>; 2],
    ) -> Self {
        let [first, second] = heirs;
        Self {
            lower: lower.segment(),
            upper: upper.segment(),
            first,
            second,
            depth: lower.depth - 1,
            index,
            verdict: AtomicUsize::new(OPEN),
            done: AtomicUsize::new(0),
            owners: AtomicUsize::new(2),
            taken: AtomicUsize::new(0),
        }
    }

    /// One owner less; the last gives back what was not used.
    ///
    /// # Safety
    /// The caller gives up a count that it has; the platform is the one of the type.
    pub(super) unsafe fn release(this: NonNull<Self>, platform: &P) {
        // SAFETY: owned until the subtraction. Release: pairs with the fence below.
        let owners = unsafe { &this.as_ref().owners };
        if owners.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // Acquire: pairs with the releases above: who took one of the heirs has said
        // so before the segment that it replaces gave up its count.
        fence(Ordering::Acquire);
        // SAFETY: nobody else can reach it, nor the heirs that nobody has seen in the
        // directory: they were reached through it.
        unsafe {
            // Relaxed: the fence.
            let taken = this.as_ref().taken.load(Ordering::Relaxed);
            for (heir, bit) in [(this.as_ref().first, 1), (this.as_ref().second, 2)] {
                if taken & bit == 0 {
                    Segment::free(heir, platform);
                }
            }
            free_block(this.as_ptr(), platform);
        }
    }

    /// Says that an heir is in the directory, or given back.
    pub(super) fn note_taken(&self, heir: *mut Segment<P>) {
        let bit = if heir == self.first { 1 } else { 2 };
        // Relaxed: pairs with nothing by itself: the segment that is replaced is retired
        // later, and gives up its count after its grace period.
        self.taken.fetch_or(bit, Ordering::Relaxed);
    }

    /// The heir of one of the two if they are apart.
    pub(super) fn apart(&self, lines: &Lines<P>) -> Option<Heirs<P>> {
        let lower = lines.segment() == self.lower;
        (self.verdict() == APART).then_some(Heirs {
            first: if lower { self.first } else { self.second },
            second: core::ptr::null_mut(),
        })
    }

    fn verdict(&self) -> usize {
        // Relaxed, as in `decide`: the value decides. That lines are frozen goes on by
        // `done`, or the lines' own; and who reads that there is none has a guard that is
        // older than what comes of one (coherence).
        self.verdict.load(Ordering::Relaxed)
    }

    /// Decides, if nobody has.
    fn decide(&self, verdict: usize) {
        // Relaxed, both ways: as above.
        let _ = self.verdict.compare_exchange(
            OPEN,
            verdict,
            Ordering::Relaxed,
            Ordering::Relaxed, // looked at anew
        );
    }

    fn done(&self) -> usize {
        // Acquire: pairs with the release in `advance`: as `Lines::done`.
        self.done.load(Ordering::Acquire).min(BEFORE + LAST - 1)
    }

    /// One step more is done; true for the first to say so.
    fn advance(&self, done: usize) -> bool {
        // Release: pairs with the acquire in `done`. Relaxed on failure: another helper
        // was faster, and `done` is read anew.
        self.done
            .compare_exchange(done, done + 1, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// The lines of both.
    ///
    /// # Safety
    /// Both are protected.
    unsafe fn both(&self) -> [Lines<P>; 2] {
        // SAFETY: the caller's contract.
        [self.lower, self.upper].map(|it| unsafe { Lines::of_segment(it, self.depth + 1) })
    }
}

impl<P: Platform> Body<P> {
    /// A step of a merge that has no verdict yet, or is one.
    ///
    /// # Safety
    /// As [`step`](Self::step): a segment that was joined to it was found under the guard,
    /// and with no verdict, or that they are together, read after.
    pub(super) unsafe fn step_merge(&self, merge: NonNull<Merge<P>>, core: &Core<P>) {
        // SAFETY: a segment that is protected keeps it.
        let it = unsafe { merge.as_ref() };
        let done = it.done();
        if done == 0 {
            // SAFETY: the caller's contract.
            return unsafe { self.join_upper(merge) };
        }
        // SAFETY: both were joined, and neither is replaced before there is a verdict; the
        // guard is older than that, or than the publication that takes the one out that it
        // found.
        let [lower, upper] = unsafe { it.both() };
        if done == 1 {
            lower.freeze();
            upper.freeze();
            it.advance(done);
        } else if done == 2 {
            it.decide(if fit(&lower, &upper) { TOGETHER } else { APART });
            // (Not what this helper saw decides, but what stands.)
            if it.verdict() == TOGETHER {
                it.advance(done);
            }
        } else if it.verdict() == TOGETHER {
            // SAFETY: as above, and both are frozen.
            unsafe { self.fill_merged(it, [lower, upper], done, core) };
        }
    }

    /// The upper segment, if it is still there, is joined, or they are apart.
    ///
    /// # Safety
    /// As [`step_merge`](Self::step_merge).
    unsafe fn join_upper(&self, merge: NonNull<Merge<P>>) {
        // SAFETY: as there.
        let it = unsafe { merge.as_ref() };
        let own = it.upper.map_addr(|a| a | (it.depth + 1) as usize);
        let upper = self.slot(it.index | 1 << it.depth);
        // Acquire: pairs with the release in `publish`.
        let there = upper.is_some_and(|slot| slot.load(Ordering::Acquire) == own);
        // Relaxed: the lower one's count is there, as long as our guard.
        it.owners.fetch_add(1, Ordering::Relaxed);
        let joined = if there {
            // SAFETY: found in the directory under the guard; counted.
            unsafe { Segment::join(it.upper, merge) }
        } else {
            Err(())
        };
        if joined != Ok(true) {
            // Relaxed: as above.
            it.owners.fetch_sub(1, Ordering::Relaxed);
        }
        if joined.is_ok() {
            it.advance(0);
        } else {
            it.decide(APART);
        }
    }

    /// A step of filling the heir of both; the last one publishes it.
    ///
    /// # Safety
    /// As [`step_merge`](Self::step_merge); both are frozen, and together.
    unsafe fn fill_merged(
        &self,
        merge: &Merge<P>,
        both: [Lines<P>; 2],
        done: usize,
        core: &Core<P>,
    ) {
        let step = done - BEFORE + 1;
        let mut present = None;
        if both.iter().any(|lines| lines.may_have_attic(step)) {
            let present = present.insert(Present::none());
            let mut note = |e: Entry| present.note(core.hash(e.obj()), merge.depth, false);
            let prefix = merge.index as u64;
            // SAFETY: the caller's contract.
            if !unsafe { self.attic.for_run(prefix, merge.depth, LOOK, &mut note) } {
                both.iter().for_each(|lines| present.inherit(lines));
            }
        }
        let from = |group: usize| {
            let both = both.iter();
            both.flat_map(move |lines| (group..group + GROUP).map(|at| lines.at(at)))
        };
        let heirs = Heirs {
            first: merge.first,
            second: core::ptr::null_mut(),
        };
        // SAFETY: the heir is protected as its parents are; they are frozen, and fit.
        unsafe {
            let heir = &(*merge.first).lines;
            let totals = Lines::seat([heir, heir], 0, from, core, present.as_ref(), step);
            if merge.advance(done) {
                heirs.count(totals);
            }
            if step == LAST {
                self.publishing(|| self.publish_merged(merge, core));
            }
        }
    }

    /// Puts the heir of both into the directory, into its own slot last;
    /// [counted](Self::publishing).
    ///
    /// # Safety
    /// As [`fill_merged`](Self::fill_merged).
    unsafe fn publish_merged(&self, merge: &Merge<P>, core: &Core<P>) {
        let heir = merge.first.map_addr(|a| a | merge.depth as usize);
        let old =
            [merge.lower, merge.upper].map(|it| it.map_addr(|a| a | (merge.depth + 1) as usize));
        // SAFETY: protected, as the parents are.
        let reach = unsafe { Lines::of_segment(merge.first, merge.depth) }.reach();
        self.replace_aliases(merge.index, merge.depth, reach, &old, |_| heir);
        let Some(own) = self.slot(merge.index) else {
            debug_assert!(false, "it has a segment");
            return;
        };
        // Release: publishes the heir's lines, after the aliases. Relaxed on failure: it
        // was published already.
        let published = own
            .compare_exchange(old[0], heir, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if published {
            merge.note_taken(merge.first);
            // Nobody looks at the second: it would wait as long as the two that go.
            merge.note_taken(merge.second);
            // SAFETY: as said, and it is ours alone to give back.
            unsafe { Segment::free(merge.second, core.platform()) };
            // Relaxed: a statistic and a hint.
            self.segments.fetch_sub(1, Ordering::Relaxed);
            core.count_merge();
            for it in [merge.lower, merge.upper] {
                // SAFETY: we took the last slot of the two out of the directory.
                unsafe { Segment::retire(it, core.platform()) };
            }
        }
    }

    /// Gives every alias of a replaced segment (one of `old`) what replaces it: the slots
    /// below `1 << reach` that have the low bits `index` of `depth`, but its own.
    ///
    /// The last slot first. A lookup tries the slots that its hash may have from the last one
    /// down, so whoever used the heir by one of them (with an older mask) comes after all that
    /// a later lookup tries before that one.
    pub(super) fn replace_aliases(
        &self,
        index: usize,
        depth: u32,
        reach: u32,
        old: &[*mut Segment<P>],
        heir: impl Fn(usize) -> *mut Segment<P>,
    ) {
        let others = (1..1usize << reach.saturating_sub(depth)).rev();
        let others = others.map(|n| index | n << depth);
        for (slot, at) in others.filter_map(|at| Some((self.slot(at)?, at))) {
            // Relaxed: only compared.
            let there = slot.load(Ordering::Relaxed);
            if old.contains(&there) {
                // Release: publishes the heir's lines. Relaxed on failure: another helper
                // was faster. (What is replaced is protected, so it does not come back.)
                let _ = slot.compare_exchange(
                    there,
                    heir(at),
                    Ordering::Release,
                    Ordering::Relaxed, // another helper's
                );
            }
        }
    }
}

/// Whether each group of one segment has lanes for those of both; exact once they are frozen.
pub(super) fn fit<P: Platform>(lower: &Lines<P>, upper: &Lines<P>) -> bool {
    let mut groups = (0..LINES).step_by(GROUP);
    groups.all(|group| lower.taken_in(group) + upper.taken_in(group) <= LANES * GROUP)
}

impl<P: Platform> Lines<P> {
    /// Lanes that are taken in a group; exact once it is frozen.
    fn taken_in(&self, group: usize) -> usize {
        (group..group + GROUP)
            .map(|at| {
                // Relaxed: frozen, and `Merge::done` acquired it; or a look.
                Head(self.at(at).head.load(Ordering::Relaxed))
                    .taken()
                    .count()
            })
            .sum()
    }
}
