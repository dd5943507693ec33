//! `secretref get`

use std::{
    error::Error,
    io::{IsTerminal, Write},
    path::Path,
};

use super::{
    Exit, NO,
    question::{Question, runtime},
};
use crate::resolver::Configuration;

/// Print one value, plain or secret, wherever it is kept
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without -f it looks into secretref.yaml and config.yaml of this folder; if there is neither, KEY is a bare \
secret name.\nA secret goes to a terminal only with --reveal; to a pipe it is written bare, without a line break.\n\n\
Examples:\n  secretref get DB_PASSWORD --org acme -f payments.yaml | pbcopy\n  \
TOKEN=$(secretref get api-token --org acme)\n  secretref get TIMEOUT --org acme -f config.yaml"
)]
pub struct Args {
    /// The key of a configuration, or a bare secret name
    key: String,
    #[command(flatten)]
    question: Question,
    /// Show a secret on a terminal
    #[arg(long)]
    reveal: bool,
}

/// Prints it.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut question = args.question.clone();
    if question.files.is_empty() {
        let usual = ["secretref.yaml", "config.yaml"].map(Path::new);
        question.files.extend(usual.into_iter().filter(|file| file.is_file()).map(Path::to_owned));
    }
    let configurations = match &*question.files {
        [] => vec![Configuration::bare(&args.key)],
        _ => question.configurations()?,
    };
    let org = question.org(&configurations)?;
    let resolver = question.resolver(configurations)?;
    let value = runtime()?.block_on(resolver.get_config(&org, &args.key))?;
    let mut out = std::io::stdout().lock();
    let terminal = out.is_terminal();
    if terminal && value.is_secret() && !args.reveal {
        let message = format!("{} is a secret: add --reveal to show it here, or write it to a pipe", args.key);
        return Err(Box::new(Exit { code: NO, message }));
    }
    out.write_all(value.value().expose())?;
    if terminal {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}
