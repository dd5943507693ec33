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
/// So long a new token is waited for while the old one is good.
const IMPATIENT: Duration = Duration::from_secs(3);
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
    /// While there is a token that is good to its end, no new one is asked for before then.
    not_before: Option<Instant>,
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
        // It holds the session, so not for long while there is a token that is good.
        let login = async { state.refusal().is_none() && self.log_in(&mut state, &scope).await.is_ok() };
        if tokio::time::timeout(IMPATIENT, login).await.unwrap_or(false) {
            return state
                .live
                .as_ref()
                .map_or(PAUSE, |live| live.left().saturating_sub(2 * live.margin()))
                .max(PAUSE / 10);
        }
        PAUSE
    }

    async fn token(&self, scope: &str) -> Result<AccessToken, StoreError> {
        if !is_ours(scope, &self.host) {
            let message = "the server asks for a token of another service than Key Vault, and gets none: check that vaultUrl is a Key Vault's, and that nothing stands in front of it";
            return Err(StoreError::new(Failure::Misconfigured, message));
        }
        let mut state = self.state.lock().await;
        let waits = state.not_before.is_some_and(|at| at > Instant::now());
        if let Some(live) = state.live.as_ref().filter(|live| live.scope == scope)
            && (live.left() > live.margin() || waits && !live.left().is_zero())
        {
            return Ok(live.token.clone());
        }
        let usable = state.live.as_ref().is_some_and(|live| live.scope == scope && !live.left().is_zero());
        let result = match state.refusal() {
            Some(error) => Err(error),
            // An authority that does not answer must not hold up those who have a token that is good.
            None if usable => {
                state.not_before = Some(Instant::now() + PAUSE);
                let login = tokio::time::timeout(IMPATIENT, self.log_in(&mut state, scope));
                login.await.unwrap_or_else(|_| Err(wire::unauthenticated()))
            }
            None => self.log_in(&mut state, scope).await,
        };
        match (result, &state.live) {
            (Ok(token), _) => Ok(token),
            // It is good to the end, even if no new one can be had now.
            (Err(_), Some(live)) if live.scope == scope && !live.left().is_zero() => {
                let token = live.token.clone();
                state.not_before = Some(Instant::now() + PAUSE);
                Ok(token)
            }
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
}

/// Whether a token for this may be given to a vault at this host. A token is for one resource: a server that asks for
/// one of another service's would use it there.
fn is_ours(scope: &str, host: &str) -> bool {
    let Some(resource) = scope.strip_prefix("https://").and_then(|s| s.strip_suffix("/.default")) else { return false };
    let below = host.strip_suffix(resource).is_some_and(|rest| rest.ends_with('.')) && resource.contains('.');
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    SERVICES.contains(&resource) || resource == host || (below && !is_address)
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
                PAUSE * self.refusals.min(2)
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

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_given_for_key_vaults_only() {
        for (resource, host, given) in [
            ("vault.azure.net", "kv.vault.azure.net", true),
            ("vault.azure.net", "10.0.0.1", true),
            ("managedhsm.azure.net", "hsm.managedhsm.azure.net", true),
            ("vault.lab.example", "kv.vault.lab.example", true),
            ("lab.example", "kv.vault.lab.example", true),
            ("kv.vault.lab.example", "kv.vault.lab.example", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("example", "kv.vault.lab.example", false),
            ("0.0.1", "10.0.0.1", false),
            ("ult.lab.example", "kv.vault.lab.example", false),
            ("management.azure.com", "kv.vault.azure.net", false),
            ("management.azure.com", "kv.vault.lab.example", false),
            ("vault.azure.net.lab.example", "kv.vault.lab.example", false),
            ("vault.azure.net/x", "kv.vault.azure.net", false),
            ("", "kv.vault.azure.net", false),
        ] {
            assert_eq!(is_ours(&format!("https://{resource}/.default"), host), given, "{resource} at {host}");
        }
        for scope in ["vault.azure.net", "http://vault.azure.net/.default", "https://vault.azure.net", "/.default", ""]
        {
            assert!(!is_ours(scope, "kv.vault.azure.net"), "{scope}");
        }
    }

    #[test]
    fn the_sdk_checks_what_it_can() {
        for host in ["kv.vault.azure.net", "kv.vault.azure.cn", "kv.vault.usgovcloudapi.net", "h.managedhsm.azure.net"]
        {
            assert!(Login::is_known_cloud(host), "{host}");
        }
        for host in ["vault.azure.net", "evilvault.azure.net", "kv.vault.azure.net.example", "localhost", "10.0.0.1"] {
            assert!(!Login::is_known_cloud(host), "{host}");
        }
    }
}
