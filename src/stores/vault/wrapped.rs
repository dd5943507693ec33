//! A secret id that arrives wrapped: its Secret holds a token that gives it out once, so that whoever else saw the
//! Secret on its way has nothing, or is found out.

use reqwest::{Method, StatusCode};

use super::{
    login::{fields, live, text},
    session::{Ask, Session},
    wire,
};
use crate::{
    api::AppRole,
    secret::SecretValue,
    stores::{Failure, StoreError},
};

/// A wrapping token and the secret id that came out of it, for the logins to come.
pub(super) struct Unwrapped {
    token: SecretValue,
    secret_id: SecretValue,
}

impl Session {
    /// The secret id in the wrapping token that the Secret holds; asked for once.
    pub(super) async fn unwrapped(&self, role: &AppRole) -> Result<SecretValue, StoreError> {
        let token = self.credentials.secret(&role.secret_id.secret_ref).await?;
        let mut known = self.unwrapped.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.token == token) {
            return Ok(known.secret_id.clone());
        }
        self.check_origin(role, &token).await?;
        let what = "unwrapping the secret id";
        let url = self.url(["sys", "wrapping", "unwrap"])?;
        let header = live(token.clone(), 0, false, 0)?.token;
        let reply = self.send(&Ask { method: Method::POST, url, body: None, what: &what }, Some(&header)).await?;
        match reply.status {
            StatusCode::OK => {
                let secret_id = wire::parse::<wire::Data<wire::SecretId>>(&reply, &what)?.data.secret_id;
                let secret_id = SecretValue::from(secret_id);
                *known = Some(Unwrapped { token, secret_id: secret_id.clone() });
                Ok(secret_id)
            }
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => Err(used()),
            _ => Err(wire::refusal(&reply, &what, "")),
        }
    }

    /// Whoever takes the token from the Secret may put one of their own in its place: it must have been made by this
    /// method, for a secret id. That it is for this role the login itself tells.
    async fn check_origin(&self, role: &AppRole, token: &SecretValue) -> Result<(), StoreError> {
        let what = "looking up the wrapping token";
        let url = self.url(["sys", "wrapping", "lookup"])?;
        let body = fields([("token", text(token)?)]);
        let reply = self.send(&Ask { method: Method::POST, url, body, what: &what }, None).await?;
        let path = match reply.status {
            StatusCode::OK => wire::parse::<wire::Data<wire::Origin>>(&reply, &what)?.data.creation_path,
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => return Err(used()),
            _ => return Err(wire::refusal(&reply, &what, "")),
        };
        let mount = role.mount_path.as_deref().unwrap_or("approle");
        let name = path
            .strip_prefix(&format!("auth/{mount}/role/"))
            .and_then(|rest| rest.strip_suffix("/secret-id"))
            .filter(|name| !name.is_empty() && !name.contains('/'));
        if name.is_some() {
            return Ok(());
        }
        Err(StoreError::new(
            Failure::Unauthenticated,
            format!(
                "the wrapping token was not made at auth/{mount}/role/ROLE/secret-id, so somebody may have put it in place of the right one: look into the server's audit log, and put a new one into the Secret that auth.appRole.secretId names"
            ),
        ))
    }
}

fn used() -> StoreError {
    StoreError::new(
        Failure::Unauthenticated,
        "the wrapping token of the secret id is used up, expired or none: unless this operator used it before a restart, somebody else may have its secret id: look into the server's audit log, destroy the role's secret ids, and put a new wrapping token into the Secret that auth.appRole.secretId names",
    )
}
