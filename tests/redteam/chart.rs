//! The operator as the chart installs it, but for its pod: the chart's roles, policies and arguments, and a process that
//! has a token of the chart's ServiceAccount and no other right.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Cluster, Operator, unique, wait_for};

/// What the chart made.
pub struct Installed {
    pub namespace: String,
    pub name: String,
    /// The arguments of the Deployment, without the addresses.
    pub args: Vec<String>,
    pub kubeconfig: PathBuf,
}

/// Renders the chart under a name of its own, in JSON values, and applies it.
pub async fn install(cluster: &Cluster, label: &str, values: &Value) -> Installed {
    let own = cluster.namespace(label, "").await;
    let name = format!("{label}-{}", unique());
    let mut all = json!({
        "crds": { "enabled": false }, "replicaCount": 0, "nameOverride": label, "fullnameOverride": name,
    });
    for (key, value) in values.as_object().unwrap() {
        all[key] = value.clone();
    }
    // What earlier runs on the same cluster have left.
    let kinds = "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding";
    kubectl(&["delete", kinds, "-l", &format!("app.kubernetes.io/name={label}"), "--ignore-not-found"], "");
    let rendered = render(&own.name, &all);
    kubectl(&["apply", "-f", "-"], &rendered);
    let deployment = cluster.get("Deployment", Some(&own.name), &name).await.expect("the chart has a Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned());
    let args = args.filter(|a| a != "operator" && !a.contains("-addr=")).collect();
    let kubeconfig = kubeconfig(cluster, &own.name, &name).await;
    Installed { namespace: own.name, name, args, kubeconfig }
}

/// What `helm template` makes of these values.
pub fn render(namespace: &str, values: &Value) -> String {
    let mut helm = Command::new("helm");
    helm.args(["template", "redteam", "charts/secretref", "--kube-version", "1.35.4", "-n", namespace, "-f", "-"]);
    run(helm, &values.to_string())
}

impl Installed {
    /// Starts the operator with the chart's arguments and the ServiceAccount's rights.
    pub async fn start(&self) -> Operator {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let kubeconfig = self.kubeconfig.to_str().unwrap();
        Operator::start_with(&self.namespace, &args, &[("KUBECONFIG", kubeconfig)]).await
    }
}

/// A kubeconfig with a token of this ServiceAccount.
async fn kubeconfig(cluster: &Cluster, namespace: &str, account: &str) -> PathBuf {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}");
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "expirationSeconds": 7200 } });
    let token = wait_for("a token of the operator's ServiceAccount", || async {
        let request = axum::http::Request::post(format!("{path}/token")).header("Content-Type", "application/json");
        let answer = cluster.client.request::<Value>(request.body(body.to_string().into_bytes()).unwrap()).await;
        answer.map_err(|e| e.to_string())
    })
    .await;
    let text = kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"], "");
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["users"][0]["user"] = json!({ "token": token["status"]["token"] });
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kubeconfig-{account}"));
    std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(&file, config.to_string()).unwrap();
    file
}

pub fn kubectl(args: &[&str], input: &str) -> String {
    let mut kubectl = Command::new("kubectl");
    kubectl.args(args);
    run(kubectl, input)
}

fn run(mut command: Command, input: &str) -> String {
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        piped.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}: is it in PATH, as tests/run.sh sets it?"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
