//! The command line: one file for each subcommand.

mod crds;
mod operator;
mod stores;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Resolves bare secret names per organisation and syncs them into native Kubernetes Secrets.
#[derive(Debug, Parser)]
#[command(name = "secretref", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Operator(Box<operator::Args>),
    Crds(crds::Args),
    Stores(stores::Args),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Operator(args) => operator::run(*args),
            Command::Crds(args) => crds::run(&args),
            Command::Stores(args) => stores::run(&args),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&*error);
                ExitCode::FAILURE
            }
        }
    }
}

#[allow(clippy::print_stderr, reason = "the one place that tells the user what went wrong")]
fn complain(error: &dyn std::error::Error) {
    eprintln!("secretref: {error}");
}
