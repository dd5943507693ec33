//! The composition root: everything is spawned here, once.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, Config, api::PostParams};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};

use super::{
    apply::Writer,
    engine::{Engine, Parts},
    events::Events,
    keeper::Household,
    lease::{self, Leadership},
    serve::{self, HealthState, ServeError},
    stamp::Fingerprints,
    watch as watches,
    worker::Context,
};
use crate::{
    audit::Audit,
    notify::{Directory, Hashes, Hooks, Keys, Place, Recorder},
    resolve::Policy,
    secret::SecretValue,
    stores::{Marks, layers::Cache},
    telemetry::Metrics,
};

/// The Secret that holds the installation's fingerprint key; made by the operator if it is not there.
const FINGERPRINT_SECRET: &str = "secretref-fingerprint-key";
const FINGERPRINT_KEY: &str = "key";

/// The Lease of the leader.
pub(crate) const LEASE: &str = "secretref";

/// How long the API server may say nothing on a watch. Bookmarks come each minute, also on idle ones; the first was seen
/// to take two.
const SILENCE: Duration = Duration::from_secs(180);

/// How long the syncs that are under way may take after the signal to stop.
const GRACE: Duration = Duration::from_secs(20);

/// What the operator is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `/metrics` is.
    pub metrics_addr: SocketAddr,
    /// Where `/healthz` and `/readyz` are.
    pub health_addr: SocketAddr,
    /// Where the leader says what it knows of a reference; `None`: nowhere.
    pub explain_addr: Option<SocketAddr>,
    /// Watch only these namespaces; empty: all.
    pub namespaces: Vec<String>,
    /// Ask for nothing of the whole cluster: no ClusterSecretStores, and each namespace by itself.
    pub roles_only: bool,
    /// Take part in leader election.
    pub leader_election: bool,
    /// The operator's own namespace: its Lease and fingerprint key. Default: the pod's, else the kubeconfig's.
    pub own_namespace: Option<String>,
    /// This replica's name.
    pub instance: String,
    /// The operator's ServiceAccount, where it cannot be found out: namespace and name.
    pub service_account: Option<(String, String)>,
    /// What targets may be.
    pub policy: Policy,
    /// Secrets are created and updated, and never read.
    pub write_only: bool,
    /// Hosts that tenants' stores may name; `None`: there are no such stores.
    pub tenant_hosts: Option<Vec<String>>,
    /// Where change notifications are taken, and the Secret that holds their keys; `None`: nowhere.
    pub hooks: Option<(SocketAddr, String)>,
    /// The uid of the pod this is, if it is one.
    pub pod: Option<String>,
    /// The address that audit events name.
    pub source_ip: Option<std::net::IpAddr>,
}

