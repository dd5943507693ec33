//! The operator that was built, as a child process.

use std::{
    fs::{File, OpenOptions},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use tokio::sync::OnceCell;

use super::{unique, wait_for, wait_until};
use crate::port::Port;

/// A running operator. Killed when dropped, and when the test process is gone for whatever reason.
pub struct Operator {
    /// Its own namespace: Lease and fingerprint key.
    pub namespace: String,
    pub health_addr: SocketAddr,
    pub metrics_addr: SocketAddr,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    output: PathBuf,
    /// Its output goes where there is no room.
    full: bool,
    process: Mutex<Option<Process>>,
}

struct Process {
    operator: Child,
    /// A shell that kills the operator when the test process ends: values in a `static` are never dropped.
    guard: Child,
}

impl Operator {
    /// Starts it in its own namespace, which must be there, and waits until it is ready.
    pub async fn start(namespace: &str, args: &[&str]) -> Self {
        Self::start_with(namespace, args, &[]).await
    }

    /// With these variables in its environment, too.
    pub async fn start_with(namespace: &str, args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::begin(namespace, args, variables, false).await
    }

    /// What it writes to its standard output and error is refused, as on a full disk.
    pub async fn start_on_a_full_disk(namespace: &str, args: &[&str]) -> Self {
        Self::begin(namespace, args, &[], true).await
    }

    async fn begin(namespace: &str, args: &[&str], variables: &[(&str, &str)], full: bool) -> Self {
        static ALONE: OnceCell<()> = OnceCell::const_new();
        ALONE.get_or_init(no_other_is_left).await;
        let operator = Self {
            namespace: namespace.to_owned(),
            health_addr: free_address(),
            metrics_addr: free_address(),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            output: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("operator-{}", unique())),
            full,
            process: Mutex::new(None),
        };
        operator.spawn();
        operator.ready().await;
        operator
    }

    fn spawn(&self) {
        std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let operator = Command::new(env!("CARGO_BIN_EXE_secretref"))
            .arg("operator")
            .args(["--metrics-addr", &self.metrics_addr.to_string(), "--health-addr", &self.health_addr.to_string()])
            .args(["--operator-namespace", &self.namespace])
            .args(&self.args)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(alive())
            .stdout(self.append("out"))
            .stderr(self.append("err"))
            .spawn()
            .expect("the operator starts");
        let guard = Command::new("sh")
            .args(["-c", "cat > /dev/null; kill -9 \"$1\"", "sh", &operator.id().to_string()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        *self.process.lock().unwrap() = Some(Process { operator, guard });
    }

    fn append(&self, what: &str) -> File {
        let path = if self.full { PathBuf::from("/dev/full") } else { self.output.with_extension(what) };
        OpenOptions::new().create(true).append(true).open(path).unwrap()
    }

    /// Waits until `/readyz` says so.
    pub async fn ready(&self) {
        wait_for("the operator is ready", || async {
            let ended = self.process.lock().unwrap().as_mut().and_then(|p| p.operator.try_wait().unwrap());
            assert!(ended.is_none(), "the operator ended: {ended:?}\n{}", self.tail());
            match http().get(format!("http://{}/readyz", self.health_addr)).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                _ => Err(self.tail()),
            }
        })
        .await;
    }

    /// As a node failure does it: without a word.
    pub fn kill(&self) {
        if let Some(Process { mut operator, mut guard }) = self.process.lock().unwrap().take() {
            let _ = guard.kill();
            let _ = guard.wait();
            let _ = operator.kill();
            let _ = operator.wait();
        }
    }

    /// SIGTERM, as the kubelet does it; answers the exit code. Who takes longer than the kubelet gives would be killed.
    pub async fn terminate(&self) -> Option<i32> {
        self.signal("TERM");
        let code = wait_until("the operator ends after SIGTERM", Duration::from_secs(30), || async {
            let mut process = self.process.lock().unwrap();
            match process.as_mut().expect("it runs").operator.try_wait().unwrap() {
                Some(status) => Ok(status.code()),
                None => Err("it still runs".to_owned()),
            }
        })
        .await;
        self.kill();
        code
    }

    /// SIGSTOP or SIGCONT, for one.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success(), "{name} to {pid}");
    }

    pub fn pid(&self) -> u32 {
        self.process.lock().unwrap().as_ref().expect("it runs").operator.id()
    }

    /// Ends it gracefully and starts it again with the same arguments; its output goes on in the same files.
    pub async fn restart(&self) {
        self.terminate().await;
        self.spawn();
        self.ready().await;
    }

    /// Starts it again after [`Operator::kill`] or [`Operator::terminate`].
    pub async fn start_again(&self) {
        self.spawn();
        self.ready().await;
    }

    /// `/metrics` as text.
    pub async fn metrics(&self) -> String {
        let answer = http().get(format!("http://{}/metrics", self.metrics_addr)).send().await;
        answer.expect("/metrics").text().await.expect("/metrics")
    }

    /// The sum of all samples of a metric (whole name, `_total` included) whose labels hold all of these parts.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        metric(&self.metrics().await, name, labels)
    }

    /// Everything it has written: audit events (standard output) and logs (standard error).
    pub fn output(&self) -> String {
        self.audit() + &self.logs()
    }

    pub fn audit(&self) -> String {
        read(&self.output.with_extension("out"))
    }

    pub fn logs(&self) -> String {
        read(&self.output.with_extension("err"))
    }

    fn tail(&self) -> String {
        let logs = self.logs();
        let lines: Vec<&str> = logs.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// [`Operator::metric`] of what `/metrics` said at one moment.
pub fn metric(text: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        (found == name && labels.iter().all(|l| rest.contains(l))).then(|| value.parse::<f64>().ok())?
    });
    samples.sum()
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(path: &std::path::Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// What an operator holds for as long as it lives: a lock that it shares with the others on the same cluster.
fn alive() -> File {
    let lock = lock_file();
    lock.lock_shared().unwrap();
    lock
}

/// Those of a test binary that ran before end when their guards have the time: until then they would reconcile what the
/// tests of this one make.
async fn no_other_is_left() {
    wait_for("the operators of another test binary are gone", || async {
        lock_file().try_lock().map_err(|e| e.to_string())
    })
    .await;
}

fn lock_file() -> File {
    let cluster = super::env("KUBECONFIG").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("operators{cluster}.lock"));
    OpenOptions::new().create(true).append(true).read(true).open(path).unwrap()
}

/// A client for one request: one that tests share would end with the runtime of the first of them.
fn http() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap()
}

/// Nobody else's while the tests run.
pub fn free_address() -> SocketAddr {
    Port::take().kept()
}
