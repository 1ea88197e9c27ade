//! A host that runs transitions on real shadow tables and writes down what it
//! is asked to do, checking at each call what must hold at that moment.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
use umbra_shadow::{AllocFlags, Dtor, Epoch, ShadowTable, Smr};
use umbra_state::{
    Callback, Direction, Engine, Errno, Event, Gate, Hook, Host, Name, Object, ObjectCall, Patch,
    Phase, Progress, Reason, Refusal, Replace, Rules, Shadows, State, Status, Switch,
};

mod bench;
pub use bench::Bench;

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A state with shadows that is called after its id.
pub fn state(id: u64) -> State {
    let mut state = State::new(id, name(&format!("s{id}")));
    state.is_shadow = true;
    state
}

pub fn patch(called: &str, states: impl IntoIterator<Item = State>) -> Patch {
    let mut patch = Patch::new(name(called));
    for state in states {
        patch.push_state(state).unwrap();
    }
    patch
}

/// A patch with plain states of these ids, beside others.
pub fn beside(called: &str, ids: &[u64]) -> Patch {
    patch(called, ids.iter().copied().map(state))
}

/// A patch with plain states of these ids, in place of others.
pub fn instead(called: &str, ids: &[u64]) -> Patch {
    let mut patch = beside(called, ids);
    patch.replace = Replace::All;
    patch
}

/// The tokens of one state: what ran and waits for its counterpart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub pre: bool,
    pub post: bool,
}

/// How many objects a `pre_patch` attaches a shadow to.
pub const SHADOWS: usize = 3;

pub struct Lab {
    /// Which of the process's labs this is.
    number: u64,
    pub shadows: ShadowTable<Epoch>,
    pub trace: Vec<String>,
    pub reasons: Vec<Reason>,
    pub refused: Vec<Refusal>,
    pub ledger: BTreeMap<u64, Ledger>,
    /// `(patch, state)` whose `pre_patch` fails, with what.
    pub failing: BTreeMap<(String, u64), Errno>,
    /// How often the switch stalls before it is done, each way.
    pub stalls: usize,
    /// What the switch fails with.
    pub switch_fails: Option<Errno>,
    /// Which `(function, patch)` is hooked.
    pub hooked: BTreeMap<usize, String>,
    pub gates: BTreeMap<u64, *const Gate>,
    pub barriers: usize,
    pub rules: Rules,
    /// What `quiescent` answers.
    pub quiescent: bool,
    /// Except for the patch of this name.
    pub lingers: &'static str,
    /// The patches that a task may run code of, and the states that it uses: the
    /// oracle of S5, which knows nothing of what the engine thinks.
    pub inside: BTreeMap<String, BTreeSet<u64>>,
    /// Whom forcing the transition that is begun would leave a task inside of, if
    /// it goes forward and if it goes back.
    pub outs: [BTreeMap<String, BTreeSet<u64>>; 2],
    /// The objects that cannot be redirected.
    pub unpatchable: BTreeSet<u64>,
    /// What `klp_get_prev_state()` gave each `pre_patch`: a version.
    pub previous: Vec<Option<u32>>,
    /// `(patch, state, callback)` that panics once.
    pub panics: Option<(String, u64, Callback)>,
    /// How many destructors had run on this thread at each of these moments.
    pub order: Vec<(String, usize)>,
    /// After so many more moments at which a host may panic, it does, once.
    pub trip_in: Option<usize>,
    /// A switch panicked, so the next one may find its work done.
    half: bool,
    freed: BTreeSet<u64>,
    /// Freed, and no barrier has come since: their destructors may still run.
    unwaited: BTreeSet<u64>,
}

