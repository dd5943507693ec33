//! `secretref scan`

mod forms;
mod search;

use std::{
    collections::BTreeMap,
    error::Error,
    io::{self, Write},
    path::PathBuf,
};

use super::{
    Exit, NO,
    question::{Question, runtime},
    say,
};
use crate::{resolver::ResolveError, secret::SecretValue};

/// Look for values of these references in files: build output, logs, compiled artifacts
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Looks for each secret as it is, in base64 (wherever in a longer text it begins), URL-encoded, and as in a JSON \
string. Every file under PATH is read, hidden and ignored ones, too; links are not followed. It prints file, line and name, never \
the value. Values of fewer than 4 bytes are not looked for.\n\n\
Examples:\n  secretref scan --org acme -f payments.yaml target/ logs/\n\n\
Exit codes: 0 nothing was found; 1 a value was found, or a reference does not resolve; 2 the command line is wrong; \
3 a store could not be asked."
)]
pub struct Args {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    question: Question,
}

/// Shorter ones are found everywhere.
const SHORTEST: usize = 4;

/// Prints what is found; fails if anything is.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let configurations = args.question.configurations()?;
    let org = args.question.org(&configurations)?;
    let resolver = args.question.resolver(configurations)?;
    let secrets = runtime()?.block_on(async {
        let mut secrets: BTreeMap<String, SecretValue> = BTreeMap::new();
        for configuration in resolver.configurations() {
            let resolution = resolver.resolve(&org, configuration).await?;
            for (key, value) in &resolution.resolved.data {
                if resolution.is_secret(configuration, key) {
                    secrets.insert(key.clone(), value.clone());
                }
            }
        }
        Ok::<_, ResolveError>(secrets)
    })?;
    for (key, _) in secrets.iter().filter(|(_, value)| value.len() < SHORTEST) {
        say(&format!("warning: {key} is not looked for: its value is shorter than {SHORTEST} bytes"));
    }
    let secrets = secrets.into_iter().filter(|(_, value)| value.len() >= SHORTEST).collect();
    let patterns = search::Patterns::new(&secrets)?;
    let found = search::tree(&args.paths, &patterns);
    let mut out = io::stdout().lock();
    for place in &found.places {
        writeln!(out, "{}:{}: {} ({})", place.file.display(), place.line, place.key, place.form)?;
    }
    out.flush()?;
    for problem in &found.unread {
        say(&format!("warning: {problem}"));
    }
    let what = format!("{} files, {} names, {} found", found.files, secrets.len(), found.places.len());
    if found.places.is_empty() && found.unread.is_empty() {
        say(&what);
        return Ok(());
    }
    let message = if found.places.is_empty() { format!("{what}, but not everything could be read") } else { what };
    Err(Box::new(Exit { code: NO, message }))
}
