//! `secretref init`

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{Exit, NO};
use crate::{
    naming::{Org, Owner},
    resolver::{Configuration, variable},
};

/// Write a commented .env for local values, and put it in .gitignore
#[derive(Debug, clap::Args)]
#[command(after_help = "What is in the file already stays. No value is written, and no store is asked.\n\n\
Examples:\n  secretref init --org acme -f payments.yaml\n  secretref init --org acme")]
pub struct Args {
    /// The organisation [default: spec.org of the files]
    #[arg(long, env = "SECRETREF_ORG", value_name = "ORG")]
    org: Option<String>,
    /// A file with SecretReferences, or a config.yaml: each of its secrets gets a line; may be repeated
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file of local values
    #[arg(long, default_value = ".env", value_name = "FILE")]
    env_file: PathBuf,
}

const HEAD: &str = "\
# Local values for `secretref get`, `run` and `render`: they win over the store, in development only.
# ORG__NAME is the organisation's own, GLOBAL__NAME the platform-wide one; capitals, and '_' for '-'.
# This file is for this machine alone: .gitignore names it.
";

/// Writes both.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut configurations = Vec::new();
    for file in &args.files {
        configurations.extend(Configuration::read(file)?);
    }
    let org = args.org.as_deref().or_else(|| configurations.iter().find_map(Configuration::org));
    let Some(org) = org else { return Err(Exit::usage("no organisation: name one with --org ORG")) };
    let owner = Owner::Org(Org::new(org).map_err(|error| Exit::usage(format!("--org: {error}")))?);

    let mut wanted = BTreeMap::new();
    for entry in configurations.iter().flat_map(|c| c.spec.data()) {
        if let Some(secret) = &entry.secret_ref {
            let structured = secret.property.is_some();
            wanted.insert(variable(&owner, &secret.name), (entry.key.clone(), structured));
        }
    }
    let present = match fs::read_to_string(&args.env_file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            let message = format!("{} cannot be read ({}): correct its mode", args.env_file.display(), error.kind());
            return Err(Box::new(Exit { code: NO, message }));
        }
    };
    let mut text = if present.is_empty() { HEAD.to_owned() } else { String::new() };
    if present.is_empty() && wanted.is_empty() {
        text.push_str(&format!("\n# {}=\n", variable(&owner, "db-password")));
    }
    for (variable, (key, structured)) in &wanted {
        if !present.contains(&format!("{variable}=")) {
            let shape = if *structured { "'{\"PROPERTY\": \"...\"}'" } else { "" };
            text.push_str(&format!("\n# {key}\n# {variable}={shape}\n"));
        }
    }
    ignore(&args.env_file)?;
    append(&args.env_file, &present, &text)?;
    writeln!(
        io::stdout(),
        "{}: remove the '#' in front of a line, and write the value behind '='",
        args.env_file.display()
    )?;
    Ok(())
}

/// For its owner's eyes only, from the first moment on.
fn append(file: &Path, present: &str, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    if !present.is_empty() && !present.ends_with('\n') && !text.is_empty() {
        file.write_all(b"\n")?;
    }
    file.write_all(text.as_bytes())
}

/// Names the file in the `.gitignore` beside it.
fn ignore(file: &Path) -> io::Result<()> {
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let list = file.with_file_name(".gitignore");
    let present = match fs::read_to_string(&list) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        read => read.unwrap_or_default(),
    };
    if present.lines().map(str::trim).any(|line| line == name || line == format!("/{name}")) {
        return Ok(());
    }
    let mut out = OpenOptions::new().create(true).append(true).open(list)?;
    let joint = if present.is_empty() || present.ends_with('\n') { "" } else { "\n" };
    writeln!(out, "{joint}{name}")
}
