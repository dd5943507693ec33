//! Identities, their logins and tokens.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The server locks an identity out at its third failure, for 300 s, and forgets failures after 30 s without one.
const THRESHOLD: u32 = 3;
const LOCKED: Duration = Duration::from_secs(300);
const FORGOTTEN: Duration = Duration::from_secs(30);

/// What an identity may do in the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Admin,
    Viewer,
    /// Current servers only: names, no values.
    DescribeOnly,
    /// A viewer, in these folders and those below them.
    In(Vec<&'static str>),
    /// No member of the project.
    Outsider,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Describe,
    ReadValue,
    Create,
    Edit,
    Delete,
}

/// What an identity logs in with.
#[derive(Clone, Debug)]
pub struct Identity {
    pub id: String,
    pub client_id: String,
    pub client_secret: String,
    /// The token of a ServiceAccount that Kubernetes Auth takes.
    pub jwt: String,
}

struct Known {
    identity: Identity,
    role: Role,
    ttl: Duration,
    max_ttl: Duration,
    uses: Option<u32>,
    revoked: bool,
    failures: u32,
    last_failure: Option<Instant>,
}

struct Token {
    of: usize,
    created: Instant,
    renewed: Instant,
    uses: u32,
    revoked: bool,
}

#[derive(Default)]
pub struct Logins {
    known: Vec<Known>,
    tokens: HashMap<String, Token>,
}

/// What a login or a renewal gives.
pub struct Grant {
    pub token: String,
    pub ttl: u64,
    pub max_ttl: u64,
}

/// A status, a code and a message.
pub type No = (u16, &'static str, String);

impl Role {
    pub fn may(&self, right: Right, path: &str) -> bool {
        let reads = matches!(right, Right::Describe | Right::ReadValue);
        match self {
            Self::Admin => true,
            Self::Viewer => reads,
            Self::DescribeOnly => right == Right::Describe,
            Self::In(folders) => reads && folders.iter().any(|f| path == *f || path.starts_with(&format!("{f}/"))),
            Self::Outsider => false,
        }
    }
}

impl Logins {
    pub fn add(&mut self, role: Role, ttl: Duration, max_ttl: Duration) -> Identity {
        let number = self.known.len();
        let name = |what: &str| format!("canary-{what}-{number}");
        let identity = Identity {
            id: format!("7c2acbc4-47e9-48ec-9c03-{number:012}"),
            client_id: format!("66e69bf7-b471-4dc2-8652-{number:012}"),
            client_secret: name("client-secret"),
            jwt: name("jwt"),
        };
        let known = Known {
            identity: identity.clone(),
            role,
            ttl,
            max_ttl,
            uses: None,
            revoked: false,
            failures: 0,
            last_failure: None,
        };
        self.known.push(known);
        identity
    }

    fn find(&mut self, identity: &Identity) -> &mut Known {
        self.known.iter_mut().find(|k| k.identity.id == identity.id).unwrap()
    }

    pub fn assign(&mut self, identity: &Identity, role: Role) {
        self.find(identity).role = role;
    }

    pub fn revoke_secret(&mut self, identity: &Identity) {
        self.find(identity).revoked = true;
    }

    pub fn limit_uses(&mut self, identity: &Identity, uses: u32) {
        self.find(identity).uses = Some(uses);
    }

    pub fn revoke_tokens(&mut self) {
        self.tokens.values_mut().for_each(|token| token.revoked = true);
    }

    pub fn failures(&mut self, identity: &Identity) -> u32 {
        self.find(identity).failures
    }

    pub fn universal(&mut self, client_id: &str, client_secret: &str, current: bool) -> Result<Grant, No> {
        let bad = || (401, "UnauthorizedError", "Invalid credentials".to_owned());
        let Some(at) = self.known.iter().position(|k| k.identity.client_id == client_id) else {
            let unknown = (404, "NotFound", "No identity with specified client ID was found".to_owned());
            return Err(if current { bad() } else { unknown });
        };
        let known = &mut self.known[at];
        if known.failures >= THRESHOLD && known.last_failure.is_some_and(|last| last.elapsed() < LOCKED) {
            let message = "This identity auth method is temporarily locked, please try again later";
            return Err((401, "UnauthorizedError", message.to_owned()));
        }
        if known.revoked || known.identity.client_secret != client_secret {
            let forgotten = known.last_failure.is_some_and(|last| last.elapsed() > FORGOTTEN);
            known.failures = if forgotten { 1 } else { known.failures + 1 };
            known.last_failure = Some(Instant::now());
            return Err(bad());
        }
        (known.failures, known.last_failure) = (0, None);
        Ok(self.grant(at))
    }

    pub fn kubernetes(&mut self, identity_id: &str, jwt: &str) -> Result<Grant, No> {
        let Some(at) = self.known.iter().position(|k| k.identity.id == identity_id) else {
            let message = "Kubernetes auth method not found for identity, did you configure Kubernetes auth?";
            return Err((404, "NotFound", message.to_owned()));
        };
        if self.known[at].identity.jwt != jwt {
            return Err((401, "UnauthorizedError", "Access denied: Kubernetes namespace not allowed.".to_owned()));
        }
        Ok(self.grant(at))
    }

    fn grant(&mut self, of: usize) -> Grant {
        let token = format!("canary-token-{}-{}", of, self.tokens.len());
        let now = Instant::now();
        self.tokens.insert(token.clone(), Token { of, created: now, renewed: now, uses: 0, revoked: false });
        let known = &self.known[of];
        Grant { token, ttl: known.ttl.as_secs(), max_ttl: known.max_ttl.as_secs() }
    }

    /// A renewal that would go beyond the maximum deletes the token.
    pub fn renew(&mut self, token: &str) -> Result<Grant, No> {
        let gone = |message: &str| Err((401, "UnauthorizedError", message.to_owned()));
        let Some(found) = self.tokens.get_mut(token) else { return Err(malformed()) };
        let known = &self.known[found.of];
        if found.revoked {
            return gone("");
        }
        if found.renewed.elapsed() > known.ttl {
            found.revoked = true;
            return gone("Failed to renew MI access token due to TTL expiration");
        }
        if found.created.elapsed() + known.ttl > known.max_ttl {
            found.revoked = true;
            return gone("Failed to renew MI access token past its Max TTL expiration");
        }
        found.renewed = Instant::now();
        Ok(Grant { token: token.to_owned(), ttl: known.ttl.as_secs(), max_ttl: known.max_ttl.as_secs() })
    }

    /// Whose token it is.
    pub fn role(&mut self, authorization: Option<&str>) -> Result<Role, No> {
        let gone = |message: &str| Err((401, "UnauthorizedError", message.to_owned()));
        let Some(authorization) = authorization else { return gone("Token missing") };
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let Some(found) = self.tokens.get_mut(token) else { return Err(malformed()) };
        let known = &self.known[found.of];
        if found.revoked {
            return gone("No identity access token found");
        }
        if found.renewed.elapsed() > known.ttl {
            return Err((403, "TokenError", "Your token has expired. Please re-authenticate.".to_owned()));
        }
        if known.uses.is_some_and(|most| found.uses >= most) {
            found.revoked = true;
            let message = "Unable to renew because access token number of uses limit reached";
            return Err((400, "BadRequest", message.to_owned()));
        }
        found.uses += 1;
        Ok(known.role.clone())
    }
}

fn malformed() -> No {
    let message =
        "The provided access token is malformed. Please use a valid token or generate a new one and try again.";
    (403, "TokenError", message.to_owned())
}
