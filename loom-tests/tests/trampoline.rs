//! The trampoline's protocol: a call that comes in while hooks open, close and
//! go away.
//!
//! ```text
//!  a task:    in ── slot's word ── null? ─────────────────────────── original
//!                       │ target
//!                       └── preemption off: has the object a shadow? ── original
//!                                                │ yes
//!                                                └── replacement: state, shadow ── out
//!  the engine: ... post_patch, gate and slot open ... slot closed, pre_unpatch,
//!              switch: detach, wait for the tasks inside ── post_unpatch, shadows go
//! ```
//! The engine, its gate and the table are the real ones. The slot and the host
//! repeat `kmod/rust/src/slots.rs` and `patches.rs`, whose statics cannot be
//! built on loom's atomics; the trampoline repeats `trampoline.S`. A task is in
//! kernel code and does not sleep, so the grace period of tasks is that of
//! `Rcu` over the whole call.
//!
//! The last models leave a step out and have to fail.
#![allow(clippy::result_large_err, reason = "see umbra-state")]

use std::ptr::{NonNull, null_mut};

use loom::alloc::Track;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use loom::thread;
use umbra_loom::{Payload, Rcu, explore};
use umbra_shadow::{Smr, Table};
use umbra_state::{
    Callback, Engine, Errno, Event, Hook, Host, Name, Patch, Progress, Reason, Rules, State,
    Status, Switch,
};

const OBJECT: usize = 0x1000;
const FUNCTION: usize = 0x10;
const ANOTHER: usize = 0x20;

/// What an open slot leads to.
struct Target {
    function: usize,
    table: Table<Rcu>,
    /// Read through, so that loom reports a use after the drop.
    alive: Track<()>,
}

/// What the module and the tasks share.
struct Kernel {
    /// Read-side sections with preemption off.
    rcu: Rcu,
    /// Tasks in a trampoline or a replacement.
    tasks: Rcu,
    slot: AtomicPtr<Target>,
    /// The function whose entry calls the trampoline; 0 for none.
    attached: AtomicUsize,
    /// What post_patch makes and post_unpatch takes away.
    made: UnsafeCell<Option<Track<u32>>>,
}

/// Where a call went.
#[derive(Debug, PartialEq, Eq)]
enum Went {
    Original,
    Replacement,
}

impl Kernel {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            rcu: Rcu::new(),
            tasks: Rcu::new(),
            slot: AtomicPtr::new(null_mut()),
            attached: AtomicUsize::new(0),
            made: UnsafeCell::new(None),
        })
    }

    /// A call of the hooked function: trampoline.S, then `umbra_rs_decide`.
    fn call(&self, function: usize) -> Went {
        let task = self.tasks.pin();
        // Relaxed: the function's text. Who misses a change of it has entered
        // before, and the switch waits for its task.
        if self.attached.load(Ordering::Relaxed) != function {
            return Went::Original;
        }
        // Acquire: as any load on x86; pairs with the release in `store`.
        let target = self.slot.load(Ordering::Acquire);
        let Some(target) = NonNull::new(target) else {
            return Went::Original;
        };
        // SAFETY: a target outlives the tasks that may have found it, which is
        // what the models are about.
        let target = unsafe { target.as_ref() };
        let () = target.alive.get_ref().to_owned();
        assert_eq!(target.function, function, "another function's target");
        let has = {
            let guard = self.rcu.pin();
            target.table.get(OBJECT, &guard).is_some()
        };
        if !has {
            return Went::Original;
        }
        self.replacement(target);
        drop(task);
        Went::Replacement
    }

    /// New code: it may use the state, and the object's shadow.
    fn replacement(&self, target: &Target) {
        self.made.with(|made| {
            // SAFETY: the gate was open, so it is made and not yet taken away.
            let made = unsafe { (*made).as_ref() };
            assert_eq!(made.map(|m| *m.get_ref()), Some(7), "not made, or gone");
        });
        let shadow = Payload::look(&target.table, OBJECT);
        assert_eq!(shadow, Some(9), "shadows outlive the code that uses them");
    }

    /// `Slots::store`.
    fn store(&self, target: *mut Target) {
        // Release: pairs with the load in the trampoline.
        self.slot.store(target, Ordering::Release);
    }
}

/// A step that a host leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The wait for tasks in the switch.
    Tasks,
    /// The gate: the slot opens at the switch.
    Gate,
}

/// The module, as far as one hook goes.
struct Module {
    kernel: Arc<Kernel>,
    table: Table<Rcu>,
    /// The target of the patch's hook; owned, freed with the patch.
    target: *mut Target,
    without: Without,
}

impl Module {
    fn new(kernel: &Arc<Kernel>, without: Without) -> Self {
        let table = kernel.rcu.table();
        Self {
            kernel: kernel.clone(),
            target: Self::target(&table, FUNCTION),
            table,
            without,
        }
    }

    fn target(table: &Table<Rcu>, function: usize) -> *mut Target {
        Box::into_raw(Box::new(Target {
            function,
            table: table.clone(),
            alive: Track::new(()),
        }))
    }

    /// The slot is released, and hooks another function.
    fn reuse(&mut self) {
        // SAFETY: made by `into_raw`, and no task is inside any more.
        drop(unsafe { Box::from_raw(self.target) });
        self.target = Self::target(&self.table, ANOTHER);
        self.attach(ANOTHER);
        self.kernel.store(self.target);
    }

