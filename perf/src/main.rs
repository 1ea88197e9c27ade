//! The command line; see the library for what it does and why.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(outcome) => ExitCode::from(outcome as u8),
        Err(error) => {
            anstream::eprintln!("{:?}", miette::Report::new(error));
            // Whatever kept a command from its answer, there is no verdict.
            ExitCode::from(umbra_perf::gate::Outcome::CannotCompare as u8)
        }
    }
}
