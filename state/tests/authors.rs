//! What authors write: the use cases of the requirements, end to end.
//!
//! No callback here asks who else has the state, who replaces whom, or whether
//! it is being undone (r61): that is the engine's business.
#![allow(clippy::result_large_err, reason = "see the crate's own")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use umbra_shadow::{AllocFlags, Epoch, ShadowTable, Smr};
use umbra_state::{
    Callback, Engine, Errno, Gate, Host, Name, Patch, Progress, Reason, Replace, Rules, State,
    Status, Switch,
};

type Author = fn(&mut System) -> Result<(), Errno>;

/// A system that live patches change.
struct System {
    shadows: Arc<ShadowTable<Epoch>>,
    /// `sysctl_tcp_challenge_ack_limit`.
    limit: u64,
    /// Devices that were probed before the patch came.
    devices: Vec<usize>,
    /// What each state's author wrote, by callback.
    authors: BTreeMap<(u64, Callback), Author>,
    log: Vec<(u64, Callback)>,
}

impl System {
    fn new() -> Self {
        Self {
            shadows: Arc::new(ShadowTable::new(Epoch)),
            limit: 100,
            devices: (1..=1000).map(|n| n << 6).collect(),
            authors: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn live(&self, id: u64) -> usize {
        umbra_state::Shadows::live(&*self.shadows, id)
    }

    fn author(&mut self, id: u64, callback: Callback, does: Author) {
        self.authors.insert((id, callback), does);
    }
}

impl Host for System {
    fn call(&mut self, _: &Patch, state: &State, call: Callback, _: Reason) -> Result<(), Errno> {
        self.log.push((state.id, call));
        match self.authors.get(&(state.id, call)) {
            Some(does) => does(self),
            None => Ok(()),
        }
    }

    fn switch(&mut self, _: &Switch<'_>) -> Result<Progress, Errno> {
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, state: &State) {
        self.shadows.free_all(state.id, state.shadow_dtor);
    }

    fn barrier(&mut self) {
        Epoch.barrier();
    }
}

fn patch(called: &str, ids: &[u64]) -> Patch {
    let mut patch = Patch::new(Name::cut(called));
    patch.replace = Replace::All;
    for &id in ids {
        let mut state = State::new(id, Name::cut(&format!("s{id}")));
        state.is_shadow = true;
        patch.push_state(state).unwrap();
    }
    patch
}

fn on(engine: &mut Engine, system: &mut System, patch: Patch) {
    engine.enable(patch, system).unwrap();
    assert_eq!(engine.run(system), Status::Completed);
}

fn off(engine: &mut Engine, system: &mut System, name: &str) {
    engine.disable(name, system).unwrap();
    assert_eq!(engine.run(system), Status::Completed);
}

/// The limit is raised while the state lives; what it was is kept in a shadow of
/// the global, so no `state->data` is needed.
const LIMIT: u64 = 1;

fn limit_pre_patch(system: &mut System) -> Result<(), Errno> {
    let was = system.limit;
    let flags = AllocFlags::default();
    let made = system.shadows.alloc(0, LIMIT, 8, flags, |data| {
        // SAFETY: eight fresh bytes, aligned for anything.
        unsafe { data.cast::<u64>().write(was) };
        Ok::<(), ()>(())
    });
    made.map_or(Err(Errno::ENOMEM), |_| Ok(()))
}

fn limit_post_patch(system: &mut System) -> Result<(), Errno> {
    system.limit = u64::MAX;
    Ok(())
}

fn limit_pre_unpatch(system: &mut System) -> Result<(), Errno> {
    let guard = system.shadows.pin();
    if let Some(was) = system.shadows.get(0, LIMIT, &guard) {
        // SAFETY: the guard is held; `limit_pre_patch` wrote it.
        system.limit = unsafe { was.cast::<u64>().read() };
    }
    Ok(())
}

fn with_limit(system: &mut System) {
    system.author(LIMIT, Callback::PrePatch, limit_pre_patch);
    system.author(LIMIT, Callback::PostPatch, limit_post_patch);
    system.author(LIMIT, Callback::PreUnpatch, limit_pre_unpatch);
}

#[test]
fn r41_r61_a_global_is_changed_after_patching_and_put_back() {
    let (mut engine, mut system) = (Engine::new(0, Rules::Umbra), System::new());
    with_limit(&mut system);
    on(&mut engine, &mut system, patch("P1", &[LIMIT]));
    assert_eq!(system.limit, u64::MAX);
    // Through any series of patches that have the state, it is left alone.
    on(&mut engine, &mut system, patch("P2", &[LIMIT, 2]));
    on(&mut engine, &mut system, patch("P3", &[LIMIT]));
    assert_eq!(system.limit, u64::MAX);
    // And put back by whoever ends it, here a downgrade without it.
    on(&mut engine, &mut system, patch("P0", &[]));
    assert_eq!(system.limit, 100);
    assert_eq!(system.live(LIMIT), 0);
}

const DEVICE: u64 = 2;

fn probe_pre_patch(system: &mut System) -> Result<(), Errno> {
    // What the fixed probe function would have done for each of them.
    for &device in &system.devices {
        let flags = AllocFlags::default();
        let made = system
            .shadows
            .get_or_alloc(device, DEVICE, 16, flags, |_| Ok::<(), ()>(()));
        made.map_err(|_| Errno::ENOMEM)?;
    }
    Ok(())
}

#[test]
fn r42_r97_existing_devices_are_walked_and_nothing_of_them_is_freed_by_hand() {
    let (mut engine, mut system) = (Engine::new(0, Rules::Umbra), System::new());
    system.author(DEVICE, Callback::PrePatch, probe_pre_patch);
    on(&mut engine, &mut system, patch("P1", &[DEVICE]));
    let live = |system: &System| system.live(DEVICE);
    assert_eq!(live(&system), 1000);
    off(&mut engine, &mut system, "P1");
    assert_eq!(live(&system), 0);
}

#[test]
fn r50_the_four_callbacks_are_allocate_enable_disable_and_clean_up() {
    let (mut engine, mut system) = (Engine::new(0, Rules::Umbra), System::new());
    with_limit(&mut system);
    let has = |system: &System| system.live(LIMIT) == 1;
    // After each callback: the shadow is there, the change is on, the gate.
    let mut seen = Vec::new();
    let look = |engine: &Engine, system: &System| {
        let gate = engine.installed().gate(LIMIT).unwrap().is_open();
        (
            system.log.last().map(|l| l.1),
            has(system),
            system.limit == u64::MAX,
            gate,
        )
    };
    engine.enable(patch("P1", &[LIMIT]), &mut system).unwrap();
    while engine.step(&mut system) == Status::Working {
        seen.push(look(&engine, &system));
    }
    engine.disable("P1", &mut system).unwrap();
    while engine.step(&mut system) == Status::Working {
        seen.push(look(&engine, &system));
    }
    use Callback::{PostPatch, PostUnpatch, PrePatch, PreUnpatch};
    assert_eq!(
        seen,
        [
            (Some(PrePatch), true, false, false),
            (Some(PrePatch), true, false, false),
            (Some(PostPatch), true, true, true),
            (Some(PreUnpatch), true, false, false),
            (Some(PreUnpatch), true, false, false),
            (Some(PostUnpatch), false, false, false),
        ],
        "callback, allocated, enabled, gate"
    );
}

#[test]
fn r90_one_source_serves_every_patch_of_a_series() {
    // The author keeps one set of callbacks per change, and patches differ only
    // in which changes they name.
    let (mut engine, mut system) = (Engine::new(0, Rules::Umbra), System::new());
    with_limit(&mut system);
    system.author(DEVICE, Callback::PrePatch, probe_pre_patch);
    let series: [&[u64]; 5] = [&[LIMIT], &[LIMIT, DEVICE], &[DEVICE], &[DEVICE, LIMIT], &[]];
    for (at, ids) in series.iter().enumerate() {
        on(&mut engine, &mut system, patch(&format!("P{at}"), ids));
        assert_eq!(system.limit == u64::MAX, ids.contains(&LIMIT));
        let live = system.live(DEVICE);
        assert_eq!(live > 0, ids.contains(&DEVICE));
    }
}

/// A gate's address, as a trampoline has it.
struct At(*const Gate);

// SAFETY: a gate is an atomic word, and the engine outlives its readers here.
unsafe impl Send for At {}

impl At {
    fn is_open(&self) -> bool {
        // SAFETY: the engine lives until every thread has been joined.
        unsafe { (*self.0).is_open() }
    }
}

#[test]
fn r36_a_patched_reader_never_sees_uninitialised_data() {
    const MAGIC: u64 = 0x0123_4567_89ab_cdef;
    fn init(system: &mut System) -> Result<(), Errno> {
        for &device in &system.devices {
            let made = system
                .shadows
                .alloc(device, DEVICE, 64, AllocFlags::default(), |data| {
                    for word in 0..8 {
                        // SAFETY: 64 fresh bytes.
                        unsafe { data.cast::<u64>().add(word).write(MAGIC + word as u64) };
                    }
                    Ok::<(), ()>(())
                });
            made.map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }
    let (mut engine, mut system) = (Engine::new(0, Rules::Umbra), System::new());
    system.devices.truncate(32);
    system.author(DEVICE, Callback::PrePatch, init);
    let devices = system.devices.clone();
    let table = system.shadows.clone();
    // The slot is made by the first plan that names the id.
    on(&mut engine, &mut system, patch("P0", &[DEVICE]));
    off(&mut engine, &mut system, "P0");
    let (seen, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let rounds = if cfg!(miri) { 3 } else { 200 };
    thread::scope(|scope| {
        let at = At(engine.installed().gate(DEVICE).unwrap());
        let (seen, stop) = (&seen, &stop);
        scope.spawn(move || {
            // SeqCst: the test's own flags.
            while !stop.load(Ordering::SeqCst) {
                for &device in &devices {
                    let guard = table.pin();
                    if !at.is_open() {
                        continue;
                    }
                    // The gate may close now; what is found is whole until the
                    // guard goes.
                    if let Some(data) = table.get(device, DEVICE, &guard) {
                        for word in 0..8 {
                            // SAFETY: the guard is held.
                            let value = unsafe { data.cast::<u64>().add(word).read() };
                            assert_eq!(value, MAGIC + word as u64);
                        }
                        seen.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        let mut round = 0;
        while round < rounds || (seen.load(Ordering::SeqCst) == 0 && round < 100 * rounds) {
            on(&mut engine, &mut system, patch("P1", &[DEVICE]));
            thread::yield_now();
            off(&mut engine, &mut system, "P1");
            round += 1;
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(seen.into_inner() > 0, "the reader met an open gate");
}

#[test]
fn a_callback_may_sleep_allocate_and_use_the_table_but_not_enable_a_patch() {
    static CONTROL: Mutex<Option<Engine>> = Mutex::new(None);
    fn busy(system: &mut System) -> Result<(), Errno> {
        thread::sleep(std::time::Duration::from_millis(1));
        let _memory = vec![0_u8; 4096];
        probe_pre_patch(system)?;
        // A host that keeps its engine behind a lock refuses from inside.
        match CONTROL.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Errno::EBUSY),
            _ => Ok(()),
        }
    }
    let mut system = System::new();
    system.author(3, Callback::PrePatch, busy);
    let mut control = CONTROL.lock().unwrap();
    let engine = control.insert(Engine::new(0, Rules::Umbra));
    engine
        .enable(patch("A", &[DEVICE, 3]), &mut system)
        .unwrap();
    let Status::Undone(cause) = engine.run(&mut system) else {
        panic!("the author insisted");
    };
    assert_eq!(cause.errno(), Errno::EBUSY);
    assert_eq!(system.live(DEVICE), 0);
}
