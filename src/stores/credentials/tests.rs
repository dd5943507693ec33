#![allow(clippy::unwrap_used)]
use super::*;

/// What is under each key now.
#[derive(Default)]
struct Secrets(std::sync::Mutex<std::collections::HashMap<String, Result<String, Failure>>>);

impl Secrets {
    fn put(&self, key: &str, value: Result<&str, Failure>) {
        self.0.lock().unwrap().insert(key.into(), value.map(Into::into));
    }
}

#[async_trait]
impl Credentials for Secrets {
    async fn secret(&self, source: &SecretKeyRef) -> Result<SecretValue, StoreError> {
        let found = self.0.lock().unwrap().get(&source.key).cloned().unwrap_or(Err(Failure::NotReady));
        found.map(SecretValue::from).map_err(|failure| StoreError::new(failure, "scripted"))
    }

    async fn service_account_token(
        &self,
        _: Option<&ServiceAccountRef>,
        _: &[String],
    ) -> Result<SecretValue, StoreError> {
        Err(StoreError::new(Failure::NotReady, "scripted"))
    }

    fn lends_own_identity(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn only_what_was_given_can_change() {
    let source = SecretKeyRef { name: "s".into(), namespace: None, key: "k".into() };
    let all = Remembering::new(Secrets::default());
    assert_eq!(all.changed().await, Ok(false), "nothing was given");
    // It was missing, and is there.
    assert!(all.secret(&source).await.is_err());
    assert_eq!(all.changed().await, Ok(false));
    all.inner().put("k", Ok("one"));
    assert_eq!(all.changed().await, Ok(true));
    // A new session took it.
    assert!(all.secret(&source).await.is_ok());
    all.inner().put("another", Ok("two"));
    assert_eq!(all.changed().await, Ok(false));
    // The API server is away: no change, and none is missed.
    all.inner().put("k", Err(Failure::Unavailable));
    assert!(all.secret(&source).await.is_err());
    assert_eq!(all.changed().await.unwrap_err().failure, Failure::Unavailable);
    all.inner().put("k", Ok("one"));
    assert_eq!(all.changed().await, Ok(false));
    all.inner().put("k", Ok("two"));
    assert_eq!(all.changed().await, Ok(true));
    all.inner().put("k", Err(Failure::NotReady));
    assert_eq!(all.changed().await, Ok(true));
}
