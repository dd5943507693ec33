//! What a store object asks for, with the defaults of its provider.

use std::time::Duration;

use crate::{
    api::{Cache, GoDuration, Layout, Limits, NameStyle, Provider},
    naming::Scheme,
};

/// What the layers around a store need to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How long a value may stay in memory.
    pub cache_ttl: Duration,
    /// Requests per second that are never exceeded.
    pub requests_per_second: f64,
    /// Requests at once after a rest.
    pub burst: u32,
    /// Requests in flight.
    pub max_concurrent: usize,
    /// How long one request may take.
    pub timeout: Duration,
    /// The shortest interval at which a key is polled.
    pub min_refresh_interval: Duration,
    /// How often the store is probed.
    pub health_check_interval: Duration,
}

/// The provider's defaults under what the store object says.
pub fn settings(
    provider: &Provider,
    cache: Option<&Cache>,
    limits: Option<&Limits>,
    health: Option<&GoDuration>,
) -> Settings {
    let limits = limits.cloned().unwrap_or_default();
    let (ttl, rate, burst) = match provider {
        Provider { azure_key_vault: Some(_), .. } => (3600, 200.0, 400),
        Provider { infisical: Some(_), .. } => (300, 2.0, 20),
        _ => (300, 200.0, 400),
    };
    let requests_per_second = limits.requests_per_second.unwrap_or(rate);
    Settings {
        cache_ttl: cache.and_then(|c| c.ttl.as_ref()).and_then(GoDuration::get).unwrap_or(Duration::from_secs(ttl)),
        requests_per_second,
        burst: limits.burst.and_then(|b| u32::try_from(b).ok()).unwrap_or(burst).max(1),
        max_concurrent: limits.max_concurrent(),
        timeout: limits.timeout(),
        min_refresh_interval: limits.min_refresh_interval(),
        health_check_interval: health.and_then(GoDuration::get).unwrap_or(Duration::from_secs(30)),
    }
}

/// How the store spells its keys.
pub fn scheme(provider: &Provider, layout: Option<Layout>, style: Option<NameStyle>) -> Scheme {
    let infisical = provider.infisical.is_some();
    let vault = provider.vault.is_some();
    let kubernetes = provider.kubernetes.is_some();
    Scheme {
        layout: layout.unwrap_or(if infisical { Layout::Path } else { Layout::Flat }),
        style: style.unwrap_or(if infisical { NameStyle::ScreamingSnake } else { NameStyle::Kebab }),
        folders: vault || infisical,
        lowercase: kubernetes,
        variables: false,
        max_len: match provider {
            Provider { azure_key_vault: Some(_), .. } => 127,
            Provider { kubernetes: Some(_), .. } => 253,
            _ => 512,
        },
    }
}

/// The provider's name in messages and metrics.
pub fn provider_name(provider: &Provider) -> &'static str {
    match provider {
        Provider { azure_key_vault: Some(_), .. } => "azureKeyVault",
        Provider { vault: Some(_), .. } => "vault",
        Provider { infisical: Some(_), .. } => "infisical",
        Provider { kubernetes: Some(_), .. } => "kubernetes",
        _ => "nothing",
    }
}
