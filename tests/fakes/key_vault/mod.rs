//! A fake of Azure Key Vault, its secrets only, with the authority that gives out its tokens.
//!
//! After the documented REST API (api-version 2025-07-01) and exchanges with other implementations of it: the 401
//! challenge, 25 secrets a page, versions, soft delete that takes a while, attributes in whole seconds, and the codes
//! of refusals (`innererror`). It checks what the service checks, names for one.

mod authority;
mod data;
mod world;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::Request,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::tls::Served;
pub use authority::Federated;
pub use world::Role;
use world::World;

pub const TENANT: &str = "6f89cf12-978b-4d23-ac18-9ef0c127cf87";
pub const CLIENT: &str = "00d88624-f0d7-46f6-a641-6232c2608928";

/// A vault and its authority on one port, and a machine's identity endpoint on another.
pub struct FakeKeyVault {
    pub served: Served,
    pub machine: Served,
    world: Arc<Mutex<World>>,
}

impl FakeKeyVault {
    pub async fn start() -> Self {
        let world = Arc::new(Mutex::new(World::new()));
        let served = Served::over_tls(Router::new().fallback(answer).with_state(world.clone())).await;
        let machine = Served::plain(Router::new().fallback(authority::machine).with_state(world.clone()));
        Self { served, machine, world }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The vault's URL, and the authority's.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.served.port)
    }

    pub fn ca(&self) -> String {
        self.served.ca.clone()
    }

    /// What a client may do from now on.
    pub fn role(&self, client: &str, role: Role) {
        self.world().client(client).actions = role.actions();
    }

    /// What a client may do from now on, as a role definition says it.
    pub fn role_definition(&self, client: &str, definition: &str) {
        let definition: Value = serde_json::from_str(definition).unwrap();
        let actions = definition["DataActions"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned());
        self.world().client(client).actions = actions.collect();
    }

    /// The client's only secret from now on.
    pub fn client_secret(&self, client: &str, secret: &str) {
        self.world().client(client).secret = Some(secret.to_owned());
    }

    /// The client's secret is too old from now on.
    pub fn expire_client_secret(&self, client: &str) {
        self.world().client(client).secret_expired = true;
    }

    /// Whose tokens the client's are exchanged for.
    pub fn federate(&self, client: &str, federated: Federated) {
        self.world().client(client).federated = Some(federated);
    }

    /// The machine has this identity.
    pub fn assign(&self, client: Option<&str>) {
        self.world().machine.push(client.unwrap_or(CLIENT).to_owned());
        if client.is_none() {
            self.world().machine.push(String::new());
        }
    }

    /// The proof that a machine's own requests carry.
    pub fn machine_header(&self) -> String {
        self.world().machine_header.clone()
    }

    /// How long a token lives, in seconds.
    pub fn token_life(&self, seconds: i64) {
        self.world().token_life = seconds;
    }

    /// No token that was given out is good any more.
    pub fn revoke_tokens(&self) {
        self.world().tokens.clear();
    }

    /// Tokens of this authority are not those of the vault's tenant.
    pub fn of_another_tenant(&self) {
        self.world().tokens_are_foreign = true;
    }

    /// What a 401 asks for.
    pub fn ask_for(&self, resource: &str) {
        self.world().resource = resource.to_owned();
    }

    /// The next requests for secrets are answered so.
    pub fn fail(&self, requests: usize, status: u16, retry_after: Option<&str>) {
        let mut world = self.world();
        world.fault = Some((requests, status, retry_after.map(str::to_owned)));
    }

    /// The next requests for tokens are answered so.
    pub fn fail_logins(&self, requests: usize, status: u16) {
        self.world().login_fault = Some((requests, status));
    }

    /// The vault's network rules say no: `ForbiddenByFirewall`, `ForbiddenByConnection`.
    pub fn network(&self, inner: Option<&'static str>) {
        self.world().network = inner;
    }

    /// The server's clock, against the real one.
    pub fn clock(&self, seconds: i64) {
        self.world().skew = seconds;
    }

    /// How long a deletion or a recovery takes.
    pub fn slow(&self, time: Duration) {
        self.world().transition = time;
    }

    /// Deletions and recoveries that are under way are done.
    pub fn finish(&self) {
        let mut world = self.world();
        let World { secrets, deleted, .. } = &mut *world;
        secrets.values_mut().chain(deleted.values_mut()).for_each(|secret| secret.busy = None);
    }

    /// Lists go on at this host.
    pub fn lists_go_on_at(&self, base: &str) {
        self.world().next_base = Some(base.to_owned());
    }

    /// Writes a secret, as somebody else; answers its version.
    pub fn put(&self, name: &str, value: &str) -> String {
        self.put_with(name, json!({ "value": value }))
    }

    /// Writes a secret with whatever a PUT may hold.
    pub fn put_with(&self, name: &str, body: Value) -> String {
        self.world().set(name, &body)
    }

    /// Somebody's certificate: its secret is managed by the vault.
    pub fn put_certificate(&self, name: &str) {
        let mut world = self.world();
        world.set(name, &json!({ "value": "canary-pkcs12", "contentType": "application/x-pkcs12" }));
        world.latest(name).managed = true;
    }

    /// The latest version, changed by hand; `updated` is set to now unless `change` does.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut world::Version)) {
        let mut world = self.world();
        let now = world.now();
        let version = world.latest(name);
        version.updated = now;
        change(version);
    }

    pub fn disable(&self, name: &str) {
        self.change(name, |version| version.enabled = false);
    }

    /// Everything was last changed so long ago.
    pub fn age(&self, seconds: i64) {
        self.world().age(seconds);
    }

    /// Deletes a secret, as somebody else; it can be recovered.
    pub fn delete(&self, name: &str) {
        self.world().delete(name).unwrap();
    }

    /// What was deleted is gone for good, and its name is free.
    pub fn purge(&self, name: &str) {
        self.world().deleted.remove(&name.to_ascii_lowercase());
    }

    /// The latest version as it is kept.
    pub fn latest(&self, name: &str) -> world::Version {
        self.world().latest(name).clone()
    }

    pub fn is_there(&self, name: &str) -> bool {
        self.world().secrets.contains_key(&name.to_ascii_lowercase())
    }

    /// How often this was asked for: get, list, versions, set, update, delete, get-deleted, recover, purge, challenge,
    /// token.
    pub fn count(&self, operation: &str) -> usize {
        self.world().counts.get(operation).copied().unwrap_or_default()
    }

    /// All requests for secrets so far; challenges and tokens apart.
    pub fn requests(&self) -> usize {
        let world = self.world();
        world.counts.iter().filter(|(name, _)| !matches!(**name, "challenge" | "token")).map(|(_, n)| n).sum()
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut world = world.lock().unwrap();
    let mut response = if head.uri.path().ends_with("/oauth2/v2.0/token") {
        authority::token(&mut world, &head, &body)
    } else {
        data::answer(&mut world, &head, &body)
    };
    if world.skew != 0 {
        let date = jiff::Timestamp::from_second(world.now()).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        response.headers_mut().insert("date", date.parse().unwrap());
    }
    response
}

fn reply(status: u16, body: Value) -> Response {
    let mut response = body.to_string().into_response();
    *response.status_mut() = status.try_into().unwrap();
    response.headers_mut().insert("content-type", "application/json; charset=utf-8".parse().unwrap());
    response
}
