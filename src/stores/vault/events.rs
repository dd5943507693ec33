//! Event notifications of Vault Enterprise: which keys of a mount change, over a websocket. Other servers have no such
//! path. The connection is an upgrade of a request of the store's own client: its TLS, its CA, its token.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream};
use reqwest::{
    Method, Response, StatusCode, Upgraded,
    header::{
        CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use serde::Deserialize;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    session::{Ask, Session},
    wire,
};
use crate::{
    naming::StoreKey,
    stores::{
        Failure, Notice, StoreError,
        http::{Opened, Reply},
        streams::{Heard, Open, Subscribe, Unheard},
    },
};

/// The server is asked so often whether it is there.
const PING: Duration = Duration::from_secs(30);
/// The longest event that is taken.
const MAX: usize = 1 << 20;
/// Of the websocket protocol (RFC 6455).
const ACCEPTS: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subscription of one mount.
pub(super) struct Events {
    pub session: Arc<Session>,
    pub mount: String,
}

#[async_trait]
impl Subscribe for Events {
    const SILENCE: Duration = Duration::from_secs(75);

    async fn subscribe(&self) -> Result<Open, Unheard> {
        let what = "subscribing to changes";
        let mut url = self.session.url(["sys", "events", "subscribe", "kv*"])?;
        url.set_query(Some("json=true"));
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let opened =
            self.session.open(&Ask { method: Method::GET, url, body: None, what: &what }, upgrade(&key)).await?;
        let response = match opened {
            Opened::Stream(response) if is_upgraded(&response, &key) => response,
            Opened::Stream(_) => return Err(Unheard::Absent(no_websocket(what))),
            Opened::Refused(reply) => return Err(refused(&reply, what)),
        };
        let connection = response.upgrade().await.map_err(|_| no_websocket(what))?;
        let socket = WebSocketStream::from_raw_socket(connection, Role::Client, Some(limits())).await;
        let mut pings = interval(PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let state = (socket, pings, self.mount.clone());
        let heard = |(mut socket, mut pings, mount): (_, _, String)| async move {
            hear(&mut socket, &mut pings, &mount).await.map(|heard| (heard, (socket, pings, mount)))
        };
        Ok(stream::unfold(state, heard).boxed())
    }
}

/// The next thing that is heard; `None`: the connection has ended.
async fn hear(socket: &mut WebSocketStream<Upgraded>, pings: &mut Interval, mount: &str) -> Option<Heard> {
    loop {
        tokio::select! {
            message = socket.next() => return match message?.ok()? {
                Message::Text(text) => Some(said(text.as_bytes(), mount)),
                Message::Binary(bytes) => Some(said(&bytes, mount)),
                Message::Close(_) => None,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Some(Heard::Alive),
            },
            // What does not leave is noticed as silence.
            _ = pings.tick() => socket.send(Message::Ping(Bytes::new())).await.ok()?,
        }
    }
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX))
}

fn upgrade(key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.extend(HeaderValue::from_str(key).ok().map(|key| (SEC_WEBSOCKET_KEY, key)));
    headers
}

fn is_upgraded(response: &Response, key: &str) -> bool {
    let accepts = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{ACCEPTS}").as_bytes());
    let said = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    response.status() == StatusCode::SWITCHING_PROTOCOLS && said == Some(STANDARD.encode(accepts).as_bytes())
}

fn no_websocket(what: &str) -> StoreError {
    let message =
        format!("{what} failed: no websocket comes through: let what is in front of the server upgrade connections");
    StoreError::new(Failure::Misconfigured, message)
}

fn refused(reply: &Reply, what: &str) -> Unheard {
    let absent = |failure, why| Unheard::Absent(StoreError::new(failure, format!("{what} failed: {why}")));
    match reply.status.as_u16() {
        403 => absent(
            Failure::Denied,
            "the policies of the operator's login do not allow it: where the server is Vault Enterprise, add path \"sys/events/subscribe/kv*\" { capabilities = [\"read\"] } to one",
        ),
        400 | 402 | 404 | 405 | 426 => absent(
            Failure::Misconfigured,
            "this server has no event notifications, only Vault Enterprise has: send notifications from its audit log if changes must arrive before the next poll",
        ),
        _ => Unheard::Failed(wire::refusal(reply, &what, "")),
    }
}

#[derive(Deserialize)]
struct CloudEvent {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    event: Event,
    #[serde(default)]
    event_type: String,
    #[serde(default)]
    plugin_info: Plugin,
}

