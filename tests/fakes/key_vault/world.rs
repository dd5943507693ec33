//! What the fake vault holds.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::authority::Federated;

/// What a client may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    None,
    /// An access policy with Get alone.
    GetOnly,
    /// Key Vault Secrets User: reads values and lists.
    User,
    /// Key Vault Secrets Officer.
    Officer,
}

/// Data actions of the secrets of a vault.
pub const SECRETS: &str = "Microsoft.KeyVault/vaults/secrets/";

impl Role {
    /// What the role allows.
    pub fn actions(self) -> Vec<String> {
        let all = ["getSecret/action", "readMetadata/action", "setSecret/action", "update/action", "delete"];
        let all = [&all[..], &["recover/action", "purge/action", "backup/action", "restore/action"]].concat();
        let count = match self {
            Self::None => 0,
            Self::GetOnly => 1,
            Self::User => 2,
            Self::Officer => all.len(),
        };
        all[..count].iter().map(|action| format!("{SECRETS}{action}")).collect()
    }
}

#[derive(Default)]
pub struct Client {
    /// Data actions.
    pub actions: Vec<String>,
    pub secret: Option<String>,
    pub secret_expired: bool,
    pub federated: Option<Federated>,
}

#[derive(Clone, Debug)]
pub struct Version {
    pub id: String,
    pub value: String,
    pub content_type: Option<String>,
    pub tags: Value,
    pub enabled: bool,
    pub nbf: Option<i64>,
    pub exp: Option<i64>,
    pub created: i64,
    pub updated: i64,
    pub managed: bool,
}

#[derive(Clone)]
pub struct Secret {
    /// As it was first written.
    pub name: String,
    pub versions: Vec<Version>,
    /// It is being deleted or recovered until then.
    pub busy: Option<(Instant, &'static str)>,
}

pub struct World {
    pub clients: HashMap<String, Client>,
    /// Token: client, resource, when it ends.
    pub tokens: HashMap<String, (String, String, i64)>,
    pub tokens_are_foreign: bool,
    pub token_life: i64,
    pub machine: Vec<String>,
    pub machine_header: String,
    pub resource: String,
    pub secrets: BTreeMap<String, Secret>,
    pub deleted: BTreeMap<String, Secret>,
    pub transition: Duration,
    pub fault: Option<(usize, u16, Option<String>)>,
    pub login_fault: Option<(usize, u16)>,
    pub network: Option<&'static str>,
    pub base: String,
    pub next_base: Option<String>,
    pub skew: i64,
    pub counts: HashMap<&'static str, usize>,
}

impl World {
    pub fn new() -> Self {
        Self {
            clients: HashMap::new(),
            tokens: HashMap::new(),
            tokens_are_foreign: false,
            token_life: 3599,
            machine: Vec::new(),
            machine_header: format!("{:032x}", rand::random::<u128>()),
            resource: "https://vault.azure.net".to_owned(),
            secrets: BTreeMap::new(),
            deleted: BTreeMap::new(),
            transition: Duration::ZERO,
            fault: None,
            login_fault: None,
            network: None,
            base: String::new(),
            next_base: None,
            skew: 0,
            counts: HashMap::new(),
        }
    }

    /// The server's clock, in whole seconds as all its times.
    pub fn now(&self) -> i64 {
        jiff::Timestamp::now().as_second() + self.skew
    }

    pub fn count(&mut self, operation: &'static str) {
        *self.counts.entry(operation).or_default() += 1;
    }

    pub fn client(&mut self, id: &str) -> &mut Client {
        self.clients.entry(id.to_owned()).or_default()
    }

    pub fn latest(&mut self, name: &str) -> &mut Version {
        let secret = self.secrets.get_mut(&name.to_ascii_lowercase()).expect("no such secret");
        secret.versions.last_mut().unwrap()
    }

    /// A new version; nothing of the one before is in it.
    pub fn set(&mut self, name: &str, body: &Value) -> String {
        let now = self.now();
        let id = format!("{:032x}", rand::random::<u128>());
        let attributes = &body["attributes"];
        let version = Version {
            id: id.clone(),
            value: body["value"].as_str().unwrap().to_owned(),
            content_type: body["contentType"].as_str().map(str::to_owned),
            tags: body.get("tags").cloned().unwrap_or_else(|| json!({})),
            enabled: attributes["enabled"].as_bool().unwrap_or(true),
            nbf: attributes["nbf"].as_i64(),
            exp: attributes["exp"].as_i64(),
            created: now,
            updated: now,
            managed: false,
        };
        let kept = self.secrets.entry(name.to_ascii_lowercase());
        let new = || Secret { name: name.to_owned(), versions: Vec::new(), busy: None };
        kept.or_insert_with(new).versions.push(version);
        id
    }

    pub fn delete(&mut self, name: &str) -> Option<Secret> {
        let mut secret = self.secrets.remove(&name.to_ascii_lowercase())?;
        secret.busy = Some((Instant::now() + self.transition, "ObjectIsBeingDeleted"));
        self.deleted.insert(name.to_ascii_lowercase(), secret.clone());
        Some(secret)
    }

    /// It is a secret again once the recovery is done.
    pub fn recover(&mut self, name: &str) -> Option<Secret> {
        let mut secret = self.deleted.remove(&name.to_ascii_lowercase())?;
        secret.busy = Some((Instant::now() + self.transition, "ObjectIsBeingRecovered"));
        self.secrets.insert(name.to_ascii_lowercase(), secret.clone());
        Some(secret)
    }

    pub fn age(&mut self, seconds: i64) {
        let versions = self.secrets.values_mut().flat_map(|s| &mut s.versions);
        for version in versions {
            version.updated -= seconds;
            version.created -= seconds;
        }
    }
}

impl Secret {
    /// What is being done with it now.
    pub fn busy(&self) -> Option<&'static str> {
        self.busy.filter(|(until, _)| *until > Instant::now()).map(|(_, code)| code)
    }
}
