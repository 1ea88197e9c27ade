//! G3: what threads saw of one object can be put into an order that a single
//! caller might have seen. Histories of real runs, checked by the algorithm of
//! Wing and Gong as Lowe made it fast (todc-utils).

mod common;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use common::{Counting, FLAGS, look, object, put};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;
use umbra_shadow::{Smr, Table};

/// An operation on one object; answers are there once it has returned.
#[derive(Clone, Copy, Debug)]
enum Op {
    Get(Option<Option<u64>>),
    Alloc(u64, Option<bool>),
    Free(Option<bool>),
    FreeAll,
}

/// The variable of one object.
struct Variable;

impl Specification for Variable {
    type State = Option<u64>;
    type Operation = Op;

    fn init() -> Self::State {
        None
    }

    fn apply(op: &Op, state: &Self::State) -> (bool, Self::State) {
        let (right, after) = match *op {
            Op::Get(seen) => (seen == Some(*state), *state),
            Op::Alloc(value, made) => (made == Some(state.is_none()), state.or(Some(value))),
            Op::Free(freed) => (freed == Some(state.is_some()), None),
            Op::FreeAll => (true, None),
        };
        (right, if right { after } else { *state })
    }
}

const THREADS: usize = 3;
const OPS: usize = 7;

/// What a thread did: when, to which object, and whether it is the answer.
type Log = Vec<(u64, usize, Action<Op>)>;

fn random(state: &mut u64) -> u64 {
    // xorshift64 (Marsaglia 2003).
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// [`put`] with a constructor that others can get in between of.
fn put_slowly(table: &Table<Counting>, obj: usize, value: u64) -> bool {
    let made = table.alloc(obj, 8, FLAGS, |data| {
        thread::yield_now();
        // SAFETY: eight bytes were asked for.
        unsafe { data.cast::<u64>().write(value) };
        Ok::<(), ()>(())
    });
    made.is_ok()
}

/// Does an operation and writes down its call and its return.
fn step(table: &Table<Counting>, clock: &AtomicU64, at: usize, op: Op, log: &mut Log) {
    let obj = object(at);
    log.push((clock.fetch_add(1, SeqCst), at, Action::Call(op)));
    let answer = match op {
        Op::Get(_) => Op::Get(Some(look(table, obj))),
        Op::Alloc(value, _) => Op::Alloc(value, Some(put_slowly(table, obj, value))),
        Op::Free(_) => Op::Free(Some(table.free(obj))),
        Op::FreeAll => {
            table.free_all(None);
            op
        }
    };
    log.push((clock.fetch_add(1, SeqCst), at, Action::Response(answer)));
}

#[test]
fn g3_histories_of_one_object_are_linearizable() {
    let mut seed = 0x2545_F491_4F6C_DD1D;
    for round in 0..if cfg!(miri) { 3 } else { 1_000 } {
        let platform = Counting::default();
        let table = Table::new(platform.clone(), 1).unwrap();
        // Others around it, so that lines fill and segments split.
        let around = random(&mut seed) as usize % 12;
        (0..around).for_each(|i| assert!(put(&table, object(100 + i), 0)));
        let (clock, start) = (AtomicU64::new(0), Barrier::new(THREADS));
        let logs: Vec<Log> = thread::scope(|s| {
            let (table, clock, start) = (&table, &clock, &start);
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let mut seed = random(&mut seed) | 1;
                    s.spawn(move || {
                        let mut log = Log::new();
                        start.wait();
                        for i in 0..OPS {
                            let unique = (thread * OPS + i) as u64 + 1;
                            let op = match random(&mut seed) >> 20 & 15 {
                                0..5 => Op::Get(None),
                                5..10 => Op::Alloc(unique, None),
                                10..15 => Op::Free(None),
                                _ => Op::FreeAll,
                            };
                            // Two objects; and one more that makes lines fuller.
                            let at = random(&mut seed) as usize >> 30 & 1;
                            step(table, clock, at, op, &mut log);
                            put(table, object(200 + thread * OPS + i), 0);
                        }
                        log
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for at in 0..2 {
            let mut all: Vec<(u64, usize, Action<Op>)> = Vec::new();
            for (thread, log) in logs.iter().enumerate() {
                for (when, of, action) in log {
                    let (Action::Call(op) | Action::Response(op)) = action;
                    // What frees everything is everybody's.
                    if *of == at || matches!(op, Op::FreeAll) {
                        all.push((*when, thread, action.clone()));
                    }
                }
            }
            if all.is_empty() {
                continue;
            }
            all.sort_by_key(|&(when, ..)| when);
            let shown = format!("{all:?}");
            let actions = all.into_iter().map(|(_, thread, action)| (thread, action));
            let history = History::from_actions(actions.collect());
            assert!(
                WGLChecker::<Variable>::is_linearizable(history),
                "round {round}, object {at}: {shown}"
            );
        }
        drop(table);
        platform.barrier();
        assert_eq!(platform.blocks(), 0);
    }
}
