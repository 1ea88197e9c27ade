//! Reads what lackey lists.
//!
//! ```text
//! I  0401b6d0,3      an instruction, passed over
//!  L 1ffeffe7e0,8    a load
//!  S 04a3c050,4      a store
//!  M 0421cc7c,4      both, as a counter's increment or a compare-and-swap
//! ```
//! Between two marks, stores to places that [`play`](super::play) has set aside,
//! lies one operation.

use std::collections::BTreeMap;

/// log2 of a cache line.
const LINE: u32 = 6;

/// More than the first thread's stack ever is.
const STACK: u64 = 8 << 20;

/// What a store to one of the marks says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Mark {
    /// Another thread or another operation begins.
    Turn = 0,
    /// One operation begins.
    Begin = 1,
    /// It is over.
    End = 2,
}

/// The cache lines that one operation wrote, and those that it read or wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    written: Vec<u64>,
    all: Vec<u64>,
}

/// One thread's operations of one kind.
pub type Turn = Vec<Touched>;

/// Follows a trace.
#[derive(Debug, Default)]
pub struct Reader {
    /// Of the marks, and of something on the first thread's stack.
    places: Option<(u64, u64)>,
    within: Option<Touched>,
    turns: Vec<Turn>,
}

impl Reader {
    /// Whether it was told where things are.
    #[must_use]
    pub const fn knows_places(&self) -> bool {
        self.places.is_some()
    }

    /// Tells it where the marks are, a cache line, and the first thread's stack,
    /// which nobody else has.
    pub const fn places(&mut self, marks: u64, stack: u64) {
        self.places = Some((marks, stack));
    }

    /// Reads a line; whether it was one of a trace.
    pub fn line(&mut self, line: &[u8]) -> bool {
        let [b'I' | b' ', kind, b' ', rest @ ..] = line else {
            return false;
        };
        if *kind == b' ' {
            return line[0] == b'I';
        }
        let Some((address, size)) = parse(rest) else {
            return false;
        };
        let Some((marks, stack)) = self.places else {
            return true;
        };
        let writes = *kind != b'L';
        if (marks..marks + (1 << LINE)).contains(&address) {
            if writes {
                self.mark((address - marks) / 8);
            }
            return true;
        }
        if (stack.saturating_sub(STACK)..stack + STACK).contains(&address) {
            return true;
        }
        if let Some(operation) = &mut self.within {
            for line in address >> LINE..=(address + size.max(1) - 1) >> LINE {
                operation.touch(line, writes);
            }
        }
        true
    }

    fn mark(&mut self, code: u64) {
        if code == Mark::Turn as u64 {
            self.turns.push(Vec::new());
        } else if code == Mark::Begin as u64 {
            self.within = Some(Touched::default());
        } else if let (Some(turn), Some(done)) = (self.turns.last_mut(), self.within.take()) {
            turn.push(done);
        }
    }

    /// All turns, in their order.
    #[must_use]
    pub fn turns(self) -> Vec<Turn> {
        self.turns
    }
}

/// An address and a size: `0421cc7c,4`.
fn parse(text: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (address, size) = text.trim().split_once(',')?;
    Some((u64::from_str_radix(address, 16).ok()?, size.parse().ok()?))
}

impl Touched {
    /// Lists are short: a few dozen lines.
    fn touch(&mut self, line: u64, writes: bool) {
        if !self.all.contains(&line) {
            self.all.push(line);
        }
        if writes && !self.written.contains(&line) {
            self.written.push(line);
        }
    }
}

/// What two threads' turns come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// Lines that an operation writes and the same one of another thread
    /// touches, on average.
    pub written: f64,
    /// Of these, how many two operations on different objects have in common.
    pub met: f64,
    /// The share of all operations that write the line of these which most write.
    pub hottest: f64,
    /// Lines that an operation touches in either thread, and fewer than one in
    /// ten of the others: those that come from memory in a large table.
    pub cold: f64,
    /// Lines that an operation writes, whosever they are, but for the stack's.
    pub own: f64,
}

/// How often each line is there.
#[derive(Default)]
struct Tally(BTreeMap<u64, usize>);

impl Tally {
    fn add(&mut self, line: u64) {
        *self.0.entry(line).or_default() += 1;
    }

    fn of(&self, line: u64) -> usize {
        self.0.get(&line).copied().unwrap_or(0)
    }
}

/// The share of `count` operations that write the line which most write.
///
/// That line is found in every other operation, and its share counted in the rest, and the
/// other way about. Found and counted in the same ones it would be too large: of 64 locks
/// that are taken evenly, the one that 500 operations took most often is well above 1/64.
/// So it is never the share of more than the hottest line, but for chance.
fn hottest(halves: &[Tally; 2], count: usize) -> f64 {
    let sizes = [count.div_ceil(2), count / 2];
    let share = |chosen: usize, counted: usize| {
        let lines = halves[chosen].0.iter();
        // Of several, the last: any would do.
        let line = lines.max_by_key(|(_, n)| **n).map(|(line, _)| *line);
        line.map_or(0.0, |line| {
            halves[counted].of(line) as f64 / sizes[counted].max(1) as f64
        })
    };
    f64::midpoint(share(0, 1), share(1, 0))
}

impl Counted {
    /// Of the operations of `a`, each beside the same one of `b`.
    #[must_use]
    pub fn of(a: &Turn, b: &Turn) -> Self {
        let count = a.len().min(b.len()).max(1);
        let (mut written, mut touched) = (Tally::default(), Tally::default());
        let mut halves = [Tally::default(), Tally::default()];
        for (at, (a, b)) in a.iter().zip(b).enumerate() {
            let both = |list: &[u64]| -> Vec<u64> {
                let there = |line: &&u64| b.all.contains(line);
                list.iter().filter(there).copied().collect()
            };
            for line in both(&a.written) {
                written.add(line);
                halves[at % 2].add(line);
            }
            both(&a.all).into_iter().for_each(|l| touched.add(l));
        }
        let mean = |sum: usize| sum as f64 / count as f64;
        let pairs = count * (count - 1).max(1);
        let meetings: usize = written.0.values().map(|n| n * (n - 1)).sum();
        let rare = |line: &u64| touched.of(*line) * 10 < count;
        Self {
            written: mean(written.0.values().sum()),
            met: meetings as f64 / pairs as f64,
            hottest: hottest(&halves, count),
            cold: mean(
                touched
                    .0
                    .iter()
                    .filter(|(l, _)| rare(l))
                    .map(|(_, n)| n)
                    .sum(),
            ),
            own: mean(a.iter().map(|a| a.written.len()).sum()),
        }
    }
}