/// Why the operator does not run.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum RunError {
    #[error("no cluster: run in a pod, or set KUBECONFIG ({0})")]
    NoCluster(#[source] Box<kube::Error>),
    #[error("the fingerprint key (Secret {namespace}/{FINGERPRINT_SECRET}) could not be read or made: {what}")]
    FingerprintKey { namespace: String, what: String },
    #[error("audit events cannot be written: {0}")]
    Audit(#[from] std::io::Error),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("no signal handler: {0}")]
    Signal(#[source] std::io::Error),
    #[error("the engine ended by itself ({0}): the log has its last words; the operator has to be restarted")]
    Engine(String),
}

impl RunError {
    /// An engine that nobody told to stop has ended.
    fn early(end: Result<(), JoinError>) -> Self {
        Self::Engine(end.err().map_or_else(|| "without an error".to_owned(), |e| e.to_string()))
    }
}

/// Has a connection end on which the API server says nothing for so long: it is dead, and nothing else would notice
/// for many minutes. Only what it owes counts: not the time that a connection waited for its next request.
fn notice_silence(config: &mut Config, silence: Duration) {
    config.read_timeout = Some(silence);
    config.reset_reader_on_write = true;
}

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// See [`RunError`].
pub async fn run(options: Options) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let mut config = Config::infer().await.map_err(|e| RunError::NoCluster(Box::new(kube::Error::InferConfig(e))))?;
    notice_silence(&mut config, SILENCE);
    let namespace = options.own_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config.clone()).map_err(|e| RunError::NoCluster(Box::new(e)))?;

    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(HealthState::new());
    let (stop, stopping) = watch::channel(false);
    let mut servers: JoinSet<Result<(), ServeError>> = JoinSet::new();
    servers.spawn(serve::health(options.health_addr, health.clone(), stopped(stopping.clone())));
    servers.spawn(serve::metrics(options.metrics_addr, metrics.clone(), stopped(stopping.clone())));

    let key = tokio::select! {
        key = fingerprint_key(&client, &namespace) => key?,
        () = signals.stop() => return Ok(()),
        Some(Ok(Err(error))) = servers.join_next() => return Err(error.into()),
    };
    let audit = Arc::new(Audit::stdout(options.source_ip, metrics.clone())?);
    let (leadership, leads) =
        watch::channel(if options.leader_election { Leadership::never() } else { Leadership::always() });
    // Writes and renewals are not sent again behind the back of who asks whether this replica still leads.
    config.default_retry = false;
    let once = Client::try_from(config).map_err(|e| RunError::NoCluster(Box::new(e)))?;
    let write_only = options.write_only;
    let writer = Writer { client: once.clone(), leadership: leads.clone(), metrics: metrics.clone(), write_only };
    let (tell, inbox) = mpsc::unbounded_channel();
    if let Some(addr) = options.explain_addr {
        servers.spawn(serve::explain(addr, tell.clone(), stopped(stopping.clone())));
    }
    let cache = Arc::new(Cache::new(Cache::CAPACITY, metrics.clone()));
    let operator: Arc<str> = format!("operator/{}", options.instance).into();
    let household = Household {
        // That the API server says slow down is for the layers around a store to know.
        client: once.clone(),
        tell: tell.clone(),
        cache: cache.clone(),
        metrics: metrics.clone(),
        audit: audit.clone(),
        operator: operator.clone(),
        service_account: options.service_account.clone(),
        namespace: namespace.clone(),
        marks: Marks::new(&key),
    };
    let hashes = Hashes::new(&key);
    let directory = Arc::new(Directory::default());
    if let Some((addr, secret)) = options.hooks.clone() {
        let place = Place {
            client: client.clone(),
            namespace: namespace.clone(),
            instance: options.instance.clone(),
            pod: options.pod.clone(),
        };
        let recorder = Arc::new(Recorder::new(hashes.clone()));
        let keys = Keys::new(client.clone(), &namespace, secret);
        let hooks = Hooks::new(keys, directory.clone(), recorder.clone(), metrics.clone());
        servers.spawn(serve::hooks(addr, Arc::new(hooks), stopped(stopping.clone())));
        tokio::spawn(async move { recorder.run(place).await });
    }
    watches::notifications(&client, &namespace, &tell);
    let context = Context {
        writer,
        prints: Fingerprints::new(&key),
        policy: options.policy.clone(),
        events: Events::new(client.clone(), leads.clone(), options.instance.clone()),
    };
    let parts = Parts {
        context: Arc::new(context),
        household,
        cache,
        metrics,
        leadership: leads,
        health,
        tenant_hosts: options.tenant_hosts.clone(),
        requester: operator,
        directory,
        hashes,
        watches: watches::start(&client, &options.namespaces, options.roles_only, !write_only, &tell),
    };
    let (drained, all_done) = watch::channel(false);
    let election = options.leader_election.then(|| {
        let instance = options.instance.clone();
        tokio::spawn(lease::run(once, namespace, LEASE.into(), instance, leadership, stopped(all_done)))
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "secretref operator");
    let mut engine = tokio::spawn(Engine::new(parts, tell).run(inbox, stopping));
    let ended = tokio::select! {
        () = signals.stop() => Ok(()),
        Some(Ok(Err(error))) = servers.join_next() => Err(error.into()),
        end = &mut engine => Err(RunError::early(end)),
    };
    tracing::info!("stopping");
    let _ = stop.send(true);
    let ended = match ended {
        Err(RunError::Engine(_)) => ended,
        ended => match tokio::time::timeout(GRACE, engine).await {
            Ok(end @ Err(_)) => ended.and(Err(RunError::early(end))),
            Ok(Ok(())) | Err(_) => ended,
        },
    };
    // The last write has ended: now another replica may lead.
    let _ = drained.send(true);
    if let Some(election) = election {
        let _ = tokio::time::timeout(Duration::from_secs(5), election).await;
    }
    audit.close();
    ended
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop, too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, RunError> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(RunError::Signal)?,
            interrupt: signal(SignalKind::interrupt()).map_err(RunError::Signal)?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! { _ = self.terminate.recv() => {}, _ = self.interrupt.recv() => {} }
    }
}

/// Reads the installation's key, or makes it. Never by the chart: a template would make a new one at every upgrade.
/// An API server or a role that is not there yet is waited for.
async fn fingerprint_key(client: &Client, namespace: &str) -> Result<SecretValue, RunError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let limit = Duration::from_secs(10);
    let mut tries = 0;
    loop {
        let found = tokio::time::timeout(limit, api.get_opt(FINGERPRINT_SECRET)).await;
        let what = match found {
            Ok(Ok(Some(secret))) => {
                let key = secret.data.and_then(|mut d| d.remove(FINGERPRINT_KEY)).map(|b| b.0).unwrap_or_default();
                if key.len() >= 32 {
                    return Ok(SecretValue::new(key));
                }
                let what = "it holds no key of 32 bytes or more: delete it, and it is made anew".to_owned();
                return Err(RunError::FingerprintKey { namespace: namespace.to_owned(), what });
            }
            Ok(Ok(None)) => {
                let key: [u8; 32] = rand::random();
                let secret = Secret {
                    metadata: ObjectMeta { name: Some(FINGERPRINT_SECRET.into()), ..ObjectMeta::default() },
                    type_: Some("Opaque".into()),
                    data: Some([(FINGERPRINT_KEY.to_owned(), ByteString(key.to_vec()))].into()),
                    ..Secret::default()
                };
                match tokio::time::timeout(limit, api.create(&PostParams::default(), &secret)).await {
                    Ok(Ok(_)) => return Ok(SecretValue::new(key.to_vec())),
                    // Another replica was faster: read what it made.
                    Ok(Err(kube::Error::Api(s))) if s.code == 409 => continue,
                    Ok(Err(kube::Error::Api(s))) => format!("{} {}", s.code, s.reason),
                    _ => "no answer".to_owned(),
                }
            }
            Ok(Err(kube::Error::Api(s))) => format!("{} {}", s.code, s.reason),
            _ => "the API server does not answer".to_owned(),
        };
        tries += 1;
        tracing::warn!(%what, "waiting for the fingerprint key");
        if tries >= 60 {
            return Err(RunError::FingerprintKey { namespace: namespace.to_owned(), what });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
#[path = "run/tests.rs"]
mod tests;
