//! The server's event subscription: which secrets of a project change, as server-sent events. Servers of 2025 and later
//! have it, with a licence for it; the identity's role needs rights of its own.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use reqwest::{Method, Response, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    place::Root,
    session::{Ask, Session},
    sse::{Event, Events as Sse},
    wire,
};
use crate::stores::{
    Failure, Notice, StoreError,
    http::{Opened, Reply},
    streams::{Heard, Open, Subscribe, Unheard},
};

/// What is subscribed to.
const KINDS: [&str; 4] = ["secret:create", "secret:update", "secret:delete", "secret:import-mutation"];

/// The subscription of one store.
pub(super) struct Events {
    pub session: Arc<Session>,
    pub project: String,
    pub environment: String,
    pub root: Root,
}

/// Which changes are the store's.
struct Scope {
    environment: String,
    root: Root,
}

#[async_trait]
impl Subscribe for Events {
    // The server pings every 15 seconds, older ones every 60.
    const SILENCE: Duration = Duration::from_secs(150);

    async fn subscribe(&self) -> Result<Open, Unheard> {
        let what = "subscribing to changes";
        let url = self.session.url(["api", "v1", "events", "subscribe", "project-events"])?;
        let below = format!("{}/**", self.root.path().trim_end_matches('/'));
        let conditions = json!({ "environmentSlug": self.environment, "secretPath": below });
        let register = KINDS.map(|event| json!({ "event": event, "conditions": conditions }));
        let body = json!({ "projectId": self.project, "register": register }).to_string();
        let body = Some(Zeroizing::new(body.into_bytes()));
        match self.session.open(&Ask { method: Method::POST, url, body, what: &what }).await? {
            Opened::Stream(response) if is_stream(&response) => {
                Ok(read(response, Scope { environment: self.environment.clone(), root: self.root.clone() }))
            }
            Opened::Stream(_) => Err(Unheard::Absent(wire::nonsense(&what))),
            Opened::Refused(reply) => Err(self.refused(&reply, what, &below)),
        }
    }
}

impl Events {
    fn refused(&self, reply: &Reply, what: &str, below: &str) -> Unheard {
        let absent = |failure, why: &str| Unheard::Absent(StoreError::new(failure, format!("{what} failed: {why}")));
        match reply.status.as_u16() {
            404 | 405 => absent(
                Failure::Misconfigured,
                "this server has no event subscriptions: upgrade it if changes must arrive before the next poll",
            ),
            400 | 402 => absent(
                Failure::Misconfigured,
                "the server's plan has no event subscriptions: change it, or send webhooks, if changes must arrive before the next poll",
            ),
            403 => absent(
                Failure::Denied,
                &format!(
                    "the identity's role does not allow it: give it Secret Events (created, updated, deleted, import mutations) on environment {}, path {below}",
                    self.environment
                ),
            ),
            422 => absent(Failure::Misconfigured, "the server wants another request: look for a newer operator"),
            _ => Unheard::Failed(wire::refusal(reply, &what, "")),
        }
    }
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

fn read(response: Response, scope: Scope) -> Open {
    let state = (response, Sse::default(), VecDeque::new(), scope);
    stream::unfold(state, |(mut response, mut events, mut heard, scope)| async move {
        loop {
            if let Some(next) = heard.pop_front() {
                return Some((next, (response, events, heard, scope)));
            }
            let chunk = response.chunk().await.ok()??;
            heard.push_back(Heard::Alive);
            // One that is too long was missed: a new stream begins with a look at everything.
            for event in events.push(&chunk).ok()? {
                heard.extend(scope.notices(&event).into_iter().map(Heard::Notice));
            }
        }
    })
    .boxed()
}

#[derive(Deserialize)]
struct Message {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    event_type: String,
    payload: Payload,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Payload {
    Many(Vec<Item>),
    One(Item),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    environment: String,
    secret_path: String,
    #[serde(default)]
    secret_key: Option<String>,
}

impl Scope {
    /// What an event says of this store; nothing, if it is no such event.
    fn notices(&self, event: &Event) -> Vec<Notice> {
        let Ok(Message { data }) = serde_json::from_slice(&event.data) else { return Vec::new() };
        if !KINDS.contains(&data.event_type.as_str()) {
            return Vec::new();
        }
        let items = match data.payload {
            Payload::Many(items) => items,
            Payload::One(item) => vec![item],
        };
        let ours = items.into_iter().filter(|item| item.environment == self.environment);
        ours.filter_map(|item| self.notice(&item)).collect()
    }

