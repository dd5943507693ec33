//! What the server says, and what it means.
//!
//! Statuses come first. The server's codes are no help where it matters (one 404 has four of them), so what is missing
//! is told by the beginning of the message, and by the names that were asked for in it.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use jiff::Timestamp;
use reqwest::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::{
    secret::SecretValue,
    stores::{
        Failure, StoreError,
        body::{Object, unquote},
        http::Reply,
    },
};

/// What a 404 says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The secret, in a folder that is there. Certain.
    Secret,
    /// The folder, or all that it should be in.
    Folder,
    /// Something else.
    Other,
}

/// A login or a renewal.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Granted {
    pub access_token: String,
    /// Seconds; 0: for ever.
    #[serde(default)]
    pub expires_in: u64,
    /// Seconds after the login beyond which it cannot be renewed; 0: there is no such end.
    #[serde(default, rename = "accessTokenMaxTTL")]
    pub max_ttl: u64,
}

/// One secret.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Secret<'a> {
    #[serde(borrow)]
    pub secret_key: Cow<'a, str>,
    pub version: u64,
    // Raw, so that no copy of a value is made that nobody wipes.
    #[serde(borrow, default)]
    secret_value: Option<&'a RawValue>,
    #[serde(default)]
    pub secret_value_hidden: bool,
    #[serde(default)]
    pub secret_path: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    updated_at: Option<String>,
}

/// What a request for one secret yields.
#[derive(Deserialize)]
pub(super) struct One<'a> {
    #[serde(borrow)]
    pub secret: Secret<'a>,
}

/// What a list yields.
#[derive(Deserialize)]
pub(super) struct Listed<'a> {
    #[serde(borrow)]
    pub secrets: Vec<Secret<'a>>,
    #[serde(borrow, default)]
    imports: Option<Vec<Import<'a>>>,
}

#[derive(Deserialize)]
struct Import<'a> {
    #[serde(borrow)]
    secrets: Vec<Secret<'a>>,
}

/// Folders in a folder.
#[derive(Deserialize)]
pub(super) struct Folders {
    pub folders: Vec<Folder>,
}

/// A folder.
#[derive(Deserialize)]
pub(super) struct Folder {
    pub name: String,
}

/// What a change yields: the secret, or that somebody must agree to it.
#[derive(Deserialize)]
pub(super) struct Changed<'a> {
    #[serde(borrow, default)]
    pub secret: Option<Secret<'a>>,
    #[serde(borrow, default)]
    pub approval: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Problem {
    // A list where a request has the wrong form.
    #[serde(default)]
    message: serde_json::Value,
    error: String,
}

impl Secret<'_> {
    /// Its value; `None` if it is kept back.
    pub fn value(&self) -> Option<SecretValue> {
        let raw = self.secret_value.filter(|_| !self.secret_value_hidden)?;
        unquote(raw.get())
    }

    pub fn created(&self) -> Option<Timestamp> {
        self.created_at.as_deref()?.parse().ok()
    }

    pub fn updated(&self) -> Option<Timestamp> {
        self.updated_at.as_deref()?.parse().ok()
    }
}

impl<'a> Listed<'a> {
    /// Whether anything comes from elsewhere.
    pub fn has_imports(&self) -> bool {
        self.imports.as_ref().is_some_and(|imports| imports.iter().any(|import| !import.secrets.is_empty()))
    }

    /// By name, as a read would choose: the folder's own before imports, a later import before an earlier one.
    pub fn merged(self) -> BTreeMap<Cow<'a, str>, Secret<'a>> {
        let imported = self.imports.unwrap_or_default().into_iter().flat_map(|import| import.secrets);
        imported.chain(self.secrets).map(|secret| (secret.secret_key.clone(), secret)).collect()
    }
}

impl Problem {
    fn of(reply: &Reply) -> Option<Self> {
        serde_json::from_slice(&reply.body).ok().map(|Object(problem)| problem)
    }

    fn message(&self) -> &str {
        self.message.as_str().unwrap_or_default()
    }

    fn either(&self, text: &str) -> bool {
        [self.message(), &self.error].iter().any(|said| said.to_ascii_lowercase().contains(text))
    }
}

/// A JSON object of strings, which is wiped.
pub(super) fn json(fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    // A character takes six at most, so the buffer never moves and leaves no copy behind.
    let most = fields.iter().map(|(name, text)| name.len() + 6 * text.len() + 8).sum::<usize>();
    let mut body = Zeroizing::new(Vec::with_capacity(most));
    let object: BTreeMap<_, _> = fields.iter().copied().collect();
    // Strings can always be written.
    serde_json::to_writer(&mut *body, &object).ok();
    body
}

/// Whether it is JSON at all: what stands in front of a server answers otherwise.
pub(super) fn is_own(reply: &Reply) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).is_ok()
}

/// Whether the server does not know such a request.
pub(super) fn no_route(reply: &Reply) -> bool {
    reply.status == StatusCode::NOT_FOUND && Problem::of(reply).is_some_and(|p| p.message().starts_with("Route "))
}

/// Whether the token is the reason. Not every 401 says so: older servers give it to requests of a wrong form, too.
pub(super) fn token_refused(reply: &Reply) -> bool {
    let Some(problem) = Problem::of(reply) else { return false };
    match reply.status {
        StatusCode::UNAUTHORIZED => problem.error != "ValidationFailure",
        StatusCode::FORBIDDEN => problem.error == "TokenError",
        StatusCode::BAD_REQUEST => problem.either("number of uses limit reached"),
        _ => false,
    }
}

