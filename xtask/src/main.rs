//! `cargo xtask`: builds, tests and demonstrates Umbra from a bare checkout.
//!
//! Everything that is made goes to `target/umbra`; nothing is installed into the
//! system except by `setup`, which says what and asks.

mod apt;
mod bench;
mod bench_report;
mod debian;
mod deep;
mod demo;
mod deps;
mod document;
mod error;
mod foreign;
mod initramfs;
mod kernel;
mod klog;
mod models;
mod modules;
mod mutate;
mod package;
mod paths;
mod pool;
mod proc;
#[cfg(test)]
mod proofs;
mod protocol;
mod qemu;
mod report;
mod results;
mod session;
mod source;
mod stock;
mod suite;
mod timeline;
mod ui;
mod vm;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::deps::Consent;
use crate::error::Result;
use crate::paths::Paths;

/// Builds, tests and demonstrates Umbra.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Debug, Subcommand)]
enum Cmd {
    /// Say what this machine lacks and, with a yes, install it
    Setup(SetupArgs),
    /// Set up, build, boot, and show a shadow variable at work in a kernel
    Demo(DemoArgs),
    /// Run everything that tests; a table and a count at the end
    Test(TestArgs),
    /// Explore every model; the schedule of one that fails
    Loom(models::LoomArgs),
    /// Weaken each ordering, and see that some model notices
    Mutate(mutate::MutateArgs),
    /// Run the stress tests under Miri, with tree borrows and many seeds
    Miri(deep::DeepArgs),
    /// Run the stress tests under ThreadSanitizer
    Tsan(deep::DeepArgs),
    /// Run long scenarios under random schedules
    Shuttle(deep::DeepArgs),
    /// Measure everything beside other maps, and write one HTML report; or count
    /// instructions and compare them with the committed baseline (--counts)
    Bench(BenchArgs),
    /// Unpack the stock Debian kernel and its headers into target/umbra
    Kernel(KernelArgs),
    /// Build umbra.ko, the samples and the test modules; any warning fails
    Kmod(KernelArgs),
    /// Boot a guest script under QEMU and judge it
    Vm(VmArgs),
}

#[derive(Debug, Args)]
struct SetupArgs {
    /// Install without asking
    #[arg(long)]
    yes: bool,
    /// Also what only the benchmarks need (valgrind, iai-callgrind-runner)
    #[arg(long)]
    bench: bool,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// The kernel series
    #[arg(long, default_value = "6.1")]
    kernel: String,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Leave out what builds or boots a kernel, and the model checker
    #[arg(long)]
    quick: bool,
    /// Only this step (may be given more than once)
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Name the steps, and end
    #[arg(long)]
    list: bool,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// The kernel series of the steps that boot one
    #[arg(long, default_value = "6.1")]
    kernel: String,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Install missing packages and the runner without asking
    #[arg(long)]
    yes: bool,
    /// Count instructions instead, and compare them with the committed baseline
    #[arg(long)]
    counts: bool,
    /// Count instructions instead, and make them the baseline
    #[arg(long, conflicts_with = "counts")]
    record: bool,
    /// A third of the rounds, and no table above 10M entries
    #[arg(long, conflicts_with_all = ["counts", "record"])]
    quick: bool,
    /// Measure only this part of the report (may be given more than once); the page
    /// has all parts that were measured of this source
    #[arg(long, value_enum, value_name = "PART", conflicts_with_all = ["counts", "record"])]
    part: Vec<bench_report::Part>,
    /// Measure the parts of the report that are missing, as after an interruption
    #[arg(long, conflicts_with_all = ["counts", "record"])]
    resume: bool,
}

#[derive(Debug, Args)]
struct KernelArgs {
    /// The kernel series: 6.1, 6.12, or 7.x for the newest 7
    #[arg(long, default_value = "6.1")]
    kernel: String,
    /// Look for a newer release even if one is in the cache
    #[arg(long)]
    refresh: bool,
}

#[derive(Debug, Args)]
struct VmArgs {
    #[command(flatten)]
    kernel: KernelArgs,
    /// The guest script: kmod/tests/guest/NAME.sh
    #[arg(long, value_name = "NAME", default_value = "test")]
    run: String,
    /// A shell in the guest instead of a script
    #[arg(long)]
    shell: bool,
    /// Processors of the guest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    smp: Option<u32>,
    /// Let the guest's clock count instructions (one processor)
    #[arg(long, conflicts_with = "smp")]
    icount: bool,
    /// Let the processors take turns, as they do under a QEMU older than 10
    #[arg(long)]
    turns: bool,
    /// MiB of memory of the guest
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(128..=65536))]
    memory: Option<u32>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

