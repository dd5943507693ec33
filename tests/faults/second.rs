//! One more real API server on the etcd of the cluster, which a test may kill: whoever uses the first one never notices.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::harness::{env, unique, wait_until};

pub struct SecondApiServer {
    pub kubeconfig: PathBuf,
    command: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
    /// A shell that kills it when the test process is gone for whatever reason.
    guard: Option<Child>,
}

impl SecondApiServer {
    pub async fn start() -> Self {
        let state = PathBuf::from(env("SECRETREF_CLUSTER"));
        let pid = std::fs::read_to_string(state.join("run/kube-apiserver.pid")).expect("the first one runs");
        let command = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).expect("the first one runs");
        let mut command: Vec<String> = command.split_terminator('\0').map(str::to_owned).collect();
        let flag = "--secure-port=";
        let first = command.iter().find_map(|a| a.strip_prefix(flag)).expect("its port").to_owned();
        // Below those that the system gives out by itself.
        let mut ports = (0..500).map(|_| 24_500 + rand::random_range(0..1500_u16));
        let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = ports.find(free).expect("a free port");
        command.retain(|a| !a.starts_with(flag) && !a.starts_with("--endpoint-reconciler-type="));
        // It is nobody's service.
        command.extend([format!("{flag}{port}"), "--endpoint-reconciler-type=none".to_owned()]);
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("api-server-{}", unique()));
        let config = std::fs::read_to_string(env("KUBECONFIG")).unwrap();
        std::fs::write(&place, config.replace(&format!(":{first}\""), &format!(":{port}\""))).unwrap();
        let log = place.with_extension("log");
        let mut server = Self { kubeconfig: place, command, log, process: None, guard: None };
        server.up().await;
        server
    }

    /// Starts it, and waits until it is ready.
    pub async fn up(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the API server starts");
        let guard = Command::new("sh")
            .args(["-c", "cat > /dev/null; kill -9 \"$1\"", "sh", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        (self.process, self.guard) = (Some(child), Some(guard));
        let kubeconfig = self.kubeconfig.to_str().unwrap().to_owned();
        wait_until("the second API server is ready", crate::scene::LONG, || async {
            let ready = tokio::process::Command::new("kubectl")
                .args(["--kubeconfig", &kubeconfig, "get", "--raw", "/readyz"])
                .output()
                .await
                .expect("kubectl");
            if ready.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ready.stderr).into_owned()) }
        })
        .await;
    }

    /// Without a word.
    pub fn kill(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.kill();
            let _ = guard.wait();
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for SecondApiServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(&self.kubeconfig);
        let _ = std::fs::remove_file(&self.log);
    }
}
