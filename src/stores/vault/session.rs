//! One login for each store, shared by every read: made once, renewed before it expires, made anew when it is gone.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Method, RequestBuilder, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::{sync::Mutex, time::Instant};

use super::{
    login::{LONGEST_LIFE, Live},
    wire,
    wrapped::Unwrapped,
};
use crate::{
    api::VaultAuth,
    stores::{
        Credentials, Failure, StoreError,
        http::{Http, Opened, Reply},
    },
};

/// For so long a token that was found good is not asked about again when something is denied.
const TRUSTED: Duration = Duration::from_secs(3);
/// The first pause after a rejected login.
const PAUSE: Duration = Duration::from_secs(10);
/// The pause that keeps an AppRole from being locked: the server rejects even a good secret id for 15 minutes after the
/// fifth failure, and forgets failures after 15 minutes without one.
const LOCKOUT: Duration = Duration::from_secs(16 * 60);

/// A session at one server.
pub(super) struct Session {
    http: Http,
    namespace: Option<HeaderValue>,
    pub auth: VaultAuth,
    pub credentials: Arc<dyn Credentials>,
    /// A secret id that arrived wrapped.
    pub unwrapped: Mutex<Option<Unwrapped>>,
    state: Mutex<State>,
    logins: AtomicU64,
}

/// A token in use. A new token has a new generation.
#[derive(Clone)]
pub(super) struct Token {
    pub header: HeaderValue,
    /// Which login it is of, from 1.
    pub generation: u64,
}

/// One request, which may be sent twice.
pub(super) struct Ask<'a> {
    pub method: Method,
    pub url: Url,
    pub body: Option<Bytes>,
    /// Starts the sentence of an error: `reading acme--db-password`.
    pub what: &'a (dyn fmt::Display + Sync),
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    generation: u64,
    /// The last failed login: answered again until then, without asking the server.
    refused: Option<(Instant, StoreError)>,
    refusals: u32,
    checked: Option<Instant>,
}

impl Session {
    pub fn new(
        http: Http,
        namespace: Option<&str>,
        auth: VaultAuth,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Self, StoreError> {
        let namespace = namespace.map(HeaderValue::from_str).transpose().map_err(|_| {
            StoreError::new(Failure::Misconfigured, "spec.provider.vault.namespace is no namespace: write it as a/b")
        })?;
        let (unwrapped, state, logins) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        Ok(Self { http, namespace, auth, credentials, unwrapped, state, logins })
    }

    /// Logins since the start.
    pub fn logins(&self) -> u64 {
        self.logins.load(Ordering::Relaxed)
    }

    /// A URL of the API.
    pub fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Result<Url, StoreError> {
        self.http.url(["v1"].into_iter().chain(segments))
    }

    /// Asks with the session's token. If it is no longer valid, logs in once and asks once more.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Reply, StoreError> {
        let token = self.token().await?;
        let reply = self.send(ask, Some(&token)).await?;
        if reply.status != StatusCode::FORBIDDEN || wire::denied_by_policy(&reply) || self.is_valid(&token).await? {
            return Ok(reply);
        }
        let token = self.token().await?;
        self.send(ask, Some(&token)).await
    }

    /// [`Session::ask`] for a connection of another protocol.
    pub async fn open(&self, ask: &Ask<'_>, upgrade: HeaderMap) -> Result<Opened, StoreError> {
        let token = self.token().await?;
        let opened = self.http.open(self.request(ask, Some(&token)).headers(upgrade.clone()), &ask.what).await?;
        match &opened {
            Opened::Refused(reply)
                if reply.status == StatusCode::FORBIDDEN
                    && !wire::denied_by_policy(reply)
                    && !self.is_valid(&token).await? => {}
            _ => return Ok(opened),
        }
        let token = self.token().await?;
        self.http.open(self.request(ask, Some(&token)).headers(upgrade), &ask.what).await
    }

    /// Asks without a token, and outside of any namespace, where there is no session to speak of.
    pub async fn ask_openly(&self, url: Url, what: &impl fmt::Display) -> Result<Reply, StoreError> {
        self.http.send(self.http.request(Method::GET, url), what).await
    }

    /// Whether the token is still good, as the server says; the one that lives now, if it was replaced.
    pub async fn check(&self) -> Result<Token, StoreError> {
        let token = self.token().await?;
        self.state.lock().await.checked = None;
        if self.is_valid(&token).await? { Ok(token) } else { self.token().await }
    }

    /// The token of the session; logs in if there is none. All who need one wait for one login.
    pub async fn token(&self) -> Result<Token, StoreError> {
        let mut state = self.state.lock().await;
        match &state.live {
            Some(live) if live.remaining() != Some(Duration::ZERO) => Ok(live.token.clone()),
            _ => self.log_in(&mut state).await,
        }
    }

