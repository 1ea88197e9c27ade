//! Everything at once, for as long as wanted: every operation from several threads on
//! two types and a registry of ids, while allocations fail, constructors fail and
//! panic, and the tables are filled and emptied in turns.
//!
//! ```text
//! cargo run --release -p umbra-shadow --example stress -- --seconds 3600 --threads 2
//! ```
//! | checked | how |
//! |---|---|
//! | what a lookup finds is constructed, and the object's | words of the payload, under a guard |
//! | a destructor runs once, after the guards | it spoils the payload; freed memory is poisoned |
//! | each variable that was made is destroyed | counted on both sides |
//! | no memory is left | blocks of the platform, at the end |
//!
//! Ctrl-C ends it early, with the same checks. The last line has the result; the exit
//! code is 0 only if all of them held.

use std::alloc::Layout;
use std::ffi::c_void;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use umbra_shadow::{
    AllocError, AllocFlags, Dtor, Epoch, EpochGuard, Link, Lookup, Memory, OutOfMemory, Platform,
    ShadowTable, Smr, Table,
};

/// Runs all operations of a shadow table against one another.
#[derive(Parser)]
struct Options {
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many threads change and look up.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Objects of each type.
    #[arg(long, default_value_t = 100_000)]
    objects: usize,
    /// How many of a thousand allocations fail.
    #[arg(long, default_value_t = 5)]
    failing: u64,
}

const FLAGS: AllocFlags = AllocFlags(0);
const LIVE: u64 = 0x5ade_d0d0_11fe_0001;
const GONE: u64 = 0x0dea_dead_dead_0001;

static STOP: AtomicBool = AtomicBool::new(false);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);
static FAILING: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);
static MADE: AtomicU64 = AtomicU64::new(0);
static DESTROYED: AtomicU64 = AtomicU64::new(0);
static OPERATIONS: AtomicU64 = AtomicU64::new(0);

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % n
    }
}

/// [`Epoch`] whose memory fails, is counted, and is poisoned when it goes.
#[derive(Clone, Copy)]
struct Failing;

// SAFETY: all of it is `Epoch`'s.
unsafe impl Smr for Failing {
    type Guard = EpochGuard;
    fn pin(&self) -> EpochGuard {
        Epoch.pin()
    }
    // SAFETY: `Epoch`'s contract is the trait's.
    unsafe fn retire(&self, link: NonNull<Link>) {
        // SAFETY: the caller's contract.
        unsafe { Epoch.retire(link) }
    }
    fn assist(&self) {
        Epoch.assist();
    }
    fn barrier(&self) {
        Epoch.barrier();
    }
}

// SAFETY: `Epoch`'s memory, or none.
unsafe impl Memory for Failing {
    fn alloc_zeroed(&self, layout: Layout, flags: AllocFlags) -> Option<NonNull<u8>> {
        static DRAWN: AtomicU64 = AtomicU64::new(1);
        let drawn = DRAWN.fetch_add(0x9E37_79B9_7F4A_7C15, SeqCst);
        if Random(drawn | 1).below(1000) < FAILING.load(SeqCst) {
            FAILED.fetch_add(1, SeqCst);
            return None;
        }
        let block = Epoch.alloc_zeroed(layout, flags)?;
        BLOCKS.fetch_add(1, SeqCst);
        Some(block)
    }
    // SAFETY: `Epoch`'s contract is the trait's.
    unsafe fn dealloc(&self, ptr: NonNull<u8>, layout: Layout) {
        BLOCKS.fetch_sub(1, SeqCst);
        // SAFETY: still ours, and the caller's contract.
        unsafe {
            ptr.as_ptr().write_bytes(0xDD, layout.size());
            Epoch.dealloc(ptr, layout);
        }
    }
}

impl Platform for Failing {
    fn seed(&self) -> u64 {
        Epoch.seed()
    }
    fn relax(&self, flags: AllocFlags, round: u32) -> bool {
        Epoch.relax(flags, round)
    }
}

/// What a variable holds: more bytes may follow.
#[repr(C)]
struct Payload {
    state: AtomicU64,
    obj: AtomicUsize,
    check: AtomicU64,
}

fn check_of(obj: usize) -> u64 {
    (obj as u64).rotate_left(23) ^ LIVE
}

/// # Safety
/// `data` is a constructed variable's, kept by a guard or the caller's own.
unsafe fn verify(obj: usize, data: NonNull<u8>) {
    // SAFETY: the caller's contract.
    let payload = unsafe { data.cast::<Payload>().as_ref() };
    let state = payload.state.load(SeqCst);
    assert_eq!(state, LIVE, "{obj:#x} is not constructed, or destroyed");
    assert_eq!(payload.obj.load(SeqCst), obj, "another object's variable");
    assert_eq!(payload.check.load(SeqCst), check_of(obj));
}