fn main() -> miette::Result<ExitCode> {
    let cli = Cli::parse();
    miette::set_hook(Box::new(|_| {
        // Log excerpts keep their lines as they are.
        Box::new(miette::MietteHandlerOpts::new().wrap_lines(false).build())
    }))?;
    proc::guard_signals()?;
    Ok(run(cli.command)?)
}

fn run(command: Cmd) -> Result<ExitCode> {
    let paths = Paths::new()?;
    let _lock = paths.lock()?;
    if let Cmd::Bench(args) = command {
        if !args.counts && !args.record {
            let wish = bench_report::Wish {
                yes: args.yes,
                quick: args.quick,
                parts: args.part,
                resume: args.resume,
            };
            bench_report::run(&paths, &wish)?;
            return Ok(ExitCode::SUCCESS);
        }
        let then = if args.record {
            bench::Then::Record
        } else {
            bench::Then::Gate
        };
        return bench::run(&paths, args.yes, then);
    }
    run_plain(&paths, command)?;
    Ok(ExitCode::SUCCESS)
}

/// The commands that either work or fail.
fn run_plain(paths: &Paths, command: Cmd) -> Result<()> {
    match command {
        Cmd::Bench(_) => Ok(()),
        Cmd::Setup(args) => deps::ensure(
            paths,
            Consent {
                yes: args.yes,
                bench: args.bench,
            },
        ),
        Cmd::Demo(args) => {
            deps::ensure(
                paths,
                Consent {
                    yes: args.yes,
                    bench: false,
                },
            )?;
            demo::run(paths, &args.kernel)?;
            Ok(())
        }
        Cmd::Test(args) if args.list => {
            println!("{}", suite::list());
            Ok(())
        }
        Cmd::Test(args) => {
            if !args.quick && args.only.is_empty() {
                deps::ensure(
                    paths,
                    Consent {
                        yes: args.yes,
                        bench: false,
                    },
                )?;
            }
            let options = suite::Options {
                series: args.kernel,
                yes: args.yes,
            };
            suite::run(paths, &args.only, args.quick, &options)
        }
        Cmd::Loom(args) => models::run(paths, &args).map(drop),
        Cmd::Mutate(args) => mutate::run(paths, &args).map(drop),
        Cmd::Miri(args) => deep::miri(paths, &args).map(drop),
        Cmd::Tsan(args) => deep::tsan(paths, &args).map(drop),
        Cmd::Shuttle(args) => deep::shuttle(paths, &args).map(drop),
        Cmd::Kernel(args) => {
            let kernel = kernel::get(paths, &args.kernel, args.refresh)?;
            println!("{}", kernel.headers().display());
            Ok(())
        }
        Cmd::Kmod(args) => {
            let kernel = kernel::get(paths, &args.kernel, args.refresh)?;
            let modules = modules::build(paths, &kernel)?;
            for file in &modules.files {
                println!("{}", paths::short(file));
            }
            Ok(())
        }
        Cmd::Vm(args) => run_vm(paths, &args),
    }
}

/// The guest script that needs the kernel's own modules too.
pub(crate) const STOCK: &str = "stock";

fn run_vm(paths: &Paths, args: &VmArgs) -> Result<()> {
    let kernel = kernel::get(paths, &args.kernel.kernel, args.kernel.refresh)?;
    let mut modules = modules::build(paths, &kernel)?;
    if args.run == STOCK {
        stock::add(paths, &kernel, &mut modules)?;
    }
    let mut machine = vm::Machine::usual(&args.run);
    if args.icount {
        machine.icount = true;
        machine.smp = 1;
    }
    if let Some(smp) = args.smp {
        // Counting instructions is for one processor; asking for a number of
        // them says that races are wanted.
        machine.icount = false;
        machine.smp = smp;
    }
    machine.threads &= !args.turns;
    if let Some(memory) = args.memory {
        machine.memory = memory;
    }
    if let Some(seconds) = args.timeout {
        machine.total = Duration::from_secs(seconds);
    }
    if args.shell {
        return vm::shell(paths, &kernel, &modules, &machine);
    }
    let run = vm::boot(paths, &kernel, &modules, &machine)?;
    run.verdict(&args.run)
}
