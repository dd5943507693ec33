//! `secretref crds`

use std::{error::Error, io::Write};

use crate::api;

/// Print the custom resource definitions as YAML
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  secretref crds | kubectl apply -f -")]
pub struct Args {}

/// Prints all definitions, one document each.
pub fn run(_: &Args) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for (_, crd) in api::crds()? {
        write!(out, "---\n{}", api::to_yaml(&crd)?)?;
    }
    out.flush()?;
    Ok(())
}
