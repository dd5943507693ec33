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
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;

use super::{
    login::{self, Live},
    wire,
};
use crate::{
    api::InfisicalAuth,
    stores::{
        Credentials, Failure, StoreError,
        http::{Http, Opened, Reply},
    },
};

/// The pause after a rejected login.
const PAUSE: Duration = Duration::from_secs(10);
/// The pause that keeps an identity from being locked: three failures lock it out for 300 s, also for a good secret, and
/// are forgotten after 30 s without one.
const LOCKOUT: Duration = Duration::from_secs(310);
/// When there is nothing to see to.
const IDLE: Duration = Duration::from_secs(300);

/// A session at one server.
pub(super) struct Session {
    http: Http,
    pub auth: InfisicalAuth,
    pub credentials: Arc<dyn Credentials>,
    state: Mutex<State>,
    /// The last login whose token the server took.
    taken: AtomicU64,
    logins: AtomicU64,
}

/// A token in use. A new login has a new generation; a renewal goes on with the old one's.
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
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// Starts the sentence of an error: `reading acme/DB_PASSWORD`.
    pub what: &'a (dyn fmt::Display + Sync),
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    generation: u64,
    /// The last failed login: answered again until then, without asking the server.
    refused: Option<(Instant, StoreError)>,
    refusals: u32,
}

impl Session {
    pub fn new(http: Http, auth: InfisicalAuth, credentials: Arc<dyn Credentials>) -> Self {
        Self { http, auth, credentials, state: Mutex::default(), taken: AtomicU64::new(0), logins: AtomicU64::new(0) }
    }

    /// Logins since the start.
    pub fn logins(&self) -> u64 {
        self.logins.load(Ordering::Relaxed)
    }

    /// A URL of the server.
    pub fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Result<Url, StoreError> {
        self.http.url(segments)
    }

    /// Asks with the session's token. If it is no longer valid, logs in once and asks once more.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Reply, StoreError> {
        for _ in 0..2 {
            let token = self.token().await?;
            let reply = self.send(ask, Some(&token)).await?;
            if !wire::token_refused(&reply) {
                let judged = !reply.status.is_server_error() && reply.status != StatusCode::TOO_MANY_REQUESTS;
                if judged {
                    self.taken.fetch_max(token.generation, Ordering::Relaxed);
                }
                return Ok(reply);
            }
            self.forget(&token).await?;
        }
        Err(not_taken())
    }

    /// Asks for a stream of events. What a server says there of the token is not believed: reads and probes find out
    /// whether it is good, and a server that wants another kind of token for its events must not end the session.
    pub async fn open(&self, ask: &Ask<'_>) -> Result<Opened, StoreError> {
        let token = self.token().await?;
        let request = self.request(ask, Some(&token)).header(ACCEPT, "text/event-stream");
        self.http.open(request, &ask.what).await
    }

    /// Asks without a token.
    pub async fn ask_openly(&self, url: Url, what: &impl fmt::Display) -> Result<Reply, StoreError> {
        self.http.send(self.http.request(Method::GET, url), what).await
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
        let (token, body) = {
            let state = self.state.lock().await;
            let Some(live) = &state.live else { return PAUSE };
            let Some(due) = live.due() else { return IDLE };
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return wait;
            }
            (live.token.clone(), live.renewable().then(|| live.value.expose_str().map(login::renewal)).flatten())
        };
        // Reads go on meanwhile, with the token that is still good.
        let begun = Instant::now();
        let renewed = match body {
            Some(body) => self.renew(body).await,
            None => Ok(None),
        };
        let mut state = self.state.lock().await;
        let Some(live) = state.live.as_mut().filter(|live| live.token.generation == token.generation) else {
            return Duration::from_secs(1);
        };
        match renewed {
            Ok(Some(grant)) => {
                if live.renewed(grant, begun).is_ok() {
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

    /// `None`: this token cannot be renewed; the server may have deleted it when it was asked to.
    async fn renew(&self, body: Zeroizing<Vec<u8>>) -> Result<Option<wire::Granted>, StoreError> {
        let what = "renewing the token";
        let url = self.url(["api", "v1", "auth", "token", "renew"])?;
        let reply = self.send(&Ask { method: Method::POST, url, body: Some(body), what: &what }, None).await?;
        match reply.status {
            StatusCode::OK => wire::parse(&reply, &what).map(Some),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => Ok(None),
            _ => Err(wire::refusal(&reply, &what, "")),
        }
    }

    /// Drops a token that the server did not take. One that it never took is not replaced at once: the next one would
    /// fare no better.
    async fn forget(&self, token: &Token) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        if state.live.as_ref().is_some_and(|live| live.token.generation == token.generation) {
            state.live = None;
            if self.taken.load(Ordering::Relaxed) < token.generation {
                state.refused = Some((Instant::now() + PAUSE, not_taken()));
                return Err(not_taken());
            }
        }
        Ok(())
    }

    pub async fn send(&self, ask: &Ask<'_>, token: Option<&Token>) -> Result<Reply, StoreError> {
        self.http.send(self.request(ask, token), &ask.what).await
    }

    fn request(&self, ask: &Ask<'_>, token: Option<&Token>) -> RequestBuilder {
        let mut request = self.http.request(ask.method.clone(), ask.url.clone());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, &token.header);
        }
        if let Some(body) = &ask.body {
            request = request.header(CONTENT_TYPE, "application/json").body(Bytes::from_owner(body.clone()));
        }
        request
    }

    async fn log_in(&self, state: &mut State) -> Result<Token, StoreError> {
        if let Some((_, error)) = state.refused.as_ref().filter(|(until, _)| *until > Instant::now()) {
            return Err(error.clone());
        }
        match self.obtain(state.generation + 1).await {
            Ok(live) => {
                self.logins.fetch_add(1, Ordering::Relaxed);
                let token = live.token.clone();
                *state = State { live: Some(live), generation: state.generation + 1, ..State::default() };
                Ok(token)
            }
            Err(error) => {
                state.refused(self.auth.universal_auth.is_some(), &error);
                Err(error)
            }
        }
    }
}

