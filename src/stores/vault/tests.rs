#![allow(clippy::unwrap_used)]
use super::mount::Kind;
use super::*;
use crate::{
    api::{SecretKeyRef, SecretKeySource, ServiceAccountRef, VaultAuth},
    secret::SecretValue,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

struct Any;

#[async_trait]
impl Credentials for Any {
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

/// A server that takes any token, has nothing under any key, and says this of its mount.
async fn store(mount: &'static str) -> Vault {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !String::from_utf8_lossy(&request).contains("\r\n\r\n")
                && stream.read_buf(&mut request).await.unwrap_or(0) > 0
            {}
            let request = String::from_utf8_lossy(&request).into_owned();
            let (status, body) = match request.split([' ', '?']).nth(1).unwrap_or_default() {
                "/v1/auth/token/lookup-self" => ("200 OK", r#"{"data":{"ttl":0}}"#),
                "/v1/sys/health" => ("200 OK", "{}"),
                "/v1/sys/capabilities-self" => ("403 Forbidden", r#"{"errors":["1 error occurred"]}"#),
                "/v1/sys/internal/ui/mounts/secret" => mount.split_once('|').unwrap(),
                _ => ("404 Not Found", r#"{"errors":[]}"#),
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let secret_ref = SecretKeyRef { name: "s".into(), namespace: None, key: "k".into() };
    let token = Some(SecretKeySource { secret_ref });
    let settings = api::Vault {
        address,
        mount: None,
        namespace: None,
        ca_bundle: None,
        ca_ref: None,
        auth: VaultAuth { token, ..VaultAuth::default() },
    };
    Vault::new(&settings, None, Arc::new(Any), Marks::random()).unwrap()
}

const KV2: &str = r#"200 OK|{"data":{"type":"kv","options":{"version":"2"}}}"#;
const HIDDEN: &str = r#"403 Forbidden|{"errors":["preflight capability check returned 403"]}"#;

#[tokio::test]
async fn nothing_there_is_certain_on_a_mount_that_shows_itself_only() {
    let key = StoreKey::verbatim("acme--a");
    assert_eq!(store(KV2).await.get(&key, None).await, Ok(None));
    let vault = store(HIDDEN).await;
    // Also at the second look: what was not seen is not remembered.
    for _ in 0..2 {
        let error = vault.get(&key, None).await.unwrap_err();
        assert_eq!(error.failure, Failure::Misconfigured, "{error}");
        assert!(error.message.contains("proves nothing: check"), "{error}");
        assert_eq!(vault.list("acme--").await.unwrap_err().failure, Failure::Misconfigured);
    }
}

/// A probe that is not shown the mount does not make absence certain either.
#[tokio::test]
async fn a_probe_does_not_vouch_for_a_mount_it_was_not_shown() {
    let vault = store(HIDDEN).await;
    let token = vault.session.token().await.unwrap();
    *vault.seen.lock().await = Seen { generation: token.generation, kind: Some(Kind::Versioned) };
    assert!(vault.probe().await.is_err());
    let error = vault.get(&StoreKey::verbatim("acme--a"), None).await.unwrap_err();
    assert_eq!(error.failure, Failure::Misconfigured, "{error}");
}