/// # Safety
/// `data` is a constructed variable's of `obj`, and the caller's alone.
unsafe fn destroy(obj: usize, data: NonNull<u8>) {
    // SAFETY: the caller's contract.
    unsafe {
        verify(obj, data);
        let state = &data.cast::<Payload>().as_ref().state;
        assert_eq!(state.swap(GONE, SeqCst), LIVE, "destroyed once");
    }
    DESTROYED.fetch_add(1, SeqCst);
}

/// One of many destructors that do the same.
unsafe extern "C" fn dtor<const N: usize>(obj: *mut c_void, data: *mut c_void) {
    black_box(N);
    let data = NonNull::new(data.cast()).expect("data is somewhere");
    // SAFETY: the table's own call.
    unsafe { destroy(obj.addr(), data) }
}

macro_rules! dtors {
    // SAFETY: given to the types whose variables are made by `construct` only.
    ($($n:literal)*) => { [$(unsafe { Dtor::new(dtor::<$n>) }),*] };
}
const DTORS: [Dtor; 12] = dtors!(0 1 2 3 4 5 6 7 8 9 10 11);

fn construct(obj: usize, data: NonNull<u8>) {
    // SAFETY: fresh zeroed memory of a payload's size at least.
    let payload = unsafe { data.cast::<Payload>().as_ref() };
    assert_eq!(payload.state.load(SeqCst), 0, "zeroed");
    payload.obj.store(obj, SeqCst);
    payload.check.store(check_of(obj), SeqCst);
    payload.state.store(LIVE, SeqCst);
}

/// The operations of one thread on one type.
struct Worker<'a> {
    table: &'a Table<Failing>,
    registry: &'a ShadowTable<Failing>,
    objects: usize,
    random: Random,
}

