//! Boots the kernel under QEMU and watches it until it ends.
//!
//! Software emulation only, since stock kernels get no hardware virtualisation
//! in most CI machines. With `icount` the guest's clock counts executed
//! instructions, so its timings are the same from run to run; without, it may
//! have several processors, for races. QEMU lives in a [`Job`], so it ends when
//! we end. Two watchdogs, for silence and for the whole, end a guest that hangs.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::initramfs;
use crate::kernel::Kernel;
use crate::modules::Modules;
use crate::paths::Paths;
use crate::proc::{self, Job, Said};
use crate::protocol::Message;
use crate::qemu::{self, Qemu};
use crate::session::{End, Outcome, Problem, Session};
use crate::ui::{self, Task};

/// What machine to boot, and how patient to be.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// The guest script, without `.sh`.
    pub(crate) run: String,
    /// Processors; 1 with `icount`.
    pub(crate) smp: u32,
    /// MiB of memory.
    pub(crate) memory: u32,
    /// Whether the clock counts instructions.
    pub(crate) icount: bool,
    /// Whether each processor has a host thread of its own, if QEMU is one that
    /// can; else they take turns, and still interleave, block by block.
    pub(crate) threads: bool,
    /// The longest time without a line.
    pub(crate) silence: Duration,
    /// The longest time in all.
    pub(crate) total: Duration,
}

impl Machine {
    /// What a run of that name usually needs: figures are taken in counted
    /// instructions, and so is what mostly waits, for then waiting takes no time;
    /// all else runs on two processors.
    pub(crate) fn usual(run: &str) -> Self {
        let icount = matches!(run, "demo" | "bench" | "cycles" | "cycles-all");
        Self {
            run: run.to_owned(),
            smp: if icount { 1 } else { 2 },
            memory: 2048,
            icount,
            threads: !icount,
            silence: Duration::from_secs(120),
            total: Duration::from_secs(if run == "cycles-all" { 7200 } else { 1800 }),
        }
    }

    /// The machine that tries once more what QEMU spoiled (see [`qemu`]), and not this one's
    /// code: a processor ran a breakpoint that had been taken out of memory before. No real
    /// one does, for the kernel interrupts each after it has changed code.
    fn after(&self, outcome: &Outcome) -> Option<Self> {
        (outcome.stale_code && self.threads).then(|| Self {
            threads: false,
            total: self.total * 2,
            ..self.clone()
        })
    }

    fn arguments(&self, qemu: &Qemu, kernel: &Path, initrd: &Path, serial: &str) -> Vec<String> {
        let mut append = String::from(
            "console=ttyS0,115200 loglevel=7 printk.devkmsg=on log_buf_len=16M \
             oops=panic panic=-1",
        );
        // The kernel tries its timer by waiting a few ticks, and panics when a
        // busy host gives it none.
        append.push_str(" no_timer_check");
        // What an emulated processor does in a minute is seconds of a real one's work, and
        // a busy host takes some of those: the kernel would call it a lockup or a stall. Who
        // really hangs is noticed by our own watchdogs.
        append.push_str(" watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120");
        let accel = if self.threads && !self.icount && qemu.can_use_threads() {
            "tcg,thread=multi"
        } else {
            "tcg,thread=single"
        };
        let mut args: Vec<String> = ["-accel", accel, "-cpu", "max"].map(String::from).to_vec();
        if self.icount {
            args.extend(["-icount", "shift=0,sleep=off"].map(String::from));
            append.push_str(" nokaslr norandmaps tsc=reliable");
            // Without it the kernel calibrates the APIC timer by reading the
            // clock for 100 ms: millions of reads, each of which QEMU stops at.
            append.push_str(" nolapic_timer");
        }
        append.push_str(" umbra.run=");
        append.push_str(&self.run);
        args.extend(["-smp".into(), self.smp.to_string()]);
        args.extend(["-m".into(), format!("{}M", self.memory)]);
        args.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(String::from));
        args.extend(["-display", "none", "-serial", serial].map(String::from));
        args.extend(["-kernel".into(), kernel.display().to_string()]);
        args.extend(["-initrd".into(), initrd.display().to_string()]);
        args.extend(["-append".into(), append]);
        args
    }
}

/// How long a guest may go on once its kernel has complained, and while its script says
/// nothing more: enough for the whole trace, and for a slow test.
const ILL: Duration = Duration::from_secs(60);

/// A finished run and where its log is.
#[derive(Debug)]
pub(crate) struct Run {
    /// The verdict and all messages.
    pub(crate) outcome: Outcome,
    /// The serial log.
    pub(crate) log: PathBuf,
    /// From power on to power off.
    pub(crate) time: Duration,
}

