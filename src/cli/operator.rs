//! `secretref operator`

use std::{error::Error, net::SocketAddr};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    operator::{self, Options},
    resolve::Policy,
    telemetry::{LogFormat, Telemetry},
};

/// Run the operator, in a pod or against KUBECONFIG
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  KUBECONFIG=~/.kube/config secretref operator --namespace acme-prod --no-leader-election --log-format text"
)]
pub struct Args {
    /// Where /metrics is served
    #[arg(long, default_value = "0.0.0.0:9402", value_name = "ADDRESS")]
    metrics_addr: SocketAddr,

    /// Where /healthz and /readyz are served
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDRESS")]
    health_addr: SocketAddr,

    /// Where the leader answers `secretref explain`: an address that only a port-forward reaches [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    explain_addr: Option<SocketAddr>,

    /// How logs are written, to standard error; audit events go to standard output as JSON lines
    #[arg(long, value_enum, default_value = "json", value_name = "FORMAT")]
    log_format: LogFormat,

    /// Which logs are written
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    log_filter: String,

    /// Watch only this namespace; may be repeated
    #[arg(long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,

    /// Ask for nothing that a Role in these namespaces cannot give: no ClusterSecretStores, and each namespace by itself
    #[arg(long, requires = "namespaces")]
    roles_only: bool,

    /// Lead without asking: for a single replica
    #[arg(long)]
    no_leader_election: bool,

    /// The operator's own namespace, for its Lease and its fingerprint key [default: the pod's, else the kubeconfig's]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    operator_namespace: Option<String>,

    /// The operator's ServiceAccount for Kubernetes auth at stores [default: found out]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service_account)]
    service_account: Option<(String, String)>,

    /// Let references write Secrets of this type, too; may be repeated
    #[arg(long = "target-type", value_name = "TYPE")]
    target_types: Vec<String>,

    /// Refuse labels and annotations with this prefix on targets; may be repeated
    #[arg(long = "refuse-metadata-prefix", value_name = "PREFIX")]
    refused_prefixes: Vec<String>,

    /// What the operator may do with Secrets: WriteOnly creates and updates targets, and never reads one
    #[arg(long, value_enum, default_value = "ReadWrite", value_name = "ACCESS")]
    secrets_access: SecretsAccess,

    /// Let tenants bring SecretStores of their own
    #[arg(long)]
    tenant_stores: bool,

    /// A host that tenants' SecretStores may name; may be repeated
    #[arg(long = "tenant-allowed-host", value_name = "HOST[:PORT]", requires = "tenant_stores")]
    tenant_hosts: Vec<String>,

    /// Take signed change notifications here [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    hooks_addr: Option<SocketAddr>,

    /// The Secret in the operator's own namespace that holds their keys, one for each store
    #[arg(long, default_value = "secretref-hooks", value_name = "NAME")]
    hooks_secret: String,

    #[arg(long, env = "POD_UID", hide = true)]
    pod: Option<String>,

    #[arg(long, env = "POD_NAME", hide = true)]
    instance: Option<String>,

    #[arg(long, env = "POD_IP", hide = true)]
    source_ip: Option<std::net::IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum SecretsAccess {
    ReadWrite,
    WriteOnly,
}

/// Runs until a signal ends it.
pub fn run(args: Args) -> Result<(), Box<dyn Error>> {
    // A crash leaves no file with values in it.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let instance = args.instance.unwrap_or_else(|| format!("secretref-{:08x}", rand::random::<u32>()));
    let telemetry = Telemetry::start(args.log_format, &args.log_filter, runtime.handle(), &instance)?;
    let options = Options {
        metrics_addr: args.metrics_addr,
        health_addr: args.health_addr,
        explain_addr: args.explain_addr,
        namespaces: args.namespaces,
        roles_only: args.roles_only,
        leader_election: !args.no_leader_election,
        own_namespace: args.operator_namespace,
        instance,
        service_account: args.service_account,
        policy: Policy { target_types: args.target_types, refused_prefixes: args.refused_prefixes },
        write_only: args.secrets_access == SecretsAccess::WriteOnly,
        tenant_hosts: args.tenant_stores.then_some(args.tenant_hosts),
        hooks: args.hooks_addr.map(|addr| (addr, args.hooks_secret)),
        pod: args.pod,
        source_ip: args.source_ip,
    };
    let ended = runtime.block_on(operator::run(options));
    telemetry.close();
    Ok(ended?)
}

fn service_account(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok((namespace.into(), name.into())),
        _ => Err("write it as NAMESPACE/NAME".into()),
    }
}