impl State {
    /// Remembers a failed login, so that a thousand reads do not each try it.
    fn refused(&mut self, locks_out: bool, error: &StoreError) {
        let pause = match error.failure {
            // The layers retry these.
            Failure::Unavailable | Failure::RateLimited(_) => return,
            Failure::Unauthenticated => {
                self.refusals += 1;
                match (locks_out, self.refusals) {
                    (true, 2..) => LOCKOUT,
                    (true, _) => PAUSE,
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
        due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now())).max(Duration::from_secs(1))
    }
}

fn not_taken() -> StoreError {
    StoreError::new(
        Failure::Unauthenticated,
        "the server gave a token at the login and does not take it: look at the identity's access token settings (uses, TTL, trusted IPs), and at the server's clock",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(state: &mut State, locks_out: bool, failure: Failure) -> Duration {
        state.refused = None;
        state.refused(locks_out, &StoreError::new(failure, "no"));
        state.refused.as_ref().map_or(Duration::ZERO, |(until, _)| until.saturating_duration_since(Instant::now()))
    }

    #[tokio::test(start_paused = true)]
    async fn rejected_logins_stay_below_what_locks_an_identity_out() {
        let (mut state, mut begun) = (State::default(), Duration::ZERO);
        let attempts: Vec<Duration> = (0..20)
            .map(|_| {
                let at = begun;
                begun += rejected(&mut state, true, Failure::Unauthenticated);
                at
            })
            .collect();
        // The third failure locks the identity out, unless 30 s without one were between.
        for three in attempts.windows(3) {
            let forgotten = three.windows(2).any(|two| two[1] - two[0] > Duration::from_secs(30));
            assert!(forgotten, "{attempts:?}");
        }
        // And if it is locked out, for 300 s, it is not asked again before.
        assert!(attempts[19] - attempts[18] > Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn only_credentials_make_a_long_pause() {
        let mut state = State::default();
        let service_accounts = (0..9).map(|_| rejected(&mut state, false, Failure::Unauthenticated)).max();
        assert_eq!(service_accounts, Some(Duration::from_secs(20)));
        assert_eq!(rejected(&mut State::default(), true, Failure::Unavailable), Duration::ZERO);
        assert_eq!(rejected(&mut State::default(), true, Failure::NotReady), Duration::from_secs(5));
    }
}
