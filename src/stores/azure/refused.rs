//! What it means that a login fails, and what to do about it.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;
use serde::Deserialize;

use crate::{
    api::SecretKeyRef,
    secret::SecretValue,
    stores::{Failure, StoreError, http::Reply},
};

/// What a login is told by. As text it starts a sentence.
#[derive(Clone)]
pub(super) struct Told {
    pub way: Way,
    /// Who issues tokens.
    pub authority: String,
    /// Whose token a ServiceAccount's is.
    pub claims: Option<Claims>,
}

/// How the login is made.
#[derive(Clone)]
pub(super) enum Way {
    Federated,
    Machine,
    Secret(SecretKeyRef),
    Tools,
}

/// What a federated credential must name.
#[derive(Clone, Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: String,
}

#[derive(Default, Deserialize)]
struct Rejection {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_codes: Vec<u32>,
}

/// Whose token it is: names, not secrets.
pub(super) fn claims(token: &SecretValue) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(token.expose_str()?.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// What a token is for that is exchanged at this authority.
pub(super) fn audience(authority: &str) -> &'static str {
    match host(authority).as_str() {
        "login.microsoftonline.us" => "api://AzureADTokenExchangeUSGov",
        "login.chinacloudapi.cn" => "api://AzureADTokenExchangeChina",
        _ => "api://AzureADTokenExchange",
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::Federated => write!(f, "the workload identity login at {}", host(&self.authority)),
            Way::Machine => write!(f, "the managed identity login at {}", host(&self.authority)),
            Way::Secret(_) => write!(f, "the client secret login at {}", host(&self.authority)),
            Way::Tools => f.write_str("the login by the developer's tools"),
        }
    }
}

impl Told {
    /// The authority says no.
    pub fn refused(&self, reply: &Reply) -> StoreError {
        let status = reply.status.as_u16();
        let said = |failure, next: &str| StoreError::new(failure, format!("{self} failed: {next} (status {status})"));
        match status {
            429 => return said(Failure::RateLimited(reply.retry_after), "it limits logins: try again later"),
            408 | 500.. => return said(Failure::Unavailable, "it has an error of its own: try again later"),
            _ => {}
        }
        if matches!(self.way, Way::Machine) {
            return match status {
                400 | 401 | 403 => said(
                    Failure::Unauthenticated,
                    "no such identity is assigned to this machine: assign it, or correct auth.managedIdentity.clientId",
                ),
                // Also said while an identity is being assigned.
                404 | 410 => {
                    said(Failure::Unavailable, "it has no identity now: assign one to the machine, or try again")
                }
                _ => said(Failure::Misconfigured, "this is no managed identity endpoint: use another auth"),
            };
        }
        let Some(rejection) = serde_json::from_slice::<Rejection>(&reply.body).ok().filter(|r| !r.error.is_empty())
        else {
            return said(Failure::Misconfigured, "it answers as no authority does: check authorityHost and tenantId");
        };
        let code = rejection.error_codes.first().copied().unwrap_or_default();
        let next = self.next(code);
        let shown = if code == 0 { format!("status {status}") } else { format!("AADSTS{code}") };
        StoreError::new(Failure::Unauthenticated, format!("{self} was rejected ({shown}): {next}"))
    }

    /// What to do about a code. All of them are documented as AADSTS.
    fn next(&self, code: u32) -> String {
        let credential = match &self.way {
            Way::Secret(secret) => format!("the Secret {} (key {})", secret.name, secret.key),
            _ => "the federated credential".to_owned(),
        };
        match code {
            7_000_215 => format!("the client secret is wrong: put its value, not its id, into {credential}"),
            7_000_222 => format!("the client secret has expired: make a new one, and put it into {credential}"),
            700_016 => "the tenant has no such client: correct clientId or tenantId".to_owned(),
            90_002 | 900_021 | 900_023 => "there is no such tenant: correct tenantId".to_owned(),
            70_021 | 700_211..=700_213 => {
                let audience = audience(&self.authority);
                let (issuer, subject) = match &self.claims {
                    Some(Claims { iss, sub }) => (short(iss, 115), short(sub, 88)),
                    None => ("the cluster's".to_owned(), "system:serviceaccount:NAMESPACE:NAME".to_owned()),
                };
                format!("add a federated credential with issuer {issuer}, subject {subject}, audience {audience}")
            }
            700_024 | 700_027 | 50_013 => {
                "the ServiceAccount's token is not accepted: check the clocks, and that the authority can read the keys of the cluster's issuer".to_owned()
            }
            500_011 => "the tenant does not know the vault's service: check that vaultUrl and authorityHost are of one cloud".to_owned(),
            _ => format!("check tenantId, clientId and {credential}, and what the code means"),
        }
    }

