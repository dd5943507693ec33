//! `secretref run`

use std::{collections::BTreeMap, error::Error, ffi::OsString, process::ExitCode};

use super::{
    Exit, complain,
    question::{Question, runtime},
};
use crate::secret::SecretValue;

/// The command could not be started, as `env` and shells say it.
const NOT_STARTED: u8 = 126;
/// There is no such command.
const NO_COMMAND: u8 = 127;

/// Run a command with the resolved entries in its environment
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The command takes this process's place: signals and the exit code are its own, nothing is written to disk, and \
no process stays behind that holds the values. A required entry that is missing stops it before it starts.\n\n\
Examples:\n  secretref run --org acme -f payments.yaml -- ./server --port 8080\n  \
secretref run --org acme -f payments.yaml -- sh -c 'psql \"$DATABASE_URL\"'\n\n\
Exit codes besides the command's own: 1 an entry is missing or wrong; 2 the command line is wrong; 3 a store could not be \
asked; 126 the command cannot be started; 127 there is no such command."
)]
pub struct Args {
    #[command(flatten)]
    question: Question,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Becomes the command.
pub fn run(args: &Args) -> ExitCode {
    let code = match resolve(&args.question).and_then(|values| start(&args.command, &values)) {
        Ok(code) => code,
        Err(error) => complain(&*error),
    };
    ExitCode::from(code)
}

fn resolve(question: &Question) -> Result<BTreeMap<String, SecretValue>, Box<dyn Error>> {
    let configurations = question.configurations()?;
    let org = question.org(&configurations)?;
    let resolver = question.resolver(configurations)?;
    runtime()?.block_on(async {
        let mut values = BTreeMap::new();
        for configuration in resolver.configurations() {
            values.extend(resolver.resolve(&org, configuration).await?.resolved.data);
        }
        Ok(values)
    })
}

fn start(command: &[OsString], values: &BTreeMap<String, SecretValue>) -> Result<u8, Box<dyn Error>> {
    let Some((program, arguments)) = command.split_first() else { return Err(Exit::usage("no command")) };
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    for (key, value) in values {
        let Some(text) = value.expose_str().filter(|text| !text.contains('\0')) else {
            let message = format!("{key}: the value is not text, and no variable can hold it: mount it as a file");
            return Err(Box::new(Exit { code: super::NO, message }));
        };
        command.env(key, text);
    }
    become_it(command, program)
}

#[cfg(unix)]
fn become_it(mut command: std::process::Command, program: &OsString) -> Result<u8, Box<dyn Error>> {
    use std::os::unix::process::CommandExt;
    // Comes back only when it fails.
    let error = command.exec();
    let code = if error.kind() == std::io::ErrorKind::NotFound { NO_COMMAND } else { NOT_STARTED };
    let message = format!("{} cannot be started ({}): correct its path or its mode", program.display(), error.kind());
    Err(Box::new(Exit { code, message }))
}

#[cfg(not(unix))]
fn become_it(mut command: std::process::Command, program: &OsString) -> Result<u8, Box<dyn Error>> {
    match command.status() {
        Ok(status) => Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(super::NO)),
        Err(error) => {
            let code = if error.kind() == std::io::ErrorKind::NotFound { NO_COMMAND } else { NOT_STARTED };
            let message = format!("{} cannot be started ({})", program.display(), error.kind());
            Err(Box::new(Exit { code, message }))
        }
    }
}
