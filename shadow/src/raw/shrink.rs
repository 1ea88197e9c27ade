//! Shrinking: a type that has been emptied gives its lines back (G9).
//!
//! Every insertion is counted in `busy` from before its first change of the body until
//! its variable is published. So a body whose counters are all closed at 0 does not
//! change any more, save for what leaves it, and if it is empty then, it stays so:
//!
//! ```text
//!  OPEN --(all counters closed)--> CLOSING --(all lines seen empty)--> GONE -> detached
//!    ^                                |
//!    +------ an insertion came -------+
//! ```
//! Whoever reclaims for the type closes and looks, a segment at a time. Nobody waits
//! for that: an insertion that meets a closed counter opens the body again, or, if it
//! is gone, takes it out of its type and makes another. The phase counts the attempts,
//! so that one cannot be concluded after another has begun.
//!
//! A type is looked at when the last of its variables has been destroyed; one that never
//! had a second segment keeps what it has. The next insertion makes a body, as the first
//! one did.

use core::ptr::NonNull;

use super::body::Body;
use super::line::Head;
use super::stripes::Stripes;
use super::type_core::Core;
use crate::platform::{Platform, Progress};
use crate::sync::{AtomicUsize, Ordering};

/// In a counter: it is closed.
const CLOSED: usize = 1 << (usize::BITS - 1);
/// Segments that an empty type may have and keep.
const KEPT: usize = if crate::TINY { 0 } else { 1 };

/// The phase's low bits; the attempts are above.
const STATE: usize = 0b11;
const OPEN: usize = 0;
const CLOSING: usize = 1;
const GONE: usize = 2;

/// Who uses a body outside of a guard: entries reserved and neither published nor
/// cancelled, and growth.
pub(super) struct Busy {
    users: Stripes,
    phase: AtomicUsize,
}

impl Busy {
    /// Nobody, written in place.
    ///
    /// # Safety
    /// `this` is valid for writes and nobody else's.
    pub(super) unsafe fn init(this: *mut Self) {
        // SAFETY: the caller's contract.
        unsafe {
            Stripes::init(&raw mut (*this).users);
            (&raw mut (*this).phase).write(AtomicUsize::new(OPEN));
        }
    }

    /// One more user. False if the body is gone, and is not used: it is to be
    /// detached, and another taken.
    #[inline]
    pub(super) fn reserve(&self, hash: u64) -> bool {
        // Acquire: pairs with the release in `close`: the phase is not an older one.
        // (That the body stays needs no order: the caller's guard is part of the grace
        // period after which the count is looked at.)
        let before = self.users.of(hash).fetch_add(1, Ordering::Acquire);
        before & CLOSED == 0 || self.reopen(hash)
    }

    /// After a reservation that met a closed counter.
    #[cold]
    fn reopen(&self, hash: u64) -> bool {
        // Acquire: as in `reserve`, for a phase that changes meanwhile.
        let mut phase = self.phase.load(Ordering::Acquire);
        loop {
            match phase & STATE {
                GONE => {
                    self.settle(hash);
                    return false;
                }
                OPEN => {
                    // Relaxed: our own count keeps the counter from being closed
                    // until we settle.
                    self.users.of(hash).fetch_and(!CLOSED, Ordering::Relaxed);
                    return true;
                }
                _ => {
                    // Relaxed: the value decides; what it was closed for is off.
                    // Acquire on failure: as above.
                    let opened = self.phase.compare_exchange(
                        phase,
                        phase & !STATE,
                        Ordering::Relaxed,
                        Ordering::Acquire, // pairs with `close`, as in `reserve`
                    );
                    phase = opened.map_or_else(|now| now, |was| was & !STATE);
                }
            }
        }
    }

    /// One user less; the body may be gone afterwards, unless the caller holds a
    /// guard.
    #[inline]
    pub(super) fn settle(&self, hash: u64) {
        // Release: pairs with the acquires in `close` and `is_idle`: what the user did
        // to the body happens before it is looked through, or walked.
        self.users.of(hash).fetch_sub(1, Ordering::Release);
    }

    /// How many there are, about.
    pub(super) fn count(&self) -> usize {
        // Relaxed: a statistic.
        self.users
            .each(Ordering::Relaxed)
            .map(|users| users & !CLOSED)
            .sum()
    }

    /// Whether there is no user.
    pub(super) fn is_idle(&self) -> bool {
        // Acquire: pairs with the release in `settle`.
        let mut users = self.users.each(Ordering::Acquire);
        users.all(|users| users & !CLOSED == 0)
    }

