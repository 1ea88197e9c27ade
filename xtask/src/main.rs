//! `cargo xtask`: builds, tests and demonstrates Umbra from a bare checkout.
//!
//! Everything that is made goes to `target/umbra`; nothing is installed into the
//! system except by `setup`, which says what and asks.

mod apt;
mod debian;
mod error;
mod initramfs;
mod kernel;
mod klog;
mod modules;
mod paths;
mod proc;
mod protocol;
mod report;
mod session;
mod ui;
mod vm;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

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
    /// Unpack the stock Debian kernel and its headers into target/umbra
    Kernel(KernelArgs),
    /// Build umbra.ko, the samples and the test modules; any warning fails
    Kmod(KernelArgs),
    /// Boot a guest script under QEMU and judge it
    Vm(VmArgs),
}

#[derive(Debug, Args)]
struct KernelArgs {
    /// The kernel series
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
    /// MiB of memory of the guest
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(128..=65536))]
    memory: Option<u32>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

fn main() -> miette::Result<()> {
    let cli = Cli::parse();
    proc::guard_signals()?;
    run(cli.command)?;
    Ok(())
}

fn run(command: Cmd) -> Result<()> {
    let paths = Paths::new()?;
    let _lock = paths.lock()?;
    match command {
        Cmd::Kernel(args) => {
            let kernel = kernel::get(&paths, &args.kernel, args.refresh)?;
            println!("{}", kernel.headers().display());
            Ok(())
        }
        Cmd::Kmod(args) => {
            let kernel = kernel::get(&paths, &args.kernel, args.refresh)?;
            let modules = modules::build(&paths, &kernel)?;
            for file in &modules.files {
                println!("{}", paths::short(file));
            }
            Ok(())
        }
        Cmd::Vm(args) => run_vm(&paths, &args),
    }
}

fn run_vm(paths: &Paths, args: &VmArgs) -> Result<()> {
    let kernel = kernel::get(paths, &args.kernel.kernel, args.kernel.refresh)?;
    let modules = modules::build(paths, &kernel)?;
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
