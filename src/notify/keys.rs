//! The keys that notifications prove themselves by: one Secret in the operator's namespace, one entry for each store.

use std::{collections::HashMap, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::secret::SecretValue;

/// The least bytes of a key.
const LEAST: usize = 32;
/// Keys this old are read again before they are used: one that was taken away is good no longer.
const FRESH: Duration = Duration::from_secs(10);
/// At most so often the Secret is read, whatever comes in.
const AGAIN: Duration = Duration::from_secs(3);
/// How long reading it may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The keys, read live.
pub struct Keys {
    api: Api<Secret>,
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<HashMap<String, SecretValue>>,
    asked: Option<Instant>,
    complained: bool,
}

/// The keys could not be read, and were not before.
pub struct Unreadable;

impl Keys {
    /// Those in this Secret.
    pub fn new(client: Client, namespace: &str, secret: String) -> Self {
        Self { api: Api::namespaced(client, namespace), name: secret, state: Mutex::default() }
    }

    /// The key of a store. `doubt`: the one that is known did not fit, there may be another by now.
    pub(super) async fn get(&self, store: &str, doubt: bool) -> Result<Option<SecretValue>, Unreadable> {
        let mut state = self.state.lock().await;
        let age = state.asked.map(|asked| asked.elapsed());
        let limit = if doubt || state.keys.is_none() { AGAIN } else { FRESH };
        if age.is_none_or(|age| age >= limit) {
            self.read(&mut state).await;
        }
        let keys = state.keys.as_ref().ok_or(Unreadable)?;
        Ok(keys.get(&entry(store)).cloned())
    }

    async fn read(&self, state: &mut State) {
        let what = match timeout(PATIENCE, self.api.get_opt(&self.name)).await {
            Ok(Ok(secret)) => {
                let missing = secret.is_none();
                let data = secret.and_then(|s| s.data).unwrap_or_default();
                let (long, short): (HashMap<_, _>, HashMap<_, _>) =
                    data.into_iter().map(|(name, bytes)| (name, trimmed(bytes.0))).partition(|(_, k)| k.len() >= LEAST);
                state.keys = Some(long);
                let short: Vec<&String> = short.keys().collect();
                match (missing, short.is_empty()) {
                    (true, _) => Some("there is no such Secret".to_owned()),
                    (_, false) => Some(format!("these keys are shorter than {LEAST} bytes: {short:?}")),
                    _ => None,
                }
            }
            Ok(Err(kube::Error::Api(status))) => Some(format!("{} {}", status.code, status.reason)),
            Ok(Err(_)) | Err(_) => Some("the API server does not answer".to_owned()),
        };
        state.asked = Some(Instant::now());
        match what {
            None => state.complained = false,
            Some(what) if !std::mem::replace(&mut state.complained, true) => {
                tracing::warn!(secret = %self.name, %what, "keys of notifications");
            }
            Some(_) => {}
        }
    }
}

/// Where the key of a store is: `NAME`, or `NAMESPACE.NAME` for a tenant's.
fn entry(store: &str) -> String {
    store.replace('/', ".")
}

/// Without the newline that an editor leaves behind.
fn trimmed(mut bytes: Vec<u8>) -> SecretValue {
    while bytes.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        bytes.pop();
    }
    SecretValue::new(bytes)
}
