//! `secretref completion` and `secretref man`

use std::{error::Error, path::PathBuf};

use clap::CommandFactory;

use super::Cli;

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  source <(secretref completion bash)\n  secretref completion zsh > ~/.zfunc/_secretref"
)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Write the manual pages into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  secretref man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints the script.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    // Made whole first: it panics when a pipe is closed half way.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "secretref", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(())
}

/// One page for each command.
pub fn man(args: &ManArgs) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&args.folder)?;
    clap_mangen::generate_to(Cli::command(), &args.folder)?;
    Ok(())
}
