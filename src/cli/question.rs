//! What is asked: for whom, from which files, and where values and stores come from.

use std::{error::Error, path::PathBuf, sync::Arc};

use super::{Exit, say};
use crate::{
    config::{Config, Environment},
    naming::Org,
    resolve::Policy,
    resolver::{Configuration, Options, Resolver},
};

/// Where configurations, values and stores come from
#[derive(Clone, Debug, clap::Args)]
pub struct Question {
    /// The organisation [default: spec.org of the files]
    #[arg(long, env = "SECRETREF_ORG", value_name = "ORG")]
    pub org: Option<String>,

    /// A file with SecretReferences, or a config.yaml; may be repeated: of two that have a key the later one counts
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Behave as production: no local values
    #[arg(long)]
    pub no_local: bool,

    /// The file of local values
    #[arg(long, default_value = ".env", value_name = "FILE")]
    pub env_file: PathBuf,

    /// The stores' configuration [default: the nearest secretref.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The store to use, whatever the files name
    #[arg(long, value_name = "NAME")]
    pub store: Option<String>,

    /// A target type that the platform allows, too; may be repeated
    #[arg(long = "target-type", value_name = "TYPE", hide_short_help = true)]
    pub target_types: Vec<String>,
}

impl Question {
    /// All configurations of the files.
    pub fn configurations(&self) -> Result<Vec<Configuration>, Box<dyn Error>> {
        if self.files.is_empty() {
            return Err(Exit::usage("no file: name one with -f FILE"));
        }
        let mut out = Vec::new();
        for file in &self.files {
            out.extend(Configuration::read(file)?);
        }
        Ok(out)
    }

    /// The organisation that is asked for, or that all files claim.
    pub fn org(&self, configurations: &[Configuration]) -> Result<Org, Box<dyn Error>> {
        let claimed = || configurations.iter().find_map(Configuration::org);
        let Some(name) = self.org.as_deref().or_else(claimed) else {
            return Err(Exit::usage("no organisation: name one with --org ORG, or set SECRETREF_ORG"));
        };
        Org::new(name).map_err(|error| Exit::usage(format!("--org: {error}")))
    }

    /// A resolver of these configurations, which talks on standard error.
    pub fn resolver(&self, configurations: Vec<Configuration>) -> Result<Resolver, Box<dyn Error>> {
        let environment = Environment::of_process();
        let config = Config::load(self.config.as_deref(), &std::env::current_dir()?, &environment)?;
        let mut options = Options::new(&environment);
        options.local &= !self.no_local;
        options.env_file.clone_from(&self.env_file);
        options.store.clone_from(&self.store);
        options.policy = Policy { target_types: self.target_types.clone(), ..Policy::default() };
        options.listener = Some(Arc::new(say));
        Ok(Resolver::new(config, &environment, configurations, options))
    }
}

/// A runtime for one command.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