impl Lab {
    pub fn new() -> Self {
        // Relaxed: a number of its own is all that it takes.
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        DTORS.lock().unwrap().insert(number, Vec::new());
        Self {
            number,
            shadows: ShadowTable::new(Epoch),
            trace: Vec::new(),
            reasons: Vec::new(),
            refused: Vec::new(),
            ledger: BTreeMap::new(),
            failing: BTreeMap::new(),
            stalls: 0,
            switch_fails: None,
            hooked: BTreeMap::new(),
            gates: BTreeMap::new(),
            barriers: 0,
            rules: Rules::Umbra,
            quiescent: false,
            lingers: "",
            inside: BTreeMap::new(),
            outs: [const { BTreeMap::new() }; 2],
            unpatchable: BTreeSet::new(),
            previous: Vec::new(),
            panics: None,
            order: Vec::new(),
            trip_in: None,
            half: false,
            freed: BTreeSet::new(),
            unwaited: BTreeSet::new(),
        }
    }

    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    pub fn live(&self, id: u64) -> usize {
        self.shadows.live(id)
    }

    pub fn fail(&mut self, patch: &str, state: u64, errno: i32) {
        self.failing.insert((patch.into(), state), Errno(errno));
    }

    /// Attaches a shadow to each of the lab's objects.
    fn attach(&self, id: u64) {
        for obj in 1..=SHADOWS {
            let ctor = |data: std::ptr::NonNull<u8>| {
                // SAFETY: eight fresh bytes, aligned for anything.
                let data = unsafe { data.cast::<u64>().as_mut() };
                assert_eq!(*data, 0, "a new variable is zeroed");
                *data = 0x5ade << 48 | self.number << 16 | id & 0xffff;
                Ok::<(), ()>(())
            };
            let made = self
                .shadows
                .alloc(obj << 8, id, 8, AllocFlags::default(), ctor);
            // Elsewhere what was left behind is found here again.
            assert!(made.is_ok() || self.rules != Rules::Umbra);
        }
    }

    /// What must hold when a callback of a state is called.
    fn check(&mut self, _: &Patch, state: &State, callback: Callback, fails: bool) {
        // R23, R24: each callback takes its counterpart's token. A hand-over
        // keeps the token and changes only who will take it back.
        let id = state.id;
        let open = self.open(id);
        let ledger = self.ledger.entry(id).or_default();
        assert!(
            !open,
            "S4: no callback of a state runs while its gate is open: {:?}",
            self.trace
        );
        // One that the patch leaves out counts as having run (R15, R18).
        let has = |callback| state.callbacks.contains(callback);
        let had_pre = ledger.pre || !has(Callback::PrePatch);
        let had_post = ledger.post || !has(Callback::PostPatch);
        let right = match callback {
            Callback::PrePatch => !ledger.pre,
            Callback::PostPatch => had_pre && !ledger.post,
            Callback::PreUnpatch => had_post,
            Callback::PostUnpatch => had_pre && (!ledger.post || !has(Callback::PreUnpatch)),
        };
        assert!(right, "{ledger:?} {:?}", self.trace);
        match callback {
            Callback::PrePatch => ledger.pre = !fails,
            Callback::PostPatch => ledger.post = true,
            Callback::PreUnpatch => ledger.post = false,
            Callback::PostUnpatch => ledger.pre = false,
        }
    }

    /// S5: nobody may still run code that uses the state.
    fn unused(&self, id: u64) {
        let by = self.inside.iter().find(|(_, ids)| ids.contains(&id));
        assert!(
            by.is_none() || self.rules != Rules::Umbra,
            "S5: state {id} is cleaned up while a task may run {by:?}: {:?}",
            self.trace
        );
    }

    /// Writes down how many destructors have run by now.
    fn note(&mut self, what: &str) {
        let ran = DTORS.lock().unwrap()[&self.number].len();
        self.order.push((what.into(), ran));
    }

    /// The destructors of this lab's variables that ran since the last call, as
    /// state ids (their low 16 bits).
    pub fn dtors(&mut self) -> Vec<u64> {
        std::mem::take(DTORS.lock().unwrap().get_mut(&self.number).unwrap())
    }

    /// A moment at which a host may panic.
    fn moment(&mut self, what: &str) {
        match &mut self.trip_in {
            None => {}
            Some(0) => {
                self.trip_in = None;
                self.trace.push(format!("panic in {what}"));
                panic!("as asked, in {what}");
            }
            Some(left) => *left -= 1,
        }
    }

    /// Panics if it is time to.
    fn trip(&mut self, patch: &Patch, id: u64, callback: Callback) {
        if self.panics == Some((patch.name.to_string(), id, callback)) {
            self.panics = None;
            panic!("as asked");
        }
    }

