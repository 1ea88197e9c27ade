//! A laboratory with an engine, and what a test asks of the two.

use super::*;

/// An engine with its lab.
pub struct Bench {
    pub engine: Engine,
    pub lab: Lab,
}

impl Bench {
    pub fn new() -> Self {
        Self::under(Rules::Umbra)
    }

    pub fn under(rules: Rules) -> Self {
        let mut lab = Lab::new();
        lab.rules = rules;
        Self {
            engine: Engine::new(1, rules),
            lab,
        }
    }

    /// Begins to enable: all planned, nothing called.
    pub fn begin(&mut self, mut patch: Patch) -> Result<(), Refusal> {
        if self.lab.rules == Rules::Mainline && patch.objects.is_empty() {
            objects(&mut patch);
        }
        let before = self.picture();
        let begun = self.engine.enable(patch, &mut self.lab);
        if begun.is_err() {
            assert_eq!(
                self.picture(),
                before,
                "S3: a refused request changes nothing"
            );
        }
        for state in self.engine.installed().states() {
            let gate = self.engine.installed().gate(state.id).unwrap();
            self.lab.gates.insert(state.id, std::ptr::from_ref(gate));
        }
        begun
    }

    pub fn run(&mut self) -> Status {
        let status = self.engine.run(&mut self.lab);
        self.audit();
        status
    }

    pub fn enable(&mut self, patch: Patch) -> Result<Status, Refusal> {
        self.begin(patch)?;
        Ok(self.run())
    }

    pub fn disable(&mut self, name: &str) -> Result<Status, Refusal> {
        let before = self.picture();
        let begun = self.engine.disable(name, &mut self.lab);
        if begun.is_err() {
            assert_eq!(
                self.picture(),
                before,
                "S3: a refused request changes nothing"
            );
        }
        begun?;
        Ok(self.run())
    }

    /// Enables, which must succeed, and says what was called.
    pub fn on(&mut self, patch: Patch) -> Vec<String> {
        self.lab.take();
        assert_eq!(self.enable(patch), Ok(Status::Completed));
        self.lab.take()
    }

    /// Disables, which must succeed, and says what was called.
    pub fn off(&mut self, name: &str) -> Vec<String> {
        self.lab.take();
        assert_eq!(self.disable(name), Ok(Status::Completed));
        self.lab.take()
    }

    /// Everything that a refusal, a failure or a reversal must leave alone:
    /// the patches, each state that is not dormant, its gate and shadows, and
    /// the hooks.
    pub fn picture(&self) -> (Vec<String>, BTreeMap<u64, String>, BTreeMap<usize, String>) {
        let installed = self.engine.installed();
        let patches = installed
            .patches()
            .iter()
            .map(|p| p.name.to_string())
            .collect();
        let states = installed.states().filter(|s| s.word.users() > 0 || s.open);
        let states = states
            .map(|s| (s.id, format!("{s:?} {}", self.lab.live(s.id))))
            .collect();
        (patches, states, self.lab.hooked.clone())
    }

    /// What holds between transitions (R9: the count equals a scan).
    pub fn audit(&self) {
        let installed = self.engine.installed();
        if installed.running().is_some() || self.lab.rules != Rules::Umbra {
            return;
        }
        for info in installed.states() {
            if matches!(info.word.phase(), Phase::Enabling | Phase::Disabling) {
                assert!(!info.open, "S5: nobody comes to a state in quarantine");
                assert!(!installed.pinned().is_empty(), "someone owes its clean-up");
                continue;
            }
            let users = installed
                .patches()
                .iter()
                .filter(|p| p.state(info.id).is_some())
                .count();
            assert_eq!(info.word.users() as usize, users, "state {}", info.id);
            let phase = if users == 0 { "dormant" } else { "active" };
            assert_eq!(info.word.phase().as_str(), phase, "state {}", info.id);
            assert_eq!(info.open, users > 0, "state {}", info.id);
            if users == 0 {
                assert_eq!(
                    self.lab.live(info.id),
                    0,
                    "no shadow outlives state {}",
                    info.id
                );
            }
        }
        let hooks = installed.patches().iter();
        let hooks = hooks.flat_map(|p| {
            let there = p.hooks.iter().filter(|h| h.function != Hook::GONE);
            there.map(|h| (h.function, p.name.to_string()))
        });
        assert_eq!(
            self.lab.hooked,
            hooks.collect(),
            "hooked is what enabled patches hook"
        );
    }
}
