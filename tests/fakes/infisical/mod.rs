//! `FakeInfisical`: an Infisical server of October 2024, as recorded exchange by exchange, or a current one, as its
//! source says it differs.

mod answers;
mod events;
mod logins;
mod project;
mod routes;
mod secrets;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::Router;

use super::tls::Served;
pub use events::Licence;
use events::Subscriptions;
use logins::Logins;
pub use logins::{Identity, Role};
use project::Project;

/// The id of the only project.
pub const PROJECT: &str = "a6b30828-045e-4bff-8ef5-ad2b967d5d63";

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// v3 with workspaces; 401 for requests of a wrong form; a version that is asked for is ignored.
    October2024,
    /// v4 with projects, too; `reqId` in errors, 422, values kept back, versions.
    Current,
}

/// Both.
pub const RELEASES: [Release; 2] = [Release::October2024, Release::Current];

/// What every request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, in the server's own form.
    Status(u16),
    /// A page of a proxy with this status.
    Page(u16),
}

/// The server, with one project that has the environments `dev` and `staging`.
pub struct FakeInfisical {
    pub served: Served,
    inner: Arc<Inner>,
}

struct Inner {
    release: Release,
    state: Mutex<State>,
}

struct State {
    project: Project,
    logins: Logins,
    /// What was asked for, as `v4 get /acme/DB_URL`.
    asked: Vec<String>,
    fault: Option<Fault>,
    /// Requests for secrets in one minute, per route, and when those of this minute began.
    limit: Option<usize>,
    minute: HashMap<String, (Instant, usize)>,
    /// The newer folders are not there yet.
    old_folders: bool,
    /// Changes wait for somebody who approves them.
    approvals: bool,
    subscriptions: Subscriptions,
}

impl FakeInfisical {
    pub async fn start(release: Release) -> Self {
        let state = State {
            project: Project::new(),
            logins: Logins::default(),
            asked: Vec::new(),
            fault: None,
            limit: None,
            minute: HashMap::new(),
            old_folders: false,
            approvals: false,
            subscriptions: Subscriptions::default(),
        };
        let inner = Arc::new(Inner { release, state: Mutex::new(state) });
        let router = Router::new().fallback(routes::answer).with_state(inner.clone());
        Self { served: Served::over_tls(router).await, inner }
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.served.port)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// An identity whose tokens live for 30 days, and no longer: what the server gives by default.
    pub fn identity(&self, role: Role) -> Identity {
        let month = Duration::from_secs(2_592_000);
        self.identity_with(role, month, month)
    }

    pub fn identity_with(&self, role: Role, ttl: Duration, max_ttl: Duration) -> Identity {
        self.state().logins.add(role, ttl, max_ttl)
    }

    /// Another role for an identity, from now on.
    pub fn assign(&self, identity: &Identity, role: Role) {
        self.state().logins.assign(identity, role);
    }

    /// From now on the client secret is no longer good.
    pub fn revoke_secret(&self, identity: &Identity) {
        self.state().logins.revoke_secret(identity);
    }

    /// Tokens of this identity serve this many requests.
    pub fn limit_uses(&self, identity: &Identity, uses: u32) {
        self.state().logins.limit_uses(identity, uses);
    }

    /// All tokens that were given are revoked.
    pub fn revoke_tokens(&self) {
        self.state().logins.revoke_tokens();
    }

    /// Failed logins since the last good one of this identity.
    pub fn failures(&self, identity: &Identity) -> u32 {
        self.state().logins.failures(identity)
    }

    /// Writes a secret of `dev`, and the folders it needs.
    pub fn put(&self, path: &str, name: &str, value: &str) {
        self.put_in("dev", path, name, value);
    }

    pub fn put_in(&self, environment: &str, path: &str, name: &str, value: &str) {
        let mut state = self.state();
        state.project.make_folder(environment, path);
        let written = state.project.put(environment, path, name, value).unwrap();
        let event = if written.version == 1 { "secret:create" } else { "secret:update" };
        state.subscriptions.tell(event, environment, path, name);
    }

    pub fn make_folder(&self, path: &str) {
        self.state().project.make_folder("dev", path);
    }

    pub fn remove_folder(&self, path: &str) {
        self.state().project.remove_folder("dev", path);
    }

    pub fn remove_environment(&self, environment: &str) {
        self.state().project.environments.remove(environment);
    }

    pub fn remove(&self, path: &str, name: &str) {
        let mut state = self.state();
        state.project.remove("dev", path, name).unwrap();
        state.subscriptions.tell("secret:delete", "dev", path, name);
    }

    /// What is stored, before references are followed.
    pub fn stored(&self, path: &str, name: &str) -> Option<String> {
        self.state().project.secret("dev", path, name).map(|secret| secret.value.clone())
    }

    pub fn import(&self, into: &str, environment: &str, from: &str) {
        self.state().project.import("dev", into, environment, from);
    }

    /// Whether the plan has event subscriptions; an unlicensed server's has not.
    pub fn licence(&self, licence: Licence) {
        self.state().subscriptions.licence = licence;
    }

    /// Event streams that are open.
    pub fn subscribers(&self) -> usize {
        self.state().subscriptions.count()
    }

    /// All event streams end, as with the server that they are on.
    pub fn end_subscriptions(&self) {
        self.state().subscriptions.end();
    }

    /// Says this on every event stream.
    pub fn say(&self, text: &str) {
        self.state().subscriptions.say(text);
    }

    pub fn fault(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    pub fn limit(&self, per_minute: usize) {
        self.state().limit = Some(per_minute);
    }

    /// A release between the two: the newer secrets with the older folders.
    pub fn have_old_folders(&self) {
        self.state().old_folders = true;
    }

    pub fn require_approvals(&self) {
        self.state().approvals = true;
    }

    /// How often something was asked for that starts so: `login`, `v4 get /acme`, `list`.
    pub fn asked(&self, start: &str) -> usize {
        self.state().asked.iter().filter(|one| one.starts_with(start)).count()
    }

    /// All that was asked for since the last call.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }
}
