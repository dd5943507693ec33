//! The ways to log in, and what a login gives.

use std::time::Duration;

use reqwest::{Method, StatusCode, header::HeaderValue};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    session::{Ask, Session, Token},
    wire,
};
use crate::{
    secret::SecretValue,
    stores::{Failure, StoreError},
};

/// What a login gave.
pub(super) struct Live {
    pub token: Token,
    pub value: SecretValue,
    /// When it was logged in.
    born: Instant,
    /// When it was last renewed.
    since: Instant,
    /// From `since` on; `None`: for ever.
    pub ttl: Option<Duration>,
    /// From `born` on: no renewal goes beyond it. `None`: there is no end.
    max: Option<Duration>,
}

impl Live {
    fn new(grant: wire::Granted, born: Instant, generation: u64) -> Result<Self, StoreError> {
        let value = SecretValue::from(grant.access_token);
        let header = header(&value)?;
        let mut live = Self { token: Token { header, generation }, value, born, since: born, ttl: None, max: None };
        live.ttl = seconds(grant.expires_in);
        live.max = seconds(grant.max_ttl);
        Ok(live)
    }

    /// Takes over what a renewal gave.
    pub fn renewed(&mut self, grant: wire::Granted, since: Instant) -> Result<(), StoreError> {
        let value = SecretValue::from(grant.access_token);
        (self.token.header, self.value) = (header(&value)?, value);
        (self.since, self.ttl) = (since, seconds(grant.expires_in));
        Ok(())
    }

    pub fn remaining(&self) -> Option<Duration> {
        self.ttl.map(|ttl| (self.since + ttl).saturating_duration_since(Instant::now()))
    }

    /// Whether renewing helps now. Asked for more than the maximum, the server deletes the token.
    pub fn renewable(&self) -> bool {
        self.renewable_at(Instant::now())
    }

    fn renewable_at(&self, at: Instant) -> bool {
        self.ttl.is_some_and(|ttl| {
            // The server works it out when the request arrives.
            let late = (ttl / 4).min(Duration::from_secs(30));
            self.max.is_none_or(|max| at.saturating_duration_since(self.born) + late + ttl <= max)
        })
    }

    /// When to see to it: in the middle of its life, or near its end if all that can be done is to log in again.
    pub fn due(&self) -> Option<Instant> {
        let ttl = self.ttl?;
        let middle = self.since + ttl / 2;
        Some(if self.renewable_at(middle) { middle } else { self.since + ttl / 5 * 4 })
    }
}

impl Session {
    /// Logs in by the method that the store object names.
    pub(super) async fn obtain(&self, generation: u64) -> Result<Live, StoreError> {
        let (method, route, body) = if let Some(universal) = &self.auth.universal_auth {
            let id = text(self.credentials.secret(&universal.client_id.secret_ref).await?)?;
            let secret = text(self.credentials.secret(&universal.client_secret.secret_ref).await?)?;
            ("Universal Auth", "universal-auth", wire::json(&[("clientId", &id), ("clientSecret", &secret)]))
        } else if let Some(kubernetes) = &self.auth.kubernetes {
            let audiences = kubernetes.audiences.clone().unwrap_or_else(|| vec!["infisical".to_owned()]);
            let account = kubernetes.service_account_ref.as_ref();
            let jwt = text(self.credentials.service_account_token(account, &audiences).await?)?;
            ("Kubernetes", "kubernetes-auth", wire::json(&[("identityId", &kubernetes.identity_id), ("jwt", &jwt)]))
        } else {
            return Err(StoreError::new(
                Failure::Misconfigured,
                "spec.provider.infisical.auth names no way to log in: set universalAuth or kubernetes",
            ));
        };
        let what = format!("the {method} login");
        let url = self.url(["api", "v1", "auth", route, "login"])?;
        let born = Instant::now();
        let reply = self.send(&Ask { method: Method::POST, url, body: Some(body), what: &what }, None).await?;
        if reply.status == StatusCode::OK {
            return Live::new(wire::parse(&reply, &what)?, born, generation);
        }
        let why = match wire::login_refused(&reply) {
            Some(true) => {
                "the identity is locked out after too many failures: wait 5 minutes, or unlock it (the identity's Universal Auth), and correct the client secret"
            }
            Some(false) if route == "universal-auth" => {
                "check the client id, put a new client secret into its Secret if this one is revoked, expired or used up, and that the trusted IPs let the operator in (after three failures the server locks the identity out for 5 minutes)"
            }
            Some(false) => {
                "check identityId, that its Kubernetes Auth allows the ServiceAccount that logs in (the operator's, or the one of serviceAccountRef), its namespace and audience, and that the server may use TokenReview"
            }
            None => return Err(wire::refusal(&reply, &what, "")),
        };
        Err(StoreError::new(Failure::Unauthenticated, format!("{what} was rejected: {why}")))
    }
}

/// The body of a renewal.
pub(super) fn renewal(token: &str) -> Zeroizing<Vec<u8>> {
    wire::json(&[("accessToken", token)])
}

fn seconds(number: u64) -> Option<Duration> {
    // Ten years: more would overflow a clock.
    (number > 0).then(|| Duration::from_secs(number.min(315_360_000)))
}

fn header(token: &SecretValue) -> Result<HeaderValue, StoreError> {
    let bearer = token.expose_str().filter(|t| !t.is_empty()).map(|t| Zeroizing::new(format!("Bearer {t}")));
    let header = bearer.and_then(|bearer| HeaderValue::from_str(&bearer).ok());
    let mut header = header.ok_or_else(|| wire::nonsense(&"logging in"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn text(credential: SecretValue) -> Result<Zeroizing<String>, StoreError> {
    let text = credential.expose_str().map(str::trim).filter(|text| !text.is_empty());
    text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| {
        StoreError::new(Failure::Unauthenticated, "the store's credential is empty or no text: correct its Secret")
    })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn live(ttl: u64, max: u64) -> Live {
        let grant = wire::Granted { access_token: "t".to_owned(), expires_in: ttl, max_ttl: max };
        Live::new(grant, Instant::now(), 1).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_only_where_that_does_not_delete_it() {
        let hour = Duration::from_secs(3600);
        // What the server gives by default: as long as it may live at all.
        let whole = live(7200, 7200);
        assert!(!whole.renewable());
        assert_eq!(whole.due(), Some(whole.since + Duration::from_secs(5760)));

        let mut short = live(3600, 3 * 3600);
        assert_eq!(short.due(), Some(short.since + hour / 2));
        tokio::time::advance(hour / 2).await;
        assert!(short.renewable());
        let grant = wire::Granted { access_token: "u".to_owned(), expires_in: 3600, max_ttl: 3 * 3600 };
        short.renewed(grant, Instant::now()).unwrap();
        assert_eq!((short.remaining(), short.token.header.to_str().unwrap()), (Some(hour), "Bearer u"));
        tokio::time::advance(hour).await;
        assert!(short.renewable());
        tokio::time::advance(hour / 2).await;
        assert!(!short.renewable(), "a whole hour more would be past the maximum");

        let endless = live(3600, 0);
        tokio::time::advance(hour * 1000).await;
        assert!(endless.renewable());
        assert_eq!((live(0, 0).due(), live(0, 0).remaining()), (None, None));
    }
}
