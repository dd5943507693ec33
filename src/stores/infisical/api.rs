//! The two generations of the API, and what requests of either are spelled like.

use reqwest::{Method, Url};
use zeroize::Zeroizing;

use super::{Infisical, session::Ask, wire};
use crate::stores::{StoreError, http::Reply};

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// `/api/v3/secrets/raw`, with workspaces.
    V3,
    /// `/api/v4/secrets`, with projects.
    V4,
}

/// What is asked of a list.
#[derive(Clone, Copy)]
pub(super) enum Lists {
    /// Names in the folder, its imports included.
    Names,
    /// Names in the folder and below it, imports included, which do not say to which folder they belong.
    NamesBelow,
    /// Values in the folder, as a read of each would give them.
    Values,
}

impl Generation {
    const fn secrets(self) -> &'static [&'static str] {
        match self {
            Self::V3 => &["api", "v3", "secrets", "raw"],
            Self::V4 => &["api", "v4", "secrets"],
        }
    }

    const fn folders(self) -> &'static [&'static str] {
        match self {
            Self::V3 => &["api", "v1", "folders"],
            Self::V4 => &["api", "v2", "folders"],
        }
    }

    const fn project(self) -> &'static str {
        match self {
            Self::V3 => "workspaceId",
            Self::V4 => "projectId",
        }
    }
}

impl Infisical {
    /// What this server speaks: found out once for each login, by a request without one.
    pub(super) async fn generation(&self) -> Result<Generation, StoreError> {
        let login = self.session.token().await?.generation;
        let mut known = self.generation.lock().await;
        if let Some((_, generation)) = known.filter(|(of, _)| *of == login) {
            return Ok(generation);
        }
        let what = "asking which API the server speaks";
        let reply = self.session.ask_openly(self.url(Generation::V4.secrets(), &[], &[])?, &what).await?;
        let generation = match reply.status.as_u16() {
            404 if wire::no_route(&reply) => Generation::V3,
            // It wants a login, or more parameters: the route is there.
            200 | 400 | 401 | 403 | 422 if wire::is_own(&reply) => Generation::V4,
            _ => return Err(wire::refusal(&reply, &what, "something in front of it does not let requests through")),
        };
        *known = Some((login, generation));
        Ok(generation)
    }

    /// One secret, as it is read.
    pub(super) async fn get_secret(
        &self,
        folder: &str,
        name: &str,
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<Reply, StoreError> {
        let generation = self.generation().await?;
        let query = [&[("secretPath", folder)], query].concat();
        let url = self.url(generation.secrets(), &[name], &self.located(generation, &query))?;
        self.ask(Method::GET, url, None, what).await
    }

    /// The secrets of one folder. One that is not there is empty.
    pub(super) async fn list_secrets(&self, folder: &str, lists: Lists, what: &str) -> Result<Reply, StoreError> {
        let generation = self.generation().await?;
        let mut query = vec![("secretPath", folder), ("include_imports", "true")];
        query.extend(match lists {
            // Older servers do not know of it, and send the values.
            Lists::Names => vec![("viewSecretValue", "false")],
            Lists::NamesBelow => vec![("viewSecretValue", "false"), ("recursive", "true")],
            Lists::Values => vec![("viewSecretValue", "true"), ("expandSecretReferences", "true")],
        });
        let url = self.url(generation.secrets(), &[], &self.located(generation, &query))?;
        self.ask(Method::GET, url, None, what).await
    }

    /// Folders in one folder: any member of the project may list them.
    pub(super) async fn list_folders(&self, folder: &str, what: &str) -> Result<Reply, StoreError> {
        self.folders(Method::GET, &[("path", folder)], what).await
    }

    /// Changes one secret.
    pub(super) async fn write_secret(
        &self,
        method: Method,
        folder: &str,
        name: &str,
        value: Option<&str>,
        what: &str,
    ) -> Result<Reply, StoreError> {
        let generation = self.generation().await?;
        let url = self.url(generation.secrets(), &[name], &[])?;
        let fields =
            [&[("secretPath", folder)][..], &value.map(|v| ("secretValue", v)).into_iter().collect::<Vec<_>>()];
        let body = wire::json(&self.located(generation, &fields.concat()));
        self.ask(method, url, Some(body), what).await
    }

    /// Creates a folder, and those it is in. One that is there stays as it is.
    pub(super) async fn create_folder(&self, parent: &str, name: &str, what: &str) -> Result<Reply, StoreError> {
        self.folders(Method::POST, &[("path", parent), ("name", name)], what).await
    }

    /// Folders have a history of their own: a server may know the newer secrets and only the older folders.
    async fn folders(&self, method: Method, fields: &[(&str, &str)], what: &str) -> Result<Reply, StoreError> {
        let generation = self.generation().await?;
        let reply = self.folders_of(generation, method.clone(), fields, what).await?;
        if generation == Generation::V4 && wire::no_route(&reply) {
            return self.folders_of(Generation::V3, method, fields, what).await;
        }
        Ok(reply)
    }

    async fn folders_of(
        &self,
        generation: Generation,
        method: Method,
        fields: &[(&str, &str)],
        what: &str,
    ) -> Result<Reply, StoreError> {
        let fields = self.located(generation, fields);
        let (query, body) =
            if method == Method::GET { (&fields[..], None) } else { (&[][..], Some(wire::json(&fields))) };
        let url = self.url(generation.folders(), &[], query)?;
        self.session.ask(&Ask { method, url, body, what: &what }).await
    }

    fn located<'a>(&'a self, generation: Generation, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![(generation.project(), self.project.as_str()), ("environment", &self.environment)];
        all.extend(more);
        all
    }

    fn url(&self, path: &[&str], more: &[&str], query: &[(&str, &str)]) -> Result<Url, StoreError> {
        let mut url = self.session.url(path.iter().chain(more).copied())?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn ask(
        &self,
        method: Method,
        url: Url,
        body: Option<Zeroizing<Vec<u8>>>,
        what: &str,
    ) -> Result<Reply, StoreError> {
        let reply = self.session.ask(&Ask { method, url, body, what: &what }).await?;
        if wire::no_route(&reply) {
            // Another release of the server, maybe, than the one that was asked.
            *self.generation.lock().await = None;
        }
        Ok(reply)
    }
}
