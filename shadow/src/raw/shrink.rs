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
//! A type is looked at in each round of its limbo; one that never had a second segment
//! keeps what it has. The next insertion makes a body, as the first one did.
//!
//! # A look that is declined
//! | because of | is made up for by |
//! |---|---|
//! | a variable | its end, which is a round |
//! | an entry that was made and not needed, or one of a detached body | who takes it off the count and finds that it was the last: [`Core::look_if_emptied`] |
//! | a user of the body | who settles last on a counter with `ASKED`: [`Busy::settle`] |

use core::ptr::NonNull;

use super::body::Body;
use super::line::Head;
use super::stripes::Stripes;
use super::type_core::Core;
use crate::platform::{Platform, Progress};
use crate::sync::{AtomicUsize, Cell, Ordering, fence};

/// In a counter: it is closed.
const CLOSED: usize = 1 << (usize::BITS - 1);
/// In a counter: it could not be closed, and the last user is to say when it can.
const ASKED: usize = CLOSED >> 1;
/// In a counter: the users.
const USERS: usize = ASKED - 1;
/// Segments that an empty type, which never split one, may have and keep.
const KEPT: usize = if crate::TINY { 0 } else { 1 };

/// The phase's low bits; the attempts are above.
const STATE: usize = 0b11;
const OPEN: usize = 0;
const CLOSING: usize = 1;
const GONE: usize = 2;

/// [`Shrinking::look`]: nothing to give back, as far as is known.
const IDLE: usize = 0;
/// The last look was declined, or is under way.
const DECLINED: usize = 1;
/// The next round is to look once more.
const NOW: usize = 2;