    fn open(&self, id: u64) -> bool {
        // SAFETY: the engine outlives the lab's calls, and a gate does not move
        // or go while its engine lives.
        self.gates
            .get(&id)
            .is_some_and(|&gate| unsafe { (*gate).is_open() })
    }
}

// SAFETY: given to the lab's own variables only.
const DTOR: Dtor = unsafe { Dtor::new(dtor) };
unsafe extern "C" fn dtor(_: *mut c_void, data: *mut c_void) {
    // SAFETY: the lab's variables are one u64, constructed by `call`.
    let token = unsafe { *data.cast::<u64>() };
    assert_eq!(
        token >> 48,
        0x5ade,
        "the destructor sees what the constructor wrote"
    );
    let number = token >> 16 & 0xffff_ffff;
    // A lab that has gone asks no more.
    if let Some(ran) = DTORS.lock().unwrap().get_mut(&number) {
        ran.push(token & 0xffff);
    }
}

/// The states whose destructors ran, by lab: any thread's barrier may run those
/// of any other's, for the epochs are the whole process's.
static DTORS: Mutex<BTreeMap<u64, Vec<u64>>> = Mutex::new(BTreeMap::new());
/// The labs so far.
static LABS: AtomicU64 = AtomicU64::new(0);

impl Drop for Lab {
    fn drop(&mut self) {
        DTORS.lock().unwrap().remove(&self.number);
    }
}

