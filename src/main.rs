//! The command line: parse, dispatch, nothing else.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    secretref::cli::Cli::parse().run()
}