/// Who uses a body outside of a guard: entries reserved and neither published nor
/// cancelled, and growth.
pub(super) struct Busy {
    users: Stripes,
    /// Of them, who reserves no entry: a merge.
    apart: AtomicUsize,
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
            (&raw mut (*this).apart).write(AtomicUsize::new(0));
            (&raw mut (*this).phase).write(AtomicUsize::new(OPEN));
        }
    }

    /// One more user. False if the body is gone, and is not used: it is to be
    /// detached, and another taken.
    #[inline]
    pub(super) fn reserve(&self, hash: u64) -> bool {
        // Acquire: pairs with the release in `close_one`: the phase is not an older one.
        // (That the body stays needs no order: the caller's guard is part of the grace
        // period after which the count is looked at.)
        let before = self.users.of(hash).fetch_add(1, Ordering::Acquire);
        before & CLOSED == 0 || self.reopen(hash)
    }

    /// After a reservation that met a closed counter.
    #[cold]
    fn reopen(&self, hash: u64) -> bool {
        // Relaxed, here and below: `reserve` has acquired the phase that the counter was
        // closed for, and of a later one only the value is used.
        let mut phase = self.phase.load(Ordering::Relaxed);
        loop {
            match phase & STATE {
                GONE => {
                    // Relaxed: nobody looks at the body again.
                    self.users.of(hash).fetch_sub(1, Ordering::Relaxed);
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
                    let opened = self.phase.compare_exchange(
                        phase,
                        phase & !STATE,
                        Ordering::Relaxed,
                        Ordering::Relaxed, // only the value is used
                    );
                    phase = opened.map_or_else(|now| now, |was| was & !STATE);
                }
            }
        }
    }

    /// One user less; the body may be gone afterwards, unless the caller holds a
    /// guard.
    #[inline]
    pub(super) fn settle<P: Platform>(&self, hash: u64, core: &Core<P>) {
        // Release: pairs with the acquires in `close_one` and `is_idle`: what the user did
        // to the body happens before it is looked through, or walked.
        let before = self.users.of(hash).fetch_sub(1, Ordering::Release);
        if before & (ASKED | USERS) == ASKED | 1 {
            core.look_again();
        }
    }

    /// [`reserve`](Self::reserve) of a user with no entry, who is not [counted](Self::count).
    pub(super) fn reserve_apart(&self, hash: u64) -> bool {
        // Relaxed: a statistic.
        self.apart.fetch_add(1, Ordering::Relaxed);
        let reserved = self.reserve(hash);
        if !reserved {
            // Relaxed: as above.
            self.apart.fetch_sub(1, Ordering::Relaxed);
        }
        reserved
    }

    /// [`settle`](Self::settle) after [`reserve_apart`](Self::reserve_apart).
    pub(super) fn settle_apart<P: Platform>(&self, hash: u64, core: &Core<P>) {
        // Relaxed: as there. (First, for the body may be gone afterwards.)
        self.apart.fetch_sub(1, Ordering::Relaxed);
        self.settle(hash, core);
    }

    /// How many entries are reserved, about.
    pub(super) fn count(&self) -> usize {
        // Relaxed, twice: a statistic.
        let users = self.users.each(Ordering::Relaxed);
        let all: usize = users.map(|users| users & USERS).sum();
        all.saturating_sub(self.apart.load(Ordering::Relaxed)) // a statistic
    }

    /// Whether there is no user.
    pub(super) fn is_idle(&self) -> bool {
        // Acquire: pairs with the release in `settle`.
        let mut users = self.users.each(Ordering::Acquire);
        users.all(|users| users & USERS == 0)
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
        let closed = self.users.iter().all(Self::close_one);
        if !closed {
            self.end(phase, OPEN);
        }
        closed.then_some(phase)
    }

    /// Closes a counter, or asks its users to say when it can be closed.
    fn close_one(users: &AtomicUsize) -> bool {
        loop {
            let closed = [0, CLOSED, ASKED, CLOSED | ASKED].into_iter().any(|idle| {
                // Acquire: pairs with the release in `settle`: all that users did is
                // visible. Release: pairs with `reserve`: who finds it closed finds
                // this phase. Relaxed on failure: there is a user.
                users
                    .compare_exchange(idle, CLOSED, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            });
            // Relaxed: the last user's own exchange in `settle` finds it, and what it
            // says then pairs in `look_again`.
            if closed || users.fetch_or(ASKED, Ordering::Relaxed) & USERS != 0 {
                return closed;
            }
        }
    }

    /// Takes back what `close` asked of the users.
    fn unask(&self) {
        for users in self.users.iter() {
            // Relaxed: who settles without it has nothing to say.
            users.fetch_and(!ASKED, Ordering::Relaxed);
        }
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

/// What a type knows of its shrinking.
pub(super) struct Shrinking<P: Platform> {
    /// Whoever reclaims for the type is alone with it,
    attempt: Cell<Option<Attempt<P>>>,
    /// and with this: there may be counters with `ASKED`.
    asked: Cell<bool>,
    look: AtomicUsize,
}

impl<P: Platform> Shrinking<P> {
    pub(super) fn new() -> Self {
        Self {
            attempt: Cell::new(None),
            asked: Cell::new(false),
            look: AtomicUsize::new(IDLE),
        }
    }

    /// Whether the type is to be looked at once more.
    pub(super) fn is_due(&self) -> bool {
        // Relaxed: ordered by the exchange of `queued` before it.
        self.look.load(Ordering::Relaxed) == NOW
    }

    /// Nothing is to be given back.
    fn rest(&self) -> Progress {
        self.attempt.set(None);
        // Relaxed: what a later body needs is said in the rounds of its own entries.
        self.look.store(IDLE, Ordering::Relaxed);
        Progress::Done
    }
}

impl<P: Platform> Body<P> {
    /// Whether the lines of a slot of the directory are empty; a null one's are its
    /// parent's.
    ///
    /// # Safety
    /// As [`get`](Self::get), and the counters are closed.
    unsafe fn is_empty_at(&self, slot: usize) -> bool {
        // Relaxed, here and below: nothing has been added since the counters were
        // closed, which made visible what was before; the heirs' lines too, for whoever
        // proposed them settled after it had found them in the directory.
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
            return self.shrinking.rest();
        };
        let under_way = self.shrinking.attempt.take();
        let pointer = body;
        // SAFETY: loaded under the guard.
        let body = unsafe { body.as_ref() };
        // Relaxed: hints. (What was merged has a mask, though it may have one segment.)
        let split = body.mask.load(Ordering::Relaxed) != 0;
        if !split && body.segments.load(Ordering::Relaxed) <= KEPT {
            return self.shrinking.rest();
        }
        // Before anything is looked at: whoever takes the reason of a refusal away after
        // that says so. Acquire: pairs with the exchange in `look_again`: a user that said so
        // has settled. (What follows is ordered by the fence.)
        self.shrinking.look.swap(DECLINED, Ordering::Acquire);
        // SeqCst: pairs with the fence in `look_if_emptied`: either we find the entry
        // off the count, or its owner finds the look declined.
        fence(Ordering::SeqCst);
        let under_way = under_way.filter(|it| it.body == pointer && body.busy.is_at(it.phase));
        let mut attempt = match under_way {
            Some(attempt) => attempt,
            None if self.entries() != 0 => {
                if self.shrinking.asked.take() {
                    body.busy.unask();
                }
                return Progress::Done;
            }
            None => {
                let Some(phase) = body.busy.close() else {
                    self.shrinking.asked.set(true);
                    return Progress::Done;
                };
                Attempt {
                    body: pointer,
                    phase,
                    slot: 0,
                }
            }
        };
        // Relaxed: as in `is_empty_at`.
        if attempt.slot <= body.mask.load(Ordering::Relaxed) {
            // SAFETY: under the guard; the counters were closed.
            if unsafe { body.is_empty_at(attempt.slot) } {
                attempt.slot += 1;
                self.shrinking.attempt.set(Some(attempt));
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
            return self.shrinking.rest();
        }
        Progress::Done
    }

    /// Says that the next round is to look whether the type is empty, and sees to it
    /// that there is one.
    #[cold]
    pub(super) fn look_again(&self) {
        // Release: pairs with the exchange in `shrink`; an exchange itself, so that it goes
        // on with the releases of others. (The release chain of `queued` brings it to a
        // round that is about to end.)
        self.shrinking.look.swap(NOW, Ordering::Release);
        self.queue_round();
    }

    /// After entries were taken off the count outside of a round.
    pub(super) fn look_if_emptied(&self) {
        // SeqCst: pairs with the fence in `shrink`, and with this one of others: the
        // last of them finds the count at 0.
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence.
        let declined = self.shrinking.look.load(Ordering::Relaxed) == DECLINED;
        if declined && self.entries() == 0 && self.body_now().is_some() {
            self.look_again();
        }
    }

    /// Takes a body that is gone out of the type.
    pub(super) fn detach(&self, body: NonNull<Body<P>>) {
        if self.take_body(body) {
            // SAFETY: we took it out, alone.
            unsafe { Body::retire(body, self.platform(), None) };
        }
    }
}