    /// Closes all counters; the attempt's phase, or `None` if there are users.
    ///
    /// Only one attempt at a time.
    fn close(&self) -> Option<usize> {
        // Relaxed: published by the counters below.
        let before = self.phase.load(Ordering::Relaxed);
        debug_assert_eq!(before & STATE, OPEN);
        let phase = (before | STATE).wrapping_add(1) | CLOSING;
        // Relaxed: as above.
        self.phase.store(phase, Ordering::Relaxed);
        let closed = self.users.iter().all(|users| {
            [0, CLOSED].into_iter().any(|idle| {
                // Acquire: pairs with the release in `settle`: all that users did is
                // visible. Release: pairs with `reserve`: who finds it closed finds
                // this phase. Relaxed on failure: there is a user.
                users
                    .compare_exchange(idle, CLOSED, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            })
        });
        if !closed {
            self.end(phase, OPEN);
        }
        closed.then_some(phase)
    }

    /// Whether an attempt goes on, as far as is known.
    fn is_at(&self, phase: usize) -> bool {
        // Relaxed: a look, to save further steps.
        self.phase.load(Ordering::Relaxed) == phase
    }

    /// Ends an attempt; false if an insertion has.
    fn end(&self, phase: usize, state: usize) -> bool {
        // Relaxed, both ways: the value decides, and nothing is read through it.
        self.phase
            .compare_exchange(
                phase,
                phase & !STATE | state,
                Ordering::Relaxed, // the value decides
                Ordering::Relaxed, // an insertion has ended it
            )
            .is_ok()
    }
}

/// An attempt under way.
pub(super) struct Attempt<P: Platform> {
    body: NonNull<Body<P>>,
    phase: usize,
    /// The slot of the directory to look at next.
    slot: usize,
}

impl<P: Platform> Body<P> {
    /// Whether the lines of a slot of the directory are empty; a null one's are its
    /// parent's.
    ///
    /// # Safety
    /// As [`get`](Self::get), and the counters are closed.
    unsafe fn is_empty_at(&self, slot: usize) -> bool {
        // Relaxed, here and below: nothing has been added since the counters were
        // closed, which made visible what was before.
        let tagged = self
            .slot(slot)
            .map_or(core::ptr::null_mut(), |slot| slot.load(Ordering::Relaxed));
        // SAFETY: found in the directory under the caller's guard.
        let heads = match unsafe { Self::untagged(tagged).0.as_ref() } {
            Some(segment) => &segment.lines.heads[..],
            None if slot == 0 => &self.root.heads[..],
            None => return true,
        };
        heads.iter().all(|head| {
            // Relaxed: as above.
            let head = Head(head.load(Ordering::Relaxed));
            head.taken().next().is_none()
        })
    }
}

impl<P: Platform> Core<P> {
    /// A step of giving an empty body back; `More` if there is another one.
    ///
    /// Only for whoever reclaims for the type.
    pub(super) fn shrink(&self) -> Progress {
        let _guard = self.platform().pin();
        let Some(body) = self.body_now() else {
            self.shrinking.set(None);
            return Progress::Done;
        };
        let under_way = self.shrinking.take().filter(|it| it.body == body);
        let pointer = body;
        // SAFETY: loaded under the guard.
        let body = unsafe { body.as_ref() };
        let mut attempt = match under_way {
            Some(attempt) => attempt,
            // Relaxed: a hint.
            None if !self.has_entries() && body.segments.load(Ordering::Relaxed) > KEPT => {
                let Some(phase) = body.busy.close() else {
                    return Progress::Done;
                };
                Attempt {
                    body: pointer,
                    phase,
                    slot: 0,
                }
            }
            None => return Progress::Done,
        };
        if !body.busy.is_at(attempt.phase) {
            return Progress::Done;
        }
        // Relaxed: as in `is_empty_at`.
        if attempt.slot <= body.mask.load(Ordering::Relaxed) {
            // SAFETY: under the guard; the counters were closed.
            if unsafe { body.is_empty_at(attempt.slot) } {
                attempt.slot += 1;
                self.shrinking.set(Some(attempt));
                return Progress::More;
            }
            body.busy.end(attempt.phase, OPEN);
            return Progress::Done;
        }
        // SAFETY: under the guard.
        let empty = body.attic.count() == 0 && unsafe { body.null_entry() }.is_none();
        let end = if empty { GONE } else { OPEN };
        if body.busy.end(attempt.phase, end) && empty {
            self.detach(pointer);
        }
        Progress::Done
    }

    /// Takes a body that is gone out of the type.
    pub(super) fn detach(&self, body: NonNull<Body<P>>) {
        if self.take_body(body) {
            // SAFETY: we took it out, alone.
            unsafe { Body::retire(body, self.platform(), None) };
        }
    }
}
