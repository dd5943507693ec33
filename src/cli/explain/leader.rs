//! What only the operator's leader knows, asked through a port-forward: the caller's own rights decide.

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client, api::ListParams};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::operator::{LEASE, explain::Explanation};

/// How long the way to the leader and its answer may take together.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer holds a few hundred bytes for each entry.
const ANSWER: usize = 4 << 20;

/// The container port's name in the operator's pods.
const PORT: &str = "explain";

/// Where the leader is.
#[derive(Clone, Debug, clap::Args)]
pub struct Leader {
    /// Where the operator runs
    #[arg(long, env = "SECRETREF_OPERATOR_NAMESPACE", value_name = "NAMESPACE", default_value = "secretref")]
    operator_namespace: String,

    /// Ask the operator that listens here (its --explain-addr), not the leader's pod
    #[arg(long, value_name = "ADDRESS", hide_short_help = true)]
    leader_addr: Option<SocketAddr>,
}

/// What the leader knows of a reference.
///
/// # Errors
/// Why it could not be asked: a sentence that says what to do.
pub async fn ask(leader: &Leader, client: Client, reference: &str) -> Result<Explanation, String> {
    let asked = async {
        match leader.leader_addr {
            Some(addr) => {
                let stream = TcpStream::connect(addr).await.map_err(|_| format!("nobody listens on {addr}"))?;
                get(stream, reference).await
            }
            None => forwarded(client, &leader.operator_namespace, reference).await,
        }
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err("the leader did not answer in time: try again".to_owned()))
}

async fn forwarded(client: Client, namespace: &str, reference: &str) -> Result<Explanation, String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let name = holder(client, &pods, namespace).await?;
    let pod = pods.get(&name).await.map_err(|error| refused("get on pods", namespace, &error))?;
    let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default();
    let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let port =
        ports.find(|port| port.name.as_deref() == Some(PORT)).and_then(|port| port.container_port.try_into().ok());
    let port: u16 = port.ok_or_else(|| {
        format!("pod {name} in {namespace} has no port named {PORT}: set explain.port in the operator's chart")
    })?;
    let forward = pods.portforward(&name, &[port]).await;
    let mut forward = forward.map_err(|error| refused("create on pods/portforward", namespace, &error))?;
    let stream = forward.take_stream(port).ok_or("the port-forward gave no stream: try again")?;
    get(stream, reference).await
}

/// The pod that leads: the Lease names it; without an election there is one pod only.
async fn holder(client: Client, pods: &Api<Pod>, namespace: &str) -> Result<String, String> {
    let leases: Api<Lease> = Api::namespaced(client, namespace);
    let lease = leases.get_opt(LEASE).await.map_err(|error| refused("get on leases", namespace, &error))?;
    if let Some(lease) = lease {
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        // Behind the pod's name stands what tells one start of it from another.
        let pod = holder.split('_').next().filter(|pod| !pod.is_empty());
        return pod
            .map(str::to_owned)
            .ok_or_else(|| format!("nobody leads in {namespace}: look at the operator's pods"));
    }
    let ours = ListParams::default().labels("app.kubernetes.io/name=secretref");
    let found = pods.list(&ours).await.map_err(|error| refused("list on pods", namespace, &error))?;
    let names: Vec<String> = found.items.into_iter().filter_map(|pod| pod.metadata.name).collect();
    match <[String; 1]>::try_from(names) {
        Ok([only]) => Ok(only),
        Err(_) => Err(format!("no operator leads in {namespace}: name its namespace with --operator-namespace")),
    }
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    reference: &str,
) -> Result<Explanation, String> {
    let broken = || "the leader broke off: try again".to_owned();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken())?;
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("/explain/{reference}")).header(HOST, "localhost").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|_| broken())?).await.map_err(|_| broken())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER).collect().await.map_err(|_| broken())?.to_bytes();
    connection.abort();
    if !status.is_success() {
        return Err(format!("the operator says: {}", String::from_utf8_lossy(&body)));
    }
    serde_json::from_slice(&body).map_err(|_| "the operator is of another version than this command".to_owned())
}

fn refused(right: &str, namespace: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => format!("you lack the right {right} in {namespace}"),
        kube::Error::UpgradeConnection(_) => format!("no port-forward: you may lack the right {right} in {namespace}"),
        kube::Error::Api(status) if status.code == 404 => {
            format!("the leader's pod is not in {namespace}: name its namespace with --operator-namespace")
        }
        _ => "the cluster does not answer".to_owned(),
    }
}