    /// Renews the token, or logs in again where renewing does not help; answers when to be called next.
    pub async fn maintain(&self) -> Duration {
        if self.token().await.is_err() {
            return self.state.lock().await.pause();
        }
        let (token, renewable) = {
            let state = self.state.lock().await;
            let Some(live) = &state.live else { return PAUSE };
            let Some(due) = live.due() else { return Duration::from_secs(300) };
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return wait;
            }
            (live.token.clone(), live.renewable)
        };
        // Reads go on meanwhile, with the token that is still good.
        let renewed = if renewable { self.renew(&token).await } else { Ok(None) };
        let mut state = self.state.lock().await;
        let Some(live) = state.live.as_mut().filter(|live| live.token.generation == token.generation) else {
            return Duration::from_secs(1);
        };
        match renewed {
            Ok(Some((ttl, renewable))) => {
                live.since = Instant::now();
                live.ttl = (!ttl.is_zero()).then_some(ttl);
                live.renewable = renewable;
                let spent = live.granted.is_some_and(|granted| live.ttl.is_some_and(|ttl| ttl < granted / 3));
                if !spent {
                    return state.next();
                }
            }
            // The server is not there now. While there is time, ask it again; after that, hope for a login.
            Err(_) if live.remaining() > live.ttl.map(|ttl| ttl / 4) => {
                return live.remaining().unwrap_or_default().div_f64(4.0).max(Duration::from_secs(1));
            }
            Err(_) | Ok(None) => {}
        }
        if state.refused.as_ref().is_some_and(|(until, _)| *until > Instant::now())
            || self.log_in(&mut state).await.is_err()
        {
            return state.pause();
        }
        state.next()
    }

    /// `None`: this token cannot be renewed.
    async fn renew(&self, token: &Token) -> Result<Option<(Duration, bool)>, StoreError> {
        let what = "renewing the token";
        let url = self.url(["auth", "token", "renew-self"])?;
        let ask = Ask { method: Method::POST, url, body: Some(Bytes::from_static(b"{}")), what: &what };
        let reply = self.send(&ask, Some(token)).await?;
        match reply.status {
            StatusCode::OK => {
                let grant = wire::parse::<wire::Granted>(&reply, &what)?.auth;
                Ok(Some((Duration::from_secs(grant.lease_duration.min(LONGEST_LIFE)), grant.renewable)))
            }
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => Ok(None),
            _ => Err(wire::refusal(&reply, &what, "")),
        }
    }

    /// Asks the server whether a token that something was denied to is still valid, if nobody just did.
    async fn is_valid(&self, token: &Token) -> Result<bool, StoreError> {
        let mut state = self.state.lock().await;
        if state.live.as_ref().is_none_or(|live| live.token.generation != token.generation) {
            return Ok(false);
        }
        if state.checked.is_some_and(|at| at.elapsed() < TRUSTED) {
            return Ok(true);
        }
        let valid = self.look_up(token).await?.is_some();
        if valid {
            state.checked = Some(Instant::now());
        } else {
            state.live = None;
        }
        Ok(valid)
    }

    pub async fn send(&self, ask: &Ask<'_>, token: Option<&Token>) -> Result<Reply, StoreError> {
        self.http.send(self.request(ask, token), &ask.what).await
    }

    fn request(&self, ask: &Ask<'_>, token: Option<&Token>) -> RequestBuilder {
        let mut request = self.http.request(ask.method.clone(), ask.url.clone()).header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(token) = token {
            request = request.header("X-Vault-Token", &token.header);
        }
        if let Some(body) = &ask.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        request
    }

    async fn log_in(&self, state: &mut State) -> Result<Token, StoreError> {
        if let Some((_, error)) = state.refused.as_ref().filter(|(until, _)| *until > Instant::now()) {
            return Err(error.clone());
        }
        match self.obtain(state.generation + 1).await {
            Ok(mut live) => {
                match &state.live {
                    // A token from a Secret may be the one that was there before.
                    Some(old) if old.value == live.value => live.token = old.token.clone(),
                    _ => {
                        state.generation += 1;
                        self.logins.fetch_add(1, Ordering::Relaxed);
                    }
                }
                let token = live.token.clone();
                *state = State { live: Some(live), generation: state.generation, ..State::default() };
                Ok(token)
            }
            Err(error) => {
                state.refused(&self.auth, &error);
                Err(error)
            }
        }
    }
}

impl State {
    /// Remembers a failed login, so that a thousand reads do not each try it.
    fn refused(&mut self, auth: &VaultAuth, error: &StoreError) {
        let pause = match error.failure {
            // The layers retry these.
            Failure::Unavailable | Failure::RateLimited(_) => return,
            Failure::Unauthenticated => {
                self.refusals += 1;
                match (auth.app_role.is_some(), self.refusals) {
                    (true, 4..) => LOCKOUT,
                    (true, n) => PAUSE * 3_u32.pow(n - 1),
                    // Within one probe of its repair the store is back.
                    (false, n) => PAUSE * n.min(2),
                }
            }
            _ => PAUSE / 2,
        };
        self.refused = Some((Instant::now() + pause, error.clone()));
    }

    fn pause(&self) -> Duration {
        let until = self.refused.as_ref().map_or_else(Instant::now, |(until, _)| *until);
        until.saturating_duration_since(Instant::now()).max(PAUSE / 2)
    }

    fn next(&self) -> Duration {
        let due = self.live.as_ref().and_then(Live::due);
        due.map_or(Duration::from_secs(300), |due| due.saturating_duration_since(Instant::now()))
            .max(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests;
