#![allow(clippy::unwrap_used)]
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    api::{self, Provider, SecretKeyRef, SecretKeySource, ServiceAccountRef, VaultAuth},
    secret::SecretValue,
    stores::{Credentials, Failure, Settings, settings},
};

struct Fixed;

#[async_trait]
impl Credentials for Fixed {
    async fn secret(&self, _: &SecretKeyRef) -> Result<SecretValue, StoreError> {
        Ok("token".to_owned().into())
    }

    async fn service_account_token(
        &self,
        _: Option<&ServiceAccountRef>,
        _: &[String],
    ) -> Result<SecretValue, StoreError> {
        Err(StoreError::new(Failure::NotReady, "none"))
    }

    fn lends_own_identity(&self) -> bool {
        true
    }
}

/// A server that is healthy, and takes every login and never answers it, until `answers`.
async fn server(answers: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answers = answers.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !String::from_utf8_lossy(&request).contains("\r\n\r\n")
                    && stream.read_buf(&mut request).await.unwrap_or(0) > 0
                {}
                let request = String::from_utf8_lossy(&request).into_owned();
                let body = match request.split([' ', '?']).nth(1).unwrap_or_default() {
                    "/v1/sys/health" => "{}",
                    "/v1/auth/token/lookup-self" if !answers.load(Ordering::SeqCst) => std::future::pending().await,
                    "/v1/auth/token/lookup-self" => r#"{"data":{"ttl":0}}"#,
                    "/v1/sys/capabilities-self" => r#"{"data":{"secret/data/GLOBAL--secretref-probe":["read"]}}"#,
                    _ => r#"{"data":{"type":"kv","options":{"version":"2"}}}"#,
                };
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

async fn layers(address: String) -> Layers {
    let secret_ref = SecretKeyRef { name: "s".into(), namespace: None, key: "k".into() };
    let vault = api::Vault {
        address,
        mount: None,
        namespace: None,
        ca_bundle: None,
        ca_ref: None,
        auth: VaultAuth { token: Some(SecretKeySource { secret_ref }), ..VaultAuth::default() },
    };
    let provider = Provider { vault: Some(vault), ..Provider::default() };
    let settings = Settings { timeout: Duration::from_millis(200), ..settings(&provider, None, None, None) };
    let store =
        connect(&provider, Connector { ca: None, credentials: Arc::new(Fixed), client: None, marks: Marks::random() })
            .unwrap();
    let metrics = Arc::new(Metrics::new());
    let identity = Identity {
        kind: "ClusterSecretStore",
        namespace: None,
        name: "platform".into(),
        uid: "uid".into(),
        generation: 1,
        provider: "vault",
    };
    let cache = Arc::new(Cache::new(Cache::CAPACITY, metrics.clone()));
    Layers::new(identity, store, settings, cache, metrics, Arc::new(Audit::off()), "operator/one".into())
}

/// Upkeep begins with the login, which holds the session.
#[tokio::test]
async fn a_login_that_is_never_answered_stops_no_probe_and_the_store_comes_back() {
    let answers = Arc::new(AtomicBool::new(false));
    let layers = layers(server(answers.clone()).await).await;
    let probed = Mutex::new(Vec::new());
    let tell = |news| {
        if let News::Probed(result) = news {
            probed.lock().unwrap().push(result);
        }
    };
    let last = || probed.lock().unwrap().last().map(|r: &Result<Capabilities, StoreError>| r.is_ok());
    let (mut ticks, wait) = (interval(Duration::from_millis(100)), Duration::from_secs(20));
    let watch = async {
        while probed.lock().unwrap().len() < 3 {
            sleep(Duration::from_millis(20)).await;
        }
        assert!(probed.lock().unwrap().iter().all(|r| r.as_ref().is_err_and(|e| e.failure == Failure::Unavailable)));
        answers.store(true, Ordering::SeqCst);
        while last() != Some(true) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(wait, serve(&layers, &mut ticks, watch, std::future::pending(), &tell)).await.unwrap();
}