impl Worker<'_> {
    fn object(&mut self) -> usize {
        // As in a slab; often one of a few that everybody wants, seldom NULL.
        let among = match self.random.below(1000) {
            0 => return 0,
            1..250 => 8,
            _ => self.objects as u64,
        };
        0xffff_8880_0000_0000 + self.random.below(among) as usize * 192
    }

    fn alloc(&mut self) {
        let obj = self.object();
        let cookie = if self.random.below(8) == 0 { 7 } else { 0 };
        let size = [24, 24, 24, 48, 56, 64, 120, 333][self.random.below(8) as usize];
        let fate = self.random.below(64);
        let made = catch_unwind(AssertUnwindSafe(|| {
            self.table
                .alloc_with_cookie(obj, cookie, size, FLAGS, |data| match fate {
                    0 => Err(()),
                    1 => resume_unwind(Box::new("a constructor that panics")),
                    _ => {
                        construct(obj, data);
                        // Before it can be found, and so freed.
                        MADE.fetch_add(1, SeqCst);
                        Ok(())
                    }
                })
        }));
        match made {
            Ok(Err(AllocError::Ctor(()))) => assert_eq!(fate, 0),
            Ok(Err(AllocError::Layout | AllocError::Busy)) => panic!("{made:?}"),
            Ok(_) => {}
            Err(_) => assert_eq!(fate, 1, "only this constructor panics"),
        }
    }

    fn look(&mut self) {
        let obj = self.object();
        let guard = Failing.pin();
        if let Some(data) = self.table.get(obj, &guard) {
            // SAFETY: under the guard.
            unsafe { verify(obj, data) };
        }
        if let Lookup::Live(data) = self.table.get_with_cookie(obj, 7, &guard) {
            // SAFETY: under the guard.
            unsafe { verify(obj, data) };
        }
    }

    fn look_at_many(&mut self) {
        let objs: Vec<usize> = (0..100).map(|_| self.object()).collect();
        let mut found = vec![None; objs.len()];
        let guard = Failing.pin();
        self.table.get_many(&objs, &mut found, &guard);
        for (&obj, data) in objs.iter().zip(found) {
            if let Some(data) = data {
                // SAFETY: under the guard.
                unsafe { verify(obj, data) }
            }
        }
        drop(guard);
        let mut session = self.table.session();
        for obj in objs {
            if let Some(data) = session.get(obj) {
                // SAFETY: valid until the session's next call.
                unsafe { verify(obj, data) }
            }
        }
    }

    fn free(&mut self) {
        let obj = self.object();
        match self.random.below(4) {
            0 => {
                self.table.free(obj);
            }
            _ => {
                let dtor = DTORS[self.random.below(DTORS.len() as u64) as usize];
                match self.table.free_with(obj, dtor) {
                    Ok(_) | Err(OutOfMemory) => {}
                }
            }
        }
    }

    /// A variable of the registry, without a destructor.
    fn register(&mut self) {
        let (obj, id) = (self.object(), self.random.below(6) * (u64::MAX / 5));
        match self.random.below(16) {
            0 => self.registry.free_all(id, None),
            1 => drop(self.registry.drop_type(id, FLAGS)),
            2..6 => drop(self.registry.free(obj, id)),
            6..9 => {
                // SAFETY: the variable's eight bytes.
                self.registry.free_now(obj, id, |data| unsafe {
                    assert_eq!(
                        data.cast::<AtomicU64>().as_ref().load(SeqCst),
                        obj as u64 ^ id
                    );
                });
            }
            _ => {
                let guard = Failing.pin();
                let made = self.registry.get_or_alloc(obj, id, 8, FLAGS, |data| {
                    // SAFETY: eight fresh bytes.
                    unsafe {
                        data.cast::<AtomicU64>()
                            .as_ref()
                            .store(obj as u64 ^ id, SeqCst)
                    };
                    Ok::<(), ()>(())
                });
                if let Ok(data) = made {
                    // SAFETY: under a guard older than the call.
                    let there = unsafe { data.cast::<AtomicU64>().as_ref().load(SeqCst) };
                    assert_eq!(there, obj as u64 ^ id);
                }
                drop(guard);
            }
        }
    }

    /// One operation; while `filling`, more variables are made than freed.
    fn step(&mut self, filling: bool) {
        let (alloc, free) = if filling { (450, 500) } else { (100, 500) };
        match self.random.below(1000) {
            n if n < alloc => self.alloc(),
            n if n < free => self.free(),
            500..900 => self.look(),
            900..910 => self.look_at_many(),
            910..998 => self.register(),
            // Seldom: they cost as much as the table is large.
            _ => match self.random.below(2000) {
                0 => self.table.free_all(Some(DTORS[0])),
                1..20 => {
                    // SAFETY: `for_each` holds a guard.
                    self.table
                        .for_each(|obj, data| unsafe { verify(obj, data) });
                }
                20..30 => Failing.barrier(),
                30..60 => drop(black_box(self.table.stats())),
                _ => self.look(),
            },
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    ctrlc::set_handler(|| STOP.store(true, SeqCst)).expect("a handler for Ctrl-C");
    let (begun, end) = (Instant::now(), Duration::from_secs(options.seconds));
    let tables = [1, 2].map(|id| Table::with_dtor(Failing, id, Some(DTORS[0]), FLAGS));
    let tables = tables.map(|table| table.expect("nothing fails yet"));
    let registry = ShadowTable::new(Failing);
    FAILING.store(options.failing.min(999), SeqCst);

    let filling = |at: Duration| (at.as_secs() / 10).is_multiple_of(2);
    let healthy = thread::scope(|s| {
        let workers: Vec<_> = (0..options.threads.max(1))
            .map(|n| {
                let (tables, registry) = (&tables, &registry);
                s.spawn(move || {
                    let mut workers = tables.each_ref().map(|table| Worker {
                        table,
                        registry,
                        objects: options.objects.max(1),
                        random: Random(n * 2 + table.id() + 1),
                    });
                    while !STOP.load(SeqCst) && begun.elapsed() < end {
                        let filling = filling(begun.elapsed());
                        for worker in &mut workers {
                            (0..256).for_each(|_| worker.step(filling));
                        }
                        OPERATIONS.fetch_add(512, SeqCst);
                    }
                })
            })
            .collect();
        let mut told = 0;
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(100));
            let at = begun.elapsed().as_secs();
            if at >= told + 10 {
                told = at;
                let live: usize = tables.iter().map(Table::live).sum();
                println!(
                    "{at} s: {} operations, {live} live, {} made, {} destroyed, {} blocks, {} \
                     allocations failed",
                    OPERATIONS.load(SeqCst),
                    MADE.load(SeqCst),
                    DESTROYED.load(SeqCst),
                    BLOCKS.load(SeqCst),
                    FAILED.load(SeqCst),
                );
            }
        }
        let ended: Vec<_> = workers
            .into_iter()
            .map(|worker| worker.join().is_ok())
            .collect();
        ended.iter().all(|ok| *ok)
    });

    drop((tables, registry));
    Failing.barrier();
    let (made, destroyed) = (MADE.load(SeqCst), DESTROYED.load(SeqCst));
    let blocks = BLOCKS.load(SeqCst);
    let ok = healthy && made == destroyed && blocks == 0 && made > 0;
    println!(
        "{}: {} operations in {} s, {made} made, {destroyed} destroyed, {blocks} blocks left, {} \
         allocations failed",
        if ok { "ok" } else { "FAILED" },
        OPERATIONS.load(SeqCst),
        begun.elapsed().as_secs(),
        FAILED.load(SeqCst),
    );
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
