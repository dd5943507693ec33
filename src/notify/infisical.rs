//! Infisical's webhooks: `x-infisical-signature: t=MILLISECONDS;HEX(HMAC-SHA256(secret, body))`. They name a folder,
//! never a key.

use std::time::Duration;

use serde::Deserialize;

use super::{Changed, Malformed};
use crate::api;

#[derive(Deserialize)]
struct Body {
    event: String,
    #[serde(default)]
    project: Project,
    timestamp: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Project {
    #[serde(default)]
    workspace_id: String,
    #[serde(default)]
    project_id: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    secret_path: String,
}

/// What a body says, and when it was sent (since the Unix epoch): the time in the header is not signed, the body's is.
/// Nothing, if it is of another project or environment, or a test.
///
/// # Errors
/// When it is no such body.
pub fn parse(body: &[u8], store: &api::Infisical) -> Result<(Option<Changed>, Duration), Malformed> {
    let body: Body = serde_json::from_slice(body).map_err(|_| Malformed)?;
    let (project, sent) = (&body.project, Duration::from_millis(body.timestamp));
    let ours = (project.workspace_id == store.project_id || project.project_id == store.project_id)
        && project.environment == store.environment;
    // The documentation says `secret.modified`, the server `secrets.modified`.
    if !ours || !matches!(body.event.as_str(), "secrets.modified" | "secret.modified") {
        return Ok((None, sent));
    }
    let root = store.root_path.as_deref().unwrap_or("/");
    Ok((below(root, &project.secret_path).map(|folder| Changed::Folder(folder.into())), sent))
}

/// A folder as store keys name it: below the store's root.
fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(root.trim_end_matches('/'))?;
    let inside = rest.is_empty() || rest.starts_with('/');
    (path.starts_with('/') && inside).then(|| rest.trim_matches('/'))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn store(root: Option<&str>) -> api::Infisical {
        api::Infisical {
            host_url: "https://infisical.example.com".into(),
            project_id: "p-1".into(),
            environment: "prod".into(),
            root_path: root.map(str::to_owned),
            ca_bundle: None,
            ca_ref: None,
            auth: api::InfisicalAuth::default(),
        }
    }

    fn body(event: &str, project: &str, environment: &str, path: &str) -> String {
        // As `webhook-fns.ts` of the server writes it.
        serde_json::json!({
            "event": event,
            "project": { "workspaceId": project, "projectId": project, "projectName": "n", "environment": environment, "secretPath": path },
            "timestamp": 1_700_000_000_123_u64,
        })
        .to_string()
    }

    #[test]
    fn only_a_change_of_this_project_and_environment_under_the_root_says_anything() {
        let said = |root, text: &str| parse(text.as_bytes(), &store(root)).map(|(changed, _)| changed);
        let folder = |f: &str| Ok(Some(Changed::Folder(f.into())));
        let modified = |path: &str| body("secrets.modified", "p-1", "prod", path);
        assert_eq!(said(None, &modified("/acme")), folder("acme"));
        assert_eq!(said(None, &modified("/")), folder(""));
        assert_eq!(said(Some("/"), &modified("/acme/db")), folder("acme/db"));
        assert_eq!(said(Some("/apps"), &modified("/apps/acme")), folder("acme"));
        assert_eq!(said(Some("/apps"), &modified("/apps")), folder(""));
        assert_eq!(said(None, &body("secret.modified", "p-1", "prod", "/acme")), folder("acme"));
        for (root, other) in [
            (Some("/apps"), modified("/applications/acme")),
            (Some("/apps"), modified("/other")),
            (None, modified("acme")),
            (None, body("secrets.modified", "p-2", "prod", "/acme")),
            (None, body("secrets.modified", "p-1", "dev", "/acme")),
            (None, body("secrets.reminder-expired", "p-1", "prod", "/acme")),
            (None, body("test", "p-1", "prod", "/acme")),
            (None, r#"{"event":"test","timestamp":1}"#.to_owned()),
        ] {
            assert_eq!(said(root, &other), Ok(None), "{other}");
        }
    }

    #[test]
    fn the_signed_time_is_the_body_s() {
        let (_, sent) = parse(body("test", "p", "e", "/").as_bytes(), &store(None)).unwrap();
        assert_eq!(sent, Duration::from_millis(1_700_000_000_123));
        for bad in ["", "[]", r#"{"event":"test"}"#, r#"{"event":"test","timestamp":"soon"}"#] {
            assert_eq!(parse(bad.as_bytes(), &store(None)), Err(Malformed), "{bad}");
        }
    }
}