/// Whether a login was rejected for what it is, and whether because the identity is locked out.
pub(super) fn login_refused(reply: &Reply) -> Option<bool> {
    let problem = Problem::of(reply)?;
    let rejected = matches!(reply.status.as_u16(), 400 | 401 | 403 | 404)
        && problem.error != "ValidationFailure"
        && !no_route(reply);
    rejected.then(|| problem.either("temporarily locked"))
}

/// What is missing, by a 404 for this secret.
pub(super) fn missing(reply: &Reply, folder: &str, name: &str) -> Missing {
    let Some(problem) = Problem::of(reply) else { return Missing::Other };
    let said = |start: &str, what: &str| {
        let rest = problem.message().strip_prefix(start).map(|rest| rest.trim_start_matches('\''));
        rest.and_then(|rest| rest.strip_prefix(what)).is_some_and(|rest| rest.starts_with(['\'', ' ']))
    };
    if said("Secret with name ", name) {
        Missing::Secret
    } else if said("Folder with path ", folder) {
        Missing::Folder
    } else {
        Missing::Other
    }
}

/// Whether a secret could not be created because it is there.
pub(super) fn exists_already(reply: &Reply) -> bool {
    reply.status == StatusCode::BAD_REQUEST && Problem::of(reply).is_some_and(|p| p.either("already exist"))
}

/// Parses an answer of the server's own; the text of it stays out of the error.
pub(super) fn parse<T: DeserializeOwned>(reply: &Reply, what: &impl fmt::Display) -> Result<T, StoreError> {
    serde_json::from_slice(&reply.body).map_err(|_| nonsense(what))
}

/// The same for what holds values.
pub(super) fn borrowed<'a, T: Deserialize<'a>>(reply: &'a Reply, what: &impl fmt::Display) -> Result<T, StoreError> {
    serde_json::from_slice(&reply.body).map_err(|_| nonsense(what))
}

/// Which version of a secret an answer holds.
pub(super) fn version(reply: &Reply, what: &impl fmt::Display) -> Result<u64, StoreError> {
    borrowed::<One<'_>>(reply, what).map(|one| one.secret.version)
}

/// A 200 that no Infisical gives.
pub(super) fn nonsense(what: &impl fmt::Display) -> StoreError {
    let message = format!(
        "{what} failed: the answer is not one of an Infisical: check the address in spec.provider.infisical.hostUrl"
    );
    StoreError::new(Failure::Misconfigured, message)
}

/// What an answer that is no success means. `denied` says what to do about a denial.
pub(super) fn refusal(reply: &Reply, what: &impl fmt::Display, denied: &str) -> StoreError {
    let problem = Problem::of(reply);
    let said = |text: &str| problem.as_ref().is_some_and(|p| p.either(text));
    let begins = |text: &str| problem.as_ref().is_some_and(|p| p.message().starts_with(text));
    let form = problem.as_ref().is_some_and(|p| p.error == "ValidationFailure");
    let (failure, why): (Failure, &str) = match reply.status.as_u16() {
        400 | 401 | 422 if form => (
            Failure::Misconfigured,
            "the server does not take a request of this form: check projectId, environment and rootPath, or use a release of it that is known",
        ),
        400 | 404 if begins("Environment") => (
            Failure::Misconfigured,
            "there is no such environment: create it, or correct spec.provider.infisical.environment (its slug)",
        ),
        404 if begins("Project") => (
            Failure::Misconfigured,
            "there is no such project: correct spec.provider.infisical.projectId (the id, not the slug)",
        ),
        404 if begins("Folder") => (
            Failure::Misconfigured,
            "there is no such environment or folder: create it, or correct spec.provider.infisical.environment and rootPath",
        ),
        401 if problem.is_some() => {
            (Failure::Unauthenticated, "the server does not take its own token: look at the identity's access tokens")
        }
        403 if said("tokenerror") => {
            (Failure::Unauthenticated, "the server does not take its own token: look at the identity's access tokens")
        }
        403 if said("not a member") => (
            Failure::Denied,
            "the identity is not a member of the project: add it there (Access Control, Machine Identities) with a role that may read secrets",
        ),
        403 if said("ip address") => (
            Failure::Denied,
            "the server does not take this address: add the operator's to the trusted IPs of the identity's access tokens",
        ),
        403 if said("referenc") => (
            Failure::Denied,
            "its value refers to a secret that the identity may not read: let its role read that one, too, or take the reference out",
        ),
        401 | 403 if problem.is_none() => {
            (Failure::Denied, "something in front of the server does not let requests through: let the operator pass")
        }
        403 => (Failure::Denied, denied),
        404 | 405 => (
            Failure::Misconfigured,
            "the answer is not one of an Infisical: check the address in spec.provider.infisical.hostUrl",
        ),
        413 => (Failure::Misconfigured, "it is more than the server takes at once: make the value smaller"),
        429 => (
            Failure::RateLimited(reply.retry_after),
            "the server's rate limit is reached: raise it (Server Admin, Rate Limit, or the plan), or lower limits.requestsPerSecond",
        ),
        500.. => (Failure::Unavailable, "the server has an error of its own: look into its log"),
        _ => (
            Failure::Misconfigured,
            "the server does not understand the request: check projectId, environment and rootPath of the store",
        ),
    };
    StoreError::new(failure, format!("{what} failed: {why} (status {})", reply.status.as_u16()))
}

#[cfg(test)]
#[path = "wire/fuzz.rs"]
mod fuzz;
#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
