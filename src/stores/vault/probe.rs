//! Is the server well, and what may the login do there.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::json;

use super::{
    Vault,
    mount::{Kind, Seen},
    wire,
};
use crate::{
    api::Capabilities,
    stores::{Failure, StoreError},
};

/// A key whose rights are asked about. It is never read, and need not exist.
const PROBED: &str = "secretref-probe";

impl Vault {
    pub(super) async fn look_around(&self) -> Result<Capabilities, StoreError> {
        self.health().await?;
        let token = self.session.check().await?;
        let mount = &self.mount;
        let probed = |kind: &str| ["GLOBAL--", "GLOBAL/"].map(|scope| format!("{mount}/{kind}{scope}{PROBED}"));
        let (data, plain) = (probed("data/"), probed(""));
        let (names, plain_names) = (format!("{mount}/metadata/"), format!("{mount}/"));
        let asked = [&data[..], &plain[..], &[names.clone(), plain_names.clone()]].concat();
        let rights = self.rights(&asked).await?;
        let may = |path: &str, right: &str| {
            rights.as_ref().and_then(|all| all.get(path)).is_some_and(|r| r.iter().any(|r| r == right || r == "root"))
        };
        let looked = self.look_at_mount().await;
        let kind = looked.as_ref().ok().copied().flatten();
        *self.seen.lock().await = match kind {
            Some(_) => Seen { generation: token.generation, kind },
            None => Seen::default(),
        };
        match looked? {
            // Policies may be for each organisation: what is denied to GLOBAL says little, some right says enough.
            Some(Kind::Versioned) => Ok(Capabilities {
                get: true,
                list: may(&names, "list"),
                write: data.iter().any(|path| may(path, "create") && may(path, "update") || may(path, "root")),
            }),
            Some(Kind::Plain) => Ok(Capabilities { get: true, list: may(&plain_names, "list"), write: false }),
            Some(Kind::Foreign) => Err(self.foreign()),
            // A policy allows reading there, but the server shows no such mount.
            None if data.iter().any(|path| may(path, "read")) => Err(StoreError::new(
                Failure::Misconfigured,
                format!("there is no mount {mount}: create it, or correct spec.provider.vault.mount"),
            )),
            None => Err(StoreError::new(
                Failure::Denied,
                format!(
                    "the policies of the operator's login allow nothing on the mount {mount}, or there is no such mount: add path \"{mount}/data/*\" {{ capabilities = [\"read\"] }} to one"
                ),
            )),
        }
    }

    /// Rights on paths, as the server works them out from the policies; `None`: the login may not ask.
    pub(super) async fn rights(&self, paths: &[String]) -> Result<Option<BTreeMap<String, Vec<String>>>, StoreError> {
        let what = "asking what the login may do";
        let url = self.session.url(["sys", "capabilities-self"])?;
        let reply = self.post(url, &json!({ "paths": paths }), what).await?;
        match reply.status {
            StatusCode::OK => Ok(Some(wire::parse::<wire::Data<_>>(&reply, &what)?.data)),
            StatusCode::FORBIDDEN => Ok(None),
            _ => Err(wire::refusal(&reply, &what, "")),
        }
    }

    /// Reachable, initialised, unsealed: asked without a token, so that a sealed server is not taken for a bad login.
    async fn health(&self) -> Result<(), StoreError> {
        let what = "probing the server";
        let mut url = self.session.url(["sys", "health"])?;
        // A standby hands requests on to the active server, or answers reads itself.
        url.set_query(Some("standbyok=true&perfstandbyok=true"));
        let reply = self.session.ask_openly(url, &what).await?;
        match reply.status.as_u16() {
            200 | 429 | 473 => Ok(()),
            503 => {
                let message = "the server is sealed: unseal it (`bao operator unseal`), or let it unseal itself (seal)";
                Err(StoreError::new(Failure::Unavailable, message))
            }
            _ => Err(wire::refusal(&reply, &what, "something in front of it does not let requests through")),
        }
    }
}