#[derive(Deserialize)]
struct Event {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    path: String,
    #[serde(default)]
    modified: Option<String>,
}

#[derive(Default, Deserialize)]
struct Plugin {
    #[serde(default)]
    mount_path: Option<String>,
}

fn said(message: &[u8], mount: &str) -> Heard {
    notice(message, mount).map_or(Heard::Alive, Heard::Notice)
}

/// What an event says of this mount; nothing, if it is no such event.
fn notice(message: &[u8], mount: &str) -> Option<Notice> {
    let data = serde_json::from_slice::<CloudEvent>(message).ok()?.data;
    let Metadata { path, modified } = data.event.metadata;
    let other = data.plugin_info.mount_path.is_some_and(|path| path.trim_matches('/') != mount);
    if other || modified.as_deref() == Some("false") {
        return None;
    }
    let inside = path.strip_prefix(mount)?.strip_prefix('/')?;
    let key = if data.event_type.starts_with("kv-v1/") {
        inside
    } else {
        let (kind, key) = inside.split_once('/')?;
        matches!(kind, "data" | "delete" | "undelete" | "destroy" | "metadata").then_some(key)?
    };
    (!key.is_empty() && !key.chars().any(char::is_control)).then(|| Notice::Key(StoreKey::verbatim(key)))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Vault sends it.
    fn event(kind: &str, mount: &str, path: &str) -> String {
        let event = json!({
            "id": "a3be9fb1-b514-519f-5b25-b6f144a8c1ce", "source": "vault://vault-0", "specversion": "1.0", "type": "*",
            "data": {
                "event": {
                    "id": "a3be9fb1-b514-519f-5b25-b6f144a8c1ce",
                    "metadata": { "current_version": "1", "modified": "true", "oldest_version": "0", "path": path },
                },
                "event_type": kind,
                "plugin_info": { "mount_class": "secret", "mount_accessor": "kv_5dc4d18e", "mount_path": mount, "plugin": "kv" },
            },
            "datacontentype": "application/cloudevents", "time": "2023-09-12T15:19:49.394915-07:00",
        });
        format!("{event}\n")
    }

    fn told(mount: &str, message: &str) -> Option<String> {
        match notice(message.as_bytes(), mount)? {
            Notice::Key(key) => Some(key.as_str().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_change_names_its_key() {
        for (kind, path) in [
            ("kv-v2/data-write", "secret/data/acme--db"),
            ("kv-v2/data-patch", "secret/data/acme--db"),
            ("kv-v2/data-delete", "secret/data/acme--db"),
            ("kv-v2/delete", "secret/delete/acme--db"),
            ("kv-v2/undelete", "secret/undelete/acme--db"),
            ("kv-v2/destroy", "secret/destroy/acme--db"),
            ("kv-v2/metadata-delete", "secret/metadata/acme--db"),
            ("kv-v1/write", "secret/acme--db"),
            ("kv-v1/delete", "secret/acme--db"),
        ] {
            assert_eq!(told("secret", &event(kind, "secret/", path)).as_deref(), Some("acme--db"), "{kind}");
        }
        assert_eq!(told("a/b", &event("kv-v2/data-write", "a/b/", "a/b/data/acme/x/y")).as_deref(), Some("acme/x/y"));
        assert_eq!(
            told("secret", &event("kv-v2/data-write", "secret/", "secret/data/data/x")).as_deref(),
            Some("data/x")
        );
    }

    #[test]
    fn other_mounts_and_what_is_no_key_say_nothing() {
        let good = event("kv-v2/data-write", "secret/", "secret/data/acme--db");
        let deep = "[".repeat(100_000);
        for junk in [
            "",
            "{}",
            "null",
            "\u{0}",
            &deep,
            &good[..good.len() - 3],
            &good.replace(r#""modified":"true""#, r#""modified":"false""#),
            &good.replace(r#""path":"secret/data/acme--db""#, r#""path":7"#),
            &event("kv-v2/data-write", "other/", "secret/data/acme--db"),
            &event("kv-v2/data-write", "other/", "other/data/acme--db"),
            &event("kv-v2/data-write", "secret-old/", "secret-old/data/acme--db"),
            &event("kv-v2/config-write", "secret/", "secret/config"),
            &event("kv-v2/data-write", "secret/", "secret/data/"),
            &event("kv-v2/data-write", "secret/", "secret/data/a\nb"),
            &event("kv-v2/data-write", "secret/", "data/acme--db"),
        ] {
            assert_eq!(told("secret", junk), None, "{}", &junk[..junk.len().min(200)]);
        }
    }
}
