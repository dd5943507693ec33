//! One namespace of a test, and what a user sees in it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Cluster, wait_for};

/// One namespace of a test.
#[derive(Clone)]
pub struct Space {
    pub cluster: Cluster,
    pub name: String,
}

impl Space {
    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.cluster.get(kind, Some(&self.name), name).await
    }

    pub async fn delete(&self, kind: &str, name: &str) {
        self.cluster.delete(kind, Some(&self.name), name).await;
    }

    /// JSON merge patch, as someone else.
    #[track_caller]
    pub fn merge(&self, kind: &str, name: &str, patch: &Value) -> impl Future<Output = Value> {
        self.cluster.merge(kind, Some(&self.name), name, patch)
    }

    /// Applies a reference.
    #[track_caller]
    pub fn reference(&self, name: &str, spec: &Value) -> impl Future<Output = Value> {
        let object = json!({
            "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretReference",
            "metadata": { "name": name, "namespace": self.name }, "spec": spec,
        });
        let at = std::panic::Location::caller();
        async move { self.cluster.try_apply(&object).await.unwrap_or_else(|e| panic!("{at}: {}", e.message)) }
    }

    /// Applies a Secret with these texts.
    pub async fn secret(&self, name: &str, data: &Value) -> Value {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "namespace": self.name }, "data": encoded(data),
        });
        self.cluster.apply(&object).await
    }

    /// Waits until an object is so, and answers it; `what` is said in a failure, with what the object was instead.
    pub async fn until(&self, kind: &str, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{kind} {}/{name}: {what}", self.name), || async {
            match self.get(kind, name).await {
                Some(object) if so(&object) => Ok(object),
                Some(object) => Err(shown(&object)),
                None => Err("it is not there".to_owned()),
            }
        })
        .await
    }

    /// Waits until a reference's last attempt ended with this reason, for its present generation.
    pub async fn until_reason(&self, name: &str, expected: &str) -> Value {
        self.until("SecretReference", name, &format!("Synced for reason {expected}"), |r| {
            r["status"]["observedGeneration"] == r["metadata"]["generation"] && reason(r) == expected
        })
        .await
    }

    /// The texts in a Secret, if it is there.
    pub async fn data(&self, name: &str) -> Option<Value> {
        self.get("Secret", name).await.map(|secret| texts(&secret))
    }

    /// Waits until a Secret holds exactly these texts; answers it whole.
    pub async fn until_data(&self, name: &str, expected: &Value) -> Value {
        wait_for(&format!("Secret {}/{name} holds {expected}", self.name), || async {
            match self.get("Secret", name).await {
                Some(secret) if texts(&secret) == *expected => Ok(secret),
                Some(secret) => Err(format!("it holds {}\n{}", texts(&secret), self.told(name).await)),
                None => Err(format!("it is not there\n{}", self.told(name).await)),
            }
        })
        .await
    }

    async fn told(&self, reference: &str) -> String {
        match self.get("SecretReference", reference).await {
            Some(reference) => format!("and the reference says:\n{}", shown(&reference)),
            None => "and there is no reference of this name".to_owned(),
        }
    }

    /// The Events of one object of this namespace: reason and note.
    pub async fn events(&self, kind: &str, name: &str) -> Vec<(String, String)> {
        let object = self.get(kind, name).await.unwrap_or_else(|| panic!("there is no {kind} {name}"));
        self.cluster.events(object["metadata"]["uid"].as_str().unwrap()).await
    }

    /// Waits for an Event with this reason; answers its note.
    pub async fn until_event(&self, kind: &str, name: &str, reason: &str) -> String {
        wait_for(&format!("an Event {reason} of {kind} {}/{name}", self.name), || async {
            let events = self.events(kind, name).await;
            events.iter().find(|(r, _)| r == reason).map(|(_, note)| note.clone()).ok_or_else(|| format!("{events:?}"))
        })
        .await
    }

    pub async fn done(self) {
        self.cluster.delete("Namespace", None, &self.name).await;
    }
}

/// A condition, or null.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|c| c.iter().find(|c| c["type"] == kind)).unwrap_or(&Value::Null)
}

/// The reason of a reference's last attempt.
pub fn reason(reference: &Value) -> &str {
    condition(reference, "Synced")["reason"].as_str().unwrap_or_default()
}

/// The texts in a Secret.
fn texts(secret: &Value) -> Value {
    let decode = |v: &Value| String::from_utf8_lossy(&STANDARD.decode(v.as_str().unwrap()).unwrap()).into_owned();
    let data = secret["data"].as_object().into_iter().flatten();
    data.map(|(key, value)| (key.clone(), json!(decode(value)))).collect()
}

/// Texts as `data` holds them. Not `stringData`: an apply of it is tracked under that name, which is a case of its own.
fn encoded(texts: &Value) -> Value {
    let texts = texts.as_object().into_iter().flatten();
    texts.map(|(key, text)| (key.clone(), json!(STANDARD.encode(text.as_str().expect("a text"))))).collect()
}

/// What matters of an object that is not as it should be.
fn shown(object: &Value) -> String {
    let metadata = &object["metadata"];
    let shown = json!({
        "generation": metadata["generation"], "labels": metadata["labels"], "annotations": metadata["annotations"],
        "status": object["status"], "data": object["data"],
    });
    serde_json::to_string_pretty(&shown).unwrap()
}