    /// The authority did not answer; `error` starts as this does.
    pub fn lost(&self, error: &StoreError) -> StoreError {
        match self.way {
            Way::Machine => self.late(),
            _ => error.clone(),
        }
    }

    /// No answer in time.
    pub fn late(&self) -> StoreError {
        let next = match self.way {
            Way::Machine => {
                "no identity answers on this machine: run the operator on one that has an identity, or use another auth"
            }
            Way::Tools => "they took too long: run `az account get-access-token` by hand",
            _ => "no answer in time: check the network to the authority",
        };
        StoreError::new(Failure::Unavailable, format!("{self} failed: {next}"))
    }

    /// The SDK could not make the request, or not read the answer.
    pub fn senseless(&self) -> StoreError {
        match self.way {
            Way::Tools => StoreError::new(
                Failure::Unauthenticated,
                format!("{self} gave no token: log in with `az login` or `azd auth login`"),
            ),
            Way::Machine => StoreError::new(
                Failure::Misconfigured,
                format!("{self} failed: this kind of machine, or what it answers, is not known: use another auth"),
            ),
            _ => StoreError::new(
                Failure::Misconfigured,
                format!(
                    "{self} failed: the request or the answer makes no sense: check tenantId, clientId and authorityHost"
                ),
            ),
        }
    }
}

fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(|host| short(host, 40))).unwrap_or_default()
}

/// As much of a name as a sentence bears.
fn short(name: &str, most: usize) -> String {
    name.chars().filter(char::is_ascii_graphic).take(most).collect()
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use reqwest::StatusCode;
    use zeroize::Zeroizing;

    use super::*;

    fn told(way: Way) -> Told {
        let claims = Claims { iss: "https://issuer.example/".repeat(20), sub: "system:serviceaccount:".repeat(20) };
        let authority = format!("https://login.{}.example", "a".repeat(60));
        Told { way, authority, claims: Some(claims) }
    }

    fn ways() -> [Way; 4] {
        let secret = SecretKeyRef { name: "a".repeat(63), namespace: None, key: "b".repeat(63) };
        [Way::Federated, Way::Machine, Way::Secret(secret), Way::Tools]
    }

    #[test]
    fn every_sentence_says_what_to_do_and_repeats_nothing() {
        let codes = [0, 1, 50_013, 70_021, 90_002, 500_011, 700_016, 700_024, 700_211, 7_000_215, 7_000_222];
        for told in ways().map(told) {
            let mut all = vec![told.late(), told.senseless()];
            for status in [400, 401, 403, 404, 410, 418, 429, 500, 503] {
                for code in codes {
                    let body = format!(r#"{{"error":"canary","error_description":"canary","error_codes":[{code}]}}"#);
                    for body in [body, "canary".to_owned()] {
                        all.push(told.refused(&Reply {
                            status: StatusCode::from_u16(status).unwrap(),
                            retry_after: None,
                            headers: Default::default(),
                            body: Zeroizing::new(body.into_bytes()),
                        }));
                    }
                }
            }
            for error in all {
                let text = error.to_string();
                assert!(text.len() < 400 && text.contains(": ") && !text.contains("canary"), "{text}");
            }
        }
    }

    #[test]
    fn each_cloud_has_its_audience() {
        for (authority, exchange) in [
            ("https://login.microsoftonline.com", "api://AzureADTokenExchange"),
            ("https://login.microsoftonline.us/", "api://AzureADTokenExchangeUSGov"),
            ("https://login.chinacloudapi.cn", "api://AzureADTokenExchangeChina"),
            ("https://login.lab.example", "api://AzureADTokenExchange"),
        ] {
            assert_eq!(audience(authority), exchange);
        }
    }
}