    fn attach(&self, function: usize) {
        // Relaxed: as its load.
        self.kernel.attached.store(function, Ordering::Relaxed);
    }

    /// `Slots::detach`, and the wait for tasks.
    fn detach(&self) {
        self.kernel.store(null_mut());
        self.attach(0);
        if self.without != Without::Tasks {
            self.kernel.tasks.synchronize();
        }
    }

    /// The patch is gone: its target goes, and its module's memory.
    fn unload(self) {
        // SAFETY: made by `into_raw`, and no task is inside any more.
        drop(unsafe { Box::from_raw(self.target) });
        let Self { kernel, table, .. } = self;
        drop(table);
        kernel.rcu.barrier();
    }
}

impl Host for Module {
    fn call(&mut self, _: &Patch, _: &State, callback: Callback, _: Reason) -> Result<(), Errno> {
        let make = |value| {
            self.kernel.made.with_mut(|made| {
                // SAFETY: nobody is in new code now, which is what the models
                // are about.
                unsafe { *made = value };
            });
        };
        match callback {
            Callback::PrePatch => assert!(Payload::put(&self.table, OBJECT, 9)),
            Callback::PostPatch => make(Some(Track::new(7))),
            Callback::PreUnpatch => {}
            Callback::PostUnpatch => make(None),
        }
        Ok(())
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno> {
        for change in switch.changes() {
            let Some(to) = change.to else {
                self.detach();
                continue;
            };
            self.attach(to.hook.function);
            if to.gate.is_open() || self.without == Without::Gate {
                self.kernel.store(self.target);
            }
        }
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, _: &State) {
        self.table.free_all(Some(Payload::DESTROY));
    }

    fn barrier(&mut self) {
        self.kernel.rcu.barrier();
    }

    fn event(&mut self, event: &Event<'_>) {
        // `Slots::gate`.
        if let Event::Gate(_, open) = event {
            let target = if *open { self.target } else { null_mut() };
            self.kernel.store(target);
        }
    }
}

fn patch() -> Patch {
    let mut patch = Patch::new(Name::cut("A"));
    let mut state = State::new(1, Name::EMPTY);
    state.is_shadow = true;
    patch.push_state(state).unwrap();
    patch
        .push_hook(Hook::new(FUNCTION, Name::EMPTY, 1))
        .unwrap();
    patch
}

fn enable(engine: &mut Engine, module: &mut Module) {
    engine.enable(patch(), module).unwrap();
    assert_eq!(engine.run(module), Status::Completed);
}

fn disable(engine: &mut Engine, module: &mut Module) {
    engine.disable("A", module).unwrap();
    assert_eq!(engine.run(module), Status::Completed);
}

fn caller(kernel: &Arc<Kernel>) -> thread::JoinHandle<Went> {
    let kernel = kernel.clone();
    thread::spawn(move || kernel.call(FUNCTION))
}

fn call_against_enable(without: Without) {
    let kernel = Kernel::new();
    let mut module = Module::new(&kernel, without);
    let mut engine = Engine::new(0, Rules::Umbra);
    let call = caller(&kernel);
    enable(&mut engine, &mut module);
    call.join().unwrap();
    assert_eq!(kernel.call(FUNCTION), Went::Replacement);
    disable(&mut engine, &mut module);
    module.unload();
}

fn call_against_disable(without: Without) {
    let kernel = Kernel::new();
    let mut module = Module::new(&kernel, without);
    let mut engine = Engine::new(0, Rules::Umbra);
    enable(&mut engine, &mut module);
    let call = caller(&kernel);
    disable(&mut engine, &mut module);
    module.reuse();
    // The other function's object has no shadow any more.
    assert_eq!(kernel.call(ANOTHER), Went::Original);
    call.join().unwrap();
    module.detach();
    module.unload();
}

/// S4: who is diverted finds the state made and the shadow there.
#[test]
fn r37_call_against_enable() {
    explore("call | enable", None, || {
        call_against_enable(Without::Nothing);
    });
}

/// S5, R38: who is inside is waited for before anything goes, the target and
/// the slot included.
#[test]
fn r38_call_against_disable_and_unload() {
    explore("call | disable, unload, slot reused", None, || {
        call_against_disable(Without::Nothing);
    });
}

/// Two calls at once, of which the switch has to wait for both.
#[test]
fn r38_two_calls_against_disable() {
    explore("call | call | disable, unload", Some(3), || {
        let kernel = Kernel::new();
        let mut module = Module::new(&kernel, Without::Nothing);
        let mut engine = Engine::new(0, Rules::Umbra);
        enable(&mut engine, &mut module);
        let calls = [caller(&kernel), caller(&kernel)];
        disable(&mut engine, &mut module);
        for call in calls {
            call.join().unwrap();
        }
        module.unload();
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn r37_without_the_gate_new_code_comes_before_post_patch() {
    explore("call | enable, no gate", None, || {
        call_against_enable(Without::Gate);
    });
}

#[test]
#[should_panic(expected = "another function's target")]
fn r38_without_the_wait_for_tasks_the_state_goes_under_them() {
    explore("call | disable, no wait for tasks", None, || {
        call_against_disable(Without::Tasks);
    });
}
