//! The same answer on a laptop: what production would get, from the same `SecretReference` file.
//!
//! ```no_run
//! use secretref::{config::{Config, Environment}, naming::Org, resolver::{Configuration, Options, Resolver}};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let environment = Environment::of_process();
//! let config = Config::load(None, &std::env::current_dir()?, &environment)?;
//! let options = Options::new(&environment);
//! let configuration = Configuration::read("payments.yaml".as_ref())?;
//! let resolver = Resolver::new(config, &environment, configuration, options);
//! let password = resolver.get_config(&Org::new("acme")?, "DB_PASSWORD").await?;
//! assert!(password.value().len() > 0);
//! # Ok(())
//! # }
//! ```

mod configuration;
mod entry;
mod local;
mod missing;
mod resolution;
mod seeds;
mod stores;
mod trace;

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

pub use configuration::{Configuration, ConfigurationError};
pub use entry::{ConfigValue, ResolveError, Source, ValueKind};
pub use local::LocalPlace;
pub(crate) use local::variable;
pub(crate) use resolution::Resolution;
use stores::Configured;
pub(crate) use stores::open;
pub use trace::{Candidate, EntryTrace, Trace};

use crate::{
    config::{Config, Environment, LocalCredentials},
    naming::Org,
    nearest::did_you_mean,
    resolve::Policy,
    stores::layers::Cache,
    telemetry::Metrics,
};

/// Hears notices and warnings, one sentence each, never with a value in it.
pub type Listener = Arc<dyn Fn(&str) + Send + Sync>;

/// How a [`Resolver`] goes about it.
#[derive(Clone)]
pub struct Options {
    /// Whether local values count: never in production.
    pub local: bool,
    /// The file of local values; it need not be there.
    pub env_file: PathBuf,
    /// What the platform allows targets to be.
    pub policy: Policy,
    /// The store to use, whatever the configuration names.
    pub store: Option<String>,
    /// Hears notices and warnings; without it they go to the log.
    pub listener: Option<Listener>,
}

impl Options {
    /// What this environment asks for: production is a cluster (`KUBERNETES_SERVICE_HOST`), or
    /// `SECRETREF_ENV=production`.
    pub fn new(environment: &Environment) -> Self {
        let production = environment.get("KUBERNETES_SERVICE_HOST").is_some()
            || environment.get("SECRETREF_ENV").is_some_and(|name| name.eq_ignore_ascii_case("production"));
        Self { local: !production, env_file: ".env".into(), policy: Policy::default(), store: None, listener: None }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("local", &self.local)
            .field("env_file", &self.env_file)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Resolves configurations: local values first (in development), then the store, the organisation's own key before
/// the platform-wide one.
///
/// It logs in at most once for each store and life, and keeps values for the time that their store's `cache.ttl` says;
/// they are wiped when that is over, and when it is dropped. Every future may be dropped half way: what was read until
/// then stays in the cache, and nothing else remembers it. Needs a Tokio runtime.
pub struct Resolver {
    configurations: Vec<Configuration>,
    stores: Vec<Configured>,
    local: Option<local::LocalValues>,
    options: Options,
    cache: Arc<Cache>,
    metrics: Arc<Metrics>,
    /// What was told once is not told again.
    told: Mutex<BTreeSet<String>>,
    swept: Mutex<bool>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver({} configurations, {} stores)", self.configurations.len(), self.stores.len())
    }
}

impl Resolver {
    /// Nothing is asked yet, and no store is connected.
    pub fn new(
        config: Config,
        environment: &Environment,
        configurations: Vec<Configuration>,
        options: Options,
    ) -> Self {
        let credentials = LocalCredentials::new(environment.clone());
        let stores = config.stores.into_iter().map(|(name, spec)| Configured::new(name, spec, credentials.clone()));
        let metrics = Arc::new(Metrics::new());
        Self {
            configurations,
            stores: stores.collect(),
            local: options.local.then(|| local::LocalValues::new(environment, options.env_file.clone())),
            options,
            cache: Arc::new(Cache::new(Cache::CAPACITY, Arc::clone(&metrics))),
            metrics,
            told: Mutex::default(),
            swept: Mutex::new(false),
        }
    }

    /// The configurations that it was made with.
    pub fn configurations(&self) -> &[Configuration] {
        &self.configurations
    }

    /// The value of one key, whether it is plain or a secret: the caller never says where it is kept. Of two
    /// configurations that have the key the later one counts, as with `envFrom`.
    ///
    /// # Errors
    /// When no configuration has the key, or it cannot be resolved. An error of a store is never taken for "not there".
    pub async fn get_config(&self, org: &Org, key: &str) -> Result<ConfigValue, ResolveError> {
        self.sweep();
        let named = self.configurations.iter().rev().find(|c| c.spec.data().iter().any(|entry| entry.key == key));
        if let Some(configuration) = named {
            return self.entry(org, configuration, key).await;
        }
        for configuration in self.configurations.iter().rev() {
            let rendered = configuration.spec.templates().any(|(rendered, _)| rendered == key);
            if rendered || configuration.has_more_keys() {
                let resolution = self.resolve(org, configuration).await?;
                if let Some(value) = resolution.value(configuration, key)? {
                    return Ok(value);
                }
            }
        }
        let known: Vec<&str> = self.configurations.iter().flat_map(Configuration::keys).collect();
        Err(ResolveError::unknown_key(key, &did_you_mean(key, known)))
    }

    fn tell(&self, sentence: &str) {
        let first = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(sentence.to_owned());
        match &self.options.listener {
            Some(listener) if first => listener(sentence),
            None if first => tracing::warn!("{sentence}"),
            _ => {}
        }
    }

    /// Values that nobody asks for again must go when their time is over, too.
    fn sweep(&self) {
        self.cache.sweep(Instant::now());
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if let (false, Ok(runtime)) = (*swept, tokio::runtime::Handle::try_current()) {
            let cache = Arc::downgrade(&self.cache);
            runtime.spawn(async move {
                while let Some(cache) = cache.upgrade() {
                    cache.sweep(Instant::now());
                    drop(cache);
                    sleep(Duration::from_secs(5)).await;
                }
            });
            *swept = true;
        }
    }
}

#[cfg(test)]
mod tests;
