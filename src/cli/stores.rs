//! `secretref stores`

use std::{error::Error, io::Write, path::PathBuf};

use serde::Serialize;

use crate::{
    api::{Capabilities, ClusterSecretStoreSpec, Reason},
    config::{Config, Environment, LocalCredentials},
    stores::{Failure, StoreError, settings, settings::provider_name},
};

/// Show the health of the configured stores, as `kubectl get clustersecretstores` does on a cluster
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Stores come from secretref.toml (here or in a folder above) and from the variables of their own tools \
(VAULT_ADDR, AZURE_KEY_VAULT_URL, INFISICAL_PROJECT_ID, ...).\nNo value is read. Exit code 1: a store is not ready.\n\n\
Examples:\n  VAULT_ADDR=https://bao:8200 secretref stores\n  secretref stores --config ./secretref.toml --output json"
)]
pub struct Args {
    /// The configuration file [default: the nearest secretref.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print
    #[arg(long, short, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Serialize)]
struct Row {
    name: String,
    provider: &'static str,
    ready: bool,
    reason: &'static str,
    capabilities: Option<Capabilities>,
    message: String,
}

/// Probes every store once.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let environment = Environment::of_process();
    let config = Config::load(args.config.as_deref(), &std::env::current_dir()?, &environment)?;
    if config.stores.is_empty() {
        return Err("no store is configured: write a secretref.toml, or set VAULT_ADDR, AZURE_KEY_VAULT_URL or INFISICAL_PROJECT_ID".into());
    }
    let credentials = LocalCredentials::new(environment);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = runtime.block_on(futures::future::join_all(
        config.stores.into_iter().map(|(name, spec)| row(name, spec, credentials.clone())),
    ));
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?,
        Output::Table => table(&mut out, &rows)?,
    }
    out.flush()?;
    let down = rows.iter().filter(|row| !row.ready).count();
    if down > 0 { Err(format!("{down} of {} stores not ready", rows.len()).into()) } else { Ok(()) }
}

async fn row(name: String, spec: ClusterSecretStoreSpec, credentials: LocalCredentials) -> Row {
    let probed = probe(&spec, credentials).await;
    let provider = provider_name(&spec.provider);
    match probed {
        Ok(capabilities) => Row {
            name,
            provider,
            ready: true,
            reason: Reason::Healthy.as_str(),
            capabilities: Some(capabilities),
            message: "the store answers".to_owned(),
        },
        Err(error) => {
            let reason = error.failure.reason().as_str();
            Row { name, provider, ready: false, reason, capabilities: None, message: error.message.to_string() }
        }
    }
}

async fn probe(spec: &ClusterSecretStoreSpec, credentials: LocalCredentials) -> Result<Capabilities, StoreError> {
    let provider = &spec.provider;
    let store = crate::resolver::open(provider, &credentials).await?;
    let timeout = settings(provider, None, spec.limits.as_ref(), None).timeout;
    tokio::time::timeout(timeout, store.probe()).await.unwrap_or_else(|_| {
        let message = "the store does not answer: look at its load and at the network, or raise limits.timeout";
        Err(StoreError::new(Failure::Unavailable, message))
    })
}

fn table(out: &mut impl Write, rows: &[Row]) -> std::io::Result<()> {
    let may = |row: &Row| {
        let Some(c) = row.capabilities else { return String::new() };
        let all = [(c.get, "get"), (c.list, "list"), (c.write, "write")];
        all.iter().filter(|(may, _)| *may).map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    };
    let mut cells = vec![["NAME", "PROVIDER", "READY", "REASON", "MAY", "MESSAGE"].map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let ready = if row.ready { "True" } else { "False" };
        [
            row.name.clone(),
            row.provider.to_owned(),
            ready.to_owned(),
            row.reason.to_owned(),
            may(row),
            row.message.clone(),
        ]
    }));
    let widths: [usize; 5] = std::array::from_fn(|at| cells.iter().map(|row| row[at].len()).max().unwrap_or(0));
    for row in &cells {
        for (cell, width) in row.iter().zip(widths) {
            write!(out, "{cell:width$}   ")?;
        }
        writeln!(out, "{}", row[5])?;
    }
    Ok(())
}