impl Run {
    /// An error, if anything was wrong.
    pub(crate) fn verdict(&self, run: &str) -> Result<()> {
        if self.outcome.problems.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = self
            .outcome
            .problems
            .iter()
            .map(|p| format!("• {}", p.show()))
            .collect();
        Err(Error::Guest {
            run: run.to_owned(),
            why: shown.join("\n"),
            log: self.log.clone(),
        })
    }
}

/// Boots and runs a guest script to its end. Failures of the guest are in the
/// outcome; an error means that it could not be run at all.
pub(crate) fn boot(
    paths: &Paths,
    kernel: &Kernel,
    modules: &Modules,
    machine: &Machine,
) -> Result<Run> {
    let scripts = initramfs::scripts(paths)?;
    if !scripts
        .iter()
        .any(|(name, _)| *name == format!("{}.sh", machine.run))
    {
        let known: Vec<&str> = scripts
            .iter()
            .filter_map(|(n, _)| n.strip_suffix(".sh"))
            .collect();
        return Err(Error::NoGuestScript {
            name: machine.run.clone(),
            dir: initramfs::script_dir(paths),
            known: if known.is_empty() {
                "none".into()
            } else {
                known.join(", ")
            },
        });
    }
    let task = Task::new(&format!("guest `{}`", machine.run));
    task.at("packing the initramfs");
    let initrd = initramfs::pack(paths, modules)?;
    let qemu = qemu::get(paths)?;
    let log = paths.log(&format!("guest-{}", machine.run))?;
    let start = |machine: &Machine| {
        let mut command = qemu.command();
        command.args(machine.arguments(&qemu, &kernel.image(), &initrd, "stdio"));
        command
    };
    task.at("booting");
    let mut run = watch(start(machine), machine, &task, &log)?;
    if let Some(patient) = machine.after(&run.outcome) {
        let kept = paths.log(&format!("guest-{}-stale", machine.run))?;
        fs::rename(&log, &kept).map_err(Error::io("move", &log))?;
        task.say(&format!(
            "a processor ran a breakpoint that memory no longer had: QEMU kept old code ({}); \
             once more, its processors taking turns, which takes longer",
            crate::paths::short(&kept)
        ));
        task.at("booting again");
        run = watch(start(&patient), &patient, &task, &log)?;
    }
    let tests = run.outcome.passed;
    match run.outcome.problems.len() {
        0 if tests > 0 => task.done(&format!(
            "{tests} test{} passed",
            if tests == 1 { "" } else { "s" }
        )),
        0 => task.done(""),
        n => {
            task.say(&format!("{n} problem{}", if n == 1 { "" } else { "s" }));
            drop(task);
        }
    }
    Ok(run)
}

/// An interactive shell in the guest.
pub(crate) fn shell(
    paths: &Paths,
    kernel: &Kernel,
    modules: &Modules,
    machine: &Machine,
) -> Result<()> {
    let initrd = initramfs::pack(paths, modules)?;
    let machine = Machine {
        run: "shell".into(),
        ..machine.clone()
    };
    ui::note("Ctrl-A X ends QEMU at once");
    // The terminal is QEMU's now, so this is no Job: it has to stay in the
    // foreground process group, where Ctrl-C is the guest's.
    let qemu = qemu::get(paths)?;
    let mut command = qemu.command();
    command.args(machine.arguments(&qemu, &kernel.image(), &initrd, "mon:stdio"));
    let program = proc::show(&command);
    let status = command
        .status()
        .map_err(|source| Error::Spawn { program, source })?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            command: "QEMU".into(),
            status: status.to_string(),
            tail: String::new(),
            help: None,
        })
    }
}

/// Runs a machine and reads its console until it ends or has to be ended.
fn watch(command: Command, machine: &Machine, task: &Task, log: &Path) -> Result<Run> {
    let mut file = File::create(log).map_err(Error::io("make", log))?;
    let mut session = Session::default();
    let started = Instant::now();
    let mut heard = started;
    let mut ill = (usize::MAX, started);
    let job = Job::start(command)?;
    let end = loop {
        match job.next(Duration::from_millis(500)) {
            Said::Line(line) => {
                heard = Instant::now();
                writeln!(file, "{line}").map_err(Error::io("write", log))?;
                show(task, &session.line(&line), &line);
            }
            Said::Nothing => {}
            Said::End => break End::Off,
        }
        // What else fails is as good to know as what the kernel said first.
        if session.is_ill() && ill.0 != session.told() {
            ill = (session.told(), Instant::now());
        }
        if session.is_ill() && ill.1.elapsed() > ILL {
            break End::Ill(ILL);
        }
        if heard.elapsed() > machine.silence {
            break End::Silent(machine.silence);
        }
        if started.elapsed() > machine.total {
            break End::TooLong(machine.total);
        }
    };
    let status = if end == End::Off {
        Some(job.wait()?)
            .filter(|s| !s.success())
            .map(|s| s.to_string())
    } else {
        job.kill();
        None
    };
    let outcome = session.finish(end, status);
    Ok(Run {
        outcome,
        log: log.to_path_buf(),
        time: started.elapsed(),
    })
}