impl Host for Lab {
    fn call(
        &mut self,
        patch: &Patch,
        state: &State,
        callback: Callback,
        reason: Reason,
    ) -> Result<(), Errno> {
        let id = state.id;
        let failing = self.failing.get(&(patch.name.to_string(), id)).copied();
        let fails = if callback == Callback::PrePatch {
            failing
        } else {
            None
        };
        let mark = if fails.is_some() { "!ERR" } else { "" };
        self.trace
            .push(format!("{}.{id}.{callback}{mark}", patch.name));
        self.reasons.push(reason);
        assert!(state.callbacks.contains(callback));

        if self.rules == Rules::Umbra {
            self.check(patch, state, callback, fails.is_some());
        }
        if callback == Callback::PostUnpatch {
            self.unused(id);
            self.note(&format!("{id}.post_unpatch"));
        }
        if callback == Callback::PrePatch && self.rules == Rules::Umbra {
            assert!(
                !self.unwaited.contains(&id),
                "state {id} begins anew before the destructors of its last life: {:?}",
                self.trace
            );
        }
        // Also one that fails: what it attached must not stay (D4).
        if callback == Callback::PrePatch && state.is_shadow {
            self.attach(id);
        }
        if callback == Callback::PrePatch && self.trip_in == Some(0) {
            // As one that fails, it is its own business to leave nothing.
            self.ledger.entry(id).or_default().pre = false;
        }
        self.moment("a callback");
        self.trip(patch, id, callback);
        fails.map_or(Ok(()), Err)
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<Progress, Errno> {
        let careful = !std::mem::replace(&mut self.half, true);
        self.moment("switch");
        if let (Direction::Forward, Some(errno)) = (switch.direction(), self.switch_fails) {
            self.half = false;
            return Err(errno);
        }
        if switch.forced() {
            self.trace.push("forced".into());
        } else if self.stalls > 0 {
            self.stalls -= 1;
            self.half = false;
            return Ok(Progress::Pending);
        }
        // A switch that was not forced has seen every task on its side.
        let outs = &self.outs[usize::from(switch.direction() == Direction::Back)];
        if switch.forced() {
            self.inside.extend(outs.clone());
        } else {
            let gone = self.outs.iter().flat_map(BTreeMap::keys);
            gone.for_each(|name| drop(self.inside.remove(name)));
        }
        // A switch that stalled has changed nothing here, so on its way back it
        // may find the hooks as they should be.
        let forward = switch.direction() == Direction::Forward && careful;
        for change in switch.changes() {
            if let Some(from) = change.from {
                let was = self.hooked.remove(&from.hook.function);
                let right = was.as_deref() == Some(from.patch.name.as_str());
                assert!(!forward || right || self.rules != Rules::Umbra);
            }
            if let Some(to) = change.to {
                let was = self
                    .hooked
                    .insert(to.hook.function, to.patch.name.to_string());
                assert!(!forward || was.is_none() || self.rules != Rules::Umbra);
            }
        }
        if !switch.forced() {
            self.trace.push("switch".into());
        }
        self.moment("switch, done");
        self.half = false;
        Ok(Progress::Done)
    }

    fn free_shadows(&mut self, _: &Patch, state: &State) {
        self.unused(state.id);
        self.moment("free_shadows");
        self.trace.push(format!("free({})", state.id));
        self.note(&format!("free({})", state.id));
        self.shadows
            .free_all(state.id, state.shadow_dtor.or(Some(DTOR)));
        self.unwaited.insert(state.id);
        self.moment("free_shadows, done");
        self.freed.insert(state.id);
    }

    fn barrier(&mut self) {
        self.moment("barrier");
        self.barriers += 1;
        self.note("barrier");
        Epoch.barrier();
        self.unwaited.clear();
        self.moment("barrier, done");
    }

    fn call_object(&mut self, call: &ObjectCall<'_>) -> Result<(), Errno> {
        let (id, callback) = (call.object.cookie as u64, call.callback);
        let failing = self
            .failing
            .get(&(call.patch.name.to_string(), id))
            .copied();
        let fails = failing.filter(|_| callback == Callback::PrePatch);
        let mark = if fails.is_some() { "!ERR" } else { "" };
        self.trace
            .push(format!("{}.{id}.{callback}{mark}", call.patch.name));
        self.reasons.push(call.reason);
        match callback {
            Callback::PrePatch => {
                let previous = call.prev_state(id);
                self.previous.push(previous.map(|state| state.version));
                // A state that is there is taken over.
                if previous.is_none() {
                    self.attach(id);
                }
            }
            // Its author frees by hand.
            Callback::PostUnpatch => {
                self.trace.push(format!("free({id})"));
                self.shadows.free_all(id, Some(DTOR));
            }
            _ => {}
        }
        fails.map_or(Ok(()), Err)
    }

    fn patch_object(&mut self, patch: &Patch, object: &Object) -> Result<(), Errno> {
        if self.unpatchable.contains(&(object.cookie as u64)) {
            self.trace
                .push(format!("{}.{}.patch!ERR", patch.name, object.cookie));
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    fn quiescent(&mut self, patch: &Patch) -> bool {
        self.moment("quiescent");
        let name = patch.name.as_str();
        self.quiescent && name != self.lingers && !self.inside.contains_key(name)
    }

    fn event(&mut self, event: &Event<'_>) {
        self.moment("event");
        match event {
            Event::Refused(refusal) => self.refused.push(**refusal),
            Event::Removed(patch) => {
                let waits = |s: &&State| self.unwaited.contains(&s.id);
                assert!(
                    self.rules != Rules::Umbra || patch.states.iter().find(waits).is_none(),
                    "{} may be unloaded before its destructors have run: {:?}",
                    patch.name,
                    self.trace
                );
                self.note(&format!("removed({})", patch.name));
            }
            Event::Ended(..) => self.note("ended"),
            Event::Reversed(_) => self.trace.push("reverse".into()),
            Event::Quarantined(patch, state) => self
                .trace
                .push(format!("quarantine({}.{})", patch.name, state.id)),
            Event::Pinned(patch) => self.trace.push(format!("pin({})", patch.name)),
            Event::Disagrees {
                patch,
                state,
                other,
                what,
            } => self
                .trace
                .push(format!("{}/{other}: {}.{what}", patch.name, state.id)),
            _ => {}
        }
    }
}

/// Gives the patch an object for each state, with the state's callbacks, as its
/// author would have to under mainline.
pub fn objects(patch: &mut Patch) {
    for state in &patch.states {
        let mut object = Object::new(state.name);
        object.callbacks = state.callbacks;
        object.cookie = state.id as usize;
        patch.objects.push(object);
    }
}

pub fn hook(function: usize, state: u64) -> Hook {
    Hook::new(function, name(&format!("f{function}")), state)
}
