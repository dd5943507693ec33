//! Event subscriptions, as the server's source has them: rights first, then the plan, then server-sent events until
//! either side ends them. Nothing is kept for who is not there.

use axum::{
    body::{Body, Bytes},
    http::header,
    response::Response,
};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{
    PROJECT, State,
    answers::{error, form},
    logins::Role,
    routes::Asked,
};

const KINDS: [&str; 4] = ["secret:create", "secret:update", "secret:delete", "secret:import-mutation"];

/// What the plan allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Licence {
    #[default]
    None,
    Enterprise,
}

/// Who listens.
#[derive(Default)]
pub struct Subscriptions {
    pub licence: Licence,
    open: Vec<Subscription>,
}

struct Subscription {
    /// Event, environment, and the beginning of the path.
    register: Vec<(String, String, String)>,
    to: UnboundedSender<Bytes>,
}

impl Subscriptions {
    pub fn tell(&mut self, event: &str, environment: &str, path: &str, name: &str) {
        let item = json!({ "environment": environment, "secretPath": path, "secretKey": name });
        let data = json!({ "projectType": "secret-manager", "data": { "eventType": event, "payload": [item] } });
        let text = format!("id: 1763801063000\nevent: {event}\ndata: {data}\n\n");
        self.open.retain(|subscription| {
            let wanted = subscription.register.iter().any(|(kind, slug, start)| {
                kind == event && slug == environment && (path == start || path.starts_with(&format!("{start}/")))
            });
            !wanted || subscription.to.send(text.clone().into()).is_ok()
        });
    }

    pub fn say(&mut self, text: &str) {
        self.open.retain(|subscription| subscription.to.send(Bytes::copy_from_slice(text.as_bytes())).is_ok());
    }

    pub fn count(&mut self) -> usize {
        self.open.retain(|subscription| !subscription.to.is_closed());
        self.open.len()
    }

    pub fn end(&mut self) {
        self.open.clear();
    }
}

impl Asked {
    pub(super) fn subscribe(&self, state: &mut State) -> Response {
        state.asked.push("subscribe".to_owned());
        let role = match state.logins.role(self.authorization.as_deref()) {
            Ok(role) => role,
            Err((status, code, message)) => return error(self.release, status, code, &message),
        };
        if self.fields.get("projectId").map(String::as_str) != Some(PROJECT) {
            return error(self.release, 404, "NotFound", "Project not found");
        }
        let register: Value = serde_json::from_str(&self.fields["register"]).unwrap_or_default();
        let Some(register) = register.as_array().filter(|list| (1..=10).contains(&list.len())) else {
            return form(self.release, "register");
        };
        let mut wanted = Vec::new();
        for one in register {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (event, conditions) = (text(&one["event"]), &one["conditions"]);
            let (slug, path) = (text(&conditions["environmentSlug"]), text(&conditions["secretPath"]));
            let Some(start) = path.strip_suffix("/**").filter(|_| KINDS.contains(&event.as_str())) else {
                return form(self.release, "register");
            };
            wanted.push((event, slug, start.to_owned()));
        }
        if !matches!(role, Role::Admin | Role::Viewer) {
            return self.denied("subscribe-created");
        }
        if state.subscriptions.licence == Licence::None {
            let message =
                "Event subscriptions are not available on your current plan. Please upgrade to access this feature.";
            return error(self.release, 400, "BadRequest", message);
        }
        let (to, from) = unbounded_channel();
        let _ = to.send(Bytes::from_static(b"event: ping\n\n"));
        state.subscriptions.open.push(Subscription { register: wanted, to });
        let events = stream::unfold(from, |mut from| async move { Some((from.recv().await?, from)) });
        let events = futures::StreamExt::map(events, Ok::<_, std::io::Error>);
        Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-cache")
            .body(Body::from_stream(events))
            .unwrap()
    }
}
