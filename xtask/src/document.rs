//! The module's JSON document (`kmod/rust/src/json.rs`), as a guest sends it.
//!
//! busybox has nothing that reads JSON, so the script sends the file line by line and
//! the host judges it: that it is JSON, that it has these fields and no others, and
//! that its parts agree with each other.

use serde::Deserialize;

/// What the module calls its schema.
const SCHEMA: u32 = 1;

/// The whole document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: u32,
    version: String,
    patches: Vec<Patch>,
    states: Vec<State>,
    types: Vec<Type>,
    hooks: Vec<Hook>,
    #[serde(deserialize_with = "Option::deserialize")]
    calls: Option<Calls>,
    reclaim: Reclaim,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    name: String,
    livepatch: bool,
    states: Vec<u64>,
    hooks: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    id: u64,
    name: String,
    users: u32,
    phase: Phase,
    open: bool,
    #[expect(dead_code, reason = "any number will do")]
    generation: u64,
    live: u64,
    #[serde(deserialize_with = "Option::deserialize")]
    quarantined: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Dormant,
    Enabling,
    Active,
    Disabling,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Type {
    id: u64,
    live: u64,
    bytes: u64,
    pending: u64,
    lines: u64,
    longest: u64,
    attic: u64,
    splits: u64,
    merges: u64,
    generation: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hook {
    slot: usize,
    function: String,
    patch: String,
    state: u64,
    open: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Calls {
    hit: u64,
    miss: u64,
    diverted: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reclaim {
    running: bool,
    steps: u64,
    slices: u64,
    longest_ns: u64,
    slice_ns: u64,
}

/// What is wrong with a document, if anything is.
pub(crate) fn judge(text: &str) -> Result<(), String> {
    let document: Document = serde_json::from_str(text).map_err(|e| e.to_string())?;
    document.agrees()
}

/// An error that says what does not hold.
fn claim(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Document {
    fn state(&self, id: u64) -> Result<&State, String> {
        let found = self.states.iter().find(|s| s.id == id);
        found.ok_or_else(|| format!("state {id} is named and not listed"))
    }

    /// Whether its parts agree. Nothing may change while it is written.
    fn agrees(&self) -> Result<(), String> {
        claim(self.schema == SCHEMA, || {
            format!("schema {} instead of {SCHEMA}", self.schema)
        })?;
        claim(!self.version.is_empty(), || "no version".into())?;
        for patch in &self.patches {
            for id in &patch.states {
                let users = self.state(*id)?.users;
                claim(users > 0, || {
                    format!("{} has state {id}, which has no users", patch.name)
                })?;
            }
            let hooks = self.hooks.iter().filter(|h| h.patch == patch.name).count();
            // A hook whose module unloaded is gone, its patch is not.
            claim(
                hooks <= patch.hooks && !(patch.livepatch && hooks > 0),
                || format!("{} has {} hooks, {hooks} listed", patch.name, patch.hooks),
            )?;
        }
        for state in &self.states {
            let idle = state.phase == Phase::Dormant;
            let of = self.patches.iter().filter(|p| p.states.contains(&state.id));
            claim(
                state.users as usize == of.count() || state.quarantined.is_some(),
                || format!("state {} ({}): wrong users", state.id, state.name),
            )?;
            claim(!idle || !state.open && state.users == 0, || {
                format!("state {} is dormant, and open or used", state.id)
            })?;
            let live = self.types.iter().find(|t| t.id == state.id);
            claim(live.map_or(0, |t| t.live) == state.live, || {
                format!("state {}: {} shadows live", state.id, state.live)
            })?;
        }
        for t in &self.types {
            let room = t.lines * 7 + t.attic;
            claim(
                t.live <= room.max(1) && t.attic <= t.live && t.longest <= t.live,
                || format!("type {}: impossible figures: {t:?}", t.id),
            )?;
            claim(t.live + t.pending > 0 || t.bytes == 0, || {
                format!("type {}: bytes of nothing", t.id)
            })?;
            claim(t.merges <= t.splits, || {
                format!("type {}: merges of what was never split: {t:?}", t.id)
            })?;
            claim(t.splits == 0 || t.lines > 0 || t.generation > 0, || {
                format!("type {}: splits without lines: {t:?}", t.id)
            })?;
        }
        for hook in &self.hooks {
            let open = self.state(hook.state)?.open;
            claim(hook.open == open && hook.slot < 64, || {
                format!("{}: its gate is not its state's", hook.function)
            })?;
        }
        let calls = self.calls.as_ref();
        claim(calls.is_none_or(|c| c.diverted <= c.hit + c.miss), || {
            "more calls diverted than seen".into()
        })?;
        let r = &self.reclaim;
        claim(
            r.slice_ns > 0 && (r.running || r.slices > 0 || r.steps == 0),
            || format!("impossible figures: {r:?}"),
        )?;
        claim(r.slices > 0 || r.longest_ns == 0, || {
            "the longest slice of none".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"schema":1,"version":"0.1.0",
"patches":[
{"name":"fix","livepatch":false,"states":[7],"hooks":1}],
"states":[
{"id":7,"name":"a \"state\"","users":1,"phase":"active","open":true,"generation":1,"live":3,"quarantined":null}],
"types":[
{"id":7,"live":3,"bytes":24,"pending":0,"lines":4,"longest":0,"attic":0,"splits":0,"merges":0,"generation":0}],
"hooks":[
{"slot":0,"function":"f","patch":"fix","state":7,"open":true}],
"calls":{"hit":1,"miss":2,"diverted":1},
"reclaim":{"running":false,"steps":9,"slices":2,"longest_ns":5000,"slice_ns":100000}}
"#;

    #[test]
    fn a_document_that_agrees_is_good() {
        assert_eq!(judge(GOOD), Ok(()));
    }

    #[test]
    fn what_is_torn_missing_unknown_or_contradictory_is_not() {
        for (from, to) in [
            ("}}\n", "}\n"),
            (",\"pending\":0", ""),
            ("\"slot\":0", "\"slot\":0,\"more\":1"),
            ("\"schema\":1", "\"schema\":2"),
            ("\"calls\":{\"hit\":1,\"miss\":2,\"diverted\":1},", ""),
            ("\"users\":1", "\"users\":2"),
            ("\"live\":3,\"quar", "\"live\":4,\"quar"),
            ("\"state\":7", "\"state\":8"),
            ("\"phase\":\"active\"", "\"phase\":\"busy\""),
            ("\"hooks\":1", "\"hooks\":0"),
            ("\"diverted\":1", "\"diverted\":4"),
            ("\"attic\":0", "\"attic\":4"),
            ("\"a \\\"state", "\"a \"state"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let bad = GOOD.replacen(from, to, 1);
            assert!(judge(&bad).is_err(), "{bad}");
        }
    }
}
