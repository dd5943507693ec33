//! One login for the store, shared by every request: made when the vault asks for it, replaced before it ends or when
//! the vault no longer takes it, and not tried again and again when it is rejected.

use std::{
    fmt,
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::OffsetDateTime,
};
use tokio::{sync::Mutex, time::Instant};

use super::{identity::Identity, transport::wrapped, wire};
use crate::stores::{Failure, StoreError};

/// The first pause after a rejected login.
const PAUSE: Duration = Duration::from_secs(10);
/// A token is replaced when it has less to live than this, or than a fifth of its life.
const MARGIN: Duration = Duration::from_secs(300);
/// What the services of the known clouds are called, as resources of tokens; their vaults are below them.
const SERVICES: [&str; 6] = [
    "vault.azure.net",
    "vault.azure.cn",
    "vault.usgovcloudapi.net",
    "managedhsm.azure.net",
    "managedhsm.azure.cn",
    "managedhsm.usgovcloudapi.net",
];

/// The login of one store.
pub(super) struct Login {
    identity: Identity,
    /// The vault's host.
    host: String,
    state: Mutex<State>,
    /// The vault has taken the present token.
    accepted: AtomicBool,
    logins: AtomicU64,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    /// The last rejected login: answered again until then, without asking anybody.
    refused: Option<(Instant, StoreError)>,
    refusals: u32,
}

struct Live {
    token: AccessToken,
    scope: String,
    since: Instant,
    life: Duration,
}

impl Live {
    fn left(&self) -> Duration {
        (self.since + self.life).saturating_duration_since(Instant::now())
    }

    fn margin(&self) -> Duration {
        MARGIN.min(self.life / 5)
    }
}

impl Login {
    /// Nothing is asked for yet.
    pub fn new(identity: Identity, host: &str) -> Self {
        let (accepted, logins) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { identity, host: host.to_owned(), state: Mutex::default(), accepted, logins }
    }

    /// Whether the vault is one of a known cloud, so that the SDK itself can tell whose token it may ask for.
    pub fn is_known_cloud(host: &str) -> bool {
        SERVICES.iter().any(|service| host.strip_suffix(service).is_some_and(|rest| rest.ends_with('.')))
    }

    /// Logins since the start.
    pub fn logins(&self) -> u64 {
        self.logins.load(Ordering::Relaxed)
    }

    /// Fails if a rejected login is not to be tried again yet: then the vault need not be asked either.
    pub async fn ready(&self) -> Result<(), StoreError> {
        match self.state.lock().await.refusal() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The vault has taken the token.
    pub fn accepted(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }

    /// The vault does not take this token: the next login is a new one. If it was never taken, a new one is no better.
    pub async fn rejected(&self, bearer: &str) {
        let mut state = self.state.lock().await;
        let Some(live) = &state.live else { return };
        if bearer.strip_prefix("Bearer ") != Some(live.token.token.secret()) {
            return;
        }
        state.live = None;
        if !self.accepted.load(Ordering::Relaxed) {
            state.refuse(&wire::unauthenticated());
        }
    }

    /// Replaces the token before a request has to; answers when to be called next.
    pub async fn maintain(&self) -> Duration {
        let mut state = self.state.lock().await;
        let Some(live) = &state.live else { return PAUSE * 6 };
        let due = live.left().saturating_sub(2 * live.margin());
        if !due.is_zero() {
            return due.max(Duration::from_secs(1));
        }
        let scope = live.scope.clone();
        if state.refusal().is_none() && self.log_in(&mut state, &scope).await.is_ok() {
            return state
                .live
                .as_ref()
                .map_or(PAUSE, |live| live.left().saturating_sub(2 * live.margin()))
                .max(PAUSE / 10);
        }
        PAUSE
    }

    async fn token(&self, scope: &str) -> Result<AccessToken, StoreError> {
        self.may_ask_for(scope)?;
        let mut state = self.state.lock().await;
        if let Some(live) = state.live.as_ref().filter(|live| live.scope == scope && live.left() > live.margin()) {
            return Ok(live.token.clone());
        }
        let result = match state.refusal() {
            Some(error) => Err(error),
            None => self.log_in(&mut state, scope).await,
        };
        match (result, &state.live) {
            (Ok(token), _) => Ok(token),
            // It is good to the end, even if no new one can be had now.
            (Err(_), Some(live)) if live.scope == scope && !live.left().is_zero() => Ok(live.token.clone()),
            (Err(error), _) => Err(error),
        }
    }

    async fn log_in(&self, state: &mut State, scope: &str) -> Result<AccessToken, StoreError> {
        match self.identity.token(scope).await {
            Ok(token) => {
                let life = (token.expires_on - OffsetDateTime::now_utc()).try_into().unwrap_or(Duration::ZERO);
                let live = Live { token: token.clone(), scope: scope.to_owned(), since: Instant::now(), life };
                *state = State { live: Some(live), ..State::default() };
                self.accepted.store(false, Ordering::Relaxed);
                self.logins.fetch_add(1, Ordering::Relaxed);
                Ok(token)
            }
            Err(error) => {
                state.refuse(&error);
                Err(error)
            }
        }
    }

    /// A token is for one resource. A server that asks for one of another service's would use it there.
    fn may_ask_for(&self, scope: &str) -> Result<(), StoreError> {
        let resource = scope.strip_prefix("https://").and_then(|s| s.strip_suffix("/.default")).unwrap_or_default();
        let above = self.host.strip_suffix(resource).is_some_and(|rest| rest.ends_with('.'));
        let own = resource == self.host
            || (above && resource.contains('.') && self.host.trim_matches(['[', ']']).parse::<IpAddr>().is_err());
        if SERVICES.contains(&resource) || own {
            return Ok(());
        }
        let message = "the server asks for a token of another service than Key Vault, and gets none: check that vaultUrl is a Key Vault's, and that nothing stands in front of it";
        Err(StoreError::new(Failure::Misconfigured, message))
    }
}

impl State {
    fn refusal(&self) -> Option<StoreError> {
        self.refused.as_ref().filter(|(until, _)| *until > Instant::now()).map(|(_, error)| error.clone())
    }

    /// Remembers a failed login, so that a thousand reads do not each try it.
    fn refuse(&mut self, error: &StoreError) {
        let pause = match error.failure {
            // The layers retry these.
            Failure::Unavailable | Failure::RateLimited(_) => return,
            Failure::Unauthenticated => {
                self.refusals += 1;
                PAUSE * self.refusals.min(3)
            }
            _ => PAUSE / 2,
        };
        self.refused = Some((Instant::now() + pause, error.clone()));
    }
}

#[async_trait]
impl TokenCredential for Login {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        self.token(scopes.first().copied().unwrap_or_default()).await.map_err(wrapped)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}
