//! The command line: one file for each subcommand.

mod check;
mod completion;
mod crds;
mod explain;
mod get;
mod init;
mod masks;
mod operator;
mod podspec;
mod question;
mod render;
mod run;
mod scan;
mod stores;

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::resolver::ResolveError;

/// The answer is no: a file is wrong, a secret is missing, a value was found where none may be.
const NO: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// A store could not be asked, or refused.
const STORE: u8 = 3;

/// Resolves bare secret names per organisation and syncs them into native Kubernetes Secrets.
#[derive(Debug, Parser)]
#[command(
    name = "secretref",
    version,
    about,
    arg_required_else_help = true,
    after_help = "Examples:\n  secretref get DB_PASSWORD --org acme -f payments.yaml | psql-login\n  \
secretref run --org acme -f payments.yaml -- ./server\n  secretref check deploy/*.yaml\n\n\
Exit codes: 0 yes; 1 no (a file is wrong, a secret is missing, a value was found); 2 the command line is wrong; \
3 a store could not be asked, or refused."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(get::Args),
    Run(run::Args),
    Render(render::Args),
    Check(check::Args),
    Explain(explain::Args),
    Podspec(podspec::Args),
    Scan(scan::Args),
    Init(init::Args),
    Stores(stores::Args),
    Crds(crds::Args),
    Operator(Box<operator::Args>),
    Completion(completion::Args),
    Man(completion::ManArgs),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Get(args) => get::run(&args),
            Command::Run(args) => return run::run(&args),
            Command::Render(args) => render::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Podspec(args) => podspec::run(&args),
            Command::Scan(args) => scan::run(&args),
            Command::Init(args) => init::run(&args),
            Command::Stores(args) => stores::run(&args),
            Command::Crds(args) => crds::run(&args),
            Command::Operator(args) => operator::run(*args),
            Command::Completion(args) => completion::run(&args),
            Command::Man(args) => completion::man(&args),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => ExitCode::from(complain(&*error)),
        }
    }
}

/// An end with an exit code of its own.
#[derive(Debug)]
struct Exit {
    code: u8,
    /// Empty: everything was said.
    message: String,
}

impl Exit {
    fn usage(message: impl Into<String>) -> Box<dyn Error> {
        Box::new(Self { code: USAGE, message: message.into() })
    }

    fn silent(code: u8) -> Box<dyn Error> {
        Box::new(Self { code, message: String::new() })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Exit {}

/// Says what went wrong; answers the exit code.
fn complain(error: &(dyn Error + 'static)) -> u8 {
    if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        return 0; // whoever read has had enough
    }
    let text = error.to_string();
    if !text.is_empty() {
        say(&text);
    }
    if let Some(hint) = error.downcast_ref::<ResolveError>().and_then(|e| e.hint.as_ref()) {
        say(&format!("hint: {hint}"));
    }
    match (error.downcast_ref::<Exit>(), error.downcast_ref::<ResolveError>()) {
        (Some(exit), _) => exit.code,
        (_, Some(error)) if error.is_of_store() => STORE,
        _ => NO,
    }
}

/// One line on standard error.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "secretref: {text}");
}
