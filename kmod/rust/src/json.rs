//! The tables for programs: one JSON document, each element on a line of its own.
//!
//! ```text
//!  {"schema":1,"version":"0.1.0",
//!  "patches":[
//!  {"name":"fix","livepatch":false,"states":[7],"hooks":1}],
//!  "states":[
//!  {"id":7,"name":"s","users":1,"phase":"active","open":true,"generation":1,
//!   "live":3,"quarantined":null}],               (or the patch that owes its clean-up)
//!  "types":[
//!  {"id":7,"live":3,"bytes":24,"pending":0,"lines":4,"longest":0,"attic":0,
//!   "splits":0,"merges":0,"generation":0}],
//!  "hooks":[
//!  {"slot":0,"function":"f","patch":"fix","state":7,"open":true}],
//!  "calls":{"hit":1,"miss":2,"diverted":1},      (null without counters=1)
//!  "reclaim":{"running":false,"steps":0,"slices":0,"longest_ns":0,"slice_ns":100000}}
//! ```
//! `schema` is counted up when a field goes or changes its meaning; new ones may come
//! without. Written by hand: serde's writers allocate in ways that cannot be refused.

use core::ffi::c_int;
use core::fmt::{self, Display, Write};

use umbra_shadow::Table;
use umbra_state::Installed;

use crate::ffi::{self, Counters, SeqFile};
use crate::global::global;
use crate::patches::Control;
use crate::platform::Kernel;
use crate::reclaim;
use crate::show::{Seq, live, write_locked};
use crate::slots::Slots;

/// Of the document; see above.
const SCHEMA: u32 = 1;

/// A text as JSON's string, quotes included.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Elements with commas between them.
struct List<'a> {
    m: &'a mut Seq,
    empty: bool,
}

impl List<'_> {
    fn push(&mut self, element: fmt::Arguments<'_>) -> fmt::Result {
        let comma = if core::mem::take(&mut self.empty) {
            ""
        } else {
            ","
        };
        write!(self.m, "{comma}\n{element}")
    }
}

/// An array of the document.
fn list(m: &mut Seq, name: &str, fill: impl FnOnce(&mut List<'_>) -> fmt::Result) -> fmt::Result {
    write!(m, "\"{name}\":[")?;
    fill(&mut List { m, empty: true })?;
    m.write_str("],\n")
}

/// The ids of a patch's states.
struct States<'a>(&'a [umbra_state::State]);

impl Display for States<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, state) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}", state.id)?;
        }
        Ok(())
    }
}

/// Whose clean-up of the state waits: the patch's name, or null.
struct Owed<'a>(&'a Installed, u64);

impl Display for Owed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owes = |p: &&umbra_state::Pinned| self.0.owed(p).any(|state| state.id == self.1);
        match self.0.pinned().iter().find(owes) {
            Some(pinned) => Text(pinned.patch().name.as_str()).fmt(f),
            None => f.write_str("null"),
        }
    }
}

fn document(m: &mut Seq, control: &Control) -> fmt::Result {
    let installed = control.installed();
    writeln!(
        m,
        "{{\"schema\":{SCHEMA},\"version\":{},",
        Text(env!("CARGO_PKG_VERSION"))
    )?;
    list(m, "patches", |list| {
        installed.patches().iter().try_for_each(|patch| {
            list.push(format_args!(
                "{{\"name\":{},\"livepatch\":{},\"states\":[{}],\"hooks\":{}}}",
                Text(patch.name.as_str()),
                control.is_livepatch(patch.name),
                States(&patch.states),
                patch.hooks.len()
            ))
        })
    })?;
    list(m, "states", |list| {
        installed.states().try_for_each(|state| {
            list.push(format_args!(
                "{{\"id\":{},\"name\":{},\"users\":{},\"phase\":{},\"open\":{},\
                 \"generation\":{},\"live\":{},\"quarantined\":{}}}",
                state.id,
                Text(state.name.as_str()),
                state.word.users(),
                Text(state.word.phase().as_str()),
                state.open,
                state.word.generation(),
                live(state.id),
                Owed(installed, state.id)
            ))
        })
    })?;
    list(m, "types", |list| {
        let mut result = Ok(());
        global().shadows.for_each_type(|table: &Table<Kernel>| {
            let s = table.stats();
            result = result.and_then(|()| {
                list.push(format_args!(
                    "{{\"id\":{},\"live\":{},\"bytes\":{},\"pending\":{},\"lines\":{},\
                     \"longest\":{},\"attic\":{},\"splits\":{},\"merges\":{},\"generation\":{}}}",
                    table.id(),
                    s.live,
                    s.bytes,
                    s.pending,
                    s.lines,
                    s.longest,
                    s.attic,
                    s.splits,
                    s.merges,
                    s.generation
                ))
            });
        });
        result
    })?;
    list(m, "hooks", |list| {
        control.slots().iter().try_for_each(|(slot, used)| {
            list.push(format_args!(
                "{{\"slot\":{slot},\"function\":{},\"patch\":{},\"state\":{},\"open\":{}}}",
                Text(used.label.as_str()),
                Text(used.patch.as_str()),
                used.target().state,
                Slots::is_open(slot)
            ))
        })
    })?;
    if global().counters {
        let mut sum = Counters::default();
        ffi::umbra_c_counters(&mut sum);
        writeln!(
            m,
            "\"calls\":{{\"hit\":{},\"miss\":{},\"diverted\":{}}},",
            sum.hit, sum.miss, sum.diverted
        )?;
    } else {
        writeln!(m, "\"calls\":null,")?;
    }
    let r = reclaim::report();
    writeln!(
        m,
        "\"reclaim\":{{\"running\":{},\"steps\":{},\"slices\":{},\"longest_ns\":{},\
         \"slice_ns\":{}}}}}",
        r.running, r.steps, r.slices, r.longest_ns, r.slice_ns
    )
}

/// `json`: everything, for programs.
#[unsafe(no_mangle)]
extern "C" fn umbra_rs_show_json(m: *mut SeqFile) -> c_int {
    write_locked(m, document)
}
