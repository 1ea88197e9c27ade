//! The command line; see the library for what it does and why.

mod args;
mod cli;

use clap::Parser;
use miette::{MietteHandlerOpts, ReportHandler};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match umbra_perf::ending::guard().and_then(|()| cli::run(cli)) {
        Ok(outcome) => ExitCode::from(outcome as u8),
        Err(error) => {
            // Terminals wrap lines well; a path broken in two cannot be copied.
            let plain = |_: &_| -> Box<dyn ReportHandler> {
                Box::new(MietteHandlerOpts::new().wrap_lines(false).build())
            };
            // Fails only if a hook is there already, and then that one serves.
            let _ = miette::set_hook(Box::new(plain));
            anstream::eprintln!("{:?}", miette::Report::new(error));
            // Whatever kept a command from its answer, there is no verdict.
            ExitCode::from(umbra_perf::gate::Outcome::CannotCompare as u8)
        }
    }
}