    fn notice(&self, item: &Item) -> Option<Notice> {
        let folder = self.root.below(&item.secret_path)?;
        match &item.secret_key {
            Some(name) => self.root.key(&item.secret_path, name).map(Notice::Key),
            None => Some(Notice::Folder(folder.into())),
        }
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naming::StoreKey;

    fn scope(root: Option<&str>) -> Scope {
        Scope { environment: "prod".to_owned(), root: Root::new(root) }
    }

    fn said(root: Option<&str>, data: &str) -> Vec<Notice> {
        scope(root).notices(&Event { data: data.as_bytes().to_vec() })
    }

    fn key(text: &str) -> Notice {
        Notice::Key(StoreKey::verbatim(text))
    }

    /// As the server documents it.
    fn event(kind: &str, items: &[(&str, &str, &str)]) -> String {
        let items: Vec<_> = items
            .iter()
            .map(|(environment, path, key)| json!({ "environment": environment, "secretPath": path, "secretKey": key }))
            .collect();
        json!({ "projectType": "secret-manager", "data": { "eventType": kind, "payload": items } }).to_string()
    }

    #[test]
    fn only_secrets_of_the_environment_under_the_root_are_told_of() {
        let all = [
            ("prod", "/", "TOP"),
            ("prod", "/acme", "DB_PASSWORD"),
            ("dev", "/acme", "DB_USER"),
            ("prod", "/apps/acme", "API_KEY"),
            ("prod", "/apps", "KEY"),
            ("prod", "/applications/acme", "OTHER"),
        ];
        for kind in &KINDS[..3] {
            let text = event(kind, &all);
            let whole = ["TOP", "acme/DB_PASSWORD", "apps/acme/API_KEY", "apps/KEY", "applications/acme/OTHER"];
            assert_eq!(said(None, &text), whole.map(key));
            assert_eq!(said(Some("/apps/"), &text), ["acme/API_KEY", "KEY"].map(key));
            assert_eq!(said(Some("/nowhere"), &text), []);
        }
    }

    #[test]
    fn a_changed_import_is_a_changed_folder() {
        let text = |path: &str| {
            let item = json!({ "environment": "prod", "secretPath": path });
            json!({ "data": { "eventType": "secret:import-mutation", "payload": item } }).to_string()
        };
        assert_eq!(said(None, &text("/acme")), [Notice::Folder("acme".into())]);
        assert_eq!(said(None, &text("/")), [Notice::Folder("".into())]);
        assert_eq!(said(Some("/apps"), &text("/apps/acme")), [Notice::Folder("acme".into())]);
        assert_eq!(said(Some("/apps"), &text("/acme")), []);
    }

    #[test]
    fn servers_that_wrap_an_event_once_more_are_understood() {
        let item = json!([{ "environment": "prod", "secretPath": "/acme", "secretKey": "A" }]);
        let old =
            json!({ "type": "secret:update", "time": 1, "data": { "eventType": "secret:update", "payload": item } });
        assert_eq!(said(None, &old.to_string()), [key("acme/A")]);
    }

    #[test]
    fn junk_says_nothing() {
        let good = event("secret:update", &[("prod", "/acme", "A")]);
        let deep = "[".repeat(100_000);
        for junk in [
            "",
            "{}",
            "null",
            "[]",
            "ping",
            "\u{0}",
            &deep,
            &good[..good.len() - 2],
            &event("secret:read", &[("prod", "/acme", "A")]),
            &event("secret:update", &[("prod", "acme", "A")]),
            &event("secret:update", &[("prod", "/acme/..", "A")]),
            &event("secret:update", &[("prod", "/acme", "A B\n")]),
            r#"{"data":{"eventType":"secret:update","payload":{}}}"#,
            r#"{"data":{"eventType":"secret:update","payload":[1]}}"#,
            r#"{"data":{"eventType":7,"payload":[]}}"#,
        ] {
            assert_eq!(said(None, junk), [], "{}", &junk[..junk.len().min(80)]);
        }
    }
}
