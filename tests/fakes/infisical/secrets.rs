//! Requests for secrets: rights, what is there, what of it is shown.

use axum::{http::Method, response::Response};
use serde_json::{Value, json};

use super::{
    Release, State,
    answers::{self, error, form, json_with},
    logins::{Right, Role},
    project::Project,
    routes::Asked,
};

impl Asked {
    /// The value of a secret as this request may see it; `Err`: a reference that may not be followed.
    fn seen(
        &self,
        project: &Project,
        role: &Role,
        environment: &str,
        path: &str,
        value: &str,
    ) -> Result<Option<String>, String> {
        if self.release == Release::Current
            && (!self.flag("viewSecretValue", true) || !role.may(Right::ReadValue, path))
        {
            return Ok(None);
        }
        if !self.flag("expandSecretReferences", false) {
            return Ok(Some(value.to_owned()));
        }
        project.expand(environment, path, value, &|folder| role.may(Right::ReadValue, folder)).map(Some)
    }

    pub(super) fn one(&self, state: &mut State, role: &Role) -> Response {
        let folder_is_there = state.project.folder(self.environment(), self.folder()).is_some();
        let reading = self.method == Method::GET;
        let (right, verb, code) = match self.method.as_str() {
            "GET" => (Right::Describe, "read", "GetSecretByName"),
            "POST" => (Right::Create, "create", "CreateSecret"),
            "PATCH" => (Right::Edit, "edit", "UpdateSecret"),
            _ => (Right::Delete, "delete", "DeleteSecret"),
        };
        // Older servers look at rights first, current ones at the folder.
        let old = self.release == Release::October2024;
        let right = if old && reading { Right::ReadValue } else { right };
        if old && !role.may(right, self.folder()) {
            return self.denied(verb);
        }
        if !folder_is_there {
            return self.no_folder(code);
        }
        let there = state.project.secret(self.environment(), self.folder(), self.name()).is_some();
        if !old && !reading && right != Right::Create && !there {
            return error(self.release, 404, code, &format!("Secret with name '{}' not found", self.name()));
        }
        if !role.may(right, self.folder()) {
            return self.denied(verb);
        }
        match self.method.as_str() {
            "GET" => self.get(state, role),
            _ => self.change(state, there),
        }
    }

    fn get(&self, state: &State, role: &Role) -> Response {
        let (environment, folder, name) = (self.environment(), self.folder(), self.name());
        let found = state.project.folder(environment, folder).unwrap();
        let versions = found.secrets.get(name);
        let wanted = self.fields.get("version").and_then(|v| v.parse::<u64>().ok());
        let own = match wanted.filter(|_| self.release == Release::Current) {
            Some(version) => {
                let mut all = versions.into_iter().chain(found.deleted.get(name)).flatten();
                all.find(|secret| secret.version == version)
            }
            None => versions.and_then(|all| all.last()),
        };
        let imported = found
            .imports
            .iter()
            .rev()
            .filter(|_| self.flag("include_imports", false))
            .find_map(|(e, p)| state.project.secret(e, p, name).map(|secret| (e.as_str(), p.as_str(), secret)));
        let Some((environment, folder, secret)) = own.map(|secret| (environment, folder, secret)).or(imported) else {
            return error(self.release, 404, "NotFound", &format!("Secret with name '{name}' not found"));
        };
        if self.release == Release::Current && self.flag("viewSecretValue", true) && !role.may(Right::ReadValue, folder)
        {
            let message = format!("You do not have permission to view secret value on secret with name '{name}'");
            return error(self.release, 403, "ForbiddenReadSecretError", &message);
        }
        match self.seen(&state.project, role, environment, folder, &secret.value) {
            Ok(value) => {
                let path = (self.release == Release::Current).then_some(folder);
                let body = answers::secret(self.release, environment, path, name, secret, value.as_deref());
                json_with(200, &json!({ "secret": body }))
            }
            Err(other) => {
                let message =
                    format!("You do not have permission to read secret '{other}', which is referenced by '{name}'");
                error(self.release, 403, "ExpandSecretReference", &message)
            }
        }
    }

    fn change(&self, state: &mut State, there: bool) -> Response {
        let (environment, folder, name) = (self.environment(), self.folder(), self.name());
        let missing = |code: &str, message: String| error(self.release, 404, code, &message);
        let value = match (self.method.as_str(), self.fields.get("secretValue"), there) {
            ("POST", Some(_), true) => return error(self.release, 400, "BadRequest", "Secret already exist"),
            ("PATCH", Some(_), false) => return missing("NotFound", format!("Secret with name {name} not found")),
            ("DELETE", _, false) => return missing("DeleteSecret", format!("Secret with name '{name}' not found")),
            ("DELETE", ..) => None,
            (_, Some(value), _) => Some(value),
            _ => return form(self.release, "secretValue"),
        };
        if state.approvals {
            return json_with(200, &json!({ "approval": { "id": "a", "slug": "waiting", "status": "open" } }));
        }
        let secret = match value {
            Some(value) => state.project.put(environment, folder, name, value),
            None => state.project.remove(environment, folder, name),
        };
        let secret = secret.unwrap();
        let event = match (self.method.as_str(), there) {
            ("DELETE", _) => "secret:delete",
            (_, true) => "secret:update",
            _ => "secret:create",
        };
        state.subscriptions.tell(event, environment, folder, name);
        let body = answers::secret(self.release, environment, None, name, &secret, Some(&secret.value));
        json_with(200, &json!({ "secret": body }))
    }

    pub(super) fn list(&self, state: &mut State, role: &Role) -> Response {
        let (environment, folder) = (self.environment(), self.folder());
        let old = self.release == Release::October2024;
        if old && !role.may(Right::ReadValue, folder) {
            return self.denied("read");
        }
        let Some(folders) = state.project.environments.get(environment).filter(|all| all.contains_key(folder)) else {
            return json_with(200, &json!({ "secrets": [], "imports": [] }));
        };
        let below = format!("{}/", folder.trim_end_matches('/'));
        let recursive = self.flag("recursive", false);
        let inside = folders.iter().filter(|(path, _)| *path == folder || recursive && path.starts_with(&below));
        let (mut secrets, mut imports) = (Vec::new(), Vec::new());
        for (path, content) in inside {
            match self.listed(state, role, environment, path) {
                Ok(some) => secrets.extend(some),
                Err(refused) => return *refused,
            }
            for (environment, from) in &content.imports {
                match self.listed(state, role, environment, from) {
                    Ok(some) => imports.push(answers::imported(environment, from, some)),
                    Err(refused) => return *refused,
                }
            }
        }
        let mut body = json!({ "secrets": secrets });
        if self.flag("include_imports", false) {
            body["imports"] = json!(imports);
        }
        json_with(200, &body)
    }

    /// The secrets of one folder that this role is shown.
    fn listed(&self, state: &State, role: &Role, environment: &str, path: &str) -> Result<Vec<Value>, Box<Response>> {
        let mut all = Vec::new();
        let content = state.project.folder(environment, path).filter(|_| role.may(Right::Describe, path));
        for (name, versions) in content.iter().flat_map(|folder| &folder.secrets) {
            let secret = versions.last().unwrap();
            let value = self.seen(&state.project, role, environment, path, &secret.value).map_err(|_| {
                Box::new(error(self.release, 403, "ForbiddenError", "Failed to expand one or more secret references"))
            })?;
            all.push(answers::secret(self.release, environment, Some(path), name, secret, value.as_deref()));
        }
        Ok(all)
    }
}