/// What of a guest's line is worth a line of the host's.
fn show(task: &Task, message: &Option<Message>, line: &str) {
    match message {
        Some(Message::Progress { msg, done, total }) => task.progress(msg, *done, *total),
        Some(Message::Step { name }) => task.say(&format!("— {name}")),
        Some(Message::Event {
            patch,
            state,
            callback,
            result,
            ..
        }) => {
            let result = if *result == 0 {
                String::new()
            } else {
                format!(" = {result}")
            };
            task.say(&format!("    {patch}.{state} {callback}{result}"));
        }
        Some(Message::Live { after, shadows }) => {
            task.say(&format!(
                "    live after {after}: {}",
                crate::report::live(shadows)
            ));
        }
        Some(Message::Test { name, ok: true, .. }) => task.at(&format!("ok {name}")),
        Some(Message::Test {
            name,
            ok: false,
            detail,
        }) => {
            let failed = Problem::Test {
                name: name.clone(),
                detail: detail.clone().unwrap_or_default(),
            };
            task.say(&failed.show());
        }
        Some(_) => {}
        None => {
            if !line.is_empty() {
                task.at(crate::protocol::text(line).0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(script: &str, silence: u64, total: u64) -> Run {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut machine = Machine::usual("test");
        machine.silence = Duration::from_millis(silence);
        machine.total = Duration::from_millis(total);
        watch(
            command,
            &machine,
            &Task::new("fake"),
            &dir.path().join("log"),
        )
        .expect("runs")
    }

    #[test]
    fn a_silent_guest_is_ended_and_named() {
        let run = fake("echo booting; sleep 600", 300, 60_000);
        assert!(
            matches!(run.outcome.problems[..], [Problem::Silent { .. }]),
            "{run:?}"
        );
        assert!(run.time < Duration::from_secs(30));
        let error = run.verdict("test").expect_err("fails").to_string();
        assert!(error.contains("booting"), "{error}");
    }

    #[test]
    fn a_guest_that_talks_for_ever_is_ended() {
        let run = fake("while :; do echo tick; sleep 0.05; done", 60_000, 700);
        assert!(
            matches!(run.outcome.problems[..], [Problem::TooLong { .. }]),
            "{run:?}"
        );
    }

    #[test]
    fn a_dying_qemu_is_a_failure_even_after_done() {
        let run = fake(
            r#"echo '@umbra {"kind":"done","ok":true}'; exit 9"#,
            60_000,
            60_000,
        );
        assert!(
            matches!(run.outcome.problems[..], [Problem::Qemu { .. }]),
            "{run:?}"
        );
    }

    #[test]
    fn a_good_guest_passes() {
        let run = fake(r#"echo '@umbra {"kind":"done","ok":true}'"#, 60_000, 60_000);
        assert!(run.verdict("test").is_ok(), "{run:?}");
    }

    #[test]
    fn counted_instructions_mean_one_processor_and_no_randomness() {
        let args = Machine::usual("bench")
            .arguments(&Qemu::of(10), Path::new("/k"), Path::new("/i"), "stdio")
            .join(" ");
        for part in [
            "-icount shift=0,sleep=off",
            "thread=single",
            "-smp 1",
            "nokaslr",
            "umbra.run=bench",
        ] {
            assert!(args.contains(part), "{part} not in {args}");
        }
    }

    #[test]
    fn an_old_qemu_takes_turns() {
        let accel = |major| {
            let machine = Machine::usual("test");
            machine.arguments(&Qemu::of(major), Path::new("/k"), Path::new("/i"), "stdio")[1]
                .clone()
        };
        assert_eq!(accel(7), "tcg,thread=single");
        assert_eq!(accel(10), "tcg,thread=multi");
    }
    #[test]
    fn only_code_that_qemu_kept_is_tried_again_and_only_once() {
        let stale = "echo 'int3: 0000 [#1] SMP'; echo 'Code: 90 e8 <1b> 31'; exit 1";
        let ours = "echo 'int3: 0000 [#1] SMP'; echo 'Code: 90 cc <1b> 31'; exit 1";
        let threads = Machine::usual("test");
        let turns = threads.after(&fake(stale, 60_000, 60_000).outcome);
        let turns = turns.expect("is tried again");
        assert!(!turns.threads);
        assert!(turns.after(&fake(stale, 60_000, 60_000).outcome).is_none());
        assert!(threads.after(&fake(ours, 60_000, 60_000).outcome).is_none());
        let fails = fake("echo 'BUG: kernel NULL pointer'; exit 1", 60_000, 60_000);
        assert!(threads.after(&fails.outcome).is_none());
    }
}
