//! The ways to log in, and what a login gives.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use reqwest::{Method, StatusCode, header::HeaderValue};
use tokio::time::Instant;

use super::{
    session::{Ask, Session, Token},
    wire,
};
use crate::{
    api::VaultAuth,
    secret::SecretValue,
    stores::{Failure, StoreError, body},
};

/// More seconds than any token lives: a server that says more is not believed, and clocks do not overflow.
pub(super) const LONGEST_LIFE: u64 = 10 * 365 * 86_400;

/// What a login gave.
pub(super) struct Live {
    pub token: Token,
    pub value: SecretValue,
    pub since: Instant,
    /// From `since` on; `None`: for ever, or unknown.
    pub ttl: Option<Duration>,
    /// What the login gave.
    pub granted: Option<Duration>,
    pub renewable: bool,
}

impl Live {
    pub fn remaining(&self) -> Option<Duration> {
        self.ttl.map(|ttl| (self.since + ttl).saturating_duration_since(Instant::now()))
    }

    /// When to see to it: in the middle of its life, or near its end if all that can be done is to log in again.
    pub fn due(&self) -> Option<Instant> {
        self.ttl.map(|ttl| self.since + if self.renewable { ttl / 2 } else { ttl / 5 * 4 })
    }
}

impl Session {
    /// Logs in by the method that the store object names.
    pub(super) async fn obtain(&self, generation: u64) -> Result<Live, StoreError> {
        let auth = &self.auth;
        let (method, mount, body) = if let Some(token) = &auth.token {
            return self.adopt(self.credentials.secret(&token.secret_ref).await?, generation).await;
        } else if let Some(role) = &auth.app_role {
            let secret_id = match role.secret_id_wrapped {
                Some(true) => self.unwrapped(role).await?,
                _ => self.credentials.secret(&role.secret_id.secret_ref).await?,
            };
            let body = fields([("role_id", role.role_id.as_str()), ("secret_id", text(&secret_id)?)]);
            ("AppRole", role.mount_path.as_deref().unwrap_or("approle"), body)
        } else if let Some(kubernetes) = &auth.kubernetes {
            let audiences = kubernetes.audiences.clone().unwrap_or_else(|| vec!["vault".to_owned()]);
            let jwt =
                self.credentials.service_account_token(kubernetes.service_account_ref.as_ref(), &audiences).await?;
            let body = fields([("role", kubernetes.role.as_str()), ("jwt", text(&jwt)?)]);
            ("Kubernetes", kubernetes.mount_path.as_deref().unwrap_or("kubernetes"), body)
        } else if let Some(jwt) = &auth.jwt {
            let token = self.credentials.secret(&jwt.jwt.secret_ref).await?;
            let body = fields([("role", jwt.role.as_str()), ("jwt", text(&token)?)]);
            ("JWT", jwt.mount_path.as_deref().unwrap_or("jwt"), body)
        } else {
            return Err(StoreError::new(Failure::Misconfigured, "spec.provider.vault.auth names no way to log in"));
        };
        let what = format!("the {method} login at auth/{mount}");
        let url = self.url(["auth"].into_iter().chain(mount.split('/')).chain(["login"]))?;
        let reply = self.send(&Ask { method: Method::POST, url, body, what: &what }, None).await?;
        match reply.status {
            StatusCode::OK => {
                let grant = wire::parse::<wire::Granted>(&reply, &what)?.auth;
                live(grant.client_token.into(), grant.lease_duration, grant.renewable, generation)
            }
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(StoreError::new(
                Failure::Unauthenticated,
                format!("{what} was rejected: check that the method is mounted there, the role, and {}", whose(auth)),
            )),
            _ => Err(wire::refusal(&reply, &what, "")),
        }
    }

    /// Takes a token that somebody else made.
    async fn adopt(&self, value: SecretValue, generation: u64) -> Result<Live, StoreError> {
        let mut live = live(value, 0, false, generation)?;
        let lookup = self.look_up(&live.token).await?.ok_or_else(|| {
            let message = "the token is not valid, or no longer: put a new one into the Secret that auth.token names";
            StoreError::new(Failure::Unauthenticated, message)
        })?;
        live.ttl = (lookup.ttl > 0).then(|| Duration::from_secs(lookup.ttl.min(LONGEST_LIFE)));
        (live.granted, live.renewable) = (live.ttl, lookup.renewable);
        Ok(live)
    }

    /// What the token says about itself; `None`: it is not valid.
    pub(super) async fn look_up(&self, token: &Token) -> Result<Option<wire::Lookup>, StoreError> {
        let what = "looking up the token";
        let url = self.url(["auth", "token", "lookup-self"])?;
        let reply = self.send(&Ask { method: Method::GET, url, body: None, what: &what }, Some(token)).await?;
        match reply.status {
            StatusCode::OK => Ok(Some(wire::parse::<wire::Data<_>>(&reply, &what)?.data)),
            // Good, but without the policy `default`: it may not even look at itself.
            StatusCode::FORBIDDEN if wire::denied_by_policy(&reply) => {
                Ok(Some(wire::Lookup { ttl: 0, renewable: false }))
            }
            StatusCode::FORBIDDEN => Ok(None),
            _ => Err(wire::refusal(&reply, &what, "")),
        }
    }
}

pub(super) fn live(value: SecretValue, ttl: u64, renewable: bool, generation: u64) -> Result<Live, StoreError> {
    let mut header = value
        .expose_str()
        .map(str::trim)
        .and_then(|t| HeaderValue::from_str(t).ok())
        .filter(|h| !h.is_empty())
        .ok_or_else(|| {
            StoreError::new(
                Failure::Unauthenticated,
                "what should be a token is none: put the bare token into its Secret",
            )
        })?;
    header.set_sensitive(true);
    let ttl = (ttl > 0).then(|| Duration::from_secs(ttl.min(LONGEST_LIFE)));
    Ok(Live { token: Token { header, generation }, value, since: Instant::now(), ttl, granted: ttl, renewable })
}

/// What is sent to log in. Text is always JSON.
pub(super) fn fields<const N: usize>(fields: [(&str, &str); N]) -> Option<Bytes> {
    body::json(&BTreeMap::from(fields)).ok()
}

pub(super) fn text(credential: &SecretValue) -> Result<&str, StoreError> {
    credential.expose_str().map(str::trim).ok_or_else(|| {
        StoreError::new(Failure::Unauthenticated, "the store's credential is not text: correct its Secret")
    })
}

fn whose(auth: &VaultAuth) -> &'static str {
    if auth.app_role.as_ref().is_some_and(|role| role.secret_id_wrapped == Some(true)) {
        "put a new wrapping token into its Secret if the secret id that came out of it is used up or expired"
    } else if auth.app_role.is_some() {
        "put a new secret id into its Secret if this one is used up or expired (after five failures the server itself rejects for 15 minutes)"
    } else if auth.kubernetes.is_some() {
        "that it is bound to the ServiceAccount that logs in (the operator's, or the one of serviceAccountRef), its namespace and audience, and that the server may use TokenReview"
    } else {
        "that the JWT is one that it accepts"
    }
}

#[cfg(test)]
mod fuzz;
